package pegasus

import (
	"context"
	"errors"
	"iter"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// maxStalls bounds how often a scan starts again at the same key.
const maxStalls = 6

// Scan reads rows, one partition after the other, in the order of their full keys within one. It asks for the next
// batch while the last one is consumed. A scan that its server forgot goes on after the last key; there is no
// snapshot across that, nor across partitions. When partitions are split meanwhile the rest of those rows that are with
// their children by then comes last.
func (d *Driver) Scan(ctx context.Context, table string, o ScanOptions) iter.Seq2[ScanRow, error] {
	return func(yield func(ScanRow, error) bool) {
		p, err := newScanPlan("scan "+table, table, o)
		if err != nil {
			yield(ScanRow{}, err)
			return
		}
		r, list, err := d.scanTargets(ctx, p)
		if err != nil {
			yield(ScanRow{}, err)
			return
		}
		left := o.MaxRows
		scanners := make([]*scanner, len(list))
		for i, index := range list {
			scanners[i] = d.newScanner(p, r, index)
			if !d.scanPartition(ctx, scanners[i], o.MaxRows > 0, &left, yield) {
				return
			}
		}
		children, err := d.born(ctx, scanners)
		if err != nil {
			yield(ScanRow{}, err)
			return
		}
		for _, s := range children {
			if !d.scanPartition(ctx, s, o.MaxRows > 0, &left, yield) {
				return
			}
		}
	}
}

// scanTargets asks the meta server for the partitions, always anew: a table may have been split.
func (d *Driver) scanTargets(ctx context.Context, p *scanPlan) (*route, []int, error) {
	r, err := d.resolve(ctx, p.op, p.table)
	if err != nil {
		return nil, nil, err
	}
	d.routes.entry(p.table).set(r)
	list, err := p.partitions(r)
	return r, list, err
}

// scanPartition yields one partition's rows and reports whether to go on.
func (d *Driver) scanPartition(
	ctx context.Context, s *scanner, limited bool, left *int64, yield func(ScanRow, error) bool,
) bool {
	next := d.fetch(ctx, s)
	for {
		b := <-next
		if b.err != nil {
			yield(ScanRow{}, b.err)
			return false
		}
		enough := limited && !s.plan.clientSide && int64(len(b.rows)) >= *left
		ahead := !b.done && !enough
		if ahead {
			next = d.fetch(ctx, s)
		}
		stop := func() bool {
			switch {
			case ahead:
				d.pool.Spawn(func() { <-next; s.clear() })
			case !b.done:
				s.clear()
			}
			return false
		}
		now := time.Now()
		for i := range b.rows {
			row, keep, err := s.row(&b, i, now)
			if err != nil {
				yield(ScanRow{}, err)
				return stop()
			}
			if !keep {
				continue
			}
			if !yield(row, nil) {
				return stop()
			}
			if *left--; limited && *left <= 0 {
				return stop()
			}
		}
		if b.done {
			return true
		}
	}
}

// row makes a row out of what the server sent; not every one is wanted. The next batch may be on its way meanwhile.
func (s *scanner) row(b *batch, i int, now time.Time) (row ScanRow, keep bool, err error) {
	kv := &b.rows[i]
	hash, sort, err := wire.DecodeKey(kv.Key)
	if err != nil {
		return ScanRow{}, false, &spec.Error{Kind: spec.Failed, Op: s.plan.op, Endpoint: b.server, Err: err}
	}
	if !s.plan.keep(sort, kv.Value) {
		return ScanRow{}, false, nil
	}
	row = ScanRow{Hash: hash, Sort: sort, Value: kv.Value, Partition: b.partition, AppID: s.appID, Server: b.server}
	if s.plan.noValue {
		row.Value = nil
	}
	if kv.ExpireTS != 0 {
		row.Expires = wire.ExpireTime(kv.ExpireTS)
		row.TTL = max(row.Expires.Sub(now), 1) // it may end while it travels, but 0 would mean for ever
	}
	return row, true, nil
}

// batch is what one call of a scan brought.
type batch struct {
	rows      []wire.KeyValue
	count     int64 // rows that matched, where only their number was asked for; else len(rows)
	partition int
	server    string
	done      bool
	lost      bool // only numbers came so far, and the server forgot the scan
	err       error
}

// fetch gets the next batch beside the caller, who must receive it before using s again.
func (d *Driver) fetch(ctx context.Context, s *scanner) <-chan batch {
	next := make(chan batch, 1)
	if !d.pool.Spawn(func() { next <- s.next(ctx) }) {
		next <- batch{err: failure(s.plan.op, false, errClosed)}
	}
	return next
}

// scanner reads one partition. It is used by one goroutine at a time.
type scanner struct {
	d     *Driver
	plan  *scanPlan
	index int
	appID int32
	// count is how many partitions the rows were spread over when it began; see scan_split.go.
	count    int
	size     int32 // rows to ask for at a time, 0 for what the plan says
	counting bool  // ask for the number of rows only
	numbers  bool  // the server does so

	context int64  // of the server; noContext when there is none
	last    []byte // the last key received, nil before the first
	lastOut []byte // the last one of those that leave for the child when the partition is split
	server  string
	stalls  int  // calls in a row that did not get further
	hollow  int  // times that an empty first answer had context 0, which then did not exist
	first   bool // the last answer was an empty first one
}

const noContext = -1

var errStalled = errors.New("its server loses the scan each time")

func (d *Driver) newScanner(p *scanPlan, r *route, index int) *scanner {
	return &scanner{d: d, plan: p, index: index, appID: r.AppID, count: r.spread(index), context: noContext}
}

// next gets the next batch. An empty one does not mean the end.
func (s *scanner) next(ctx context.Context) batch {
	for {
		a, err := s.ask(ctx)
		if err != nil {
			return batch{err: err, done: true}
		}
		s.server = a.Server
		switch a.Error {
		case wire.StatusOK, wire.StatusIncomplete:
		case wire.StatusNotFound:
			// The server forgot the scan. For an empty range it answers a first call by a context 0 that never was.
			if s.context == 0 && s.first {
				if s.hollow++; s.hollow > 1 {
					return batch{done: true}
				}
			}
			s.context = noContext
			if s.numbers {
				return batch{lost: true}
			}
			if err := s.stalled(); err != nil {
				return batch{err: err, done: true}
			}
			continue
		default:
			return batch{err: statusError(s.plan.op, a.Server, a.Error), done: true}
		}
		return s.take(a)
	}
}

// ask makes the call that is due: the first of a scan, or its continuation.
func (s *scanner) ask(ctx context.Context) (*wire.ScanResponse, error) {
	a := new(wire.ScanResponse)
	hash := s.hash()
	if s.context != noContext {
		q := wire.ScanRequest{ContextID: s.context}
		err := partitionCall(ctx, s.d, s.plan.op, s.plan.table, s.where, hash, &wire.Scan, &q, a)
		if !errors.Is(err, errMoved) {
			return a, err
		}
		s.context = noContext
	}
	p := s.plan
	yes := true
	q := wire.GetScannerRequest{
		StartKey: p.start, StopKey: p.stop, StartInclusive: true, BatchSize: p.batch, NoValue: p.noValue,
		HashKeyFilter: p.hashType, HashKeyPattern: p.hashBytes, SortKeyFilter: p.sortType, SortKeyPattern: p.sortBytes,
		ValidatePartitionHash: &yes, ReturnExpireTS: &yes, FullScan: &p.full,
	}
	if s.size > 0 {
		q.BatchSize = s.size
	}
	if s.last != nil {
		q.StartKey, q.StartInclusive = s.last, false
	}
	if s.counting {
		q.OnlyReturnCount, q.NoValue = &yes, true
	}
	return a, partitionCall(ctx, s.d, p.op, p.table, s.where, hash, &wire.GetScanner, &q, a)
}

// hash is what a scan's requests carry: the hash of the only hash key, else the partition's index.
func (s *scanner) hash() uint64 {
	if s.plan.only != nil {
		return *s.plan.only
	}
	return uint64(s.index)
}

// restart begins again, by keys.
func (s *scanner) restart() {
	s.counting, s.numbers, s.context, s.last, s.lastOut, s.stalls, s.hollow = false, false, noContext, nil, nil, 0, 0
}

// take keeps what a good answer says about going on.
func (s *scanner) take(a *wire.ScanResponse) batch {
	b := batch{rows: a.Rows, count: int64(len(a.Rows)), partition: s.index, server: a.Server}
	if s.counting && a.Count != nil {
		b.count, s.numbers = int64(max(*a.Count, 0)), true
	}
	if len(a.Rows) > 0 {
		s.last = a.Rows[len(a.Rows)-1].Key
		s.stalls = 0
		s.noteLeaving(a.Rows)
	}
	s.first = s.context == noContext && len(a.Rows) == 0
	switch {
	case a.Error == wire.StatusIncomplete:
		// The server ran out of time: the rows are good, but it kept nothing.
		s.context = noContext
		if b.lost = s.numbers; !b.lost && len(a.Rows) == 0 {
			if b.err = s.stalled(); b.err != nil {
				b.done = true
			}
		}
	case a.ContextID >= 0:
		s.context = a.ContextID
	default:
		s.context, b.done = noContext, true
	}
	return b
}

// stalled counts a call that brought the scan no further.
func (s *scanner) stalled() error {
	if s.stalls++; s.stalls <= maxStalls {
		return nil
	}
	e := spec.Errorf(spec.Failed, "partition %d does not get further: %w", s.index, errStalled)
	e.Op, e.Endpoint = s.plan.op, s.server
	return e.WithHint("a smaller batch or a tighter filter needs less time per call")
}

// clear tells the server to forget the scan. It does not wait: nothing answers.
func (s *scanner) clear() {
	if s.context == noContext {
		return
	}
	id := s.context
	s.context = noContext
	r := s.d.routes.entry(s.plan.table).get()
	if r == nil || s.index >= len(r.Partitions) || r.Partitions[s.index].Primary == "" {
		return
	}
	ctx, cancel := s.d.bound(s.d.pool.Context())
	defer cancel()
	gpid := wire.GPID{App: s.appID, Partition: int32(s.index)}
	var none struct{}
	// What is lost when this fails is memory of the server's, for five minutes.
	_ = call(ctx, s.d, r.Partitions[s.index].Primary, &wire.ClearScanner, gpid, s.hash(), &id, &none, nil)
}
