package pegasus

import (
	"context"
	"fmt"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// autoFailover is the setting that stands for healing: the meta level at steady or above.
const autoFailover = "auto_failover"

// ConfGet shows the cluster's switches.
func ConfGet(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "confget",
		Systems:  systems,
		Topic:    "failover",
		Summary:  "show whether the cluster heals by itself",
		Long:     "auto_failover is true at the meta levels steady and lively, at which the meta server moves primaries off dead nodes and adds replicas.",
		Args:     []spec.Arg{{Name: "key", Kind: spec.ArgEnum, Values: []string{autoFailover, "meta_level"}, Optional: true, Help: "only this one"}},
		Examples: []spec.Example{{Line: "confget", Says: "auto_failover and the meta level behind it"}},
		SeeAlso:  []string{"confset", "get_meta_level"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			_, level, err := openLevel(ctx, env, call)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, row := range []spec.Row{{autoFailover, fmt.Sprint(cures(level))}, {"meta_level", level}} {
				if call.Arg(0) == "" || call.Arg(0) == row[0] {
					rows = append(rows, row)
				}
			}
			return &spec.Table{Columns: spec.Columns("key", "value"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// ConfSet switches healing off and on.
func ConfSet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "confset",
		Systems: systems,
		Topic:   "failover",
		Summary: "switch healing off and on",
		Long: "auto_failover false sets the meta level to freezed and remembers what it was; true puts that back, or steady when " +
			"nobody remembers. While it is off the cluster takes no primary off a dead node.",
		Args: []spec.Arg{
			{Name: "key", Kind: spec.ArgEnum, Values: []string{autoFailover}, Help: "the switch"},
			{Name: "value", Kind: spec.ArgEnum, Values: []string{"true", "false"}, Help: "on or off"},
		},
		Examples: []spec.Example{
			{Line: "confset auto_failover false --yes", Says: "nothing moves by itself from now on"},
			{Line: "confset auto_failover true --yes", Says: "back to the level of before", Setup: []string{"confset auto_failover false --yes"}},
		},
		SeeAlso: []string{"confget", "set_meta_level", "holds"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, level, err := openLevel(ctx, env, call)
			if err != nil {
				return nil, err
			}
			if call.Arg(1) == "false" {
				return healingOff(c, call, level), nil
			}
			held, err := env.Holds(call.Cluster)
			if err != nil {
				return nil, err
			}
			return healingOn(c, call, level, held), nil
		},
	}
}

func healingOff(c client, call *spec.Call, level string) *spec.Plan {
	p := &spec.Plan{Title: "switch auto_failover of " + call.Cluster + " off", Name: call.Cluster}
	if !cures(level) {
		p.Notes = []string{"the meta level is " + level + ": nothing is cured already"}
		return p
	}
	p.Holds = []spec.Hold{holdLevel(c, autoFailover, levelFreezed, true)}
	p.Steps = []spec.Step{{
		Text: "set auto_failover false", Objects: []string{call.Cluster}, Class: spec.Risky, Undo: "confset auto_failover true",
		Apply: func(ctx context.Context, report spec.Report) error {
			now, err := c.MetaLevel(ctx) // the hold has set it
			if err == nil && cures(now) {
				err = spec.Errorf(spec.Failed, "the meta level is %s", now)
			}
			report.Detail("meta level %s, it was %s", now, level)
			return err
		},
	}}
	return p
}

func healingOn(c client, call *spec.Call, level string, held []commands.Held) *spec.Plan {
	p := &spec.Plan{Title: "switch auto_failover of " + call.Cluster + " on", Name: call.Cluster, Ends: []string{autoFailover}}
	to, class := levelSteady, spec.Risky
	for _, h := range held {
		if h.Setting == autoFailover && cures(h.Was) {
			to, class = h.Was, spec.Alter
		}
	}
	if cures(level) {
		p.Notes = []string{"the meta level is " + level + ": the cluster heals already"}
		return p
	}
	if class == spec.Risky {
		p.Notes = []string{"the level of before is not known: steady is used, which heals and does not balance"}
	}
	p.Steps = []spec.Step{{
		Text: "set auto_failover true", Objects: []string{call.Cluster}, Class: class, Undo: "confset auto_failover false",
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := c.MetaLevel(ctx)
			if err == nil && now == to {
				return spec.State{Kind: spec.Done, Why: "meta level " + now}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			report.Detail("meta level %s, it was %s", to, level)
			_, err := c.SetMetaLevel(ctx, to)
			return err
		},
	}}
	return p
}
