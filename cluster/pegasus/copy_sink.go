package pegasus

import (
	"bytes"
	"context"
	"encoding/binary"
	"iter"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// RowSinkOptions say how a RowSink writes.
type RowSinkOptions struct {
	// AppID is the table's id: another table of that name is not written to. 0 writes to whichever is there.
	AppID int32
	// MaxRows bounds the rows of one call; 500 when 0.
	MaxRows int
	// NoTTL writes rows without their times to live. NoOverwrite keeps rows that are there, one call a row.
	NoTTL, NoOverwrite bool
}

// RowSink writes rows to a table for package transfer: those of a hash key that expire at the same second by one call,
// with that second, so that each keeps its own; rows without a hash key one by one.
type RowSink struct {
	d         *Driver
	op, table string
	o         RowSinkOptions
}

var _ transfer.Sink[CopyRow] = (*RowSink)(nil)

const (
	sinkRows = 500
	// sinkBytes is half of what servers take in one write, so that what is around the rows fits, too.
	sinkBytes = 512 << 10
)

// RowSink answers a sink of rows for a table.
func (d *Driver) RowSink(table string, o RowSinkOptions) *RowSink {
	if o.MaxRows <= 0 {
		o.MaxRows = sinkRows
	}
	return &RowSink{d: d, op: "write rows to " + table, table: table, o: o}
}

// Pieces cuts rows where the hash key or the expiry changes, and where a call would be too large.
func (s *RowSink) Pieces(rows []CopyRow) iter.Seq[transfer.Piece[CopyRow]] {
	return func(yield func(transfer.Piece[CopyRow]) bool) {
		for len(rows) > 0 {
			n, size := s.first(rows)
			if !yield(transfer.Piece[CopyRow]{Rows: rows[:n:n], Bytes: size}) {
				return
			}
			rows = rows[n:]
		}
	}
}

// first is how many rows the first call takes.
func (s *RowSink) first(rows []CopyRow) (n int, size int64) {
	head := &rows[0]
	size = int64(len(head.Key) - 2 + len(head.Value))
	end := hashEnd(head.Key)
	if end == 2 || s.o.NoOverwrite {
		return 1, size
	}
	prefix := head.Key[:end]
	most := min(len(rows), s.o.MaxRows)
	for n = 1; n < most; n++ {
		kv := &rows[n]
		more := int64(len(kv.Key) - 2 + len(kv.Value))
		if !bytes.HasPrefix(kv.Key, prefix) || kv.ExpireTS != head.ExpireTS && !s.o.NoTTL || size+more > sinkBytes {
			break
		}
		size += more
	}
	return n, size
}

// hashEnd is where the hash key of a full key ends; the source has looked at the key.
func hashEnd(key []byte) int { return 2 + int(binary.BigEndian.Uint16(key)) }

// Write writes a piece.
func (s *RowSink) Write(ctx context.Context, piece transfer.Piece[CopyRow]) (transfer.Written, error) {
	head := &piece.Rows[0]
	n := int64(len(piece.Rows))
	expires := head.ExpireTS
	switch {
	case s.o.NoTTL:
		expires = 0
	case wire.Expired(expires, time.Now()):
		return transfer.Written{Expired: n}, nil
	}
	end := hashEnd(head.Key)
	hash, sort := head.Key[2:end:end], head.Key[end:]
	h := wire.Hash(hash, sort)
	if s.o.NoOverwrite {
		return s.add(ctx, h, hash, sort, head.Value, expires, piece.Unsure)
	}
	var a wire.UpdateResponse
	var err error
	if n == 1 {
		args := wire.PutRequest{Key: head.Key, Value: head.Value, ExpireTS: expires}
		err = partitionCall(ctx, s.d, s.op, s.table, s.where(h), h, &wire.Put, &args, &a)
	} else {
		args := wire.MultiPutRequest{HashKey: hash, Rows: piece.Rows, Strip: end, ExpireTS: expires}
		err = partitionCall(ctx, s.d, s.op, s.table, s.where(h), h, &wire.MultiPut, &args, &a)
	}
	if err == nil {
		err = statusError(s.op, a.Server, a.Error)
	}
	if err != nil {
		return transfer.Written{}, err
	}
	return transfer.Written{Rows: n}, nil
}

// add writes a row that is not there.
func (s *RowSink) add(
	ctx context.Context, h uint64, hash, sort, value []byte, expires int32, unsure bool,
) (transfer.Written, error) {
	args := wire.CheckAndSetRequest{
		HashKey: hash, CheckSortKey: sort, CheckType: wire.CheckNotExist, SetSortKey: sort, SetValue: value, ExpireTS: expires,
	}
	var a wire.CheckResponse
	if err := partitionCall(ctx, s.d, s.op, s.table, s.where(h), h, &wire.CheckAndSet, &args, &a); err != nil {
		return transfer.Written{}, err
	}
	switch {
	case a.Error == wire.StatusTryAgain && unsure:
		return transfer.Written{Unsure: 1}, nil
	case a.Error == wire.StatusTryAgain:
		return transfer.Written{Kept: 1}, nil
	}
	if err := statusError(s.op, a.Server, a.Error); err != nil {
		return transfer.Written{}, err
	}
	return transfer.Written{Rows: 1}, nil
}

func (s *RowSink) where(h uint64) target {
	return func(r *route) (int, error) {
		if s.o.AppID != 0 && r.AppID != s.o.AppID {
			e := spec.Errorf(spec.Failed, "table %s is another one: its id was %d and is %d", s.table, s.o.AppID, r.AppID)
			e.Op = s.op
			return 0, e
		}
		return r.index(h), nil
	}
}

// Judge says what an error of Write means.
func (s *RowSink) Judge(err error) transfer.Verdict {
	if s.o.NoOverwrite && isCode(err, wire.CodeOperationDisabled) {
		return transfer.Fatal // a table that is duplicated takes no checked writes
	}
	return judge(err)
}
