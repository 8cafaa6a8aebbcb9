package tablet

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
)

func (n *node) followers() map[string]uint64 {
	n.t.Helper()
	all := map[string]uint64{}
	a := well[api.GetTableFollowerResponse](n, "GetTableFollower", &api.GetTableFollowerRequest{Tid: tid, Pid: pid})
	for _, f := range a.GetFollowerInfo() {
		all[f.GetEndpoint()] = f.GetOffset()
	}
	return all
}

// replicated makes a partition with a leader and followers.
func replicated(w *world, followers int) (leader *node, all []*node) {
	w.t.Helper()
	leader = w.started()
	for range followers {
		f := w.started()
		f.create(testMeta(0, api.TableMode_kTableFollower))
		all = append(all, f)
	}
	leader.create(testMeta(0, api.TableMode_kTableLeader, replicas(all...)))
	return leader, all
}

// follows waits until the leader knows that a follower has what it has.
func (n *node) follows(leader *node) {
	n.t.Helper()
	n.eventually(fmt.Sprint(n.endpoint, " has what its leader has"), func() bool {
		return leader.followers()[n.endpoint] == leader.offset()
	})
	if n.offset() != leader.offset() {
		n.t.Fatalf("the follower is at %d, its leader at %d", n.offset(), leader.offset())
	}
}

func (n *node) changeRole(mode api.TableMode, term uint64, followers ...*node) {
	n.t.Helper()
	q := &api.ChangeRoleRequest{Tid: tid, Pid: pid, Mode: mode.Enum(), Term: &term}
	for _, f := range followers {
		q.Replicas = append(q.Replicas, f.endpoint)
	}
	well[api.ChangeRoleResponse](n, "ChangeRole", q)
}

func replica(n *node, info *api.TaskInfo) *api.ReplicaRequest {
	return &api.ReplicaRequest{Tid: tid, Pid: pid, Endpoint: &n.endpoint, TaskInfo: info}
}

func TestReplication(t *testing.T) {
	w := newWorld(t)
	w.tune.binlog = 8 << 10
	leader, followers := replicated(w, 2)
	leader.puts(0, 500)
	well[api.GeneralResponse](leader, "Delete", &api.DeleteRequest{
		Tid: tid, Pid: pid, Dimensions: []*api.Dimension{{Key: proto.String("card0"), Idx: proto.Uint32(0)}},
	})
	for _, f := range followers {
		f.follows(leader)
		seen := f.amounts("card", 1000)
		if len(seen) != 450 || seen[0] != 0 || seen[1] != 1 {
			t.Errorf("%d rows", len(seen))
		}
		if s := f.status(); s.GetMode() != api.TableMode_kTableFollower || s.GetOffset() != 501 {
			t.Errorf("status of a follower: %v", s)
		}
		f.restart() // a follower has it on its disk, too
		f.load(api.TableMode_kTableFollower)
		if seen := f.amounts("card", 1000); len(seen) != 450 {
			t.Errorf("after a restart: %d rows", len(seen))
		}
	}
}

// A follower that is paused falls behind by what is written meanwhile, and catches up.
func TestLag(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 1)
	f := followers[0]
	leader.puts(0, 10)
	f.follows(leader)
	f.gate.Pause()
	leader.puts(10, 100)
	if at := leader.followers()[f.endpoint]; at != 10 || leader.offset() != 110 {
		t.Errorf("the leader at %d has its follower at %d", leader.offset(), at)
	}
	f.gate.Resume()
	f.follows(leader)
	f.expectAmounts(0, 110)
}

// A slow follower acknowledges late, and loses nothing.
func TestSlowFollower(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 1)
	f := followers[0]
	f.gate.Slow(20 * time.Millisecond)
	leader.puts(0, 1500)
	f.follows(leader)
	f.gate.Slow(0)
	f.expectAmounts(0, 1500)
}

// The writes that no follower got are lost with the leader: what the store calls the offset gap.
func TestLeaderDeathLosesTheTail(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 2)
	leader.puts(0, 20)
	for _, f := range followers {
		f.follows(leader)
		f.gate.Pause()
	}
	leader.puts(20, 30)
	leader.kill()
	for _, f := range followers {
		f.gate.Resume()
	}
	winner, other := followers[0], followers[1]
	// An election asks each for its offset, with a term above the old leader's.
	for _, f := range followers {
		a := well[api.AppendEntriesResponse](f, "AppendEntries", &api.AppendEntriesRequest{Tid: tid, Pid: pid, Term: proto.Uint64(3)})
		if a.GetLogOffset() > 50 || a.GetLogOffset() < 20 {
			t.Errorf("offset %d", a.GetLogOffset())
		}
	}
	if winner.offset() < other.offset() {
		winner, other = other, winner
	}
	kept := int(winner.offset())
	winner.changeRole(api.TableMode_kTableLeader, 4, other)
	winner.puts(100, 10)
	other.follows(winner)
	for _, f := range []*node{winner, other} {
		seen := f.amounts("card", 1000)
		if len(seen) != kept+10 {
			t.Errorf("%d rows, want %d", len(seen), kept+10)
		}
	}
	// The old leader comes back with a tail that nobody else has.
	leader.start()
	leader.load(api.TableMode_kTableFollower)
	if leader.offset() != 50 {
		t.Errorf("the old leader is at %d", leader.offset())
	}
}

