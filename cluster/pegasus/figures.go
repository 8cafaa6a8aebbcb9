package pegasus

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// Figures are what servers count, under one name whatever their release: those that perf counters have, where there is
// one. A server that has no such figure leaves it out.

// Figures of a server as a whole.
const (
	FigureResident     = "memused.res(MB)"
	FigureVirtual      = "memused.virt(MB)"
	FigureBlockCache   = "rdb.block_cache.memory_usage" // bytes
	FigureWriteBuffers = "rdb_wbm_total_mem_usage_bytes"
	FigureMutable      = "rdb_wbm_mutable_mem_usage_bytes"
	FigureDiskTotal    = "disk.available.total.ratio" // per cent of all disks
	FigureDiskLeast    = "disk.available.min.ratio"   // per cent of the fullest
	FigureGetP99       = "RPC_RRDB_RRDB_GET.latency.server"
	FigureMultiGetP99  = "RPC_RRDB_RRDB_MULTI_GET.latency.server"
	FigureBatchGetP99  = "RPC_RRDB_RRDB_BATCH_GET.latency.server"
	FigurePutP99       = "RPC_RRDB_RRDB_PUT.latency.server" // nanoseconds
	FigureMultiPutP99  = "RPC_RRDB_RRDB_MULTI_PUT.latency.server"
)

// change is how a figure follows from a server's totals.
type change int

const (
	level  change = iota // as it stands
	growth               // what was added between two samples
	rate                 // that, per second
)

// replicaFigure is a figure of replicas: its name is its counter's.
type replicaFigure struct {
	counter, metric string
	change          change
}

var replicaFigures = []replicaFigure{
	{"get_qps", "get_requests", rate},
	{"multi_get_qps", "multi_get_requests", rate},
	{"batch_get_qps", "batch_get_requests", rate},
	{"put_qps", "put_requests", rate},
	{"multi_put_qps", "multi_put_requests", rate},
	{"remove_qps", "remove_requests", rate},
	{"multi_remove_qps", "multi_remove_requests", rate},
	{"incr_qps", "incr_requests", rate},
	{"check_and_set_qps", "check_and_set_requests", rate},
	{"check_and_mutate_qps", "check_and_mutate_requests", rate},
	{"scan_qps", "scan_requests", rate},
	{"recent.read.cu", "read_capacity_units", growth},
	{"recent.write.cu", "write_capacity_units", growth},
	{"recent.expire.count", "read_expired_values", growth},
	{"recent.filter.count", "read_filtered_values", growth},
	{"recent.abnormal.count", "abnormal_read_requests", growth},
	{"recent.write.throttling.delay.count", "throttling_delayed_write_requests", growth},
	{"recent.write.throttling.reject.count", "throttling_rejected_write_requests", growth},
	{"disk.storage.sst(MB)", "rdb_total_sst_size_mb", level},
	{"disk.storage.sst.count", "rdb_total_sst_files", level},
	{"rdb.memtable.memory_usage", "rdb_memtable_mem_usage_bytes", level},
	{"rdb.index_and_filter_blocks.memory_usage", "rdb_index_and_filter_blocks_mem_usage_bytes", level},
	{"rdb.block_cache.hit_count", "rdb_block_cache_hit_count", level},
	{"rdb.block_cache.total_count", "rdb_block_cache_total_count", level},
	{"rdb.bf_seek_negatives", "rdb_bloom_filter_seek_negatives", level},
	{"rdb.bf_seek_total", "rdb_bloom_filter_seek_total", level},
	{"rdb.bf_point_negatives", "rdb_bloom_filter_point_lookup_negatives", level},
	{"rdb.bf_point_positive_total", "rdb_bloom_filter_point_lookup_positives", level},
	{"rdb.bf_point_positive_true", "rdb_bloom_filter_point_lookup_true_positives", level},
	{"rdb.estimate_num_keys", "rdb_estimated_keys", level},
}

