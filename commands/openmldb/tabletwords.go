package openmldb

import (
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ChangeRole makes a leader or a follower of a partition on a tablet.
func ChangeRole(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "changerole",
		Systems: systems,
		Topic:   "tablet",
		Summary: "make a tablet lead or follow for a partition, past the nameserver",
		Long: "The nameserver does not learn of it, and clients still go where it sends them: changeleader is what one wants. A " +
			"leader made so has no followers until they are added.",
		Args: append(slices.Clone(tidPID),
			spec.Arg{Name: "role", Kind: spec.ArgEnum, Values: []string{"leader", "follower"}, Help: "the new one"},
			spec.Arg{Name: "term", Kind: spec.ArgInt, Optional: true, Help: "the leader's term"}),
		SeeAlso: []string{"changeleader", "gettablestatus", "on"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			to := driver.TabletRole{Leader: line.Arg(2) == "leader"}
			if line.Arg(3) != "" {
				if line.ArgInt(3) < 0 {
					return nil, spec.Errorf(spec.Usage, "a term is not negative")
				}
				to.Term = uint64(line.ArgInt(3))
			}
			o, err := openOn(ctx, env, line, 0)
			if err != nil {
				return nil, err
			}
			mode := map[bool]string{true: "kTableLeader", false: "kTableFollower"}[to.Leader]
			return oneStep("ChangeRole ok", spec.Step{
				Text: fmt.Sprintf("make %s the %s of %d/%d", o.tablet, line.Arg(2), o.tid, o.pid), Objects: []string{o.object()}, Class: spec.Risky,
				Undo: fmt.Sprintf("on %s changerole %d %d %s", o.tablet, o.tid, o.pid, flip(line.Arg(2), "leader", "follower")),
				Check: func(ctx context.Context) (spec.State, error) {
					p, err := o.status(ctx)
					switch {
					case err != nil:
						return spec.State{}, err
					case p == nil:
						return blocked("%s does not have it", o.tablet), nil
					case p.Mode == mode:
						return done("it is %s", mode), nil
					}
					return todo, nil
				},
				Apply: call(func(ctx context.Context) error { return o.TabletChangeRole(ctx, o.tablet, o.tid, o.pid, to) }),
			}), nil
		},
	}
}

// PauseSnapshot keeps a partition from making snapshots.
func PauseSnapshot(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "pausesnapshot",
		Systems: systems,
		Topic:   "tablet",
		Summary: "keep a partition from making snapshots, so that the last one can be copied",
		Args:    tidPID,
		SeeAlso: []string{"recoversnapshot", "sendsnapshot", "on"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			o, err := openOn(ctx, env, line, 0)
			if err != nil {
				return nil, err
			}
			return oneStep("PauseSnapshot ok", spec.Step{
				Text: "pause snapshots of " + o.object(), Objects: []string{o.object()}, Class: spec.Alter,
				Undo:  fmt.Sprintf("on %s recoversnapshot %d %d", o.tablet, o.tid, o.pid),
				Check: o.inState("kSnapshotPaused"),
				Apply: call(func(ctx context.Context) error { return o.TabletPauseSnapshot(ctx, o.tablet, o.tid, o.pid) }),
			}), nil
		},
	}
}

// RecoverSnapshot lets a partition make snapshots again.
func RecoverSnapshot(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recoversnapshot",
		Systems: systems,
		Topic:   "tablet",
		Summary: "let a partition make snapshots again",
		Args:    tidPID,
		SeeAlso: []string{"pausesnapshot", "on"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			o, err := openOn(ctx, env, line, 0)
			if err != nil {
				return nil, err
			}
			return oneStep("RecoverSnapshot ok", spec.Step{
				Text: "let " + o.object() + " make snapshots again", Objects: []string{o.object()}, Class: spec.Alter,
				Undo:  fmt.Sprintf("on %s pausesnapshot %d %d", o.tablet, o.tid, o.pid),
				Check: o.inState("kTableNormal"),
				Apply: call(func(ctx context.Context) error { return o.TabletRecoverSnapshot(ctx, o.tablet, o.tid, o.pid) }),
			}), nil
		},
	}
}

// SendSnapshot copies a partition's snapshot to another tablet.
func SendSnapshot(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "sendsnapshot",
		Systems: systems,
		Topic:   "tablet",
		Summary: "have a tablet send a partition's snapshot to another one",
		Long:    "Snapshots of the partition are to be paused. The other tablet may not have the partition loaded.",
		Args:    append(slices.Clone(tidPID), spec.Arg{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "the tablet that gets it"}),
		SeeAlso: []string{"pausesnapshot", "loadtable", "on"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			o, err := openOn(ctx, env, line, 0)
			if err != nil {
				return nil, err
			}
			to, err := match(ctx, o, line.Arg(2))
			if err != nil {
				return nil, err
			}
			return oneStep("SendSnapshot ok", spec.Step{
				Text: fmt.Sprintf("send the snapshot of %s to %s", o.object(), to), Objects: []string{o.object()}, Class: spec.Risky,
				Check: func(ctx context.Context) (spec.State, error) {
					p, err := o.status(ctx)
					if err == nil && p == nil {
						return blocked("%s does not have it", o.tablet), nil
					}
					return todo, err
				},
				Apply: call(func(ctx context.Context) error { return o.TabletSendSnapshot(ctx, o.tablet, o.tid, o.pid, to) }),
			}), nil
		},
	}
}

// SetExpire switches the expiry of rows on a tablet.
func SetExpire(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "setexpire",
		Systems: systems,
		Topic:   "tablet",
		Summary: "switch the expiry of a partition's rows on a tablet on or off",
		Args:    append(slices.Clone(tidPID), spec.Arg{Name: "expire", Kind: spec.ArgBool, Help: "whether rows expire"}),
		SeeAlso: []string{"setttl", "gettablestatus", "on"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			o, err := openOn(ctx, env, line, 0)
			if err != nil {
				return nil, err
			}
			on := line.ArgBool(2)
			class := spec.Alter
			if on {
				class = spec.Risky // rows that have outlived their TTL go at once
			}
			return oneStep("setexpire ok", spec.Step{
				Text: fmt.Sprintf("set the expiry of %s to %t", o.object(), on), Objects: []string{o.object()}, Class: class,
				Undo: fmt.Sprintf("on %s setexpire %d %d %t", o.tablet, o.tid, o.pid, !on),
				Check: func(ctx context.Context) (spec.State, error) {
					p, err := o.status(ctx)
					switch {
					case err != nil:
						return spec.State{}, err
					case p == nil:
						return blocked("%s does not have it", o.tablet), nil
					case p.Expires == on:
						return done("it is %t", on), nil
					}
					return todo, nil
				},
				Apply: call(func(ctx context.Context) error { return o.TabletSetExpire(ctx, o.tablet, o.tid, o.pid, on) }),
			}), nil
		},
	}
}
