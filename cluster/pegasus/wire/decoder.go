package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxFrame bounds a frame on the wire, in both directions, and what decoding one may allocate.
	MaxFrame = 64 << 20
	// maxDepth bounds the nesting of values that are skipped; no Pegasus message is deeper than 6.
	maxDepth = 16
)

// Errors of the encoding. They come wrapped with where it happened: test with errors.Is.
var (
	ErrTruncated = errors.New("the bytes end too early")
	ErrEncoding  = errors.New("not a valid encoding")
	ErrUnknown   = errors.New("an unknown field cannot be skipped")
	ErrBudget    = errors.New("decoding would take too much memory")
)

// kind is the announced thrift type of a value.
type kind byte

const (
	kindStop   kind = 0
	kindBool   kind = 2
	kindByte   kind = 3
	kindDouble kind = 4
	kindI16    kind = 6
	kindI32    kind = 8
	kindI64    kind = 10
	kindString kind = 11
	kindStruct kind = 12 // also every placeholder
	kindMap    kind = 13
	kindSet    kind = 14
	kindList   kind = 15
)

// decoder walks over encoded bytes. Its first error sticks; after it every read answers zero values.
type decoder struct {
	buf    []byte
	off    int
	budget int
	err    error
	placed bool // err already says where
}

func newDecoder(b []byte) decoder { return decoder{buf: b, budget: MaxFrame} }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) failf(base error, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", base, fmt.Sprintf(format, args...))
	}
}

// at adds the place of the first error, innermost field only.
func (d *decoder) at(message, field string) {
	if !d.placed && d.err != nil {
		d.placed = true
		d.err = fmt.Errorf("%s.%s at byte %d: %w", message, field, d.off, d.err)
	}
}

func (d *decoder) left() int { return len(d.buf) - d.off }

// take answers the next n bytes, aliasing the buffer, or nil after failing.
func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.buf)-d.off {
		d.fail(ErrTruncated)
		return nil
	}
	b := d.buf[d.off : d.off+n : d.off+n]
	d.off += n
	return b
}

func (d *decoder) byte() byte {
	if d.err != nil || d.off >= len(d.buf) {
		d.fail(ErrTruncated)
		return 0
	}
	c := d.buf[d.off]
	d.off++
	return c
}

func (d *decoder) i16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) i32() int32 {
	if d.err == nil && len(d.buf)-d.off >= 4 {
		v := binary.BigEndian.Uint32(d.buf[d.off:])
		d.off += 4
		return int32(v)
	}
	d.fail(ErrTruncated)
	return 0
}

func (d *decoder) i64() int64 {
	if d.err == nil && len(d.buf)-d.off >= 8 {
		v := binary.BigEndian.Uint64(d.buf[d.off:])
		d.off += 8
		return int64(v)
	}
	d.fail(ErrTruncated)
	return 0
}

// bytes reads a length and that many bytes, aliasing the buffer.
func (d *decoder) bytes() []byte {
	n := d.i32()
	if n < 0 {
		d.failf(ErrEncoding, "length %d", n)
		return nil
	}
	return d.take(int(n))
}

// text reads a string. Names that every answer repeats cost no allocation.
func (d *decoder) text() string {
	b := d.bytes()
	if len(b) == 0 {
		return ""
	}
	if s, ok := interned[string(b)]; ok {
		return s
	}
	if !d.charge(len(b), 1) {
		return ""
	}
	return string(b)
}

// charge takes n values of a size from the memory budget.
func (d *decoder) charge(n, size int) bool {
	if d.err != nil {
		return false
	}
	if size > 0 && n > d.budget/size {
		d.failf(ErrBudget, "%d values of %d bytes", n, size)
		return false
	}
	d.budget -= n * size
	return true
}

// count reads the length of a list whose elements take at least least bytes each.
func (d *decoder) count(least int) int {
	n := d.i32()
	if d.err != nil {
		return 0
	}
	if n < 0 {
		d.failf(ErrEncoding, "count %d", n)
		return 0
	}
	if int(n) > d.left()/max(least, 1) {
		d.failf(ErrTruncated, "%d elements announced, %d bytes left", n, d.left())
		return 0
	}
	return int(n)
}

// skip passes over a value of an unknown field.
func (d *decoder) skip(k kind, depth int) {
	if depth > maxDepth {
		d.failf(ErrEncoding, "nested deeper than %d", maxDepth)
		return
	}
	switch k {
	case kindBool, kindByte:
		d.take(1)
	case kindI16:
		d.take(2)
	case kindI32:
		d.take(4)
	case kindI64, kindDouble:
		d.take(8)
	case kindString:
		d.bytes()
	case kindList, kindSet:
		elem := kind(d.byte())
		d.skipMany(d.count(1), depth, elem)
	case kindMap:
		key, value := kind(d.byte()), kind(d.byte())
		d.skipMany(d.count(2), depth, key, value)
	case kindStruct:
		d.fail(ErrUnknown)
	default:
		d.failf(ErrEncoding, "type 0x%02x", byte(k))
	}
}

func (d *decoder) skipMany(n, depth int, kinds ...kind) {
	for range n {
		for _, k := range kinds {
			d.skip(k, depth+1)
		}
		if d.err != nil {
			return
		}
	}
}

// end fails unless every byte was read.
func (d *decoder) end() {
	if d.err == nil && d.off != len(d.buf) {
		d.failf(ErrEncoding, "%d bytes after the end", d.left())
	}
}
