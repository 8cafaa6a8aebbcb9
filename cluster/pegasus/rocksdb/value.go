package rocksdb

import (
	"encoding/binary"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Value is a stored value taken apart. Data aliases what it came from.
type Value struct {
	ExpireTS uint32 // seconds since wire.Epoch, 0 for no expiry
	TimeTag  uint64 // microseconds << 8 | cluster << 1 | deleted; 0 in data version 0, and when none was written
	Data     []byte
}

// headerSize is what stands before the data of a value, by data version: u32 of expiry, and u64 of time tag.
var headerSize = [...]int{0: 4, 1: 12}

// DecodeValue takes a stored value of data version 0 or 1 apart.
func DecodeValue(version int, b []byte) (Value, error) {
	if version < 0 || version >= len(headerSize) {
		return Value{}, unsupportedf("data version %d", version)
	}
	n := headerSize[version]
	if len(b) < n {
		return Value{}, corruptf("a value of %d bytes, less than its header", len(b))
	}
	v := Value{ExpireTS: binary.BigEndian.Uint32(b), Data: b[n:]}
	if version == 1 {
		v.TimeTag = binary.BigEndian.Uint64(b[4:])
	}
	return v, nil
}

// AppendTo appends the value as data version 0 or 1 stores it. Version 0 has no place for the time tag.
func (v Value) AppendTo(b []byte, version int) ([]byte, error) {
	if version < 0 || version >= len(headerSize) {
		return nil, unsupportedf("data version %d", version)
	}
	b = binary.BigEndian.AppendUint32(b, v.ExpireTS)
	if version == 1 {
		b = binary.BigEndian.AppendUint64(b, v.TimeTag)
	}
	return append(b, v.Data...), nil
}

// Expired reports whether a value is over at a time, as a replica server judges it; the zero time lets all live.
func (v Value) Expired(now time.Time) bool {
	return !now.IsZero() && wire.Expired(int32(v.ExpireTS), now)
}
