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
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the replica server, or the end of it: .32"}},
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
	f, err := newFailover(ctx, env, call)
	if err != nil {
		return nil, err
	}
	if !f.nodes[f.node] {
		return f.offlineDead(call), nil
	}
	black, err := f.c.BlackList(ctx)
	if err != nil {
		return nil, err
	}
	return f.offlineLive(call, slices.Contains(black, f.node)), nil
}

// offlineLive plans the drain of a node that still serves.
func (f *failover) offlineLive(call *spec.Call, black bool) *spec.Plan {
	p := &spec.Plan{Title: fmt.Sprintf("take %s of %s out of service", f.node, call.Cluster), Name: call.Arg(0)}
	var move, remove []spec.Step
	load := primaryLoad(f.all)
	for at := range f.places() {
		if !holdsReplica(at.was, f.node) {
			continue
		}
		others := liveOthers(at.was, f.node, f.nodes)
		if len(others) == 0 {
			// Forced or not, nothing can be moved: it is gone when the process stops.
			p.Blockers = append(p.Blockers, spec.Blocker{Object: at.String(), Why: "its last live replica is on " + f.node})
			continue
		}
		if at.was.Primary == f.node {
			to := leastLoaded(others, load)
			load[to]++
			move = append(move, at.movePrimaryStep(f.node, to))
		}
		if len(others) == 1 && at.was.MaxReplicas > 2 {
			p.Notes = append(p.Notes, at.String()+" will have one live replica and take no writes until another one has learned")
		}
		remove = append(remove, at.removeStep(f.node))
	}
	if !black {
		p.Steps = append(p.Steps, blackListStep(f.c, f.node, true))
	}
	p.Steps = slices.Concat(p.Steps, move, remove)
	if f.level != levelSteady && len(move)+len(remove) > 0 {
		p.Holds = append(p.Holds, holdLevel(f.c, "meta level", levelSteady, false))
		p.Notes = append(p.Notes, fmt.Sprintf("the meta level is %s; it is held at steady meanwhile, which lets the cluster heal", f.level))
	}
	if len(p.Steps) > 0 {
		p.Notes = append(p.Notes, "afterwards "+f.node+" holds nothing and can be stopped; recoverendpoint "+f.node+" takes it back")
	}
	return p
}

func liveOthers(part driver.Partition, node string, alive nodeSet) []string {
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

func (p *place) movePrimaryStep(from, to string) spec.Step {
	moved := func(q driver.Partition) bool { return q.Primary != from && q.Primary != "" }
	return spec.Step{
		Text: fmt.Sprintf("move the primary of %s to %s", p, to), Objects: []string{p.String()}, Class: spec.Risky,
		Undo: fmt.Sprintf("changeleader %s %d %s", p.table, p.index, from),
		Check: func(ctx context.Context) (spec.State, error) {
			q, err := p.now(ctx)
			if err == nil && moved(q) {
				return spec.State{Kind: spec.Done, Why: "its primary is " + q.Primary}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			b := driver.Balance{AppID: p.appID, Partition: p.index, Kind: driver.MovePrimary, From: from, To: to}
			if err := p.c.Balance(ctx, b); err != nil {
				return err
			}
			return p.await(ctx, report, moved)
		},
	}
}

// removeStep takes a node's replica out of the configuration.
func (p *place) removeStep(node string) spec.Step {
	gone := func(q driver.Partition) bool { return !holdsReplica(q, node) }
	return spec.Step{
		Text: fmt.Sprintf("take the replica of %s off %s", p, node), Objects: []string{p.String()}, Class: spec.Risky,
		Undo: "recoverendpoint " + node, // which brings back all of them
		Check: func(ctx context.Context) (spec.State, error) {
			q, err := p.now(ctx)
			if err == nil && gone(q) {
				return spec.State{Kind: spec.Done, Why: "it is not there"}, nil
			}
			return spec.State{}, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			q, err := p.now(ctx)
			if err != nil {
				return err
			}
			proposal := driver.Proposal{
				AppID: p.appID, Partition: p.index, Target: q.Primary, Node: node, Type: "DOWNGRADE_TO_INACTIVE",
			}
			if err := p.c.Propose(ctx, proposal); err != nil {
				return err
			}
			return p.await(ctx, report, gone)
		},
	}
}

// blackListStep keeps the meta server from placing replicas on a node, or lets it again.
func blackListStep(c client, node string, out bool) spec.Step {
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
func (f *failover) offlineDead(call *spec.Call) *spec.Plan {
	p := &spec.Plan{Title: fmt.Sprintf("take the dead %s of %s out of service", f.node, call.Cluster), Name: call.Arg(0)}
	still := 0
	for at := range f.places() {
		still += one(holdsReplica(at.was, f.node))
	}
	if still == 0 {
		p.Notes = []string{"no partition counts on " + f.node}
		return p
	}
	f.healMeanwhile(p)
	if call.Wait >= 0 {
		st := f.awaitWithout(still, call.Wait).step()
		st.Class = spec.Risky
		p.Steps = append(p.Steps, st)
	}
	return p
}

// awaitWithout waits until the node is in no configuration, of total partitions, and then names those that have no
// primary.
func (f *failover) awaitWithout(total int, limit time.Duration) waiting {
	left := total
	return waiting{
		text: "wait until no partition counts on " + f.node, objects: []string{f.node}, limit: limit,
		hint: "the same line again goes on waiting; showopstatus shows what the cluster does",
		look: func(ctx context.Context) (bool, string, error) {
			now, err := f.again(ctx)
			if err != nil {
				return false, "", err
			}
			var orphans []string
			left = 0
			for at := range now.places() {
				alive := func(e string) bool { return now.nodes[e] }
				heir := len(liveOthers(at.was, f.node, now.nodes)) > 0 || slices.ContainsFunc(at.was.LastDrops, alive)
				switch {
				case holdsReplica(at.was, f.node), at.was.Primary == "" && heir: // the meta server is about to choose
					left++
				case at.was.Primary == "":
					orphans = append(orphans, at.String())
				}
			}
			switch {
			case left > 0:
				return false, fmt.Sprintf("%s still %s on it", commands.Plural(left, "partition"), counts(left)), nil
			case len(orphans) > 0:
				return false, "", spec.Errorf(spec.PartlyDone, "%s no primary, because all their replicas are down: %v", commands.Plural(len(orphans), "partition")+" have", orphans).
					WithHint("start the nodes that hold them; app TABLE -d shows which did last")
			}
			return true, "every partition has a primary", nil
		},
		progress: func() (int, int, string) { return max(total-left, 0), total, "partitions" },
	}
}

func counts(n int) string {
	if n == 1 {
		return "counts"
	}
	return "count"
}
