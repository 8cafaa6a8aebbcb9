package openmldb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

var (
	get    = method{tablet, "Get", false}
	scan   = method{tablet, "Scan", false}
	count  = method{tablet, "Count", false}
	remove = method{tablet, "Delete", true}
)

// index finds an index by name; "" is the first one.
func (t *Table) index(op, name string) (*Index, error) {
	for i := range t.Indexes {
		if name == "" || t.Indexes[i].Name == name {
			return &t.Indexes[i], nil
		}
	}
	e := spec.Errorf(spec.NotFound, "table %s has no index %s", t.TableName, name)
	e.Op = op
	return nil, e.WithHint("showschema %s lists them", t.Name)
}

// homes are the partitions that may have the rows of a key: one, or all where the rows are spread by other columns.
func (t *Table) homes(key string) []uint32 {
	n := uint32(len(t.Parts))
	if len(t.PartitionKey) == 0 {
		return []uint32{wire.PartitionOf(key, n)}
	}
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	return all
}

// toMillis is a row's time on the wire; 0 for the zero Time. Rows have no times before 1970.
func toMillis(t time.Time) (uint64, error) {
	switch {
	case t.IsZero():
		return 0, nil
	case t.UnixMilli() <= 0:
		return 0, spec.Errorf(spec.Usage, "%s: rows have no times before 1970", t.UTC().Format(time.RFC3339))
	}
	return uint64(t.UnixMilli()), nil
}

func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, math.MaxInt64))) }

// row decodes what a tablet answered.
func (t *Table) row(op, key string, ms uint64, value []byte) (Row, error) {
	values, err := t.Schema.Decode(value)
	if err != nil {
		return Row{}, malformed(op, "", "a row of table %s: %w", t.TableName, err)
	}
	return Row{Key: key, Time: fromMillis(ms), Values: values}, nil
}

// prepare looks a table up and checks that the index is there.
func (d *Driver) prepare(ctx context.Context, op string, name TableName, index string) (*Table, *Index, error) {
	bounded, cancel := d.bound(ctx)
	defer cancel()
	for try := 0; ; try++ {
		t, err := d.route(bounded, op, name, false)
		if err != nil {
			return nil, nil, err
		}
		x, err := t.index(op, index)
		if err == nil || try > 0 {
			return t, x, err
		}
		d.routes.of(name).forget(t) // it may have been added since
	}
}

// Get answers one row of a key: that of a time, or the newest.
func (d *Driver) Get(ctx context.Context, table TableName, q GetQuery) (row Row, found bool, err error) {
	op := "get a row of table " + table.String()
	at, err := toMillis(q.At)
	if err != nil {
		return Row{}, false, err
	}
	t, x, err := d.prepare(ctx, op, table, q.Index)
	if err != nil {
		return Row{}, false, err
	}
	for _, home := range t.homes(q.Key) {
		a := &api.GetResponse{}
		now, err := d.askOwner(ctx, rowCall{op: op, table: table, method: get, build: func(t *Table) (uint32, proto.Message, error) {
			return home, &api.GetRequest{
				Tid: &t.ID, Pid: &home, Key: &q.Key, Ts: &at, IdxName: &x.Name, Type: api.GetType_kSubKeyEq.Enum(),
			}, nil
		}}, a)
		if isNoKey(err) {
			continue
		}
		if err != nil {
			return Row{}, false, err
		}
		if found && a.GetTs() <= uint64(row.Time.UnixMilli()) {
			continue
		}
		if now, err = d.current(ctx, op, now, a.GetValue()); err != nil {
			return Row{}, false, err
		}
		if row, err = now.row(op, q.Key, a.GetTs(), a.GetValue()); err != nil {
			return Row{}, false, err
		}
		found = true
	}
	return row, found, nil
}

// isNoKey says that a tablet has no row of the key.
func isNoKey(err error) bool {
	var e *spec.Error
	return errors.As(err, &e) && e.Kind == spec.NotFound && hasCode(e, codeNoKey)
}

// hasCode says that an error is the refusal of that number.
func hasCode(e *spec.Error, code int) bool {
	var n int
	_, err := fmt.Sscan(e.Code, &n)
	return err == nil && n == code
}

