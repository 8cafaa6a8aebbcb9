package wire

import (
	"cmp"
	"maps"
	"slices"
	"unsafe"
)

// setOf is a set, which is written as a list is but for its announced type. It is kept as a slice, in the order it came.
func setOf[T any](elem Type[T]) Type[[]T] {
	t := listOf(elem)
	t.name, t.kind = "set of "+elem.name, kindSet
	return t
}

// entryCost is what an entry of a map takes besides its key and value, buckets included.
const entryCost = 48

// mapOf is a map, written in the order of its keys. When a key comes twice, its last value counts.
func mapOf[K cmp.Ordered, V any](key Type[K], value Type[V]) Type[map[K]V] {
	var k K
	var v V
	size := int(unsafe.Sizeof(k)+unsafe.Sizeof(v)) + entryCost
	return Type[map[K]V]{
		name: "map of " + value.name, kind: kindMap, least: 6,
		write: func(b []byte, m *map[K]V) []byte {
			b = appendI32(append(b, byte(key.kind), byte(value.kind)), int32(len(*m)))
			for _, k := range slices.Sorted(maps.Keys(*m)) {
				v := (*m)[k]
				b = value.write(key.write(b, &k), &v)
			}
			return b
		},
		read: func(d *decoder, m *map[K]V) {
			keyKind, valueKind := kind(d.byte()), kind(d.byte())
			n := d.count(key.least + value.least)
			if n > 0 && (keyKind != key.kind || valueKind != value.kind) {
				d.failf(ErrEncoding, "a map of types 0x%02x and 0x%02x, not of %s and %s", byte(keyKind), byte(valueKind), key.name, value.name)
			}
			// Growing instead of sizing at once: keys may repeat.
			all := make(map[K]V)
			for range n {
				var k K
				var v V
				key.read(d, &k)
				if value.read(d, &v); !d.charge(1, size) {
					return
				}
				all[k] = v
			}
			*m = all
		},
	}
}
