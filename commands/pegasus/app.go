package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// App shows one table.
func App(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "app",
		Systems: systems,
		Topic:   "tables",
		Summary: "show a table's shape, and with -d its partitions",
		Long: "Asks the meta server for the partitions of a table, by default of the one in use. With -d it lists them with " +
			"their ballots and replicas, how many replicas each node holds, and how many partitions are healthy.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "the table; the one in use when left out"}},
		Flags: []spec.Flag{
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "list partitions and nodes"},
		},
		Examples: []spec.Example{
			{Line: "app TableA", Says: "its number of partitions and replicas"},
			{Line: "app TableA -d", Says: "where its partitions are"},
		},
		SeeAlso: []string{"ls", "showtable", "get_app_envs"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return app(ctx, env, call)
		},
	}
}

func app(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, table, err := openTable(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	a, err := c.Partitions(ctx, table)
	if err != nil {
		return nil, err
	}
	replicas := 0
	for _, p := range a.Partitions {
		replicas = max(replicas, p.MaxReplicas)
	}
	general := spec.Record(
		append(spec.Columns("app_name"), ints("app_id", "partition_count", "max_replica_count")...),
		table, a.AppID, len(a.Partitions), replicas)
	if call.Bool("detailed") {
		general.Section = "general"
		general.More = []*spec.Table{partitionsTable(a.Partitions), spreadTable(a.Partitions), healthRecord(a.Partitions)}
	}
	return general, nil
}

func partitionsTable(partitions []driver.Partition) *spec.Table {
	rows := make([]spec.Row, len(partitions))
	for i, p := range partitions {
		count := fmt.Sprintf("%d/%d", replicasOf(p), p.MaxReplicas)
		rows[i] = spec.Row{p.Index, p.Ballot, count, commands.Word(p.Primary), p.Secondaries, verdict(p)}
	}
	return &spec.Table{
		Section: "replicas",
		Columns: []spec.Column{
			{Name: "pidx", Kind: spec.Int},
			{Name: "ballot", Kind: spec.Int},
			{Name: "replica_count"},
			{Name: "primary"},
			{Name: "secondaries", Kind: spec.List},
			{Name: "health"},
		},
		Rows: spec.RowsOf(rows...),
	}
}

func spreadTable(partitions []driver.Partition) *spec.Table {
	held := map[string]nodeShare{}
	for _, p := range partitions {
		if p.Primary != "" {
			h := held[p.Primary]
			h.primaries++
			held[p.Primary] = h
		}
		for _, node := range p.Secondaries {
			h := held[node]
			h.secondaries++
			held[node] = h
		}
	}
	rows := make([]spec.Row, 0, len(held))
	for node, h := range held {
		rows = append(rows, spec.Row{node, h.primaries, h.secondaries, h.primaries + h.secondaries})
	}
	slices.SortFunc(rows, func(a, b spec.Row) int { return cmp.Compare(a[0].(string), b[0].(string)) })
	return &spec.Table{
		Section: "nodes",
		Columns: append(spec.Columns("node"), ints("primary", "secondary", "total")...),
		Rows:    spec.RowsOf(rows...),
	}
}

func healthRecord(partitions []driver.Partition) *spec.Table {
	h := healthOf(partitions)
	t := spec.Record(ints("fully_healthy_partition_count", "unhealthy_partition_count",
		"write_unhealthy_partition_count", "read_unhealthy_partition_count"),
		h.full, h.unhealthy, h.writeUnhealthy, h.readUnhealthy)
	t.Section = "healthy"
	return t
}
