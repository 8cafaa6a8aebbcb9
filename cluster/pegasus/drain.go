package pegasus

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// blackListCommand keeps the meta server from placing secondaries on some nodes. It lives in the memory of the primary
// meta server: a new leader has forgotten it.
const blackListCommand = "meta.lb.assign_secondary_black_list"

// BlackList lists the nodes on which the meta server places no secondaries.
func (d *Driver) BlackList(ctx context.Context) ([]string, error) {
	leader, err := d.leader(ctx)
	if err != nil {
		return nil, err
	}
	text, err := d.RemoteCommand(ctx, leader, blackListCommand)
	if err != nil {
		return nil, err
	}
	list, ok := blackListAnswer(text)
	if !ok {
		return nil, &spec.Error{
			Kind: spec.Failed, Op: "read the black list", Endpoint: leader, Err: spec.Errorf(spec.Failed, "the answer was %q", text),
		}
	}
	return list, nil
}

// SetBlackList replaces the list; an empty one clears it.
func (d *Driver) SetBlackList(ctx context.Context, nodes []string) error {
	leader, err := d.leader(ctx)
	if err != nil {
		return err
	}
	arg := strings.Join(nodes, ",")
	if arg == "" {
		arg = "clear"
	}
	text, err := d.RemoteCommand(ctx, leader, blackListCommand, arg)
	if err != nil {
		return err
	}
	if _, ok := blackListAnswer(text); !ok {
		return &spec.Error{
			Kind: spec.Failed, Op: "set the black list", Endpoint: leader, Err: spec.Errorf(spec.Failed, "the answer was %q", text),
		}
	}
	return nil
}

// blackListAnswer reads both forms of the answer: words up to 2.5 ("get ok: a,b", "set ok", "clear ok"), JSON after it.
func blackListAnswer(text string) ([]string, bool) {
	text = strings.TrimSpace(text)
	var answer struct {
		Error string `json:"error"`
		List  string `json:"assign_secondary_black_list"`
	}
	if json.Unmarshal([]byte(text), &answer) == nil {
		return splitList(answer.List), answer.Error == "ok"
	}
	for _, prefix := range []string{"get ok:", "set ok", "clear ok"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return splitList(strings.TrimSpace(rest)), true
		}
	}
	return nil, false
}

// leader asks which meta server is the primary one.
func (d *Driver) leader(ctx context.Context) (string, error) {
	info, err := d.Info(ctx)
	if err != nil {
		return "", err
	}
	if info.Leader == "" {
		return "", &spec.Error{Kind: spec.Failed, Op: "find the primary meta server", Err: spec.Errorf(spec.Failed, "the cluster does not tell")}
	}
	return info.Leader, nil
}

// Learner is a replica that is being copied to a node.
type Learner struct {
	AppID     int32
	Partition int
	Endpoint  string
}

// Learners asks every live node, a call each, which replicas it is still learning. Nodes that do not answer are left
// out; they are counted in silent.
func (d *Driver) Learners(ctx context.Context) (learners []Learner, silent int, err error) {
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, 0, err
	}
	lists := make([][]wire.ReplicaInfo, len(nodes))
	failed := make([]bool, len(nodes))
	d.each(len(nodes), func(i int) {
		if !nodes[i].Alive {
			return
		}
		list, err := d.replicasOn(ctx, nodes[i].Endpoint)
		lists[i], failed[i] = list, err != nil
	})
	for i, list := range lists {
		if failed[i] {
			silent++
		}
		for _, r := range list {
			if r.Status == wire.ReplicaPotentialSecondary {
				learners = append(learners, Learner{AppID: r.PID.App, Partition: int(r.PID.Partition), Endpoint: nodes[i].Endpoint})
			}
		}
	}
	slices.SortFunc(learners, func(a, b Learner) int {
		if a.AppID != b.AppID {
			return int(a.AppID - b.AppID)
		}
		return a.Partition - b.Partition
	})
	return learners, silent, ctx.Err()
}
