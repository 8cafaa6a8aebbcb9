package pegasus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// applied plans a word and applies its one step.
func applied(t *testing.T, f *fake, name string, flags map[string]string, args ...string) (*spec.Plan, *report, error) {
	t.Helper()
	p, err := f.plan(t, name, flags, args...)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Steps) != 1 {
		t.Fatalf("%d steps", len(p.Steps))
	}
	r := &report{}
	return p, r, p.Steps[0].Apply(t.Context(), r)
}

func TestMultiSetGetDel(t *testing.T) {
	f := newFake()
	p, r, err := applied(t, f, "multi_set", map[string]string{"ttl": "90m"}, "h\xff", "a", "secret", "", "")
	if err != nil || !p.Steps[0].Rows || p.Class() != spec.Alter || !strings.HasPrefix(r.detail, "partition 3 decree 12") {
		t.Errorf("%v %q", err, r.detail)
	}
	if want := `set 2 rows under "h\xff" in demo`; p.Title != want || strings.Contains(fmt.Sprint(p.Objects()), "secret") {
		t.Errorf("%q, objects %q", p.Title, p.Objects())
	}
	if got := f.rows[rowID("demo", []byte("h\xff"), []byte("a"))]; got != (fakeRow{"secret", 90 * time.Minute}) {
		t.Errorf("%+v", got)
	}
	table, err := f.query(t, "multi_get", nil, "h\xff", "", "none", "a")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := cells(t, table)
	if diff := cmp.Diff([]string{"h\xff||", "h\xff|a|secret"}, rows); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if diff := cmp.Diff([]string{"3 asked for, 2 rows, app_id 2, partition_index 3, server 127.0.0.1:34801"}, table.Notes()); diff != "" {
		t.Error(diff)
	}
	if table, err = f.query(t, "count", nil, "h\xff"); err != nil {
		t.Fatal(err)
	}
	if rows, _ := cells(t, table); rows[0] != "h\xff|2|2|3|127.0.0.1:34801" {
		t.Errorf("%q", rows)
	}
	if _, _, err := applied(t, f, "multi_del", nil, "h\xff", "a", "none", ""); err != nil || len(f.rows) != 0 {
		t.Errorf("%v, %d rows left", err, len(f.rows))
	}
}