// A follower that was killed and loaded again catches up from the binlog.
func TestDeadFollowerReturns(t *testing.T) {
	w := newWorld(t)
	w.tune.binlog = 4 << 10
	leader, followers := replicated(w, 1)
	f := followers[0]
	leader.puts(0, 50)
	f.follows(leader)
	f.kill()
	leader.puts(50, 200)
	f.start()
	leader.puts(250, 50)
	if s := f.status(); s != nil {
		t.Errorf("before it is loaded: %v", s)
	}
	f.load(api.TableMode_kTableFollower)
	f.follows(leader)
	f.expectAmounts(0, 300)
}

// A follower that lost its files is given everything again.
func TestFollowerLosesItsFiles(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 1)
	f := followers[0]
	leader.puts(0, 50)
	f.follows(leader)
	f.kill()
	if err := os.RemoveAll(f.partitionDir(common.StorageMode_kMemory)); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.create(testMeta(0, api.TableMode_kTableFollower))
	leader.puts(50, 10)
	f.follows(leader)
	f.expectAmounts(0, 60)
}

// A leader cannot be reached for a while, and reaches its follower again.
func TestPartitionedFollower(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 1)
	f := followers[0]
	leader.puts(0, 5)
	f.follows(leader)
	w.mu.Lock()
	w.cut[f.endpoint] = true
	w.mu.Unlock()
	f.restart() // the connection there was is gone
	f.load(api.TableMode_kTableFollower)
	leader.puts(5, 20)
	if f.offset() != 5 {
		t.Errorf("a follower that is cut off is at %d", f.offset())
	}
	w.mu.Lock()
	w.cut[f.endpoint] = false
	w.mu.Unlock()
	f.follows(leader)
	f.expectAmounts(0, 25)
}

// A follower whose tail is another than its leader's keeps it: whoever adds it must have compared terms and offsets.
func TestDivergedTail(t *testing.T) {
	w := newWorld(t)
	a, b := w.started(), w.started()
	a.create(testMeta(0, api.TableMode_kTableLeader))
	b.create(testMeta(0, api.TableMode_kTableLeader))
	a.puts(0, 10)
	b.puts(0, 6)
	a.changeRole(api.TableMode_kTableFollower, 0)
	well[api.AddReplicaResponse](b, "AddReplica", replica(a, nil))
	b.eventually("the leader knows that its follower is ahead", func() bool { return b.followers()[a.endpoint] == 10 })
	b.puts(100, 3) // 7, 8 and 9, which the follower has its own of
	if at := a.offset(); at != 10 {
		t.Errorf("the follower is at %d", at)
	}
	b.puts(200, 3)
	a.follows(b)
	seen := a.amounts("card", 100)
	for _, amount := range []int64{6, 7, 8, 9, 201, 202} {
		if seen[amount] != 1 {
			t.Errorf("row %d is there %d times", amount, seen[amount])
		}
	}
	for _, amount := range []int64{100, 101, 102} {
		if seen[amount] != 0 {
			t.Errorf("row %d is there", amount)
		}
	}
}

