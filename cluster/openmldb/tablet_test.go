package openmldb

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/commands/spec"
)

// Every change of a tablet sends the request it stands for.
func TestTabletChanges(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	s := b.tablets[0]
	at := s.endpoint
	tid, pid := proto.Int32(4), proto.Int32(1)
	utid, upid := proto.Uint32(4), proto.Uint32(1)
	for _, tt := range []struct {
		method string
		do     func(ctx context.Context) error
		want   proto.Message
	}{
		{"LoadTable", func(ctx context.Context) error {
			return d.TabletLoadTable(ctx, at, LoadTable{Table: TableName{"db", "flow"}, TID: 4, PID: 1, Segments: 8, Leader: true})
		}, &api.LoadTableRequest{TableMeta: &api.TableMeta{
			Name: proto.String("flow"), Db: proto.String("db"), Tid: tid, Pid: pid, SegCnt: proto.Int32(8), Mode: api.TableMode_kTableLeader.Enum(),
			StorageMode: common.StorageMode_kMemory.Enum(),
		}}},
		{"DropTable", func(ctx context.Context) error { return d.TabletDropTable(ctx, at, 4, 1) }, &api.DropTableRequest{Tid: tid, Pid: pid}},
		{"ChangeRole", func(ctx context.Context) error {
			return d.TabletChangeRole(ctx, at, 4, 1, TabletRole{Leader: true, Replicas: []string{"b:1"}, Term: 7})
		}, &api.ChangeRoleRequest{Tid: utid, Pid: upid, Mode: api.TableMode_kTableLeader.Enum(), Replicas: []string{"b:1"}, Term: proto.Uint64(7)}},
		{"ChangeRole", func(ctx context.Context) error { return d.TabletChangeRole(ctx, at, 4, 1, TabletRole{}) }, &api.ChangeRoleRequest{
			Tid: utid, Pid: upid, Mode: api.TableMode_kTableFollower.Enum(),
		}},
		{"AddReplica", func(ctx context.Context) error { return d.TabletAddReplica(ctx, at, 4, 1, "b:1") }, &api.ReplicaRequest{Tid: utid, Pid: upid, Endpoint: proto.String("b:1")}},
		{"DelReplica", func(ctx context.Context) error { return d.TabletDelReplica(ctx, at, 4, 1, "b:1") }, &api.ReplicaRequest{Tid: utid, Pid: upid, Endpoint: proto.String("b:1")}},
		{"MakeSnapshot", func(ctx context.Context) error { return d.TabletMakeSnapshot(ctx, at, 4, 1, 9, "kHDD") }, &api.GeneralRequest{
			Tid: tid, Pid: pid, Offset: proto.Uint64(9), StorageMode: common.StorageMode_kHDD.Enum(),
		}},
		{"PauseSnapshot", func(ctx context.Context) error { return d.TabletPauseSnapshot(ctx, at, 4, 1) }, &api.GeneralRequest{Tid: tid, Pid: pid}},
		{"RecoverSnapshot", func(ctx context.Context) error { return d.TabletRecoverSnapshot(ctx, at, 4, 1) }, &api.GeneralRequest{Tid: tid, Pid: pid}},
		{"SendSnapshot", func(ctx context.Context) error { return d.TabletSendSnapshot(ctx, at, 4, 1, "b:1") }, &api.SendSnapshotRequest{
			Tid: utid, Pid: upid, Endpoint: proto.String("b:1"),
		}},
		{"SetExpire", func(ctx context.Context) error { return d.TabletSetExpire(ctx, at, 4, 1, false) }, &api.SetExpireRequest{Tid: tid, Pid: pid, IsExpire: proto.Bool(false)}},
		{"UpdateTTL", func(ctx context.Context) error { return d.TabletSetTTL(ctx, at, 4, 1, "card", TTL{Minutes: 3}) }, &api.UpdateTTLRequest{
			Tid: tid, Pid: pid, IndexName: proto.String("card"), Ttl: &common.TTLSt{TtlType: types.TTLType_kAbsoluteTime.Enum(), AbsTtl: proto.Uint64(3), LatTtl: proto.Uint64(0)},
		}},
		{"DeleteIndex", func(ctx context.Context) error { return d.TabletDeleteIndex(ctx, at, 4, 1, "card") }, &api.DeleteIndexRequest{
			Tid: utid, Pid: upid, IdxName: proto.String("card"),
		}},
		{"ConnectZK", func(ctx context.Context) error { return d.TabletConnectZK(ctx, at) }, &api.EmptyRequest{}},
		{"DisConnectZK", func(ctx context.Context) error { return d.TabletDisconnectZK(ctx, at) }, &api.EmptyRequest{}},
	} {
		before := s.calls(tt.method)
		if err := tt.do(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.method, err)
			continue
		}
		if n := s.calls(tt.method) - before; n != 1 {
			t.Errorf("%s: sent %d times", tt.method, n)
		}
		s.mu.Lock()
		got := s.last[tt.method]
		s.mu.Unlock()
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", tt.method, diff)
		}
		s.refusing(tt.method, 105, "table status is not kNormal")
		wantError(t, tt.do(t.Context()), spec.Unavailable, "105 table status is not kNormal", at)
		s.refusing(tt.method, 0, "ok")
	}
	if n := b.ns.calls("ConfGet"); n != 0 {
		t.Error("the nameserver need not be asked")
	}
}

