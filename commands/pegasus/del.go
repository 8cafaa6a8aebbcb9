package pegasus

import (
	"context"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Del deletes a row.
func Del(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "del",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "delete one row of the table in use",
		Long:       "Deletes a row. Servers do not tell whether it was there: deleting what is not there succeeds too.",
		Args:       keyArgs,
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "del user_2 name", Says: "one row is gone", Setup: []string{"use demo", "set user_2 name bob"}},
			{Line: `del user_2 ""`, Says: "the row with an empty sort key", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"set", "exist"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, k, err := openKey(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return writePlan("del", k, func(ctx context.Context) (driver.Ack, error) {
				return c.Del(ctx, k.table, []byte(k.hash), []byte(k.sort))
			}), nil
		},
	}
}
