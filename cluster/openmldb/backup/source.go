package backup

import (
	"context"
	"encoding/binary"
	"iter"
	"path"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// A batch of a Source ends between two times of a key, once it has so many rows, or bytes.
const (
	batchRows  = 500
	batchBytes = 1 << 20
)

// Source reads the rows of a backup, to be put into a table. Its parts are the partitions of the indexes that are stored.
type Source struct {
	s     storage.Service
	dir   string
	m     *Manifest
	parts [][]Chunk
	slots chan struct{} // of chunks in memory
}

var _ transfer.Source[openmldb.CopyRow] = (*Source)(nil)

// NewSource reads a backup that was loaded. atOnce bounds the files that are in memory.
func NewSource(s storage.Service, dir string, m *Manifest, atOnce int) *Source {
	out := &Source{s: s, dir: dir, m: m, slots: make(chan struct{}, max(atOnce, 1))}
	for _, c := range m.Chunks {
		if c.Number == 0 {
			out.parts = append(out.parts, nil)
		}
		last := &out.parts[len(out.parts)-1]
		*last = append(*last, c)
	}
	return out
}

// Parts implements transfer.Source.
func (x *Source) Parts(context.Context) ([]transfer.Part, error) {
	var all []transfer.Part
	for i, chunks := range x.parts {
		p := transfer.Part{Number: i}
		for _, c := range chunks {
			p.Rows += c.Rows
			p.Bytes += c.RowBytes
		}
		all = append(all, p)
	}
	return all, nil
}

// Judge implements transfer.Source.
func (x *Source) Judge(err error) transfer.Verdict {
	if k := spec.KindOf(err); k == spec.Unavailable || k == spec.UnknownOutcome {
		return transfer.Again
	}
	return transfer.Fatal
}

// spot is a position: so many rows of a chunk have been dealt with.
type spot struct {
	chunk int
	rows  int64
}

func (p spot) encode() transfer.Position {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(p.chunk)), uint64(p.rows))
}

func decodeSpot(after transfer.Position) (p spot, ok bool) {
	if after == nil {
		return p, true
	}
	chunk, n := binary.Uvarint(after)
	if n <= 0 {
		return p, false
	}
	rows, k := binary.Uvarint(after[n:])
	return spot{int(chunk), int64(rows)}, k > 0 && chunk < 1<<31 && rows < 1<<62
}

// Read implements transfer.Source.
func (x *Source) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[openmldb.CopyRow], error] {
	return func(yield func(transfer.Batch[openmldb.CopyRow], error) bool) {
		at, ok := decodeSpot(after)
		if !ok || part < 0 || part >= len(x.parts) || at.chunk > len(x.parts[part]) {
			yield(transfer.Batch[openmldb.CopyRow]{}, spec.Errorf(spec.Failed, "the position to go on from makes no sense"))
			return
		}
		for ; at.chunk < len(x.parts[part]); at = (spot{at.chunk + 1, 0}) {
			more, err := x.chunk(ctx, x.parts[part][at.chunk], at, yield)
			if err != nil {
				yield(transfer.Batch[openmldb.CopyRow]{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// chunk yields what is left of a chunk.
func (x *Source) chunk(
	ctx context.Context, c Chunk, from spot, yield func(transfer.Batch[openmldb.CopyRow], error) bool,
) (more bool, err error) {
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	rows, err := readFile(ctx, x.s, x.dir, c.Files[rowsKind])
	if err != nil {
		return false, err
	}
	times, err := readFile(ctx, x.s, x.dir, c.Files[timesKind])
	if err != nil {
		return false, err
	}
	saved, err := newSaved(x.m)
	if err != nil {
		return false, err
	}
	var b transfer.Batch[openmldb.CopyRow]
	at := spot{from.chunk, 0}
	for r, err := range saved.chunkRows(c, rows, times) {
		if err != nil {
			return false, damaged(x.s, path.Join(x.dir, c.Files[rowsKind].Path), "%v", err)
		}
		if n := len(b.Rows); n > 0 && (n >= batchRows || b.Bytes >= batchBytes) && (r.Key != b.Rows[n-1].Key || r.Time != b.Rows[n-1].Time) {
			b.After = at.encode()
			if !yield(b, nil) {
				return false, nil
			}
			b = transfer.Batch[openmldb.CopyRow]{}
		}
		if at.rows++; at.rows <= from.rows {
			continue
		}
		b.Rows = append(b.Rows, r)
		b.Bytes += int64(len(r.Key) + len(r.Value))
	}
	if len(b.Rows) == 0 {
		return true, nil
	}
	b.After = at.encode()
	return yield(b, nil), nil
}
