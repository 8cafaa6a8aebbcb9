package pegasus

import (
	"context"
	"iter"
	"time"
)

// Count counts matching rows by partition. Where the filters allow, servers since 2.5 send numbers only; older ones
// ignore the request for it and send keys, which are counted.
func (d *Driver) Count(ctx context.Context, table string, o ScanOptions) iter.Seq2[PartitionCount, error] {
	return func(yield func(PartitionCount, error) bool) {
		if o.Value.Type == "" {
			o.NoValue = true
		}
		p, err := newScanPlan("count "+table, table, o)
		if err != nil {
			yield(PartitionCount{}, err)
			return
		}
		r, list, err := d.scanTargets(ctx, p)
		if err != nil {
			yield(PartitionCount{}, err)
			return
		}
		var scanners []*scanner
		for _, i := range list {
			scanners = append(scanners, d.newScanner(p, r, i))
		}
		for left := o.MaxRows; len(scanners) > 0; {
			s := scanners[0]
			rows, children, err := d.countWhole(ctx, s, left)
			if err != nil {
				yield(PartitionCount{}, err)
				return
			}
			scanners = append(scanners[1:], children...)
			if !yield(PartitionCount{Partition: s.index, Rows: rows}, nil) {
				return
			}
			if o.MaxRows > 0 {
				if left -= rows; left <= 0 {
					return
				}
			}
		}
	}
}

// countPartition counts up to most rows, or all for 0.
func (d *Driver) countPartition(ctx context.Context, s *scanner, most int64) (int64, error) {
	s.counting = !s.plan.clientSide
	var rows int64
	for {
		b := s.next(ctx)
		if b.err != nil {
			return rows, b.err
		}
		if b.lost {
			// Numbers came without keys to go on after: count again, from the start and by keys.
			rows = 0
			s.restart()
			continue
		}
		n, err := s.matching(&b)
		if err != nil {
			return rows, err
		}
		if rows += n; most > 0 && rows >= most {
			s.clear()
			return most, nil
		}
		if b.done {
			return rows, nil
		}
	}
}

// matching counts a batch.
func (s *scanner) matching(b *batch) (int64, error) {
	if !s.plan.clientSide {
		return b.count, nil
	}
	var n int64
	now := time.Now()
	for i := range b.rows {
		_, keep, err := s.row(b, i, now)
		if err != nil {
			return 0, err
		}
		if keep {
			n++
		}
	}
	return n, nil
}
