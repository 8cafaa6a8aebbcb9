package nameserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/sandbox"
)

func named(names []string) (all []sandbox.Point) {
	for _, name := range names {
		all = append(all, sandbox.Point{Name: name})
	}
	return all
}

// Operations of one partition run one after the other, those of different ones side by side; one that is cancelled makes
// room for the next.
func TestQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(2)
	w.manual()
	first := w.tablets[0]
	first.set(func() { first.held = true })
	w.snapshot(0)
	w.snapshot(0)
	w.snapshot(1)
	w.becomes("1 kMakeSnapshotOP 0 kDoing kMakeSnapshot", "2 kMakeSnapshotOP 0 kInited -", "3 kMakeSnapshotOP 1 kDone -")
	w.eventually("the record of the one that is done has vanished", func() bool { return slices.Equal(w.records(), []string{"1", "2"}) })
	if code, _ := w.ask("CancelOP", &ns.CancelOPRequest{OpId: proto.Uint64(3)}, &ns.GeneralResponse{}); code != codeOpEnded {
		t.Errorf("an operation that is done was cancelled: %d", code)
	}
	w.order("CancelOP", &ns.CancelOPRequest{OpId: proto.Uint64(1)})
	w.becomes("1 kMakeSnapshotOP 0 kCanceled kMakeSnapshot", "2 kMakeSnapshotOP 0 kDoing kMakeSnapshot", "3 kMakeSnapshotOP 1 kDone -")
	for _, f := range w.tablets {
		if f.called("CancelOP") != 1 {
			t.Errorf("%s was told %d times", f.endpoint, f.called("CancelOP"))
		}
	}
	first.hasTask(2)
	first.end(api.TaskStatus_kFailed) // both the cancelled one and the next
	w.becomes("1 kMakeSnapshotOP 0 kCanceled kMakeSnapshot", "2 kMakeSnapshotOP 0 kFailed kMakeSnapshot", "3 kMakeSnapshotOP 1 kDone -")
	w.eventually("what failed keeps its record", func() bool { return slices.Equal(w.records(), []string{"2"}) })
	w.order("DeleteOP", &ns.DeleteOPRequest{Status: api.TaskStatus_kDone.Enum()})
	w.order("DeleteOP", &ns.DeleteOPRequest{OpId: proto.Uint64(2)})
	w.becomes("1 kMakeSnapshotOP 0 kCanceled kMakeSnapshot")
	if n := len(w.records()); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// A tablet that does not know a task that was sent to it is asked again a few times before the task has failed.
func TestUnknownTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.table(1)
	first := w.tablets[0]
	first.set(func() { first.held = true })
	w.snapshot(0)
	w.becomes("1 kMakeSnapshotOP 0 kDoing kMakeSnapshot")
	first.hasTask(1)
	asked := 0
	first.set(func() {
		clear(first.tasks)
		asked = first.polls
	})
	w.becomes("1 kMakeSnapshotOP 0 kFailed kMakeSnapshot")
	first.set(func() {
		if first.polls-asked <= maxMissed {
			t.Errorf("it has failed after %d questions", first.polls-asked)
		}
	})
}

// A task that the tablet refuses has failed at once.
func TestRefusedTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.table(1)
	first := w.tablets[0]
	first.set(func() { first.refuse["MakeSnapshot"] = 105 })
	w.snapshot(0)
	w.becomes("1 kMakeSnapshotOP 0 kFailed kMakeSnapshot")
}

// An operation that is over stands at the front of its queue until every healthy tablet has forgotten it.
func TestStuckFront(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	other := w.tablets[1]
	other.set(func() { other.refuse["DeleteOPTask"] = -1 })
	w.snapshot(0)
	w.snapshot(0)
	w.becomes("1 kMakeSnapshotOP 0 kDone -", "2 kMakeSnapshotOP 0 kInited -")
	tried := other.called("DeleteOPTask")
	w.eventually("it is tried again", func() bool { return other.called("DeleteOPTask") > tried+2 })
	w.becomes("1 kMakeSnapshotOP 0 kDone -", "2 kMakeSnapshotOP 0 kInited -")
	if !slices.Equal(w.records(), []string{"1", "2"}) {
		t.Errorf("records: %v", w.records())
	}
	other.set(func() { clear(other.refuse) })
	w.becomes("1 kMakeSnapshotOP 0 kDone -", "2 kMakeSnapshotOP 0 kDone -")
}

