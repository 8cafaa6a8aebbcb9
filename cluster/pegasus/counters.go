package pegasus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"shardsh/commands/spec"
)

// Counter is a perf counter of a server, up to Pegasus 2.5.
type Counter struct {
	Name  string // "replica*app.pegasus*get_qps@2.0"
	Type  string // "NUMBER", "VOLATILE_NUMBER", "RATE", "NUMBER_PERCENTILES"
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

// Counters asks one server for its counters whose names begin with any of the prefixes. Reading a volatile one begins
// it anew. A server of 2.6 or later has none: that is Unable.
func (d *Driver) Counters(ctx context.Context, endpoint string, prefixes ...string) ([]Counter, error) {
	return d.listCounters(ctx, endpoint, "perf-counters-by-prefix", prefixes)
}

// CountersNamed does so for names that contain any of the texts.
func (d *Driver) CountersNamed(ctx context.Context, endpoint string, parts ...string) ([]Counter, error) {
	return d.listCounters(ctx, endpoint, "perf-counters-by-substr", parts)
}

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
