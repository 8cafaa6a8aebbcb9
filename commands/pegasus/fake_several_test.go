package pegasus

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
)

// several is what the fake remembers of the words for several rows.
type several struct {
	ranged   driver.RangeOptions
	check    driver.Check
	checked  driver.Checked
	changes  []driver.Mutation
	deleted  []string
	deleteFn func(rows []driver.RowKey) (int64, error)
	err      error
}

func (f *fake) Incr(_ context.Context, _ string, _, _ []byte, by int64) (int64, driver.Ack, error) {
	return 40 + by, fakeAck, f.several.err
}

func (f *fake) MultiSet(_ context.Context, table string, hash []byte, rows []driver.SortValue, ttl time.Duration) (driver.Ack, error) {
	for _, r := range rows {
		f.rows[rowID(table, hash, r.Sort)] = fakeRow{string(r.Value), ttl}
	}
	return fakeAck, nil
}

func (f *fake) MultiGet(_ context.Context, table string, hash []byte, sorts [][]byte) ([]driver.SortValue, driver.Ack, error) {
	var found []driver.SortValue
	for _, s := range sorts {
		if r, ok := f.rows[rowID(table, hash, s)]; ok {
			found = append(found, driver.SortValue{Sort: s, Value: []byte(r.value)})
		}
	}
	return found, fakeAck, nil
}

func (f *fake) MultiGetRange(_ context.Context, _ string, _ []byte, o driver.RangeOptions) iter.Seq2[driver.RangeRow, error] {
	f.several.ranged = o
	var rows []driver.RangeRow
	for _, r := range f.scan {
		rows = append(rows, driver.RangeRow{SortValue: driver.SortValue{Sort: r.Sort, Value: r.Value}, Ack: fakeAck})
	}
	return failing(rows, f.scanErr)
}

func (f *fake) MultiDel(_ context.Context, table string, hash []byte, sorts [][]byte) (int64, driver.Ack, error) {
	for _, s := range sorts {
		delete(f.rows, rowID(table, hash, s))
	}
	return int64(len(sorts)), fakeAck, nil
}

func (f *fake) DeleteRows(_ context.Context, _ string, rows []driver.RowKey) (int64, error) {
	if f.several.deleteFn != nil {
		return f.several.deleteFn(rows)
	}
	for _, r := range rows {
		f.several.deleted = append(f.several.deleted, strings.Join([]string{string(r.Hash), string(r.Sort)}, ":"))
	}
	return int64(len(rows)), nil
}

func (f *fake) SortKeyCount(context.Context, string, []byte) (int64, driver.Ack, error) {
	return int64(len(f.rows)), fakeAck, nil
}

func (f *fake) CheckAndSet(
	_ context.Context, table string, hash []byte, c driver.Check, sort, value []byte, ttl time.Duration,
) (driver.Checked, error) {
	f.several.check = c
	if f.several.checked.Passed {
		f.rows[rowID(table, hash, sort)] = fakeRow{string(value), ttl}
	}
	return f.several.checked, f.several.err
}

func (f *fake) CheckAndMutate(_ context.Context, _ string, _ []byte, c driver.Check, changes []driver.Mutation) (driver.Checked, error) {
	f.several.check, f.several.changes = c, slices.Clone(changes)
	return f.several.checked, f.several.err
}