// A task of a tablet that is gone for longer than the heartbeat timeout has failed.
func TestTaskOfDeadTablet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	w.manual()
	first := w.tablets[0]
	first.set(func() { first.held = true })
	w.snapshot(0)
	first.hasTask(1)
	if err := first.session.Close(); err != nil {
		t.Fatal(err)
	}
	w.becomes("1 kMakeSnapshotOP 0 kFailed kMakeSnapshot")
}

// The next leader goes on with each operation where it was: what waits is begun, what a tablet has is followed, what it
// does not have has failed, and the nameserver's own tasks are done again.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.table(6)
	w.manual()
	for _, f := range w.tablets {
		f.set(func() { f.held = true })
	}
	for _, pid := range []uint32{3, 3, 4, 5} {
		w.snapshot(pid)
	}
	w.becomes("1 kMakeSnapshotOP 3 kDoing kMakeSnapshot", "2 kMakeSnapshotOP 3 kInited -",
		"3 kMakeSnapshotOP 4 kDoing kMakeSnapshot", "4 kMakeSnapshotOP 5 kDoing kMakeSnapshot")
	for i, id := range []uint64{1, 3, 4} {
		w.tablets[i].hasTask(id)
	}
	// The leader dies before the task of one more operation, which is its own: the first of an election.
	if err := w.points.Arm(OpPoint(1), 1); err != nil {
		t.Fatal(err)
	}
	w.order("ChangeLeader", &ns.ChangeLeaderRequest{Name: proto.String("t"), Pid: proto.Uint32(0), CandidateLeader: proto.String("auto")})
	<-w.died
	if err := w.server.Kill(); err != nil {
		t.Fatal(err)
	}
	w.tablets[1].set(func() { clear(w.tablets[1].tasks) })
	w.tablets[2].end(api.TaskStatus_kDone)
	w.start()
	w.becomes("1 kMakeSnapshotOP 3 kDoing kMakeSnapshot", "2 kMakeSnapshotOP 3 kInited -", "3 kMakeSnapshotOP 4 kFailed kMakeSnapshot",
		"4 kMakeSnapshotOP 5 kDone -", "5 kChangeLeaderOP 0 kDone -")
	w.tablets[0].end(api.TaskStatus_kDone)
	w.becomes("1 kMakeSnapshotOP 3 kDone -", "2 kMakeSnapshotOP 3 kDone -", "3 kMakeSnapshotOP 4 kFailed kMakeSnapshot",
		"4 kMakeSnapshotOP 5 kDone -", "5 kChangeLeaderOP 0 kDone -")
	w.eventually("only what failed has a record", func() bool { return slices.Equal(w.records(), []string{"3"}) })
}

// A child whose parent is done stands in its parent's place, before what was asked for in between; after a change of the
// leader, too.
func TestResumeChild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	w.manual()
	leader, follower := w.tablets[0], w.tablets[1]
	leader.set(func() { leader.held = true })
	w.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: proto.String("t"), Endpoint: &follower.endpoint, IsAlive: proto.Bool(false)})
	w.order("RecoverTable", &ns.RecoverTableRequest{Name: proto.String("t"), Pid: proto.Uint32(0), Endpoint: &follower.endpoint})
	leader.hasTask(1)
	w.snapshot(0)
	leader.endHeld(api.TaskStatus_kDone)
	leader.hasTask(3)
	want := []string{"1 kRecoverTableOP 0 kDone -", "2 kMakeSnapshotOP 0 kInited -", "3 kReAddReplicaOP 0 kDoing kPauseSnapshot"}
	w.becomes(want...)
	if err := w.server.Kill(); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.becomes(want[1:]...)
	leader.end(api.TaskStatus_kDone)
	w.becomes("2 kMakeSnapshotOP 0 kDone -", "3 kReAddReplicaOP 0 kDone -")
}

// The numbers of operations go on where they were, those that were never created used up.
func TestOpIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	w.manual()
	leader, follower := w.tablets[0], w.tablets[1]
	if err := follower.session.Close(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is missed", func() bool { return !w.server.Healthy(follower.endpoint) })
	w.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &leader.endpoint}) // nobody can be elected
	w.snapshot(0)
	w.becomes("2 kMakeSnapshotOP 0 kDone -")
}

