package wire

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// Type says how values of T are written: the announced type and the payload. Types are immutable tables, made once.
type Type[T any] struct {
	name  string
	kind  kind
	least int // the fewest bytes a value takes, for checking announced counts
	write func(b []byte, v *T) []byte
	read  func(d *decoder, v *T)
	// room says how many bytes a value takes, or a few more; nil where values are small.
	room func(v *T) int
}

// small is the room for a value of a type that does not say more: growing a few times would cost more than this does.
const small = 128

// roomFor is how much memory to get before a value is written.
func (t *Type[T]) roomFor(v *T) int {
	if t.room == nil {
		return small
	}
	return t.room(v)
}

// sized is the type with a room of its own.
func (t Type[T]) sized(room func(v *T) int) Type[T] {
	t.room = room
	return t
}

// Append writes v's payload (without any field header).
func (t *Type[T]) Append(b []byte, v *T) []byte { return t.write(b, v) }

// Decode reads one value and fails when bytes are left over. Blobs in v alias b.
func (t *Type[T]) Decode(b []byte, v *T) error {
	d := newDecoder(b)
	t.read(&d, v)
	d.end()
	return d.err
}

func appendI32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendI64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendText(b []byte, s string) []byte { return append(appendI32(b, int32(len(s))), s...) }

// The scalar types and the placeholders.
var (
	boolType = Type[bool]{
		"bool", kindBool, 1,
		func(b []byte, v *bool) []byte {
			if *v {
				return append(b, 1)
			}
			return append(b, 0)
		},
		func(d *decoder, v *bool) {
			c := d.byte()
			if c > 1 {
				d.failf(ErrEncoding, "bool 0x%02x", c)
			}
			*v = c == 1
		},
		nil,
	}
	i32Type = Type[int32]{
		"i32", kindI32, 4,
		func(b []byte, v *int32) []byte { return appendI32(b, *v) },
		func(d *decoder, v *int32) { *v = d.i32() },
		nil,
	}
	i64Type = Type[int64]{
		"i64", kindI64, 8,
		func(b []byte, v *int64) []byte { return appendI64(b, *v) },
		func(d *decoder, v *int64) { *v = d.i64() },
		nil,
	}
	stringType = Type[string]{
		"string", kindString, 4,
		func(b []byte, v *string) []byte { return appendText(b, *v) },
		func(d *decoder, v *string) { *v = d.text() },
		nil,
	}
	blobType = Type[[]byte]{
		"blob", kindStruct, 4,
		func(b []byte, v *[]byte) []byte { return append(appendI32(b, int32(len(*v))), *v...) },
		func(d *decoder, v *[]byte) { *v = d.bytes() },
		nil,
	}
	// codeType is both error_code and task_code: a name.
	codeType = Type[string]{"error_code", kindStruct, 4, stringType.write, stringType.read, nil}
	gpidType = Type[GPID]{
		"gpid", kindStruct, 8,
		func(b []byte, v *GPID) []byte { return appendI64(b, v.pack()) },
		func(d *decoder, v *GPID) { *v = unpackGPID(d.i64()) },
		nil,
	}
	addressType = Type[Address]{
		"rpc_address", kindStruct, 8,
		func(b []byte, v *Address) []byte { return appendI64(b, int64(*v)) },
		func(d *decoder, v *Address) { *v = Address(d.i64()) },
		nil,
	}
	hostPortType = Type[HostPort]{
		"host_port", kindStruct, 7,
		func(b []byte, v *HostPort) []byte {
			b = binary.BigEndian.AppendUint16(appendText(b, v.Host), v.Port)
			return append(b, v.Type)
		},
		func(d *decoder, v *HostPort) { v.Host, v.Port, v.Type = d.text(), uint16(d.i16()), d.byte() },
		nil,
	}
	emptyType = structOf[struct{}]("empty")
)

// enumType is an i32 with names elsewhere.
func enumType[T ~int32](name string) Type[T] {
	return Type[T]{
		name, kindI32, 4,
		func(b []byte, v *T) []byte { return appendI32(b, int32(*v)) },
		func(d *decoder, v *T) { *v = T(d.i32()) },
		nil,
	}
}

// listOf is a list; an empty one is decoded as an empty, not a nil, slice.
func listOf[T any](elem Type[T]) Type[[]T] {
	var zero T
	size := int(unsafe.Sizeof(zero))
	return Type[[]T]{
		name: "list of " + elem.name, kind: kindList, least: 5,
		write: func(b []byte, v *[]T) []byte {
			b = appendI32(append(b, byte(elem.kind)), int32(len(*v)))
			for i := range *v {
				b = elem.write(b, &(*v)[i])
			}
			return b
		},
		read: func(d *decoder, v *[]T) {
			k := kind(d.byte())
			n := d.count(elem.least)
			if n > 0 && k != elem.kind {
				d.failf(ErrEncoding, "elements of type 0x%02x, not %s", byte(k), elem.name)
			}
			if !d.charge(n, size) {
				return
			}
			s := make([]T, n)
			for i := range s {
				if elem.read(d, &s[i]); d.err != nil {
					return
				}
			}
			*v = s
		},
	}
}

