package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	clusters "shardsh/cluster"
	"shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/sandbox/tablet"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/fault"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// journal is a Work that holds back what is faster than its rate, and calls once when so many rows are dealt with.
type journal struct {
	t     *testing.T
	mu    sync.Mutex
	saved []byte
	rate  spec.Rate
	at    int64
	then  func()
}

func (j *journal) Progress(int64, int64, string)     {}
func (j *journal) Detail(format string, args ...any) { j.t.Logf(format, args...) }
func (j *journal) Rate() spec.Rate                   { return j.rate }

func (j *journal) Restore(into any) (bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(j.saved, into)
}

func (j *journal) Save(state any) (err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.saved, err = json.Marshal(state)
	return err
}

func (j *journal) Show(f spec.Figures) {
	if f.Done >= j.at && j.then != nil {
		then := j.then
		j.then = nil
		go then()
	}
}

// runSecond starts the cluster that has no tables.
func runSecond(t *testing.T) *cluster {
	t.Helper()
	c, network := runOn(t, sandbox.Config{Name: second, Dir: t.TempDir(), Log: t.Logf})
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), network.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func driverOf(t *testing.T, c *cluster) *openmldb.Driver {
	t.Helper()
	d, err := openmldb.New(c.Address(), clusters.Options{Timeout: func() time.Duration { return 2 * time.Second }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// visits has rows enough for a copy to be met in the middle; some have one time, and some are the same altogether.
func visits(n int) iter.Seq2[openmldb.Row, error] {
	return func(yield func(openmldb.Row, error) bool) {
		for i := range n {
			row := openmldb.Row{Values: []any{fmt.Sprint("v", i%997), fmt.Sprint("p", i%31), int64(1 + i%50), float64(i % 5)}}
			if i%7 == 0 {
				row.Values[3] = nil
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

func visitsTable(partitions int) openmldb.NewTable {
	return openmldb.NewTable{
		TableName: openmldb.TableName{DB: demoDB, Name: "visits"}, Partitions: partitions, Replicas: tablets,
		Columns: []openmldb.Column{{Name: "who", Type: "string"}, {Name: "page", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "score", Type: "double"}},
		Indexes: []openmldb.Index{
			{Name: "who", Columns: []string{"who"}, TimeColumn: "at", TTL: openmldb.TTL{Type: "kAbsoluteTime"}},
			{Name: "page", Columns: []string{"page"}, TimeColumn: "at", TTL: openmldb.TTL{Type: "kAbsoluteTime"}},
		},
	}
}

// A tablet that leads dies in the middle of a copy, of the source or of the target, for good or for a moment: the copy
// goes on by itself, and the tables are equal, by each of their indexes.
func TestCopySurvives(t *testing.T) {
	for _, x := range []struct {
		name         string
		target, back bool
	}{{"source", false, false}, {"target", true, false}, {"target, back at once", true, true}} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			copySurvives(t, x.target, x.back)
		})
	}
}

func copySurvives(t *testing.T, target, back bool) {
	const rows = 12_000
	a, b := run(t, "", nil), runSecond(t)
	from, to := driverOf(t, a), driverOf(t, b)
	name := visitsTable(1).TableName
	for d, partitions := range map[*openmldb.Driver]int{from: 3, to: 5} {
		if err := d.Create(t.Context(), visitsTable(partitions)); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range from.PutMany(t.Context(), name, visits(rows), 256) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	newUser(t, a).becomesWhole()
	here, there := mustDescribe(t, from, name), mustDescribe(t, to, name)
	victim, c := here, a
	if target {
		victim, c = there, b
	}
	leader, ok := victim.Parts[1].Leader()
	if !ok {
		t.Fatal("nobody leads")
	}
	died := make(chan error, 1)
	w := &journal{t: t, rate: spec.Rate{Rows: 6000}, at: rows / 4, then: func() {
		err := c.Kill(t.Context(), leader.Endpoint)
		if back && err == nil {
			err = c.Start(t.Context(), leader.Endpoint)
		}
		died <- err
	}}
	x, _, err := openmldb.FullestIndex(here)
	if err != nil {
		t.Fatal(err)
	}
	src := from.CopySource(name, openmldb.CopySourceOptions{Index: x.Name, TableID: here.ID})
	dst := to.CopySink(name, openmldb.CopySinkOptions{Index: x, TableID: there.ID})
	totals, err := openmldb.CopyTable(t.Context(), src, dst, transfer.CopyOptions{What: "copy visits", Patience: time.Minute}, w)
	if err != nil || totals.Rows != rows {
		t.Fatal(totals, err)
	}
	select {
	case err := <-died:
		if err != nil {
			t.Fatal(err)
		}
	default:
		t.Fatal("the copy was over before the tablet died")
	}
	for _, index := range []string{"who", "page"} {
		diff, err := transfer.Diff(t.Context(), from.CopySource(name, openmldb.CopySourceOptions{Index: index}),
			to.CopySource(name, openmldb.CopySourceOptions{Index: index}), openmldb.CopyRows{}, transfer.DiffOptions{}, &journal{t: t},
			func(f transfer.Found[openmldb.CopyRow]) error {
				t.Logf("%s: %+v", f.Difference, f)
				return nil
			})
		if err != nil || diff.Differences() != 0 || diff.SourceRows != rows || diff.TargetRows != rows {
			t.Errorf("index %s: %+v %v", index, diff, err)
		}
	}
}

func mustDescribe(t *testing.T, d *openmldb.Driver, name openmldb.TableName) *openmldb.Table {
	t.Helper()
	table, err := d.Describe(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Rows that are the same altogether but were put at different times can be told apart only by the index that orders by
// that. Where answers are lost that one has each of them once, and no other index lacks one.
func TestCopyPutTimes(t *testing.T) {
	const rows, lost = 3000, 40
	a, b := run(t, "", nil), runSecond(t)
	from, to := driverOf(t, a), driverOf(t, b)
	forever := openmldb.TTL{Type: "kAbsoluteTime"}
	table := openmldb.NewTable{
		TableName: openmldb.TableName{DB: demoDB, Name: "logs"}, Partitions: 4, Replicas: 2,
		Columns: []openmldb.Column{{Name: "who", Type: "string"}, {Name: "page", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "seen", Type: "bigint"}},
		Indexes: []openmldb.Index{
			{Name: "by_at", Columns: []string{"who"}, TimeColumn: "at", TTL: forever},
			{Name: "by_seen", Columns: []string{"page", "who"}, TimeColumn: "seen", TTL: forever},
			{Name: "by_put", Columns: []string{"page"}, TTL: forever},
		},
	}
	for _, d := range []*openmldb.Driver{from, to} {
		if err := d.Create(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	source := func(yield func(openmldb.Row, error) bool) {
		for i := range rows {
			row := openmldb.Row{Time: time.UnixMilli(int64(1000 + i%40)), Values: []any{fmt.Sprint("v", i%17), fmt.Sprint("p", i%13), int64(1 + i%3), int64(5)}}
			if !yield(row, nil) {
				return
			}
		}
	}
	for i, err := range from.PutMany(t.Context(), table.TableName, source, 64) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	here, there := mustDescribe(t, from, table.TableName), mustDescribe(t, to, table.TableName)
	if err := b.points.Arm(fault.CallPoint(tablet.Role, fault.Answer, "put"), lost); err != nil {
		t.Fatal(err)
	}
	x := here.Indexes[2]
	src := from.CopySource(table.TableName, openmldb.CopySourceOptions{Index: x.Name, TableID: here.ID})
	dst := to.CopySink(table.TableName, openmldb.CopySinkOptions{Index: x, TableID: there.ID})
	totals, err := openmldb.CopyTable(t.Context(), src, dst, transfer.CopyOptions{What: "copy logs"}, &journal{t: t})
	if err != nil || totals.Rows != rows || totals.Retries == 0 {
		t.Fatal(totals, err)
	}
	for _, index := range here.Indexes {
		diff, err := transfer.Diff(t.Context(), from.CopySource(table.TableName, openmldb.CopySourceOptions{Index: index.Name}),
			to.CopySource(table.TableName, openmldb.CopySourceOptions{Index: index.Name}), openmldb.CopyRows{}, transfer.DiffOptions{}, &journal{t: t},
			func(transfer.Found[openmldb.CopyRow]) error { return nil })
		if err != nil || diff.Missing != 0 || index.Name == x.Name && (diff.Differences() != 0 || diff.TargetRows != rows) {
			t.Errorf("index %s: %+v %v", index.Name, diff, err)
		}
	}
}