// Who is elected, and what the table looks like afterwards.
func TestElection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.table(1)
	w.manual()
	for i, f := range w.tablets {
		f.set(func() { f.offset = []uint64{99, 7, 9, 8}[i] })
	}
	name, pid := proto.String("t"), proto.Uint32(0)
	w.order("ChangeLeader", &ns.ChangeLeaderRequest{Name: name, Pid: pid, CandidateLeader: proto.String("auto")})
	w.becomes("1 kChangeLeaderOP 0 kDone -")
	p := w.info().GetTablePartition()[0]
	if leaderOf(p) != w.tablets[2].endpoint || p.GetPartitionMeta()[0].GetIsAlive() || !p.GetPartitionMeta()[0].GetIsLeader() {
		t.Errorf("partition: %v", p)
	}
	if terms := p.GetTermOffset(); len(terms) != 2 || terms[0].GetTerm() != 1 || terms[1].GetTerm() != 3 || terms[1].GetOffset() != 10 {
		t.Errorf("terms: %v", terms)
	}
	w.order("ChangeLeader", &ns.ChangeLeaderRequest{Name: name, Pid: pid, CandidateLeader: &w.tablets[1].endpoint})
	w.becomes("1 kChangeLeaderOP 0 kDone -", "2 kChangeLeaderOP 0 kDone -")
	p = w.info().GetTablePartition()[0]
	if leaderOf(p) != w.tablets[1].endpoint || p.GetTermOffset()[2].GetTerm() != 5 || p.GetTermOffset()[2].GetOffset() != 8 {
		t.Errorf("with a candidate: %v", p)
	}
	// One that cannot be asked spoils the election.
	w.tablets[3].set(func() { w.tablets[3].refuse["AppendEntries"] = 100 })
	w.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &w.tablets[1].endpoint})
	w.becomes("1 kChangeLeaderOP 0 kDone -", "2 kChangeLeaderOP 0 kDone -", "3 kChangeLeaderOP 0 kFailed kSelectLeader")
}

func TestWinners(t *testing.T) {
	offsets := map[string]uint64{"a": 3, "b": 5, "c": 5}
	if got := winners([]string{"a", "b", "c"}, offsets); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%v", got)
	}
	if got := winners([]string{"a", "x"}, offsets); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v", got)
	}
}

func TestMatches(t *testing.T) {
	pair := func(term, offset uint64) *ns.TermPair { return &ns.TermPair{Term: &term, Offset: &offset} }
	terms := []*ns.TermPair{pair(1, 0), pair(3, 101), pair(5, 201)}
	for _, tt := range []struct {
		has          bool
		term, offset uint64
		want         bool
	}{
		{false, 1, 0, false},  // it has nothing
		{true, 1, 0, true},    // an empty table of the first term
		{true, 1, 100, true},  // where the first term ended
		{true, 1, 101, false}, // it wrote on after that
		{false, 1, 50, true},
		{true, 2, 50, false}, // a term that nobody led in
		{true, 3, 101, true},
		{true, 3, 99, false}, // before that term began
		{true, 3, 200, true},
		{true, 3, 201, false},
		{true, 5, 9999, true},
		{true, 5, 200, true}, // the last term begins with the next entry
		{true, 5, 199, false},
	} {
		got := matches(terms, &api.GetTermPairResponse{HasTable: &tt.has, Term: &tt.term, Offset: &tt.offset})
		if got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// Which of the re-adding operations a replica needs, and what is done before it.
func TestVariants(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		has, leads bool
		offset     uint64
		manifest   uint64
		want       string
		before     string // a call to the tablet
	}{
		"all there":           {has: true, offset: 10, want: "kReAddReplicaSimplifyOP"},
		"led":                 {has: true, leads: true, offset: 10, want: "kReAddReplicaSimplifyOP", before: "ChangeRole"},
		"behind the snapshot": {has: true, offset: 10, manifest: 11, want: "kReAddReplicaWithDropOP"},
		"on the disk":         {offset: 10, manifest: 10, want: "kReAddReplicaNoSendOP", before: "DeleteBinlog"},
		"old on the disk":     {offset: 10, manifest: 11, want: "kReAddReplicaOP", before: "DeleteBinlog"},
		"empty":               {want: "kReAddReplicaOP", before: "DeleteBinlog"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.table(1)
			w.manual()
			leader, follower := w.tablets[0], w.tablets[1]
			leader.set(func() { leader.manifest = tt.manifest })
			follower.set(func() {
				follower.pair = &api.GetTermPairResponse{
					HasTable: &tt.has, IsLeader: &tt.leads, Term: proto.Uint64(1), Offset: &tt.offset,
				}
			})
			w.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: proto.String("t"), Endpoint: &follower.endpoint, IsAlive: proto.Bool(false)})
			w.order("RecoverTable", &ns.RecoverTableRequest{Name: proto.String("t"), Pid: proto.Uint32(0), Endpoint: &follower.endpoint})
			w.becomes("1 kRecoverTableOP 0 kDone -", fmt.Sprintf("2 %s 0 kDone -", tt.want))
			if m := w.info().GetTablePartition()[0].GetPartitionMeta()[1]; !m.GetIsAlive() || m.GetIsLeader() {
				t.Errorf("the replica: %v", m)
			}
			for _, call := range []string{"ChangeRole", "DeleteBinlog"} {
				if n := follower.called(call); n != map[bool]int{true: 1, false: 0}[call == tt.before] {
					t.Errorf("%s was called %d times", call, n)
				}
			}
		})
	}
}

