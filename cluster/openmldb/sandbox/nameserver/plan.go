package nameserver

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// Which tasks every operation has, in order. They are laid out when it is created, and again by a leader that takes it
// over, from its record and what the tables are then.

// layout is an operation whose tasks are being laid out, and what most of them are about.
type layout struct {
	l      *lead
	o      *op
	table  *ns.TableInfo
	p      *ns.TablePartition
	tid    uint32
	pid    uint32
	leader string // alive, and its tablet healthy
}

// lay lays out the tasks of an operation; l.mu is held.
func (l *lead) lay(o *op, restore bool) error {
	y := &layout{l: l, o: o, table: l.tables[o.table()], pid: o.info.GetPid()}
	if y.table == nil {
		return fmt.Errorf("there is no table %s", o.info.GetName())
	}
	if y.tid, y.p = y.table.GetTid(), partition(y.table, y.pid); y.p == nil {
		return fmt.Errorf("it has no partition %d", y.pid)
	}
	if at := leaderOf(y.p); at != "" && l.healthy(at) {
		y.leader = at
	}
	switch o.info.GetOpType() {
	case api.OPType_kMakeSnapshotOP:
		return y.makeSnapshot()
	case api.OPType_kAddReplicaOP:
		return y.addReplica()
	case api.OPType_kDelReplicaOP:
		return y.delReplica()
	case api.OPType_kMigrateOP:
		return y.migrate()
	case api.OPType_kOfflineReplicaOP:
		return y.offlineReplica()
	case api.OPType_kChangeLeaderOP:
		return y.changeLeader(restore)
	case api.OPType_kRecoverTableOP:
		return y.recoverTable()
	case api.OPType_kReAddReplicaOP, api.OPType_kReAddReplicaWithDropOP, api.OPType_kReAddReplicaNoSendOP, api.OPType_kReAddReplicaSimplifyOP:
		return y.reAddReplica()
	case api.OPType_kReLoadTableOP:
		return y.reload()
	case api.OPType_kUpdatePartitionStatusOP, api.OPType_kUpdateTableAliveOP:
		return y.updateStatus()
	case api.OPType_kAddIndexOP:
		return y.addIndex()
	}
	return fmt.Errorf("operations of type %s are not carried out here", o.info.GetOpType())
}

func (y *layout) task(kind api.TaskType, endpoint string) *task {
	t := &task{info: &api.TaskInfo{
		OpId: y.o.info.OpId, OpType: y.o.info.OpType, TaskType: kind.Enum(), Status: api.TaskStatus_kInited.Enum(),
		Tid: proto.Uint32(y.tid), Pid: proto.Uint32(y.pid),
	}}
	if endpoint != "" {
		t.info.Endpoint = proto.String(endpoint)
	}
	y.o.tasks = append(y.o.tasks, t)
	return t
}

// remote adds a task that a tablet does: send hands it over, with its TaskInfo as it is to be known there.
func (y *layout) remote(kind api.TaskType, endpoint, method string, request func(t *api.TaskInfo) proto.Message, answer func() proto.Message) *task {
	l := y.l
	t := y.task(kind, endpoint)
	t.remote = true
	t.run = func(ctx context.Context) error {
		l.mu.Lock()
		info := proto.CloneOf(t.info)
		l.mu.Unlock()
		return l.call(ctx, endpoint, method, request(info), answer())
	}
	return t
}

// local adds a task of the nameserver's own.
func (y *layout) local(kind api.TaskType, run func(ctx context.Context) error) *task {
	t := y.task(kind, "")
	t.run, t.again = run, true
	return t
}

func general() proto.Message { return &api.GeneralResponse{} }

// partitionTask is a remote task whose request is nothing but the partition.
func (y *layout) partitionTask(kind api.TaskType, endpoint, method string) {
	y.remote(kind, endpoint, method, func(t *api.TaskInfo) proto.Message {
		return &api.GeneralRequest{
			Tid: proto.Int32(int32(y.tid)), Pid: proto.Int32(int32(y.pid)), TaskInfo: t, StorageMode: y.table.StorageMode,
		}
	}, general)
}

func (y *layout) pause(at string) { y.partitionTask(api.TaskType_kPauseSnapshot, at, "PauseSnapshot") }

func (y *layout) unpause(at string) {
	y.partitionTask(api.TaskType_kRecoverSnapshot, at, "RecoverSnapshot")
}

func (y *layout) sendSnapshot(from, to string) {
	y.remote(api.TaskType_kSendSnapshot, from, "SendSnapshot", func(t *api.TaskInfo) proto.Message {
		return &api.SendSnapshotRequest{Tid: &y.tid, Pid: &y.pid, Endpoint: &to, TaskInfo: t}
	}, general)
}

