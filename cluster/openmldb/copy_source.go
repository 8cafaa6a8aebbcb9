package openmldb

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// CopySourceOptions choose rows of a table.
type CopySourceOptions struct {
	Index      string // the one to read; "" is the first
	Partitions []int  // nil for all
	// From and To bound the times of rows, in milliseconds; From is included, To is not and 0 is no end.
	From, To uint64
	// TableID, unless it is 0, is the table that is meant: another one of that name is not read.
	TableID uint32
}

// CopySource reads a table by one of its indexes. Batches end between times of a key, so that the rows of one time are
// together, in an order that does not depend on the replica they are read from; a change of the leader in the middle
// of them has them read anew.
type CopySource struct {
	d     *Driver
	table TableName
	o     CopySourceOptions
}

var (
	_ transfer.Source[CopyRow]      = (*CopySource)(nil)
	_ transfer.PointReader[CopyRow] = (*CopySource)(nil)
)

// CopySource makes a source of a table.
func (d *Driver) CopySource(table TableName, o CopySourceOptions) *CopySource {
	return &CopySource{d: d, table: table, o: o}
}

func (s *CopySource) op() string { return "read table " + s.table.String() }

// Judge says what an error of a read means.
func (s *CopySource) Judge(err error) transfer.Verdict { return judge(err) }

func (s *CopySource) prepare(ctx context.Context) (*Table, *Index, error) {
	if s.o.TableID != 0 {
		bounded, cancel := s.d.bound(ctx)
		defer cancel()
		if _, err := s.d.routeTo(bounded, s.op(), s.table, s.o.TableID, false); err != nil {
			return nil, nil, err
		}
	}
	t, x, err := s.d.prepare(ctx, s.op(), s.table, s.o.Index)
	if err == nil && s.o.TableID != 0 {
		err = sameTable(s.op(), t, s.o.TableID)
	}
	return t, x, err
}

// Parts are the partitions. How many rows they have is what the nameserver says.
func (s *CopySource) Parts(ctx context.Context) ([]transfer.Part, error) {
	t, err := s.d.Describe(ctx, s.table)
	if err != nil {
		return nil, err
	}
	if s.o.TableID != 0 {
		if err := sameTable(s.op(), t, s.o.TableID); err != nil {
			return nil, err
		}
	}
	var parts []transfer.Part
	for i := range t.Parts {
		if s.o.Partitions == nil || slices.Contains(s.o.Partitions, i) {
			rows, bytes := t.Guess(i)
			parts = append(parts, transfer.Part{Number: i, Rows: rows, Bytes: bytes})
		}
	}
	return parts, nil
}

// Guess is about how many rows a partition has, and their bytes in memory, as its tablet reported them.
func (t *Table) Guess(partition int) (rows, size int64) {
	r, ok := t.Parts[partition].Leader()
	if !ok || r.Records == nil {
		return 0, 0
	}
	rows = int64(min(*r.Records, math.MaxInt64/2))
	if r.Memory != nil {
		size = int64(min(*r.Memory, math.MaxInt64/2))
	}
	return rows, size
}

// copyPlace is a Position: a key and one of its times, whose rows have been dealt with.
type copyPlace struct {
	time uint64
	key  string
}

func (p copyPlace) encode() transfer.Position {
	return append(binary.BigEndian.AppendUint64(nil, p.time), p.key...)
}

// PositionAfter is the position behind all rows of a row's key and time, in the index and partition that it was read from.
func PositionAfter(row CopyRow) transfer.Position { return copyPlace{row.Time, row.Key}.encode() }

func decodePlace(op string, after transfer.Position) (copyPlace, error) {
	switch {
	case after == nil:
		return copyPlace{}, nil
	case len(after) <= 8:
		return copyPlace{}, spec.Errorf(spec.Failed, "%s: the position to go on from makes no sense", op)
	}
	return copyPlace{binary.BigEndian.Uint64(after), string(after[8:])}, nil
}

// Read yields the rows of a partition.
func (s *CopySource) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[CopyRow], error] {
	return func(yield func(transfer.Batch[CopyRow], error) bool) {
		begin, err := decodePlace(s.op(), after)
		if err == nil {
			r := &copyReader{s: s, part: part, done: begin}
			err = r.read(ctx, yield)
		}
		if err != nil {
			yield(transfer.Batch[CopyRow]{}, err)
		}
	}
}