func TestAppendEntries(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	q := func(term, after uint64, entries ...*api.LogEntry) *api.AppendEntriesRequest {
		return &api.AppendEntriesRequest{Tid: tid, Pid: pid, Term: &term, PreLogIndex: &after, Entries: entries}
	}
	refused[api.AppendEntriesResponse](n, "AppendEntries", q(1, 0), codeNoTable, noTable.text)
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.AppendEntriesResponse](n, "AppendEntries", q(9, 0), codeIsLeader, "table is leader")
	n.changeRole(api.TableMode_kTableFollower, 0)
	append := func(q *api.AppendEntriesRequest, code int32, offset uint64) {
		t.Helper()
		a := call[api.AppendEntriesResponse](n, "AppendEntries", q)
		if a.GetCode() != code || code == 0 && a.GetLogOffset() != offset || n.offset() != offset {
			t.Errorf("AppendEntries(%v) = %v, at %d; want code %d, offset %d", q, a, n.offset(), code, offset)
		}
	}
	append(q(3, 0), codeOK, 0) // follow no one below term 3
	append(q(1, 0), codeAppendFailed, 0)
	append(q(2, 0, logEntry(1, 2)), codeAppendFailed, 0)
	append(q(3, 0, logEntry(1, 3), logEntry(2, 3)), codeOK, 2)
	append(q(3, 0, logEntry(1, 3), logEntry(2, 3)), codeOK, 2) // sent again
	append(q(3, 1, logEntry(2, 3), logEntry(3, 3)), codeOK, 3)
	append(q(3, 9, logEntry(10, 3)), codeAppendFailed, 3)
	append(q(3, 9), codeAppendFailed, 3)
	append(q(3, 9, logEntry(4, 3)), codeAppendFailed, 3)
	append(q(3, 3, logEntry(5, 3)), codeAppendFailed, 3)
	append(q(3, 3, logEntry(4, 3), logEntry(6, 3)), codeAppendFailed, 3)
	append(q(3, 3), codeOK, 3)
	append(q(5, 3, logEntry(4, 5)), codeOK, 4)
	append(q(4, 4, logEntry(5, 4)), codeOK, 5) // entries alone do not raise the term
	append(q(8, 0), codeOK, 5)
	append(q(7, 5, logEntry(6, 7)), codeAppendFailed, 5)
	if got := n.scan("card", "card"); len(got) != 5 {
		t.Errorf("rows %v", got)
	}
	pair := well[api.GetTermPairResponse](n, "GetTermPair", &api.GetTermPairRequest{Tid: tid, Pid: pid})
	if pair.GetTerm() != 8 || pair.GetOffset() != 5 || !pair.GetHasTable() || pair.GetIsLeader() {
		t.Errorf("GetTermPair: %v", pair)
	}
}

func TestChangeRole(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	q := func(mode api.TableMode) *api.ChangeRoleRequest {
		return &api.ChangeRoleRequest{Tid: tid, Pid: pid, Mode: mode.Enum(), Term: proto.Uint64(7)}
	}
	refused[api.ChangeRoleResponse](n, "ChangeRole", q(api.TableMode_kTableLeader), codeNoTable, noTable.text)
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.ChangeRoleResponse](n, "ChangeRole", q(api.TableMode_kTableLeader), codeIsLeader, "table is leader")
	refused[api.ChangeRoleResponse](n, "ChangeRole", q(api.TableMode_kTableFollower), codeOK, "ok")
	refused[api.ChangeRoleResponse](n, "ChangeRole", q(api.TableMode_kTableFollower), codeOK, "table is follower")
	refused[api.GetTableFollowerResponse](n, "GetTableFollower", &api.GetTableFollowerRequest{Tid: tid, Pid: pid}, codeIsFollower, isFollower.text)
	refused[api.PutResponse](n, "Put", putRequest(0, "c", "m", "", 1, 1), codeIsFollower, isFollower.text)
	refused[api.ChangeRoleResponse](n, "ChangeRole", q(api.TableMode_kTableLeader), codeOK, "ok")
	pair := well[api.GetTermPairResponse](n, "GetTermPair", &api.GetTermPairRequest{Tid: tid, Pid: pid})
	if pair.GetTerm() != 7 || !pair.GetIsLeader() {
		t.Errorf("GetTermPair: %v", pair)
	}
	n.put("c", "m", "", 1, 1)
	refused[api.GetTableFollowerResponse](n, "GetTableFollower", &api.GetTableFollowerRequest{Tid: tid, Pid: pid}, codeNoFollower, "has no follower")
	if a := call[api.GetTableFollowerResponse](n, "GetTableFollower", &api.GetTableFollowerRequest{Tid: tid, Pid: pid}); a.GetOffset() != 1 {
		t.Errorf("offset %d", a.GetOffset())
	}
	refused[api.GetTableFollowerResponse](n, "GetTableFollower", &api.GetTableFollowerRequest{Tid: tid, Pid: proto.Uint32(4)}, codeNoTable, noTable.text)
}

