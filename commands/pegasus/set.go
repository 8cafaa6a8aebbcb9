package pegasus

import (
	"context"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Set writes a row.
func Set(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "set",
		Systems: systems,
		Topic:   "rows",
		Summary: "write one row of the table in use",
		Long: "Writes a value, over the one that is there, and its time to live with it: without one the row stays for ever, " +
			"or for the table's default_ttl. Keys and values are bytes; write those that cannot be typed as \\xHH within quotes.",
		Args: append(keyArgs[:2:2],
			spec.Arg{Name: "value", Kind: spec.ArgBytes, Help: "may be empty: \"\""},
			spec.Arg{Name: "ttl", Kind: spec.ArgDuration, Optional: true, Help: "seconds, or 90m, 24h; 0 is none"}),
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "set user_1 name alice", Says: "a row that stays", Setup: []string{"use demo"}},
			{Line: "set user_1 session 42 3600", Says: "a row for one hour", Setup: []string{"use demo"}},
			{Line: `set user_1 "raw \x00\xff" ""`, Says: "any bytes, and an empty value", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"get", "del", "ttl"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return set(ctx, env, call)
		},
	}
}

func set(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	value := call.Arg(2)
	ttl, err := spec.ParseDuration(call.Arg(3), time.Second)
	if err != nil {
		return nil, err
	}
	if err := checkTTL(ttl); err != nil {
		return nil, err
	}
	if err := checkWrite(call.Arg(0), call.Arg(1), value); err != nil {
		return nil, err
	}
	c, k, err := openKey(ctx, env, call)
	if err != nil {
		return nil, err
	}
	return writePlan("set", k, func(ctx context.Context) (driver.Ack, error) {
		return c.Set(ctx, k.table, []byte(k.hash), []byte(k.sort), []byte(value), ttl)
	}), nil
}
