package openmldb

import (
	"context"

	"shardsh/cluster"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowSDKEndpoint lists the addresses that outside clients use.
func ShowSDKEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "showsdkendpoint",
		Systems:  systems,
		Topic:    "cluster",
		Summary:  "list the addresses that clients outside the network use",
		Long:     "A server that is not listed is reached at the address the cluster itself uses.",
		Examples: []spec.Example{{Line: "showsdkendpoint", Says: "which servers have another address outside"}},
		SeeAlso:  []string{"setsdkendpoint", "showns", "showtablet"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := c.SDKEndpoints(ctx)
			if err != nil {
				return nil, err
			}
			rows := make([]spec.Row, len(all))
			for i, e := range all {
				rows[i] = spec.Row{e.Server, commands.Word(e.Endpoint)}
			}
			return &spec.Table{Columns: spec.Columns("endpoint", "sdk_endpoint"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// SetSDKEndpoint gives a server an address for outside clients.
func SetSDKEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "setsdkendpoint",
		Systems: systems,
		Topic:   "cluster",
		Summary: "set the address that clients outside the network use for a server, or take it away",
		Long:    "The server is named by its server name and must be online. The word null takes the address away.",
		Args: []spec.Arg{
			{Name: "server", Kind: spec.ArgText, Help: "its server name"},
			{Name: "address", Kind: spec.ArgText, Help: "host:port, or null", Offers: []string{"null"}},
		},
		SeeAlso: []string{"showsdkendpoint"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			all, err := c.SDKEndpoints(ctx)
			if err != nil {
				return nil, err
			}
			server, err := serverNamed(ctx, c, line.Arg(0))
			if err != nil {
				return nil, err
			}
			address, was := line.Arg(1), "null"
			for _, e := range all {
				if e.Server == server && e.Endpoint != "" {
					was = e.Endpoint
				}
			}
			to := address
			if address == "null" {
				to = ""
			}
			return oneStep("setsdkendpoint ok", spec.Step{
				Text: "set the outside address of " + server + " to " + address, Objects: []string{server}, Class: spec.Risky,
				Undo:  "setsdkendpoint " + server + " " + was,
				Apply: call(func(ctx context.Context) error { return c.SetSDKEndpoint(ctx, server, to) }),
			}), nil
		},
	}
}

// serverNamed is a server's whole name, where a tablet's end is given; any other name is taken as it is, because servers
// may have names that are no addresses.
func serverNamed(ctx context.Context, c client, name string) (string, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	if endpoint, err := cluster.FindNode(name, nodes); err == nil {
		return endpoint, nil
	} else if spec.KindOf(err) == spec.Usage {
		return "", err
	}
	return name, nil
}
