package sandbox

import (
	"encoding/binary"
	"fmt"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// How a replica server lays out its store. All replicas share it, and so its log and its commits:
//
//	'd' app_id(4) partition(4) full key   the row: expire_ts(4) timetag(8) user data, which is Pegasus's value version 1
//	's' app_id(4) partition(4)            the point the rows add up to: ballot(8) decree(8)
//	'k' app_id(4) partition(4)            the tag of the disk that the replica is on
//	'i' app_id(4)                         what the server knows of a table, as JSON
//	't' app_id(4) partition(4) full key   the key was deleted, see behind.go
//	'l' app_id(4) partition(4) decree(8)  a write that is to be shipped to other clusters, see dup_log.go

const (
	rowHeader  = 12 // of a value, before the user data
	prefixSize = 9
)

func rowPrefix(pid wire.GPID) []byte   { return tagged('d', pid) }
func stateKeyOf(pid wire.GPID) []byte  { return tagged('s', pid) }
func diskKeyOf(pid wire.GPID) []byte   { return tagged('k', pid) }
func stateKeys() (lower, upper []byte) { return []byte{'s'}, []byte{'s' + 1} }

func tagged(tag byte, pid wire.GPID) []byte {
	key := make([]byte, 0, prefixSize)
	key = binary.BigEndian.AppendUint32(append(key, tag), uint32(pid.App))
	return binary.BigEndian.AppendUint32(key, uint32(pid.Partition))
}

func parseState(key, value []byte) (wire.GPID, point, error) {
	if len(key) != prefixSize || len(value) != 16 {
		return wire.GPID{}, point{}, fmt.Errorf("state of a replica is damaged: key %x, value %x", key, value)
	}
	pid := wire.GPID{App: int32(binary.BigEndian.Uint32(key[1:])), Partition: int32(binary.BigEndian.Uint32(key[5:]))}
	return pid, point{int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))}, nil
}

func putState(b *engine.Batch, key []byte, at point) error {
	var value [16]byte
	binary.BigEndian.PutUint64(value[:], uint64(at.Ballot))
	binary.BigEndian.PutUint64(value[8:], uint64(at.Decree))
	return b.Set(key, value[:], nil)
}

// putRow writes a row whose full key is given in parts, straight into the batch.
func putRow(b *engine.Batch, prefix []byte, expire int32, tag uint64, data []byte, key ...[]byte) error {
	size := len(prefix)
	for _, part := range key {
		size += len(part)
	}
	op := b.SetDeferred(size, rowHeader+len(data))
	n := copy(op.Key, prefix)
	for _, part := range key {
		n += copy(op.Key[n:], part)
	}
	binary.BigEndian.PutUint32(op.Value, uint32(expire))
	binary.BigEndian.PutUint64(op.Value[4:], tag)
	copy(op.Value[rowHeader:], data)
	return op.Finish()
}

// deleteRow deletes a row whose full key is given in parts.
func deleteRow(b *engine.Batch, prefix []byte, key ...[]byte) error {
	size := len(prefix)
	for _, part := range key {
		size += len(part)
	}
	op := b.DeleteDeferred(size)
	n := copy(op.Key, prefix)
	for _, part := range key {
		n += copy(op.Key[n:], part)
	}
	return op.Finish()
}

// hashKeyLength is the head of a full key.
func hashKeyLength(hash []byte) []byte {
	return binary.BigEndian.AppendUint16(nil, uint16(len(hash)))
}

// timetag is what Pegasus keeps with a value: microseconds, the cluster that wrote it and whether it is a deletion.
func (r *replica) timetag(now time.Time) uint64 {
	return timetagOf(now.UnixMicro(), int8(max(clusterID(r.s.net.cluster()), 1)), false)
}

// tagOf is the timetag of a stored value, 0 of none.
func tagOf(value []byte) uint64 {
	if len(value) < rowHeader {
		return 0
	}
	return binary.BigEndian.Uint64(value[4:])
}

// expireOf is the expiry field of a stored value, whose length the store vouches for.
func expireOf(value []byte) int32 {
	if len(value) < rowHeader {
		return 0
	}
	return int32(binary.BigEndian.Uint32(value))
}

func dataOf(value []byte) []byte {
	if len(value) < rowHeader {
		return nil
	}
	return value[rowHeader:]
}
