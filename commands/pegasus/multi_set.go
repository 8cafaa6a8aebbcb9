package pegasus

import (
	"context"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// MultiSet writes rows of a hash key.
func MultiSet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "multi_set",
		Systems: systems,
		Topic:   "rows",
		Summary: "write several rows under one hash key, all or none",
		Long: "Writes sort keys and values given in turn, in one step: readers see all of the rows or none. They share one time " +
			"to live; without --ttl they stay for ever, or for the table's default_ttl. Together they must fit 1 MiB.",
		Args: []spec.Arg{
			keyArgs[0], keyArgs[1],
			{Name: "value [sort_key value]", Kind: spec.ArgBytes, Repeated: true, Help: "its value; then more sort keys, each with its value"},
		},
		Flags: []spec.Flag{
			{Name: "ttl", Kind: spec.ArgDuration, Help: "how long the rows live: seconds, or 90m, 24h; stands before the keys"},
		},
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "multi_set user_1 name alice age 7", Says: "two rows in one step", Setup: []string{"use demo"}},
			{Line: "multi_set --ttl 1h user_1 session 42 token x", Says: "two rows for one hour", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"set", "multi_get", "multi_del"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return multiSet(ctx, env, call)
		},
	}
}

func multiSet(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	words, ttl := call.Rest(1), call.Duration("ttl")
	if len(words)%2 != 0 {
		return nil, spec.Errorf(spec.Usage, "the sort key %s has no value", quote(words[len(words)-1])).
			WithHint("sort keys and values are given in turn; an empty value is \"\"")
	}
	var sorts []string
	var rows []driver.SortValue
	for i := 0; i < len(words); i += 2 {
		sorts = append(sorts, words[i])
		rows = append(rows, driver.SortValue{Sort: []byte(words[i]), Value: []byte(words[i+1])})
	}
	for _, err := range []error{distinctKeys(sorts), checkTotal(call.Arg(0), words), checkTTL(ttl)} {
		if err != nil {
			return nil, err
		}
	}
	c, k, err := openHash(ctx, env, call)
	if err != nil {
		return nil, err
	}
	return hashPlan("set "+commands.Rows(int64(len(rows)))+" under", k, func(ctx context.Context) (driver.Ack, error) {
		return c.MultiSet(ctx, k.table, []byte(k.hash), rows, ttl)
	}), nil
}
