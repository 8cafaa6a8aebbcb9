package pegasus

import (
	"context"
	"fmt"
	"slices"
	"time"

	driver "shardsh/cluster/pegasus"
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
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the replica server, or the end of it from a dot on"}},
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
	c, err := openHealer(ctx, env, call)
	if err != nil {
		return nil, err
	}
	node, alive, err := findNode(ctx, c, call.Arg(0))
	if err != nil {
		return nil, err
	}
	if !alive[node] {
		return nil, &spec.Error{
			Kind: spec.Refused, Op: "recoverendpoint", Err: fmt.Errorf("%s is down", node), Hint: "start its process first; nodes shows when it is up",
		}
	}
	black, err := c.BlackList(ctx)
	if err != nil {
		return nil, err
	}
	all, err := everyPartition(ctx, c)
	if err != nil {
		return nil, err
	}
	level, err := c.MetaLevel(ctx)
	if err != nil {
		return nil, err
	}
	p := &spec.Plan{Title: fmt.Sprintf("take %s of %s back into service", node, call.Cluster), Name: node}
	if slices.Contains(black, node) {
		p.Steps = append(p.Steps, blackListStep(c, node, false))
	}
	short := missing(all, alive)
	if len(p.Steps) == 0 && len(short) == 0 {
		p.Notes = []string{node + " is in service and no partition lacks a replica"}
		return p, nil
	}
	if !cures(level) {
		p.Holds = append(p.Holds, holdLevel(c, "meta level", levelSteady, false))
		p.Notes = append(p.Notes, fmt.Sprintf("the meta level is %s, at which nothing is cured; it is held at steady meanwhile", level))
	}
	if call.Wait >= 0 {
		p.Steps = append(p.Steps, awaitWhole(c, node, call.Wait).step())
	}
	return p, nil
}

// missing names the partitions that lack replicas which live nodes could hold.
func missing(all []*driver.AppPartitions, alive map[string]bool) []string {
	up := 0
	for _, is := range alive {
		up += one(is)
	}
	var short []string
	for _, a := range all {
		for _, part := range a.Partitions {
			if part.Primary == "" || replicasOf(part) < min(part.MaxReplicas, up) {
				short = append(short, partitionAt{a.Name, a.AppID, part.Index}.String())
			}
		}
	}
	return short
}

// awaitWhole waits until no partition lacks a replica that a live node could hold.
func awaitWhole(c healer, node string, limit time.Duration) waiting {
	return waiting{
		text: "wait until every partition has all its replicas", objects: []string{node}, limit: limit,
		hint: "the same line again goes on waiting; showopstatus shows what is being copied",
		look: func(ctx context.Context) (bool, string, error) {
			_, alive, err := findNode(ctx, c, node)
			if err != nil {
				return false, "", err
			}
			all, err := everyPartition(ctx, c)
			if err != nil {
				return false, "", err
			}
			if short := missing(all, alive); len(short) > 0 {
				return false, fmt.Sprintf("%s without all replicas", plural(len(short), "partition")), nil
			}
			held := 0
			for _, a := range all {
				for _, part := range a.Partitions {
					held += one(holdsReplica(part, node))
				}
			}
			return true, fmt.Sprintf("%s holds %s", node, plural(held, "replica")), nil
		},
	}
}