func replicaFigureOf(name string) (replicaFigure, bool) {
	i := slices.IndexFunc(replicaFigures, func(f replicaFigure) bool { return f.counter == name })
	if i < 0 {
		return replicaFigure{}, false
	}
	return replicaFigures[i], true
}

// serverCounters are the counters of the figures of a server, "" where there is none.
var serverCounters = map[string]string{
	FigureResident:    "replica*server*memused.res(MB)",
	FigureVirtual:     "replica*server*memused.virt(MB)",
	FigureBlockCache:  "replica*app.pegasus*rdb.block_cache.memory_usage",
	FigureDiskTotal:   "replica*eon.replica_stub*disk.available.total.ratio",
	FigureDiskLeast:   "replica*eon.replica_stub*disk.available.min.ratio",
	FigureGetP99:      "zion*profiler*" + FigureGetP99,
	FigureMultiGetP99: "zion*profiler*" + FigureMultiGetP99,
	FigureBatchGetP99: "zion*profiler*" + FigureBatchGetP99,
	FigurePutP99:      "zion*profiler*" + FigurePutP99,
	FigureMultiPutP99: "zion*profiler*" + FigureMultiPutP99,
}

// serverMetrics are the metrics that stand for one figure each.
var serverMetrics = map[string]string{
	FigureResident: "resident_mem_usage_mb", FigureVirtual: "virtual_mem_usage_mb", FigureBlockCache: "rdb_block_cache_mem_usage_bytes",
	FigureWriteBuffers: FigureWriteBuffers, FigureMutable: FigureMutable,
}

const (
	metricLatency   = "profiler_server_rpc_latency_ns"
	metricDiskTotal = "disk_capacity_total_mb"
	metricDiskFree  = "disk_capacity_avail_mb"
	latencySuffix   = ".latency.server"
)

// Wanted are the figures to read from a server.
type Wanted struct {
	Replica []string // of each replica, by the names of their counters: "get_qps"
	App     int32    // only replicas of this table; 0 is all
	Server  []string // of the server
}

// ReplicaID names a replica on a server.
type ReplicaID struct {
	App       int32
	Partition int
}

// Sample is what one server counts, read at one moment.
type Sample struct {
	Endpoint string
	// Totals says that the server only adds up: rates and what was added are in two samples, see Since.
	Totals   bool
	At       time.Time
	Replicas map[ReplicaID]map[string]float64
	Server   map[string]float64
}

func newSample(endpoint string, totals bool) *Sample {
	return &Sample{
		Endpoint: endpoint, Totals: totals, At: time.Now(), Replicas: map[ReplicaID]map[string]float64{}, Server: map[string]float64{},
	}
}

func (s *Sample) set(id ReplicaID, name string, value float64) {
	if s.Replicas[id] == nil {
		s.Replicas[id] = map[string]float64{}
	}
	s.Replicas[id][name] = value
}

// Changes says whether any of the figures is told by two samples only, where a server has totals.
func (w Wanted) Changes() bool {
	return slices.ContainsFunc(w.Replica, func(name string) bool {
		f, known := replicaFigureOf(name)
		return known && f.change != level
	})
}

// Since is the sample with what happened since an earlier one of the same server in place of totals. A replica that
// was not there then has no such figures; one that counts from the beginning again has what it counted since. Without
// an earlier sample those figures are missing.
func (s *Sample) Since(before *Sample) *Sample {
	if !s.Totals {
		return s
	}
	result := newSample(s.Endpoint, false)
	result.At, result.Server = s.At, s.Server
	if before != nil && !before.Totals {
		before = nil
	}
	var seconds float64
	if before != nil {
		seconds = s.At.Sub(before.At).Seconds()
	}
	for id, values := range s.Replicas {
		for name, value := range values {
			f, _ := replicaFigureOf(name)
			if f.change == level {
				result.set(id, name, value)
				continue
			}
			if before == nil || seconds <= 0 {
				continue
			}
			was, known := before.Replicas[id][name]
			if !known {
				continue
			}
			if value >= was {
				value -= was
			}
			if f.change == rate {
				value /= seconds
			}
			result.set(id, name, value)
		}
	}
	return result
}

