package transfer

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cespare/xxhash/v2"
)

// bucketBits: 65,536 buckets tell apart the rows around a difference: of a billion rows some 15,000 are looked at.
const (
	bucketBits = 16
	buckets    = 1 << bucketBits
)

// hashOf is a row's place: the upper bits are its bucket. Journals depend on it.
func hashOf(key []byte) uint64 { return xxhash.Sum64(key) }

func bucketOf(hash uint64) int { return int(hash >> (64 - bucketBits)) }

// bucket sums rows so that their order does not matter.
type bucket struct {
	count, sum, xor uint64
	bytes           uint64 // what it costs to hold them
}

type sums []bucket

func newSums() sums { return make(sums, buckets) }

// add adds a row, its checksum mixed with its place, lest rows that swap their values go unnoticed.
func (s sums) add(hash, check uint64, bytes int64) {
	b := &s[bucketOf(hash)]
	mixed := (check ^ hash) * 0x9e3779b97f4a7c15 // 2^64 / the golden ratio, odd: loses nothing
	mixed ^= mixed >> 32
	b.count++
	b.sum += mixed
	b.xor ^= mixed * (hash | 1)
	b.bytes += uint64(max(bytes, 0))
}

func (s sums) merge(other sums) {
	for i, b := range other {
		s[i].count += b.count
		s[i].sum += b.sum
		s[i].xor ^= b.xor
		s[i].bytes += b.bytes
	}
}

func (s sums) rows() (n int64) {
	for _, b := range s {
		n += int64(b.count)
	}
	return n
}

// same reports whether the rows of two buckets are equal; what they take in memory is no matter.
func (b bucket) same(other bucket) bool {
	return b.count == other.count && b.sum == other.sum && b.xor == other.xor
}

func (s sums) differ(other sums) bool {
	for i := range s {
		if !s[i].same(other[i]) {
			return true
		}
	}
	return false
}

// encode writes the buckets that are not empty: how many empty ones come before, count, bytes, sum and xor.
func (s sums) encode() []byte {
	out := []byte{}
	empty := uint64(0)
	for _, b := range s {
		if b.count == 0 {
			empty++
			continue
		}
		out = binary.AppendUvarint(out, empty)
		out = binary.AppendUvarint(out, b.count)
		out = binary.AppendUvarint(out, b.bytes)
		out = binary.LittleEndian.AppendUint64(out, b.sum)
		out = binary.LittleEndian.AppendUint64(out, b.xor)
		empty = 0
	}
	return out
}

var errSums = errors.New("its sums are damaged")

// decode reads what encode wrote into empty sums.
func (s sums) decode(in []byte) error {
	for at := uint64(0); len(in) > 0; at++ {
		var head [3]uint64
		for i := range head {
			n := 0
			if head[i], n = binary.Uvarint(in); n <= 0 {
				return errSums
			}
			in = in[n:]
		}
		if head[0] >= uint64(len(s)) || at+head[0] >= uint64(len(s)) || head[1] == 0 || head[1] > math.MaxInt64 || len(in) < 16 {
			return errSums
		}
		at += head[0]
		s[at] = bucket{
			count: head[1], bytes: head[2],
			sum: binary.LittleEndian.Uint64(in), xor: binary.LittleEndian.Uint64(in[8:]),
		}
		in = in[16:]
	}
	return nil
}
