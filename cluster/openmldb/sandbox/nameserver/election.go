package nameserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// electable lists the followers of a partition that are alive on healthy tablets, and also, alive or not, the one given;
// l.mu is held.
func (l *lead) electable(p *ns.TablePartition, also string) []string {
	var all []string
	for _, m := range p.GetPartitionMeta() {
		at := m.GetEndpoint()
		if l.healthy(at) && (!m.GetIsLeader() && m.GetIsAlive() || at == also) {
			all = append(all, at)
		}
	}
	return all
}

// changeLeader lays out an election among the followers there are now.
func (y *layout) changeLeader(restore bool) error {
	data := &ns.ChangeLeaderData{}
	if err := y.o.read(data); err != nil {
		return err
	}
	if len(data.GetFollower()) == 0 { // a new operation
		also := ""
		if restore {
			also = data.GetCandidateLeader()
		}
		data.Follower = y.l.electable(y.p, also)
		data.Name, data.Tid, data.Pid, data.Db = y.o.info.Name, &y.tid, &y.pid, y.o.info.Db
		if c := data.GetCandidateLeader(); c != "" && !slices.Contains(data.Follower, c) {
			return fmt.Errorf("candidate %s is no alive follower on a healthy tablet", c)
		}
		if len(data.Follower) == 0 {
			return fmt.Errorf("no alive follower on a healthy tablet")
		}
		if err := y.remember(data); err != nil {
			return err
		}
	}
	y.local(api.TaskType_kSelectLeader, func(ctx context.Context) error { return y.selectLeader(ctx, data) })
	t := y.local(api.TaskType_kChangeLeader, func(ctx context.Context) error {
		return y.l.call(ctx, data.GetLeader(), "ChangeRole", &api.ChangeRoleRequest{
			Tid: &y.tid, Pid: &y.pid, Term: data.Term, Mode: api.TableMode_kTableLeader.Enum(), Replicas: without(data.GetFollower(), data.GetLeader()),
		}, &api.ChangeRoleResponse{})
	})
	t.again = false // a next leader finds no tablet that knows of it, and it has failed
	t.info.Endpoint = data.Leader
	y.local(api.TaskType_kUpdateLeaderInfo, func(context.Context) error { return y.updateLeader(data) })
	return nil
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}

// remember puts what an election found into the operation's record, which is written with its next state.
func (y *layout) remember(data *ns.ChangeLeaderData) (err error) {
	y.o.info.Data, err = proto.Marshal(data)
	return err
}

// selectLeader asks every follower how far it is and takes the one that is furthest, or the one that was wished for. A
// new term begins, in which none of them follows the old leader any more.
func (y *layout) selectLeader(ctx context.Context, data *ns.ChangeLeaderData) error {
	l := y.l
	l.mu.Lock()
	p := partition(l.tables[y.o.table()], y.pid)
	auto := l.auto
	term, err := uint64(0), fmt.Errorf("the table is gone")
	if p != nil {
		term, err = l.add(l.at.term, 2)
	}
	l.mu.Unlock()
	switch {
	case err != nil:
		return err
	case auto && leaderOf(p) != "":
		return fmt.Errorf("%s leads and is alive", leaderOf(p))
	}
	asked := term - 1 // the old term and one more
	offsets := make(map[string]uint64, len(data.GetFollower()))
	for _, endpoint := range data.GetFollower() {
		var a api.AppendEntriesResponse
		err := l.call(ctx, endpoint, "AppendEntries", &api.AppendEntriesRequest{Tid: &y.tid, Pid: &y.pid, Term: &asked}, &a)
		if err != nil {
			return fmt.Errorf("ask %s: %w", endpoint, err)
		}
		offsets[endpoint] = a.GetLogOffset()
	}
	best := winners(data.GetFollower(), offsets)
	winner := best[rand.New(rand.NewPCG(y.o.id(), uint64(y.tid)<<32|uint64(y.pid))).IntN(len(best))] // the same in every run
	furthest := offsets[winner]
	if c := data.GetCandidateLeader(); c != "" {
		winner, furthest = c, offsets[c]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	data.Leader, data.Term, data.Offset = &winner, proto.Uint64(term), &furthest
	for _, t := range y.o.tasks {
		if t.info.GetTaskType() == api.TaskType_kChangeLeader {
			t.info.Endpoint = &winner
		}
	}
	return y.remember(data)
}

// winners are those with the largest offset.
func winners(all []string, offsets map[string]uint64) (best []string) {
	for _, endpoint := range all {
		switch {
		case len(best) == 0 || offsets[endpoint] > offsets[best[0]]:
			best = []string{endpoint}
		case offsets[endpoint] == offsets[best[0]]:
			best = append(best, endpoint)
		}
	}
	return best
}

// updateLeader writes who leads. The old leader keeps its role, and is not alive.
func (y *layout) updateLeader(data *ns.ChangeLeaderData) error {
	return y.edit(func(p *ns.TablePartition) error {
		m := member(p, data.GetLeader())
		if m == nil {
			return fmt.Errorf("%s is not in the partition", data.GetLeader())
		}
		for _, old := range p.GetPartitionMeta() {
			if old.GetIsLeader() && old.GetIsAlive() && old != m {
				old.IsAlive = proto.Bool(false)
			}
		}
		m.IsLeader, m.IsAlive = proto.Bool(true), proto.Bool(true)
		p.TermOffset = append(p.TermOffset, &ns.TermPair{Term: data.Term, Offset: proto.Uint64(data.GetOffset() + 1)})
		return nil
	})
}
