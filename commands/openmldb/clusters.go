package openmldb

import (
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowRepCluster lists the clusters that follow this one.
func ShowRepCluster(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "showrepcluster",
		Systems:  systems,
		Topic:    "cluster",
		Summary:  "list the clusters that follow this one",
		Examples: []spec.Example{{Line: "showrepcluster", Says: "who follows, and since when it is in its state"}},
		SeeAlso:  []string{"addrepcluster", "removerepcluster", "switchmode"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := c.ReplicaClusters(ctx)
			if err != nil {
				return nil, err
			}
			rows := make([]spec.Row, len(all))
			for i, r := range all {
				rows[i] = spec.Row{r.ZK, r.Root, r.Alias, r.State, r.Age}
			}
			return &spec.Table{
				Columns: []spec.Column{{Name: "zk_endpoints"}, {Name: "zk_path"}, {Name: "alias"}, {Name: "state"}, {Name: "age", Kind: spec.Duration}},
				Rows:    spec.RowsOf(rows...),
			}, nil
		},
	}
}

// AddRepCluster has another cluster follow this one.
func AddRepCluster(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "addrepcluster",
		Systems: systems,
		Topic:   "cluster",
		Summary: "have another cluster follow this one",
		Long:    "This cluster must be in leader mode (switchmode leader), and the other one empty.",
		Args: []spec.Arg{
			{Name: "zk_endpoints", Help: "the other cluster's ZooKeeper servers, joined by commas"},
			{Name: "zk_path", Help: "its root there"},
			{Name: "alias", Help: "what it is called here"},
		},
		SeeAlso: []string{"showrepcluster", "switchmode", "synctable"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			r := driver.ReplicaCluster{ZK: line.Arg(0), Root: line.Arg(1), Alias: line.Arg(2)}
			return oneStep("adrepcluster ok", spec.Step{
				Text: fmt.Sprintf("have %s at %s%s follow", r.Alias, r.ZK, r.Root), Objects: []string{r.Alias}, Class: spec.Risky,
				Undo: "removerepcluster " + r.Alias, Check: follows(c, r.Alias, true),
				Apply: call(func(ctx context.Context) error { return c.AddReplicaCluster(ctx, r) }),
			}), nil
		},
	}
}

func follows(c metadata, alias string, want bool) func(context.Context) (spec.State, error) {
	return func(ctx context.Context) (spec.State, error) {
		all, err := c.ReplicaClusters(ctx)
		found := slices.ContainsFunc(all, func(r driver.ReplicaCluster) bool { return r.Alias == alias })
		switch {
		case err != nil:
			return spec.State{}, err
		case found != want:
			return todo, nil
		case want:
			return done("%s follows", alias), nil
		}
		return done("no cluster %s follows", alias), nil
	}
}

// RemoveRepCluster ends the following of a cluster.
func RemoveRepCluster(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "removerepcluster",
		Systems: systems,
		Topic:   "cluster",
		Summary: "end the following of another cluster",
		Long:    "The other cluster keeps what it has, and is not kept up to date any more.",
		Args:    []spec.Arg{{Name: "alias", Help: "what it is called here"}},
		SeeAlso: []string{"showrepcluster", "addrepcluster"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			alias := line.Arg(0)
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			all, err := c.ReplicaClusters(ctx)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(all, func(r driver.ReplicaCluster) bool { return r.Alias == alias })
			if i < 0 {
				return nil, spec.Errorf(spec.NotFound, "no cluster %q follows", alias).WithHint("showrepcluster lists them")
			}
			return oneStep("remove replica cluster ok", spec.Step{
				Text: "end the following of " + alias, Objects: []string{alias}, Class: spec.Destroy,
				Undo: fmt.Sprintf("addrepcluster %s %s %s", all[i].ZK, all[i].Root, alias), Check: follows(c, alias, false),
				Apply: call(func(ctx context.Context) error { return c.RemoveReplicaCluster(ctx, alias) }),
			}), nil
		},
	}
}

// SwitchMode makes the cluster one that others may follow, or not.
func SwitchMode(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "switchmode",
		Systems: systems,
		Topic:   "cluster",
		Summary: "let other clusters follow this one, or stand alone",
		Args:    []spec.Arg{{Name: "mode", Kind: spec.ArgEnum, Values: []string{"normal", "leader"}, Help: "normal stands alone, leader is followed"}},
		Examples: []spec.Example{
			{Line: "switchmode leader --yes", Says: "others may follow from now on"},
		},
		SeeAlso: []string{"addrepcluster", "showrepcluster"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			mode := line.Arg(0)
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			return oneStep("switchmode ok", spec.Step{
				Text: "switch " + line.Cluster + " to " + mode + " mode", Objects: []string{line.Cluster}, Class: spec.Risky,
				Undo:  "switchmode " + flip(mode, "normal", "leader"),
				Apply: call(func(ctx context.Context) error { return c.SwitchMode(ctx, mode) }),
			}), nil
		},
	}
}

// SyncTable copies a table to a cluster that follows.
func SyncTable(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "synctable",
		Systems: systems,
		Topic:   "cluster",
		Summary: "copy a table to a cluster that follows, and keep it up to date",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "alias", Help: "the cluster that follows"},
			{Name: "pid", Kind: spec.ArgInt, Optional: true, Help: "only this partition"},
		},
		SeeAlso: []string{"addrepcluster", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			pid := -1
			if line.Arg(2) != "" {
				n, err := partitionOf(t, line.Arg(2))
				if err != nil {
					return nil, err
				}
				pid = int(n)
			}
			name, alias := t.TableName, line.Arg(1)
			return oneStep("synctable ok", spec.Step{
				Text: fmt.Sprintf("copy %s to %s", name, alias), Objects: []string{name.String()}, Class: spec.Risky,
				Apply: func(ctx context.Context, report spec.Report) error {
					return causes(ctx, c, line.Wait, report, func(ctx context.Context) error {
						return c.SyncTable(ctx, name, alias, pid)
					})
				},
			}), nil
		},
	}
}
