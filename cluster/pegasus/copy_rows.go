package pegasus

import (
	"bytes"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
)

// CopyRow is a row as it travels: its full key, its value, and when it expires.
type CopyRow = wire.KeyValue

// CopyKey takes the key of a row apart.
func CopyKey(row CopyRow) (hash, sort []byte, err error) { return wire.DecodeKey(row.Key) }

// CopyExpires is when a row expires, the zero Time for never.
func CopyExpires(row CopyRow) time.Time { return wire.ExpireTime(row.ExpireTS) }

// CopyRows compares rows as they travel.
type CopyRows struct {
	// Drift is by how much times of expiry may differ that count as the same. A row that never expires is not the same
	// as one that does. Times are kept in whole seconds.
	Drift time.Duration
}

var _ transfer.Holder[CopyRow] = CopyRows{}

// Key is the full key.
func (CopyRows) Key(row CopyRow) []byte { return row.Key }

// Sum is of key, value and time of expiry. Journals depend on it.
func (CopyRows) Sum(row CopyRow) uint64 {
	head := xxhash.Sum64(row.Key) + uint64(uint32(row.ExpireTS))*0x9e3779b97f4a7c15
	return bits.RotateLeft64(head, 31) + xxhash.Sum64(row.Value)
}

// Compare compares two rows of the same key.
func (r CopyRows) Compare(a, b CopyRow) transfer.Difference {
	if !bytes.Equal(a.Value, b.Value) {
		return transfer.Different
	}
	if a.ExpireTS == b.ExpireTS {
		return transfer.Same
	}
	if a.ExpireTS == 0 || b.ExpireTS == 0 || wire.ExpireTime(a.ExpireTS).Sub(wire.ExpireTime(b.ExpireTS)).Abs() > r.Drift {
		return transfer.Drift
	}
	return transfer.Same
}

// Size is the size of key and value.
func (CopyRows) Size(row CopyRow) int { return len(row.Key) + len(row.Value) }

// Clone copies a row out of the answer that it came in.
func (CopyRows) Clone(row CopyRow) CopyRow {
	row.Key, row.Value = bytes.Clone(row.Key), bytes.Clone(row.Value)
	return row
}

// briefValue is how much of a value is shown to people.
const briefValue = 120

// Brief shortens a long value; three dots stand for the rest.
func (CopyRows) Brief(row CopyRow) CopyRow {
	if len(row.Value) > briefValue {
		row.Value = append(bytes.Clone(row.Value[:briefValue]), "..."...)
	}
	return row
}
