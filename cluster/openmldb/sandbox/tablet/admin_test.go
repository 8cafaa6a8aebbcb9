package tablet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/openmldb/wire"
)

func (n *node) registered() string {
	value, _ := n.tree.value(treeRoot + "/nodes/" + n.endpoint)
	return value
}

func TestRegistration(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	if v := n.registered(); v != "startup_"+n.endpoint {
		t.Errorf("after a start: %q", v)
	}
	if v, _ := w.tree.value(treeRoot + "/table/notify"); v != "1" {
		t.Errorf("notify is %q", v)
	}
	w.tree.expire(true) // the session is lost
	w.eventually("it has joined again", func() bool { return n.registered() == n.endpoint })
	well[api.GeneralResponse](n, "DisConnectZK", &api.EmptyRequest{})
	w.eventually("it has joined again by itself", func() bool { return n.registered() == n.endpoint })
	well[api.GeneralResponse](n, "ConnectZK", &api.EmptyRequest{})
	if v := n.registered(); v != n.endpoint {
		t.Errorf("after ConnectZK: %q", v)
	}
	n.kill()
	if v := n.registered(); v != n.endpoint {
		t.Errorf("after a kill, before the session timeout: %q", v)
	}
	n.start()
	if v := n.registered(); v != "startup_"+n.endpoint {
		t.Errorf("after a restart: %q", v)
	}
	n.stop()
	if v := n.registered(); v != "" {
		t.Errorf("after a stop: %q", v)
	}
}

// A start waits for the node of an earlier life to go, and no longer than it is asked to.
func TestStartWaitsForTheOldNode(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.kill()
	config := Config{Endpoint: n.endpoint, Dir: n.dir, Tree: n.tree, Dial: n.dial, Timers: 100}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, config); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that nobody waits for: %v", err)
	}
	waiting := make(chan struct{})
	type result struct {
		tablet *Tablet
		err    error
	}
	done := make(chan result)
	go func() {
		close(waiting)
		tablet, err := Start(n.soon(), config)
		done <- result{tablet, err}
	}()
	<-waiting
	select {
	case r := <-done:
		t.Fatalf("it did not wait: %v", r.err)
	case <-time.After(50 * time.Millisecond): // long enough to fail when it does not wait; a stall only hides that
	}
	w.tree.expire(false)
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	n.tablet = r.tablet
	if v := n.registered(); v != "startup_"+n.endpoint {
		t.Errorf("registered as %q", v)
	}
}

func TestStartRefusals(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	config := Config{Endpoint: n.endpoint, Dir: t.TempDir(), Tree: n.tree, Dial: n.dial}
	if tablet, err := Start(t.Context(), config); err == nil {
		t.Error("two tablets on one port")
		_ = tablet.Kill()
	}
}

func TestStrict(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	n.strict = true
	n.start()
	for credential, admitted := range map[string]bool{
		rpc.ServiceCredential: true,
		"uroot:1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": true,
		"uroot:x": false, "snothing": false, "": false,
	} {
		conn, err := rpc.Dial(t.Context(), n.endpoint, rpc.Options{Credential: credential})
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Call(n.soon(), ServiceName, "GetTableStatus", &api.GetTableStatusRequest{}, &api.GetTableStatusResponse{})
		conn.Close()
		<-conn.Ended()
		var e *rpc.Error
		if admitted && err != nil || !admitted && (!errors.As(err, &e) || e.Code != rpc.CodeAuth) {
			t.Errorf("%q: %v", credential, err)
		}
	}
}

