package pegasus

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestMetaLevel(t *testing.T) {
	b := newBox(t, 1)
	level := wire.LevelLively
	on(b.meta, &wire.ControlMeta, func(_ wire.Header, q *wire.ControlMetaRequest) *wire.ControlMetaResponse {
		old := level
		if q.Level != wire.LevelInvalid {
			level = q.Level
		}
		return &wire.ControlMetaResponse{Err: wire.OK, OldLevel: old}
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	if old, err := d.SetMetaLevel(t.Context(), "freezed"); err != nil || old != "lively" {
		t.Fatalf("%s %v", old, err)
	}
	if now, err := d.MetaLevel(t.Context()); err != nil || now != "freezed" || level != wire.LevelFreezed {
		t.Fatalf("%s %v", now, err)
	}
	_, err := d.SetMetaLevel(t.Context(), "frozen")
	wantError(t, err, spec.Usage, "frozen", "freezed")
	level = 450
	if now, err := d.MetaLevel(t.Context()); err != nil || now != "450" {
		t.Errorf("a level of the future: %s %v", now, err)
	}
}

// Reading the level may be repeated, setting it may not, though it is the same call.
func TestMetaLevelUnanswered(t *testing.T) {
	b := newBox(t, 1)
	b.meta.silent(wire.ControlMeta.Name)
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	_, err := d.MetaLevel(t.Context())
	wantError(t, err, spec.Unavailable, b.meta.endpoint)
	_, err = d.SetMetaLevel(t.Context(), "steady")
	wantError(t, err, spec.UnknownOutcome, "set the meta level to steady")
}

func TestBalanceExpands(t *testing.T) {
	b := newBox(t, 1)
	var mu sync.Mutex
	var got wire.BalancerRequest
	on(b.meta, &wire.ProposeBalancer, func(_ wire.Header, q *wire.BalancerRequest) *wire.ErrResponse {
		mu.Lock()
		defer mu.Unlock()
		got = *q
		return &wire.ErrResponse{Err: wire.OK}
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	from, _ := wire.ParseAddress("127.0.0.1:34801")
	to, _ := wire.ParseAddress("127.0.0.1:34802")
	add := wire.ProposalAction{Target: from, Node: to, Type: wire.ConfigAddSecondaryForLB}
	down := wire.ProposalAction{Target: from, Node: from, Type: wire.ConfigDowngradeToSecondary}
	up := wire.ProposalAction{Target: to, Node: to, Type: wire.ConfigUpgradeToPrimary}
	for kind, want := range map[string][]wire.ProposalAction{
		MovePrimary:    {down, up},
		CopyPrimary:    {add, down, up},
		ReplacePrimary: {add, down, up, {Target: to, Node: from, Type: wire.ConfigDowngradeToInactive}},
		CopySecondary:  {{Node: to, Type: wire.ConfigAddSecondaryForLB}, {Node: from, Type: wire.ConfigDowngradeToInactive}},
	} {
		err := d.Balance(t.Context(), Balance{AppID: 2, Partition: 5, Kind: kind, From: "127.0.0.1:34801", To: "127.0.0.1:34802"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Actions); diff != "" || got.PID != (wire.GPID{App: 2, Partition: 5}) || *got.Force {
			t.Errorf("%s: %+v\n%s", kind, got, diff)
		}
	}
	if err := d.Propose(t.Context(), Proposal{AppID: 2, Node: "127.0.0.1:34802", Type: "REMOVE", Force: true}); err != nil {
		t.Fatal(err)
	}
	want := []wire.ProposalAction{{Node: to, Type: wire.ConfigRemove}}
	if diff := cmp.Diff(want, got.Actions); diff != "" || !*got.Force {
		t.Error(diff)
	}
	// A cluster that names its nodes by host is told names and addresses.
	d.hosts.remember("node-2:34802", "127.0.0.1:34802")
	if err := d.Propose(t.Context(), Proposal{AppID: 2, Node: "node-2:34802", Type: "REMOVE"}); err != nil {
		t.Fatal(err)
	}
	want[0].HPNode = &wire.HostPort{Host: "node-2", Port: 34802, Type: 1}
	if diff := cmp.Diff(want, got.Actions); diff != "" {
		t.Error(diff)
	}
	wantError(t, d.Propose(t.Context(), Proposal{Node: "node-3:1", Type: "REMOVE"}), spec.NotFound, "node-3:1")
	wantError(t, d.Propose(t.Context(), Proposal{Node: "127.0.0.1:1", Type: "INVALID"}), spec.Usage, "ASSIGN_PRIMARY")
	wantError(t, d.Propose(t.Context(), Proposal{Node: "here", Type: "REMOVE"}), spec.Usage)
	wantError(t, d.Balance(t.Context(), Balance{Kind: "move"}), spec.Usage, MovePrimary)
	always(b.meta, &wire.ProposeBalancer, wire.ErrResponse{Err: wire.CodeInvalidParameters})
	wantError(t, d.Balance(t.Context(), Balance{Kind: MovePrimary, From: "127.0.0.1:1", To: "127.0.0.1:2"}), spec.Failed, "still wait", "freezed")
}

func TestHeldReplicas(t *testing.T) {
	b := newBox(t, 1)
	always(b.node, &wire.QueryReplicaInfo, wire.QueryReplicaInfoResponse{Err: wire.OK, Replicas: []wire.ReplicaInfo{
		{PID: wire.GPID{App: 2, Partition: 5}, Ballot: 7, Status: wire.ReplicaPotentialSecondary, LastCommitted: 8, LastPrepared: 9, DiskTag: "ssd1"},
	}})
	d := open(t, 5*time.Second, b.meta.endpoint)
	got, err := d.HeldReplicas(t.Context(), b.node.endpoint)
	want := []HeldReplica{{AppID: 2, Partition: 5, Ballot: 7, Status: "POTENTIAL_SECONDARY", Committed: 8, Prepared: 9, Disk: "ssd1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
