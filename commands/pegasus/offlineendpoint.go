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

// OfflineEndpoint takes a node out of service.
func OfflineEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "offlineendpoint",
		Systems: systems,
		Topic:   "failover",
		Summary: "take a replica server out of service: move its primaries, then its secondaries away",
		Long: "For a live node: no more replicas are placed on it, each primary on it changes places with a secondary, and its " +
			"secondaries leave the configuration; each step is checked before the next. Then its process can be stopped. " +
			"For a dead node: waits until the meta server has taken it out of every partition. The meta level is held at steady " +
			"meanwhile. A partition whose last live replica is on the node blocks it.",
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the replica server, or the end of it from a dot on"}},
		Examples: []spec.Example{
			{Line: "offlineendpoint .32:34801 --plan", Says: "what would move where"},
			{Line: "offlineendpoint .32:34801 --yes", Says: "move it; its process can be stopped afterwards"},
		},
		SeeAlso: []string{"recoverendpoint", "doctor", "confset"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return offline(ctx, env, call)
		},
	}
}

func offline(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	c, err := openHealer(ctx, env, call)
	if err != nil {
		return nil, err
	}
	node, alive, err := findNode(ctx, c, call.Arg(0))
	if err != nil {
		return nil, err
	}
	level, err := c.MetaLevel(ctx)
	if err != nil {
		return nil, err
	}
	all, err := everyPartition(ctx, c)
	if err != nil {
		return nil, err
	}
	if !alive[node] {
		return offlineDead(c, call, node, level, all), nil
	}
	black, err := c.BlackList(ctx)
	if err != nil {
		return nil, err
	}
	return offlineLive(c, call, node, level, all, alive, slices.Contains(black, node)), nil
}

// offlineLive plans the drain of a node that still serves.
func offlineLive(
	c healer, call *spec.Call, node, level string, all []*driver.AppPartitions, alive map[string]bool, black bool,
) *spec.Plan {
	p := &spec.Plan{Title: fmt.Sprintf("take %s of %s out of service", node, call.Cluster), Name: call.Arg(0)}
	var move, remove []spec.Step
	load := primaryLoad(all)
	for _, a := range all {
		for _, part := range a.Partitions {
			if !holdsReplica(part, node) {
				continue
			}
			at := partitionAt{a.Name, a.AppID, part.Index}
			others := liveOthers(part, node, alive)
			if len(others) == 0 {
				// Forced or not, nothing can be moved: it is gone when the process stops.
				p.Blockers = append(p.Blockers, spec.Blocker{Object: at.String(), Why: "its last live replica is on " + node})
				continue
			}
			if part.Primary == node {
				to := leastLoaded(others, load)
				load[to]++
				move = append(move, movePrimaryStep(c, at, node, to))
			}
			if len(others) == 1 && part.MaxReplicas > 2 {
				p.Notes = append(p.Notes, at.String()+" will have one live replica and take no writes until another one has learned")
			}
			remove = append(remove, removeStep(c, at, node))
		}
	}
	if !black {
		p.Steps = append(p.Steps, blackListStep(c, node, true))
	}
	p.Steps = slices.Concat(p.Steps, move, remove)
	if level != levelSteady && len(move)+len(remove) > 0 {
		p.Holds = append(p.Holds, holdLevel(c, "meta level", levelSteady, false))
		p.Notes = append(p.Notes, fmt.Sprintf("the meta level is %s; it is held at steady meanwhile, which lets the cluster heal", level))
	}
	if len(p.Steps) > 0 {
		p.Notes = append(p.Notes, "afterwards "+node+" holds nothing and can be stopped; recoverendpoint "+node+" takes it back")
	}
	return p
}

func liveOthers(part driver.Partition, node string, alive map[string]bool) []string {
	var others []string
	for _, e := range append([]string{part.Primary}, part.Secondaries...) {
		if e != "" && e != node && alive[e] {
			others = append(others, e)
		}
	}
	return others
}

// primaryLoad counts the primaries on each node.
func primaryLoad(all []*driver.AppPartitions) map[string]int {
	load := map[string]int{}
	for _, a := range all {
		for _, part := range a.Partitions {
			load[part.Primary]++
		}
	}
	return load
}

func leastLoaded(nodes []string, load map[string]int) string {
	return slices.MinFunc(nodes, func(a, b string) int { return load[a] - load[b] })
}

