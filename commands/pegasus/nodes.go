package pegasus

import (
	"context"
	"fmt"
	"slices"

	"shardsh/cluster"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Nodes lists replica servers.
func Nodes(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "nodes",
		Systems: systems,
		Topic:   "cluster",
		Summary: "list the replica servers and how many replicas each holds",
		Long: "Asks the meta server which replica servers it knows and whether their beacons arrive. " +
			"With -d it also counts the replicas on each, at one call per table. -u asks each live server what it takes: memory, " +
			"RocksDB's block cache, tables in memory and indexes, and how much of its disks is free, in per cent. -q asks for " +
			"calls per second, capacity units and how long the slowest hundredth of the last calls took on the server. Up to 2.5 " +
			"both are perf counters; with -i they are read twice, so that rates are those of the time in between. Later servers " +
			"only add up at /metrics, so -q always reads them twice; they have write buffers (wbm), too. A server that does not " +
			"answer has empty cells, and the exit code is 3, or 1 when none answered.",
		Flags: []spec.Flag{
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "count replicas, primaries and secondaries"},
			{Name: "resource-usage", Short: "u", Kind: spec.ArgBool, Help: "memory and disks"},
			{Name: "qps", Short: "q", Kind: spec.ArgBool, Help: "calls per second, capacity units, latencies"},
			sampleFlag(),
			{
				Name: "status", Short: "s", Kind: spec.ArgEnum, Default: "all", Values: []string{"all", "alive", "unalive"},
				Help: "only nodes in this state",
			},
		},
		Examples: []spec.Example{
			{Line: "nodes -d", Says: "how the replicas are spread"},
			{Line: "nodes -s unalive", Says: "who is down"},
			{Line: "nodes -u", Says: "who is full"},
			{Line: "nodes -q -i 2000", Says: "who is busy or slow, over two seconds"},
		},
		SeeAlso: []string{"showtablet", "server_info", "server_stat", "app_stat", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return nodes(ctx, env, call)
		},
	}
}

func nodes(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	list, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	table := &spec.Table{Columns: spec.Columns("address", "status"), Notes: nodeNotes(list)}
	list = slices.DeleteFunc(slices.Clone(list), func(n cluster.Node) bool {
		wanted := call.String("status")
		return wanted != "all" && n.Alive != (wanted == "alive")
	})
	rows := make([]spec.Row, len(list))
	for i, n := range list {
		rows[i] = spec.Row{n.Endpoint, n.State}
	}
	if call.Bool("detailed") {
		held, err := shares(ctx, c)
		if err != nil {
			return nil, err
		}
		table.Columns = append(table.Columns, ints("replica_count", "primary_count", "secondary_count")...)
		for i, n := range list {
			h := held[n.Endpoint]
			rows[i] = append(rows[i], h.primaries+h.secondaries, h.primaries, h.secondaries)
		}
	}
	silent, err := nodeFigures(ctx, env, call, list, table, rows)
	if err != nil {
		return nil, err
	}
	table.Rows = func(yield func(spec.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if silent != nil {
			yield(nil, silent)
		}
	}
	return table, nil
}

// nodeShare counts the replicas on one node.
type nodeShare struct{ primaries, secondaries int }

func shares(ctx context.Context, c admin) (map[string]nodeShare, error) {
	held := map[string]nodeShare{}
	for r, err := range c.Placement(ctx, "") {
		if err != nil {
			return nil, err
		}
		h := held[r.Endpoint]
		if r.Role == "primary" {
			h.primaries++
		} else {
			h.secondaries++
		}
		held[r.Endpoint] = h
	}
	return held, nil
}

func nodeNotes(list []cluster.Node) func() []string {
	alive := 0
	for _, n := range list {
		if n.Alive {
			alive++
		}
	}
	return func() []string {
		return []string{fmt.Sprintf("%d nodes, %d alive, %d unalive", len(list), alive, len(list)-alive)}
	}
}
