package rocksdb

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
)

// Checksum is how the blocks of a table are protected; the numbers are those of the footer.
type Checksum uint8

// The checksums RocksDB knows.
const (
	NoChecksum       Checksum = 0
	ChecksumCRC32C   Checksum = 1
	ChecksumXXHash   Checksum = 2
	ChecksumXXHash64 Checksum = 3
	ChecksumXXH3     Checksum = 4
)

func (c Checksum) String() string {
	names := [...]string{"none", "crc32c", "xxhash", "xxhash64", "xxh3"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("checksum %d", uint8(c))
}

// castagnoli is a table of the standard library, which makes it once and never changes it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskCRC is how RocksDB stores a CRC-32C, so that a checksum over bytes that hold checksums stays useful.
func maskCRC(crc uint32) uint32 { return bits.RotateLeft32(crc, -15) + 0xa282ead8 }

// sum is the checksum of a block as it lies in the file, the byte of its compression included; b ends with that byte.
func (c Checksum) sum(b []byte) uint32 {
	switch c {
	case ChecksumCRC32C:
		return maskCRC(crc32.Checksum(b, castagnoli))
	case ChecksumXXHash:
		return xxhash32(b)
	case ChecksumXXHash64:
		return uint32(xxhash.Sum64(b))
	case ChecksumXXH3:
		n := len(b) - 1
		return uint32(xxh3.Hash(b[:n])) ^ uint32(b[n])*0x6b9083d9
	}
	return 0
}

// xxhash32 is XXH32 with the seed 0; the numbers are the primes of its specification.
func xxhash32(b []byte) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f, 0x165667b1
	round := func(acc, lane uint32) uint32 { return bits.RotateLeft32(acc+lane*p2, 13) * p1 }
	word := binary.LittleEndian.Uint32
	h, n := p5, uint32(len(b))
	if len(b) >= 16 {
		v1, v2, v3, v4 := p1, p2, uint32(0), uint32(0)
		v1 += p2
		v4 -= p1
		for ; len(b) >= 16; b = b[16:] {
			v1, v2 = round(v1, word(b)), round(v2, word(b[4:]))
			v3, v4 = round(v3, word(b[8:])), round(v4, word(b[12:]))
		}
		h = bits.RotateLeft32(v1, 1) + bits.RotateLeft32(v2, 7) + bits.RotateLeft32(v3, 12) + bits.RotateLeft32(v4, 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+word(b)*p3, 17) * p4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*p5, 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
