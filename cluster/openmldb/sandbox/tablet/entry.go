package tablet

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"shardsh/cluster/openmldb/pb/api"
)

// entry is one change of a partition: a row that was put, or what was deleted. Entries are counted from 1; the number of
// the last one is the partition's offset. An entry is not written to once it is in the log.
type entry struct {
	term, index uint64
	value       []byte
	dims        []dimension
	ts          uint64
	hasTS       bool // always for a put; for a delete, the newest time deleted
	delete      bool
	endTS       *uint64 // of a delete: the time up to which rows stay
	tsName      *string // of a delete without a key: which indexes it is about
	refs        int32   // indexes that have the row, under the partition's lock
}

// dimension is a row's place in one index.
type dimension struct {
	key string
	idx uint32
}

// rowOverhead is what the store counts for a row beside its bytes (OpenMLDB: sizeof DataBlock).
const rowOverhead = 16

var errEntry = errors.New("not a log entry")

// Numbers of api.LogEntry's fields.
const (
	fieldTerm, fieldIndex, fieldValue, fieldTS = 1, 2, 4, 5
	fieldDimension, fieldMethod                = 6, 7
	fieldEndTS, fieldTSName                    = 9, 10
)

// appendEntry appends an entry as a serialized api.LogEntry, its index among the first fields.
func appendEntry(b []byte, e *entry) []byte {
	b = appendVarint(b, fieldTerm, e.term)
	b = appendVarint(b, fieldIndex, e.index)
	if len(e.value) > 0 {
		b = protowire.AppendTag(b, fieldValue, protowire.BytesType)
		b = protowire.AppendBytes(b, e.value)
	}
	if e.hasTS {
		b = appendVarint(b, fieldTS, e.ts)
	}
	for _, d := range e.dims {
		size := 1 + protowire.SizeBytes(len(d.key)) + 1 + protowire.SizeVarint(uint64(d.idx))
		b = protowire.AppendTag(b, fieldDimension, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, d.key)
		b = appendVarint(b, 2, uint64(d.idx))
	}
	if e.delete {
		b = appendVarint(b, fieldMethod, uint64(api.MethodType_kDelete))
	}
	if e.endTS != nil {
		b = appendVarint(b, fieldEndTS, *e.endTS)
	}
	if e.tsName != nil {
		b = protowire.AppendTag(b, fieldTSName, protowire.BytesType)
		b = protowire.AppendString(b, *e.tsName)
	}
	return b
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// parseEntry reads a serialized api.LogEntry. Nothing of it aliases b.
func parseEntry(b []byte) (*entry, error) {
	e := &entry{}
	err := eachField(b, func(field protowire.Number, v uint64, bytes []byte) error {
		switch field {
		case fieldTerm:
			e.term = v
		case fieldIndex:
			e.index = v
		case fieldValue:
			e.value = append([]byte{}, bytes...)
		case fieldTS:
			e.ts, e.hasTS = v, true
		case fieldDimension:
			d, err := parseDimension(bytes)
			if err != nil {
				return err
			}
			e.dims = append(e.dims, d)
		case fieldMethod:
			e.delete = v == uint64(api.MethodType_kDelete)
		case fieldEndTS:
			e.endTS = &v
		case fieldTSName:
			name := string(bytes)
			e.tsName = &name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if e.index == 0 {
		return nil, fmt.Errorf("%w: it has no index", errEntry)
	}
	return e, nil
}

func parseDimension(b []byte) (dimension, error) {
	var d dimension
	err := eachField(b, func(field protowire.Number, v uint64, bytes []byte) error {
		switch field {
		case 1:
			d.key = string(bytes)
		case 2:
			d.idx = uint32(v)
		}
		return nil
	})
	return d, err
}

// eachField hands on the varints and the byte strings of a message; fields of another type are skipped.
func eachField(b []byte, do func(field protowire.Number, v uint64, bytes []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errEntry, protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errEntry, protowire.ParseError(n))
		}
		b = b[n:]
		if kind == protowire.VarintType || kind == protowire.BytesType {
			if err := do(field, v, bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexOf reads the index of a serialized entry, 0 when it has none.
func indexOf(b []byte) uint64 {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if field == fieldIndex && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return 0
}

// entryOf takes an entry that came from a leader.
func entryOf(m *api.LogEntry) *entry {
	e := &entry{
		term: m.GetTerm(), index: m.GetLogIndex(), value: m.GetValue(), ts: m.GetTs(), hasTS: m.Ts != nil,
		delete: m.GetMethodType() == api.MethodType_kDelete, endTS: m.EndTs, tsName: m.TsName,
	}
	e.dims = dimensionsOf(m.GetDimensions())
	return e
}

func dimensionsOf(all []*api.Dimension) []dimension {
	dims := make([]dimension, len(all))
	for i, d := range all {
		dims[i] = dimension{d.GetKey(), d.GetIdx()}
	}
	return dims
}
