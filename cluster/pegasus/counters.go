package pegasus

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shardsh/commands/spec"
)

// Counter is something that a server counts: a perf counter up to Pegasus 2.5, a metric after it.
type Counter struct {
	Name  string // "replica*app.pegasus*get_qps@2.0"
	Type  string // "NUMBER", "VOLATILE_NUMBER", "RATE", "NUMBER_PERCENTILES"; "Gauge", "Counter", "Percentile"
	Value float64
}

// appCounter is how counters of replicas begin; they end in @app.partition.
const appCounter = "replica*app.pegasus*"

// Replica splits the name of a replica's counter ("get_qps", 2, 0); not ok for others.
func (c Counter) Replica() (name string, appID int32, partition int, ok bool) {
	rest, isApp := strings.CutPrefix(c.Name, appCounter)
	name, pid, hasPID := cutLast(rest, "@")
	app, part, hasPart := strings.Cut(pid, ".")
	a, errA := strconv.ParseInt(app, 10, 32)
	p, errP := strconv.ParseInt(part, 10, 32)
	if !isApp || !hasPID || !hasPart || errA != nil || errP != nil {
		return "", 0, 0, false
	}
	return name, int32(a), int(p), true
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// ReplicaCounter is the beginning of the names of a counter of all replicas, or of those of one table when its id is
// not 0.
func ReplicaCounter(name string, appID int32) string {
	if appID == 0 {
		return appCounter + name + "@"
	}
	return fmt.Sprintf("%s%s@%d.", appCounter, name, appID)
}

// CounterFilter chooses counters.
type CounterFilter struct {
	// Contains is a part of their names; "" is in all.
	Contains string
	// App keeps those of the replicas of one table; 0 keeps all.
	App int32
}

// CounterList is what one server counts. With Totals, those of type "Counter" only grow.
type CounterList struct {
	Totals   bool
	Counters []Counter
}

// ListCounters asks one server for what it counts: its perf counters up to 2.5, where reading a volatile one begins it
// anew, and what is at /metrics after it, under names of the same form: "replica*get_requests@2.0",
// "server*resident_mem_usage_mb", "profiler*profiler_server_rpc_latency_ns@RPC_RRDB_RRDB_GET.p99".
func (d *Driver) ListCounters(ctx context.Context, endpoint string, f CounterFilter) (*CounterList, error) {
	list, err := either(ctx, d, endpoint, func() (*CounterList, error) {
		part := f.Contains
		if part == "" && f.App != 0 {
			part = appSuffix(f.App)
		}
		list, err := d.listCounters(ctx, endpoint, "perf-counters-by-substr", []string{part})
		return &CounterList{Counters: list}, err
	}, func() (*CounterList, error) {
		args := []string{"with_metric_fields=type,name,value," + strings.Join(percentileNames, ",")}
		if f.App != 0 {
			args = append(args, "attributes=table_id,"+strconv.Itoa(int(f.App)))
		}
		page, err := d.metricsPage(ctx, endpoint, args...)
		if err != nil {
			return nil, err
		}
		return &CounterList{Totals: true, Counters: page.counters()}, nil
	})
	if err != nil {
		return nil, err
	}
	list.Counters = slices.DeleteFunc(list.Counters, func(c Counter) bool {
		return !strings.Contains(c.Name, f.Contains) || f.App != 0 && !strings.Contains(c.Name, appSuffix(f.App))
	})
	return list, nil
}

// appSuffix is how the names of a table's counters go on before the partition.
func appSuffix(app int32) string { return fmt.Sprintf("@%d.", app) }

// counters names the metrics of a page as counters are named, sorted.
func (p *metricsPage) counters() []Counter {
	var list []Counter
	for i := range p.Entities {
		e := &p.Entities[i]
		suffix := ""
		if kind, id, named := strings.Cut(e.ID, "@"); named {
			suffix = "@" + id
		} else if kind != e.Type {
			suffix = "@" + kind
		}
		for _, m := range e.Metrics {
			name := e.Type + "*" + m.Name + suffix
			if m.Value != nil {
				list = append(list, Counter{Name: name, Type: m.Type, Value: *m.Value})
			}
			for of, value := range m.Percentiles {
				list = append(list, Counter{Name: name + "." + of, Type: m.Type, Value: value})
			}
		}
	}
	slices.SortFunc(list, func(a, b Counter) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// listCounters asks for perf counters. A server of 2.6 or later has none: that is Unable.
func (d *Driver) listCounters(ctx context.Context, endpoint, command string, args []string) ([]Counter, error) {
	const op = "read perf counters"
	text, err := d.RemoteCommand(ctx, endpoint, command, args...)
	if err != nil {
		return nil, err
	}
	if CommandRefused(text) {
		e := &spec.Error{Kind: spec.Unable, Op: op, Endpoint: endpoint, Err: fmt.Errorf("the server has none: %s", strings.TrimSpace(text))}
		return nil, e.WithHint("servers after 2.5 have /metrics over HTTP in their place")
	}
	var answer struct {
		Result   string `json:"result"`
		Counters []struct {
			Name  string  `json:"name"`
			Type  string  `json:"type"`
			Value float64 `json:"value"`
		} `json:"counters"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, malformed(op, endpoint, "the answer is no list of counters: %v", err)
	}
	if answer.Result != "OK" {
		return nil, malformed(op, endpoint, "the answer says %q", answer.Result)
	}
	counters := make([]Counter, len(answer.Counters))
	for i, c := range answer.Counters {
		counters[i] = Counter(c)
	}
	return counters, nil
}
