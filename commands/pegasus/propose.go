package pegasus

import (
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Propose proposes one change of a partition's configuration.
func Propose(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "propose",
		Systems: systems,
		Topic:   "partitions",
		Summary: "propose one change of a partition's configuration",
		Long: "Hands the meta server one change, which it carries out if it fits, and waits until the partition shows it. " +
			"Writes can stop, and ASSIGN_PRIMARY of a replica that is behind loses what it lacks. A replica that was taken out " +
			"of a group on a live node is learned again unless the meta server is told otherwise. balance, migrate and changeleader are safer.",
		Flags: []spec.Flag{
			{Name: "gpid", Short: "g", Required: true, Help: "the partition: table id and partition, as in 2.5"},
			{Name: "type", Short: "p", Kind: spec.ArgEnum, Required: true, Help: "the change", Values: driver.ProposalTypes()},
			{Name: "target", Short: "t", Kind: spec.ArgEndpoint, Help: "the node that carries it out; the primary, or the node itself, when left out"},
			{Name: "node", Short: "n", Kind: spec.ArgEndpoint, Required: true, Help: "the node whose role changes"},
			{Short: "f", Kind: spec.ArgBool, Help: "send it to the target at once, without the meta server's own checks"},
		},
		Examples: []spec.Example{
			{Line: "propose -g 2.0 -p DOWNGRADE_TO_INACTIVE -n .32 --yes", Says: "take one out; a node can be named by the end of its address"},
			{Line: "propose -g 2.0 -p DOWNGRADE_TO_INACTIVE -n .32 --plan", Says: "what that would mean"},
		},
		SeeAlso: []string{"ddd_diagnose", "balance", "migrate", "changeleader", "app"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return propose(ctx, env, call)
		},
	}
}

func propose(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	p, err := placeOfGPID(ctx, env, call, call.String("gpid"))
	if err != nil {
		return nil, err
	}
	r := &proposing{place: p, proposal: driver.Proposal{
		AppID: p.appID, Partition: p.index, Target: call.String("target"), Node: call.String("node"),
		Type: call.String("type"), Force: call.Bool("f"),
	}}
	if r.proposal.Target == "" {
		if r.proposal.Target = p.was.Primary; r.own() {
			r.proposal.Target = r.proposal.Node
		}
	}
	if r.proposal.Target == "" {
		return nil, spec.Errorf(spec.Refused, "%s has no primary to carry it out", p.String()).WithHint("%s", stand(p.was))
	}
	for _, endpoint := range []*string{&r.proposal.Target, &r.proposal.Node} {
		if *endpoint, err = p.nodes.findAlive(*endpoint); err != nil {
			return nil, err
		}
	}
	return r.plan(call), nil
}

// proposing is the step that proposes one change.
type proposing struct {
	*place
	proposal driver.Proposal
}

// own tells that the node itself carries the change out.
func (r *proposing) own() bool {
	switch r.proposal.Type {
	case "ASSIGN_PRIMARY", "UPGRADE_TO_PRIMARY", "DOWNGRADE_TO_SECONDARY":
		return true
	}
	return false
}

func (r *proposing) removes() bool {
	return r.proposal.Type == "DOWNGRADE_TO_INACTIVE" || r.proposal.Type == "REMOVE"
}

// shows tells whether a partition is as the change leaves it.
func (r *proposing) shows(q driver.Partition) bool {
	node := r.proposal.Node
	switch {
	case r.removes():
		return !slices.Contains(members(q), node)
	case r.proposal.Type == "DOWNGRADE_TO_SECONDARY":
		return q.Primary != node
	case r.own():
		return q.Primary == node
	}
	return slices.Contains(q.Secondaries, node)
}

func (r *proposing) plan(call *spec.Call) *spec.Plan {
	title := fmt.Sprintf("propose %s of %s on %s", r.proposal.Type, r.String(), call.Cluster)
	plan := &spec.Plan{Title: title, Name: r.table, Notes: []string{stand(r.was)}}
	class := spec.Risky
	switch {
	case r.proposal.Type == "ASSIGN_PRIMARY":
		class = spec.Destroy
		plan.Notes = append(plan.Notes, "rows that this replica never got are lost; ddd_diagnose compares the replicas there are")
	case r.proposal.Type == "ADD_SECONDARY" || r.proposal.Type == "ADD_SECONDARY_FOR_LB":
		class = spec.Alter
	}
	if r.removes() && r.last() {
		plan.Blockers = []spec.Blocker{{Object: r.String(), Why: r.proposal.Node + " holds its last live replica"}}
	}
	plan.Steps = []spec.Step{{
		Text:    fmt.Sprintf("propose %s of %s for %s", r.proposal.Type, r.String(), r.proposal.Node),
		Objects: []string{r.String()},
		Class:   class,
		Check:   r.check,
		Apply:   func(ctx context.Context, _ spec.Report) error { return r.c.Propose(ctx, r.proposal) },
	}}
	if call.Wait >= 0 && !r.shows(r.was) {
		limit := call.Wait
		if limit == 0 && class != spec.Alter {
			limit = movePatience
		}
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until it has happened", objects: []string{r.String()}, limit: limit, look: r.look,
			hint: fmt.Sprintf("app %s -d shows the partition; a proposal that does not fit is forgotten without a word", r.table),
		}.step())
	}
	return plan
}

// last tells that no other live node has a replica.
func (r *proposing) last() bool {
	if !slices.Contains(members(r.was), r.proposal.Node) {
		return false
	}
	return !slices.ContainsFunc(members(r.was), func(e string) bool { return e != r.proposal.Node && r.nodes[e] })
}

func (r *proposing) check(ctx context.Context) (spec.State, error) {
	now, err := r.now(ctx)
	switch {
	case err != nil:
		return spec.State{}, err
	case r.shows(now):
		return spec.State{Kind: spec.Done, Why: stand(now)}, nil
	}
	return r.carries(ctx)
}

// look also takes for done what was undone again at once: a node that was taken out and has learned anew.
func (r *proposing) look(ctx context.Context) (bool, string, error) {
	now, err := r.now(ctx)
	if err != nil {
		return false, "", err
	}
	if r.removes() && now.Ballot >= r.was.Ballot+2 && !r.shows(now) {
		return true, r.proposal.Node + " was taken out and has learned again: " + stand(now), nil
	}
	return r.shows(now), stand(now), nil
}
