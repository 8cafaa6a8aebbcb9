package pegasus

import (
	"context"
	"fmt"

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
			"With -d it also counts the replicas on each, at one call per table.",
		Flags: []spec.Flag{
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "count replicas, primaries and secondaries"},
			{
				Name: "status", Short: "s", Kind: spec.ArgEnum, Default: "all", Values: []string{"all", "alive", "unalive"},
				Help: "only nodes in this state",
			},
		},
		Examples: []spec.Example{
			{Line: "nodes -d", Says: "how the replicas are spread"},
			{Line: "nodes -s unalive", Says: "who is down"},
		},
		SeeAlso: []string{"showtablet", "server_info", "app"},
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
	var held map[string]nodeShare
	if call.Bool("detailed") {
		for _, name := range []string{"replica_count", "primary_count", "secondary_count"} {
			table.Columns = append(table.Columns, spec.Column{Name: name, Kind: spec.Int})
		}
		if held, err = shares(ctx, c); err != nil {
			return nil, err
		}
	}
	var rows []spec.Row
	for _, n := range list {
		if wanted := call.String("status"); wanted != "all" && n.Alive != (wanted == "alive") {
			continue
		}
		row := spec.Row{n.Endpoint, n.State}
		if held != nil {
			h := held[n.Endpoint]
			row = append(row, h.primaries+h.secondaries, h.primaries, h.secondaries)
		}
		rows = append(rows, row)
	}
	table.Rows = spec.RowsOf(rows...)
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