// Count answers how many rows a key has.
func (d *Driver) Count(ctx context.Context, table TableName, q CountQuery) (uint64, error) {
	op := "count rows of table " + table.String()
	t, x, err := d.prepare(ctx, op, table, q.Index)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, home := range t.homes(q.Key) {
		a := &api.CountResponse{}
		_, err := d.askOwner(ctx, rowCall{op: op, table: table, method: count, build: func(t *Table) (uint32, proto.Message, error) {
			return home, &api.CountRequest{
				Tid: &t.ID, Pid: &home, Key: &q.Key, IdxName: &x.Name, FilterExpiredData: &q.Living,
			}, nil
		}}, a)
		if err != nil {
			return 0, err
		}
		sum += uint64(a.GetCount())
	}
	return sum, nil
}

// Delete deletes rows of a key. Tablets of releases before 0.7 look at no times: they delete all rows of the key.
func (d *Driver) Delete(ctx context.Context, table TableName, q DeleteQuery) error {
	op := "delete rows of table " + table.String()
	newest, err := toMillis(q.Newest)
	if err != nil {
		return err
	}
	oldest, err := toMillis(q.Oldest)
	if err != nil {
		return err
	}
	if newest != 0 && newest < oldest {
		return spec.Errorf(spec.Usage, "%s: the newest time lies before the oldest", op)
	}
	t, x, err := d.prepare(ctx, op, table, q.Index)
	if err != nil {
		return err
	}
	for i, home := range t.homes(q.Key) {
		_, err := d.askOwner(ctx, rowCall{op: op, table: table, method: remove, build: func(t *Table) (uint32, proto.Message, error) {
			r := &api.DeleteRequest{Tid: &t.ID, Pid: &home, Key: &q.Key, IdxName: &x.Name, EnableDecodeValue: &q.Everywhere}
			if newest != 0 {
				r.Ts = &newest
			}
			if oldest != 0 {
				r.EndTs = &oldest
			}
			return home, r, nil
		}}, &api.GeneralResponse{})
		if err != nil {
			if i > 0 && spec.KindOf(err) != spec.UnknownOutcome {
				return spec.Errorf(spec.PartlyDone, "%s: done in %d of %d partitions: %w", op, i, len(t.homes(q.Key)), err)
			}
			return err
		}
	}
	return nil
}

// Scan yields the rows of a key, the newest first, a page at a time.
func (d *Driver) Scan(ctx context.Context, table TableName, q ScanQuery) iter.Seq2[Row, error] {
	op := "scan table " + table.String()
	return func(yield func(Row, error) bool) {
		cursors, err := d.cursors(ctx, op, table, q)
		if err != nil {
			yield(Row{}, err)
			return
		}
		for yielded := 0; q.Limit == 0 || yielded < q.Limit; yielded++ {
			var newest *cursor
			for _, c := range cursors {
				if err := c.fill(ctx, d); err != nil {
					yield(Row{}, err)
					return
				}
				if len(c.rows) > 0 && (newest == nil || c.rows[0].Time.After(newest.rows[0].Time)) {
					newest = c
				}
			}
			if newest == nil {
				return
			}
			row := newest.rows[0]
			newest.rows = newest.rows[1:]
			if !yield(row, nil) {
				return
			}
		}
	}
}

// cursor reads the rows of a key in one partition.
type cursor struct {
	op        string
	table     TableName
	tid       uint32
	partition uint32
	index     string
	key       string

	rows []Row
	done bool
	page uint32
	st   uint64 // the newest time still to come
	et   uint64
	skip uint32 // how many rows of the time st have come
	left int    // of the limit; 0 is none
}

// Pages are so long that their rows have about that many bytes.
const (
	firstPage = 100
	mostRows  = 1000
	pageBytes = 1 << 20
)

// resize makes the next page of the length that the last one suggests.
func resize(rows, bytes int) uint32 {
	if rows == 0 || bytes == 0 {
		return firstPage
	}
	return uint32(max(1, min(mostRows, rows*pageBytes/bytes)))
}