// textMapType is map<string,string>, written in the order of its keys.
var textMapType = Type[map[string]string]{
	name: "map", kind: kindMap, least: 6,
	write: func(b []byte, v *map[string]string) []byte {
		keys := make([]string, 0, len(*v))
		for k := range *v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = appendI32(append(b, byte(kindString), byte(kindString)), int32(len(keys)))
		for _, k := range keys {
			b = appendText(appendText(b, k), (*v)[k])
		}
		return b
	},
	read: func(d *decoder, v *map[string]string) {
		key, value := kind(d.byte()), kind(d.byte())
		n := d.count(8)
		if n > 0 && (key != kindString || value != kindString) {
			d.failf(ErrEncoding, "a map of types 0x%02x and 0x%02x, not strings", byte(key), byte(value))
		}
		// Growing instead of sizing at once: keys may repeat. 64 is what an entry costs, buckets included.
		m := make(map[string]string)
		for range n {
			k, text := d.text(), ""
			if text = d.text(); !d.charge(1, 64) {
				return
			}
			m[k] = text
		}
		*v = m
	},
}

// field is one row of a struct's table.
type field[M any] struct {
	id    int16
	name  string
	kind  kind
	least int
	has   func(m *M) bool // nil: always written
	write func(b []byte, m *M) []byte
	read  func(d *decoder, m *M)
}

// req declares a field that is always written.
func req[M, T any](id int16, name string, t Type[T], at func(*M) *T) field[M] {
	write, read := t.write, t.read
	return field[M]{
		id: id, name: name, kind: t.kind, least: 3 + t.least,
		write: func(b []byte, m *M) []byte { return write(b, at(m)) },
		read:  func(d *decoder, m *M) { read(d, at(m)) },
	}
}

// opt declares a field that is written when has says so.
func opt[M, T any](id int16, name string, t Type[T], at func(*M) *T, has func(*M) bool) field[M] {
	f := req(id, name, t, at)
	f.has, f.least = has, 0
	return f
}

// ptr declares an optional field kept behind a pointer, nil when absent.
func ptr[M, T any](id int16, name string, t Type[T], at func(*M) **T) field[M] {
	return field[M]{
		id: id, name: name, kind: t.kind,
		has:   func(m *M) bool { return *at(m) != nil },
		write: func(b []byte, m *M) []byte { return t.write(b, *at(m)) },
		read: func(d *decoder, m *M) {
			var zero T
			if !d.charge(1, int(unsafe.Sizeof(zero))) {
				return
			}
			v := new(T)
			t.read(d, v)
			*at(m) = v
		},
	}
}

// structOf makes the Type of a struct from its fields, in the order of their ids. Fields that do not come keep their
// zero value: no Pegasus release promises to send all of them.
func structOf[M any](name string, fields ...field[M]) Type[M] {
	return Type[M]{
		name: name, kind: kindStruct, least: 1,
		write: func(b []byte, m *M) []byte {
			for i := range fields {
				f := &fields[i]
				if f.has != nil && !f.has(m) {
					continue
				}
				b = f.write(append(b, byte(f.kind), byte(f.id>>8), byte(f.id)), m)
			}
			return append(b, byte(kindStop))
		},
		read: func(d *decoder, m *M) {
			next := 0
			for {
				k := kind(d.byte())
				if k == kindStop {
					d.at(name, "end")
					return
				}
				id := d.i16()
				i := next
				for i < len(fields) && fields[i].id != id {
					i++
				}
				if i == len(fields) {
					i = slices.IndexFunc(fields[:next], func(f field[M]) bool { return f.id == id })
				}
				if i < 0 {
					d.skipField(name, k, id)
				} else {
					f := &fields[i]
					if k != f.kind && d.err == nil {
						d.failf(ErrEncoding, "type 0x%02x, not 0x%02x", byte(k), byte(f.kind))
					} else {
						f.read(d, m)
					}
					if d.err != nil {
						d.at(name, f.name)
						return
					}
					next = i + 1
				}
				if d.err != nil {
					return
				}
			}
		},
	}
}

func (d *decoder) skipField(message string, k kind, id int16) {
	d.skip(k, 0)
	if d.err != nil {
		d.at(message, "field "+itoa(int(id)))
	}
}
