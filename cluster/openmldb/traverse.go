package openmldb

import (
	"context"
	"iter"
	"math"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

var traverse = method{tablet, "Traverse", false}

// Traverse yields the rows of an index in the tablets' order, partition by partition, a page at a time. Rows that are
// written or deleted meanwhile may be among them or not.
func (d *Driver) Traverse(ctx context.Context, table TableName, q TraverseQuery) iter.Seq2[Row, error] {
	op := "traverse table " + table.String()
	return func(yield func(Row, error) bool) {
		t, _, err := d.prepare(ctx, op, table, q.Index)
		if err != nil {
			yield(Row{}, err)
			return
		}
		partitions := indexes(len(t.Parts))
		if q.Partition >= 0 {
			partitions = []int{q.Partition}
		} else if q.After != (TraversePosition{}) {
			yield(Row{}, spec.Errorf(spec.Usage, "%s: a position belongs to a partition", op))
			return
		}
		left := q.Limit
		for _, partition := range partitions {
			more := d.traversePartition(ctx, op, table, t.ID, q, partition, &left, yield)
			if !more {
				return
			}
		}
	}
}

// traversePartition yields the rows of a partition; false when nothing is to follow.
func (d *Driver) traversePartition(
	ctx context.Context, op string, table TableName, tid uint32, q TraverseQuery, partition int, left *int,
	yield func(Row, error) bool,
) (more bool) {
	after, size := q.After, uint32(firstPage)
	for {
		limit := size
		if q.Limit > 0 {
			limit = min(limit, uint32(min(*left, math.MaxUint32)))
		}
		page, bytes, err := d.page(ctx, op, table, tid, q.Index, partition, after, limit)
		if err != nil {
			yield(Row{}, err)
			return false
		}
		for _, row := range page.Rows {
			if !yield(row, nil) {
				return false
			}
			if *left--; q.Limit > 0 && *left == 0 {
				return false
			}
		}
		if page.Done {
			return true
		}
		after, size = page.Next, resize(len(page.Rows), bytes)
	}
}

// TraversePage answers one page of a partition, and where the next one begins: what Traverse does, for those who keep
// their place.
func (d *Driver) TraversePage(ctx context.Context, table TableName, q TraverseQuery) (TraversedPage, error) {
	op := "traverse table " + table.String()
	if q.Partition < 0 {
		return TraversedPage{}, spec.Errorf(spec.Usage, "%s: a page belongs to a partition", op)
	}
	t, _, err := d.prepare(ctx, op, table, q.Index)
	if err != nil {
		return TraversedPage{}, err
	}
	limit := uint32(firstPage)
	if q.Limit > 0 {
		limit = uint32(min(q.Limit, mostRows))
	}
	page, _, err := d.page(ctx, op, table, t.ID, q.Index, q.Partition, q.After, limit)
	return page, err
}

// page reads a page, and tells the size of its rows.
func (d *Driver) page(
	ctx context.Context, op string, table TableName, tid uint32, index string, partition int, after TraversePosition,
	limit uint32,
) (TraversedPage, int, error) {
	raw, err := d.rawPage(ctx, op, table, tid, index, partition, after, limit)
	if err != nil {
		return TraversedPage{}, 0, err
	}
	page := TraversedPage{Done: raw.done, Next: raw.next}
	for _, p := range raw.pairs {
		row, err := raw.table.row(op, p.Key, p.Time, p.Row)
		if err != nil {
			return TraversedPage{}, 0, err
		}
		page.Rows = append(page.Rows, row)
	}
	return page, raw.bytes, nil
}

// rawPage is a page as it came.
type rawPage struct {
	pairs  []wire.Pair
	next   TraversePosition
	done   bool
	bytes  int
	table  *Table // knows the schema versions of the rows
	leader string // the tablet that answered
}

func (d *Driver) rawPage(
	ctx context.Context, op string, table TableName, tid uint32, index string, partition int, after TraversePosition,
	limit uint32,
) (rawPage, error) {
	if int64(partition) > math.MaxUint32 {
		return rawPage{}, spec.Errorf(spec.Usage, "%s: there is no partition %d", op, partition)
	}
	pid := uint32(partition)
	a := &api.TraverseResponse{}
	t, err := d.askOwner(ctx, rowCall{op: op, table: table, method: traverse, build: func(t *Table) (uint32, proto.Message, error) {
		q := &api.TraverseRequest{Tid: &tid, Pid: &pid, Limit: &limit}
		if index != "" {
			q.IdxName = &index
		}
		if after.Key != "" {
			q.Pk, q.Ts, q.TsPos = &after.Key, &after.Time, &after.Pos
		}
		return pid, q, sameTable(op, t, tid)
	}}, a)
	if err != nil {
		return rawPage{}, err
	}
	page := rawPage{
		done: a.GetIsFinish(), next: TraversePosition{Key: a.GetPk(), Time: a.GetTs(), Pos: a.GetTsPos()}, bytes: len(a.GetPairs()),
	}
	if page.leader, err = t.leader(op, pid); err != nil {
		return rawPage{}, err
	}
	if page.pairs, err = wire.TraversePairs(a.GetPairs()); err != nil {
		return rawPage{}, malformed(op, "", "%w", err)
	}
	if page.table, err = d.current(ctx, op, t, bytesOfRows(page.pairs)...); err != nil {
		return rawPage{}, err
	}
	if !page.done && (page.next.Key == "" || page.next == after) {
		return rawPage{}, malformed(op, "", "there is more after %q, and that is where it began", said(after.Key))
	}
	return page, nil
}
