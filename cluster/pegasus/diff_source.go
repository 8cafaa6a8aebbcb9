package pegasus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"sync/atomic"
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
func (d *Driver) DiffSource(table string, o ScanOptions, view DiffView) transfer.Source[wire.KeyValue] {
	s := &diffSource{d: d, table: table, options: o, view: view}
	s.wanted = make([]bool, max(view.Of, 0))
	for _, p := range view.Partitions {
		if p >= 0 && p < len(s.wanted) {
			s.wanted[p] = true
		}
	}
	return s
}

type diffSource struct {
	d       *Driver
	table   string
	options ScanOptions
	view    DiffView
	wanted  []bool
	// route is what Parts saw last: a part that was split since is read with what its child has got of it.
	route atomic.Pointer[route]
}

var _ transfer.PointReader[wire.KeyValue] = (*diffSource)(nil)

func (s *diffSource) plan() (*scanPlan, error) {
	return newScanPlan("compare "+s.table, s.table, s.options)
}

// Parts are the partitions that may hold rows that count. Nobody knows how many rows they have.
func (s *diffSource) Parts(ctx context.Context) ([]transfer.Part, error) {
	p, err := s.plan()
	if err != nil {
		return nil, err
	}
	r, list, err := s.d.scanTargets(ctx, p)
	if err != nil {
		return nil, err
	}
	s.route.Store(r)
	var parts []transfer.Part
	for _, i := range list {
		if s.mayHold(i, r.spread(i)) {
			parts = append(parts, transfer.Part{Number: i})
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

// place is a Position: partition and how many there were, the last key, and the last one that leaves in a split. Of
// partition and last key see scanner.
type place struct {
	index, count  int
	last, lastOut []byte
}

func (p place) encode() transfer.Position {
	b := binary.AppendUvarint(nil, uint64(p.index))
	b = binary.AppendUvarint(b, uint64(p.count))
	b = binary.AppendUvarint(b, uint64(len(p.last)))
	return append(append(b, p.last...), p.lastOut...)
}

var errPlace = errors.New("a position in a table that makes no sense")

func decodePlace(b []byte) (p place, err error) {
	var head [3]uint64
	for i := range head {
		n := 0
		if head[i], n = binary.Uvarint(b); n <= 0 || head[i] > 1<<31-1 {
			return p, errPlace
		}
		b = b[n:]
	}
	if head[2] > uint64(len(b)) || head[0] >= head[1] {
		return p, errPlace
	}
	p = place{index: int(head[0]), count: int(head[1])}
	if head[2] > 0 {
		p.last = b[:head[2]]
	}
	if len(b) > int(head[2]) {
		p.lastOut = b[head[2]:]
	}
	return p, nil
}

// scannerAt makes a scanner that begins at a position.
func (s *diffSource) scannerAt(part int, after transfer.Position) (*scanner, error) {
	p, err := s.plan()
	if err != nil {
		return nil, err
	}
	r := s.route.Load()
	if r == nil || part < 0 || part >= len(r.Partitions) {
		return nil, p.usage("parts are read after they have been asked for")
	}
	if after == nil {
		return s.d.newScanner(p, r, part), nil
	}
	at, err := decodePlace(after)
	if err != nil {
		return nil, &spec.Error{Kind: spec.Failed, Op: p.op, Err: err}
	}
	return &scanner{
		d: s.d, plan: p, index: at.index, appID: r.AppID, count: at.count, context: noContext, last: at.last, lastOut: at.lastOut,
	}, nil
}

// Read reads a partition in the order of its keys. When it is split meanwhile the rest of those rows that are with its
// child by then comes last.
func (s *diffSource) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[wire.KeyValue], error] {
	return func(yield func(transfer.Batch[wire.KeyValue], error) bool) {
		x, err := s.scannerAt(part, after)
		for err == nil && x != nil {
			var more bool
			if more, err = s.readWhole(ctx, x, yield); !more && err == nil {
				return
			}
			if err == nil {
				var born []*scanner
				if born, err = s.d.born(ctx, []*scanner{x}); len(born) == 0 {
					break
				}
				x = born[0]
			}
		}
		if err != nil {
			yield(transfer.Batch[wire.KeyValue]{}, err)
		}
	}
}

// readWhole yields what one scanner brings, and reports whether to go on behind it.
func (s *diffSource) readWhole(
	ctx context.Context, x *scanner, yield func(transfer.Batch[wire.KeyValue], error) bool,
) (more bool, err error) {
	next := s.d.fetch(ctx, x)
	for {
		b := <-next
		if b.err != nil {
			return false, b.err
		}
		at := place{index: x.index, count: x.count, last: x.last, lastOut: x.lastOut}.encode()
		if !b.done {
			next = s.d.fetch(ctx, x)
		}
		batch, err := s.take(x.plan, &b)
		if batch.After = at; err != nil || !yield(batch, nil) {
			if !b.done {
				s.d.pool.spawn(func() { <-next; x.clear() })
			}
			return false, err
		}
		if b.done {
			return true, nil
		}
	}
}

// take picks the rows that count.
func (s *diffSource) take(p *scanPlan, b *batch) (out transfer.Batch[wire.KeyValue], err error) {
	now := time.Now()
	out.Rows = b.rows[:0]
	for i := range b.rows {
		kv := b.rows[i]
		hash, sort, err := wire.DecodeKey(kv.Key)
		if err != nil {
			return out, &spec.Error{Kind: spec.Failed, Op: p.op, Endpoint: b.server, Err: err}
		}
		out.Bytes += int64(len(kv.Key) + len(kv.Value))
		switch {
		case wire.Expired(kv.ExpireTS, now):
			out.Expired++
		case !p.keep(sort, kv.Value) || !s.counts(hash, sort):
			out.Filtered++
		default:
			out.Rows = append(out.Rows, s.seen(kv))
		}
	}
	return out, nil
}

func (s *diffSource) seen(kv wire.KeyValue) wire.KeyValue {
	if s.view.NoValue {
		kv.Value = nil
	}
	if s.view.NoTTL {
		kv.ExpireTS = 0
	}
	return kv
}

// Judge says what an error means for reading.
func (s *diffSource) Judge(err error) transfer.Verdict {
	var e *spec.Error
	switch {
	case errors.Is(err, errKerberos), errors.Is(err, errClosed), !errors.As(err, &e):
		return transfer.Fatal
	case e.Code == wire.CodeBusy, e.Code == wire.CodeCapacityExceeded:
		return transfer.Slow
	case e.Kind == spec.Unavailable:
		return transfer.Again
	}
	return transfer.Fatal
}

// Get reads the row of a key anew.
func (s *diffSource) Get(ctx context.Context, like wire.KeyValue) (row wire.KeyValue, found bool, err error) {
	op := "compare " + s.table
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
	filter, err := s.plan()
	if err != nil {
		return row, false, err
	}
	for {
		b := x.next(ctx)
		if b.err != nil {
			return row, false, b.err
		}
		for i := range b.rows {
			if kv := b.rows[i]; bytes.Equal(kv.Key, like.Key) && !wire.Expired(kv.ExpireTS, time.Now()) && filter.matches(hash, sort, kv.Value) {
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
