package tablet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
)

func sendRequest(to *node, info *api.TaskInfo) *api.SendSnapshotRequest {
	return &api.SendSnapshotRequest{Tid: tid, Pid: pid, Endpoint: &to.endpoint, TaskInfo: info, RemoteTid: tid}
}

// reAdd is what a nameserver does to bring a replica to a tablet that has nothing: pause, send, load, add, recover.
func reAdd(leader, to *node, change ...func(*api.TableMeta)) {
	leader.t.Helper()
	const op = 1000
	defer func() {
		well[api.GeneralResponse](leader, "DeleteOPTask", &api.DeleteTaskRequest{OpId: []uint64{op}})
		well[api.GeneralResponse](to, "DeleteOPTask", &api.DeleteTaskRequest{OpId: []uint64{op}})
	}()
	well[api.GeneralResponse](leader, "PauseSnapshot", general(asTask(task(op, api.TaskType_kPauseSnapshot))))
	leader.ends(op, api.TaskType_kPauseSnapshot, api.TaskStatus_kDone)
	well[api.GeneralResponse](leader, "SendSnapshot", sendRequest(to, task(op, api.TaskType_kSendSnapshot)))
	leader.ends(op, api.TaskType_kSendSnapshot, api.TaskStatus_kDone)
	q := loadRequest(api.TableMode_kTableFollower, change...)
	q.TaskInfo = task(op, api.TaskType_kLoadTable)
	well[api.GeneralResponse](to, "LoadTable", q)
	to.ends(op, api.TaskType_kLoadTable, api.TaskStatus_kDone)
	well[api.AddReplicaResponse](leader, "AddReplica", replica(to, task(op, api.TaskType_kAddReplica)))
	leader.ends(op, api.TaskType_kAddReplica, api.TaskStatus_kDone)
	well[api.GeneralResponse](leader, "RecoverSnapshot", general(asTask(task(op, api.TaskType_kRecoverSnapshot))))
	leader.ends(op, api.TaskType_kRecoverSnapshot, api.TaskStatus_kDone)
}

// A snapshot, the binlog deleted, and both sent to a tablet that has nothing, with more written meanwhile.
func TestSendSnapshot(t *testing.T) {
	for _, mode := range []common.StorageMode{common.StorageMode_kMemory, common.StorageMode_kSSD} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t)
			leader, empty := w.started(), w.started()
			leader.create(testMeta(0, api.TableMode_kTableLeader, stored(mode)))
			leader.puts(0, 300)
			leader.snapshot(1)
			leader.restart()
			well[api.GeneralResponse](leader, "DeleteBinlog", general(func(q *api.GeneralRequest) { q.StorageMode = mode.Enum() }))
			leader.load(api.TableMode_kTableLeader, stored(mode))
			leader.expectAmounts(0, 300)
			leader.puts(300, 50)
			reAdd(leader, empty, stored(mode))
			empty.follows(leader)
			empty.expectAmounts(0, 350)
			leader.puts(350, 10)
			empty.follows(leader)
			for _, n := range []*node{leader, empty} {
				n.restart()
				n.load(api.TableMode_kTableFollower, stored(mode))
				n.expectAmounts(0, 360)
			}
		})
	}
}

// A partition without a snapshot has its description sent; the rows come from the binlog.
func TestSendNothing(t *testing.T) {
	w := newWorld(t)
	leader, empty := w.started(), w.started()
	leader.create(testMeta(0, api.TableMode_kTableLeader))
	leader.puts(0, 30)
	reAdd(leader, empty)
	empty.follows(leader)
	empty.expectAmounts(0, 30)
}

