package openmldb

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowNS lists the nameservers.
func ShowNS(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "showns",
		Systems: systems,
		Topic:   "cluster",
		Summary: "list the nameservers and which of them leads",
		Long: "As they are registered in ZooKeeper, the leader first; a cluster that was opened by a list of nameservers has that " +
			"list, each one asked.",
		Examples: []spec.Example{{Line: "showns", Says: "who leads, and who stands by"}},
		SeeAlso:  []string{"showtablet", "showsdkendpoint"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := c.Nameservers(ctx)
			if err != nil {
				return nil, err
			}
			rows := make([]spec.Row, len(all))
			for i, n := range all {
				rows[i] = spec.Row{n.Endpoint, commands.Word(n.RealEndpoint), n.Role}
			}
			return &spec.Table{Columns: spec.Columns("endpoint", "real_endpoint", "role"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}
