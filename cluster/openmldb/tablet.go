package openmldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/commands/spec"
)

// onTablet reads from a tablet.
func (d *Driver) onTablet(ctx context.Context, op, endpoint, name string, q proto.Message, a answer) error {
	if err := checkServer(endpoint); err != nil {
		return err
	}
	return d.askTablet(ctx, op, endpoint, method{tablet, name, false}, q, a)
}

// changeTablet has a tablet change something.
func (d *Driver) changeTablet(ctx context.Context, op, endpoint, name string, q proto.Message, a answer) error {
	if err := checkServer(endpoint); err != nil {
		return err
	}
	return d.askTablet(ctx, op, endpoint, method{tablet, name, true}, q, a)
}

func checkServer(endpoint string) error {
	if why := notServer(endpoint); why != "" {
		return spec.Errorf(spec.Usage, "%q is no tablet: %s", endpoint, why).WithHint("%s", seeTablets)
	}
	return nil
}

// onPartition says what is attempted on which partition.
func onPartition(what string, tid, pid uint32) string {
	return fmt.Sprintf("%s tid %d pid %d", what, tid, pid)
}

// TabletPartitions lists what a tablet has loaded, by table and partition, in one call.
func (d *Driver) TabletPartitions(ctx context.Context, tablet string) ([]TabletPartition, error) {
	a := &api.GetTableStatusResponse{}
	if err := d.onTablet(ctx, "list the partitions", tablet, "GetTableStatus", &api.GetTableStatusRequest{}, a); err != nil {
		return nil, err
	}
	all := make([]TabletPartition, 0, len(a.GetAllTableStatus()))
	for _, s := range a.GetAllTableStatus() {
		all = append(all, tabletPartitionOf(s))
	}
	slices.SortStableFunc(all, func(a, b TabletPartition) int { return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.PID, b.PID)) })
	return all, nil
}

// TabletPartition answers one partition of a tablet: NotFound when it has not loaded it.
func (d *Driver) TabletPartition(ctx context.Context, tablet string, tid, pid uint32) (TabletPartition, error) {
	op := onPartition("read the status of", tid, pid)
	a := &api.GetTableStatusResponse{}
	q := &api.GetTableStatusRequest{Tid: &tid, Pid: &pid}
	if err := d.onTablet(ctx, op, tablet, "GetTableStatus", q, a); err != nil {
		return TabletPartition{}, err
	}
	// A partition that the tablet lacks is answered with "ok" and nothing.
	for _, s := range a.GetAllTableStatus() {
		if s.GetTid() == tid && s.GetPid() == pid {
			return tabletPartitionOf(s), nil
		}
	}
	e := spec.Errorf(spec.NotFound, "the tablet has not loaded it")
	e.Op, e.Endpoint = op, tablet
	return TabletPartition{}, e.WithHint("gettablestatus lists what it has")
}

func tabletPartitionOf(s *api.TableStatus) TabletPartition {
	return TabletPartition{
		Table: s.GetName(), TID: s.GetTid(), PID: s.GetPid(), Offset: s.GetOffset(), Mode: s.GetMode().String(),
		State: s.GetState().String(), Expires: s.GetIsExpire(), Records: s.GetRecordCnt(),
		Memory: s.GetRecordByteSize() + s.GetRecordIdxByteSize(), Disk: s.GetDiskused(), Compress: s.GetCompressType().String(),
		Storage: s.GetStorageMode().String(), SkiplistLevel: s.GetSkiplistHeight(),
	}
}

// TabletFollowers answers what a leading tablet knows of its followers.
func (d *Driver) TabletFollowers(ctx context.Context, tablet string, tid, pid uint32) (Followers, error) {
	a := &api.GetTableFollowerResponse{}
	q := &api.GetTableFollowerRequest{Tid: &tid, Pid: &pid}
	if err := d.onTablet(ctx, onPartition("list the followers of", tid, pid), tablet, "GetTableFollower", q, a); err != nil {
		return Followers{}, err
	}
	f := Followers{Offset: a.GetOffset()}
	for _, i := range a.GetFollowerInfo() {
		f.Followers = append(f.Followers, Follower{Endpoint: i.GetEndpoint(), Offset: i.GetOffset()})
	}
	return f, nil
}

