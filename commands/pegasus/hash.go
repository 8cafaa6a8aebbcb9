package pegasus

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// Hash tells where a row is.
func Hash(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "hash",
		Systems: systems,
		Topic:   "rows",
		Summary: "show which partition and servers a key belongs to",
		Long: "Computes the hash of a key and finds its partition in the table in use, whether or not there is such a row. " +
			"The hash key alone decides; only when it is empty the sort key does.",
		Args: []spec.Arg{
			keyArgs[0],
			{Name: "sort_key", Kind: spec.ArgBytes, Optional: true, Help: "counts only when the hash key is empty"},
		},
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "hash user_1 name", Says: "where to look for a row", Setup: []string{"use demo"}},
			{Line: "hash user_1", Says: "the same partition: the sort key does not matter", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"get", "app", "showtable"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return hash(ctx, env, call)
		},
	}
}

func hash(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	at, err := c.Locate(ctx, table, []byte(call.Arg(0)), []byte(call.Arg(1)))
	if err != nil {
		return nil, err
	}
	return spec.Record(
		[]spec.Column{
			{Name: "key_hash", Kind: spec.Int},
			{Name: "app_name"},
			{Name: "app_id", Kind: spec.Int},
			{Name: "partition_count", Kind: spec.Int},
			{Name: "partition_index", Kind: spec.Int},
			{Name: "primary"},
			{Name: "secondaries", Kind: spec.List},
		},
		at.Hash, table, at.AppID, at.Partitions, at.Partition, commands.Word(at.Primary), at.Secondaries), nil
}
