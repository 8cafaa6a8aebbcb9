package commands

import (
	"context"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// ShowTablet lists storage nodes.
func ShowTablet(env Env) spec.Command {
	return spec.Command{
		Name:    "showtablet",
		Topic:   "cluster",
		Summary: "list the storage nodes, their state and since when they have it",
		Long: "One row per storage node, dead ones included, in the store's own words. The age is how long the node has been in " +
			"this state or, where the store tells only that, how long it has been up; each live node is asked for it then.",
		Examples: []spec.Example{
			{Line: "showtablet", Says: "who is up, and for how long"},
			{Line: "showtablet --sort age", Says: "the last one restarted first"},
		},
		SeeAlso: []string{"nodes", "showtable"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return showTablet(ctx, env, call)
		},
	}
}

func showTablet(ctx context.Context, env Env, call *spec.Call) (*spec.Table, error) {
	d, err := Driver[cluster.Driver](ctx, env, call)
	if err != nil {
		return nil, err
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	ages, ageErr := nodeAges(ctx, d, nodes)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rows := make([]spec.Row, len(nodes))
	for i, n := range nodes {
		age := cell(n.Age)
		if known, ok := ages[n.Endpoint]; ok && n.Age == nil {
			age = known.Truncate(time.Second) // the nodes tell their start to the second
		}
		rows[i] = spec.Row{n.Endpoint, n.State, age, Word(n.RealEndpoint)}
	}
	table := &spec.Table{
		Columns: []spec.Column{{Name: "endpoint"}, {Name: "state"}, {Name: "age", Kind: spec.Duration}, {Name: "real_endpoint"}},
		Rows:    spec.RowsOf(rows...),
	}
	if ageErr != nil {
		table.Notes = func() []string { return []string{"some ages are missing: " + ageErr.Error()} }
	}
	return table, nil
}

// nodeAges asks the live nodes whose age the list did not have. Their silence costs only that column.
func nodeAges(ctx context.Context, d cluster.Driver, nodes []cluster.Node) (map[string]time.Duration, error) {
	asker, ok := d.(cluster.NodeAges)
	if !ok {
		return nil, nil
	}
	var ask []string
	for _, n := range nodes {
		if n.Alive && n.Age == nil {
			ask = append(ask, n.Endpoint)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	return asker.Ages(ctx, ask)
}
