package pegasus

import (
	"context"
	"encoding/json"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// fakeSource is a table of one part, all of which comes at once.
type fakeSource []wire.KeyValue

func (s fakeSource) Parts(context.Context) ([]transfer.Part, error) { return []transfer.Part{{}}, nil }

func (s fakeSource) Read(context.Context, int, transfer.Position) iter.Seq2[transfer.Batch[wire.KeyValue], error] {
	return func(yield func(transfer.Batch[wire.KeyValue], error) bool) {
		yield(transfer.Batch[wire.KeyValue]{Rows: s}, nil)
	}
}

func (fakeSource) Judge(error) transfer.Verdict { return transfer.Fatal }

// fakeDiff is a read of a table to compare it.
type fakeDiff struct {
	table   string
	options driver.ScanOptions
	view    driver.DiffView
}

func (f *fake) DiffSource(table string, o driver.ScanOptions, view driver.DiffView) transfer.Source[wire.KeyValue] {
	f.diffs = append(f.diffs, fakeDiff{table, o, view})
	return fakeSource(f.sources[table])
}

// jobWork is a Work that keeps its journal in memory.
type jobWork struct {
	report
	saved []byte
	rate  spec.Rate
}

func (w *jobWork) Restore(state any) (bool, error) {
	return w.saved != nil, json.Unmarshal(append([]byte(nil), w.saved...), state)
}

func (w *jobWork) Save(state any) (err error) {
	w.saved, err = json.Marshal(state)
	return err
}
func (w *jobWork) Rate() spec.Rate   { return w.rate }
func (w *jobWork) Show(spec.Figures) {}

func kv(t *testing.T, hash, sort, value string, ttl time.Duration) wire.KeyValue {
	t.Helper()
	key, err := wire.EncodeKey([]byte(hash), []byte(sort))
	if err != nil {
		t.Fatal(err)
	}
	ts, err := wire.ExpireTS(time.Now(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return wire.KeyValue{Key: key, Value: []byte(value), ExpireTS: ts}
}

func newDiffFake(t *testing.T) *fake {
	f := newFake()
	f.apps = []driver.App{
		{ID: 2, Name: "demo", Status: "AVAILABLE", Partitions: 8},
		{ID: 3, Name: "other", Status: "AVAILABLE", Partitions: 16},
	}
	long := strings.Repeat("v", 500)
	f.sources = map[string][]wire.KeyValue{
		"demo":  {kv(t, "h", "a", "1", 0), kv(t, "h", "b", "", time.Hour), kv(t, "h", "c", "3", time.Hour), kv(t, "h", "d", long, 0)},
		"other": {kv(t, "h", "a", "1", 0), kv(t, "h", "c", "3", 2*time.Hour), kv(t, "h", "d", "4", 0), kv(t, "h", "e", "", 0)},
	}
	return f
}

func withOther(flags map[string]string) map[string]string {
	all := map[string]string{"target-cluster-name": "onebox2", "target-app-name": "other"}
	for k, v := range flags {
		all[k] = v
	}
	return all
}

// runDiff plans and runs a comparison, and answers its two sections without times to live.
func runDiff(t *testing.T, f *fake, flags map[string]string) (rows []string, summary string, err error) {
	t.Helper()
	p, err := f.plan(t, "diff_data", withOther(flags))
	if err != nil {
		t.Fatal(err)
	}
	if p.Class() != spec.Read || len(p.Steps) != 1 || p.Steps[0].Job == nil {
		t.Fatalf("%+v", p)
	}
	w := &jobWork{saved: []byte("{}")}
	err = p.Steps[0].Job.Run(t.Context(), w)
	answer := p.Answers()
	found, cerr := cells(t, answer)
	sum, cerr2 := cells(t, answer.More[0])
	if cerr != nil || cerr2 != nil {
		t.Fatal(cerr, cerr2)
	}
	return found, sum[0], err
}

func TestDiffData(t *testing.T) {
	f := newDiffFake(t)
	rows, summary, err := runDiff(t, f, map[string]string{"no-values": "true"})
	if spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), "1 row missing, 1 row extra, 1 row different, 1 row with another ttl") {
		t.Errorf("%v", err)
	}
	if summary != "4|4|1|1|1|1|1|false" {
		t.Error(summary)
	}
	want := map[string]bool{"h|b|missing": true, "h|c|ttl_drift": true, "h|d|different": true, "h|e|extra": true}
	for _, row := range rows {
		what := strings.Join(strings.Split(row, "|")[:3], "|")
		if !want[what] {
			t.Errorf("%s is listed", row)
		}
		delete(want, what)
	}
	if len(want) > 0 {
		t.Errorf("%v are not listed", want)
	}
	f.sources["other"] = f.sources["demo"]
	if rows, summary, err = runDiff(t, f, nil); err != nil || len(rows) != 0 || summary != "4|4|4|0|0|0|0|true" {
		t.Error(rows, summary, err)
	}
}

func TestDiffDataShowsTimesLeft(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	ts, err := wire.ExpireTS(now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	row := &wire.KeyValue{ExpireTS: ts}
	if got := ttlCell(row, now); got != time.Hour {
		t.Error(got)
	}
	if got := ttlCell(row, now.Add(2*time.Hour)); got != time.Duration(0) {
		t.Error(got)
	}
	if ttlCell(nil, now) != nil || ttlCell(&wire.KeyValue{}, now) != nil {
		t.Error("a row without an end has time left")
	}
}

func TestDiffDataShortensValues(t *testing.T) {
	f := newDiffFake(t)
	f.sources["demo"], f.sources["other"] = f.sources["demo"][3:], f.sources["other"][2:3]
	rows, _, _ := runDiff(t, f, nil)
	if diff := cmp.Diff([]string{"h|d|different|" + strings.Repeat("v", 120) + "...|4|<nil>|<nil>"}, rows); diff != "" {
		t.Error(diff)
	}
	rows, summary, err := runDiff(t, f, map[string]string{"limit": "0"})
	if len(rows) != 0 || summary != "1|1|0|0|0|1|0|false" || spec.KindOf(err) != spec.AnsweredNo {
		t.Error(rows, summary, err)
	}
}

func TestDiffDataChoosesRows(t *testing.T) {
	f := newDiffFake(t)
	if _, _, err := runDiff(t, f, map[string]string{
		"partitions": "0-2,5,2", "hash-key-filter-type": "prefix", "hash-key-filter-pattern": "h", "max-batch-count": "10",
	}); spec.KindOf(err) != spec.AnsweredNo {
		t.Fatal(err)
	}
	o := driver.ScanOptions{Partition: -1, Batch: 10, HashKey: driver.Filter{Type: "prefix", Pattern: []byte("h")}}
	view := driver.DiffView{Partitions: []int{0, 1, 2, 5}, Of: 8}
	if diff := cmp.Diff([]fakeDiff{{"demo", o, view}, {"other", o, view}}, f.diffs, cmp.AllowUnexported(fakeDiff{})); diff != "" {
		t.Error(diff)
	}
}

func TestDiffDataRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		kind  spec.ErrorKind
	}{
		"itself":              {map[string]string{"target-app-name": "demo"}, spec.Usage},
		"no such table":       {map[string]string{"target-app-name": "none"}, spec.NotFound},
		"no such partition":   {map[string]string{"partition": "8"}, spec.Usage},
		"no such partitions":  {map[string]string{"partitions": "0-8"}, spec.Usage},
		"partitions":          {map[string]string{"partitions": "3-1"}, spec.Usage},
		"both":                {map[string]string{"partitions": "1", "partition": "1"}, spec.Usage},
		"too many listed":     {map[string]string{"limit": "10001"}, spec.Usage},
		"negative drift":      {map[string]string{"ttl-drift": "-1s"}, spec.Usage},
		"pattern, no type":    {map[string]string{"hash-key-filter-pattern": "x"}, spec.Usage},
		"a strange name":      {map[string]string{"target-app-name": "a b"}, spec.Usage},
		"negative time":       {map[string]string{"timeout-ms": "-5"}, spec.Usage},
		"more than batch":     {map[string]string{"max-batch-count": "1001"}, spec.Usage},
		"not even a number":   {map[string]string{"partitions": "a"}, spec.Usage},
		"huge partition list": {map[string]string{"partitions": "0-2000000000"}, spec.Usage},
	} {
		f := newDiffFake(t)
		if _, err := f.plan(t, "diff_data", withOther(c.flags)); spec.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyLeavesExtraRowsOut(t *testing.T) {
	f := newDiffFake(t)
	c := &comparison{
		source: compared{f, "onebox", f.apps[0]}, target: compared{f, "onebox2", f.apps[1]}, options: driver.ScanOptions{Partition: -1},
		onlySource: true, limit: 10,
	}
	step, answers := verifyStep(c)
	f.sources["demo"] = f.sources["other"][:2]
	err := step.Job.Run(t.Context(), &jobWork{saved: []byte("{}")})
	rows, _ := cells(t, answers())
	if err != nil || len(rows) != 0 || step.Job.Name != "verify" {
		t.Error(rows, err)
	}
}
