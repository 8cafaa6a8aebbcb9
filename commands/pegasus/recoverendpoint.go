package pegasus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// RecoverEndpoint takes a node back into service.
func RecoverEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recoverendpoint",
		Systems: systems,
		Topic:   "failover",
		Summary: "take a replica server back into service and wait until it serves its share",
		Long: "Lets replicas be placed on the node again and waits until every partition has all its replicas. The node must be up. " +
			"The meta level is held at steady meanwhile where it would not heal.",
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the replica server, or the end of it: .32"}},
		Examples: []spec.Example{
			{Line: "recoverendpoint .32:34801", Says: "after its process was started", Setup: []string{"offlineendpoint .32:34801 --yes"}},
		},
		SeeAlso: []string{"offlineendpoint", "doctor"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return recoverNode(ctx, env, call)
		},
	}
}

func recoverNode(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	f, err := newFailover(ctx, env, call)
	if err != nil {
		return nil, err
	}
	if !f.nodes[f.node] {
		return nil, &spec.Error{
			Kind: spec.Refused, Op: "recoverendpoint", Err: fmt.Errorf("%s is down", f.node), Hint: "start its process first; nodes shows when it is up",
		}
	}
	black, err := f.c.BlackList(ctx)
	if err != nil {
		return nil, err
	}
	p := &spec.Plan{Title: fmt.Sprintf("take %s of %s back into service", f.node, call.Cluster), Name: f.node}
	if slices.Contains(black, f.node) {
		p.Steps = append(p.Steps, blackListStep(f.c, f.node, false))
	}
	short := f.missing()
	if len(p.Steps) == 0 && short == 0 {
		p.Notes = []string{f.node + " is in service and no partition lacks a replica"}
		return p, nil
	}
	f.healMeanwhile(p)
	if call.Wait >= 0 {
		p.Steps = append(p.Steps, f.awaitWhole(short, call.Wait).step())
	}
	return p, nil
}

// missing counts the partitions that lack replicas which live nodes could hold.
func (f *failover) missing() (short int) {
	up := 0
	for _, is := range f.nodes {
		up += one(is)
	}
	for at := range f.places() {
		short += one(at.was.Primary == "" || replicasOf(at.was) < min(at.was.MaxReplicas, up))
	}
	return short
}

// awaitWhole waits until no partition lacks a replica that a live node could hold; total did at first.
func (f *failover) awaitWhole(total int, limit time.Duration) waiting {
	short := total
	return waiting{
		text: "wait until every partition has all its replicas", objects: []string{f.node}, limit: limit,
		hint: "the same line again goes on waiting; showopstatus shows what is being copied",
		look: func(ctx context.Context) (bool, string, error) {
			now, err := f.again(ctx)
			if err != nil {
				return false, "", err
			}
			if short = now.missing(); short > 0 {
				return false, fmt.Sprintf("%s without all replicas", commands.Plural(short, "partition")), nil
			}
			held := 0
			for at := range now.places() {
				held += one(holdsReplica(at.was, f.node))
			}
			return true, fmt.Sprintf("%s holds %s", f.node, commands.Plural(held, "replica")), nil
		},
		progress: func() (int, int, string) { return max(total-short, 0), max(total, short), "partitions" },
	}
}
