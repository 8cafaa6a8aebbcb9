package rocksdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
)

// suffixSize is what an internal key has after the user's key: sequence number and kind, little-endian.
const suffixSize = 8

func appendSuffix(b []byte, seqno uint64, kind Kind) []byte {
	return binary.LittleEndian.AppendUint64(b, seqno<<8|uint64(kind))
}

func (k InternalKey) append(b []byte) []byte {
	return appendSuffix(append(b, k.User...), k.Seqno, k.Kind)
}

// parseInternalKey splits an internal key; the user's part aliases it.
func parseInternalKey(b []byte) (InternalKey, error) {
	if len(b) < suffixSize {
		return InternalKey{}, corruptf("an internal key of %d bytes", len(b))
	}
	n := len(b) - suffixSize
	suffix := binary.LittleEndian.Uint64(b[n:])
	return InternalKey{User: b[:n:n], Seqno: suffix >> 8, Kind: Kind(suffix)}, nil
}

// compare orders internal keys: by the user's key, the latest change first.
func (k InternalKey) compare(o InternalKey) int {
	if c := bytes.Compare(k.User, o.User); c != 0 {
		return c
	}
	if c := cmp.Compare(o.Seqno, k.Seqno); c != 0 {
		return c
	}
	return cmp.Compare(o.Kind, k.Kind)
}

// cursor takes values off the front of bytes. The first failure sticks, and everything after it is zero.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = corruptf(format, args...)
	}
	c.b = nil
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail("a number is cut short")
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) uvarint32() uint32 {
	v := c.uvarint()
	if v > 1<<32-1 {
		c.fail("%d is too great for 32 bits", v)
		return 0
	}
	return uint32(v)
}

// take returns the next n bytes, which alias the input.
func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail("%d bytes where %d are left", n, len(c.b))
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// prefixed returns bytes that have their length before them.
func (c *cursor) prefixed() []byte { return c.take(c.uvarint()) }

func appendPrefixed[B ~[]byte | ~string](b []byte, v B) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
