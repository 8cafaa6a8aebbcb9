package pegasus

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// TTL tells how long a row has left.
func TTL(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "ttl",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "show how long one row of the table in use has left",
		Long:       "Shows a row's time to live, in whole seconds, or that it has none. A row that is not there is an error, exit code 1.",
		Args:       keyArgs,
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "ttl user_5 session", Says: "what is left of a day", Setup: []string{"use demo", "set user_5 session 42 24h"}},
			{Line: "ttl user_5 name", Says: "none: the row stays", Setup: []string{"use demo", "set user_5 name erin"}},
		},
		SeeAlso: []string{"set", "get", "exist"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openKey(ctx, env, call)
			if err != nil {
				return nil, err
			}
			left, found, ack, err := c.TTL(ctx, k.table, []byte(k.hash), []byte(k.sort))
			switch {
			case err != nil:
				return nil, err
			case !found:
				return nil, noRow("ttl", k, ack)
			}
			var cell any
			if left >= 0 {
				cell = left
			}
			return keyRecord(k, spec.Column{Name: "ttl", Kind: spec.Duration}, cell, ack), nil
		},
	}
}
