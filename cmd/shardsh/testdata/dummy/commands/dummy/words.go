// Package dummy holds the words that only this store has.
package dummy

import (
	"context"

	"shardsh/cluster/dummy"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Words lists the words of the store.
func Words(env commands.Env) []spec.Command {
	return []spec.Command{count(env), {
		Name:    "dummy_tables",
		Systems: []string{"dummy"},
		Topic:   "tables",
		Summary: "list the tables as the store itself does",
		Long:    "Asks the one server. It changes nothing.",
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			d, err := commands.Driver[*dummy.Driver](ctx, env, call)
			if err != nil {
				return nil, err
			}
			tables, err := d.Tables(ctx)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, t := range tables {
				rows = append(rows, spec.Row{t.Name, t.Partitions})
			}
			return &spec.Table{
				Columns: []spec.Column{{Name: "name"}, {Name: "partitions", Kind: spec.Int}},
				Rows:    spec.RowsOf(rows...),
			}, nil
		},
	}}
}
