package pegasus

import (
	"context"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CheckAndSet writes a row on a condition.
func CheckAndSet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "check_and_set",
		Systems: systems,
		Topic:   "rows",
		Summary: "write one row if another one of the same hash key is as expected",
		Long: "Looks at one row and writes the same or another one under the same hash key, in one step that no other write comes " +
			"between. " + checkLong,
		Args: keyArgs[:1],
		Flags: append(slices.Clone(conditionFlags),
			spec.Flag{Name: "set-sort-key", Short: "s", Kind: spec.ArgBytes, Required: true, Help: "the row that is written; may be the one that is looked at"},
			spec.Flag{Name: "set-value", Short: "v", Kind: spec.ArgBytes, Required: true, Help: "its value; may be empty: \"\""},
			spec.Flag{Name: "set-value-ttl-seconds", Short: "l", Kind: spec.ArgDuration, Help: "how long it lives; 0 is for ever, or the table's default_ttl"}),
		Examples: []spec.Example{
			{Line: "check_and_set job_1 -c owner -t not_exist -s owner -v me -l 60", Says: "take a lock for a minute", Setup: []string{"use demo"}},
			{Line: "check_and_set user_1 -c age -t int_less -o 8 -s group -v child -r", Says: "write one row depending on another", Setup: []string{"use demo", "set user_1 age 7"}},
		},
		SeeAlso: []string{"set", "incr", "check_and_mutate"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return checkAndSet(ctx, env, call)
		},
	}
}

func checkAndSet(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	check, err := checkOf(call)
	if err != nil {
		return nil, err
	}
	sort, value, ttl := call.String("set-sort-key"), call.String("set-value"), call.Duration("set-value-ttl-seconds")
	if err := checkTTL(ttl); err != nil {
		return nil, err
	}
	if err := checkTotal(call.Arg(0), []string{string(check.Sort), string(check.Operand), sort, value}); err != nil {
		return nil, err
	}
	c, k, err := openHash(ctx, env, call)
	if err != nil {
		return nil, err
	}
	k.sort = sort
	return checkedPlan("set "+k.String(), "set_succeed", k, check, func(ctx context.Context) (driver.Checked, error) {
		return c.CheckAndSet(ctx, k.table, []byte(k.hash), check, []byte(sort), []byte(value), ttl)
	}), nil
}
