package sandbox

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
)

// The session of OpenMLDB's document on failover by hand: a tablet that leads one partition of flow and follows in the
// other dies, is taken offline, comes back and is recovered.
func TestFailoverByHand(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	victim := c.tabletAt[1]
	before := lines(c, u.flow())
	if want := []string{
		"0 tablet2 leader yes 244", "0 tablet3 follower yes 244", "0 tablet1 follower yes 244",
		"1 tablet3 leader yes 230", "1 tablet1 follower yes 230", "1 tablet2 follower yes 230",
	}; !slices.Equal(before, want) {
		t.Fatalf("flow is %q", before)
	}
	u.autoFailover(false)
	u.do(c.Kill(t.Context(), victim))
	u.healthy(victim, false)
	if got := lines(c, u.flow()); !slices.Equal(got, before) {
		t.Errorf("a tablet's death alone makes of flow %q", got)
	}
	u.refused(303, "tablet is not healthy", "RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &victim})
	u.order("OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &victim})
	if got, want := opLines(u.over(), "flow"), []string{"kChangeLeaderOP 0 kDone", "kOfflineReplicaOP 1 kDone"}; !slices.Equal(got, want) {
		t.Errorf("operations: %q", got)
	}
	flow := u.flow()
	got := lines(c, flow)
	won := slices.ContainsFunc(got[1:3], func(line string) bool { return strings.Contains(line, "leader yes") })
	if !won || got[0] != "0 tablet2 leader no 244" || got[5] != "1 tablet2 follower no 230" || got[3] != before[3] {
		t.Errorf("flow is %q", got)
	}
	terms := flow.GetTablePartition()[0].GetTermOffset()
	if last := terms[len(terms)-1]; len(terms) != 2 || last.GetTerm() != terms[0].GetTerm()+2 || last.GetOffset() != 245 {
		t.Errorf("terms: %v", terms)
	}

	u.do(c.Start(t.Context(), victim))
	u.healthy(victim, true)
	u.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &victim})
	seen := map[string]bool{}
	var all []*ns.OPStatus
	u.eventually("the operations are over, and were seen before", func() bool {
		all = u.ops()
		for _, o := range all {
			if o.GetStatus() == "kDoing" && o.GetOpType() == "kReAddReplicaOP" {
				seen[o.GetTaskType()] = true
			}
		}
		return !slices.ContainsFunc(all, func(o *ns.OPStatus) bool { return o.GetEndTime() == 0 })
	})
	for _, task := range []string{"kPauseSnapshot", "kSendSnapshot", "kLoadTable", "kAddReplica", "kRecoverSnapshot"} {
		if !seen[task] {
			t.Errorf("task %s was never seen; seen: %v", task, seen)
		}
	}
	got = opLines(all, "flow")
	slices.Sort(got[4:]) // whichever of the two was faster to find out what it needs
	if want := []string{
		"kChangeLeaderOP 0 kDone", "kOfflineReplicaOP 1 kDone", "kRecoverTableOP 0 kDone", "kRecoverTableOP 1 kDone",
		"kReAddReplicaOP 0 kDone", "kReAddReplicaOP 1 kDone",
	}; !slices.Equal(got, want) {
		t.Errorf("operations: %q", got)
	}
	u.becomesWhole()
	got = lines(c, u.flow())
	if got[0] != "0 tablet2 follower yes 244" || got[5] != "1 tablet2 follower yes 230" {
		t.Errorf("flow is %q", got)
	}
	if n := u.count(victim, 0, "card0"); n != u.count(leaderAt(u.flow(), 0), 0, "card0") {
		t.Errorf("the recovered replica has %d rows of a card", n)
	}
	// Nothing is left of them in the tree, and a second recovery finds nothing to do.
	if names, err := c.session.Children(c.settings.root + "/op/op_data"); err != nil || len(names) != 0 {
		t.Errorf("records of operations: %v, %v", names, err)
	}
	u.order("RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: &victim})
	if n := len(u.over()); n != len(all) {
		t.Errorf("%d operations after %d", n, len(all))
	}
}

func leaderAt(t *ns.TableInfo, pid uint32) string {
	for _, p := range t.GetTablePartition() {
		for _, m := range p.GetPartitionMeta() {
			if p.GetPid() == pid && m.GetIsLeader() && m.GetIsAlive() {
				return m.GetEndpoint()
			}
		}
	}
	return ""
}

// What is refused while failover is automatic, and what is not.
func TestRefusedWhileAutomatic(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	at, flow := &c.tabletAt[0], proto.String("flow")
	pid := proto.Uint32(0)
	for method, q := range map[string]proto.Message{
		"OfflineEndpoint":        &ns.OfflineEndpointRequest{Endpoint: at},
		"RecoverEndpoint":        &ns.RecoverEndpointRequest{Endpoint: at},
		"RecoverTable":           &ns.RecoverTableRequest{Name: flow, Pid: pid, Endpoint: at},
		"ChangeLeader":           &ns.ChangeLeaderRequest{Name: flow, Pid: pid, CandidateLeader: proto.String("auto")},
		"Migrate":                &ns.MigrateRequest{SrcEndpoint: at, Name: flow, DesEndpoint: at},
		"UpdateTableAliveStatus": &ns.UpdateTableAliveRequest{Name: flow, Endpoint: at},
		"SetTablePartition":      &ns.SetTablePartitionRequest{Name: flow},
		"CancelOP":               &ns.CancelOPRequest{OpId: proto.Uint64(1)},
	} {
		u.refused(301, "auto_failover is enabled", method, q)
	}
	u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: flow, Pid: pid})
	if got := opLines(u.over(), "flow"); !slices.Equal(got, []string{"kMakeSnapshotOP 0 kDone"}) {
		t.Errorf("operations: %q", got)
	}
}

// The spare tablet is dead and unknown until it is started, and then one like the others, also in the next run.
func TestSpareTablet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := run(t, dir, nil)
	u := newUser(t, c)
	known := func(u *user) bool {
		spare := u.c.tabletAt[tablets]
		var a ns.ShowTabletResponse
		u.must("ShowTablet", &ns.ShowTabletRequest{}, &a)
		return slices.ContainsFunc(a.GetTablets(), func(s *ns.TabletStatus) bool { return s.GetEndpoint() == spare && s.GetState() == "kHealthy" })
	}
	spare := c.tabletAt[tablets]
	if n := c.Nodes(); n[len(n)-1].Endpoint != spare || n[len(n)-1].State != "dead" || known(u) {
		t.Errorf("before it is started: %v, known %t", n, known(u))
	}
	u.do(c.Start(t.Context(), spare))
	u.healthy(spare, true)
	u.order("AddReplicaNS", &ns.AddReplicaNSRequest{Name: proto.String("flow"), Pid: proto.Uint32(0), Endpoint: &spare})
	u.over()
	u.becomesWhole()
	if n := u.count(spare, 0, "card0"); n != u.count(leaderAt(u.flow(), 0), 0, "card0") {
		t.Errorf("the new replica has %d rows of a card", n)
	}
	u.do(c.Close())
	c = run(t, dir, nil)
	u = newUser(t, c)
	if !known(u) {
		t.Error("it does not run in the next run")
	}
	u.becomesWhole()
}
