package openmldb

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

func lines(faults []Fault, name func(string) string) []string {
	var all []string
	for _, f := range faults {
		line := fmt.Sprintf("%s %s/%d %s", f.Kind, f.Table, f.PID, name(f.Endpoint))
		if f.Gap > 0 {
			line += fmt.Sprintf(" gap %d", f.Gap)
		}
		if f.Op > 0 {
			line += fmt.Sprintf(" op %d", f.Op)
		}
		if f.Bad {
			line += " bad"
		}
		all = append(all, line)
	}
	return all
}

// naming writes A, B, C for the tablets of a box.
func (b *box) naming(endpoint string) string {
	for i, s := range b.tablets {
		if s.endpoint == endpoint {
			return string(rune('A' + i))
		}
	}
	return endpoint
}

func TestNoFaults(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 20*time.Second, b.ns)
	faults, err := d.Faults(t.Context())
	if err != nil || len(faults) > 0 {
		t.Errorf("%v %v", lines(faults, b.naming), err)
	}
	found, err := d.Examine(t.Context())
	if err != nil || len(found) > 0 {
		t.Errorf("%v %v", found, err)
	}
	for _, s := range b.tablets {
		if n := s.calls("GetTableStatus"); n != 2 {
			t.Errorf("a tablet was asked %d times in two looks", n)
		}
	}
}

