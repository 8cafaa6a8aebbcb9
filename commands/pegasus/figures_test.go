package pegasus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// countingFake counts: each server has a list of samples, of which the next is answered.
type countingFake struct {
	*fake
	samples map[string][]*driver.Sample
	lists   map[string][]*driver.CounterList
	stats   map[string]string
	wanted  []driver.Wanted
	asked   int
	lock    sync.Mutex
}

func (f *countingFake) Open(context.Context, string) (cluster.Driver, error) { return f, nil }

var errMute = errors.New("does not answer")

func next[T any](m map[string][]T, endpoint string) (T, error) {
	var none T
	list := m[endpoint]
	if len(list) == 0 {
		return none, &spec.Error{Kind: spec.Unavailable, Endpoint: endpoint, Err: errMute}
	}
	m[endpoint] = list[1:]
	return list[0], nil
}

func (f *countingFake) Sample(_ context.Context, endpoint string, want driver.Wanted) (*driver.Sample, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.wanted = append(f.wanted, want)
	f.asked++
	return next(f.samples, endpoint)
}

func (f *countingFake) ListCounters(_ context.Context, endpoint string, _ driver.CounterFilter) (*driver.CounterList, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return next(f.lists, endpoint)
}

func (f *countingFake) ServerStat(_ context.Context, endpoint string) (string, error) {
	if text := f.stats[endpoint]; text != "" {
		return text, nil
	}
	return "", &spec.Error{Kind: spec.Unavailable, Endpoint: endpoint, Err: errMute}
}

func newCounting() *countingFake {
	return &countingFake{fake: newFake(), samples: map[string][]*driver.Sample{}, lists: map[string][]*driver.CounterList{}}
}

func (f *countingFake) query(t *testing.T, name string, flags map[string]string, args ...string) (*spec.Table, error) {
	t.Helper()
	for _, c := range Words(f) {
		if c.Name == name {
			call := f.call(t, name, flags, args...)
			call.Command = &c
			return c.Query(t.Context(), call)
		}
	}
	t.Fatalf("no word %s", name)
	return nil, nil
}

// total makes a sample of a server that only adds up.
func total(seconds int, server map[string]float64, replicas map[driver.ReplicaID]map[string]float64) *driver.Sample {
	return &driver.Sample{Totals: true, At: time.Unix(int64(seconds), 0), Server: server, Replicas: replicas}
}

func one0(name string, value float64) map[driver.ReplicaID]map[string]float64 {
	return map[driver.ReplicaID]map[string]float64{{App: 2, Partition: 0}: {name: value}}
}

func names(columns []spec.Column) []string {
	var all []string
	for _, c := range columns {
		all = append(all, c.Name)
	}
	return all
}

