package openmldb

import (
	"context"
	"fmt"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// Drop drops a table.
func Drop(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "drop",
		Systems: systems,
		Topic:   "tables",
		Summary: "drop a table with all its rows",
		Long:    "The table is gone from every tablet; nothing brings it back.",
		Args:    []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"}},
		Examples: []spec.Example{
			{Line: "drop old --yes=old", Says: "without being asked", Setup: []string{"create old 0 1 1 k:string:index"}},
		},
		SeeAlso: []string{"create", "dropdb"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			name := t.TableName
			var records int64
			for _, p := range t.Parts {
				if r, leads := p.Leader(); leads {
					records += value(r.Records)
				}
			}
			p := oneStep("drop ok", spec.Step{
				Text:    fmt.Sprintf("drop %s, %s of %s", name, commands.Plural(t.Partitions, "partition"), commands.Plural(t.Replicas, "replica")),
				Objects: []string{name.String()}, Class: spec.Destroy,
				Check: exists(c, name, false),
				Apply: call(func(ctx context.Context) error { return c.Drop(ctx, name) }),
			})
			p.Title = fmt.Sprintf("drop table %s (tid %d) of %s", name, t.ID, line.Cluster)
			p.Notes = []string{fmt.Sprintf("%s are deleted on every tablet, and nothing brings them back", commands.Plural(int(records), "row"))}
			return p, nil
		},
	}
}
