package pegasus

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// samplePage is an answer in the form of Pegasus 2.6: pretty printed, members in its order, and members nobody reads.
const samplePage = `{
    "cluster": "onebox",
    "role": "replica",
    "host": "r1",
    "port": 34801,
    "timestamp_ns": 1700000000500000000,
    "entities": [
        {
            "type": "replica",
            "id": "replica@2.0",
            "attributes": {
                "table_id": "2",
                "partition_id": "0"
            },
            "metrics": [
                {
                    "type": "Counter",
                    "name": "get_requests",
                    "unit": "Requests",
                    "desc": "The number of GET requests",
                    "value": 130
                },
                {
                    "name": "read_capacity_units",
                    "value": 9
                },
                {
                    "name": "rdb_estimated_keys",
                    "value": 42
                }
            ]
        },
        {
            "type": "replica",
            "id": "replica@2.1",
            "attributes": {"partition_id": "1", "table_id": "2"},
            "metrics": [{"name": "get_requests", "value": 7}]
        },
        {
            "type": "disk",
            "id": "disk@ssd1",
            "attributes": {"tag": "ssd1", "data_dir": "/d1"},
            "metrics": [{"name": "disk_capacity_avail_mb", "value": 50}, {"name": "disk_capacity_total_mb", "value": 200}]
        },
        {
            "type": "disk",
            "id": "disk@ssd2",
            "attributes": {},
            "metrics": [{"name": "disk_capacity_total_mb", "value": 100}, {"name": "disk_capacity_avail_mb", "value": 90}]
        },
        {
            "type": "profiler",
            "id": "task@RPC_RRDB_RRDB_GET",
            "attributes": {"task_name": "RPC_RRDB_RRDB_GET"},
            "metrics": [{"type": "Percentile", "name": "profiler_server_rpc_latency_ns", "p50": 1000, "p99": 2500000}]
        },
        {
            "type": "server",
            "id": "server",
            "attributes": {},
            "metrics": [
                {"type": "Gauge", "name": "resident_mem_usage_mb", "value": 64},
                {"type": "Gauge", "name": "rdb_wbm_total_mem_usage_bytes", "value": 4194304}
            ]
        }
    ]
}`