func TestNodesResources(t *testing.T) {
	f := newCounting()
	const mib = 1 << 20
	f.samples["a:1"] = []*driver.Sample{{Server: map[string]float64{
		driver.FigureResident: 64, driver.FigureBlockCache: 3 * mib, driver.FigureDiskTotal: 40, driver.FigureDiskLeast: 12,
	}, Replicas: map[driver.ReplicaID]map[string]float64{
		{App: 2, Partition: 0}: {"rdb.memtable.memory_usage": mib}, {App: 2, Partition: 1}: {"rdb.memtable.memory_usage": mib / 2},
	}}}
	f.samples["b:1"] = []*driver.Sample{{Server: map[string]float64{driver.FigureResident: 1}}}
	table, err := f.query(t, "nodes", map[string]string{"resource-usage": "true"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"address", "status", "memused_res_mb", "block_cache_mb", "mem_tbl_mb", "mem_idx_mb", "disk_avl_total_ratio", "disk_avl_min_ratio"}
	if diff := cmp.Diff(want, names(table.Columns)); diff != "" {
		t.Error(diff)
	}
	got, err := cells(t, table)
	if diff := cmp.Diff([]string{
		"a:1|ALIVE|64|3|1.5|<nil>|40|12", "b:1|ALIVE|1|<nil>|0|0|<nil>|<nil>", "c:1|ALIVE|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>",
		"d:1|UNALIVE|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>",
	}, got); diff != "" {
		t.Error(diff)
	}
	if spec.KindOf(err) != spec.PartlyDone || !errors.Is(err, errMute) {
		t.Errorf("a silent server is %v", err)
	}
	if f.asked != 3 {
		t.Errorf("asked %d times, want once each", f.asked)
	}
	// Only those in the state that is asked for are asked.
	table, err = f.query(t, "nodes", map[string]string{"resource-usage": "true", "status": "unalive"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cells(t, table); err != nil || len(got) != 1 || f.asked != 3 {
		t.Errorf("unalive ones: %v, %v, asked %d", got, err, f.asked)
	}
	// Servers of 2.6 have two more columns.
	f.samples["a:1"] = []*driver.Sample{total(1, map[string]float64{driver.FigureWriteBuffers: mib, driver.FigureMutable: mib / 4}, nil)}
	if table, err = f.query(t, "nodes", map[string]string{"resource-usage": "true", "detailed": "true"}); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"address", "status", "replica_count", "primary_count", "secondary_count", "memused_res_mb", "block_cache_mb", "wbm_total_mb",
		"wbm_mutable_mb", "mem_tbl_mb", "mem_idx_mb", "disk_avl_total_ratio", "disk_avl_min_ratio",
	}
	if diff := cmp.Diff(want, names(table.Columns)); diff != "" {
		t.Error(diff)
	}
}

func TestNodesRates(t *testing.T) {
	for _, c := range []struct {
		name     string
		flags    map[string]string
		totals   bool
		interval time.Duration // that passes
	}{
		{"2.5", nil, false, 0},
		{"2.5 with -i", map[string]string{"sample-interval": "250"}, false, 250 * time.Millisecond},
		{"2.6", nil, true, time.Second},
		{"2.6 with -i", map[string]string{"sample-interval": "4000"}, true, 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCounting()
				f.nodes = f.nodes[:1]
				server := map[string]float64{driver.FigureGetP99: 1234567}
				first, second := total(10, server, one0("get_qps", 100)), total(12, server, one0("get_qps", 107))
				if !c.totals {
					first, second = &driver.Sample{Server: server, Replicas: one0("get_qps", 3.5)}, &driver.Sample{Server: server, Replicas: one0("get_qps", 3.5)}
				}
				f.samples["a:1"] = []*driver.Sample{first, second}
				flags := map[string]string{"qps": "true"}
				for key, value := range c.flags {
					flags[key] = value
				}
				start := time.Now()
				table, err := f.query(t, "nodes", flags)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != c.interval {
					t.Errorf("it took %v", took)
				}
				if diff := cmp.Diff([]string{
					"address", "status", "get_qps", "mget_qps", "bget_qps", "read_cu", "put_qps", "mput_qps", "write_cu",
					"get_p99_ms", "mget_p99_ms", "bget_p99_ms", "put_p99_ms", "mput_p99_ms",
				}, names(table.Columns)); diff != "" {
					t.Error(diff)
				}
				got, err := cells(t, table)
				if err != nil || len(got) != 1 || got[0] != "a:1|ALIVE|3.5|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>|1.235|<nil>|<nil>|<nil>|<nil>" {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
}

func TestEstimate(t *testing.T) {
	f := newCounting()
	keys := func(p int, n float64) map[driver.ReplicaID]map[string]float64 {
		return map[driver.ReplicaID]map[string]float64{{App: 2, Partition: p}: {"rdb.estimate_num_keys": n}}
	}
	f.samples["a:1"] = []*driver.Sample{total(1, nil, keys(0, 10))}
	f.samples["b:1"] = []*driver.Sample{total(1, nil, keys(0, 99))} // a secondary's, which does not count
	f.samples["c:1"] = []*driver.Sample{total(1, nil, keys(2, 5))}
	table, err := f.query(t, "count_data", map[string]string{"estimate": "true"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := cells(t, table)
	if diff := cmp.Diff([]string{"0|10", "1|<nil>", "2|5", "3|<nil>"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got, err := cells(t, table.More[0]); err != nil || got[0] != "15|2" {
		t.Errorf("summary %q, %v", got, err)
	}
	if f.asked != 3 || f.wanted[0].App != 2 {
		t.Errorf("asked %d times for %+v", f.asked, f.wanted)
	}
	_, err = f.query(t, "count_data", map[string]string{"estimate": "true", "partition": "0"})
	if spec.KindOf(err) != spec.Usage {
		t.Errorf("an estimate of one partition: %v", err)
	}
	_, err = f.query(t, "count_data", map[string]string{"estimate": "true"}) // b has nothing to say now
	if spec.KindOf(err) != spec.Unavailable {
		t.Errorf("a silent server: %v", err)
	}
}

func TestMetricsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCounting()
		f.servers = []driver.Server{{Endpoint: "a:1", Role: driver.RoleReplica, Alive: true}, {Endpoint: "d:1", Role: driver.RoleReplica}}
		list := func(totals bool, counters ...driver.Counter) *driver.CounterList {
			return &driver.CounterList{Totals: totals, Counters: counters}
		}
		f.lists["a:1"] = []*driver.CounterList{
			list(true, driver.Counter{Name: "x*a@2.0", Type: "Counter", Value: 5}, driver.Counter{Name: "x*g", Type: "Gauge", Value: 5}),
			list(true, driver.Counter{Name: "x*a@2.0", Type: "Counter", Value: 8}, driver.Counter{Name: "x*b@2.0", Type: "Counter", Value: 2}, driver.Counter{Name: "x*g", Type: "Gauge", Value: 6}),
		}
		table, err := f.query(t, "metrics", map[string]string{"sample-interval": "500"}, "x?*")
		if err != nil {
			t.Fatal(err)
		}
		got, err := cells(t, table)
		if diff := cmp.Diff([]string{
			"a:1|replica-server|x*a@2.0|Counter|3", "a:1|replica-server|x*b@2.0|Counter|2", "a:1|replica-server|x*g|Gauge|6",
		}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		f.lists["a:1"] = []*driver.CounterList{list(false, driver.Counter{Name: "ab", Type: "RATE", Value: 1}), list(false, driver.Counter{Name: "ab", Type: "RATE", Value: 4})}
		if table, err = f.query(t, "metrics", map[string]string{"sample-interval": "500"}, "a"); err != nil {
			t.Fatal(err)
		}
		if got, err := cells(t, table); err != nil || got[0] != "a:1|replica-server|ab|RATE|4" {
			t.Errorf("a perf counter read twice: %q, %v", got, err)
		}
	})
}

func TestServerStatWord(t *testing.T) {
	f := newCounting()
	f.servers = []driver.Server{{Endpoint: "a:1", Role: driver.RoleReplica, Alive: true}, {Endpoint: "b:1", Role: driver.RoleReplica, Alive: true}}
	f.stats = map[string]string{"a:1": "get_qps=1"}
	table, err := f.query(t, "server_stat", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cells(t, table)
	if len(got) != 2 || got[0] != "a:1|replica-server|true|get_qps=1" || spec.KindOf(err) != spec.PartlyDone {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"{\n  \"error\": \"ok\"\n}": `{"error":"ok"}`, "{ not json": "{ not json", "[1, 2]": "[1, 2]", "OK": "OK", "": "",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q is %q", text, got)
		}
	}
}

func TestLsMatches(t *testing.T) {
	f := newFake()
	for _, name := range []string{"demo2", "a.demo", "x"} {
		f.apps = append(f.apps, driver.App{Name: name, Status: "AVAILABLE"})
	}
	for _, c := range []struct{ pattern, how, want string }{
		{"demo", "", "demo demo2 a.demo"},
		{"demo", "exact", "demo"},
		{"demo", "prefix", "demo demo2"},
		{"demo", "postfix", "demo a.demo"},
		{"x", "all", "demo demo2 a.demo x"},
		{"^.$|2", "regex", "demo2 x"},
		{"", "exact", ""},
	} {
		flags := map[string]string{"app-name-pattern": c.pattern, "match-type": c.how}
		if c.how == "" {
			delete(flags, "match-type")
		}
		table, err := f.query(t, "ls", flags)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for row := range table.Rows {
			got = append(got, row[2].(string))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q as %s: %q", c.pattern, c.how, got)
		}
	}
	for _, flags := range []map[string]string{{"match-type": "prefix"}, {"match-type": "regex", "app-name-pattern": "("}} {
		if _, err := f.query(t, "ls", flags); spec.KindOf(err) != spec.Usage {
			t.Errorf("%v: %v", flags, err)
		}
	}
	f.apps = append(f.apps, driver.App{Name: "later", Status: "AVAILABLE", AtomicIdempotent: new(true)})
	table, err := f.query(t, "ls", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last := table.Columns[len(table.Columns)-1].Name; last != "atomic_idempotent" {
		t.Errorf("the last column is %s", last)
	}
	if got, err := cells(t, table); err != nil || !strings.HasSuffix(got[0], "|<nil>") || !strings.HasSuffix(got[4], "|true") {
		t.Errorf("%q, %v", got, err)
	}
}