func movePrimaryStep(c healer, at partitionAt, from, to string) spec.Step {
	moved := func(p driver.Partition) bool { return p.Primary != from && p.Primary != "" }
	return spec.Step{
		Text: fmt.Sprintf("move the primary of %s to %s", at, to), Objects: []string{at.String()}, Class: spec.Risky,
		Undo: fmt.Sprintf("changeleader %s %d %s", at.table, at.index, from),
		Check: func(ctx context.Context) (spec.State, error) {
			p, err := at.look(ctx, c)
			if err == nil && moved(p) {
				return spec.State{Kind: spec.Done, Why: "its primary is " + p.Primary}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			b := driver.Balance{AppID: at.appID, Partition: at.index, Kind: driver.MovePrimary, From: from, To: to}
			if err := c.Balance(ctx, b); err != nil {
				return err
			}
			return at.await(ctx, c, report, moved)
		},
	}
}

// removeStep takes a node's replica out of a partition's configuration.
func removeStep(c healer, at partitionAt, node string) spec.Step {
	gone := func(p driver.Partition) bool { return !holdsReplica(p, node) }
	return spec.Step{
		Text: "take the replica of " + at.String() + " off " + node, Objects: []string{at.String()}, Class: spec.Risky,
		Check: func(ctx context.Context) (spec.State, error) {
			p, err := at.look(ctx, c)
			if err == nil && gone(p) {
				return spec.State{Kind: spec.Done, Why: "it is not there"}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			now, err := at.look(ctx, c)
			if err != nil {
				return err
			}
			proposal := driver.Proposal{
				AppID: at.appID, Partition: at.index, Target: now.Primary, Node: node, Type: "DOWNGRADE_TO_INACTIVE",
			}
			if err := c.Propose(ctx, proposal); err != nil {
				return err
			}
			return at.await(ctx, c, report, gone)
		},
	}
}

// blackListStep keeps the meta server from placing replicas on a node, or lets it again.
func blackListStep(c healer, node string, out bool) spec.Step {
	st := spec.Step{
		Text: "place no more replicas on " + node, Objects: []string{node}, Class: spec.Risky, Undo: "recoverendpoint " + node,
		Check: func(ctx context.Context) (spec.State, error) {
			list, err := c.BlackList(ctx)
			if err == nil && slices.Contains(list, node) == out {
				return spec.State{Kind: spec.Done}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			list, err := c.BlackList(ctx)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(e string) bool { return e == node })
			if out {
				list = append(list, node)
			}
			report.Detail("black list: %v", list)
			return c.SetBlackList(ctx, list)
		},
	}
	if !out {
		st.Text, st.Undo, st.Class = "let replicas be placed on "+node+" again", "", spec.Alter
	}
	return st
}

// offlineDead plans the wait for the meta server to get by without a node that is down.
func offlineDead(c healer, call *spec.Call, node, level string, all []*driver.AppPartitions) *spec.Plan {
	p := &spec.Plan{Title: fmt.Sprintf("take the dead %s of %s out of service", node, call.Cluster), Name: call.Arg(0)}
	var still []string
	for _, a := range all {
		for _, part := range a.Partitions {
			if holdsReplica(part, node) {
				still = append(still, partitionAt{a.Name, a.AppID, part.Index}.String())
			}
		}
	}
	if len(still) == 0 {
		p.Notes = []string{"no partition counts on " + node}
		return p
	}
	if !cures(level) {
		p.Holds = append(p.Holds, holdLevel(c, "meta level", levelSteady, false))
		p.Notes = append(p.Notes, fmt.Sprintf("the meta level is %s, at which nothing is cured; it is held at steady meanwhile", level))
	}
	if call.Wait >= 0 {
		st := awaitWithout(c, node, call.Wait).step()
		st.Class = spec.Risky
		p.Steps = append(p.Steps, st)
	}
	return p
}

// awaitWithout waits until a node is in no configuration, and then names the partitions that have no primary.
func awaitWithout(c healer, node string, limit time.Duration) waiting {
	return waiting{
		text: "wait until no partition counts on " + node, objects: []string{node}, limit: limit,
		hint: "the same line again goes on waiting; showopstatus shows what the cluster does",
		look: func(ctx context.Context) (bool, string, error) {
			_, alive, err := findNode(ctx, c, node)
			if err != nil {
				return false, "", err
			}
			all, err := everyPartition(ctx, c)
			if err != nil {
				return false, "", err
			}
			left, orphans := 0, []string(nil)
			for _, a := range all {
				for _, part := range a.Partitions {
					heir := len(liveOthers(part, node, alive)) > 0 || slices.ContainsFunc(part.LastDrops, func(e string) bool { return alive[e] })
					switch {
					case holdsReplica(part, node), part.Primary == "" && heir: // the meta server is about to choose
						left++
					case part.Primary == "":
						orphans = append(orphans, partitionAt{a.Name, a.AppID, part.Index}.String())
					}
				}
			}
			switch {
			case left > 0:
				return false, fmt.Sprintf("%s still %s on it", plural(left, "partition"), counts(left)), nil
			case len(orphans) > 0:
				return false, "", spec.Errorf(spec.PartlyDone, "%s no primary, because all their replicas are down: %v", plural(len(orphans), "partition")+" have", orphans).
					WithHint("start the nodes that hold them; app TABLE -d shows which did last")
			}
			return true, "every partition has a primary", nil
		},
	}
}

func counts(n int) string {
	if n == 1 {
		return "counts"
	}
	return "count"
}