// The tasks of the longest operations, in order.
func TestTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.manual()
	leader, from, to := w.tablets[0], w.tablets[1], w.tablets[2]
	w.tablets = []*fakeTablet{leader, from}
	w.table(1)
	w.tablets = []*fakeTablet{leader, from, to}
	for _, f := range w.tablets {
		f.set(func() { f.calls = nil })
	}
	w.order("Migrate", &ns.MigrateRequest{Name: proto.String("t"), Pid: []uint32{0}, SrcEndpoint: &from.endpoint, DesEndpoint: &to.endpoint})
	w.becomes("1 kMigrateOP 0 kDone -")
	for f, want := range map[*fakeTablet]string{
		leader: "PauseSnapshot SendSnapshot RecoverSnapshot AddReplica GetTableFollower DelReplica", from: "DropTable", to: "LoadTable",
	} {
		var got []string
		f.set(func() {
			for _, call := range f.calls {
				if call != "GetTaskStatus" && call != "GetTableStatus" && call != "DeleteOPTask" {
					got = append(got, call)
				}
			}
		})
		if strings.Join(got, " ") != want {
			t.Errorf("calls: %q, want %s", got, want)
		}
	}
	if p := w.info().GetTablePartition()[0]; len(p.GetPartitionMeta()) != 2 || p.GetPartitionMeta()[1].GetEndpoint() != to.endpoint || !p.GetPartitionMeta()[1].GetIsAlive() {
		t.Errorf("partition: %v", p)
	}
}

// With need_restore the replica leads again, and the one that led in between follows.
func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	w.manual()
	old, other := w.tablets[0], w.tablets[1]
	w.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &old.endpoint})
	w.becomes("1 kChangeLeaderOP 0 kDone -")
	w.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &old.endpoint, NeedRestore: proto.Bool(true)})
	w.becomes("1 kChangeLeaderOP 0 kDone -", "2 kRecoverTableOP 0 kDone -", "3 kChangeLeaderOP 0 kDone -", "4 kRecoverTableOP 0 kDone -",
		"5 kReAddReplicaOP 0 kDone -", "6 kReAddReplicaOP 0 kDone -")
	p := w.info().GetTablePartition()[0]
	if leaderOf(p) != old.endpoint || !member(p, other.endpoint).GetIsAlive() || member(p, other.endpoint).GetIsLeader() {
		t.Errorf("partition: %v", p)
	}
}