// Sample reads figures of one server, from its perf counters or from /metrics, whichever it has. Reading perf counters
// begins the volatile ones anew. A figure that no release has is spec.Usage.
func (d *Driver) Sample(ctx context.Context, endpoint string, want Wanted) (*Sample, error) {
	for _, name := range want.Replica {
		if _, known := replicaFigureOf(name); !known {
			return nil, spec.Errorf(spec.Usage, "no server counts %q of its replicas", name)
		}
	}
	return either(ctx, d, endpoint,
		func() (*Sample, error) { return d.sampleCounters(ctx, endpoint, want) },
		func() (*Sample, error) { return d.sampleMetrics(ctx, endpoint, want) })
}

// either reads what a server counts the way its release has it. A server that turns out to be another release, as it
// was upgraded meanwhile, is asked the other way.
func either[T any](ctx context.Context, d *Driver, endpoint string, counters, metrics func() (T, error)) (T, error) {
	var none T
	for attempt := 0; ; attempt++ {
		v, err := d.ServerVersion(ctx, endpoint)
		if err != nil {
			return none, err
		}
		read := counters
		if v.HasMetrics() {
			read = metrics
		}
		answer, err := read()
		if err == nil || spec.KindOf(err) != spec.Unable || attempt > 0 {
			return answer, err
		}
		d.forgetVersion(endpoint)
	}
}

func (d *Driver) sampleCounters(ctx context.Context, endpoint string, want Wanted) (*Sample, error) {
	var prefixes []string
	for _, name := range want.Replica {
		prefixes = append(prefixes, ReplicaCounter(name, want.App))
	}
	for _, name := range want.Server {
		if full := serverCounters[name]; full != "" {
			prefixes = append(prefixes, full)
		}
	}
	s := newSample(endpoint, false)
	if len(prefixes) == 0 { // which would ask for all
		return s, nil
	}
	list, err := d.listCounters(ctx, endpoint, "perf-counters-by-prefix", prefixes)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if name, app, partition, ok := c.Replica(); ok {
			s.set(ReplicaID{app, partition}, name, c.Value)
			continue
		}
		for _, name := range want.Server {
			if serverCounters[name] == c.Name {
				s.Server[name] = c.Value
			}
		}
	}
	return s, nil
}

func (d *Driver) sampleMetrics(ctx context.Context, endpoint string, want Wanted) (*Sample, error) {
	types, names := wantedMetrics(want)
	s := newSample(endpoint, true)
	if len(names) == 0 { // which would ask for all
		return s, nil
	}
	args := []string{"with_metric_fields=name,value,p99", "types=" + strings.Join(types, ","), "metrics=" + strings.Join(names, ",")}
	if want.App != 0 && len(want.Server) == 0 {
		args = append(args, "attributes=table_id,"+strconv.Itoa(int(want.App)))
	}
	page, err := d.metricsPage(ctx, endpoint, args...)
	if err != nil {
		return nil, err
	}
	if !page.At.IsZero() {
		s.At = page.At
	}
	var disks diskRatios
	for i := range page.Entities {
		e := &page.Entities[i]
		switch e.Type {
		case "replica":
			s.addReplica(e, want)
		case "server":
			s.addServer(e, want)
		case "profiler":
			s.addLatency(e, want)
		case "disk":
			disks.add(e)
		}
	}
	disks.put(s, want)
	return s, nil
}

