package pegasus

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// Count counts the rows of a hash key.
func Count(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "count",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "count the rows under one hash key of the table in use",
		Long:       "Counts on the server that has them; rows whose time to live is over do not count. No rows are 0, and success.",
		Args:       keyArgs[:1],
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "count user_1", Says: "how many rows it has", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
			{Line: "count nobody", Says: "0", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"count_data", "multi_get_sortkeys"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openHash(ctx, env, call)
			if err != nil {
				return nil, err
			}
			n, ack, err := c.SortKeyCount(ctx, k.table, []byte(k.hash))
			if err != nil {
				return nil, err
			}
			return spec.Record(
				[]spec.Column{
					{Name: "hash_key", Kind: spec.Bytes},
					{Name: "count", Kind: spec.Int},
					{Name: "app_id", Kind: spec.Int},
					{Name: "partition_index", Kind: spec.Int},
					{Name: "server"},
				},
				k.hash, n, ack.AppID, ack.Partition, commands.Word(ack.Server)), nil
		},
	}
}
