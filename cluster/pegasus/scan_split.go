package pegasus

import (
	"context"
	"errors"

	"shardsh/cluster/pegasus/wire"
)

// How a scan gets over a split that happens under it.
//
// When a partition is split, half of its rows leave for its child. Its server goes on with the scan and passes over
// them, from some row on that it does not tell. But rows come in the order of their keys, and once one that leaves was
// passed over no later one comes: those that came are the first of them. So the rest is what the child has after the
// last one that came.
//
// A scan of one hash key has nothing to share out: it goes on at the child, after the last key, if the rows are there.

// errMoved says that the rows of a scan are in another partition by now: what its server keeps of it is worth nothing.
var errMoved = errors.New("the rows have moved to another partition")

// spread is how many partitions the rows of partition i are spread over: a parent has those of its child, too, until
// that is ready.
func (r *route) spread(i int) int {
	n := len(r.Partitions)
	if half := n / 2; i < half && r.unready(i+half) {
		return half
	}
	return n
}

// where keeps a scan from going on in another table of the name, or in one that was split twice.
func (s *scanner) where(r *route) (int, error) {
	switch n := len(r.Partitions); {
	case r.AppID != s.appID:
		return 0, changed(s.plan.op, s.plan.table, "its id was %d and is %d", s.appID, r.AppID)
	case s.plan.only != nil:
		i := r.index(*s.plan.only)
		if i != s.index && s.context != noContext {
			return 0, errMoved
		}
		s.index = i
	case n != s.count && n != 2*s.count:
		return 0, s.regrown(n)
	}
	return s.index, nil
}

func (s *scanner) regrown(n int) error {
	return changed(s.plan.op, s.plan.table, "it had %d partitions and has %d", s.count, n)
}

// child is the partition that half of the rows leave for when this one is split.
func (s *scanner) child() int { return s.index + s.count }

// noteLeaving remembers the last row received that leaves when the partition is split.
func (s *scanner) noteLeaving(rows []wire.KeyValue) {
	if s.plan.only != nil {
		return
	}
	for i := len(rows) - 1; i >= 0; i-- {
		hash, sort, err := wire.DecodeKey(rows[i].Key)
		if err == nil && wire.PartitionOf(wire.Hash(hash, sort), 2*s.count) == s.child() {
			s.lastOut = rows[i].Key
			return
		}
	}
}

// born answers what is left to scan of partitions that were scanned to their ends: the rest of each one that was split
// since it began.
func (d *Driver) born(ctx context.Context, done []*scanner) ([]*scanner, error) {
	if len(done) == 0 || done[0].plan.only != nil {
		return nil, nil
	}
	p := done[0].plan
	// The number of partitions tells whether there is anything to look at, at the price of one or two of them.
	q := wire.QueryConfigRequest{AppName: p.table, Indices: []int32{int32(done[0].index)}}
	if len(done) == 1 {
		q.Indices = append(q.Indices, int32(done[0].child()))
	}
	a, endpoint, err := queryConfig.call(ctx, d, p.op, &q)
	switch {
	case err != nil:
		return nil, err
	case a.Err == wire.CodeObjectNotFound, a.Err == wire.CodeAppNotExist, a.Err == wire.CodeAppDropped:
		return nil, nil // it was there to the last row
	case a.Err != wire.OK:
		return nil, codeError(p.op, endpoint, a.Err, "", false)
	}
	ready := func(i int) bool {
		for c := range a.Configs {
			if int(a.Configs[c].PID.Partition) == i {
				return a.Configs[c].Ballot > 0
			}
		}
		return false
	}
	if len(done) > 1 && grown(done, int(a.Partitions)) {
		r, err := d.resolve(ctx, p.op, p.table)
		if err != nil {
			return nil, err
		}
		d.routes.entry(p.table).set(r)
		a.AppID, a.Partitions = r.AppID, int32(len(r.Partitions))
		ready = func(i int) bool { return !r.unready(i) }
	}
	e := d.routes.entry(p.table)
	if now := e.get(); now != nil && len(now.Partitions) < int(a.Partitions) {
		e.forget(now) // it does not know the children
	}
	return children(done, a.AppID, int(a.Partitions), ready)
}

// grown says whether any of the partitions may have been split when the table has n.
func grown(done []*scanner, n int) bool {
	for _, s := range done {
		if n > s.count {
			return true
		}
	}
	return false
}

func children(done []*scanner, appID int32, n int, ready func(int) bool) ([]*scanner, error) {
	var list []*scanner
	for _, s := range done {
		switch {
		case appID != s.appID || n <= s.count: // another table by now; never split
		case n != 2*s.count:
			return nil, s.regrown(n)
		case ready(s.child()):
			list = append(list, &scanner{
				d: s.d, plan: s.plan, index: s.child(), appID: s.appID, count: n, context: noContext, last: s.lastOut,
			})
		}
	}
	return list, nil
}

// countWhole counts a partition. One that was split meanwhile is counted again, without the rows that have left: their
// children are answered, to be counted for themselves.
func (d *Driver) countWhole(ctx context.Context, s *scanner, most int64) (rows int64, more []*scanner, err error) {
	for {
		if rows, err = d.countPartition(ctx, s, most); err != nil || most > 0 && rows >= most {
			return rows, more, err
		}
		born, err := d.born(ctx, []*scanner{s})
		if err != nil || len(born) == 0 {
			return rows, more, err
		}
		born[0].last = nil
		more = append(more, born[0])
		s = &scanner{d: d, plan: s.plan, index: s.index, appID: s.appID, count: born[0].count, context: noContext}
	}
}