func TestTabletQuestions(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, 20*time.Second, b.ns)
	s := b.tablets[0]
	ctx, at := t.Context(), s.endpoint
	check := func(what string, got, want any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
	}
	want := TabletPartition{
		Table: "flow", TID: 4, PID: 1, Offset: 101, Mode: "kTableFollower", State: "kTableNormal", Expires: true, Records: 10, Memory: 1000,
		Compress: "kNoCompress", Storage: "kUnknown",
	}
	all, err := d.TabletPartitions(ctx, at)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	check("partitions", all[1], want, err)
	p, err := d.TabletPartition(ctx, at, 4, 1)
	check("partition", p, want, err)
	_, err = d.TabletPartition(ctx, at, 4, 9)
	wantError(t, err, spec.NotFound, "not loaded", at)
	answering(s, "GetTableFollower", func(_ *api.GetTableFollowerRequest, a *api.GetTableFollowerResponse) {
		a.Offset, a.FollowerInfo = proto.Uint64(9), []*api.FollowerInfo{{Endpoint: proto.String("b:1"), Offset: proto.Uint64(8)}}
	})
	f, err := d.TabletFollowers(ctx, at, 4, 1)
	check("followers", f, Followers{Offset: 9, Followers: []Follower{{"b:1", 8}}}, err)
	answering(s, "GetTermPair", func(q *api.GetTermPairRequest, a *api.GetTermPairResponse) {
		a.Term, a.Offset, a.HasTable, a.IsLeader = proto.Uint64(3), proto.Uint64(5), proto.Bool(true), proto.Bool(q.GetStorageMode() == common.StorageMode_kSSD)
	})
	term, err := d.TabletTermPair(ctx, at, 4, 1, "kSSD")
	check("term", term, TermPair{3, 5, true, true}, err)
	answering(s, "GetManifest", func(_ *api.GetManifestRequest, a *api.GetManifestResponse) {
		a.Manifest = &api.Manifest{Offset: proto.Uint64(1), Name: proto.String("s"), Count: proto.Uint64(2), Term: proto.Uint64(3)}
	})
	m, err := d.TabletManifest(ctx, at, 4, 1, "")
	check("manifest", m, Manifest{Offset: 1, Count: 2, Term: 3, Name: "s"}, err)
	schema, err := d.TabletSchema(ctx, at, 4, 1)
	if err != nil || len(schema.Columns) != 4 || schema.Name != "flow" || schema.ID != 4 {
		t.Errorf("%+v %v", schema, err)
	}
	s.refusing("GetTableSchema", 0, "ok")
	_, err = d.TabletSchema(ctx, at, 4, 1)
	wantError(t, err, spec.Unable, "release", at)
}

