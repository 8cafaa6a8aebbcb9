package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// levelMeans says what the meta server does by itself at a level.
var levelMeans = map[string]string{
	"stopped": "nothing at all",
	"blind":   "nothing, not even noting that a primary is dead",
	"freezed": "a dead primary is taken out of its group, and nothing takes its place",
	"steady":  "dead primaries are replaced and missing replicas copied, nothing is balanced",
	"lively":  "replicas are cured, and moved until nodes are evenly loaded",
}

// openLevel returns the call's cluster and its meta level.
func openLevel(ctx context.Context, env commands.Env, call *spec.Call) (c client, level string, err error) {
	if c, err = open(ctx, env, call); err == nil {
		level, err = c.MetaLevel(ctx)
	}
	return c, level, err
}

// GetMetaLevel shows the meta level.
func GetMetaLevel(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "get_meta_level",
		Systems:  systems,
		Topic:    "settings",
		Summary:  "show how much the meta server does by itself",
		Long:     "Asks the meta server for its level: at freezed and below no replica is cured, at lively they are balanced too.",
		Examples: []spec.Example{{Line: "get_meta_level", Says: "the level and what it means"}},
		SeeAlso:  []string{"set_meta_level", "cluster_info"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			_, level, err := openLevel(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return spec.Record(spec.Columns("meta_level", "means"), level, commands.Word(levelMeans[level])), nil
		},
	}
}

// SetMetaLevel changes the meta level.
func SetMetaLevel(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "set_meta_level",
		Systems: systems,
		Topic:   "settings",
		Summary: "choose how much the meta server does by itself",
		Long: "Sets the meta server's level. At freezed and below nobody replaces a node that dies, so those ask first. " +
			"Proposals that wait are forgotten at steady and below. The level is not kept over a change of the leading meta server.",
		Args: []spec.Arg{{Name: "level", Kind: spec.ArgEnum, Values: driver.MetaLevels(), Help: "from nothing (stopped) to everything (lively)"}},
		Examples: []spec.Example{
			{Line: "set_meta_level lively", Says: "have replicas balanced"},
			{Line: "set_meta_level freezed --yes", Says: "have nothing moved, whatever dies"},
		},
		SeeAlso: []string{"get_meta_level", "cluster_info", "balance"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return setMetaLevel(ctx, env, call)
		},
	}
}

func setMetaLevel(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	level := call.Arg(0)
	c, was, err := openLevel(ctx, env, call)
	if err != nil {
		return nil, err
	}
	step := spec.Step{
		Text:    fmt.Sprintf("set the meta level from %s to %s", was, level),
		Objects: []string{"meta level"},
		Class:   spec.Alter,
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := c.MetaLevel(ctx)
			if err == nil && now == level {
				return spec.State{Kind: spec.Done, Why: "the level is " + level}, nil
			}
			return spec.State{Kind: spec.Todo}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			old, err := c.SetMetaLevel(ctx, level)
			if err == nil {
				report.Detail("control meta level ok, the old level is %s", old)
			}
			return err
		},
	}
	if _, known := levelMeans[was]; known && was != level {
		step.Undo = "set_meta_level " + was
	}
	if cures(was) && !cures(level) {
		step.Class = spec.Risky
	}
	return &spec.Plan{
		Title: fmt.Sprintf("set the meta level of %s to %s", call.Cluster, level),
		Notes: []string{level + ": " + levelMeans[level]},
		Steps: []spec.Step{step},
	}, nil
}