func (y *layout) loadTable(at string, mode api.TableMode) {
	y.remote(api.TaskType_kLoadTable, at, "LoadTable", func(t *api.TaskInfo) proto.Message {
		meta := &api.TableMeta{
			Tid: proto.Int32(int32(y.tid)), Pid: proto.Int32(int32(y.pid)), Name: y.table.Name, Db: y.table.Db,
			SegCnt: proto.Int32(int32(y.table.GetSegCnt())), Mode: mode.Enum(), StorageMode: y.table.StorageMode,
		}
		if terms := y.p.GetTermOffset(); mode == api.TableMode_kTableLeader && len(terms) > 0 {
			meta.Term = terms[len(terms)-1].Term
		}
		return &api.LoadTableRequest{TableMeta: meta, TaskInfo: t}
	}, general)
}

func (y *layout) replicaTask(kind api.TaskType, method, leader, endpoint string) *task {
	return y.remote(kind, leader, method, func(t *api.TaskInfo) proto.Message {
		return &api.ReplicaRequest{Tid: &y.tid, Pid: &y.pid, Endpoint: &endpoint, TaskInfo: t}
	}, func() proto.Message {
		if method == "AddReplica" {
			return &api.AddReplicaResponse{}
		}
		return general()
	})
}

func (y *layout) attach(leader, endpoint string) {
	y.replicaTask(api.TaskType_kAddReplica, "AddReplica", leader, endpoint)
}

// detach has the leader stop sending to a follower, once it was asked whether it does.
func (y *layout) detach(leader, endpoint string) {
	t := y.replicaTask(api.TaskType_kDelReplica, "DelReplica", leader, endpoint)
	send := t.run
	t.run = func(ctx context.Context) error {
		var a api.GetTableFollowerResponse
		err := y.l.call(ctx, leader, "GetTableFollower", &api.GetTableFollowerRequest{Tid: &y.tid, Pid: &y.pid}, &a)
		has := slices.ContainsFunc(a.GetFollowerInfo(), func(f *api.FollowerInfo) bool { return f.GetEndpoint() == endpoint })
		switch {
		case codeOf(err) == codeNoFollower || err == nil && !has:
			return errNothing
		case err != nil:
			return err
		}
		return send(ctx)
	}
}

func (y *layout) dropTable(at string) {
	y.remote(api.TaskType_kDropTable, at, "DropTable", func(t *api.TaskInfo) proto.Message {
		return &api.DropTableRequest{Tid: proto.Int32(int32(y.tid)), Pid: proto.Int32(int32(y.pid)), TaskInfo: t}
	}, func() proto.Message { return &api.DropTableResponse{} })
}

// setStatus writes an entry of the partition.
func (y *layout) setStatus(endpoint string, isLeader, isAlive bool) {
	y.local(api.TaskType_kUpdatePartitionStatus, func(context.Context) error {
		return y.edit(func(p *ns.TablePartition) error {
			m := member(p, endpoint)
			if m == nil {
				return fmt.Errorf("%s is not in the partition", endpoint)
			}
			m.IsLeader, m.IsAlive = &isLeader, &isAlive
			return nil
		})
	})
}

// edit changes the partition, as it is by now.
func (y *layout) edit(how func(*ns.TablePartition) error) error {
	y.l.mu.Lock()
	defer y.l.mu.Unlock()
	return y.l.change(y.o.table(), func(t *ns.TableInfo) error {
		p := partition(t, y.pid)
		if p == nil || t.GetTid() != y.tid {
			return fmt.Errorf("the table has no partition %d any more", y.pid)
		}
		return how(p)
	})
}

func (y *layout) needs(leader bool, healthy ...string) error {
	if leader && y.leader == "" {
		return fmt.Errorf("no alive leader on a healthy tablet")
	}
	for _, endpoint := range healthy {
		if !y.l.healthy(endpoint) {
			return fmt.Errorf("tablet %s is not healthy", endpoint)
		}
	}
	return nil
}

func (y *layout) makeSnapshot() error {
	if err := y.needs(true); err != nil {
		return err
	}
	y.partitionTask(api.TaskType_kMakeSnapshot, y.leader, "MakeSnapshot")
	return nil
}

func (y *layout) addReplica() error {
	var q ns.AddReplicaNSRequest
	if err := y.o.read(&q); err != nil {
		return err
	}
	to := q.GetEndpoint()
	if err := y.needs(true, to); err != nil {
		return err
	}
	y.pause(y.leader)
	y.sendSnapshot(y.leader, to)
	y.loadTable(to, api.TableMode_kTableFollower)
	y.attach(y.leader, to)
	y.unpause(y.leader)
	y.addInfo(to)
	y.checkBinlog(to, offsetDelta)
	y.setStatus(to, false, true)
	return nil
}

