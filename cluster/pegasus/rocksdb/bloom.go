package rocksdb

import "encoding/binary"

// The full Bloom filter of format versions below 5, which every later RocksDB reads too: lines of 64 bytes, each key in
// one line only, then a byte with the number of probes and a u32 with that of lines.
const (
	bloomLine   = 64
	bloomSuffix = 5
)

// bloomHash is the hash of RocksDB's filters: a simple relative of MurmurHash. The last bytes are taken as signed.
func bloomHash(b []byte) uint32 {
	const seed, m = 0xbc9f1d34, 0xc6a4a793
	h := uint32(seed) ^ uint32(len(b))*m
	for ; len(b) >= 4; b = b[4:] {
		h = (h + le32(b)) * m
		h ^= h >> 16
	}
	if len(b) == 0 {
		return h
	}
	for i := len(b) - 1; i >= 0; i-- {
		h += uint32(int32(int8(b[i])) << (8 * i))
	}
	h *= m
	return h ^ h>>24
}

// bloomFilter returns the filter of keys given by their hashes.
func bloomFilter(hashes []uint32, bitsPerKey int) []byte {
	probes := min(max(bitsPerKey*69/100, 1), 30)
	lines := 0
	if len(hashes) > 0 {
		lines = (len(hashes)*bitsPerKey + 8*bloomLine - 1) / (8 * bloomLine)
		lines |= 1 // an odd number: then all bits of the hash matter
	}
	b := make([]byte, lines*bloomLine, lines*bloomLine+bloomSuffix)
	for _, h := range hashes {
		line := b[int(h%uint32(lines))*bloomLine:]
		delta := h>>17 | h<<15
		for range probes {
			bit := h % (8 * bloomLine)
			line[bit/8] |= 1 << (bit % 8)
			h += delta
		}
	}
	b = append(b, byte(probes))
	return binary.LittleEndian.AppendUint32(b, uint32(lines))
}
