package openmldb

import (
	"context"
	"fmt"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// autoFailover is the only setting nameservers know.
const autoFailover = "auto_failover"

// ConfGet shows the nameserver's settings.
func ConfGet(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "confget",
		Systems:  systems,
		Topic:    "failover",
		Summary:  "show whether the cluster fails over by itself",
		Long:     "auto_failover is the only setting that nameservers have.",
		Args:     []spec.Arg{{Name: "key", Kind: spec.ArgEnum, Values: []string{autoFailover}, Optional: true, Help: "only this one"}},
		Examples: []spec.Example{{Line: "confget", Says: "whether auto_failover is on"}},
		SeeAlso:  []string{"confset", "offlineendpoint"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := c.Conf(ctx)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, s := range all {
				if call.Arg(0) == "" || call.Arg(0) == s.Key {
					rows = append(rows, spec.Row{s.Key, s.Value})
				}
			}
			return &spec.Table{Columns: spec.Columns("key", "value"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// ConfSet changes the nameserver's settings.
func ConfSet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "confset",
		Systems: systems,
		Topic:   "failover",
		Summary: "switch automatic failover off and on",
		Long: "With auto_failover off, a tablet that dies keeps its leaders until offlineendpoint is run, and one that comes back " +
			"takes part only after recoverendpoint. Those words, changeleader, migrate and recovertable are refused while it is on. " +
			"Operations that are queued already go on.",
		Args: []spec.Arg{
			{Name: "key", Kind: spec.ArgEnum, Values: []string{autoFailover}, Help: "the switch"},
			{Name: "value", Kind: spec.ArgEnum, Values: []string{"true", "false"}, Help: "on or off"},
		},
		Examples: []spec.Example{
			{Line: "confset auto_failover false --yes", Says: "failover is by hand from now on"},
			{Line: "confset auto_failover true", Says: "the cluster looks after itself again", Setup: []string{"confset auto_failover false --yes"}},
		},
		SeeAlso: []string{"confget", "offlineendpoint", "recoverendpoint", "doctor"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			key, value := line.Arg(0), line.Arg(1)
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			step := spec.Step{
				Text: fmt.Sprintf("set %s %s", key, value), Objects: []string{line.Cluster}, Class: spec.Alter,
				Undo: fmt.Sprintf("confset %s %s", key, flip(value, "true", "false")),
				Check: func(ctx context.Context) (spec.State, error) {
					on, err := c.AutoFailover(ctx)
					if err == nil && fmt.Sprint(on) == value {
						return done("it is %s", value), nil
					}
					return todo, err
				},
				Apply: call(func(ctx context.Context) error { return c.SetConf(ctx, key, value) }),
			}
			if value == "false" {
				step.Class = spec.Risky
			}
			p := oneStep("set "+key+" ok", step)
			p.Title, p.Name = fmt.Sprintf("set %s of %s to %s", key, line.Cluster, value), line.Cluster
			if value == "true" {
				p.Ends = []string{autoFailover}
			}
			return p, nil
		},
	}
}
