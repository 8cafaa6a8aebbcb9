package openmldb

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// ConnectZK has the nameserver open a session with ZooKeeper again.
func ConnectZK(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "connectzk",
		Systems:  systems,
		Topic:    "cluster",
		Summary:  "have the nameserver connect to ZooKeeper again",
		SeeAlso:  []string{"disconnectzk", "showns"},
		Examples: []spec.Example{{Line: "connectzk", Says: "after disconnectzk"}},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			return oneStep("connect zk ok", spec.Step{
				Text: "connect the nameserver to ZooKeeper", Objects: []string{line.Cluster}, Class: spec.Alter, Apply: call(c.ConnectZK),
			}), nil
		},
	}
}

// DisconnectZK has the nameserver drop its session with ZooKeeper.
func DisconnectZK(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "disconnectzk",
		Systems: systems,
		Topic:   "cluster",
		Summary: "have the nameserver drop its ZooKeeper session, for drills",
		Long:    "The leading nameserver loses the lead with it, and another one takes over.",
		SeeAlso: []string{"connectzk", "showns"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			return oneStep("disconnect zk ok", spec.Step{
				Text: "disconnect the leading nameserver from ZooKeeper", Objects: []string{line.Cluster}, Class: spec.Risky,
				Undo: "connectzk", Apply: call(c.DisconnectZK),
			}), nil
		},
	}
}