func TestSendSnapshotRefusals(t *testing.T) {
	w := newWorld(t)
	n, to := w.started(), w.node() // which is not running
	refused[api.GeneralResponse](n, "SendSnapshot", sendRequest(to, task(1, api.TaskType_kSendSnapshot)), codeNoTable, noTable.text)
	n.ends(1, api.TaskType_kSendSnapshot, api.TaskStatus_kFailed)
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.GeneralResponse](n, "SendSnapshot", sendRequest(to, nil), codeNotPaused, "table status is not kSnapshotPaused")
	well[api.GeneralResponse](n, "PauseSnapshot", general())
	well[api.GeneralResponse](n, "PauseSnapshot", general())
	refused[api.GeneralResponse](n, "MakeSnapshot", general(), codeNotNormal, "table status is not kNormal")
	well[api.GeneralResponse](n, "SendSnapshot", sendRequest(to, task(2, api.TaskType_kSendSnapshot)))
	if n.taskStatus(2, api.TaskType_kSendSnapshot) == api.TaskStatus_kDoing {
		a := call[api.GeneralResponse](n, "SendSnapshot", sendRequest(to, nil))
		if a.GetCode() != codeSnapshotSending && n.taskStatus(2, api.TaskType_kSendSnapshot) == api.TaskStatus_kDoing {
			t.Errorf("a second one meanwhile: %v", a)
		}
	}
	n.ends(2, api.TaskType_kSendSnapshot, api.TaskStatus_kFailed)
	n.changeRole(api.TableMode_kTableFollower, 0)
	refused[api.GeneralResponse](n, "SendSnapshot", sendRequest(to, nil), codeIsFollower, isFollower.text)
	well[api.GeneralResponse](n, "RecoverSnapshot", general())
	well[api.GeneralResponse](n, "RecoverSnapshot", general())
	if s := n.status().GetState(); s != api.TableState_kTableNormal {
		t.Errorf("state %v", s)
	}
	missing := &api.GeneralRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(5)}
	refused[api.GeneralResponse](n, "PauseSnapshot", missing, codeNoTable, noTable.text)
	refused[api.GeneralResponse](n, "RecoverSnapshot", missing, codeNoTable, noTable.text)
	refused[api.GeneralResponse](n, "MakeSnapshot", missing, codeNoSnapshot, "snapshot does not exist")
}

// A receiver that already has the partition takes nothing.
func TestSendToWhoHasIt(t *testing.T) {
	w := newWorld(t)
	leader, other := w.started(), w.started()
	leader.create(testMeta(0, api.TableMode_kTableLeader))
	other.create(testMeta(0, api.TableMode_kTableFollower))
	well[api.GeneralResponse](leader, "PauseSnapshot", general())
	well[api.GeneralResponse](leader, "SendSnapshot", sendRequest(other, task(1, api.TaskType_kSendSnapshot)))
	leader.ends(1, api.TaskType_kSendSnapshot, api.TaskStatus_kFailed)
}

func TestMakeSnapshot(t *testing.T) {
	w := newWorld(t)
	w.tune.threshold = 50
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	manifest := func() *api.Manifest {
		return well[api.GetManifestResponse](n, "GetManifest", &api.GetManifestRequest{Tid: tid, Pid: pid}).GetManifest()
	}
	n.puts(0, 40)
	n.snapshot(1)
	if m := manifest(); m.GetOffset() != 0 {
		t.Errorf("below the threshold: %v", m)
	}
	n.puts(40, 20)
	n.snapshot(2)
	if m := manifest(); m.GetOffset() != 60 || m.GetCount() != 60 || m.GetTerm() != 1 || m.GetName() == "" {
		t.Errorf("past the threshold: %v", m)
	}
	all := well[api.TableSnapshotOffsetResponse](n, "GetAllSnapshotOffset", &api.EmptyRequest{}).GetTables()
	if len(all) != 1 || all[0].GetTid() != testTID || all[0].GetParts()[0].GetOffset() != 60 {
		t.Errorf("GetAllSnapshotOffset: %v", all)
	}
	n.puts(60, 10)
	n.changeRole(api.TableMode_kTableFollower, 0)
	n.changeRole(api.TableMode_kTableLeader, 5)
	n.puts(70, 10)
	make := func(op, offset uint64, how api.TaskStatus) {
		t.Helper()
		well[api.GeneralResponse](n, "MakeSnapshot", general(upTo(offset), asTask(task(op, api.TaskType_kMakeSnapshot))))
		n.ends(op, api.TaskType_kMakeSnapshot, how)
	}
	make(3, 60, api.TaskStatus_kFailed)
	make(4, 65, api.TaskStatus_kDone)
	if m := manifest(); m.GetOffset() != 65 || m.GetCount() != 65 || m.GetTerm() != 1 {
		t.Errorf("up to 65: %v", m)
	}
	make(5, 75, api.TaskStatus_kDone)
	if m := manifest(); m.GetOffset() != 75 || m.GetTerm() != 5 {
		t.Errorf("up to 75: %v", m)
	}
	make(6, 1000, api.TaskStatus_kDone)
	if m := manifest(); m.GetOffset() != 80 {
		t.Errorf("up to more than there is: %v", m)
	}
	files, _ := filepath.Glob(filepath.Join(n.partitionDir(common.StorageMode_kMemory), snapshotDir, "*"))
	if len(files) != 2 {
		t.Errorf("old snapshots are left: %v", files)
	}
	n.restart()
	pair := well[api.GetTermPairResponse](n, "GetTermPair", &api.GetTermPairRequest{Tid: tid, Pid: pid})
	if pair.GetHasTable() || pair.GetTerm() != 5 || pair.GetOffset() != 80 || pair.GetMsg() != noTable.text {
		t.Errorf("GetTermPair from the disk: %v", pair)
	}
	n.load(api.TableMode_kTableLeader)
	n.expectAmounts(0, 80)
	make(7, 80, api.TaskStatus_kFailed) // what there is is known again
}