func TestHTTPIsHandedOn(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	tablet, err := Start(n.soon(), Config{
		Endpoint: n.endpoint, Dir: n.dir, Tree: n.tree, Dial: n.dial, Timers: 100,
		HTTP: func(conn net.Conn, services []port.Service) {
			fmt.Fprint(conn, services[0].Name, " ", len(services[0].Methods) > 30)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.tablet = tablet
	conn, err := net.Dial("tcp", n.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /status HTTP/1.1\r\n\r\n")
	if b, err := io.ReadAll(conn); string(b) != ServiceName+" true" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCalls(t *testing.T) {
	calls := (*Tablet)(nil).Calls()
	for _, want := range []string{"put", "get-table-status", "connect-zk", "delete-op-task", "update-table-meta-for-add-field"} {
		if !slices.Contains(calls, want) {
			t.Errorf("no call %q in %v", want, calls)
		}
	}
	if len(TaskPoints()) != 8 || TaskPoints()[4].Name != "tablet.task:load-table" {
		t.Errorf("points of tasks: %v", TaskPoints())
	}
}

// Queries are refused with a text that says why: there is nobody to answer them.
func TestSQL(t *testing.T) {
	n := newWorld(t).started()
	for _, method := range sqlMethods {
		refused[api.GeneralResponse](n, method, &api.EmptyRequest{}, 148, "the sandbox has no SQL engine")
	}
}

func TestFaultPoints(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	if err := n.points.Arm("tablet.before-answer:put", 1); err != nil {
		t.Fatal(err)
	}
	var e *rpc.CallError
	if err := n.try("Put", putRequest(0, "c", "m", "", 1, 1), &api.PutResponse{}); !errors.As(err, &e) || !e.Sent {
		t.Errorf("put: %v", err)
	}
	n.hangUp()
	if n.offset() != 1 {
		t.Errorf("offset %d", n.offset())
	}
	for _, point := range TaskPoints() {
		if err := n.points.Arm(point.Name, 1); err != nil {
			t.Error(err)
		}
	}
	well[api.GeneralResponse](n, "PauseSnapshot", general(asTask(task(1, api.TaskType_kPauseSnapshot))))
	n.ends(1, api.TaskType_kPauseSnapshot, api.TaskStatus_kFailed)
	if s := n.status().GetState(); s != api.TableState_kTableNormal {
		t.Errorf("state %v", s)
	}
	well[api.GeneralResponse](n, "MakeSnapshot", general(asTask(task(1, api.TaskType_kMakeSnapshot))))
	n.ends(1, api.TaskType_kMakeSnapshot, api.TaskStatus_kFailed)
	n.snapshot(2) // a point acts as often as it was armed for
}

// A task that is held is under way until the point is disarmed, and then ends as if nothing had been.
func TestHoldPoints(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	const point = "tablet.hold:make-snapshot"
	if err := n.points.Arm(point, 1); err != nil {
		t.Fatal(err)
	}
	well[api.GeneralResponse](n, "MakeSnapshot", general(asTask(task(1, api.TaskType_kMakeSnapshot))))
	for range 3 {
		if s := n.taskStatus(1, api.TaskType_kMakeSnapshot); s != api.TaskStatus_kDoing {
			t.Errorf("held, it is %v", s)
		}
	}
	if err := n.points.Arm(point, 0); err != nil {
		t.Fatal(err)
	}
	n.ends(1, api.TaskType_kMakeSnapshot, api.TaskStatus_kDone)
}

func TestTasks(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	pause := func(info *api.TaskInfo) *api.GeneralRequest { return general(asTask(info)) }
	well[api.GeneralResponse](n, "PauseSnapshot", pause(task(1, api.TaskType_kPauseSnapshot)))
	refused[api.GeneralResponse](n, "PauseSnapshot", pause(task(1, api.TaskType_kPauseSnapshot)), codeError, "add task failed")
	other := task(1, api.TaskType_kPauseSnapshot)
	other.Pid = proto.Uint32(1)
	well[api.GeneralResponse](n, "PauseSnapshot", pause(other)) // of the same operation, and another partition
	refused[api.GeneralResponse](n, "PauseSnapshot", pause(task(2, api.TaskType_kDropTable)), codeError, "add task failed")
	n.ends(2, api.TaskType_kDropTable, api.TaskStatus_kFailed)
	all := well[api.TaskStatusResponse](n, "GetTaskStatus", &api.TaskStatusRequest{}).GetTask()
	if len(all) != 3 || all[0].GetOpId() != 1 || all[0].GetOpType() != api.OPType_kReAddReplicaOP || all[2].GetOpId() != 2 {
		t.Errorf("tasks: %v", all)
	}
	well[api.GeneralResponse](n, "DeleteOPTask", &api.DeleteTaskRequest{OpId: []uint64{1, 77}})
	if n.taskStatus(1, api.TaskType_kPauseSnapshot) != 0 || n.taskStatus(2, api.TaskType_kDropTable) == 0 {
		t.Error("the wrong tasks were deleted")
	}
	well[api.GeneralResponse](n, "RecoverSnapshot", general())
	n.gate.Slow(time.Hour) // the snapshot, and answers: the calls are made without the network
	var a api.GeneralResponse
	q := general(asTask(task(3, api.TaskType_kMakeSnapshot)))
	if err := n.tablet.makeSnapshot(t.Context(), nil, q, &a); err != nil || a.GetCode() != 0 {
		t.Fatal(err, &a)
	}
	if err := n.tablet.cancelOP(t.Context(), nil, &api.CancelOPRequest{OpId: proto.Uint64(3)}, &a); err != nil {
		t.Fatal(err)
	}
	n.tablet.tasks.mu.Lock()
	if s := n.tablet.tasks.all[3][0].GetStatus(); s != api.TaskStatus_kCanceled {
		t.Errorf("a canceled task is %v", s)
	}
	n.tablet.tasks.mu.Unlock()
	n.gate.Slow(0)
	well[api.GeneralResponse](n, "CancelOP", &api.CancelOPRequest{OpId: proto.Uint64(99)})
}

func TestTableStatus(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	if a := well[api.GetTableStatusResponse](n, "GetTableStatus", &api.GetTableStatusRequest{}); len(a.GetAllTableStatus()) != 0 {
		t.Errorf("an empty tablet has %v", a)
	}
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableFollower, stored(common.StorageMode_kHDD)))
	n.create(testMeta(0, api.TableMode_kTableFollower, func(m *api.TableMeta) { m.Tid = proto.Int32(3) }))
	n.puts(0, 20)
	var ids []string
	for _, s := range well[api.GetTableStatusResponse](n, "GetTableStatus", &api.GetTableStatusRequest{}).GetAllTableStatus() {
		ids = append(ids, fmt.Sprint(s.GetTid(), ".", s.GetPid()))
	}
	if strings.Join(ids, " ") != "3.0 7.0 7.1" {
		t.Errorf("partitions %v", ids)
	}
	a := well[api.GetTableStatusResponse](n, "GetTableStatus", &api.GetTableStatusRequest{Tid: tid})
	if len(a.GetAllTableStatus()) != 2 {
		t.Errorf("of a table: %v", a)
	}
	if a := well[api.GetTableStatusResponse](n, "GetTableStatus", &api.GetTableStatusRequest{Tid: proto.Uint32(5)}); a.Code == nil || a.Msg != nil {
		t.Errorf("of a table that is not there: %v", a)
	}
	s := n.status()
	value := uint64(len(row("card0", "mcc0", "", 0, 1000)))
	if s.GetRecordCnt() != 20 || s.GetIdxCnt() != 40 || s.GetRecordPkCnt() != 13 || s.GetSkiplistHeight() != 4 ||
		s.GetRecordByteSize() != 20*(value+rowOverhead) || s.GetRecordIdxByteSize() == 0 || !s.GetIsExpire() ||
		s.GetDiskused() < 20*value || s.GetName() != "flow" || s.GetMode() != api.TableMode_kTableLeader {
		t.Errorf("status: %v", s)
	}
	sum := uint64(0)
	for _, seg := range s.GetTsIdxStatus()[0].GetSegCnts() {
		sum += seg
	}
	if sum != 20 || len(s.GetTsIdxStatus()) != 3 || len(s.GetTsIdxStatus()[0].GetSegCnts()) != 8 {
		t.Errorf("segments: %v", s.GetTsIdxStatus())
	}
	disk := a.GetAllTableStatus()[1]
	if disk.IsExpire != nil || !strings.HasSuffix(disk.GetSnapshotPath(), "db_hdd/7_1/snapshot/") ||
		!strings.HasSuffix(disk.GetBinlogPath(), "db_hdd/7_1/binlog/") || disk.GetStorageMode() != common.StorageMode_kHDD {
		t.Errorf("status of a partition on a disk: %v", disk)
	}
	refused[api.GetTableSchemaResponse](n, "GetTableSchema", &api.GetTableSchemaRequest{Tid: proto.Int32(1)}, codeNoTable, noTable.text)
}

// A deleted index is not read from, keeps its place, and its name is taken until two collections have passed.
func TestIndexes(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	del := func(name string) *api.DeleteIndexRequest {
		return &api.DeleteIndexRequest{Tid: tid, Pid: pid, IdxName: &name}
	}
	key := &common.ColumnKey{IndexName: proto.String("mcc"), ColName: []string{"mcc"}, TsName: proto.String("ts")}
	add := func(k *common.ColumnKey) *api.AddIndexRequest {
		return &api.AddIndexRequest{Tid: tid, Pid: pid, ColumnKey: k}
	}
	refused[api.GeneralResponse](n, "DeleteIndex", del("mcc"), codeNoTable, noTable.text)
	refused[api.GeneralResponse](n, "AddIndex", add(key), codeNoTable, noTable.text)
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 10)
	refused[api.GeneralResponse](n, "DeleteIndex", del("card"), codeDeleteIndexFailed, "delete index failed")
	refused[api.GeneralResponse](n, "DeleteIndex", del("x"), codeDeleteIndexFailed, "delete index failed")
	well[api.GeneralResponse](n, "DeleteIndex", del("mcc"))
	refused[api.GeneralResponse](n, "DeleteIndex", del("mcc"), codeDeleteIndexFailed, "delete index failed")
	refused[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, Pid: pid, IdxName: proto.String("mcc"), Pk: proto.String("mcc1")}, codeNoIndex, noIndex.text)
	n.puts(10, 5) // their dimension of it is passed over
	only := putRequest(0, "", "mcc1", "", 1, 1)
	refused[api.PutResponse](n, "Put", only, codePutFailed, "7.0: empty ts value map")
	for range 2 {
		refused[api.GeneralResponse](n, "AddIndex", add(key), codeAddIndexFailed, "add index failed")
		n.collect()
	}
	for _, bad := range []*common.ColumnKey{
		{IndexName: proto.String("card"), ColName: []string{"card"}},
		{IndexName: proto.String("new"), ColName: []string{"nothing"}},
		{IndexName: proto.String("new"), ColName: []string{"card"}, TsName: proto.String("nothing")},
		nil,
	} {
		refused[api.GeneralResponse](n, "AddIndex", add(bad), codeAddIndexFailed, "add index failed")
	}
	well[api.GeneralResponse](n, "AddIndex", add(key))
	n.puts(15, 5)
	if got := n.amounts("mcc", 100); len(got) != 5 {
		t.Errorf("a new index has the rows put since: %v", got)
	}
	well[api.GeneralResponse](n, "AddIndex", &api.AddIndexRequest{Tid: tid, Pid: pid, ColumnKeys: []*common.ColumnKey{
		{IndexName: proto.String("card_mcc"), ColName: []string{"card", "mcc"}},
	}})
	q := putRequest(0, "a", "b", "", 20, 20)
	q.Dimensions = append(q.Dimensions, &api.Dimension{Key: proto.String("a|b"), Idx: proto.Uint32(3)})
	well[api.PutResponse](n, "Put", q)
	n.restart()
	n.load(api.TableMode_kTableLeader)
	if got := n.scan("card_mcc", "a|b"); !slices.Equal(got, []int64{20}) {
		t.Errorf("an added index after a restart: %v", got)
	}
	// From the log, rows put while the index was deleted come into it, as its place is taken again.
	if got := len(n.amounts("card", 100)); got != 21 {
		t.Errorf("%d rows", got)
	}
}

func TestAddFields(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	text := types.DataType_kBigInt.Enum()
	q := &api.UpdateTableMetaForAddFieldRequest{
		Tid: tid, ColumnDesc: &common.ColumnDesc{Name: proto.String("fee"), DataType: text},
		VersionPair: &common.VersionPair{Id: proto.Int32(2), FieldCount: proto.Int32(6)},
	}
	refused[api.GeneralResponse](n, "UpdateTableMetaForAddField", q, codeNoTable, "table doesn`t exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableLeader))
	n.put("c", "m", "", 1, 1)
	wider := testSchema
	wider.Version = 2
	wider.Columns = append(slices.Clone(testSchema.Columns), wire.Column{Name: "fee", Type: types.DataType_kBigInt})
	value, err := wider.Encode([]any{"c", "m", "", int64(2), int64(2), int64(9)})
	if err != nil {
		t.Fatal(err)
	}
	put := putRequest(0, "c", "m", "", 2, 2)
	put.Value = value
	refused[api.PutResponse](n, "Put", put, codePutFailed, "7.0: invalid schema version 2")
	well[api.GeneralResponse](n, "UpdateTableMetaForAddField", q)
	well[api.GeneralResponse](n, "UpdateTableMetaForAddField", q) // told again
	well[api.PutResponse](n, "Put", put)
	for p := range int32(2) {
		m := well[api.GetTableSchemaResponse](n, "GetTableSchema", &api.GetTableSchemaRequest{Tid: proto.Int32(testTID), Pid: &p}).GetTableMeta()
		if len(m.GetAddedColumnDesc()) != 1 || len(m.GetSchemaVersions()) != 1 {
			t.Errorf("partition %d: %v", p, m)
		}
	}
	q.ColumnDesc, q.VersionPair = nil, nil
	q.ColumnDescs = []*common.ColumnDesc{{Name: proto.String("a"), DataType: text}, {Name: proto.String("b"), DataType: text}}
	well[api.GeneralResponse](n, "UpdateTableMetaForAddField", q)
	n.restart()
	n.load(api.TableMode_kTableLeader)
	a := well[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, Pid: pid, Pk: proto.String("c")})
	pairs, err := wire.ScanPairs(a.GetPairs())
	if err != nil || len(pairs) != 2 || !slices.Equal(pairs[0].Row, value) {
		t.Errorf("rows of both versions: %v, %v", pairs, err)
	}
}

func TestCatalog(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	version := func() uint64 {
		return well[api.GetCatalogResponse](n, "GetCatalog", &api.EmptyRequest{}).GetCatalog().GetVersion()
	}
	w.eventually("the catalogue's version is the notify node's", func() bool { return version() == 1 })
	s, err := w.tree.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(treeRoot+"/table/notify", []byte("42"), coord.AnyVersion); err != nil {
		t.Fatal(err)
	}
	w.eventually("a change is noticed", func() bool { return version() == 42 })
	if a := call[api.GeneralResponse](n, "Refresh", &api.RefreshRequest{Tid: tid}); a.Code != nil {
		t.Errorf("Refresh: %v", a)
	}
}

// Names stand for addresses once the nameserver has told them.
func TestRealEndpoints(t *testing.T) {
	w := newWorld(t)
	leader, f := w.started(), w.started()
	f.create(testMeta(0, api.TableMode_kTableFollower))
	leader.create(testMeta(0, api.TableMode_kTableLeader))
	well[api.GeneralResponse](leader, "UpdateRealEndpointMap", &api.UpdateRealEndpointMapRequest{
		RealEndpointMap: []*api.RealEndpointPair{{Name: proto.String("tablet_b"), RealEndpoint: &f.endpoint}},
	})
	q := replica(f, nil)
	q.Endpoint = proto.String("tablet_b")
	well[api.AddReplicaResponse](leader, "AddReplica", q)
	leader.puts(0, 5)
	leader.eventually("it follows", func() bool { return leader.followers()["tablet_b"] == 5 })
	f.expectAmounts(0, 5)
}