func (d *Driver) cursors(ctx context.Context, op string, table TableName, q ScanQuery) ([]*cursor, error) {
	st, err := toMillis(q.Newest)
	if err != nil {
		return nil, err
	}
	et, err := toMillis(q.Oldest)
	if err != nil {
		return nil, err
	}
	if st == 0 {
		st = math.MaxInt64 // tablets refuse an end without a beginning
	}
	if st < et {
		return nil, spec.Errorf(spec.Usage, "%s: the newest time lies before the oldest", op)
	}
	t, x, err := d.prepare(ctx, op, table, q.Index)
	if err != nil {
		return nil, err
	}
	var all []*cursor
	for _, home := range t.homes(q.Key) {
		all = append(all, &cursor{
			op: op, table: table, tid: t.ID, partition: home, index: x.Name, key: q.Key, page: firstPage, st: st, et: et, left: q.Limit,
		})
	}
	return all, nil
}

// fill reads the next page when the last one is used up.
func (c *cursor) fill(ctx context.Context, d *Driver) error {
	for len(c.rows) == 0 && !c.done {
		limit := c.page
		if c.left > 0 {
			limit = min(limit, uint32(min(c.left, math.MaxUint32)))
		}
		if err := c.read(ctx, d, limit); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) read(ctx context.Context, d *Driver, limit uint32) error {
	a := &api.ScanResponse{}
	t, err := d.askOwner(ctx, rowCall{op: c.op, table: c.table, method: scan, build: func(t *Table) (uint32, proto.Message, error) {
		q := &api.ScanRequest{
			Tid: &c.tid, Pid: &c.partition, Pk: &c.key, St: &c.st, Et: &c.et, Limit: &limit, IdxName: &c.index,
		}
		if c.skip > 0 {
			q.SkipRecordNum = &c.skip
		}
		return c.partition, q, sameTable(c.op, t, c.tid)
	}}, a)
	var e *spec.Error
	if c.st != math.MaxInt64 && c.skip > 0 && errors.As(err, &e) && hasCode(e, codeBadArgument) {
		c.done = true // what is left has expired since
		return nil
	}
	if err != nil {
		return err
	}
	pairs, err := wire.ScanPairs(a.GetPairs())
	if err != nil {
		return malformed(c.op, "", "%w", err)
	}
	if t, err = d.current(ctx, c.op, t, bytesOfRows(pairs)...); err != nil {
		return err
	}
	for _, p := range pairs {
		row, err := t.row(c.op, c.key, p.Time, p.Row)
		if err != nil {
			return err
		}
		c.rows = append(c.rows, row)
	}
	return c.advance(a, pairs, limit)
}

func bytesOfRows(pairs []wire.Pair) [][]byte {
	all := make([][]byte, len(pairs))
	for i, p := range pairs {
		all[i] = p.Row
	}
	return all
}

// advance notes where the next page begins.
func (c *cursor) advance(a *api.ScanResponse, pairs []wire.Pair, limit uint32) error {
	if c.left > 0 {
		if c.left -= len(pairs); c.left <= 0 {
			c.rows = c.rows[:len(c.rows)+c.left]
			c.done = true
			return nil
		}
	}
	if len(pairs) == 0 || a.GetIsFinish() && a.IsFinish != nil || a.IsFinish == nil && uint32(len(pairs)) < limit {
		c.done = true
		return nil
	}
	if a.IsFinish == nil {
		return &spec.Error{
			Kind: spec.Unable, Op: c.op, Err: errors.New("the tablet is of a release that cannot answer so many rows in pages"),
			Hint: "give bounds of time that at most 100 rows fit",
		}
	}
	last := pairs[len(pairs)-1].Time
	if last > c.st {
		return malformed(c.op, "", "a row of time %d comes after time %d", last, c.st)
	}
	same := len(pairs) - slices.IndexFunc(pairs, func(p wire.Pair) bool { return p.Time == last })
	if last == c.st {
		c.skip += uint32(same)
	} else {
		c.st, c.skip = last, uint32(same)
	}
	c.page = resize(len(pairs), len(a.GetPairs()))
	return nil
}

// sameTable refuses to go on in another table that has taken the name.
func sameTable(op string, t *Table, tid uint32) error {
	if t.ID == tid {
		return nil
	}
	e := spec.Errorf(spec.Failed, "table %s was dropped and created anew", t.TableName)
	e.Op = op
	return e
}
