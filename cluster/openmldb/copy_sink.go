package openmldb

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// CopySinkOptions say how rows are written.
type CopySinkOptions struct {
	TableID uint32 // the table that is meant
	Index   Index  // the one that the rows were read by
	// Keep looks for each row first, and leaves those alone that are there.
	Keep bool
}

// CopySink puts rows into a table. Tablets keep every row they are sent, twice when they are sent it twice: so a row that
// may have been written is looked for before it is sent again, in each partition it belongs to.
type CopySink struct {
	d     *Driver
	table TableName
	o     CopySinkOptions
	// mending, when not nil, are the partitions that may have lost rows: rows are looked for there, and nowhere else.
	mending map[uint32]bool
}

var _ transfer.Sink[CopyRow] = (*CopySink)(nil)

// CopySink makes a sink of a table.
func (d *Driver) CopySink(table TableName, o CopySinkOptions) *CopySink {
	return &CopySink{d: d, table: table, o: o}
}

func (s *CopySink) op() string { return "put rows into table " + s.table.String() }

// Judge says what an error of a write means.
func (s *CopySink) Judge(err error) transfer.Verdict { return judge(err) }

// Pieces are the rows of a key and time, mostly one.
func (s *CopySink) Pieces(rows []CopyRow) iter.Seq[transfer.Piece[CopyRow]] {
	return func(yield func(transfer.Piece[CopyRow]) bool) {
		for len(rows) > 0 {
			n, size := 0, int64(0)
			for n < len(rows) && rows[n].Key == rows[0].Key && rows[n].Time == rows[0].Time {
				size += int64(len(rows[n].Key) + len(rows[n].Value))
				n++
			}
			if !yield(transfer.Piece[CopyRow]{Rows: rows[:n:n], Bytes: size}) {
				return
			}
			rows = rows[n:]
		}
	}
}

// Write puts rows of one key and time.
func (s *CopySink) Write(ctx context.Context, piece transfer.Piece[CopyRow]) (transfer.Written, error) {
	first := piece.Rows[0]
	w := &copyWrite{s: s, unsure: piece.Unsure}
	w.look = s.o.Keep || s.mending != nil || piece.Unsure || first.doubt.about(first.place)
	err := w.write(ctx, piece.Rows)
	if w.found {
		first.doubt.found(first.place)
	}
	if err != nil && w.sent && judge(err) != transfer.Fatal {
		return transfer.Written{}, unsure(s.op(), err)
	}
	return w.done, err
}

// unsure is an error after which some of the rows may be there.
func unsure(op string, err error) error {
	e := &spec.Error{Kind: spec.UnknownOutcome, Op: op, Err: err}
	var known *spec.Error
	if errors.As(err, &known) {
		with := *known
		with.Kind = spec.UnknownOutcome
		return &with
	}
	return e
}

// copyWrite is a Write under way.
type copyWrite struct {
	s      *CopySink
	look   bool
	unsure bool // it was tried before
	sent   bool // something was
	found  bool // something was there
	done   transfer.Written

	table *Table
	// there counts what was found and not yet taken for a row that was to be written, by where it was looked for.
	there map[copyHome]map[string]int
}

// copyHome is where rows of a key and time are looked for.
type copyHome struct {
	partition uint32
	index     string
	key       string
	time      uint64
}

