package pegasus

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"sync"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// RowSourceOptions say which rows of a table a RowSource has.
type RowSourceOptions struct {
	// ScanOptions choose rows, and how many of them are asked for at a time. Partition is not looked at.
	ScanOptions
	// Partitions to read, nil for all.
	Partitions []int
	// BatchBytes is about how large an answer shall be, whatever Batch says; 1 MiB when 0.
	BatchBytes int64
	// Guesses are what partitions are taken to hold.
	Guesses map[int]Guess
}

// Guess is what a partition is taken to hold.
type Guess struct{ Rows, Bytes int64 }

// RowSource reads a table for package transfer. Its parts are partitions; a part goes on being the rows that its
// partition had when it was begun, also when that is split meanwhile, and when it is read on after that.
type RowSource struct {
	d    *Driver
	plan *scanPlan
	o    RowSourceOptions

	mu    sync.Mutex
	sizes map[int]int32 // rows to ask for, by part
}

var _ transfer.Source[CopyRow] = (*RowSource)(nil)

const (
	batchBytes = 1 << 20
	// firstBatch is how many rows are asked for before anybody knows how large they are.
	firstBatch = 100
)

// RowSource answers a source of a table's rows.
func (d *Driver) RowSource(table string, o RowSourceOptions) (*RowSource, error) {
	o.MaxRows = 0
	p, err := newScanPlan("read "+table, table, o.ScanOptions)
	if err != nil {
		return nil, err
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = batchBytes
	}
	return &RowSource{d: d, plan: p, o: o, sizes: map[int]int32{}}, nil
}

// Parts lists the partitions; those that are about to be split off are still parts of others.
func (s *RowSource) Parts(ctx context.Context) ([]transfer.Part, error) {
	r, err := s.d.resolve(ctx, s.plan.op, s.plan.table)
	if err != nil {
		return nil, err
	}
	s.d.routes.entry(s.plan.table).set(r)
	s.plan.options.Partition = -1
	all, err := s.plan.partitions(r)
	if err != nil {
		return nil, err
	}
	for _, i := range s.o.Partitions {
		switch {
		case i < 0 || i >= len(r.Partitions):
			return nil, s.plan.usage("table " + s.plan.table + " has no such partition")
		case s.plan.only == nil && !slices.Contains(all, i):
			e := spec.Errorf(spec.Unavailable, "partition %d of table %s is not ready", i, s.plan.table)
			e.Op = s.plan.op
			return nil, e.WithHint("a split is under way: its rows are still in partition %d", i-len(r.Partitions)/2)
		}
	}
	var list []transfer.Part
	for _, i := range all {
		if s.o.Partitions != nil && !slices.Contains(s.o.Partitions, i) {
			continue
		}
		start := mark{app: r.AppID, count: r.spread(i), index: i}
		g := s.o.Guesses[i]
		list = append(list, transfer.Part{Number: i, Start: start.position(), Rows: g.Rows, Bytes: g.Bytes})
	}
	return list, nil
}

// Read reads a part from a position; nil is the beginning of that partition as it is now.
func (s *RowSource) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[CopyRow], error] {
	return func(yield func(transfer.Batch[CopyRow], error) bool) {
		scan, err := s.scanner(ctx, part, after)
		for err == nil && scan != nil {
			if !s.readOne(ctx, scan, part, yield) {
				return
			}
			var children []*scanner
			if children, err = s.d.born(ctx, []*scanner{scan}); len(children) > 0 {
				scan = children[0]
			} else {
				scan = nil
			}
		}
		if err != nil {
			yield(transfer.Batch[CopyRow]{}, err)
		}
	}
}

func (s *RowSource) scanner(ctx context.Context, part int, after transfer.Position) (*scanner, error) {
	scan := &scanner{d: s.d, plan: s.plan, context: noContext}
	if after != nil {
		at, err := parseMark(after)
		if err != nil {
			return nil, &spec.Error{Kind: spec.Failed, Op: s.plan.op, Err: err}
		}
		scan.appID, scan.count, scan.index, scan.last, scan.lastOut = at.app, at.count, at.index, at.last, at.out
		return scan, nil
	}
	r, _, err := s.d.route(ctx, s.plan.op, s.plan.table)
	if err != nil {
		return nil, err
	}
	if part < 0 || part >= len(r.Partitions) {
		return nil, s.plan.usage("table " + s.plan.table + " has no such partition")
	}
	scan.appID, scan.count, scan.index = r.AppID, r.spread(part), part
	return scan, nil
}

