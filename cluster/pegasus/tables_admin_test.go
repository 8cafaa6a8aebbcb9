package pegasus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestTablesRecalledRenamedAndResized(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	ctx := t.Context()
	on(b.meta, &wire.RecallApp, func(_ wire.Header, q *wire.RecallAppRequest) *wire.RecallAppResponse {
		if q.AppID != 7 {
			return &wire.RecallAppResponse{Err: wire.CodeAppNotExist}
		}
		return &wire.RecallAppResponse{Err: wire.OK, Info: wire.AppInfo{ID: 7, Name: q.NewName, Status: wire.AppRecalling, Partitions: 4}}
	})
	if a, err := d.RecallApp(ctx, 7, "again"); err != nil || a.ID != 7 || a.Name != "again" || a.Status != "RECALLING" || a.Partitions != 4 {
		t.Errorf("%+v %v", a, err)
	}
	_, err := d.RecallApp(ctx, 8, "")
	wantError(t, err, spec.NotFound, "recall table 8", wire.CodeAppNotExist)

	always(b.meta, &wire.RenameApp, wire.HintResponse{Err: wire.OK})
	if err := d.RenameApp(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
	always(b.meta, &wire.RenameApp, wire.HintResponse{Err: wire.CodeInvalidParameters, Hint: "b is there"})
	wantError(t, d.RenameApp(ctx, "a", "b"), spec.Failed, "rename table a", "b is there")

	always(b.meta, &wire.GetReplicaCount, wire.ReplicaCountResponse{Err: wire.OK, Count: 3})
	if n, err := d.ReplicaCount(ctx, "a"); err != nil || n != 3 {
		t.Errorf("%d %v", n, err)
	}
	always(b.meta, &wire.SetReplicaCount, wire.ReplicaCountResponse{Err: wire.OK, Count: 3})
	if n, err := d.SetReplicaCount(ctx, "a", 2); err != nil || n != 3 {
		t.Errorf("%d %v", n, err)
	}
	always(b.meta, &wire.SetReplicaCount, wire.ReplicaCountResponse{Err: wire.CodeStateFreezed, Hint: "too few nodes"})
	_, err = d.SetReplicaCount(ctx, "a", 2)
	wantError(t, err, spec.Failed, "too few nodes", wire.CodeStateFreezed)

	var cleared string
	on(b.meta, &wire.UpdateAppEnv, func(_ wire.Header, q *wire.UpdateAppEnvRequest) *wire.HintResponse {
		if q.Op == wire.EnvClear {
			cleared = *q.ClearPrefix
		}
		return &wire.HintResponse{Err: wire.OK}
	})
	if err := d.ClearEnvs(ctx, "a", "rocksdb"); err != nil || cleared != "rocksdb" {
		t.Errorf("%q %v", cleared, err)
	}
}

// What changes a table is sent once; that no answer came is said.
func TestTablesUnanswered(t *testing.T) {
	b := newBox(t, 1)
	for _, name := range []string{wire.RecallApp.Name, wire.RenameApp.Name, wire.SetReplicaCount.Name} {
		b.meta.silent(name)
	}
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	_, err := d.RecallApp(t.Context(), 7, "")
	wantError(t, err, spec.UnknownOutcome)
	wantError(t, d.RenameApp(t.Context(), "a", "b"), spec.UnknownOutcome)
	_, err = d.SetReplicaCount(t.Context(), "a", 2)
	wantError(t, err, spec.UnknownOutcome)
	for _, name := range []string{wire.RecallApp.Name, wire.RenameApp.Name, wire.SetReplicaCount.Name} {
		if n := b.meta.calls(name); n != 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
}

func TestDeadPartitions(t *testing.T) {
	b := newBox(t, 1)
	node, _ := wire.ParseAddress("127.0.0.1:34801")
	on(b.meta, &wire.DDDDiagnose, func(_ wire.Header, q *wire.DDDRequest) *wire.DDDResponse {
		if q.PID != (wire.GPID{App: -1, Partition: -1}) {
			return &wire.DDDResponse{Err: wire.CodeAppNotExist}
		}
		config := func(app, index int32) wire.Partition {
			return wire.Partition{PID: wire.GPID{App: app, Partition: index}, Ballot: 4, MaxReplicas: 3}
		}
		return &wire.DDDResponse{Err: wire.OK, Partitions: []wire.DDDPartition{
			{Config: config(3, 0)},
			{Config: config(2, 5), Reason: "why", Dropped: []wire.DDDNode{
				{Node: node, DropTimeMillis: 1700000000123, Alive: true, Collected: true, Ballot: 3, LastCommitted: 8, LastPrepared: 9},
				{Node: node, HPNode: &wire.HostPort{Host: "node-1", Port: 34801, Type: 1}},
			}},
		}}
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	got, err := d.DeadPartitions(t.Context(), -1, -1)
	want := []DeadPartition{
		{AppID: 2, Reason: "why", Partition: Partition{Index: 5, Ballot: 4, MaxReplicas: 3}, Dropped: []DroppedReplica{
			{Endpoint: "127.0.0.1:34801", Dropped: time.UnixMilli(1700000000123), Alive: true, Known: true, Ballot: 3, Committed: 8, Prepared: 9},
			{Endpoint: "node-1:34801"},
		}},
		{AppID: 3, Partition: Partition{Ballot: 4, MaxReplicas: 3}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	_, err = d.DeadPartitions(t.Context(), 9, -1)
	wantError(t, err, spec.NotFound)
}
