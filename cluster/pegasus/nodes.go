package pegasus

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
)

// fanout bounds how many servers or tables are asked at a time.
const fanout = 16

// ClusterInfo answers the meta server's key and value pairs, in its order.
func (d *Driver) ClusterInfo(ctx context.Context) ([]cluster.Setting, error) {
	op := "read cluster info"
	a, endpoint, err := clusterInfo.call(ctx, d, op, &struct{}{})
	switch {
	case err != nil:
		return nil, err
	case a.Err != wire.OK:
		return nil, codeError(op, endpoint, a.Err, "", false)
	case len(a.Keys) != len(a.Values):
		return nil, malformed(op, endpoint, "%d keys, %d values", len(a.Keys), len(a.Values))
	}
	settings := make([]cluster.Setting, len(a.Keys))
	for i, key := range a.Keys {
		settings[i] = cluster.Setting{Key: key, Value: a.Values[i]}
	}
	return settings, nil
}

// Info describes the cluster. State names the meta level while the meta server heals less than it should.
func (d *Driver) Info(ctx context.Context) (cluster.Info, error) {
	settings, err := d.ClusterInfo(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	info := cluster.Info{System: "pegasus", Settings: settings}
	for _, s := range settings {
		switch s.Key {
		case "cluster_name":
			info.Name = s.Value
		case "meta_servers":
			info.Metadata = splitList(s.Value)
		case "primary_meta_server":
			info.Leader = s.Value
		case "meta_function_level":
			switch s.Value {
			case "stopped", "blind", "freezed":
				info.State = []string{s.Value}
			}
		}
	}
	return info, nil
}

func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// Nodes lists the replica servers by endpoint.
func (d *Driver) Nodes(ctx context.Context) ([]cluster.Node, error) {
	a, err := listNodes.ok(ctx, d, "list nodes", &wire.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	nodes := make([]cluster.Node, 0, len(a.Nodes))
	for i := range a.Nodes {
		n := &a.Nodes[i]
		name, real := d.name(n.Node, n.HPNode), n.Node.String()
		if name == "" {
			continue
		}
		if real == name {
			real = ""
		}
		nodes = append(nodes, cluster.Node{
			Endpoint: name, RealEndpoint: real, Alive: n.Status == wire.NodeAlive, State: n.Status.String(),
		})
	}
	slices.SortFunc(nodes, func(x, y cluster.Node) int { return cmp.Compare(x.Endpoint, y.Endpoint) })
	if len(nodes) > 0 {
		seen := make([]string, len(nodes))
		for i, n := range nodes {
			seen[i] = n.Endpoint
		}
		d.seen.Store(&seen)
	}
	return nodes, nil
}

// Servers lists the meta servers in the cluster's order, then the replica servers. Whether a meta server is alive is
// found by connecting to it.
func (d *Driver) Servers(ctx context.Context) ([]Server, error) {
	info, err := d.Info(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var servers []Server
	for _, endpoint := range info.Metadata {
		servers = append(servers, Server{Endpoint: endpoint, Role: RoleMeta})
	}
	d.each(len(servers), func(i int) {
		ctx, cancel := context.WithTimeout(ctx, min(d.timeout(), time.Second))
		defer cancel()
		if _, err := parseEndpoint(servers[i].Endpoint); err == nil {
			_, err = d.pool.Get(ctx, servers[i].Endpoint)
			servers[i].Alive = err == nil
		}
	})
	for _, n := range nodes {
		servers = append(servers, Server{Endpoint: n.Endpoint, Role: RoleReplica, Alive: n.Alive})
	}
	return servers, nil
}

// each runs f for 0 … n-1, several at a time, and waits.
func (d *Driver) each(n int, f func(int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, fanout)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	group.Wait()
}

// readingCommands are the remote commands that change nothing, whatever their arguments.
var readingCommands = []string{
	"help", "server-info", "server-stat", "task-code", "system.queue", "perf-counters", "perf-counters-by-substr",
	"perf-counters-by-prefix", "perf-counters-by-postfix", "meta.lb.get_balance_operation_count",
	"replica.query-compact", "replica.query-app-envs", "replica.query-progress",
	"replica.query-plog-gc-enabled-status", "replica.get-tcmalloc-status",
}

// RemoteCommand runs a remote command on one server, of either role, and answers its text.
func (d *Driver) RemoteCommand(ctx context.Context, endpoint, command string, args ...string) (string, error) {
	op := "run " + command
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return "", err
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	rpc := wire.CallCommand
	rpc.Change = !CommandReads(command, args)
	if args == nil {
		args = []string{}
	}
	var text string
	q := wire.Command{Name: command, Args: args}
	if err := call(ctx, d, endpoint, &rpc, wire.GPID{}, 0, &q, &text, nil); err != nil {
		return "", failure(op, rpc.Change, err)
	}
	return text, nil
}

// Ages asks each node since when it runs; see StartTimes.
func (d *Driver) Ages(ctx context.Context, endpoints []string) (map[string]time.Duration, error) {
	started, err := d.StartTimes(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	ages := map[string]time.Duration{}
	for endpoint, at := range started {
		ages[endpoint] = max(time.Since(at), 0)
	}
	return ages, nil
}

// StartTimes asks each node since when it runs, to the second. Servers tell their local time without its zone: it is read
// in this machine's zone, else, where that would be in the future, as UTC; a node for which neither makes sense, or that
// does not answer, is missing.
func (d *Driver) StartTimes(ctx context.Context, endpoints []string) (map[string]time.Time, error) {
	texts := make([]string, len(endpoints))
	d.each(len(endpoints), func(i int) {
		texts[i], _ = d.RemoteCommand(ctx, endpoints[i], "server-info")
	})
	if err := ctx.Err(); err != nil {
		return nil, failure("ask nodes for their age", false, err)
	}
	started := map[string]time.Time{}
	now := time.Now()
	for i, text := range texts {
		if at, ok := startFrom(text, now); ok {
			started[endpoints[i]] = at
		}
	}
	return started, nil
}

// startedAt finds the start time in both forms of the answer: a sentence up to 2.5, JSON after it.
var startedAt = regexp.MustCompile(`(?:Started at |"start_time" ?: ?")(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)`)

// clockSkew is by how much another machine's clock may be ahead.
const clockSkew = time.Minute

func startFrom(text string, now time.Time) (time.Time, bool) {
	m := startedAt.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false
	}
	for _, zone := range []*time.Location{now.Location(), time.UTC} {
		start, err := time.ParseInLocation(time.DateTime, m[1], zone)
		if err == nil && now.Sub(start) > -clockSkew {
			return start, true
		}
	}
	return time.Time{}, false
}