// A partition with one replica is taken offline and back by its status alone, or loaded again.
func TestSingleReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.table(1)
	w.manual()
	only := w.tablets[0]
	w.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &only.endpoint})
	w.becomes("1 kUpdatePartitionStatusOP 0 kDone -")
	if m := w.info().GetTablePartition()[0].GetPartitionMeta()[0]; m.GetIsAlive() || !m.GetIsLeader() {
		t.Errorf("offline: %v", m)
	}
	w.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &only.endpoint})
	w.becomes("1 kUpdatePartitionStatusOP 0 kDone -", "2 kRecoverTableOP 0 kDone -", "3 kReLoadTableOP 0 kDone -")
	only.set(func() { only.pair = &api.GetTermPairResponse{HasTable: proto.Bool(true)} })
	w.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &only.endpoint})
	w.becomes("1 kUpdatePartitionStatusOP 0 kDone -", "2 kRecoverTableOP 0 kDone -", "3 kReLoadTableOP 0 kDone -",
		"4 kRecoverTableOP 0 kDone -", "5 kUpdatePartitionStatusOP 0 kDone -")
	if m := w.info().GetTablePartition()[0].GetPartitionMeta()[0]; !m.GetIsAlive() || !m.GetIsLeader() {
		t.Errorf("back: %v", m)
	}
}

// A follower is taken for alive only when it is close enough to the leader.
func TestSyncProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(1)
	w.manual()
	leader, follower := w.tablets[0], w.tablets[1]
	behind := func(by uint64) {
		leader.set(func() {
			for _, s := range leader.parts {
				s.Offset = proto.Uint64(10 + by)
			}
		})
	}
	behind(offsetDelta + 1)
	follower.set(func() {
		follower.pair = &api.GetTermPairResponse{HasTable: proto.Bool(true), Term: proto.Uint64(1), Offset: proto.Uint64(10)}
	})
	w.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: proto.String("t"), Endpoint: &follower.endpoint, IsAlive: proto.Bool(false)})
	w.order("RecoverTable", &ns.RecoverTableRequest{Name: proto.String("t"), Pid: proto.Uint32(0), Endpoint: &follower.endpoint})
	w.becomes("1 kRecoverTableOP 0 kDone -", "2 kReAddReplicaSimplifyOP 0 kDoing kCheckBinlogSyncProgress")
	asked := leader.called("GetTableStatus")
	w.eventually("it is looked at again", func() bool { return leader.called("GetTableStatus") > asked+2 })
	w.becomes("1 kRecoverTableOP 0 kDone -", "2 kReAddReplicaSimplifyOP 0 kDoing kCheckBinlogSyncProgress")
	behind(offsetDelta)
	w.becomes("1 kRecoverTableOP 0 kDone -", "2 kReAddReplicaSimplifyOP 0 kDone -")
}

// Times and fields of an operation as they are shown, and what selects it.
func TestShowOPStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.table(2)
	for _, pid := range []uint32{0, 1} {
		w.snapshot(pid)
	}
	w.becomes("1 kMakeSnapshotOP 0 kDone -", "2 kMakeSnapshotOP 1 kDone -")
	for _, tt := range []struct {
		q    *ns.ShowOPStatusRequest
		want int
	}{
		{&ns.ShowOPStatusRequest{}, 2},
		{&ns.ShowOPStatusRequest{Name: proto.String("t")}, 2},
		{&ns.ShowOPStatusRequest{Name: proto.String("t"), Pid: proto.Uint32(1)}, 1},
		{&ns.ShowOPStatusRequest{Name: proto.String("x")}, 0},
		{&ns.ShowOPStatusRequest{Db: proto.String("")}, 2},
		{&ns.ShowOPStatusRequest{Db: proto.String("d")}, 0},
		{&ns.ShowOPStatusRequest{OpId: proto.Uint64(2)}, 1},
		{&ns.ShowOPStatusRequest{OpId: proto.Uint64(3)}, 0},
	} {
		var a ns.ShowOPStatusResponse
		w.ask("ShowOPStatus", tt.q, &a)
		if len(a.GetOpStatus()) != tt.want {
			t.Errorf("%v: %d, want %d", tt.q, len(a.GetOpStatus()), tt.want)
		}
		for _, o := range a.GetOpStatus() {
			if o.GetStartTime() == 0 || o.GetEndTime() < o.GetStartTime() || o.ForReplicaCluster == nil || o.Db == nil {
				t.Errorf("operation %v", o)
			}
		}
	}
}

func TestQueueOf(t *testing.T) {
	for _, tt := range []struct{ pid, concurrency, want uint32 }{{9, 2, 1}, {9, 0, 1}, {9, 1, 0}, {7, 8, 7}, {12, 7, 5}} {
		if got := queueOf(tt.pid, tt.concurrency); got != tt.want {
			t.Errorf("partition %d of %d queues is in %d", tt.pid, tt.concurrency, got)
		}
	}
}
