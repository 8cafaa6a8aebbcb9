package pegasus

import (
	"context"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Incr adds to a row.
func Incr(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "incr",
		Systems: systems,
		Topic:   "rows",
		Summary: "add to one row that holds an integer, and show the sum",
		Long: "Adds to a decimal integer in one step, so that no two clients see the same sum. A row that is not there, or is " +
			"empty, counts as 0; its time to live stays. A value that is no integer, or a sum over 64 bits, is an error, exit code 1. " +
			"When no answer comes it cannot be told afterwards whether the sum was made, exit code 6.",
		Args: append(keyArgs[:2:2],
			spec.Arg{Name: "increment", Kind: spec.ArgInt, Optional: true, Help: "what is added, below 0 to subtract; 1 when left out"}),
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "incr user_1 visits", Says: "one more", Setup: []string{"use demo"}},
			{Line: "incr user_1 credit -5", Says: "five less", Setup: []string{"use demo", "set user_1 credit 20"}},
		},
		SeeAlso: []string{"set", "check_and_set"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, k, err := openKey(ctx, env, call)
			if err != nil {
				return nil, err
			}
			by := int64(1)
			if len(call.Args) > 2 {
				by = call.ArgInt(2)
			}
			var sum int64
			var last driver.Ack
			p := writePlan("incr", k, func(ctx context.Context) (ack driver.Ack, err error) {
				sum, ack, err = c.Incr(ctx, k.table, []byte(k.hash), []byte(k.sort), by)
				last = ack
				return ack, err
			})
			p.Answers = func() *spec.Table {
				t := keyRecord(k, spec.Column{Name: "new_value", Kind: spec.Int}, sum, last)
				return withDecree(t, last)
			}
			return p, nil
		},
	}
}