func answerPage(s *server, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = func(w io.Writer, _ *http.Request) {
		fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// say answers remote commands.
func say(s *server, answers map[string]string) {
	on(s, &wire.CallCommand, func(_ wire.Header, q *wire.Command) *string {
		if text, known := answers[q.Name]; known {
			return &text
		}
		return new("unknown command '" + q.Name + "'")
	})
}

const info26 = `{"build_type":"Release","git_SHA":"abc","start_time":"2026-01-01 00:00:00","version":"2.6.0-SNAPSHOT"}`

func TestParseServerInfo(t *testing.T) {
	for text, want := range map[string]Version{
		"Pegasus Server 2.5.0 (abc) Release, Started at 2026-01-01 00:00:00": {"2.5.0", 2, 5},
		"Pegasus Server 1.12.3 (abc) Release, Started at x":                  {"1.12.3", 1, 12},
		"Pegasus Server 2.5.0-RC1 (abc) Debug":                               {"2.5.0-RC1", 2, 5},
		info26:                                                               {"2.6.0-SNAPSHOT", 2, 6},
		`{"version":"3.0"}`:                                                  {"3.0", 3, 0},
		`{"version":"3"}`:                                                    {},
		`{"version":"x.y"}`:                                                  {},
		"Pegasus Server master (abc) x":                                      {},
		"":                                                                   {},
		"{}":                                                                 {},
		"unknown command 'server-info'":                                      {},
		"Pegasus Server 99999.1.1 (a) b":                                     {},
	} {
		if v, ok := parseServerInfo(text); v != want || ok != (want != Version{}) {
			t.Errorf("%q: %+v %v", text, v, ok)
		}
	}
	for v, has := range map[Version]bool{{"", 2, 5}: false, {"", 2, 6}: true, {"", 3, 0}: true, {"", 1, 12}: false} {
		if v.HasMetrics() != has {
			t.Errorf("%v", v)
		}
	}
}

func TestServerVersionIsAskedOnce(t *testing.T) {
	s := newServer(t)
	d := open(t, 5*time.Second, s.endpoint)
	s.reject(wire.CallCommand.Name, wire.CodeBusy)
	_, err := d.ServerVersion(t.Context(), s.endpoint)
	wantError(t, err, spec.Unavailable, wire.CodeBusy, s.endpoint)
	say(s, map[string]string{"server-info": info26})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if v, err := d.ServerVersion(t.Context(), s.endpoint); err != nil || v.Text != "2.6.0-SNAPSHOT" {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
	group.Wait()
	if n := s.calls(wire.CallCommand.Name); n != 2 { // the refused one, and one for all
		t.Errorf("asked %d times", n)
	}
	_, err = d.ServerVersion(t.Context(), "no endpoint")
	wantError(t, err, spec.Usage, "host:port")
}

// A server whose words say nothing is known by whether it has perf counters.
func TestServerVersionByCounters(t *testing.T) {
	for answer, metrics := range map[string]bool{
		`{"result":"OK","timestamp":1,"timestamp_str":"","counters":[]}`: false,
		"unknown command 'perf-counters-by-prefix'":                      true,
	} {
		s := newServer(t)
		say(s, map[string]string{"server-info": "a private build", "perf-counters-by-prefix": answer})
		if v, err := open(t, 5*time.Second, s.endpoint).ServerVersion(t.Context(), s.endpoint); err != nil || v.HasMetrics() != metrics {
			t.Errorf("%s: %+v, %v", answer, v, err)
		}
	}
}

var wantedSample = Wanted{
	Replica: []string{"get_qps", "recent.read.cu", "rdb.estimate_num_keys"},
	Server:  []string{FigureResident, FigureDiskTotal, FigureDiskLeast, FigureGetP99, FigureWriteBuffers},
}

func TestSampleOfCounters(t *testing.T) {
	s := newServer(t)
	var asked []string
	on(s, &wire.CallCommand, func(_ wire.Header, q *wire.Command) *string {
		if q.Name == "server-info" {
			return new("Pegasus Server 2.5.0 (abc) Release, Started at 2026-01-01 00:00:00")
		}
		asked = append([]string{q.Name}, q.Args...)
		return new(`{"result":"OK","timestamp":1,"timestamp_str":"x","counters":[
			{"name":"replica*app.pegasus*get_qps@2.0","type":"RATE","value":12.5},
			{"name":"replica*app.pegasus*recent.read.cu@2.0","type":"VOLATILE_NUMBER","value":3},
			{"name":"replica*app.pegasus*rdb.estimate_num_keys@2.1","type":"NUMBER","value":42},
			{"name":"replica*server*memused.res(MB)","type":"NUMBER","value":64},
			{"name":"replica*eon.replica_stub*disk.available.total.ratio","type":"NUMBER","value":46},
			{"name":"zion*profiler*RPC_RRDB_RRDB_GET.latency.server","type":"NUMBER_PERCENTILES","value":2500000},
			{"name":"zion*profiler*RPC_RRDB_RRDB_GET.latency.server.p999","type":"NUMBER_PERCENTILES","value":9000000}]}`)
	})
	d := open(t, 5*time.Second, s.endpoint)
	got, err := d.Sample(t.Context(), s.endpoint, wantedSample)
	if err != nil {
		t.Fatal(err)
	}
	want := &Sample{Endpoint: s.endpoint, At: got.At, Server: map[string]float64{
		FigureResident: 64, FigureDiskTotal: 46, FigureGetP99: 2500000,
	}, Replicas: map[ReplicaID]map[string]float64{{2, 0}: {"get_qps": 12.5, "recent.read.cu": 3}, {2, 1}: {"rdb.estimate_num_keys": 42}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"perf-counters-by-prefix", "replica*app.pegasus*get_qps@", "replica*app.pegasus*recent.read.cu@",
		"replica*app.pegasus*rdb.estimate_num_keys@", "replica*server*memused.res(MB)",
		"replica*eon.replica_stub*disk.available.total.ratio", "replica*eon.replica_stub*disk.available.min.ratio",
		"zion*profiler*RPC_RRDB_RRDB_GET.latency.server",
	}, asked); diff != "" {
		t.Error(diff)
	}
	if again := got.Since(nil); again != got {
		t.Error("perf counters need no second sample")
	}
	_, err = d.Sample(t.Context(), s.endpoint, Wanted{Replica: []string{"nothing"}})
	wantError(t, err, spec.Usage, "nothing")
	if none, err := d.Sample(t.Context(), s.endpoint, Wanted{Server: []string{FigureWriteBuffers}}); err != nil || len(none.Server) != 0 {
		t.Errorf("a figure that 2.5 has not: %+v, %v", none, err)
	}
}

func TestSampleOfMetrics(t *testing.T) {
	s := newServer(t)
	say(s, map[string]string{"server-info": info26})
	var query, host string
	s.page = func(w io.Writer, q *http.Request) {
		query, host = q.URL.RawQuery, q.Host
		fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(samplePage), samplePage)
	}
	var mu sync.Mutex
	var traced []string
	d := openWith(t, cluster.Options{
		Timeout: func() time.Duration { return 5 * time.Second },
		Trace: func(_ context.Context, line cluster.Trace) {
			mu.Lock()
			defer mu.Unlock()
			traced = append(traced, line.Peer+" "+line.Method+" "+line.Code)
		},
	}, s.endpoint)
	got, err := d.Sample(t.Context(), s.endpoint, wantedSample)
	if err != nil {
		t.Fatal(err)
	}
	want := &Sample{
		Endpoint: s.endpoint, Totals: true, At: time.Unix(1700000000, 500000000),
		Server: map[string]float64{
			FigureResident: 64, FigureDiskTotal: 46, FigureDiskLeast: 25, FigureGetP99: 2500000, FigureWriteBuffers: 4194304,
		},
		Replicas: map[ReplicaID]map[string]float64{
			{2, 0}: {"get_qps": 130, "recent.read.cu": 9, "rdb.estimate_num_keys": 42}, {2, 1}: {"get_qps": 7},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := "with_metric_fields=name,value,p99&types=replica,server,disk,profiler&metrics=get_requests,read_capacity_units," +
		"rdb_estimated_keys,resident_mem_usage_mb,disk_capacity_total_mb,disk_capacity_avail_mb,profiler_server_rpc_latency_ns," +
		"rdb_wbm_total_mem_usage_bytes"; query != want || host != s.endpoint {
		t.Errorf("asked %s for %s, want %s", host, query, want)
	}
	if _, err := d.Sample(t.Context(), s.endpoint, Wanted{Replica: []string{"get_qps"}, App: 2}); err != nil ||
		query != "with_metric_fields=name,value,p99&types=replica&metrics=get_requests&attributes=table_id,2" {
		t.Errorf("asked for %s, %v", query, err)
	}
	if diff := cmp.Diff([]string{
		s.endpoint + " RPC_CLI_CLI_CALL ERR_OK", s.endpoint + " GET /metrics 200", s.endpoint + " GET /metrics 200",
	}, traced); diff != "" {
		t.Error(diff)
	}
	if n := s.calls(wire.CallCommand.Name); n != 1 {
		t.Errorf("the release was asked %d times", n)
	}
}

func TestSince(t *testing.T) {
	at := time.Unix(1700000000, 0)
	sample := func(after time.Duration, values map[ReplicaID]map[string]float64) *Sample {
		return &Sample{Endpoint: "a:1", Totals: true, At: at.Add(after), Replicas: values, Server: map[string]float64{FigureResident: 1}}
	}
	a, b, c, e := ReplicaID{2, 0}, ReplicaID{2, 1}, ReplicaID{3, 0}, ReplicaID{3, 1}
	before := sample(0, map[ReplicaID]map[string]float64{
		a: {"get_qps": 100, "recent.read.cu": 7, "rdb.estimate_num_keys": 5}, b: {"get_qps": 100}, e: {"get_qps": 1},
	})
	after := sample(2*time.Second, map[ReplicaID]map[string]float64{
		a: {"get_qps": 130, "recent.read.cu": 9, "rdb.estimate_num_keys": 6}, b: {"get_qps": 8}, c: {"get_qps": 50, "rdb.estimate_num_keys": 1},
	})
	got := after.Since(before)
	if diff := cmp.Diff(map[ReplicaID]map[string]float64{
		a: {"get_qps": 15, "recent.read.cu": 2, "rdb.estimate_num_keys": 6},
		b: {"get_qps": 4}, // it counts from the beginning again
		c: {"rdb.estimate_num_keys": 1},
	}, got.Replicas); diff != "" || got.Totals || got.Server[FigureResident] != 1 {
		t.Errorf("%+v: %s", got, diff)
	}
	for name, earlier := range map[string]*Sample{"no sample": nil, "one of the same moment": sample(2*time.Second, before.Replicas)} {
		if diff := cmp.Diff(map[ReplicaID]map[string]float64{
			a: {"rdb.estimate_num_keys": 6}, c: {"rdb.estimate_num_keys": 1},
		}, after.Since(earlier).Replicas); diff != "" {
			t.Errorf("%s before: %s", name, diff)
		}
	}
	for _, w := range []struct {
		names   []string
		changes bool
	}{{[]string{"rdb.estimate_num_keys"}, false}, {[]string{"rdb.estimate_num_keys", "recent.read.cu"}, true}, {nil, false}} {
		if (Wanted{Replica: w.names}).Changes() != w.changes {
			t.Errorf("%v", w.names)
		}
	}
}

// A server that is upgraded while the shell is open is asked the other way.
func TestUpgradedServer(t *testing.T) {
	s := newServer(t)
	say(s, map[string]string{
		"server-info":             "Pegasus Server 2.5.0 (a) b",
		"perf-counters-by-prefix": `{"result":"OK","counters":[]}`,
	})
	d := open(t, 5*time.Second, s.endpoint)
	want := Wanted{Replica: []string{"get_qps"}}
	if got, err := d.Sample(t.Context(), s.endpoint, want); err != nil || got.Totals {
		t.Fatalf("%+v, %v", got, err)
	}
	say(s, map[string]string{"server-info": info26})
	answerPage(s, samplePage)
	if got, err := d.Sample(t.Context(), s.endpoint, want); err != nil || !got.Totals || len(got.Replicas) != 2 {
		t.Errorf("upgraded: %+v, %v", got, err)
	}
	say(s, map[string]string{"server-info": "Pegasus Server 2.5.0 (a) b"})
	s.mu.Lock()
	s.page = func(w io.Writer, _ *http.Request) {
		fmt.Fprint(w, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	}
	s.mu.Unlock()
	_, err := d.Sample(t.Context(), s.endpoint, want)
	wantError(t, err, spec.Unable, "the server has none", s.endpoint) // neither: it is not asked for ever
}

func TestListCounters(t *testing.T) {
	s := newServer(t)
	say(s, map[string]string{"server-info": info26})
	answerPage(s, samplePage)
	d := open(t, 5*time.Second, s.endpoint)
	names := func(f CounterFilter) []string {
		t.Helper()
		list, err := d.ListCounters(t.Context(), s.endpoint, f)
		if err != nil || !list.Totals {
			t.Fatalf("%+v, %v", list, err)
		}
		var all []string
		for _, c := range list.Counters {
			all = append(all, fmt.Sprintf("%s %s %g", c.Name, c.Type, c.Value))
		}
		return all
	}
	if diff := cmp.Diff([]string{
		"disk*disk_capacity_avail_mb@ssd1  50", "disk*disk_capacity_avail_mb@ssd2  90",
		"disk*disk_capacity_total_mb@ssd1  200", "disk*disk_capacity_total_mb@ssd2  100",
		"profiler*profiler_server_rpc_latency_ns@RPC_RRDB_RRDB_GET.p50 Percentile 1000",
		"profiler*profiler_server_rpc_latency_ns@RPC_RRDB_RRDB_GET.p99 Percentile 2.5e+06",
		"replica*get_requests@2.0 Counter 130", "replica*get_requests@2.1  7", "replica*rdb_estimated_keys@2.0  42",
		"replica*read_capacity_units@2.0  9", "server*rdb_wbm_total_mem_usage_bytes Gauge 4.194304e+06",
		"server*resident_mem_usage_mb Gauge 64",
	}, names(CounterFilter{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"replica*get_requests@2.0 Counter 130", "replica*get_requests@2.1  7"}, names(CounterFilter{Contains: "get_", App: 2})); diff != "" {
		t.Error(diff)
	}
	if got := names(CounterFilter{App: 7}); got != nil {
		t.Errorf("of no table: %v", got)
	}
}

// What is no answer is an error that says so, costs no memory to speak of, and hangs nobody.
func TestHostilePages(t *testing.T) {
	s := newServer(t)
	say(s, map[string]string{"server-info": info26})
	d := open(t, time.Minute, s.endpoint)
	if _, err := d.ServerVersion(t.Context(), s.endpoint); err != nil {
		t.Fatal(err)
	}
	forever := func(w io.Writer, text string) {
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
	ok := "HTTP/1.1 200 OK\r\n\r\n"
	for name, tt := range map[string]struct {
		page  func(w io.Writer)
		kind  spec.ErrorKind
		parts []string
	}{
		"no HTTP": {func(w io.Writer) { fmt.Fprint(w, "hello\r\n") }, spec.Unavailable, []string{"cannot be read"}},
		"an endless head": {func(w io.Writer) {
			fmt.Fprint(w, "HTTP/1.1 200 OK\r\n")
			forever(w, "X: "+strings.Repeat("x", 4096)+"\r\n")
		}, spec.Unavailable, []string{"cannot be read"}},
		"nothing":  {func(io.Writer) {}, spec.Unavailable, []string{"cannot be read"}},
		"an error": {func(w io.Writer) { fmt.Fprint(w, "HTTP/1.1 500 x\r\nContent-Length: 3\r\n\r\noh!") }, spec.Failed, []string{"500", "oh!"}},
		"another place": {func(w io.Writer) {
			fmt.Fprint(w, "HTTP/1.1 307 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
		}, spec.Failed, []string{"307"}},
		"text":     {func(w io.Writer) { fmt.Fprint(w, ok+"hello") }, spec.Failed, []string{"no sense"}},
		"an array": {func(w io.Writer) { fmt.Fprint(w, ok+"[]") }, spec.Failed, []string{"no sense", "{"}},
		"half":     {func(w io.Writer) { fmt.Fprint(w, ok+samplePage[:200]) }, spec.Failed, []string{"no sense"}},
		"a cut": {func(w io.Writer) {
			fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n%s", samplePage[:200])
		}, spec.Unavailable, []string{"broke"}},
		"a number":         {func(w io.Writer) { fmt.Fprint(w, ok+`{"entities":[{"metrics":[{"name":"a","value":"b"}]}]}`) }, spec.Failed, []string{"no number"}},
		"deep nesting":     {func(w io.Writer) { fmt.Fprint(w, ok+`{"x":`); forever(w, strings.Repeat("[", 4096)) }, spec.Failed, []string{"nested"}},
		"endless entities": {func(w io.Writer) { fmt.Fprint(w, ok+`{"entities":[{}`); forever(w, strings.Repeat(",{}", 4096)) }, spec.Failed, []string{"more than"}},
		"endless metrics": {func(w io.Writer) {
			fmt.Fprint(w, ok+`{"entities":[{"metrics":[{}`)
			forever(w, strings.Repeat(",{}", 4096))
		}, spec.Failed, []string{"more than"}},
		"endless spaces":  {func(w io.Writer) { fmt.Fprint(w, ok); forever(w, strings.Repeat(" ", 4096)) }, spec.Failed, []string{"over 32 MiB", "ask for less"}},
		"an endless name": {func(w io.Writer) { fmt.Fprint(w, ok+`{"entities":[{"id":"`); forever(w, strings.Repeat("x", 4096)) }, spec.Failed, []string{"over 32 MiB"}},
		"many attributes": {func(w io.Writer) {
			fmt.Fprint(w, ok+`{"entities":[{"attributes":{"a":"1"`)
			for i := range 99 {
				fmt.Fprintf(w, `,"a%d":""`, i)
			}
		}, spec.Failed, []string{"attributes"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.mu.Lock()
			s.page = func(w io.Writer, _ *http.Request) { tt.page(w) }
			s.mu.Unlock()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := d.Sample(t.Context(), s.endpoint, Wanted{Replica: []string{"get_qps"}})
			runtime.ReadMemStats(&after)
			wantError(t, err, tt.kind, append(tt.parts, s.endpoint)...)
			if grown := after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc); grown > 256<<20 {
				t.Errorf("%d bytes more are in use", grown)
			}
		})
	}
}

func TestSilentPages(t *testing.T) {
	s := newServer(t)
	say(s, map[string]string{"server-info": info26})
	d := open(t, 300*time.Millisecond, s.endpoint)
	if _, err := d.ServerVersion(t.Context(), s.endpoint); err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 2)
	s.mu.Lock()
	s.page = func(w io.Writer, _ *http.Request) {
		fmt.Fprint(w, "HTTP/1.1 200 OK\r\n\r\n{")
		came <- struct{}{}
		<-s.done
	}
	s.mu.Unlock()
	want := Wanted{Replica: []string{"get_qps"}}
	within(t, 20*time.Second, func() {
		_, err := d.Sample(t.Context(), s.endpoint, want)
		wantError(t, err, spec.Unavailable, "in time", "option timeout", s.endpoint)
	})
	<-came
	long := open(t, time.Minute, s.endpoint)
	failed := make(chan error, 1)
	go func() {
		_, err := long.Sample(t.Context(), s.endpoint, want)
		failed <- err
	}()
	<-came
	long.Close()
	wantError(t, <-failed, spec.Unavailable, "closed")
	_, err := long.Sample(t.Context(), s.endpoint, want)
	wantError(t, err, spec.Unavailable, "closed")
}

func FuzzReadMetrics(f *testing.F) {
	f.Add([]byte(samplePage))
	f.Add([]byte(`{"entities":[{"type":"a","metrics":[{"name":"b","value":1e3,"p50":1,"x":[{}]}],"id":"c@d"}],"timestamp_ns":5}`))
	f.Add([]byte(`{"timestamp_ns":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		page, err := readMetrics(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		kept := 0
		for _, e := range page.Entities {
			kept += 1 + len(e.Metrics)
		}
		if kept > len(b) {
			t.Fatalf("%d metrics out of %d bytes", kept, len(b))
		}
		page.counters()
	})
}
