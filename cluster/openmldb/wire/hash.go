package wire

import (
	"encoding/binary"
	"strings"
)

// keySeed is the seed of the hash that places keys (OpenMLDB: base/hash.h).
const keySeed = 0xe17a1465

// Hash64 is the hash of an index key: MurmurHash64A as a signed number, made positive.
func Hash64(key string) int64 {
	h := int64(murmur64A(key, keySeed))
	if h < 0 {
		return -h
	}
	return h
}

// PartitionOf is the partition that a key belongs to. The smallest negative hash has no positive counterpart and is
// taken as the unsigned number it is, which is what the modulus of the servers does.
func PartitionOf(key string, partitions uint32) uint32 {
	if partitions == 0 {
		return 0
	}
	return uint32(uint64(Hash64(key)) % uint64(partitions))
}

// JoinKey is the text of a key of several columns.
func JoinKey(columns []string) string { return strings.Join(columns, "|") }

func murmur64A(key string, seed uint64) uint64 {
	const (
		m = 0xc6a4a7935bd1e995
		r = 47
	)
	h := seed ^ uint64(len(key))*m
	data := []byte(key)
	for ; len(data) >= 8; data = data[8:] {
		k := binary.LittleEndian.Uint64(data) * m
		k ^= k >> r
		h = (h ^ k*m) * m
	}
	if len(data) > 0 {
		var tail [8]byte
		copy(tail[:], data)
		h = (h ^ binary.LittleEndian.Uint64(tail[:])) * m
	}
	h ^= h >> r
	h *= m
	return h ^ h>>r
}
