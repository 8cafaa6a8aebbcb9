package pegasus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func TestSetThenReadThenDelete(t *testing.T) {
	f := newFake()
	hash, sort, value := "h\x00\"", "\xff\x1b[2J", "\x01\x02"
	p, err := f.plan(t, "set", nil, hash, sort, value, "90m")
	if err != nil {
		t.Fatal(err)
	}
	step := p.Steps[0]
	if !step.Rows || step.Class != spec.Alter || step.Check != nil {
		t.Errorf("rows %t, class %s", step.Rows, step.Class)
	}
	if want := `set "h\x00\"" : "\xff\x1b[2J" in demo`; step.Text != want || strings.Contains(step.Text, value) {
		t.Errorf("text %q, want %q", step.Text, want)
	}
	if len(f.rows) != 0 {
		t.Error("planning wrote the row")
	}
	r := &report{}
	if err := step.Apply(t.Context(), r); err != nil || r.detail != "partition 3 decree 12 server 127.0.0.1:34801" {
		t.Errorf("%q %v", r.detail, err)
	}

	tail := "|2|3|127.0.0.1:34801"
	for word, want := range map[string]string{
		"get": hash + "|" + sort + "|" + value, "exist": hash + "|" + sort + "|true", "ttl": hash + "|" + sort + "|1h30m0s",
	} {
		table, err := f.query(t, word, nil, hash, sort)
		if err != nil || !table.Single {
			t.Fatalf("%s: %v", word, err)
		}
		if rows, _ := cells(t, table); len(rows) != 1 || rows[0] != want+tail {
			t.Errorf("%s: %q, want %q", word, rows, want+tail)
		}
	}

	if p, err = f.plan(t, "del", nil, hash, sort); err != nil {
		t.Fatal(err)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || len(f.rows) != 0 {
		t.Errorf("%d rows left, %v", len(f.rows), err)
	}
}

func TestMissingRow(t *testing.T) {
	f := newFake()
	for _, word := range []string{"get", "ttl"} {
		_, err := f.query(t, word, nil, "h", "")
		want := word + ` "h" : "" in demo: 127.0.0.1:34801: no such row in partition 3`
		if spec.KindOf(err) != spec.NotFound || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	table, err := f.query(t, "exist", nil, "h", "")
	if err != nil {
		t.Fatal(err)
	}
	if rows, _ := cells(t, table); rows[0] != "h||false|2|3|127.0.0.1:34801" {
		t.Errorf("%q", rows)
	}
}

func TestNoTTLIsNil(t *testing.T) {
	f := newFake()
	f.rows[rowID("demo", []byte("h"), nil)] = fakeRow{value: "v"}
	table, err := f.query(t, "ttl", nil, "h", "")
	if err != nil {
		t.Fatal(err)
	}
	for row := range table.Rows {
		if row[2] != nil {
			t.Errorf("ttl %v", row[2])
		}
	}
}

func TestHash(t *testing.T) {
	table, err := newFake().query(t, "hash", nil, "", "s")
	if err != nil {
		t.Fatal(err)
	}
	if rows, _ := cells(t, table); rows[0] != "18446744073709551613|demo|2|8|5|127.0.0.1:34801|[s]" {
		t.Errorf("%q", rows)
	}
}

func TestScan(t *testing.T) {
	f := newFake()
	f.scan = []driver.ScanRow{
		{Hash: []byte("h"), Sort: []byte("1"), Value: []byte("v"), Partition: 2},
		{Hash: []byte("h"), Sort: []byte("2"), Value: []byte("w"), Partition: 2, TTL: time.Minute, Expires: time.Now().Add(time.Minute)},
	}
	table, err := f.query(t, "scan", map[string]string{
		"partition": "3", "max-batch-count": "7", "max-rows": "2",
		"hash-key-filter-type": "prefix", "hash-key-filter-pattern": "h", "value-filter-type": "exact", "value-filter-pattern": "",
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := cells(t, table)
	if diff := cmp.Diff([]string{"h|1|v|<nil>|2", "h|2|w|1m0s|2"}, rows); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if diff := cmp.Diff([]string{"stopped after 2 rows, as told by --max-rows"}, table.Notes()); diff != "" {
		t.Error(diff)
	}
	want := driver.ScanOptions{
		Partition: 3, Batch: 7, MaxRows: 2,
		HashKey: driver.Filter{Type: "prefix", Pattern: []byte("h")}, Value: driver.Filter{Type: "exact", Pattern: []byte{}},
	}
	if diff := cmp.Diff(want, f.scanned); diff != "" {
		t.Error(diff)
	}

	f.scanErr = errors.New("the primary moved")
	if table, err = f.query(t, "scan", map[string]string{"no-value": "true"}); err != nil {
		t.Fatal(err)
	}
	rows, err = cells(t, table)
	if diff := cmp.Diff([]string{"h|1|<nil>|2", "h|2|1m0s|2"}, rows); diff != "" || !errors.Is(err, f.scanErr) {
		t.Error(err, diff)
	}
	if f.scanned.Partition != -1 || !f.scanned.NoValue {
		t.Errorf("%+v", f.scanned)
	}
}

func TestScanStopsWhenItsReaderDoes(t *testing.T) {
	f := newFake()
	f.scan = make([]driver.ScanRow, 10)
	table, err := f.query(t, "scan", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range table.Rows {
		break
	}
	if notes := table.Notes(); notes[0] != "1 row" {
		t.Errorf("%q", notes)
	}
}

func TestCountData(t *testing.T) {
	f := newFake()
	f.counts = []driver.PartitionCount{{Partition: 1, Rows: 10}, {Partition: 0, Rows: 5}}
	table, err := f.query(t, "count_data", map[string]string{"precise": "true"})
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := cells(t, table)
	sum, _ := cells(t, table.More[0])
	if diff := cmp.Diff([][]string{{"1|10", "0|5"}, {"15"}}, [][]string{rows, sum}); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedBeforeAnythingIsSent gives every kind of bad value, and counts how often a cluster was opened.
func TestRefusedBeforeAnythingIsSent(t *testing.T) {
	long := strings.Repeat("k", maxHashKey+1)
	for _, c := range []struct {
		name, word string
		flags      map[string]string
		args       []string
	}{
		{"table name", "create", nil, []string{"a b"}},
		{"no table name", "create", nil, []string{""}},
		{"no partitions", "create", map[string]string{"partition-count": "0"}, []string{"a"}},
		{"too many partitions", "create", map[string]string{"partition-count": "2147483648"}, []string{"a"}},
		{"no replicas", "create", map[string]string{"replica-count": "0"}, []string{"a"}},
		{"six replicas", "create", map[string]string{"replica-count": "6"}, []string{"a"}},
		{"setting twice", "create", map[string]string{"envs": "a=1,a=2"}, []string{"a"}},
		{"drop of a strange name", "drop", nil, []string{"a\x1b"}},
		{"negative reserve", "drop", map[string]string{"reserve-seconds": "-1"}, []string{"a"}},
		{"half a second's reserve", "drop", map[string]string{"reserve-seconds": "500ms"}, []string{"a"}},
		{"odd settings", "set_app_envs", nil, []string{"a", "1", "b"}},
		{"setting twice", "set_app_envs", nil, []string{"a", "1", "a", "2"}},
		{"removed twice", "del_app_envs", nil, []string{"a", "a"}},
		{"empty hash key", "set", nil, []string{"", "s", "v"}},
		{"empty hash key", "get", nil, []string{"", "s"}},
		{"empty hash key", "del", nil, []string{"", "s"}},
		{"empty hash key", "exist", nil, []string{"", "s"}},
		{"empty hash key", "ttl", nil, []string{"", "s"}},
		{"long hash key", "get", nil, []string{long, "s"}},
		{"large value", "set", nil, []string{"h", "s", strings.Repeat("v", maxWrite-1)}},
		{"negative ttl", "set", nil, []string{"h", "s", "v", "-1"}},
		{"ttl under a second", "set", nil, []string{"h", "s", "v", "10ms"}},
		{"ttl after 2084", "set", nil, []string{"h", "s", "v", "2147483647"}},
		{"type without pattern", "scan", map[string]string{"hash-key-filter-type": "prefix"}, nil},
		{"pattern without type", "count_data", map[string]string{"sort-key-filter-pattern": "x"}, nil},
		{"partition", "scan", map[string]string{"partition": "-2"}, nil},
		{"batch", "scan", map[string]string{"max-batch-count": "0"}, nil},
		{"large batch", "count_data", map[string]string{"max-batch-count": "1001"}, nil},
		{"negative rows", "scan", map[string]string{"max-rows": "-1"}, nil},
		{
			"value filter without values", "scan",
			map[string]string{"no-value": "true", "value-filter-type": "exact", "value-filter-pattern": "x"},
			nil,
		},
		{"endpoint", "server_info", map[string]string{"list": "localhost"}, nil},
		{"role and endpoints", "server_info", map[string]string{"list": "a:1", "type": "all"}, nil},
	} {
		t.Run(c.word+" "+c.name, func(t *testing.T) {
			f := newFake()
			call := f.call(t, c.word, c.flags, c.args...)
			var err error
			if call.Command.Change != nil {
				_, err = call.Command.Change(t.Context(), call)
			} else {
				_, err = call.Command.Query(t.Context(), call)
			}
			if err == nil || spec.KindOf(err) != spec.Usage {
				t.Errorf("%v", err)
			}
			if f.opened != 0 {
				t.Error("the cluster was opened")
			}
		})
	}
}

func TestLargestValuesPass(t *testing.T) {
	f := newFake()
	if _, err := f.plan(t, "set", nil, "h", "s", strings.Repeat("v", maxWrite-2), "1"); err != nil {
		t.Error(err)
	}
	if _, err := f.plan(t, "set", nil, strings.Repeat("k", maxHashKey), "", ""); err != nil {
		t.Error(err)
	}
	if _, err := f.plan(t, "create", map[string]string{"replica-count": "5", "partition-count": "1"}, "A.b:c_9"); err != nil {
		t.Error(err)
	}
}

func TestPartitionOutOfRange(t *testing.T) {
	for _, word := range []string{"scan", "count_data"} {
		_, err := newFake().query(t, word, map[string]string{"partition": "4"})
		if spec.KindOf(err) != spec.Usage || spec.HintOf(err) != "they count from 0 to 3" {
			t.Errorf("%s: %v, %s", word, err, spec.HintOf(err))
		}
	}
}

func TestNoTableInUse(t *testing.T) {
	f := newFake()
	call := f.call(t, "get", nil, "h", "s")
	call.Table = ""
	if _, err := call.Command.Query(t.Context(), call); spec.KindOf(err) != spec.Usage || f.opened != 0 {
		t.Errorf("%v, opened %d times", err, f.opened)
	}
}
