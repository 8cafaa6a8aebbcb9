package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// MultiGet reads rows of a hash key.
func MultiGet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "multi_get",
		Systems: systems,
		Topic:   "rows",
		Summary: "read several rows under one hash key, or all of them",
		Long: "Reads the rows of the sort keys named, in that order, or without any all rows under the hash key. Rows that are not " +
			"there are left out; that is no error. What does not fit one answer is asked for in several.",
		Args: []spec.Arg{
			keyArgs[0],
			{Name: "sort_key", Kind: spec.ArgBytes, Optional: true, Repeated: true, Help: "a row; none names all"},
		},
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "multi_get user_1 name age", Says: "two rows at once", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
			{Line: "multi_get user_1", Says: "all rows under a hash key", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
		},
		SeeAlso: []string{"get", "multi_get_range", "multi_get_sortkeys", "multi_set"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openHash(ctx, env, call)
			if err != nil {
				return nil, err
			}
			if len(call.Args) == 1 {
				return rangeTable(k, c.MultiGetRange(ctx, k.table, []byte(k.hash), driver.RangeOptions{}), false, 0), nil
			}
			return multiGet(ctx, c, k, call.Rest(1))
		},
	}
}

func multiGet(ctx context.Context, c client, k key, sorts []string) (*spec.Table, error) {
	found, ack, err := c.MultiGet(ctx, k.table, []byte(k.hash), toBytes(sorts))
	if err != nil {
		return nil, err
	}
	rows := make([]spec.Row, len(found))
	for i, r := range found {
		rows[i] = spec.Row{k.hash, r.Sort, r.Value}
	}
	return &spec.Table{
		Columns: pairColumns(false),
		Rows:    spec.RowsOf(rows...),
		Notes: func() []string {
			return []string{fmt.Sprintf("%d asked for, %s", len(sorts), countNote(int64(len(rows)), ack))}
		},
	}, nil
}

// MultiGetSortKeys lists the sort keys of a hash key.
func MultiGetSortKeys(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "multi_get_sortkeys",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "list the sort keys under one hash key of the table in use",
		Long:       "Reads keys only: values stay on their server. What does not fit one answer is asked for in several.",
		Args:       keyArgs[:1],
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "multi_get_sortkeys user_1", Says: "what it has", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
			{Line: "multi_get_sortkeys user_1 > keys", Says: "the same, in a file", Setup: []string{"use demo", "set user_1 name alice"}},
		},
		SeeAlso: []string{"multi_get", "count", "hash_scan"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openHash(ctx, env, call)
			if err != nil {
				return nil, err
			}
			rows := c.MultiGetRange(ctx, k.table, []byte(k.hash), driver.RangeOptions{NoValue: true})
			return rangeTable(k, rows, true, 0), nil
		},
	}
}
