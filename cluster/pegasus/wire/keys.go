package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"time"
)

// MaxHashKey is the longest hash key; servers refuse 65535 and more.
const MaxHashKey = math.MaxUint16 - 1

// Epoch is 2016-01-01 00:00:00 UTC in Unix seconds; expiry times count from it.
const Epoch = 1451606400

// ErrKey says that bytes are not a full key, or a hash key is too long.
var ErrKey = errors.New("not a valid key")

// hashTable is Pegasus's own CRC-64, in the reflected notation.
var hashTable = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// Hash is the partition hash of a row: over the hash key, or over the sort key when the hash key is empty.
func Hash(hash, sort []byte) uint64 {
	if len(hash) == 0 {
		return crc64.Checksum(sort, hashTable)
	}
	return crc64.Checksum(hash, hashTable)
}

// PartitionOf is the index of the partition that a hash belongs to.
func PartitionOf(hash uint64, partitions int) int { return int(hash % uint64(partitions)) }

// EncodeKey makes a full key: two bytes of length, the hash key, the sort key.
func EncodeKey(hash, sort []byte) ([]byte, error) {
	if len(hash) > MaxHashKey {
		return nil, fmt.Errorf("%w: a hash key of %d bytes is longer than %d", ErrKey, len(hash), MaxHashKey)
	}
	key := make([]byte, 0, 2+len(hash)+len(sort))
	key = binary.BigEndian.AppendUint16(key, uint16(len(hash)))
	return append(append(key, hash...), sort...), nil
}

// DecodeKey splits a full key; the parts alias it.
func DecodeKey(key []byte) (hash, sort []byte, err error) {
	if len(key) < 2 {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	n := 2 + int(binary.BigEndian.Uint16(key))
	if n > len(key) {
		return nil, nil, fmt.Errorf("%w: a hash key of %d bytes in %d", ErrKey, n-2, len(key))
	}
	return key[2:n:n], key[n:], nil
}

// Successor is the smallest key greater than every key that starts with prefix; nil when there is none.
func Successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			next := append([]byte(nil), prefix[:i+1]...)
			next[i]++
			return next
		}
	}
	return nil
}

// ExpireTS is the expiry field of something that lives for ttl from now, 0 for no TTL. As in every client, the second
// that now is in counts from its start; a fraction of a second in ttl counts as a whole one. It fails for a TTL below 0
// or beyond what the field holds (the year 2084).
func ExpireTS(now time.Time, ttl time.Duration) (int32, error) {
	if ttl == 0 {
		return 0, nil
	}
	seconds := int64(ttl / time.Second)
	if ttl%time.Second > 0 {
		seconds++
	}
	ts := now.Unix() - Epoch + seconds
	if ttl < 0 || ts <= 0 || ts > math.MaxInt32 {
		return 0, fmt.Errorf("a time to live of %v is out of range", ttl)
	}
	return int32(ts), nil
}

// ExpireTime is the time of an expiry field, the zero Time for none.
func ExpireTime(ts int32) time.Time {
	if ts == 0 {
		return time.Time{}
	}
	return time.Unix(Epoch+int64(uint32(ts)), 0)
}

// Expired reports whether a row with that expiry field is gone at now.
func Expired(ts int32, now time.Time) bool {
	return ts != 0 && Epoch+int64(uint32(ts)) <= now.Unix()
}
