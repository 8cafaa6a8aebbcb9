package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// byTablet says for each partition of flow who leads: "tablet3 tablet3".
func leaders(c *cluster, t *ns.TableInfo) string {
	var all []string
	for _, p := range t.GetTablePartition() {
		all = append(all, fmt.Sprintf("tablet%d", slices.Index(c.tabletAt, leaderAt(t, p.GetPid()))+1))
	}
	return strings.Join(all, " ")
}

// With auto_failover on a tablet that stays dead is failed over after session and heartbeat timeout, and recovered when
// it is back.
func TestAutoFailover(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	victim := c.tabletAt[1]
	died := time.Now()
	u.do(c.Kill(t.Context(), victim))
	u.eventually("nothing of it is alive", func() bool {
		for _, x := range u.all() {
			for _, p := range x.GetTablePartition() {
				for _, m := range p.GetPartitionMeta() {
					if m.GetEndpoint() == victim && m.GetIsAlive() {
						return false
					}
				}
			}
		}
		return true
	})
	if took := time.Since(died); took < 60*time.Second/timers {
		t.Errorf("it was failed over after %s", took)
	}
	got := opLines(u.over(), "flow")
	if !slices.Equal(got, []string{"kChangeLeaderOP 0 kDone", "kOfflineReplicaOP 1 kDone"}) {
		t.Errorf("operations: %q", got)
	}
	u.do(u.put("card7", firstRow+1e9)) // to a new leader
	u.do(c.Start(t.Context(), victim))
	u.becomesWhole()
	u.over()
	if n := u.count(victim, 0, "card7") + u.count(victim, 1, "card7"); n != 11 {
		t.Errorf("the recovered tablet has %d rows of card7", n)
	}
}

// A tablet that is started again at once is failed over and recovered as soon as it registers.
func TestQuickRestart(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	victim := c.tabletAt[2]
	u.do(c.Kill(t.Context(), victim))
	u.do(c.Start(t.Context(), victim))
	u.eventually("the failover shows", func() bool { return len(u.ops()) > 0 })
	u.becomesWhole()
	got := opLines(u.over(), "flow")
	slices.Sort(got)
	if want := []string{
		"kChangeLeaderOP 1 kDone", "kOfflineReplicaOP 0 kDone", "kReAddReplicaOP 0 kDone", "kReAddReplicaOP 1 kDone",
		"kRecoverTableOP 0 kDone", "kRecoverTableOP 1 kDone",
	}; !slices.Equal(got, want) {
		t.Errorf("operations: %q", got)
	}
	if strings.Contains(leaders(c, u.flow()), "tablet3") {
		t.Errorf("leaders: %s", leaders(c, u.flow()))
	}
}

// A tablet that lost its session for less than the heartbeat timeout, and not its process, is left alone.
func TestShortBlip(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	at := c.tabletAt[1]
	u.onTablet(at, "DisConnectZK", &api.EmptyRequest{}, &api.GeneralResponse{})
	u.healthy(at, false)
	u.onTablet(at, "ConnectZK", &api.EmptyRequest{}, &api.GeneralResponse{})
	u.healthy(at, true)
	// Whatever were due would be there by the time that a later operation has ended.
	u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: proto.String("flow"), Pid: proto.Uint32(0)})
	if all := u.over(); len(all) != 1 {
		t.Errorf("operations: %v", all)
	}
	if !whole(u.all()...) {
		t.Error("something is not alive")
	}
}