func TestOps(t *testing.T) {
	b := newBox(t, 1)
	answering(b.ns, "ShowOPStatus", func(q *ns.ShowOPStatusRequest, a *ns.ShowOPStatusResponse) {
		a.OpStatus = []*ns.OPStatus{
			{
				OpId: proto.Uint64(54), OpType: proto.String("kChangeLeaderOP"), Status: proto.String("kDone"), StartTime: proto.Uint64(1535111895), EndTime: proto.Uint64(1535111896),
				TaskType: proto.String("-"), Name: proto.String("flow"), Pid: proto.Uint32(1), Db: proto.String("db"), ForReplicaCluster: proto.Int32(1),
			},
			{OpId: proto.Uint64(60), OpType: proto.String("kReAddReplicaOP"), Status: proto.String("kDoing"), StartTime: proto.Uint64(0), EndTime: proto.Uint64(1 << 60), TaskType: proto.String("kLoadTable")},
		}
	})
	d := open(t, 20*time.Second, b.ns)
	ops, err := d.Ops(t.Context(), OpFilter{Partition: -1})
	want := []Op{
		{ID: 54, Type: "kChangeLeaderOP", Status: "kDone", Table: TableName{"db", "flow"}, Partition: 1, Start: time.Unix(1535111895, 0), End: time.Unix(1535111896, 0), ReplicaCluster: true},
		{ID: 60, Type: "kReAddReplicaOP", Status: "kDoing", Task: "kLoadTable", Partition: -1},
	}
	if diff := cmp.Diff(want, ops); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if !ops[0].Over() || ops[1].Over() {
		t.Error("over or not")
	}
	for _, tt := range []struct {
		filter OpFilter
		want   *ns.ShowOPStatusRequest
	}{
		{OpFilter{}, &ns.ShowOPStatusRequest{}},
		{OpFilter{ID: 7, Partition: 3}, &ns.ShowOPStatusRequest{OpId: proto.Uint64(7)}},
		{OpFilter{Table: TableName{"", "flow"}, Partition: -1}, &ns.ShowOPStatusRequest{Name: proto.String("flow"), Db: proto.String("")}},
		{OpFilter{Table: TableName{"db", "flow"}, Partition: 0}, &ns.ShowOPStatusRequest{Name: proto.String("flow"), Db: proto.String("db"), Pid: proto.Uint32(0)}},
	} {
		if _, err := d.Ops(t.Context(), tt.filter); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, request[*ns.ShowOPStatusRequest](b.ns, "ShowOPStatus"), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
}

// What is found of operations comes from ZooKeeper and from the tablets, one of which may be dead.
func TestTraceOps(t *testing.T) {
	b := newBox(t, 1)
	task := func(op uint64, kind api.TaskType, status api.TaskStatus, endpoint string) *api.TaskInfo {
		return &api.TaskInfo{OpId: &op, OpType: api.OPType_kReAddReplicaOP.Enum(), TaskType: &kind, Status: &status, Endpoint: proto.String(endpoint)}
	}
	answering(b.tablets[0], "GetTaskStatus", func(_ *api.TaskStatusRequest, a *api.TaskStatusResponse) {
		a.Task = []*api.TaskInfo{task(61, api.TaskType_kLoadTable, api.TaskStatus_kDoing, "b:1"), task(99, api.TaskType_kLoadTable, api.TaskStatus_kDone, "b:1")}
	})
	b.tablets[1].stop()
	child := opInfo(api.OPType_kReAddReplicaOP, &ns.RecoverTableData{Endpoint: proto.String("a:1")})
	child.ParentId, child.VecIdx = proto.Uint64(58), proto.Uint32(1)
	top := opInfo(api.OPType_kRecoverTableOP, &ns.RecoverTableData{Endpoint: proto.String("a:1")})
	top.ParentId = proto.Uint64(math.MaxUint64)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": b.ns.endpoint})
	for id, info := range map[string]*api.OPInfo{"60": child, "58": top, "59": opInfo(api.OPType_kMigrateOP, &ns.MigrateInfo{DesEndpoint: proto.String("c:1")})} {
		data, err := proto.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		z.nodes["/om/op/op_data/"+id] = string(data)
	}
	d := openTree(t, cluster.Options{}, z)
	got, err := d.TraceOps(t.Context(), 58, 59, 60, 61, 62)
	want := map[uint64]OpTrace{
		58: {Endpoint: "a:1", Step: 2, Queue: -1},
		59: {Endpoint: "c:1", Step: 2, Queue: -1},
		60: {Endpoint: "a:1", Step: 2, Queue: 1, Parent: 58},
		61: {Endpoint: "b:1", Step: -1, Queue: -1, Tasks: []OpTask{{61, "kLoadTable", "kDoing", b.tablets[0].endpoint, "b:1"}}},
		62: {Step: -1, Queue: -1},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, data := range map[string]string{"garbage": "\xff\xff\xff", "an odd server": string(mustMarshal(t, &api.OPInfo{
		OpId: proto.Uint64(1), OpType: api.OPType_kDelReplicaOP.Enum(), TaskIndex: proto.Uint32(0), Data: []byte("a\x1b[2J"),
	}))} {
		z.set("/om/op/op_data/70", data)
		_, err = d.TraceOps(t.Context(), 70)
		if err == nil {
			t.Errorf("%s passes", name)
		}
		wantError(t, err, spec.Failed, "operation 70", "makes no sense")
	}
	// Without ZooKeeper there are the tablets.
	d = open(t, 20*time.Second, b.ns)
	got, err = d.TraceOps(t.Context(), 58, 61)
	want = map[uint64]OpTrace{58: {Step: -1, Queue: -1}, 61: want[61]}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Plans of every kind that names a node.
func TestEndpointOf(t *testing.T) {
	end := proto.String("a:1")
	for kind, info := range map[string]*api.OPInfo{
		"add":     opInfo(api.OPType_kAddReplicaOP, &ns.AddReplicaNSRequest{Name: proto.String("t"), Pid: proto.Uint32(0), Endpoint: end}),
		"change":  opInfo(api.OPType_kChangeLeaderOP, &ns.ChangeLeaderData{CandidateLeader: end}),
		"changed": opInfo(api.OPType_kChangeLeaderOP, &ns.ChangeLeaderData{CandidateLeader: proto.String("b:1"), Leader: end}),
		"status":  opInfo(api.OPType_kUpdatePartitionStatusOP, &ns.EndpointStatusData{Endpoint: end}),
		"offline": {OpId: proto.Uint64(1), OpType: api.OPType_kOfflineReplicaOP.Enum(), TaskIndex: proto.Uint32(0), Data: []byte("a:1")},
	} {
		if got, err := endpointOf(info); err != nil || got != "a:1" {
			t.Errorf("%s: %q %v", kind, got, err)
		}
	}
	if got, err := endpointOf(opInfo(api.OPType_kMakeSnapshotOP, &ns.MakeSnapshotNSRequest{Name: proto.String("t"), Pid: proto.Uint32(0)})); err != nil || got != "" {
		t.Errorf("%q %v", got, err)
	}
}