// mostOfTime bounds the rows of one key and time, which are held together.
const mostOfTime = 32 << 20

// copyReader reads a partition.
type copyReader struct {
	s    *CopySource
	part int

	table *Table
	done  copyPlace // all up to here is in a batch
	batch transfer.Batch[CopyRow]
	// open are the rows of a key and time that may not be all.
	open      []CopyRow
	openBytes int
}

func (r *copyReader) read(ctx context.Context, yield func(transfer.Batch[CopyRow], error) bool) error {
	s := r.s
	t, x, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	var next TraversePosition
	from, size := "", uint32(firstPage)
	for {
		// Behind a page its tablet goes on from where it was; at another one rows of the same time may stand otherwise.
		if from == "" {
			next = TraversePosition{Key: r.done.key, Time: r.done.time}
		}
		page, err := s.d.rawPage(ctx, s.op(), s.table, t.ID, x.Name, r.part, next, size)
		if err != nil {
			return err
		}
		if from != "" && page.leader != from {
			r.open, r.openBytes, from = nil, 0, ""
			continue
		}
		from, r.table = page.leader, page.table
		for _, p := range page.pairs {
			if err := r.take(p); err != nil {
				return err
			}
		}
		if page.done {
			if err := r.close(); err != nil {
				return err
			}
		}
		if !r.flush(yield) || page.done {
			return nil
		}
		next, size = page.next, resize(len(page.pairs), page.bytes)
	}
}

// take takes a row.
func (r *copyReader) take(p wire.Pair) error {
	if p.Key == r.done.key && p.Time == r.done.time {
		return nil // the position lies behind these
	}
	if len(r.open) > 0 && (r.open[0].Key != p.Key || r.open[0].Time != p.Time) {
		if err := r.close(); err != nil {
			return err
		}
	}
	if p.Key == "" {
		return malformed(r.s.op(), "", "a row without a key")
	}
	value, err := normalRow(r.s.op(), r.table, p.Row)
	if err != nil {
		return err
	}
	r.open = append(r.open, CopyRow{Key: p.Key, Time: p.Time, Value: value})
	if r.openBytes += len(value) + 64; r.openBytes > mostOfTime {
		e := spec.Errorf(spec.Unable, "more than %d MiB of rows have the key %q and the same time, %d", mostOfTime>>20, said(p.Key), p.Time)
		e.Op = r.s.op()
		return e.WithHint("read another index: --index")
	}
	return nil
}

// close puts the rows of a key and time, which are all there, into the batch.
func (r *copyReader) close() error {
	if len(r.open) == 0 {
		return nil
	}
	s, rows := r.s, r.open
	r.open, r.openBytes = nil, 0
	r.done = copyPlace{rows[0].Time, rows[0].Key}
	if rows[0].Time < s.o.From || s.o.To != 0 && rows[0].Time >= s.o.To {
		r.batch.Filtered += int64(len(rows))
		return nil
	}
	if err := number(s.op(), r.table, rows); err != nil {
		return err
	}
	for i := range rows {
		r.batch.Bytes += int64(len(rows[i].Key) + len(rows[i].Value))
	}
	r.batch.Rows = append(r.batch.Rows, rows...)
	return nil
}

// number tells rows of one key and time apart: by their partition key, and where that is the same by their bytes.
func number(op string, t *Table, rows []CopyRow) error {
	if len(t.PartitionKey) > 0 {
		schema := plain(t)
		for i := range rows {
			values, err := schema.Decode(rows[i].Value)
			if err != nil {
				return malformed(op, "", "a row of table %s: %w", t.TableName, err)
			}
			if rows[i].Spread, err = t.keyOf(op, t.PartitionKey, values); err != nil {
				return err
			}
		}
	}
	if len(rows) < 2 {
		return nil
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rows[a].Spread, rows[b].Spread), bytes.Compare(rows[a].Value, rows[b].Value))
	})
	for i, at := range order[1:] {
		if before := rows[order[i]]; before.Spread == rows[at].Spread {
			rows[at].Nth = before.Nth + 1
		}
	}
	return nil
}

// flush yields what is whole. It reports whether more is wanted.
func (r *copyReader) flush(yield func(transfer.Batch[CopyRow], error) bool) bool {
	b := r.batch
	r.batch = transfer.Batch[CopyRow]{}
	if len(b.Rows) == 0 && b.Filtered == 0 {
		return true
	}
	b.After = r.done.encode()
	return yield(b, nil)
}

