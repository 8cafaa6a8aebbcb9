package openmldb

import (
	"context"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowTable lists replicas as the nameserver has them.
func ShowTable(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "showtable",
		Systems: systems,
		Topic:   "partitions",
		Summary: "list every replica of one table, or of all tables",
		Long: "One row for each copy of each partition, in the nameserver's order: which one leads, whether it counts as alive, and " +
			"how far it is. A leader that died keeps its role and is not alive. Numbers are up to two seconds old, and those of a " +
			"dead tablet are its last. Tables of every database are shown, of the one in use when there is one.",
		Args:  []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "only this table: [db/]name"}},
		Flags: []spec.Flag{{Name: "hidden", Kind: spec.ArgBool, Help: "the store's own tables too"}},
		Examples: []spec.Example{
			{Line: "showtable flow", Says: "the replicas of one table"},
			{Line: "showtable --filter 'not is_alive'", Says: "the copies that do not count"},
		},
		SeeAlso: []string{"showtablet", "gettablestatus", "doctor"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := tablesOf(ctx, c, call)
			if err != nil {
				return nil, err
			}
			return replicaTable(all), nil
		},
	}
}

// tablesOf answers the table that a line names, or those of the database in use, or all.
func tablesOf(ctx context.Context, c schema, call *spec.Call) ([]driver.Table, error) {
	if call.Arg(0) != "" {
		t, err := findTable(ctx, c, call, call.Arg(0))
		if err != nil {
			return nil, err
		}
		return []driver.Table{*t}, nil
	}
	all, err := c.DescribeAll(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t driver.Table) bool {
		return call.Table != "" && t.DB != call.Table || call.Table == "" && t.Internal() && !call.Bool("hidden")
	}), nil
}

func replicaTable(all []driver.Table) *spec.Table {
	t := &spec.Table{Columns: []spec.Column{
		{Name: "name"},
		{Name: "tid", Kind: spec.Int},
		{Name: "pid", Kind: spec.Int},
		{Name: "endpoint"},
		{Name: "role"},
		{Name: "ttl"},
		{Name: "is_alive", Kind: spec.Bool},
		{Name: "compress_type"},
		{Name: "offset", Kind: spec.Int},
		{Name: "record_cnt", Kind: spec.Int},
		{Name: "memused", Kind: spec.Size},
		{Name: "diskused", Kind: spec.Size},
		{Name: "db"},
	}}
	t.Rows = func(yield func(spec.Row, error) bool) {
		for _, table := range all {
			ttl := ttlTexts(table)
			for _, p := range table.Parts {
				for _, r := range p.Replicas {
					row := spec.Row{
						table.Name, table.ID, p.ID, r.Endpoint, role(r.Leader), ttl, r.Alive, table.Compress,
						number(r.Offset), number(r.Records), number(r.Memory), number(r.Disk), commands.Word(table.DB),
					}
					if !yield(row, nil) {
						return
					}
				}
			}
		}
	}
	return t
}

func role(leads bool) string {
	if leads {
		return "leader"
	}
	return "follower"
}

// ttlTexts says when rows of a table expire, once for indexes that agree: "0min", "144000min, latest 10".
func ttlTexts(t driver.Table) string {
	var texts []string
	for _, index := range t.Indexes {
		text := ttlText(index.TTL)
		if len(texts) == 0 || texts[len(texts)-1] != text {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", ")
}

// number is what a pointer points at, as the renderers take it.
func number(p *uint64) any {
	if p == nil {
		return nil
	}
	return int64(*p)
}

// when is a moment of which the zero one means that there is none.
func when(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
