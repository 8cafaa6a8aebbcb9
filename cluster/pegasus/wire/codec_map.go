package wire

import (
	"cmp"
	"maps"
	"slices"
	"unsafe"
)

// mapEntry is what an entry of a decoded map is charged beside its key and value: Go's buckets.
const mapEntry = 32

// mapOf is a map, written in the order of its keys; an empty one is decoded as an empty, not a nil, map. Of a key that
// comes twice the last value stands.
func mapOf[K cmp.Ordered, V any](key Type[K], value Type[V]) Type[map[K]V] {
	var k K
	var v V
	size := int(unsafe.Sizeof(k)+unsafe.Sizeof(v)) + mapEntry
	return Type[map[K]V]{
		name: "map of " + key.name + " to " + value.name, kind: kindMap, least: 6,
		write: func(b []byte, m *map[K]V) []byte {
			b = appendI32(append(b, byte(key.kind), byte(value.kind)), int32(len(*m)))
			for _, k := range slices.Sorted(maps.Keys(*m)) {
				v := (*m)[k]
				b = value.write(key.write(b, &k), &v)
			}
			return b
		},
		read: func(d *decoder, m *map[K]V) {
			keys, values := kind(d.byte()), kind(d.byte())
			n := d.count(key.least + value.least)
			if n > 0 && (keys != key.kind || values != value.kind) {
				d.failf(ErrEncoding, "a map of types 0x%02x and 0x%02x, not %s to %s", byte(keys), byte(values), key.name, value.name)
			}
			read := map[K]V{} // grows instead of being sized at once: keys may repeat
			for range n {
				var k K
				var v V
				key.read(d, &k)
				if value.read(d, &v); !d.charge(1, size) {
					return
				}
				read[k] = v
			}
			*m = read
		},
	}
}
