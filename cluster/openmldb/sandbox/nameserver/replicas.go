package nameserver

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
)

func (l *lead) makeSnapshot(ctx context.Context, q *ns.MakeSnapshotNSRequest, _ *ns.GeneralResponse) error {
	name := tableName{q.GetDb(), q.GetName()}
	if q.GetOffset() > 0 {
		return l.makeSnapshotAt(ctx, name, q)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tables[name] == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	err := l.create(&plan{kind: api.OPType_kMakeSnapshotOP, table: name, pid: q.GetPid(), data: q})
	return opError(err)
}

// opError is what a caller is told of an operation that was not created.
func opError(err error) error {
	if code := codeOf(err); err == nil || code == codeSetZK || code == codeAddOpData {
		return err
	}
	return refuse(codeCreateOp, "create op failed")
}

// makeSnapshotAt has the leader write a snapshot up to an offset, without an operation.
func (l *lead) makeSnapshotAt(ctx context.Context, name tableName, q *ns.MakeSnapshotNSRequest) error {
	l.mu.Lock()
	t := l.tables[name]
	l.mu.Unlock()
	leader := leaderOf(partition(t, q.GetPid()))
	switch {
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	case t.GetStorageMode() != common.StorageMode_kMemory:
		return refuse(codeNotSupported, "offset can only be set for a memory table")
	case leader == "":
		return refuse(codeCreateOp, "create op failed")
	}
	err := l.call(ctx, leader, "MakeSnapshot", &api.GeneralRequest{
		Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(q.GetPid())), Offset: q.Offset, StorageMode: t.StorageMode,
	}, &api.GeneralResponse{})
	if err != nil && codeOf(err) == codeError {
		return refuse(codeTabletFailed, "request tablet failed: %s", leader)
	}
	return err
}

// pids are the partitions that a request names: a group, or the one.
func pids(one uint32, group []uint32) []uint32 {
	if len(group) > 0 {
		return group
	}
	return []uint32{one}
}

func (l *lead) addReplica(_ context.Context, q *ns.AddReplicaNSRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	switch {
	case !l.healthy(q.GetEndpoint()):
		return refuse(codeUnhealthy, "tablet is not healthy")
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	}
	all := pids(q.GetPid(), q.GetPidGroup())
	if slices.Max(all) >= t.GetPartitionNum() {
		return refuse(codeInvalid, "max pid is greater than partition size")
	}
	for _, pid := range all {
		if member(partition(t, pid), q.GetEndpoint()) != nil {
			return refuse(codePidExists, "pid %d is exist in %s", pid, q.GetEndpoint())
		}
	}
	for _, pid := range all {
		one := &ns.AddReplicaNSRequest{Name: q.Name, Pid: &pid, Endpoint: q.Endpoint, Db: q.Db}
		if err := opError(l.create(&plan{kind: api.OPType_kAddReplicaOP, table: name, pid: pid, data: one, concurrency: 1})); err != nil {
			return err
		}
	}
	return nil
}

func (l *lead) delReplica(_ context.Context, q *ns.DelReplicaNSRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	switch {
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	case !l.healthy(q.GetEndpoint()):
		return refuse(codeUnhealthy, "tablet is not healthy")
	}
	all := pids(q.GetPid(), q.GetPidGroup())
	if slices.Max(all) >= t.GetPartitionNum() {
		return refuse(codeInvalid, "max pid is greater than partition size")
	}
	for _, pid := range all {
		m := member(partition(t, pid), q.GetEndpoint())
		switch {
		case m == nil:
			return refuse(codeNoPid, "pid %d is not in %s", pid, q.GetEndpoint())
		case m.GetIsLeader():
			return refuse(codeTableIsLeader, "can not del leader. pid %d endpoint %s", pid, q.GetEndpoint())
		}
	}
	for _, pid := range all {
		if err := opError(l.create(&plan{kind: api.OPType_kDelReplicaOP, table: name, pid: pid, text: q.GetEndpoint()})); err != nil {
			return err
		}
	}
	return nil
}

func (l *lead) migrate(_ context.Context, q *ns.MigrateRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	from, to := q.GetSrcEndpoint(), q.GetDesEndpoint()
	switch {
	case !l.healthy(from):
		return refuse(codeSourceUnhealthy, "src_endpoint is not exist or not healthy")
	case !l.healthy(to):
		return refuse(codeTargetUnhealthy, "des_endpoint is not exist or not healthy")
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	}
	for _, pid := range q.GetPid() {
		p := partition(t, pid)
		leader := leaderOf(p)
		switch {
		case leader == "":
			return refuse(codeMigrate, "leader endpoint is empty")
		case leader == from:
			return refuse(codeMigrate, "cannot migrate leader")
		case !l.healthy(leader):
			return refuse(codeMigrate, "leader[%s] is offline", leader)
		case member(p, from) == nil:
			return refuse(codeMigrate, "src_endpoint[%s] has not partition[%d]", from, pid)
		case member(p, to) != nil:
			return refuse(codeMigrate, "partition[%d] is already in des_endpoint[%s]", pid, to)
		}
	}
	for _, pid := range q.GetPid() {
		data := &ns.MigrateInfo{SrcEndpoint: &from, DesEndpoint: &to}
		if err := opError(l.create(&plan{kind: api.OPType_kMigrateOP, table: name, pid: pid, data: data})); err != nil {
			return err
		}
	}
	return nil
}