// TabletTermPair answers what a tablet has of a partition in memory or, where it has not loaded it, on disk.
func (d *Driver) TabletTermPair(ctx context.Context, tablet string, tid, pid uint32, storage string) (TermPair, error) {
	mode, err := storageMode(storage)
	if err != nil {
		return TermPair{}, err
	}
	a := &api.GetTermPairResponse{}
	q := &api.GetTermPairRequest{Tid: &tid, Pid: &pid, StorageMode: &mode}
	if err := d.onTablet(ctx, onPartition("read the term of", tid, pid), tablet, "GetTermPair", q, a); err != nil {
		return TermPair{}, err
	}
	return TermPair{Term: a.GetTerm(), Offset: a.GetOffset(), HasTable: a.GetHasTable(), Leader: a.GetIsLeader()}, nil
}

// TabletManifest answers the last snapshot of a partition on a tablet.
func (d *Driver) TabletManifest(ctx context.Context, tablet string, tid, pid uint32, storage string) (Manifest, error) {
	mode, err := storageMode(storage)
	if err != nil {
		return Manifest{}, err
	}
	a := &api.GetManifestResponse{}
	q := &api.GetManifestRequest{Tid: &tid, Pid: &pid, StorageMode: &mode}
	if err := d.onTablet(ctx, onPartition("read the manifest of", tid, pid), tablet, "GetManifest", q, a); err != nil {
		return Manifest{}, err
	}
	m := a.GetManifest()
	return Manifest{Offset: m.GetOffset(), Count: m.GetCount(), Term: m.GetTerm(), Name: m.GetName()}, nil
}

// TabletTasks lists the tasks of operations that a tablet has, or had until the nameserver was told of their end.
func (d *Driver) TabletTasks(ctx context.Context, tablet string) ([]OpTask, error) {
	a := &api.TaskStatusResponse{}
	if err := d.onTablet(ctx, "list the tasks", tablet, "GetTaskStatus", &api.TaskStatusRequest{}, a); err != nil {
		return nil, err
	}
	var all []OpTask
	for _, t := range a.GetTask() {
		all = append(all, OpTask{
			Op: t.GetOpId(), Type: t.GetTaskType().String(), Status: t.GetStatus().String(), Tablet: tablet, Endpoint: said(t.GetEndpoint()),
		})
	}
	return all, nil
}

var (
	getTableSchema = method{tablet, "GetTableSchema", false}
	errNoSchema    = errors.New("the tablet is of a release that tells no schema")
)

