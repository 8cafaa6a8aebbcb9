package pegasus

import (
	"bytes"
	"context"
	"iter"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// DiffView is how rows of a table are looked at to be compared.
type DiffView struct {
	// Partitions, when there are any, leave the rows of others out: those that would be there in a table of Of partitions.
	Partitions []int
	Of         int
	// NoValue and NoTTL show rows as a copy without values or times to live would have made them.
	NoValue, NoTTL bool
}

// DiffSource reads a table's rows to compare them, those that match the options. It can read single rows again.
func (d *Driver) DiffSource(table string, o ScanOptions, view DiffView) transfer.Source[CopyRow] {
	s := &diffSource{d: d, op: "compare " + table, table: table, view: view}
	all := RowSourceOptions{ScanOptions: o}
	if o.Partition >= 0 {
		all.Partitions = []int{o.Partition}
	}
	s.rows, s.err = d.RowSource(table, all)
	s.wanted = make([]bool, max(view.Of, 0))
	for _, p := range view.Partitions {
		if p >= 0 && p < len(s.wanted) {
			s.wanted[p] = true
		}
	}
	return s
}

// diffSource is a RowSource of which not all rows count.
type diffSource struct {
	d         *Driver
	op, table string
	rows      *RowSource
	err       error // why there is none
	view      DiffView
	wanted    []bool
}

var _ transfer.PointReader[CopyRow] = (*diffSource)(nil)

// Parts are the partitions that may hold rows that count. Nobody knows how many rows they have.
func (s *diffSource) Parts(ctx context.Context) ([]transfer.Part, error) {
	if s.err != nil {
		return nil, s.err
	}
	all, err := s.rows.Parts(ctx)
	if err != nil {
		return nil, err
	}
	var parts []transfer.Part
	for _, p := range all {
		if at, err := parseMark(p.Start); err == nil && s.mayHold(p.Number, at.count) {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// mayHold reports whether partition i of n can have rows that count: hashes that are i modulo n and those that are p
// modulo Of have some in common if both are the same modulo the greatest common divisor.
func (s *diffSource) mayHold(i, n int) bool {
	if len(s.view.Partitions) == 0 {
		return true
	}
	g, rest := n, s.view.Of
	for rest > 0 {
		g, rest = rest, g%rest
	}
	for p, wanted := range s.wanted {
		if wanted && p%g == i%g {
			return true
		}
	}
	return false
}

func (s *diffSource) counts(hash, sort []byte) bool {
	return len(s.view.Partitions) == 0 || s.view.Of > 0 && s.wanted[wire.PartitionOf(wire.Hash(hash, sort), s.view.Of)]
}

// Read reads a partition in the order of its keys. When it is split meanwhile the rest of those rows that are with its
// child by then comes last.
func (s *diffSource) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[CopyRow], error] {
	return func(yield func(transfer.Batch[CopyRow], error) bool) {
		if s.err != nil {
			yield(transfer.Batch[CopyRow]{}, s.err)
			return
		}
		for b, err := range s.rows.Read(ctx, part, after) {
			if err == nil {
				s.take(&b)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// take leaves the rows that count. Their keys have been found to be some.
func (s *diffSource) take(b *transfer.Batch[CopyRow]) {
	now := time.Now()
	kept := b.Rows[:0]
	for _, kv := range b.Rows {
		hash, sort, _ := wire.DecodeKey(kv.Key)
		switch {
		case wire.Expired(kv.ExpireTS, now):
			b.Expired++
		case !s.counts(hash, sort):
			b.Filtered++
		default:
			kept = append(kept, s.seen(kv))
		}
	}
	b.Rows = kept
}

func (s *diffSource) seen(kv CopyRow) CopyRow {
	if s.view.NoValue {
		kv.Value = nil
	}
	if s.view.NoTTL {
		kv.ExpireTS = 0
	}
	return kv
}

// Judge says what an error means for reading.
func (s *diffSource) Judge(err error) transfer.Verdict { return judge(err) }

// Get reads the row of a key anew.
func (s *diffSource) Get(ctx context.Context, like CopyRow) (row CopyRow, found bool, err error) {
	op := s.op
	if s.err != nil {
		return row, false, s.err
	}
	hash, sort, err := wire.DecodeKey(like.Key)
	if err != nil {
		return row, false, &spec.Error{Kind: spec.Failed, Op: op, Err: err}
	}
	o := ScanOptions{Partition: -1, Batch: 1, HashKey: Filter{"exact", hash}, SortKey: Filter{"exact", sort}}
	if len(hash) > 0 {
		o.SortKey = Filter{}
		o.Range = &SortRange{Start: sort, Stop: append(bytes.Clone(sort), 0)}
	}
	p, err := newScanPlan(op, s.table, o)
	if err != nil {
		return row, false, err
	}
	r, _, err := s.d.route(ctx, op, s.table)
	if err != nil {
		return row, false, err
	}
	x := s.d.newScanner(p, r, r.index(wire.Hash(hash, sort)))
	if len(hash) == 0 {
		// Rows without a hash key lie by their sort keys: the range is that of one row all the same.
		p.start, p.stop = like.Key, append(bytes.Clone(like.Key), 0)
	}
	for {
		b := x.next(ctx)
		if b.err != nil {
			return row, false, b.err
		}
		for i := range b.rows {
			if kv := b.rows[i]; bytes.Equal(kv.Key, like.Key) && !wire.Expired(kv.ExpireTS, time.Now()) && s.rows.plan.matches(hash, sort, kv.Value) {
				x.clear()
				return s.seen(kv), true, nil
			}
		}
		if b.done {
			return row, false, nil
		}
	}
}

// matches compares a row with all of the filters, those that servers apply among them.
func (p *scanPlan) matches(hash, sort, value []byte) bool {
	o := p.options
	return o.HashKey.match(hash) && o.SortKey.match(sort) && p.keep(sort, value)
}