// A snapshot made while rows are written has those up to its offset, and no half of anything.
func TestSnapshotWhileWriting(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 100)
	conn := n.conn
	stop, stopped := make(chan struct{}), 0
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 100; ; i++ {
			select {
			case <-stop:
				stopped = i
				return
			default:
			}
			q := putRequest(0, "card", "mcc", "", int64(i), int64(1000+i))
			if err := conn.Call(n.soon(), ServiceName, "Put", q, &api.PutResponse{}); err != nil {
				t.Error(err)
				stopped = i
				return
			}
		}
	})
	for op := range uint64(5) {
		n.snapshot(op + 1)
	}
	close(stop)
	writer.Wait()
	n.restart()
	n.load(api.TableMode_kTableLeader)
	n.expectAmounts(0, stopped)
}

// A row of which some indexes were deleted comes back without them.
func TestSnapshotKeepsDeletedDimensionsOut(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 10)
	well[api.GeneralResponse](n, "Delete", &api.DeleteRequest{
		Tid: tid, Pid: pid, Dimensions: []*api.Dimension{{Key: proto.String("card3"), Idx: proto.Uint32(0)}},
	})
	n.snapshot(1)
	n.restart()
	n.load(api.TableMode_kTableLeader)
	if a, b := len(n.amounts("card", 100)), len(n.amounts("mcc", 100)); a != 9 || b != 10 {
		t.Errorf("%d and %d rows", a, b)
	}
}

// sendBlock sends a block of a file and answers the code and text.
func (n *node) sendBlock(name string, block uint64, b []byte, change ...func(*api.SendDataRequest)) string {
	n.t.Helper()
	q := &api.SendDataRequest{Tid: tid, Pid: pid, FileName: &name, BlockId: &block, BlockSize: proto.Uint32(uint32(len(b)))}
	for _, do := range change {
		do(q)
	}
	var a api.GeneralResponse
	if _, err := n.tryAttached("SendData", q, b, &a); err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(a.GetCode(), " ", a.GetMsg())
}

func lastBlock(q *api.SendDataRequest) { q.Eof = proto.Bool(true) }

func inDir(dir string) func(*api.SendDataRequest) {
	return func(q *api.SendDataRequest) { q.DirName = &dir }
}