// With the last alive replica nothing is marked and nobody elected; when all are back nothing recovers by itself, and an
// operator loads the leaders by hand.
func TestAllReplicasDie(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	for i, at := range c.tabletAt[:tablets] {
		u.do(c.Kill(t.Context(), at))
		if i < 2 {
			u.eventually("the tablet is failed over", func() bool {
				for _, line := range lines(c, u.flow()) {
					if strings.Contains(line, fmt.Sprintf("tablet%d", i+1)) && strings.Contains(line, " yes ") {
						return false
					}
				}
				return true
			})
			u.over()
		}
	}
	last := c.tabletAt[2]
	u.healthy(last, false)
	before := len(u.ops())
	u.eventually("its heartbeat timeout is over", func() bool {
		var a ns.ShowTabletResponse
		u.must("ShowTablet", &ns.ShowTabletRequest{}, &a)
		return a.GetTablets()[2].GetAge() > uint64((60*time.Second/timers + 2*time.Second/timers).Milliseconds())
	})
	if got := leaders(c, u.flow()); got != "tablet3 tablet3" {
		t.Errorf("leaders: %s", got)
	}
	for _, o := range u.ops()[before:] {
		if o.GetName() == "flow" {
			t.Errorf("an operation for the last replica: %v", o)
		}
	}
	for _, at := range c.tabletAt[:tablets] {
		u.do(c.Start(t.Context(), at))
	}
	u.eventually("recoveries of both partitions of flow on two tablets have failed", func() bool {
		n := 0
		for _, o := range u.ops() {
			recovers := o.GetOpType() == "kRecoverTableOP" || strings.HasPrefix(o.GetOpType(), "kReAddReplica")
			if o.GetName() == "flow" && recovers && o.GetStatus() == "kFailed" {
				n++
			}
		}
		return n == 4
	})
	u.over()
	u.autoFailover(false)
	u.recoverByHand(u.flow())
	u.eventually("flow is whole", func() bool { return whole(u.flow()) })
	if n := u.count(c.tabletAt[0], 0, "card0") + u.count(c.tabletAt[0], 1, "card0"); n != 10 {
		t.Errorf("%d rows of card0 are left", n)
	}
}

// recoverByHand is the documents' procedure for a table whose tablets all went down.
func (u *user) recoverByHand(t *ns.TableInfo) {
	u.t.Helper()
	for _, at := range u.c.tabletAt[:tablets] {
		u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: t.Name, Endpoint: &at, IsAlive: proto.Bool(false)})
	}
	for _, p := range t.GetTablePartition() {
		leader := leaderAt(t, p.GetPid())
		var a api.GeneralResponse
		u.onTablet(leader, "LoadTable", &api.LoadTableRequest{TableMeta: &api.TableMeta{
			Name: t.Name, Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(p.GetPid())), SegCnt: proto.Int32(8),
			Mode: api.TableMode_kTableLeader.Enum(),
		}}, &a)
		if a.GetCode() != 0 {
			u.t.Fatalf("loadtable: %v", &a)
		}
		u.eventually("the leader is loaded", func() bool {
			var a api.GetTableStatusResponse
			u.onTablet(leader, "GetTableStatus", &api.GetTableStatusRequest{Tid: t.Tid, Pid: p.Pid}, &a)
			return len(a.GetAllTableStatus()) == 1 && a.GetAllTableStatus()[0].GetState() == api.TableState_kTableNormal
		})
		u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: t.Name, Pid: p.Pid, Endpoint: &leader, IsAlive: proto.Bool(true)})
		for _, m := range p.GetPartitionMeta() {
			if m.GetEndpoint() != leader {
				u.order("RecoverTable", &ns.RecoverTableRequest{Name: t.Name, Pid: p.Pid, Endpoint: m.Endpoint})
			}
		}
	}
	u.over()
}

// The nameserver that leads dies in the middle of a recovery. The next one forgets what was done, goes on with what was
// begun, and takes for failed what a tablet was to be asked for next.
func TestNameserverDiesInAnOperation(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	victim := c.tabletAt[1]
	u.autoFailover(false)
	u.do(c.Kill(t.Context(), victim))
	u.healthy(victim, false)
	u.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &victim})
	u.over()
	u.do(c.Start(t.Context(), victim))
	u.healthy(victim, true)
	u.do(c.Break(t.Context(), "ns.op:3", 1))
	u.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &victim})
	u.eventually("the leader dies", func() bool { return c.Nodes()[0].State == "dead" })
	if n := c.points.Live(); n {
		t.Error("the point is still armed")
	}
	all := u.over()
	if !c.ns[1].Leads() {
		t.Fatal("the other nameserver does not lead")
	}
	failed := 0
	for _, o := range all {
		switch {
		case o.GetOpType() == "kChangeLeaderOP" || o.GetOpType() == "kOfflineReplicaOP":
			t.Errorf("an operation that was done is remembered: %v", o)
		case o.GetStatus() == "kFailed":
			failed++
			if o.GetTaskType() != "kLoadTable" || !strings.HasPrefix(o.GetOpType(), "kReAddReplica") {
				t.Errorf("failed: %v", o)
			}
			if _, _, err := c.session.Get(fmt.Sprintf("%s/op/op_data/%d", c.settings.root, o.GetOpId())); err != nil {
				t.Errorf("the record of failed operation %d: %v", o.GetOpId(), err)
			}
		case o.GetStatus() != "kDone":
			t.Errorf("ended as %v", o)
		}
	}
	if failed == 0 {
		t.Error("nothing has failed")
	}
	u.do(c.Start(t.Context(), c.nsAt[0]))
	u.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &victim})
	u.becomesWhole()
	if !c.ns[1].Leads() {
		t.Error("the nameserver that came back leads")
	}
	failedOnes := &ns.DeleteOPRequest{Status: api.TaskStatus_kFailed.Enum()}
	u.over()
	u.order("DeleteOP", failedOnes)
	if slices.ContainsFunc(u.ops(), func(o *ns.OPStatus) bool { return o.GetStatus() == "kFailed" }) {
		t.Error("failed operations were not deleted")
	}
}