func TestReplicas(t *testing.T) {
	w := newWorld(t)
	leader, f := w.started(), w.started()
	refused[api.AddReplicaResponse](leader, "AddReplica", replica(f, task(1, api.TaskType_kAddReplica)), codeNoTable, noTable.text)
	leader.ends(1, api.TaskType_kAddReplica, api.TaskStatus_kFailed)
	refused[api.GeneralResponse](leader, "DelReplica", replica(f, nil), codeNoTable, noTable.text)
	leader.create(testMeta(0, api.TableMode_kTableLeader))
	f.create(testMeta(0, api.TableMode_kTableFollower))
	refused[api.AddReplicaResponse](f, "AddReplica", replica(leader, nil), codeIsFollower, isFollower.text)
	refused[api.GeneralResponse](f, "DelReplica", replica(leader, nil), codeIsFollower, isFollower.text)
	leader.puts(0, 3)
	refused[api.AddReplicaResponse](leader, "AddReplica", replica(f, task(2, api.TaskType_kAddReplica)), codeOK, "ok")
	leader.ends(2, api.TaskType_kAddReplica, api.TaskStatus_kDone)
	f.follows(leader)
	refused[api.AddReplicaResponse](leader, "AddReplica", replica(f, task(3, api.TaskType_kAddReplica)),
		codeReplicaExists, "replica endpoint already exists")
	leader.ends(3, api.TaskType_kAddReplica, api.TaskStatus_kDone)
	refused[api.GeneralResponse](leader, "DelReplica", replica(f, task(4, api.TaskType_kDelReplica)), codeOK, "ok")
	leader.ends(4, api.TaskType_kDelReplica, api.TaskStatus_kDone)
	refused[api.GeneralResponse](leader, "DelReplica", replica(f, nil), codeOK, "replica does not exist")
	leader.puts(3, 10)
	if at := f.offset(); at != 3 {
		t.Errorf("a follower that was taken out is at %d", at)
	}
}

// A replica in another cluster gets what the followers here have, under its own table's number.
func TestRemoteReplica(t *testing.T) {
	w := newWorld(t)
	leader, followers := replicated(w, 1)
	remote := w.started()
	remote.create(testMeta(0, api.TableMode_kTableFollower, func(m *api.TableMeta) { m.Tid = proto.Int32(99) }))
	q := replica(remote, nil)
	q.RemoteTid = proto.Uint32(99)
	well[api.AddReplicaResponse](leader, "AddReplica", q)
	leader.puts(0, 10)
	followers[0].follows(leader)
	remoteAt := func() uint64 {
		a := well[api.GetTermPairResponse](remote, "GetTermPair", &api.GetTermPairRequest{Tid: proto.Uint32(99), Pid: pid})
		return a.GetOffset()
	}
	w.eventually("the other cluster has it", func() bool { return remoteAt() == 10 })
	followers[0].kill()
	leader.puts(10, 10)
	if at := leader.followers()[remote.endpoint]; at != 10 {
		t.Errorf("the other cluster is ahead of the followers here: %d", at)
	}
	well[api.GeneralResponse](leader, "DelReplica", replica(followers[0], nil))
	w.eventually("a leader alone sends it itself", func() bool { return remoteAt() == 20 })
}

// Old binlog files go once a snapshot has them and every follower is past them; who is not needs the snapshot.
func TestTrimmedBinlog(t *testing.T) {
	w := newWorld(t)
	w.tune.binlog = 1 << 10
	leader, followers := replicated(w, 1)
	f, late := followers[0], w.started()
	logs := func() int {
		files, _ := filepath.Glob(filepath.Join(leader.partitionDir(common.StorageMode_kMemory), binlogDir, "*.log"))
		return len(files)
	}
	leader.puts(0, 100)
	f.follows(leader)
	leader.tablet.trim()
	if logs() < 5 {
		t.Fatalf("without a snapshot only %d files are left", logs())
	}
	f.gate.Pause()
	leader.puts(100, 100)
	leader.snapshot(1)
	leader.tablet.trim()
	if logs() < 5 {
		t.Errorf("with a follower behind only %d files are left", logs())
	}
	f.gate.Resume()
	f.follows(leader)
	leader.eventually("the files are gone", func() bool { return logs() == 1 })
	late.create(testMeta(0, api.TableMode_kTableFollower))
	well[api.AddReplicaResponse](leader, "AddReplica", replica(late, nil))
	leader.puts(200, 1)
	f.follows(leader)
	if at := leader.followers()[late.endpoint]; at != 0 || late.offset() != 0 {
		t.Errorf("a follower that needs the snapshot is at %d, known at %d", late.offset(), at)
	}
	well[api.GeneralResponse](leader, "DelReplica", replica(late, nil))
	well[api.DropTableResponse](late, "DropTable", &api.DropTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)})
	late.eventually("dropped", func() bool { return late.status() == nil })
	reAdd(leader, late)
	late.follows(leader)
	late.expectAmounts(0, 201)
	leader.restart()
	leader.load(api.TableMode_kTableLeader)
	leader.expectAmounts(0, 201)
}
