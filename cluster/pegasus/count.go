package pegasus

import (
	"context"
	"iter"
	"time"

	"shardsh/cluster/transfer"
)

// Count counts matching rows by partition, several at a time; they come in order, what splits leave last. Where the filters allow, servers since 2.5 send numbers only; older ones
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
		scanners := make([]*scanner, len(list))
		for i, index := range list {
			scanners[i] = d.newScanner(p, r, index)
		}
		atOnce := countsAtOnce
		if o.MaxRows > 0 {
			atOnce = 1 // how many are left to count is known only then
		}
		left := o.MaxRows
		for len(scanners) > 0 {
			var more []*scanner
			for c, err := range transfer.InOrder(ctx, len(scanners), atOnce, func(ctx context.Context, i int) (counted, error) {
				return d.countOne(ctx, scanners[i], left)
			}) {
				if err != nil {
					yield(PartitionCount{}, err)
					return
				}
				more = append(more, c.children...)
				if !yield(c.PartitionCount, nil) {
					return
				}
				if o.MaxRows > 0 {
					if left -= c.Rows; left <= 0 {
						return
					}
				}
			}
			scanners = more
		}
	}
}

// countsAtOnce is how many partitions are counted beside each other: each keeps a thread of a replica server busy.
const countsAtOnce = 8

// counted is a partition's count, and what a split has left to count.
type counted struct {
	PartitionCount
	children []*scanner
}

func (d *Driver) countOne(ctx context.Context, s *scanner, left int64) (counted, error) {
	rows, children, err := d.countWhole(ctx, s, left)
	if err != nil {
		s.clear()
	}
	return counted{PartitionCount{Partition: s.index, Rows: rows}, children}, err
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