// readOne yields the rows of one partition, asking for the next ones while these are dealt with, and reports whether
// to go on.
func (s *RowSource) readOne(
	ctx context.Context, scan *scanner, part int, yield func(transfer.Batch[CopyRow], error) bool,
) bool {
	scan.size = s.size(part)
	next := s.d.fetch(ctx, scan)
	for {
		b := <-next
		if errors.Is(b.err, wire.ErrLength) && scan.size > 1 {
			s.resize(scan, part, scan.size/4) // it was larger than any answer may be
			next = s.d.fetch(ctx, scan)
			continue
		}
		if b.err != nil {
			yield(transfer.Batch[CopyRow]{}, b.err)
			return false
		}
		out := transfer.Batch[CopyRow]{After: markOf(scan).position()}
		size, err := s.keep(&b, &out)
		if err != nil {
			scan.clear()
			yield(transfer.Batch[CopyRow]{}, err)
			return false
		}
		if b.done {
			return yield(out, nil)
		}
		s.fit(scan, part, len(b.rows), size)
		next = s.d.fetch(ctx, scan)
		if !yield(out, nil) {
			s.d.pool.Spawn(func() { <-next; scan.clear() })
			return false
		}
	}
}

// keep moves the rows that match from an answer to a batch. It answers how many bytes came.
func (s *RowSource) keep(b *batch, out *transfer.Batch[CopyRow]) (size int64, err error) {
	rows := b.rows
	kept := rows[:0]
	for i := range rows {
		kv := &rows[i]
		n := 2
		if len(kv.Key) >= 2 {
			n += int(binary.BigEndian.Uint16(kv.Key))
		}
		if n > len(kv.Key) {
			return 0, malformed(s.plan.op, b.server, "%q is no key", kv.Key[:min(len(kv.Key), 64)])
		}
		bytes := int64(len(kv.Key) - 2 + len(kv.Value))
		size += bytes
		if s.plan.clientSide && !s.plan.keep(kv.Key[n:], kv.Value) {
			out.Filtered++
			continue
		}
		if s.plan.noValue {
			bytes -= int64(len(kv.Value))
			kv.Value = nil
		}
		out.Bytes += bytes
		if s.plan.clientSide {
			kept = append(kept, *kv)
		}
	}
	if out.Rows = rows; s.plan.clientSide {
		clear(rows[len(kept):])
		out.Rows = kept
	}
	return size, nil
}

// fit makes answers about as large as they shall be.
func (s *RowSource) fit(scan *scanner, part, rows int, size int64) {
	want := s.o.BatchBytes
	switch {
	case rows == 0:
	case size > 2*want && scan.size > 1:
		s.resize(scan, part, int32(max(1, int64(rows)*want/size)))
	case size < want/4 && scan.size < s.plan.batch && rows >= int(scan.size):
		s.resize(scan, part, 2*scan.size)
	}
}

// resize asks for another number of rows from now on, which the server has to be told by a new scan.
func (s *RowSource) resize(scan *scanner, part int, rows int32) {
	scan.clear()
	scan.size = min(max(rows, 1), s.plan.batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[part] = scan.size
}

func (s *RowSource) size(part int) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.sizes[part]; n > 0 {
		return n
	}
	return min(firstBatch, s.plan.batch)
}

// Judge says what an error of Read or Parts means.
func (s *RowSource) Judge(err error) transfer.Verdict { return judge(err) }

// mark is where a scan is: what scan_split.go needs to go on, also after a split.
type mark struct {
	app          int32
	count, index int
	last, out    []byte // keys, nil for none
}

func markOf(s *scanner) mark {
	return mark{app: s.appID, count: s.count, index: s.index, last: s.last, out: s.lastOut}
}

const markVersion = 1

func (p mark) position() transfer.Position {
	b := make([]byte, 0, 24+len(p.last)+len(p.out))
	b = append(b, markVersion)
	b = binary.AppendUvarint(b, uint64(uint32(p.app)))
	b = binary.AppendUvarint(b, uint64(p.count))
	b = binary.AppendUvarint(b, uint64(p.index))
	b = append(binary.AppendUvarint(b, uint64(len(p.last))), p.last...)
	return append(binary.AppendUvarint(b, uint64(len(p.out))), p.out...)
}

var errMark = errors.New("the saved position makes no sense")

// parseMark reads a position; no key is as short as nothing.
func parseMark(b transfer.Position) (mark, error) {
	if len(b) == 0 || b[0] != markVersion {
		return mark{}, errMark
	}
	b = b[1:]
	ok := true
	number := func() uint64 {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			ok = false
			return 0
		}
		b = b[k:]
		return n
	}
	key := func() []byte {
		n := number()
		if n > uint64(len(b)) {
			ok = false
			return nil
		}
		k := b[:n:n]
		b = b[n:]
		if len(k) == 0 {
			return nil
		}
		return k
	}
	app, count, index := number(), number(), number()
	p := mark{app: int32(uint32(app)), count: int(count), index: int(index), last: key(), out: key()}
	const most = 1 << 24 // partitions
	if !ok || len(b) > 0 || app >= 1<<31 || count == 0 || count > most || index >= count {
		return mark{}, errMark
	}
	return p, nil
}