// addInfo adds an entry to the partition, which is not alive.
func (y *layout) addInfo(endpoint string) {
	y.local(api.TaskType_kAddTableInfo, func(context.Context) error {
		return y.edit(func(p *ns.TablePartition) error {
			if member(p, endpoint) == nil {
				p.PartitionMeta = append(p.PartitionMeta, &ns.PartitionMeta{
					Endpoint: &endpoint, IsLeader: proto.Bool(false), IsAlive: proto.Bool(false),
				})
			}
			return nil
		})
	})
}

func (y *layout) delReplica() error {
	endpoint := string(y.o.info.GetData())
	if err := y.needs(true); err != nil {
		return err
	}
	y.detach(y.leader, endpoint)
	y.local(api.TaskType_kDelTableInfo, func(context.Context) error {
		return y.edit(func(p *ns.TablePartition) error { return dropMember(p, endpoint) })
	})
	y.dropTable(endpoint)
	return nil
}

func dropMember(p *ns.TablePartition, endpoint string) error {
	p.PartitionMeta = slices.DeleteFunc(p.PartitionMeta, func(m *ns.PartitionMeta) bool { return m.GetEndpoint() == endpoint })
	return nil
}

func (y *layout) migrate() error {
	var data ns.MigrateInfo
	if err := y.o.read(&data); err != nil {
		return err
	}
	from, to := data.GetSrcEndpoint(), data.GetDesEndpoint()
	if err := y.needs(true, from, to); err != nil {
		return err
	}
	y.pause(y.leader)
	y.sendSnapshot(y.leader, to)
	y.unpause(y.leader)
	y.loadTable(to, api.TableMode_kTableFollower)
	y.attach(y.leader, to)
	y.addInfo(to)
	y.checkBinlog(to, offsetDelta)
	y.detach(y.leader, from)
	y.local(api.TaskType_kUpdateTableInfo, func(context.Context) error {
		return y.edit(func(p *ns.TablePartition) error {
			if m := member(p, to); m != nil {
				m.IsAlive = proto.Bool(true)
			}
			return dropMember(p, from)
		})
	})
	y.dropTable(from)
	return nil
}

func (y *layout) offlineReplica() error {
	endpoint := string(y.o.info.GetData())
	if err := y.needs(true); err != nil {
		return err
	}
	y.detach(y.leader, endpoint)
	y.setStatus(endpoint, false, false)
	return nil
}

func (y *layout) recoverTable() error {
	var data ns.RecoverTableData
	if err := y.o.read(&data); err != nil {
		return err
	}
	if !data.GetIsLeader() {
		leader := leaderOf(y.p) // even of a tablet that has lost it: the task fails then, in everybody's sight
		if leader == "" {
			return fmt.Errorf("no alive leader")
		}
		y.detach(leader, data.GetEndpoint())
	}
	y.local(api.TaskType_kRecoverTable, func(ctx context.Context) error { return y.chooseRecovery(ctx, &data) })
	return nil
}

func (y *layout) reAddReplica() error {
	var data ns.RecoverTableData
	if err := y.o.read(&data); err != nil {
		return err
	}
	to := data.GetEndpoint()
	if err := y.needs(true, to); err != nil {
		return err
	}
	kind := y.o.info.GetOpType()
	if kind != api.OPType_kReAddReplicaSimplifyOP {
		y.pause(y.leader)
	}
	if kind == api.OPType_kReAddReplicaWithDropOP {
		y.dropTable(to)
	}
	if kind == api.OPType_kReAddReplicaOP || kind == api.OPType_kReAddReplicaWithDropOP {
		y.sendSnapshot(y.leader, to)
	}
	if kind != api.OPType_kReAddReplicaSimplifyOP {
		y.loadTable(to, api.TableMode_kTableFollower)
	}
	y.attach(y.leader, to)
	if kind != api.OPType_kReAddReplicaSimplifyOP {
		y.unpause(y.leader)
	}
	y.checkBinlog(to, data.GetOffsetDelta())
	y.setStatus(to, false, true)
	return nil
}

func (y *layout) reload() error {
	endpoint := string(y.o.info.GetData())
	if err := y.needs(false, endpoint); err != nil {
		return err
	}
	y.loadTable(endpoint, api.TableMode_kTableLeader)
	y.setStatus(endpoint, true, true)
	return nil
}

func (y *layout) updateStatus() error {
	var data ns.EndpointStatusData
	if err := y.o.read(&data); err != nil {
		return err
	}
	if y.o.info.GetOpType() == api.OPType_kUpdateTableAliveOP {
		y.local(api.TaskType_kUpdateTableAlive, func(context.Context) error {
			return y.edit(func(p *ns.TablePartition) error {
				if m := member(p, data.GetEndpoint()); m != nil {
					m.IsAlive = proto.Bool(data.GetIsAlive())
				}
				return nil
			})
		})
		return nil
	}
	y.setStatus(data.GetEndpoint(), data.GetIsLeader(), data.GetIsAlive())
	return nil
}
