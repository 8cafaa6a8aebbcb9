package openmldb

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

var put = method{tablet, "Put", true}

// placed is a row, ready to be put: its bytes, and the keys it is found by in each partition.
type placedRow struct {
	value []byte
	time  int64
	keys  map[uint32][]*api.Dimension
}

// place works out where a row belongs. The error is a usage error: nothing was sent.
func (t *Table) place(op string, row Row) (*placedRow, error) {
	value, err := t.Schema.Encode(row.Values)
	if err != nil {
		return nil, spec.Errorf(spec.Usage, "%s: %w", op, err)
	}
	ms, err := toMillis(row.Time)
	if err != nil {
		return nil, err
	}
	if ms == 0 {
		ms = uint64(time.Now().UnixMilli())
	}
	p := &placedRow{value: value, time: int64(ms), keys: map[uint32][]*api.Dimension{}}
	if at, ok := t.timeOf(row.Values); ok {
		p.time = at
	}
	return p, t.spread(op, p, row.Values)
}

// spread works out the keys of a row, and the partitions they belong to.
func (t *Table) spread(op string, p *placedRow, values []any) error {
	together := len(t.PartitionKey) > 0
	var home uint32
	if together {
		key, err := t.keyOf(op, t.PartitionKey, values)
		if err != nil {
			return err
		}
		home = wire.PartitionOf(key, uint32(len(t.Parts)))
	}
	for i := range t.Indexes {
		key, err := t.keyOf(op, t.Indexes[i].Columns, values)
		if err != nil {
			return err
		}
		if !together {
			home = wire.PartitionOf(key, uint32(len(t.Parts)))
		}
		p.keys[home] = append(p.keys[home], &api.Dimension{Key: &key, Idx: &t.Indexes[i].Place})
	}
	if len(p.keys) == 0 {
		return spec.Errorf(spec.Failed, "%s: the table has no index", op)
	}
	return nil
}

// keyOf is the text of a key.
func (t *Table) keyOf(op string, columns []string, values []any) (string, error) {
	parts := make([]string, len(columns))
	for i, name := range columns {
		at := t.column(name)
		if at < 0 {
			return "", spec.Errorf(spec.Failed, "%s: the table has no column %s, which its keys are made of", op, name)
		}
		parts[i] = wire.KeyText(values[at])
	}
	return wire.JoinKey(parts), nil
}

func (t *Table) column(name string) int {
	return slices.IndexFunc(t.Schema.Columns, func(c wire.Column) bool { return c.Name == name })
}

// timeOf is a row's time where exactly one index has a time column: the value of that.
func (t *Table) timeOf(values []any) (int64, bool) {
	name := ""
	for _, x := range t.Indexes {
		if x.TimeColumn == "" {
			continue
		}
		if name != "" {
			return 0, false
		}
		name = x.TimeColumn
	}
	at := t.column(name)
	if at < 0 {
		return 0, false
	}
	ms, ok := values[at].(int64)
	return ms, ok
}

// Put writes a row. It goes to every partition that one of its keys belongs to, one after the other.
func (d *Driver) Put(ctx context.Context, table TableName, row Row) error {
	op := "put a row into table " + table.String()
	ctx, cancel := d.bound(ctx)
	defer cancel()
	for try := 0; ; try++ {
		t, err := d.route(ctx, op, table, true)
		if err != nil {
			return err
		}
		p, err := t.place(op, row)
		if err != nil && try == 0 && len(row.Values) != len(t.Schema.Columns) {
			d.routes.of(table).forget(t) // a column may have been added since
			continue
		}
		if err != nil {
			return err
		}
		// The table may turn out to be another one by now: then the row is placed anew.
		if err = d.putPlaced(ctx, op, t, p); try > 0 || !errors.Is(err, errChanged) || spec.KindOf(err) == spec.PartlyDone {
			return err
		}
	}
}

var errChanged = errors.New("the table was changed in the meantime")

// putPlaced sends a row that was placed for a table as it was.
func (d *Driver) putPlaced(ctx context.Context, op string, t *Table, p *placedRow) error {
	for i, home := range slices.Sorted(maps.Keys(p.keys)) {
		err := d.putHome(ctx, op, t, p, home)
		if err == nil {
			continue
		}
		if i > 0 && spec.KindOf(err) != spec.UnknownOutcome {
			return spec.Errorf(spec.PartlyDone, "%s: the row is found by some of its keys: %w", op, err)
		}
		return err
	}
	return nil
}

// putHome sends a row that was placed to one of its partitions.
func (d *Driver) putHome(ctx context.Context, op string, t *Table, p *placedRow, home uint32) error {
	_, err := d.askOwner(ctx, rowCall{op: op, table: t.TableName, method: put, places: true, build: func(now *Table) (uint32, proto.Message, error) {
		if !samePlaces(t, now) {
			return 0, nil, &spec.Error{Kind: spec.Failed, Op: op, Err: errChanged}
		}
		return home, &api.PutRequest{Tid: &t.ID, Pid: &home, Time: &p.time, Value: p.value, Dimensions: p.keys[home]}, nil
	}}, &api.PutResponse{})
	return err
}

// samePlaces says that a row belongs where it belonged: columns, indexes and partitions are the same.
func samePlaces(was, now *Table) bool {
	return was == now || was.ID == now.ID && len(was.Parts) == len(now.Parts) &&
		slices.Equal(was.Schema.Columns, now.Schema.Columns) &&
		slices.EqualFunc(was.Indexes, now.Indexes, func(a, b Index) bool { return a.Name == b.Name && a.Place == b.Place })
}

// maxInFlight bounds the rows under way of one PutMany.
const maxInFlight = 4096

// PutMany writes rows, several at once, and yields the outcome of each in their order: its number from 0, and nil or why
// it was not written. A row that failed does not stop those after it. An error of the sequence of rows ends it, under the
// number of the row that is missing; so does a table that cannot be found. When whoever ranges over the outcomes stops,
// no more rows are read, and those under way are waited for.
func (d *Driver) PutMany(ctx context.Context, table TableName, rows iter.Seq2[Row, error], inFlight int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		window := make([]chan error, max(1, min(inFlight, maxInFlight)))
		first, next := 0, 0 // rows under way are those from first up to next
		oldest := func() bool {
			err := <-window[first%len(window)]
			first++
			return yield(first-1, err)
		}
		for row, err := range rows {
			if err != nil {
				for first < next {
					if !oldest() {
						return
					}
				}
				yield(next, err)
				return
			}
			if next-first == len(window) && !oldest() {
				return
			}
			done := make(chan error, 1)
			window[next%len(window)] = done
			next++
			group.Go(func() { done <- d.Put(ctx, table, row) })
		}
		for first < next {
			if !oldest() {
				return
			}
		}
	}
}
