package pegasus

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// Exist tells whether a row is there.
func Exist(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "exist",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "tell whether one row of the table in use is there",
		Long:       "Asks without reading the value. Both answers are success; a row whose time to live is over is not there.",
		Args:       keyArgs,
		FlagsFirst: true,
		Examples: []spec.Example{
			{Line: "exist user_4 name", Says: "yes", Setup: []string{"use demo", "set user_4 name dave"}},
			{Line: "exist user_4 nickname", Says: "no, and still exit code 0", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"get", "ttl"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, k, err := openKey(ctx, env, call)
			if err != nil {
				return nil, err
			}
			_, found, ack, err := c.TTL(ctx, k.table, []byte(k.hash), []byte(k.sort))
			if err != nil {
				return nil, err
			}
			return keyRecord(k, spec.Column{Name: "exist", Kind: spec.Bool}, found, ack), nil
		},
	}
}