// wantedMetrics are the types of the entities and the names of the metrics to ask for.
func wantedMetrics(want Wanted) (types, names []string) {
	add := func(kind string, more ...string) {
		if !slices.Contains(types, kind) {
			types = append(types, kind)
		}
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range want.Replica {
		f, _ := replicaFigureOf(name)
		add("replica", f.metric)
	}
	for _, name := range want.Server {
		switch metric := serverMetrics[name]; {
		case metric != "":
			add("server", metric)
		case name == FigureDiskTotal || name == FigureDiskLeast:
			add("disk", metricDiskTotal, metricDiskFree)
		case strings.HasSuffix(name, latencySuffix):
			add("profiler", metricLatency)
		}
	}
	return types, names
}

func (s *Sample) addReplica(e *metricEntity, want Wanted) {
	app, errApp := strconv.ParseInt(e.Attributes["table_id"], 10, 32)
	partition, errPartition := strconv.ParseInt(e.Attributes["partition_id"], 10, 32)
	if errApp != nil || errPartition != nil || want.App != 0 && int32(app) != want.App {
		return
	}
	for _, m := range e.Metrics {
		i := slices.IndexFunc(replicaFigures, func(f replicaFigure) bool { return f.metric == m.Name })
		if i >= 0 && m.Value != nil && slices.Contains(want.Replica, replicaFigures[i].counter) {
			s.set(ReplicaID{int32(app), int(partition)}, replicaFigures[i].counter, *m.Value)
		}
	}
}

func (s *Sample) addServer(e *metricEntity, want Wanted) {
	for _, m := range e.Metrics {
		for _, name := range want.Server {
			if serverMetrics[name] == m.Name && m.Value != nil {
				s.Server[name] = *m.Value
			}
		}
	}
}

func (s *Sample) addLatency(e *metricEntity, want Wanted) {
	name := e.Attributes["task_name"] + latencySuffix
	for _, m := range e.Metrics {
		if p99, known := m.Percentiles["p99"]; known && m.Name == metricLatency && slices.Contains(want.Server, name) {
			s.Server[name] = p99
		}
	}
}

// diskRatios adds up a server's disks.
type diskRatios struct {
	total, free float64
	least       float64
	any         bool
}

func (d *diskRatios) add(e *metricEntity) {
	var total, free float64
	for _, m := range e.Metrics {
		switch {
		case m.Value == nil:
		case m.Name == metricDiskTotal:
			total = *m.Value
		case m.Name == metricDiskFree:
			free = *m.Value
		}
	}
	if total <= 0 {
		return
	}
	ratio := math.Floor(free * 100 / total)
	if !d.any || ratio < d.least {
		d.least = ratio
	}
	d.any, d.total, d.free = true, d.total+total, d.free+free
}

func (d *diskRatios) put(s *Sample, want Wanted) {
	if !d.any {
		return
	}
	for name, value := range map[string]float64{FigureDiskTotal: math.Floor(d.free * 100 / d.total), FigureDiskLeast: d.least} {
		if slices.Contains(want.Server, name) {
			s.Server[name] = value
		}
	}
}

// metricsPage reads /metrics of one server. One that has no such page is spec.Unable.
func (d *Driver) metricsPage(ctx context.Context, endpoint string, args ...string) (*metricsPage, error) {
	const op = "read /metrics"
	var page *metricsPage
	err := d.page(ctx, endpoint, "/metrics", strings.Join(args, "&"), func(body io.Reader) (err error) {
		page, err = readMetrics(body)
		return err
	})
	var refused *httpError
	var lost *lostError
	switch {
	case err == nil:
		return page, nil
	case errors.As(err, &lost):
		return nil, failure(op, false, err)
	case errors.As(err, &refused) && refused.status == http.StatusNotFound:
		e := &spec.Error{Kind: spec.Unable, Op: op, Endpoint: endpoint, Err: errors.New("the server has no such page")}
		return nil, e.WithHint("servers up to 2.5 have perf counters in its place")
	case errors.As(err, &refused):
		return nil, &spec.Error{Kind: spec.Failed, Op: op, Endpoint: endpoint, Err: err}
	case errors.Is(err, errPageTooLong):
		e := &spec.Error{Kind: spec.Failed, Op: op, Endpoint: endpoint, Err: err}
		return nil, e.WithHint("ask for less: one table, or one pattern")
	case errors.Is(err, errMetrics):
		return nil, malformed(op, endpoint, "%v", err)
	}
	return nil, failure(op, false, err)
}