// Rows that no follower got are lost with their leader.
func TestLagLosesRows(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.autoFailover(false)
	leader := leaderAt(u.flow(), 0)
	for _, other := range c.tabletAt[:tablets] {
		if other != leader {
			u.do(c.Partition(t.Context(), leader, other))
		}
	}
	card, pid := "", uint32(0)
	for i := range 100 {
		card = fmt.Sprintf("lost%d", i)
		if err := u.put(card, firstRow); err != nil {
			t.Fatal(err)
		}
		if u.count(leader, pid, card) == 1 {
			break
		}
	}
	u.do(c.Kill(t.Context(), leader))
	u.do(c.Heal(t.Context()))
	u.healthy(leader, false)
	u.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &leader})
	u.over()
	if n := u.count(leaderAt(u.flow(), 0), 0, card); n != 0 {
		t.Errorf("the new leader has %d rows that it never got", n)
	}
	u.do(c.Start(t.Context(), leader))
	u.healthy(leader, true)
	u.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &leader})
	u.becomesWhole()
	if n := u.count(leader, 0, card); n != 0 {
		t.Errorf("the old leader still has %d rows that were lost", n)
	}
}

// Every way that a leading nameserver can leave.
func TestNameserverFailover(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(u *user, at string){
		"killed":  func(u *user, at string) { u.do(u.c.Kill(context.Background(), at)) },
		"stopped": func(u *user, at string) { u.do(u.c.Stop(context.Background(), at)) },
		"paused":  func(u *user, at string) { u.do(u.c.Pause(context.Background(), at)) },
		"disconnected": func(u *user, at string) {
			var a ns.GeneralResponse
			u.do(u.try(at, "NameServer", "DisConnectZK", &ns.DisConnectZKRequest{}, &a))
			if a.GetCode() != 0 {
				u.t.Errorf("disconnectzk: %v", &a)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := run(t, "", nil)
			u := newUser(t, c)
			u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("d")})
			u.autoFailover(false)
			if !c.ns[0].Leads() || c.ns[1].Leads() {
				t.Fatal("the first nameserver does not lead alone")
			}
			end(u, c.nsAt[0])
			u.eventually("the other one leads", func() bool { return c.ns[1].Leads() })
			var conf ns.ConfGetResponse
			u.must("ConfGet", &ns.ConfGetRequest{}, &conf)
			if conf.GetConf()[0].GetValue() != "false" {
				t.Errorf("settings: %v", &conf)
			}
			u.order("UseDatabase", &ns.UseDatabaseRequest{Db: proto.String("d")})
			u.becomesWhole()
			if name == "disconnected" {
				u.eventually("it stands in line again", func() bool {
					names, err := c.session.Children(c.settings.root + "/leader")
					return err == nil && len(names) == 2
				})
			} else {
				u.do(c.Start(t.Context(), c.nsAt[0]))
			}
			u.close()
			u.eventually("it answers that it does not lead", func() bool {
				var a ns.ShowTabletResponse
				err := u.try(c.nsAt[0], "NameServer", "ShowTablet", &ns.ShowTabletRequest{}, &a)
				return err == nil && a.GetCode() == 300 && a.GetMsg() == "nameserver is not leader"
			})
			u.do(c.Stop(t.Context(), c.nsAt[1]))
			u.eventually("it leads again", func() bool { return c.ns[0].Leads() })
			u.becomesWhole()
		})
	}
}