// Each kind of disagreement is found and named.
func TestFaults(t *testing.T) {
	b := newBox(t, 8)
	meta := func(pid, i int) *ns.PartitionMeta { return b.info.TablePartition[pid].PartitionMeta[i] }
	b.change(func(*ns.TableInfo) {
		// Partition p is led by tablet p%3.
		meta(1, 1).IsAlive = proto.Bool(false)                                                                           // no leader; and B is up
		meta(2, 0).IsLeader = proto.Bool(true)                                                                           // two leaders
		meta(3, 2).IsAlive = proto.Bool(false)                                                                           // C is up and was not recovered
		b.info.TablePartition[7].PartitionMeta = append(b.info.TablePartition[7].PartitionMeta[:2:2], &ns.PartitionMeta{ // on a dead tablet
			Endpoint: proto.String("dead:1"), IsLeader: proto.Bool(false), IsAlive: proto.Bool(true),
		})
	})
	status := func(s *server, change func(*api.TableStatus) bool) {
		s.mu.Lock()
		before := s.answers["GetTableStatus"]
		s.answers["GetTableStatus"] = func(q, m proto.Message) error {
			err := before(q, m)
			a := m.(*api.GetTableStatusResponse)
			var kept []*api.TableStatus
			for _, p := range a.AllTableStatus {
				if change(p) {
					kept = append(kept, p)
				}
			}
			a.AllTableStatus = kept
			return err
		}
		s.mu.Unlock()
	}
	status(b.tablets[0], func(p *api.TableStatus) bool {
		switch p.GetPid() {
		case 0:
			p.Offset = proto.Uint64(1000)
		case 3: // it leads to the nameserver
			p.Mode = api.TableMode_kTableFollower.Enum()
		case 4:
			p.Mode = api.TableMode_kTableLeader.Enum()
		case 5:
			p.State = api.TableState_kTableLoading.Enum()
		}
		return true
	})
	status(b.tablets[1], func(p *api.TableStatus) bool { return p.GetPid() != 6 })
	status(b.tablets[2], func(p *api.TableStatus) bool {
		if p.GetPid() == 0 {
			p.Offset = proto.Uint64(800)
		}
		return true
	})
	answering(b.tablets[0], "GetTableFollower", func(q *api.GetTableFollowerRequest, a *api.GetTableFollowerResponse) {
		a.Offset = proto.Uint64(1010)
		a.FollowerInfo = []*api.FollowerInfo{ // B has caught up since
			{Endpoint: &b.tablets[1].endpoint, Offset: proto.Uint64(1010)}, {Endpoint: &b.tablets[2].endpoint, Offset: proto.Uint64(805)},
		}
	})
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		for _, s := range b.tablets {
			a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: &s.endpoint, State: proto.String("kHealthy")})
		}
		a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: proto.String("dead:1"), State: proto.String("kTabletOffline")})
	})
	answering(b.ns, "ConfGet", func(_ *ns.ConfGetRequest, a *ns.ConfGetResponse) {
		a.Code, a.Conf = proto.Int32(0), []*ns.Pair{{Key: proto.String("auto_failover"), Value: proto.String("false")}}
	})
	answering(b.ns, "ShowOPStatus", func(_ *ns.ShowOPStatusRequest, a *ns.ShowOPStatusResponse) {
		for id, status := range map[uint64]string{60: "kDoing", 50: "kFailed", 51: "kFailed", 40: "kDone"} {
			a.OpStatus = append(a.OpStatus, &ns.OPStatus{
				OpId: &id, OpType: proto.String("kReAddReplicaOP"), Status: &status, StartTime: proto.Uint64(1), EndTime: proto.Uint64(0),
				TaskType: proto.String("kLoadTable"), Name: proto.String("flow"), Pid: proto.Uint32(3),
			})
		}
	})
	d := open(t, 20*time.Second, b.ns)
	faults, err := d.Faults(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"auto_failover_off /0  bad",
		"op_failed flow/3  op 50", "op_failed flow/3  op 51",
		"lag flow/0 C gap 205",
		"no_leader_alive flow/1  bad", "not_recovered flow/1 B bad",
		"several_leaders flow/2  bad",
		"not_leader_on_tablet flow/3 A op 60 bad", "not_recovered flow/3 C op 60 bad",
		"not_follower_on_tablet flow/4 A bad",
		"not_normal flow/5 A",
		"miss flow/6 B bad",
		"alive_on_dead_tablet flow/7 dead:1 bad", "stray flow/7 C",
	}
	got := lines(faults, b.naming)
	for i := range got { // those that failed have no order among themselves
		if strings.HasPrefix(got[i], "op_failed") {
			got[i] = fmt.Sprintf("op_failed flow/3  op %d", 49+i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	found, err := d.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var summed []string
	for _, f := range found {
		text := fmt.Sprintf("%s | %s | %s | %s | %t", f.Kind, f.Object, f.What, f.Help, f.Bad)
		for i, s := range b.tablets {
			text = strings.ReplaceAll(text, s.endpoint, string(rune('A'+i)))
		}
		summed = append(summed, text)
	}
	wantSummed := []string{
		"auto_failover_off | auto_failover | it is off: nothing is done about tablets that die or come back | confset auto_failover true | true",
		"alive_on_dead_tablet | flow | partition 7 on dead:1: clients are sent to it, and its tablet is dead | offlineendpoint dead:1 | true",
		"lag | flow | partition 0 on C: up to 205 entries behind the leader, lost if it led now | showtable flow | false",
		"miss | flow | partition 6 on B: its tablet does not have it loaded | recoverdata --table flow | true",
		"not_follower_on_tablet | flow | partition 4 on A: it follows to the nameserver, and leads to its tablet | recoverdata --table flow | true",
		"not_leader_on_tablet | flow | partition 3 on A: it leads to the nameserver, and not to its tablet; operation 60, kReAddReplicaOP, is under way | recoverdata --table flow | true",
		"not_normal | flow | partition 5 on A: its state is kTableLoading | showtable flow | false",
		"not_recovered | flow | partition 1 on B: its tablet is up, and it was not recovered | recoverendpoint B | true",
		"not_recovered | flow | partition 3 on C: its tablet is up, and it was not recovered; operation 60, kReAddReplicaOP, is under way | recoverendpoint C | true",
		"op_failed | flow | 2 operations failed; the last: operation 51, kReAddReplicaOP, failed at kLoadTable | showopstatus | false",
		"several_leaders | flow | partition 2: several leaders are alive at once: A, C | gettablepartition flow 2 | true",
		"stray | flow | partition 7 on C: the tablet has it, and the nameserver does not know of that | showtable flow | false",
	}
	slices.Sort(summed) // the order among tablets is that of their ports
	slices.Sort(wantSummed)
	if diff := cmp.Diff(wantSummed, summed); diff != "" {
		t.Error(diff)
	}
}

// A tablet that does not answer is a fault, and takes not the others' with it.
func TestSilentTablet(t *testing.T) {
	b := newBox(t, 2)
	b.tablets[1].stop()
	d := open(t, 20*time.Second, b.ns)
	faults, err := d.Faults(t.Context())
	if diff := cmp.Diff([]string{"node_silent /0 B bad"}, lines(faults, b.naming)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestRemedy(t *testing.T) {
	d := &Driver{}
	for kind, want := range map[cluster.FindingKind]string{
		cluster.NodeDown: "offlineendpoint x", cluster.NoLeader: "showtable x", cluster.FewReplicas: "showtable x", cluster.HeldSetting: "",
	} {
		if got := d.Remedy(cluster.Finding{Kind: kind, Object: "x"}); got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
	if got := numbers([]uint32{9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 1}); got != "partitions 1, 2, 3, 4, 5, 6, 7, 8 and 2 more" {
		t.Error(got)
	}
}

func TestReplicas(t *testing.T) {
	b := newBox(t, 3)
	b.change(func(info *ns.TableInfo) {
		info.Db = proto.String("db")
		info.TablePartition[1].PartitionMeta[1].IsAlive = proto.Bool(false) // its leader
		for _, m := range info.TablePartition[2].PartitionMeta {
			m.IsLeader = proto.Bool(false)
		}
	})
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		for i, s := range b.tablets {
			state := "kHealthy"
			if i == 2 {
				state = "kOffline"
			}
			a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: &s.endpoint, State: &state})
		}
	})
	d := open(t, 20*time.Second, b.ns)
	var got []string
	for r, err := range d.Replicas(t.Context(), "flow") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s/%d %s %s alive=%t leads=%t %d/%d/%d", r.FullName(), r.Partition, b.naming(r.Endpoint), r.Role, r.Alive, r.Leads, r.Wanted, r.Have, r.Needed))
		if r.Endpoint == "" {
			continue
		}
		if *r.TTL != time.Hour || *r.Compression != "kNoCompress" || *r.Offset != int64(100+r.Partition) || *r.Records != 10 || *r.Memory != 1000 || *r.Disk != 2000 || *r.Ballot != 1 {
			t.Errorf("%+v", r)
		}
	}
	want := []string{
		"db/flow/0 A leader alive=true leads=true 3/3/1", "db/flow/0 B follower alive=true leads=false 3/3/1", "db/flow/0 C follower alive=false leads=false 3/3/1",
		"db/flow/1 B leader alive=false leads=true 3/3/1", "db/flow/1 A follower alive=true leads=false 3/3/1", "db/flow/1 C follower alive=false leads=false 3/3/1",
		"db/flow/2  leader alive=false leads=false 3/3/1",
		"db/flow/2 A follower alive=true leads=false 3/3/1", "db/flow/2 B follower alive=true leads=false 3/3/1", "db/flow/2 C follower alive=false leads=false 3/3/1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, err := range d.Replicas(t.Context(), "nope") {
		wantError(t, err, spec.NotFound, "nope")
	}
}
