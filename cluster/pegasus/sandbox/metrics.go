package sandbox

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// What servers count, as releases after 2.5 tell it over HTTP: entities with attributes, and metrics of each.

// filter chooses what is told; an empty list chooses all.
type filter struct {
	fields, types, ids, attributes, metrics []string
}

func chosen(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

// briefFields are told when nobody asks for more.
func briefFields() []string {
	fields := []string{"name", "value"}
	for _, p := range percentiles {
		fields = append(fields, p.name)
	}
	return fields
}

// parseFilter reads the arguments of /metrics; wrong says why they are none.
func parseFilter(q query) (f filter, wrong string) {
	detail := false
	for name, value := range q {
		list := strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		switch name {
		case "with_metric_fields":
			f.fields = list
		case "types":
			f.types = list
		case "ids":
			f.ids = list
		case "attributes":
			if f.attributes = list; len(list)%2 != 0 {
				return f, "the number of arguments for attributes should be even, since each attribute name always pairs with a value"
			}
		case "metrics":
			f.metrics = list
		case "detail":
			if value != "true" && value != "false" {
				return f, "the value of detail should be a boolean value, i.e. true or false"
			}
			detail = value == "true"
		default:
			return f, fmt.Sprintf("unknown field %s=%s", name, value)
		}
	}
	if !q.has("with_metric_fields") && !detail {
		f.fields = briefFields()
	}
	return f, ""
}

// entity is one thing that has metrics.
type entity struct {
	f          *filter
	kind, id   string
	attributes []string // names and values
	wanted     bool
	metrics    []object
}

func (f *filter) entity(kind, id string, attributes ...string) *entity {
	e := &entity{f: f, kind: kind, id: id, attributes: attributes}
	e.wanted = chosen(f.types, kind) && chosen(f.ids, id) && e.matches(f.attributes)
	return e
}

// matches says whether any of the attributes asked for is the entity's.
func (e *entity) matches(asked []string) bool {
	for i := 0; i+1 < len(asked); i += 2 {
		for j := 0; j+1 < len(e.attributes); j += 2 {
			if asked[i] == e.attributes[j] && asked[i+1] == e.attributes[j+1] {
				return true
			}
		}
	}
	return len(asked) == 0
}

// Kinds of metrics.
const (
	metricGauge      = "Gauge"
	metricCounter    = "Counter"
	metricPercentile = "Percentile"
)

// head begins a metric; false when nobody wants it.
func (e *entity) head(kind, name, unit, help string) (object, bool) {
	var o object
	if !e.wanted || !chosen(e.f.metrics, name) {
		return o, false
	}
	for _, pair := range [][2]string{{"type", kind}, {"name", name}, {"unit", unit}, {"desc", help}} {
		if chosen(e.f.fields, pair[0]) {
			o.add(pair[0], pair[1])
		}
	}
	return o, true
}

// value adds a metric of one value, which is not asked for in vain.
func (e *entity) value(kind, name, unit, help string, value func() int64) {
	o, wanted := e.head(kind, name, unit, help)
	if !wanted {
		return
	}
	if chosen(e.f.fields, "value") {
		o.add("value", value())
	}
	e.metrics = append(e.metrics, o)
}

func (e *entity) gauge(name, unit, help string, value int64) {
	e.value(metricGauge, name, unit, help, func() int64 { return value })
}

func (e *entity) percentile(name, unit, help string, kept *samples) {
	o, wanted := e.head(metricPercentile, name, unit, help)
	if !wanted {
		return
	}
	for i, value := range kept.at() {
		if chosen(e.f.fields, percentiles[i].name) {
			o.add(percentiles[i].name, value)
		}
	}
	e.metrics = append(e.metrics, o)
}

// metricsPage is the page of a server; list makes its entities.
func metricsPage(name, role, address string, list func(*filter) []*entity) page {
	return page{help: "[with_metric_fields=f,…][&types=t,…][&ids=i,…][&attributes=a,v,…][&metrics=m,…][&detail=true|false] - Query the node metrics.", answer: func(q query) reply {
		f, wrong := parseFilter(q)
		if wrong != "" {
			return metricsError(wrong)
		}
		entities := []object{}
		for _, e := range list(&f) {
			if len(e.metrics) == 0 {
				continue
			}
			o := pairsOf("type", e.kind, "id", e.id)
			o.add("attributes", pairsOf(e.attributes...))
			o.add("metrics", e.metrics)
			entities = append(entities, o)
		}
		answer := pairsOf("cluster", name, "role", role)
		at, _ := netip.ParseAddrPort(address)
		answer.add("host", at.Addr().String())
		answer.add("port", int(at.Port()))
		answer.add("timestamp_ns", time.Now().UnixNano())
		answer.add("entities", entities)
		return reply{body: indented(answer, "    ")}
	}, otherMethod: metricsError("please use 'GET' method while querying for metrics")}
}

func metricsError(text string) reply {
	return reply{status: http.StatusBadRequest, body: indented(pairsOf("error_message", text), "    ")}
}

// metrics are the entities of a replica server.
func (s *replicaServer) metrics(f *filter) []*entity {
	if !s.enter() {
		return nil
	}
	defer s.leave()
	replicas := s.all()
	n := s.usage(replicas)
	all := []*entity{s.serverMetrics(f, n)}
	for i, tag := range diskTags {
		disk := f.entity("disk", "disk@"+tag, "tag", tag, "data_dir", s.disks.dirs[i])
		disk.gauge("disk_capacity_total_mb", "MegaBytes", "The total disk capacity", diskCapacity/mebi)
		disk.gauge("disk_capacity_avail_mb", "MegaBytes", "The available disk capacity", s.disks.available(i)/mebi)
		all = append(all, disk)
	}
	for _, r := range replicas {
		all = append(all, r.metrics(f, n))
	}
	for _, rpc := range sampled {
		e := f.entity("profiler", "task@"+rpc, "task_name", rpc)
		e.percentile("profiler_server_rpc_latency_ns", "NanoSeconds", "from when a call was read until its answer was ready", s.latencies.kinds[rpc])
		all = append(all, e)
	}
	return all
}

func (s *replicaServer) serverMetrics(f *filter, n *nodeUsage) *entity {
	e := f.entity("server", "server")
	e.memory()
	e.gauge("rdb_block_cache_mem_usage_bytes", "Bytes", "memory of blocks that were read", int64(n.Cache))
	e.gauge("rdb_wbm_total_mem_usage_bytes", "Bytes", "memory of rows that are not on disk yet", int64(n.MemTables))
	e.gauge("rdb_wbm_mutable_mem_usage_bytes", "Bytes", "the part of it that takes new rows", int64(n.Mutable))
	e.value(metricCounter, "read_failed_requests", "Requests", "reads that were refused or failed", s.stats.readFails.Load)
	e.value(metricCounter, "write_failed_requests", "Requests", "writes that were refused or failed", s.stats.writeFails.Load)
	e.gauge("backup_file_upload_max_bytes", "Bytes", "the largest file that is being uploaded for a backup", s.maxUpload())
	e.gauge("total_replicas", "Replicas", "all replicas", int64(n.replicas))
	for _, of := range []struct {
		name   string
		status wire.ReplicaStatus
	}{
		{"inactive_replicas", wire.ReplicaInactive},
		{"error_replicas", wire.ReplicaError},
		{"primary_replicas", wire.ReplicaPrimary},
		{"secondary_replicas", wire.ReplicaSecondary},
		{"learning_replicas", wire.ReplicaPotentialSecondary},
		{"splitting_replicas", wire.ReplicaPartitionSplit},
	} {
		e.gauge(of.name, "Replicas", "replicas that are "+strings.ToLower(of.status.String()), int64(n.byStatus[of.status]))
	}
	return e
}

func (r *replica) metrics(f *filter, n *nodeUsage) *entity {
	app, partition := strconv.Itoa(int(r.pid.App)), strconv.Itoa(int(r.pid.Partition))
	e := f.entity("replica", "replica@"+r.pid.String(), "table_id", app, "partition_id", partition)
	for stat, name := range metricNames {
		unit := "Requests"
		switch stat {
		case statReadUnits, statWriteUnits:
			unit = "CapacityUnits"
		case statDupLost, statDupConfirmed:
			unit = "Mutations"
		case statDupBytes:
			unit = "Bytes"
		}
		e.value(metricCounter, name, unit, "since the server started", r.stats.counts[stat].Load)
	}
	e.value(metricGauge, "dup_pending_mutations", "Mutations", "writes that the follower that lacks most does not have", r.pending)
	e.percentile("dup_time_lag_ms", "MilliSeconds", "how late writes of other clusters came", &r.stats.lag)
	for _, figure := range replicaFigures {
		e.value(metricGauge, figure.metric, figure.unit, figure.help, func() int64 { return int64(figure.value(r, n)) })
	}
	return e
}

// memory adds what servers of both kinds have.
func (e *entity) memory() {
	virtual, resident := processMemory()
	e.gauge("virtual_mem_usage_mb", "MegaBytes", "The total amount of virtual memory usage in MB", virtual/mebi)
	e.gauge("resident_mem_usage_mb", "MegaBytes", "The total amount of physical memory usage in MB", resident/mebi)
}

// metrics are the entities of a meta server; one that leads has them of tables, too.
func (m *metaServer) metrics(f *filter) []*entity {
	m.mu.Lock()
	defer m.mu.Unlock()
	server := f.entity("server", "server")
	server.memory()
	all := []*entity{server}
	if len(m.nodes) == 0 {
		return all
	}
	alive := m.countAlive()
	server.gauge("alive_replica_servers", "Servers", "live replica servers", int64(alive))
	server.gauge("unalive_replica_servers", "Servers", "dead replica servers", int64(len(m.nodes)-alive))
	for id, a := range m.apps {
		if a.Status == wire.AppAvailable {
			all = append(all, m.tableMetrics(f, id, a))
		}
	}
	slices.SortFunc(all, func(a, b *entity) int { return strings.Compare(a.id, b.id) })
	return all
}

// tableMetrics counts a table's partitions by how they are; m.mu is held.
func (m *metaServer) tableMetrics(f *filter, id int32, a *app) *entity {
	e := f.entity("table", fmt.Sprintf("table@%d", id), "table_id", strconv.Itoa(int(id)))
	counts := map[string]int64{}
	for i := range a.Partitions {
		g := m.groups[wire.GPID{App: id, Partition: i}]
		switch have := len(g.members()); {
		case g.Primary == noNode && have == 0:
			counts["dead_partitions"]++
		case g.Primary == noNode:
			counts["unreadable_partitions"]++
		case have < minReplicas(g.Max):
			counts["unwritable_partitions"]++
		case have < g.Max:
			counts["writable_ill_partitions"]++
		default:
			counts["healthy_partitions"]++
		}
	}
	for _, name := range []string{
		"dead_partitions", "healthy_partitions", "unreadable_partitions", "unwritable_partitions", "writable_ill_partitions",
	} {
		e.gauge(name, "Partitions", "partitions of the table that are in this state", counts[name])
	}
	return e
}