// TabletSchema answers a table as a tablet has it: with the places of its indexes, which the nameserver does not tell
// once one was deleted. It has no partitions.
func (d *Driver) TabletSchema(ctx context.Context, tablet string, tid, pid uint32) (*Table, error) {
	if err := checkServer(tablet); err != nil {
		return nil, err
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	t, err := d.schema(ctx, tablet, tid, pid)
	return t, failure(onPartition("read the schema of", tid, pid), false, err)
}

func (d *Driver) schema(ctx context.Context, tablet string, tid, pid uint32) (*Table, error) {
	a := &api.GetTableSchemaResponse{}
	q := &api.GetTableSchemaRequest{Tid: proto.Int32(int32(tid)), Pid: proto.Int32(int32(pid))}
	if err := d.ask(ctx, tablet, getTableSchema, q, a); err != nil {
		return nil, err
	}
	m := a.GetTableMeta()
	if m == nil {
		return nil, &spec.Error{Kind: spec.Unable, Endpoint: tablet, Err: errNoSchema}
	}
	t := &Table{
		TableName: TableName{DB: m.GetDb(), Name: m.GetName()}, ID: uint32(m.GetTid()), Compress: m.GetCompressType().String(),
		Storage: m.GetStorageMode().String(), Segments: uint32(m.GetSegCnt()),
	}
	t.describe(m.GetColumnDesc(), m.GetAddedColumnDesc(), m.GetSchemaVersions(), m.GetColumnKey())
	return t, nil
}

// TabletLoadTable has a tablet load a partition from its disk, which goes on after it answered. Only tables in memory can
// be loaded so.
func (d *Driver) TabletLoadTable(ctx context.Context, tablet string, load LoadTable) error {
	mode, err := storageMode(load.Storage)
	if err != nil {
		return err
	}
	role := api.TableMode_kTableFollower
	if load.Leader {
		role = api.TableMode_kTableLeader
	}
	m := &api.TableMeta{
		Name: proto.String(load.Table.Name), Db: proto.String(load.Table.DB), Tid: proto.Int32(int32(load.TID)),
		Pid: proto.Int32(int32(load.PID)), SegCnt: proto.Int32(int32(load.Segments)), Mode: &role, StorageMode: &mode,
	}
	op := onPartition("load", load.TID, load.PID)
	return d.changeTablet(ctx, op, tablet, "LoadTable", &api.LoadTableRequest{TableMeta: m}, &api.GeneralResponse{})
}

// TabletDropTable deletes a partition from a tablet, rows and files. Nobody asks why.
func (d *Driver) TabletDropTable(ctx context.Context, tablet string, tid, pid uint32) error {
	q := &api.DropTableRequest{Tid: proto.Int32(int32(tid)), Pid: proto.Int32(int32(pid))}
	return d.changeTablet(ctx, onPartition("drop", tid, pid), tablet, "DropTable", q, &api.DropTableResponse{})
}

// TabletChangeRole makes a partition on a tablet a leader or a follower.
func (d *Driver) TabletChangeRole(ctx context.Context, tablet string, tid, pid uint32, role TabletRole) error {
	q := &api.ChangeRoleRequest{Tid: &tid, Pid: &pid, Mode: api.TableMode_kTableFollower.Enum()}
	if role.Leader {
		q.Mode, q.Replicas, q.Term = api.TableMode_kTableLeader.Enum(), role.Replicas, &role.Term
	}
	return d.changeTablet(ctx, onPartition("change the role of", tid, pid), tablet, "ChangeRole", q, &api.ChangeRoleResponse{})
}

// TabletAddReplica has a leading tablet replicate to another one.
func (d *Driver) TabletAddReplica(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error {
	q := &api.ReplicaRequest{Tid: &tid, Pid: &pid, Endpoint: &endpoint}
	op := onPartition("add replica "+endpoint+" of", tid, pid)
	return d.changeTablet(ctx, op, tablet, "AddReplica", q, &api.AddReplicaResponse{})
}

// TabletDelReplica ends that. A replica that is not there is "ok", too.
func (d *Driver) TabletDelReplica(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error {
	q := &api.ReplicaRequest{Tid: &tid, Pid: &pid, Endpoint: &endpoint}
	op := onPartition("delete replica "+endpoint+" of", tid, pid)
	return d.changeTablet(ctx, op, tablet, "DelReplica", q, &api.GeneralResponse{})
}

// partitionRequest names a partition to calls on snapshots.
func partitionRequest(tid, pid uint32) *api.GeneralRequest {
	return &api.GeneralRequest{Tid: proto.Int32(int32(tid)), Pid: proto.Int32(int32(pid))}
}

// TabletMakeSnapshot begins a snapshot; with an offset it ends there.
func (d *Driver) TabletMakeSnapshot(ctx context.Context, tablet string, tid, pid uint32, offset uint64, storage string) error {
	mode, err := storageMode(storage)
	if err != nil {
		return err
	}
	q := partitionRequest(tid, pid)
	if mode != common.StorageMode_kMemory {
		q.StorageMode = &mode
	}
	if offset > 0 {
		q.Offset = &offset
	}
	return d.changeTablet(ctx, onPartition("make a snapshot of", tid, pid), tablet, "MakeSnapshot", q, &api.GeneralResponse{})
}

// TabletPauseSnapshot keeps a partition from making snapshots, so that its last one can be sent.
func (d *Driver) TabletPauseSnapshot(ctx context.Context, tablet string, tid, pid uint32) error {
	op := onPartition("pause snapshots of", tid, pid)
	return d.changeTablet(ctx, op, tablet, "PauseSnapshot", partitionRequest(tid, pid), &api.GeneralResponse{})
}

// TabletRecoverSnapshot ends that.
func (d *Driver) TabletRecoverSnapshot(ctx context.Context, tablet string, tid, pid uint32) error {
	op := onPartition("resume snapshots of", tid, pid)
	return d.changeTablet(ctx, op, tablet, "RecoverSnapshot", partitionRequest(tid, pid), &api.GeneralResponse{})
}

// TabletSendSnapshot begins to send a partition's snapshot to another tablet. Snapshots must be paused.
func (d *Driver) TabletSendSnapshot(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error {
	q := &api.SendSnapshotRequest{Tid: &tid, Pid: &pid, Endpoint: &endpoint}
	op := onPartition("send to "+endpoint+" the snapshot of", tid, pid)
	return d.changeTablet(ctx, op, tablet, "SendSnapshot", q, &api.GeneralResponse{})
}

// TabletSetExpire says whether rows of a partition expire.
func (d *Driver) TabletSetExpire(ctx context.Context, tablet string, tid, pid uint32, expire bool) error {
	q := &api.SetExpireRequest{Tid: proto.Int32(int32(tid)), Pid: proto.Int32(int32(pid)), IsExpire: &expire}
	return d.changeTablet(ctx, onPartition("set expiry of", tid, pid), tablet, "SetExpire", q, &api.GeneralResponse{})
}

// TabletSetTTL sets when rows of an index of a partition expire, or of all its indexes for "".
func (d *Driver) TabletSetTTL(ctx context.Context, tablet string, tid, pid uint32, index string, ttl TTL) error {
	desc, err := ttl.toWire()
	if err != nil {
		return err
	}
	q := &api.UpdateTTLRequest{Tid: proto.Int32(int32(tid)), Pid: proto.Int32(int32(pid)), Ttl: desc}
	if index != "" {
		q.IndexName = &index
	}
	return d.changeTablet(ctx, onPartition("set the TTL of", tid, pid), tablet, "UpdateTTL", q, &api.UpdateTTLResponse{})
}

// TabletDeleteIndex deletes an index of a partition.
func (d *Driver) TabletDeleteIndex(ctx context.Context, tablet string, tid, pid uint32, index string) error {
	q := &api.DeleteIndexRequest{Tid: &tid, Pid: &pid, IdxName: &index}
	return d.changeTablet(ctx, onPartition("delete index "+index+" of", tid, pid), tablet, "DeleteIndex", q, &api.GeneralResponse{})
}

// TabletConnectZK has a tablet begin a session with ZooKeeper again.
func (d *Driver) TabletConnectZK(ctx context.Context, tablet string) error {
	return d.changeTablet(ctx, "connect the tablet to ZooKeeper", tablet, "ConnectZK", &api.EmptyRequest{}, &api.GeneralResponse{})
}

// TabletDisconnectZK has a tablet end its session with ZooKeeper: to the nameserver it is gone.
func (d *Driver) TabletDisconnectZK(ctx context.Context, tablet string) error {
	return d.changeTablet(ctx, "disconnect the tablet from ZooKeeper", tablet, "DisConnectZK", &api.EmptyRequest{}, &api.GeneralResponse{})
}