// Get reads a row again.
func (s *CopySource) Get(ctx context.Context, like CopyRow) (CopyRow, bool, error) {
	t, x, err := s.prepare(ctx)
	if err != nil {
		return CopyRow{}, false, err
	}
	homes := t.homes(like.Key)
	if len(t.PartitionKey) > 0 {
		homes = []uint32{wire.PartitionOf(like.Spread, uint32(len(t.Parts)))}
	}
	var rows []CopyRow
	for _, home := range homes {
		values, now, err := s.d.rowsAt(ctx, s.op(), t, home, x.Name, like.Key, like.Time)
		if err != nil {
			return CopyRow{}, false, err
		}
		t = now
		for _, v := range values {
			rows = append(rows, CopyRow{Key: like.Key, Time: like.Time, Value: v})
		}
	}
	if err := number(s.op(), t, rows); err != nil {
		return CopyRow{}, false, err
	}
	for _, r := range rows {
		if r.Spread == like.Spread && r.Nth == like.Nth {
			return r, true, nil
		}
	}
	return CopyRow{}, false, nil
}

// rowsAt reads the rows of a key and time from a partition, and makes them what CopyRow.Value is.
func (d *Driver) rowsAt(ctx context.Context, op string, t *Table, home uint32, index, key string, ms uint64) ([][]byte, *Table, error) {
	if ms == 0 {
		return d.rowsAtZero(ctx, op, t, home, index, key)
	}
	var all [][]byte
	size, limit, et := 0, uint32(firstPage), ms-1
	for {
		skip := uint32(len(all))
		a := &api.ScanResponse{}
		now, err := d.askOwner(ctx, rowCall{op: op, table: t.TableName, method: scan, build: func(now *Table) (uint32, proto.Message, error) {
			q := &api.ScanRequest{Tid: &t.ID, Pid: &home, Pk: &key, St: &ms, Et: &et, Limit: &limit, IdxName: &index}
			if skip > 0 {
				q.SkipRecordNum = &skip
			}
			return home, q, sameTable(op, now, t.ID)
		}}, a)
		var e *spec.Error
		if errors.As(err, &e) && (hasCode(e, codeBadArgument) || hasCode(e, codeNoKey)) {
			return all, t, nil // they have expired
		}
		if err != nil {
			return nil, t, err
		}
		pairs, err := wire.ScanPairs(a.GetPairs())
		if err != nil {
			return nil, t, malformed(op, "", "%w", err)
		}
		if now, err = d.current(ctx, op, now, bytesOfRows(pairs)...); err != nil {
			return nil, t, err
		}
		for _, p := range pairs {
			if p.Time != ms {
				return nil, t, malformed(op, "", "a row of time %d among those of time %d", p.Time, ms)
			}
			value, err := normalRow(op, now, p.Row)
			if err != nil {
				return nil, t, err
			}
			all = append(all, value)
			size += len(value) + 64
		}
		t = now
		if len(pairs) == 0 || uint32(len(pairs)) < limit && a.IsFinish == nil || a.GetIsFinish() {
			return all, t, nil
		}
		if a.IsFinish == nil || size > 2*mostOfTime {
			return nil, t, spec.Errorf(spec.Unable, "%s: the key %q has too many rows of time %d to be read at once", op, said(key), ms)
		}
	}
}

// rowsAtZero is rowsAt for the time 0, of which a scan cannot ask.
func (d *Driver) rowsAtZero(ctx context.Context, op string, t *Table, home uint32, index, key string) ([][]byte, *Table, error) {
	page, err := d.rawPage(ctx, op, t.TableName, t.ID, index, int(home), TraversePosition{Key: key}, mostRows)
	if err != nil {
		return nil, t, err
	}
	var all [][]byte
	for _, p := range page.pairs {
		if p.Key != key || p.Time != 0 {
			return all, page.table, nil
		}
		value, err := normalRow(op, page.table, p.Row)
		if err != nil {
			return nil, t, err
		}
		all = append(all, value)
	}
	if !page.done && len(all) > 0 {
		return nil, t, spec.Errorf(spec.Unable, "%s: the key %q has too many rows of time 0 to be read at once", op, said(key))
	}
	return all, page.table, nil
}
