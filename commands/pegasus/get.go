package pegasus

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// Get reads a row.
func Get(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "get",
		Systems: systems,
		Topic:   "rows",
		Summary: "read one row of the table in use",
		Long: "Reads a value from the primary replica of its partition. " +
			"A row that is not there, or whose time to live is over, is an error, exit code 1.",
		Args:       keyArgs,
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "get user_3 name", Says: "the value, and where it was", Setup: []string{"use demo", "set user_3 name carol"}},
			{
				Line: `get user_3 "raw \x00\xff"`, Says: "a key that cannot be typed",
				Setup: []string{"use demo", `set user_3 "raw \x00\xff" "\x01"`},
			},
		},
		SeeAlso: []string{"set", "exist", "ttl", "scan"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openKey(ctx, env, call)
			if err != nil {
				return nil, err
			}
			value, found, ack, err := c.Get(ctx, k.table, []byte(k.hash), []byte(k.sort))
			switch {
			case err != nil:
				return nil, err
			case !found:
				return nil, noRow("get", k, ack)
			}
			return keyRecord(k, spec.Column{Name: "value", Kind: spec.Bytes}, value, ack), nil
		},
	}
}