func TestSendData(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	wants := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("SendData = %s, want %s", got, want)
		}
	}
	wants(n.sendBlock("a.sdb", 1, []byte("x")), "124 cannot find receiver")
	for _, name := range []string{"", "..", "../a", "a/b", "/etc/passwd", "a\x00b", strings.Repeat("a", 300)} {
		wants(n.sendBlock(name, 0, nil), "123 file receiver init failed")
	}
	wants(n.sendBlock("a.sdb", 0, nil, inDir("..")), "123 file receiver init failed")
	wants(n.sendBlock("a.sdb", 0, nil, func(q *api.SendDataRequest) {
		q.StorageMode = common.StorageMode_kUnknown.Enum()
	}), "138 fail to get db root path")
	wants(n.sendBlock("a.sdb", 0, nil), "0 ok")
	wants(n.sendBlock("a.sdb", 2, []byte("x")), "125 block_id mismatch")
	wants(n.sendBlock("a.sdb", 1, []byte("x"), func(q *api.SendDataRequest) { q.BlockSize = proto.Uint32(2) }), "126 receive data error")
	wants(n.sendBlock("a.sdb", 1, []byte("one ")), "0 ok")
	wants(n.sendBlock("a.sdb", 1, []byte("again")), "0 ok") // a block that came already
	check := func(name string, size uint64, code int32, text string) {
		t.Helper()
		refused[api.GeneralResponse](n, "CheckFile", &api.CheckFileRequest{Tid: tid, Pid: pid, File: &name, Size: &size}, code, text)
	}
	check("a.sdb", 4, codeError, "get size failed")
	wants(n.sendBlock("a.sdb", 2, []byte("two"), lastBlock), "0 ok")
	wants(n.sendBlock("a.sdb", 3, []byte("x")), "124 cannot find receiver")
	check("a.sdb", 7, codeOK, "ok")
	check("a.sdb", 8, codeError, "check size failed")
	check("../../db", 7, codeError, "get size failed")
}

// Files are put where they belong; one that is sent again replaces the one before.
func TestWhereFilesGo(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.sendBlock("a.sdb", 0, nil)
	n.sendBlock("a.sdb", 1, []byte("old"), lastBlock)
	n.sendBlock("a.sdb", 0, nil)
	n.sendBlock("a.sdb", 1, []byte("new"), lastBlock)
	n.sendBlock("b", 0, nil, inDir("d"))
	n.sendBlock("b", 1, []byte("in a directory"), inDir("d"), lastBlock)
	n.sendBlock("c", 0, nil, inDir("index"))
	n.sendBlock("c", 1, []byte("of an index"), inDir("index"), lastBlock)
	n.sendBlock(metaFile, 0, nil)
	n.sendBlock(metaFile, 1, []byte("meta"), lastBlock)
	for path, want := range map[string]string{
		"snapshot/a.sdb": "new", "snapshot/d/b": "in a directory", "index/c": "of an index", metaFile: "meta",
	} {
		b, err := os.ReadFile(filepath.Join(n.partitionDir(common.StorageMode_kMemory), path))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
}

func TestFilesThatArriveAreBounded(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	for i := range maxReceivers + 1 {
		name := strings.Repeat("a", i%200) + string(rune('b'+i/200))
		q := &api.SendDataRequest{Tid: tid, Pid: pid, FileName: &name, BlockId: proto.Uint64(0)}
		if i < maxReceivers {
			well[api.GeneralResponse](n, "SendData", q)
			continue
		}
		refused[api.GeneralResponse](n, "SendData", q, codeReceiverFailed, "file receiver init failed")
	}
}

func TestWithoutRoot(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	unknown := common.StorageMode_kUnknown.Enum()
	refused[api.GetTermPairResponse](n, "GetTermPair", &api.GetTermPairRequest{Tid: tid, Pid: pid, StorageMode: unknown}, codeNoRoot, noRoot.text)
	refused[api.GetManifestResponse](n, "GetManifest", &api.GetManifestRequest{Tid: tid, Pid: pid, StorageMode: unknown}, codeNoRoot, noRoot.text)
	refused[api.GeneralResponse](n, "DeleteBinlog", general(func(q *api.GeneralRequest) { q.StorageMode = unknown }), codeNoRoot, noRoot.text)
	refused[api.GeneralResponse](n, "CheckFile", &api.CheckFileRequest{Tid: tid, Pid: pid, StorageMode: unknown}, codeNoRoot, noRoot.text)
	m := well[api.GetManifestResponse](n, "GetManifest", &api.GetManifestRequest{Tid: tid, Pid: pid}).GetManifest()
	if m.Offset == nil || m.GetOffset() != 0 || m.GetName() != "" {
		t.Errorf("the manifest of nothing: %v", m)
	}
	well[api.GeneralResponse](n, "DeleteBinlog", general())
}
