package pegasus

import (
	"slices"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// underRecovery has a meta server answer as one that has lost its metadata.
func (b *box) underRecovery() {
	always(b.meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.CodeUnderRecovery, Keys: []string{}, Values: []string{}})
	always(b.meta, &wire.ListNodes, wire.ListNodesResponse{Err: wire.CodeUnderRecovery, Nodes: []wire.NodeInfo{}})
	always(b.meta, &wire.ListApps, wire.ListAppsResponse{Err: wire.CodeUnderRecovery, Apps: []wire.AppInfo{}})
	always(b.meta, &wire.QueryConfig, wire.QueryConfigResponse{Err: wire.CodeUnderRecovery, Configs: []wire.Partition{}})
	always(b.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.CodeUnderRecovery})
}

func TestUnderRecovery(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	if under, err := d.UnderRecovery(t.Context()); under || err != nil {
		t.Errorf("a cluster that is well: %t %v", under, err)
	}
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.underRecovery()
	if under, err := d.UnderRecovery(t.Context()); !under || err != nil {
		t.Errorf("%t %v", under, err)
	}
	if seen := d.SeenNodes(); !slices.Equal(seen, []string{b.node.endpoint}) {
		t.Errorf("seen: %v", seen)
	}
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, wire.CodeUnderRecovery, "lost its metadata", "recover")
	_, err = d.CreateApp(t.Context(), NewApp{Name: "x", Partitions: 1, Replicas: 1})
	wantError(t, err, spec.Unavailable, wire.CodeUnderRecovery, "recover")
	_, _, _, err = d.Get(t.Context(), boxTable, []byte("h"), []byte("s"))
	wantError(t, err, spec.Unavailable, wire.CodeUnderRecovery, "recover")
	found, err := d.Examine(t.Context())
	if err != nil || len(found) != 1 || found[0].Kind != "metadata_lost" || !found[0].Bad || found[0].Help != "recover" {
		t.Errorf("%+v %v", found, err)
	}
	always(b.meta, &wire.ListNodes, wire.ListNodesResponse{Err: wire.CodeServiceNotActive, Nodes: []wire.NodeInfo{}})
	_, err = d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, wire.CodeServiceNotActive, "recover")
	b.meta.stop()
	if _, err := d.UnderRecovery(t.Context()); err == nil {
		t.Error("a meta server that is down answers")
	}
}

func TestStartRecovery(t *testing.T) {
	b := newBox(t, 1)
	b.underRecovery()
	var asked wire.RecoveryRequest
	answer := wire.HintResponse{Err: wire.OK, Hint: "WARNING: one\n\nWARNING: two\n"}
	on(b.meta, &wire.StartRecovery, func(_ wire.Header, q *wire.RecoveryRequest) *wire.HintResponse {
		asked = *q
		return &answer
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	r := Recovery{Nodes: []string{"127.0.0.1:34801", "127.0.0.1:34802"}, SkipBadNodes: true}
	hints, err := d.StartRecovery(t.Context(), r)
	if err != nil || !slices.Equal(hints, []string{"WARNING: one", "WARNING: two"}) {
		t.Fatalf("%q %v", hints, err)
	}
	if !slices.Equal(asked.Nodes, []wire.Address{0x7f00000187f10001, 0x7f00000187f20001}) || !asked.SkipBadNodes || asked.SkipLostPartitions || asked.HPNodes != nil {
		t.Errorf("asked %+v", asked)
	}
	// A cluster that names its nodes by host is told names and addresses.
	d.hosts.remember("node-2:34802", "127.0.0.1:34802")
	if _, err := d.StartRecovery(t.Context(), Recovery{Nodes: []string{"127.0.0.1:34801", "node-2:34802"}, SkipLostPartitions: true}); err != nil {
		t.Fatal(err)
	}
	if want := []wire.HostPort{{Host: "127.0.0.1", Port: 34801, Type: 1}, {Host: "node-2", Port: 34802, Type: 1}}; !slices.Equal(asked.HPNodes, want) || asked.SkipBadNodes || !asked.SkipLostPartitions {
		t.Errorf("asked %+v", asked)
	}
	// A name that nobody has seen is looked up.
	if _, err := d.StartRecovery(t.Context(), Recovery{Nodes: []string{"localhost:34803"}}); err != nil || asked.Nodes[0] != 0x7f00000187f30001 {
		t.Errorf("asked %+v, %v", asked, err)
	}
	_, err = d.StartRecovery(t.Context(), Recovery{Nodes: []string{"here"}})
	wantError(t, err, spec.Usage, "here")
	answer = wire.HintResponse{Err: wire.CodeTryAgain, Hint: "ERROR: node x failed\nERROR: partition 1.0 has no replica\n"}
	_, err = d.StartRecovery(t.Context(), r)
	wantError(t, err, spec.Failed, "node x failed; ERROR: partition 1.0", "-b", "-l")
	answer = wire.HintResponse{Err: wire.CodeServiceRunning}
	_, err = d.StartRecovery(t.Context(), r)
	wantError(t, err, spec.Refused, "nothing to recover")
	b.meta.silent(wire.StartRecovery.Name)
	before := b.meta.calls(wire.StartRecovery.Name)
	_, err = d.StartRecovery(cluster.WithCallTimeout(t.Context(), 300*time.Millisecond), r)
	wantError(t, err, spec.UnknownOutcome, b.meta.endpoint)
	if n := b.meta.calls(wire.StartRecovery.Name) - before; n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestTablesOn(t *testing.T) {
	b := newBox(t, 1)
	always(b.node, &wire.QueryAppInfo, wire.QueryAppInfoResponse{Err: wire.OK, Apps: []wire.AppInfo{
		{ID: 3, Name: "x", Status: wire.AppDropped, Partitions: 4, MaxReplicas: 3},
	}})
	b.underRecovery()
	d := open(t, 5*time.Second, b.meta.endpoint)
	apps, err := d.TablesOn(t.Context(), b.node.endpoint)
	if err != nil || len(apps) != 1 || apps[0].ID != 3 || apps[0].Status != "DROPPED" || apps[0].Partitions != 4 {
		t.Errorf("%+v %v", apps, err)
	}
	always(b.node, &wire.QueryAppInfo, wire.QueryAppInfoResponse{Err: wire.CodeInvalidState, Apps: []wire.AppInfo{}})
	_, err = d.TablesOn(t.Context(), b.node.endpoint)
	wantError(t, err, spec.Unavailable, b.node.endpoint)
	_, err = d.TablesOn(t.Context(), "here")
	wantError(t, err, spec.Usage)
}