func (w *copyWrite) write(ctx context.Context, rows []CopyRow) error {
	bounded, cancel := w.s.d.bound(ctx)
	t, err := w.s.d.routeTo(bounded, w.s.op(), w.s.table, w.s.o.TableID, true)
	cancel()
	if err != nil {
		return err
	}
	w.table, w.there = t, map[copyHome]map[string]int{}
	// Among equal times the last one written comes first.
	for _, row := range slices.Backward(rows) {
		if err := w.row(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// row puts a row into the partitions it belongs to, and is missing from. Where it can be looked for but not told from
// others comes before where it can be told: what is found there is in all of them.
func (w *copyWrite) row(ctx context.Context, row CopyRow) error {
	values, err := plain(w.table).Decode(row.Value)
	if err != nil {
		return malformed(w.s.op(), "", "a row: %w", err)
	}
	p := &placedRow{value: row.Value, time: int64(row.Time), keys: map[uint32][]*api.Dimension{}}
	if v := w.table.Schema.Version; v > 1 {
		p.value = bytes.Clone(row.Value)
		p.value[1] = v
	}
	if err := w.spread(p, row, values); err != nil {
		return err
	}
	missing, err := w.missing(ctx, p, row, values)
	if err != nil {
		return err
	}
	for _, home := range missing {
		err := w.s.d.putHome(ctx, w.s.op(), w.table, p, home)
		w.sent = w.sent || err == nil || spec.KindOf(err) == spec.UnknownOutcome
		if err != nil {
			if errors.Is(err, errChanged) {
				w.s.d.routes.of(w.s.table).forget(w.table)
			}
			return err
		}
	}
	switch {
	case len(missing) > 0 || !w.s.o.Keep && w.s.mending == nil:
		w.done.Rows++
	case w.unsure && w.s.o.Keep:
		w.done.Unsure++
	default:
		w.done.Kept++
	}
	return nil
}

// spread works out the partitions of a row, and the keys that it is found by there.
func (w *copyWrite) spread(p *placedRow, row CopyRow, values []any) error {
	if row.Places == nil {
		return w.table.spread(w.s.op(), p, values)
	}
	entries, err := w.table.Entries(row, values, row.Places.Index)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(row.Places.Names, w.table.Indexes[e.Index].Name) {
			p.keys[e.Partition] = append(p.keys[e.Partition], &api.Dimension{Key: &e.Key, Idx: &w.table.Indexes[e.Index].Place})
		}
	}
	if len(p.keys) == 0 {
		return spec.Errorf(spec.Failed, "%s: a row belongs to no index of the table", w.s.op())
	}
	return nil
}

// missing are the partitions that a row is to be sent to, in order.
func (w *copyWrite) missing(ctx context.Context, p *placedRow, row CopyRow, values []any) ([]uint32, error) {
	homes := slices.Sorted(maps.Keys(p.keys))
	var vague, clear []copyHome
	for _, home := range homes {
		if at, told := w.lookIn(p, row, values, home); told {
			clear = append(clear, at)
		} else {
			vague = append(vague, at)
		}
	}
	var list []uint32
	absent := len(clear) == 0
	for _, at := range clear {
		if !w.look || w.s.mending != nil && !w.s.mending[at.partition] {
			if !w.look {
				list = append(list, at.partition)
			}
			continue
		}
		n, err := w.count(ctx, at, row.Value)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			w.there[at][string(row.Value)]--
			w.found = true
			continue
		}
		absent = true
		list = append(list, at.partition)
	}
	var before []uint32
	for _, at := range vague {
		switch {
		case w.s.mending != nil && !w.s.mending[at.partition]:
			continue
		case w.look && (!absent || w.s.mending != nil):
			if n, err := w.count(ctx, at, row.Value); err != nil || n > 0 {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		before = append(before, at.partition)
	}
	return append(before, list...), nil
}

// lookIn says where in a partition a row is looked for. told: what is of the same bytes there is this row, or another one
// of the same key and time, and not one of another time that the index does not know.
func (w *copyWrite) lookIn(p *placedRow, row CopyRow, values []any, home uint32) (at copyHome, told bool) {
	read := w.s.o.Index
	if row.Places != nil {
		read = row.Places.Index
	}
	for _, d := range p.keys[home] {
		x := w.table.Indexes[slices.IndexFunc(w.table.Indexes, func(x Index) bool { return x.Place == d.GetIdx() })]
		here := copyHome{home, x.Name, d.GetKey(), row.Time}
		if x.TimeColumn != "" && x.TimeColumn != read.TimeColumn {
			c := w.table.column(x.TimeColumn)
			if c < 0 {
				continue
			}
			ms, _ := values[c].(int64)
			here.time = uint64(max(ms, 0))
		}
		if x.TimeColumn == "" || read.TimeColumn != "" {
			return here, true
		}
		at = here
	}
	return at, false
}

// count is how many rows of the same bytes are there that were not taken for others.
func (w *copyWrite) count(ctx context.Context, at copyHome, value []byte) (int, error) {
	if w.there[at] == nil {
		rows, _, err := w.s.d.rowsAt(ctx, w.s.op(), w.table, at.partition, at.index, at.key, at.time)
		if err != nil {
			return 0, err
		}
		w.there[at] = map[string]int{}
		for _, r := range rows {
			w.there[at][string(r)]++
		}
	}
	return w.there[at][string(value)], nil
}
