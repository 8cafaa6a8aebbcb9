package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Sum is of rows, in whatever order: a 128-bit hash (XXH3) of each, added up.
type Sum struct{ hi, lo uint64 }

// add takes in a row: the length of its key as a uvarint, the key, the time in 8 bytes, big endian, and its bytes as
// openmldb.CopyRow.Value has them. buf is for scratch, and answered for the next one.
func (s *Sum) add(buf []byte, key string, time uint64, value []byte) []byte {
	buf = binary.AppendUvarint(buf[:0], uint64(len(key)))
	buf = append(buf, key...)
	buf = binary.BigEndian.AppendUint64(buf, time)
	buf = append(buf, value...)
	h := xxh3.Hash128(buf)
	s.plus(Sum{h.Hi, h.Lo})
	return buf
}

func (s *Sum) plus(o Sum) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.hi, _ = bits.Add64(s.hi, o.hi, carry)
}

// MarshalText writes it as 32 hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x%016x", s.hi, s.lo), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Sum) UnmarshalText(text []byte) error {
	var b [16]byte
	if len(text) != 2*len(b) {
		return fmt.Errorf("a sum has %d digits, and this one %d", 2*len(b), len(text))
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return err
	}
	s.hi, s.lo = binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	return nil
}

// Tally counts and sums rows.
type Tally struct {
	Rows int64 `json:"rows"`
	Sum  Sum   `json:"sum"`
}

func (t *Tally) plus(o Tally) {
	t.Rows += o.Rows
	t.Sum.plus(o.Sum)
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
