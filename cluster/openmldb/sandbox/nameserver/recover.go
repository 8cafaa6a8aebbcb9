package nameserver

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// chooseRecovery looks at what a tablet has of a partition and creates the operation that makes it a replica again with
// the least work. (nameserver/name_server_impl.cc, RecoverTable)
func (y *layout) chooseRecovery(ctx context.Context, data *ns.RecoverTableData) error {
	l := y.l
	endpoint := data.GetEndpoint()
	l.mu.Lock()
	t := l.tables[y.o.table()]
	p := partition(t, y.pid)
	if endpoint == offlineLeader {
		for _, m := range p.GetPartitionMeta() {
			if m.GetIsLeader() && !m.GetIsAlive() {
				endpoint = m.GetEndpoint()
			}
		}
	}
	m, leader := member(p, endpoint), leaderOf(p)
	healthy, leaderHealthy := l.healthy(endpoint), l.healthy(leader)
	l.mu.Unlock()
	next := plan{table: y.o.table(), pid: y.pid, concurrency: data.GetConcurrency(), parent: y.o}
	switch {
	case m == nil:
		return fmt.Errorf("%s is not in the partition", endpoint)
	case !healthy:
		return fmt.Errorf("tablet %s is not healthy", endpoint)
	case len(p.GetPartitionMeta()) == 1:
		pair, err := l.termPair(ctx, endpoint, y)
		if err != nil {
			return err
		}
		next.kind, next.text = api.OPType_kReLoadTableOP, endpoint
		if pair.GetHasTable() {
			next.kind = api.OPType_kUpdatePartitionStatusOP
			next.data = &ns.EndpointStatusData{Endpoint: &endpoint, IsLeader: proto.Bool(true), IsAlive: proto.Bool(true)}
		}
		return y.succeed(&next)
	case m.GetIsAlive():
		return nil
	case leader == "" || !leaderHealthy:
		return fmt.Errorf("no alive leader on a healthy tablet")
	}
	kind, err := y.variant(ctx, p, leader, endpoint)
	if err != nil {
		return err
	}
	next.kind = kind
	next.data = &ns.RecoverTableData{
		Endpoint: &endpoint, OffsetDelta: data.OffsetDelta, IsLeader: proto.Bool(false), Concurrency: data.Concurrency,
	}
	return y.succeed(&next)
}

// succeed creates the child of the operation.
func (y *layout) succeed(next *plan) error {
	y.l.mu.Lock()
	defer y.l.mu.Unlock()
	if y.o.over() {
		return errors.New("it was cancelled")
	}
	return y.l.create(next)
}

func (l *lead) termPair(ctx context.Context, endpoint string, y *layout) (*api.GetTermPairResponse, error) {
	a := &api.GetTermPairResponse{}
	err := l.call(ctx, endpoint, "GetTermPair", &api.GetTermPairRequest{Tid: &y.tid, Pid: &y.pid, StorageMode: y.table.StorageMode}, a)
	if err != nil {
		return nil, fmt.Errorf("ask %s what it has: %w", endpoint, err)
	}
	return a, nil
}

// variant decides which re-adding operation a replica needs.
func (y *layout) variant(ctx context.Context, p *ns.TablePartition, leader, endpoint string) (api.OPType, error) {
	l := y.l
	pair, err := l.termPair(ctx, endpoint, y)
	if err != nil {
		return 0, err
	}
	switch {
	case pair.GetHasTable() && pair.GetIsLeader():
		err = l.call(ctx, endpoint, "ChangeRole", &api.ChangeRoleRequest{Tid: &y.tid, Pid: &y.pid, Mode: api.TableMode_kTableFollower.Enum()}, &api.ChangeRoleResponse{})
	case !pair.GetHasTable():
		err = l.call(ctx, endpoint, "DeleteBinlog", &api.GeneralRequest{Tid: proto.Int32(int32(y.tid)), Pid: proto.Int32(int32(y.pid)), StorageMode: y.table.StorageMode}, &api.GeneralResponse{})
	}
	if err != nil {
		return 0, fmt.Errorf("prepare %s: %w", endpoint, err)
	}
	var manifest api.GetManifestResponse
	if err := l.call(ctx, leader, "GetManifest", &api.GetManifestRequest{Tid: &y.tid, Pid: &y.pid, StorageMode: y.table.StorageMode}, &manifest); err != nil {
		return 0, fmt.Errorf("ask %s for its manifest: %w", leader, err)
	}
	fits := matches(p.GetTermOffset(), pair) && pair.GetOffset() >= manifest.GetManifest().GetOffset()
	switch {
	case pair.GetHasTable() && fits:
		return api.OPType_kReAddReplicaSimplifyOP, nil
	case pair.GetHasTable():
		return api.OPType_kReAddReplicaWithDropOP, nil
	case fits:
		return api.OPType_kReAddReplicaNoSendOP, nil
	}
	return api.OPType_kReAddReplicaOP, nil
}

// matches says whether what a tablet has is a beginning of what the leaders wrote: its term is one of theirs, and its
// offset is not past where that term ended.
func matches(terms []*ns.TermPair, has *api.GetTermPairResponse) bool {
	if !has.GetHasTable() && has.GetOffset() == 0 {
		return false
	}
	for i, t := range terms {
		switch {
		case t.GetTerm() != has.GetTerm():
			continue
		case has.GetOffset() < t.GetOffset():
			return i == len(terms)-1 && t.GetOffset() == has.GetOffset()+1
		}
		return i == len(terms)-1 || has.GetOffset() < terms[i+1].GetOffset()
	}
	return false
}

// checkBinlog waits until a follower is close enough to the leader. It does not wait where a tablet lacks the partition,
// or there is nobody else.
func (y *layout) checkBinlog(endpoint string, delta uint64) {
	l := y.l
	y.local(api.TaskType_kCheckBinlogSyncProgress, func(ctx context.Context) error {
		for {
			l.askStatuses()
			l.mu.Lock()
			done := l.synced(y, endpoint, delta)
			l.mu.Unlock()
			if done {
				return nil
			}
			if !l.sleep(ctx, l.times.tasks) {
				return context.Cause(ctx)
			}
		}
	})
}

// synced is the condition of checkBinlog; l.mu is held.
func (l *lead) synced(y *layout, endpoint string, delta uint64) bool {
	p := partition(l.tables[y.o.table()], y.pid)
	if len(p.GetPartitionMeta()) < 2 {
		return true
	}
	var leader, follower uint64
	for _, m := range p.GetPartitionMeta() {
		s := l.statuses[replica{y.tid, y.pid, m.GetEndpoint()}]
		if s == nil || !s.has {
			return true
		}
		if m.GetIsLeader() && m.GetIsAlive() {
			leader = s.offset
		}
		if m.GetEndpoint() == endpoint {
			follower = s.offset
		}
	}
	return leader <= follower+delta
}