func TestMultiGetRange(t *testing.T) {
	f := newFake()
	f.scan = []driver.ScanRow{{Sort: []byte("a"), Value: []byte("1")}, {Sort: []byte("b"), Value: []byte("2")}}
	table, err := f.query(t, "multi_get_range", map[string]string{
		"start-inclusive": "false", "stop-inclusive": "true", "sort-key-filter-type": "exact", "sort-key-filter-pattern": "",
		"max-count": "2", "reverse": "true",
	}, "h", "x", "y")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := cells(t, table)
	if diff := cmp.Diff([]string{"h|a|1", "h|b|2"}, rows); diff != "" || err != nil {
		t.Error(err, diff)
	}
	want := driver.RangeOptions{
		SortRange: driver.SortRange{Start: []byte("x"), Stop: []byte("y"), AfterStart: true, IncludingStop: true},
		SortKey:   driver.Filter{Type: "exact", Pattern: []byte{}}, MaxRows: 2, Reverse: true,
	}
	if diff := cmp.Diff(want, f.several.ranged); diff != "" {
		t.Error(diff)
	}
	if notes := table.Notes(); len(notes) != 2 || notes[1] != "stopped after 2 rows, as told by --max-count" {
		t.Errorf("%q", notes)
	}
	// Without a start, what -a says of it must not leave out the row with the empty sort key.
	if _, err := f.query(t, "multi_get_range", map[string]string{"start-inclusive": "false"}, "h"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(driver.SortRange{Start: []byte{}, Stop: []byte{}}, f.several.ranged.SortRange); diff != "" {
		t.Error(diff)
	}
	table, err = f.query(t, "multi_get_sortkeys", nil, "h")
	if err != nil || !f.several.ranged.NoValue || len(table.Columns) != 2 {
		t.Fatal(err, f.several.ranged)
	}
	if rows, _ := cells(t, table); !slices.Equal(rows, []string{"h|a", "h|b"}) {
		t.Errorf("%q", rows)
	}
	f.scanErr = errors.New("lost")
	if table, err = f.query(t, "multi_get", nil, "h"); err != nil {
		t.Fatal(err)
	}
	if rows, err := cells(t, table); len(rows) != 2 || err == nil {
		t.Errorf("%q %v", rows, err)
	}
}

func TestScansOfOperators(t *testing.T) {
	f := newFake()
	f.scan = []driver.ScanRow{{Hash: []byte("h"), Sort: []byte("s"), Value: []byte("v"), Partition: 1, AppID: 2, Server: "a:1"}}
	for name, c := range map[string]struct {
		word  string
		flags map[string]string
		args  []string
		row   string
		want  driver.ScanOptions
	}{
		"hash_scan": {
			"hash_scan",
			map[string]string{"detailed": "true", "max-count": "9", "value-filter-type": "postfix", "value-filter-pattern": "v"},
			[]string{"h", "a"},
			"h|s|v|<nil>|1|2|a:1",
			driver.ScanOptions{
				Partition: -1, MaxRows: 9, HashKey: driver.Filter{Type: "exact", Pattern: []byte("h")},
				Value: driver.Filter{Type: "postfix", Pattern: []byte("v")}, Range: &driver.SortRange{Start: []byte("a"), Stop: []byte{}},
			},
		},
		"full_scan": {
			"full_scan",
			map[string]string{"no-value": "true", "max-count": "-1", "partition": "2"},
			nil, "h|s|<nil>|1",
			driver.ScanOptions{Partition: 2, Batch: 500, NoValue: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := f.query(t, c.word, c.flags, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := cells(t, table)
			if diff := cmp.Diff([]string{c.row}, rows); diff != "" || err != nil {
				t.Error(err, diff)
			}
			if diff := cmp.Diff(c.want, f.scanned); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIncr(t *testing.T) {
	f := newFake()
	for _, args := range [][]string{{"h", "s"}, {"h", "s", "-40"}} {
		p, _, err := applied(t, f, "incr", nil, args...)
		if err != nil || !p.Steps[0].Rows {
			t.Fatal(err)
		}
		sum := map[int]string{2: "41", 3: "0"}[len(args)]
		if rows, _ := cells(t, p.Answers()); rows[0] != "h|s|"+sum+"|2|3|127.0.0.1:34801|12" {
			t.Errorf("%q", rows)
		}
	}
}

func TestCheckAndSet(t *testing.T) {
	f := newFake()
	flags := map[string]string{
		"check-sort-key": "c", "check-type": "int_less", "check-operand": "5", "set-sort-key": "s", "set-value": "secret",
		"set-value-ttl-seconds": "60", "return-check-value": "true",
	}
	f.several.checked = driver.Checked{Passed: true, Returned: true, Exists: true, Value: []byte("4"), Ack: fakeAck}
	p, _, err := applied(t, f, "check_and_set", flags, "h")
	if err != nil || !p.Steps[0].Rows || p.Title != `set "h" : "s" in demo, checking "c" for int_less` {
		t.Errorf("%v %q", err, p.Title)
	}
	if f.rows[rowID("demo", []byte("h"), []byte("s"))] != (fakeRow{"secret", time.Minute}) {
		t.Errorf("%+v", f.rows)
	}
	if rows, _ := cells(t, p.Answers()); rows[0] != "h|c|true|true|4|2|3|127.0.0.1:34801|12" {
		t.Errorf("%q", rows)
	}
	f.several.checked = driver.Checked{Returned: true, Ack: fakeAck}
	p, _, err = applied(t, f, "check_and_set", flags, "h")
	if spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), "nothing was written") {
		t.Error(err)
	}
	if rows, _ := cells(t, p.Answers()); rows[0] != "h|c|false|false|<nil>|2|3|127.0.0.1:34801|12" {
		t.Errorf("%q", rows)
	}
	for word, change := range map[string][2]string{
		"an operand that is missing":   {"check-operand", ""},
		"an operand that means none":   {"check-type", "exist"},
		"a ttl":                        {"set-value-ttl-seconds", "-1"},
		"a value that is much too big": {"set-value", strings.Repeat("x", maxWrite)},
	} {
		wrong := maps.Clone(flags)
		if wrong[change[0]] = change[1]; change[1] == "" {
			delete(wrong, change[0])
		}
		if _, err := f.plan(t, "check_and_set", wrong, "h"); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestCheckAndMutate(t *testing.T) {
	f := newFake()
	f.several.checked = driver.Checked{Passed: true, Ack: fakeAck}
	flags := map[string]string{"check-sort-key": "", "check-type": "not_exist"}
	p, _, err := applied(t, f, "check_and_mutate", flags,
		"h", "set", "set", "del", "del", "set", "set", "a", "1", "2h", "set", "b", "", "0", "del", "")
	if err != nil || p.Title != `set 3 and del 2 rows under "h" in demo, checking "" for not_exist` {
		t.Fatal(err, p.Title)
	}
	b := func(s string) []byte { return []byte(s) }
	want := []driver.Mutation{
		{Sort: b("set"), Value: b("del")},
		{Delete: true, Sort: b("set")},
		{Sort: b("a"), Value: b("1"), TTL: 2 * time.Hour},
		{Sort: b("b"), Value: b("")},
		{Delete: true, Sort: b("")},
	}
	if diff := cmp.Diff(want, f.several.changes); diff != "" {
		t.Error(diff)
	}
	if rows, _ := cells(t, p.Answers()); rows[0] != "h||true|<nil>|<nil>|2|3|127.0.0.1:34801|12" {
		t.Errorf("%q", rows)
	}
	for _, words := range [][]string{
		nil, {"set"}, {"set", "a"}, {"del"}, {"put", "a", "b"}, {"set", "a", "b", "c"}, {"set", "a", "b", ""}, {"set", "a", "b", "-1"}, {"del", "a", "b"},
	} {
		if _, err := f.plan(t, "check_and_mutate", flags, append([]string{"h"}, words...)...); spec.KindOf(err) != spec.Usage {
			t.Errorf("%q: %v", words, err)
		}
	}
}

func TestSeveralUsage(t *testing.T) {
	f := newFake()
	f.several.deleteFn = func([]driver.RowKey) (int64, error) { t.Error("something was deleted"); return 0, nil }
	for _, c := range []struct {
		word  string
		flags map[string]string
		args  []string
	}{
		{"multi_set", nil, []string{"h", "a", "1", "b"}},
		{"multi_set", nil, []string{"h", "a", "1", "a", "2"}},
		{"multi_set", nil, []string{"", "a", "1"}},
		{"multi_set", nil, []string{"h", "a", strings.Repeat("x", maxWrite)}},
		{"multi_set", map[string]string{"ttl": "1500ms"}, []string{"h", "a", "1"}},
		{"multi_del", nil, []string{"h", "a", "a"}},
		{"multi_del", nil, []string{"", "a"}},
		{"multi_del_range", map[string]string{"o": "file"}, []string{"h"}},
		{"multi_del_range", map[string]string{"sort-key-filter-type": "prefix"}, []string{"h"}},
		{"multi_del_range", nil, []string{""}},
		{"clear_data", map[string]string{"partition": "4"}, nil},
		{"clear_data", map[string]string{"timeout-ms": "0"}, nil},
		{"clear_data", map[string]string{"max-batch-count": "1001"}, nil},
	} {
		if _, err := f.plan(t, c.word, c.flags, c.args...); spec.KindOf(err) != spec.Usage || err == nil {
			t.Errorf("%s %v %.40q: %v", c.word, c.flags, c.args, err)
		}
	}
	for word, flags := range map[string]map[string]string{
		"full_scan": {"o": "file"}, "scan": {"timeout-ms": "-5"}, "count_data": {"timeout-ms": "0"},
		"hash_scan": {"no-value": "true", "value-filter-type": "exact", "value-filter-pattern": ""},
	} {
		if _, err := f.query(t, word, flags, []string{"h"}[:len(f.word(t, word).Args)/3]...); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s %v: %v", word, flags, err)
		}
	}
}

func manyRows(n int) []driver.ScanRow {
	rows := make([]driver.ScanRow, n)
	for i := range rows {
		rows[i] = driver.ScanRow{Hash: fmt.Append(nil, "h", i/10), Sort: fmt.Append(nil, i)}
	}
	return rows
}

func TestClearData(t *testing.T) {
	f := newFake()
	f.scan = manyRows(2*deleteBatch + 1)
	p, r, err := applied(t, f, "clear_data", map[string]string{
		"force": "true", "hash-key-filter-type": "prefix", "hash-key-filter-pattern": "h", "partition": "1",
	})
	if err != nil || len(f.several.deleted) != len(f.scan) || r.detail != "1001 rows deleted" || len(r.progress) != 3 {
		t.Errorf("%v, %d deleted, %q, %q", err, len(f.several.deleted), r.detail, r.progress)
	}
	if p.Class() != spec.Destroy || p.Name != "demo" || p.Steps[0].Rows {
		t.Errorf("%s, name %s, rows %t", p.Class(), p.Name, p.Steps[0].Rows)
	}
	if want := `delete the rows of demo, "h" at the start of the hash key, partition 1`; p.Title != want || !f.scanned.NoValue {
		t.Errorf("%q, %+v", p.Title, f.scanned)
	}
	if p, err = f.plan(t, "clear_data", map[string]string{"value-filter-type": "exact", "value-filter-pattern": "v"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || f.scanned.NoValue {
		t.Errorf("%v: values were not read, but compared", err)
	}
	call := f.call(t, "clear_data", nil)
	call.Table = "gone"
	if _, err := call.Command.Change(t.Context(), call); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a table that is not there: %v", err)
	}
}

func TestMultiDelRange(t *testing.T) {
	f := newFake()
	f.scan = []driver.ScanRow{{Hash: []byte("h"), Sort: []byte("b")}}
	p, r, err := applied(t, f, "multi_del_range", map[string]string{"start-inclusive": "false", "stop-inclusive": "true"}, "h", "a", "c")
	if err != nil || r.detail != "1 row deleted" || !slices.Equal(f.several.deleted, []string{"h:b"}) {
		t.Errorf("%v, %q, %q", err, r.detail, f.several.deleted)
	}
	if want := `delete the rows under "h" in demo after "a" through "c"`; p.Title != want || p.Class() != spec.Risky {
		t.Errorf("%q, %s", p.Title, p.Class())
	}
	want := driver.ScanOptions{
		Partition: -1, NoValue: true, HashKey: driver.Filter{Type: "exact", Pattern: []byte("h")},
		Range: &driver.SortRange{Start: []byte("a"), Stop: []byte("c"), AfterStart: true, IncludingStop: true},
	}
	if diff := cmp.Diff(want, f.scanned); diff != "" {
		t.Error(diff)
	}
}

// Ctrl-C during a batch: that batch is finished and counted, the next one is not begun.
func TestDeletionStops(t *testing.T) {
	f := newFake()
	f.scan = manyRows(5 * deleteBatch)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	f.several.deleteFn = func(rows []driver.RowKey) (int64, error) {
		if calls++; calls == 2 {
			cancel()
		}
		return int64(len(rows)), nil
	}
	p, err := f.plan(t, "clear_data", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Steps[0].Apply(ctx, &report{})
	if spec.KindOf(err) != spec.Interrupted || calls != 2 || !strings.Contains(err.Error(), "1000 rows deleted") {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestDeletionFails(t *testing.T) {
	busy := spec.Errorf(spec.Unavailable, "busy")
	unknown := spec.Errorf(spec.UnknownOutcome, "lost")
	for name, c := range map[string]struct {
		fail    error
		after   int
		scanErr error
		want    spec.ErrorKind
		text    string
	}{
		"at once":             {fail: busy, want: spec.Unavailable, text: "0 rows deleted; busy"},
		"later":               {fail: busy, after: 1, want: spec.PartlyDone, text: "500 rows deleted; busy"},
		"without an answer":   {fail: unknown, after: 1, want: spec.UnknownOutcome, text: "500 rows deleted; outcome unknown: lost"},
		"while it looks":      {after: 99, scanErr: busy, want: spec.PartlyDone, text: "500 rows deleted; busy"},
		"before it found any": {after: 99, scanErr: busy, want: spec.Unavailable, text: "0 rows deleted; busy"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			calls := 0
			f.several.deleteFn = func(rows []driver.RowKey) (int64, error) {
				if calls++; calls > c.after {
					return 0, c.fail
				}
				return int64(len(rows)), nil
			}
			f.scan, f.scanErr = manyRows(2*deleteBatch-1), c.scanErr
			if name == "before it found any" {
				f.scan = nil
			}
			var rows iter.Seq2[driver.ScanRow, error] = failing(f.scan, f.scanErr)
			err := deleteScanned(t.Context(), f, "clear", "demo", rows, &report{})
			if spec.KindOf(err) != c.want || !strings.Contains(err.Error(), c.text) || spec.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
		})
	}
}
