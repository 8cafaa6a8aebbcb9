package pegasus

import (
	"context"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// MultiDel deletes rows of a hash key.
func MultiDel(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "multi_del",
		Systems: systems,
		Topic:   "rows",
		Summary: "delete several rows under one hash key, all or none",
		Long: "Deletes the rows of the sort keys named, in one step. Servers do not tell whether a row was there: deleting what is " +
			"not there succeeds too.",
		Args: []spec.Arg{
			keyArgs[0],
			{Name: "sort_key", Kind: spec.ArgBytes, Repeated: true, Help: "a row to delete"},
		},
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "multi_del user_1 name age", Says: "two rows are gone", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
			{Line: `multi_del user_1 ""`, Says: "the row with an empty sort key", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"del", "multi_del_range", "multi_set"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			sorts := call.Rest(1)
			if err := distinctKeys(sorts); err != nil {
				return nil, err
			}
			if err := checkTotal(call.Arg(0), sorts); err != nil {
				return nil, err
			}
			c, k, err := openHash(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return hashPlan("del "+commands.Rows(int64(len(sorts)))+" under", k, func(ctx context.Context) (driver.Ack, error) {
				_, ack, err := c.MultiDel(ctx, k.table, []byte(k.hash), toBytes(sorts))
				return ack, err
			}), nil
		},
	}
}
