package tablet

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/sandbox/port"
)

// changeRole makes a partition the leader of a term, or a follower.
func (t *Tablet) changeRole(_ context.Context, _ *port.Call, q *api.ChangeRoleRequest, a *api.ChangeRoleResponse) error {
	t.role(q).into(&a.Code, &a.Msg)
	return nil
}

func (t *Tablet) role(q *api.ChangeRoleRequest) status {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		return noTable
	}
	if q.GetMode() == api.TableMode_kTableLeader {
		return p.lead(q)
	}
	p.mu.Lock()
	s := p.usable(false)
	followed := !p.leader
	if s.good() {
		p.leader = false
	}
	p.mu.Unlock()
	switch {
	case !s.good():
		return s
	case followed:
		return status{codeOK, isFollower.text}
	}
	p.stopFollowers()
	return ok
}

func (p *partition) lead(q *api.ChangeRoleRequest) status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.usable(false); !s.good() {
		return s
	}
	if p.leader {
		return isLeader
	}
	p.leader, p.term = true, q.GetTerm()
	p.follow(q.GetReplicas())
	for _, r := range q.GetEndpointTid() {
		p.addFollower(r.GetEndpoint(), r.GetTid(), true)
	}
	return ok
}

// follow begins to send to other replicas. The lock is held.
func (p *partition) follow(endpoints []string) {
	for _, e := range endpoints {
		p.addFollower(e, p.id.tid, false)
	}
}

// addReplica has a leader send to one more endpoint.
func (t *Tablet) addReplica(_ context.Context, _ *port.Call, q *api.ReplicaRequest, a *api.AddReplicaResponse) error {
	t.atOnce(q.GetTaskInfo(), api.TaskType_kAddReplica, func() status {
		p := t.part(q.GetTid(), q.GetPid())
		if p == nil {
			return noTable
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if s := p.leads(); !s.good() {
			return s
		}
		tid := q.GetTid()
		if q.RemoteTid != nil {
			tid = q.GetRemoteTid()
		}
		if !p.addFollower(q.GetEndpoint(), tid, q.RemoteTid != nil) {
			return status{codeReplicaExists, "replica endpoint already exists"}
		}
		return ok
	}, codeReplicaExists).into(&a.Code, &a.Msg)
	return nil
}

// leads says whether a partition has followers to speak of, loaded or not. The lock is held.
func (p *partition) leads() status {
	switch {
	case p.gone:
		return noTable
	case !p.leader:
		return isFollower
	}
	return ok
}

// delReplica has a leader send no more to an endpoint.
func (t *Tablet) delReplica(_ context.Context, _ *port.Call, q *api.ReplicaRequest, a *api.GeneralResponse) error {
	t.atOnce(q.GetTaskInfo(), api.TaskType_kDelReplica, func() status {
		p := t.part(q.GetTid(), q.GetPid())
		if p == nil {
			return noTable
		}
		p.mu.RLock()
		s := p.leads()
		p.mu.RUnlock()
		if s.good() && !p.stopFollowers(q.GetEndpoint()) {
			return status{codeOK, "replica does not exist"}
		}
		return s
	}).general(a)
	return nil
}

// getTableFollower tells how far a leader's followers are.
func (t *Tablet) getTableFollower(
	_ context.Context, _ *port.Call, q *api.GetTableFollowerRequest, a *api.GetTableFollowerResponse,
) error {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		noTable.into(&a.Code, &a.Msg)
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if s := p.leads(); !s.good() {
		s.into(&a.Code, &a.Msg)
		return nil
	}
	a.Offset = proto.Uint64(p.offset)
	if len(p.followers) == 0 {
		status{codeNoFollower, "has no follower"}.into(&a.Code, &a.Msg)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.followers)) {
		a.FollowerInfo = append(a.FollowerInfo, &api.FollowerInfo{
			Endpoint: proto.String(name), Offset: proto.Uint64(p.followers[name].synced.Load()),
		})
	}
	ok.into(&a.Code, &a.Msg)
	return nil
}
