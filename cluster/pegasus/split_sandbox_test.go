package pegasus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// TestRowsThroughSplit splits a table of a sandbox twice while rows are written, scanned and counted: nothing fails,
// nothing is lost, and no row comes twice.
func TestRowsThroughSplit(t *testing.T) {
	d := onebox(t)
	fixed := map[string]bool{}
	for i := range 1200 {
		hash, sort := fmt.Sprint("fixed", i%240), fmt.Sprint(i)
		if _, err := d.Set(t.Context(), "demo", []byte(hash), []byte(sort), []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
		fixed[hash+" "+sort] = true
	}
	ctx, stop := context.WithCancel(t.Context())
	var written [4]atomic.Int64
	var wrote sync.WaitGroup
	for w := range written {
		wrote.Go(func() {
			for ctx.Err() == nil {
				n := written[w].Load()
				_, err := d.Set(t.Context(), "demo", fmt.Appendf(nil, "live%d %d", w, n), nil, fmt.Append(nil, n), 0)
				if err != nil {
					t.Errorf("row %d of writer %d: %v", n, w, err)
					return
				}
				written[w].Add(1)
			}
		})
	}
	scans := 0
	for _, partitions := range []int{8, 16} {
		if err := d.StartSplit(t.Context(), "demo", partitions); err != nil {
			t.Fatal(err)
		}
		for over := false; !over; scans++ { // the last one begins after the end
			s, err := d.Split(t.Context(), "demo")
			if err != nil {
				t.Fatal(err)
			}
			over = s == nil
			scanFixed(t, d, fixed)
		}
	}
	stop()
	wrote.Wait()
	a, err := d.Partitions(t.Context(), "demo")
	if err != nil || len(a.Partitions) != 16 {
		t.Fatal(len(a.Partitions), err)
	}
	total := int64(0)
	for w := range written {
		for n := range written[w].Load() {
			value, found, _, err := d.Get(t.Context(), "demo", fmt.Appendf(nil, "live%d %d", w, n), nil)
			if err != nil || !found || string(value) != fmt.Sprint(n) {
				t.Fatalf("row %d of writer %d reads %q, %t, %v", n, w, value, found, err)
			}
			total++
		}
	}
	t.Logf("%d rows written, %d scans", total, scans)
}

// scanFixed scans and counts the table and looks for the rows that do not change.
func scanFixed(t *testing.T, d *Driver, fixed map[string]bool) {
	t.Helper()
	seen := map[string]int{}
	for row, err := range d.Scan(t.Context(), "demo", ScanOptions{Partition: -1, Batch: 7, HashKey: Filter{"prefix", []byte("fixed")}}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[string(row.Hash)+" "+string(row.Sort)]++
	}
	for row, n := range seen {
		if n != 1 || !fixed[row] {
			t.Fatalf("%s came %d times", row, n)
		}
	}
	count := int64(0)
	for c, err := range d.Count(t.Context(), "demo", ScanOptions{Partition: -1, Batch: 7, HashKey: Filter{"prefix", []byte("fixed")}}) {
		if err != nil {
			t.Fatal(err)
		}
		count += c.Rows
	}
	if len(seen) != len(fixed) || count != int64(len(fixed)) {
		t.Fatalf("%d rows scanned and %d counted of %d", len(seen), count, len(fixed))
	}
}

// What the servers do while a table is split and compacted.
func TestActivity(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 5*time.Second, b.meta.endpoint)
	compact := func(s wire.CompactStatus) *int32 { n := int32(s); return &n }
	pid := func(i int32) wire.GPID { return wire.GPID{App: 2, Partition: i} }
	always(b.node, &wire.QueryReplicaInfo, wire.QueryReplicaInfoResponse{Err: wire.OK, Replicas: []wire.ReplicaInfo{
		{PID: pid(3), Status: wire.ReplicaPotentialSecondary, ManualCompact: compact(wire.CompactIdle)},
		{PID: pid(1), Status: wire.ReplicaPotentialSecondary},
		{PID: pid(4), Status: wire.ReplicaPartitionSplit},
		{PID: pid(0), Status: wire.ReplicaPrimary, ManualCompact: compact(wire.CompactRunning)},
		{PID: pid(2), Status: wire.ReplicaSecondary, ManualCompact: compact(wire.CompactQueuing)},
		{PID: wire.GPID{App: 1}, Status: wire.ReplicaSecondary, ManualCompact: compact(7)},
	}})
	a, err := d.Activity(t.Context())
	if err != nil || len(a.Learners) != 2 || a.Learners[0].Partition != 1 || len(a.Children) != 1 || a.Children[0].Partition != 4 || a.Silent != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if len(a.Compactions) != 1 || a.Compactions[2] != (CompactionCount{Queued: 1, Running: 1}) {
		t.Errorf("compactions: %+v", a.Compactions)
	}
	b.node.stop()
	if a, err := d.Activity(t.Context()); err != nil || a.Silent != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

// The child of a split that is not ready has no replicas, and lacks none.
func TestUnbornChildren(t *testing.T) {
	b := newBox(t, 4)
	b.configure(func(a *wire.QueryConfigResponse) {
		for i := 2; i < 4; i++ {
			a.Configs[i] = wire.Partition{PID: a.Configs[i].PID, Ballot: -1}
		}
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	var seen []int
	for r, err := range d.Replicas(t.Context(), boxTable) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, r.Partition)
	}
	if len(seen) != 2 || seen[0] != 0 || seen[1] != 1 {
		t.Errorf("replicas of %v", seen)
	}
	a, err := d.Partitions(t.Context(), boxTable)
	if err != nil || a.Partitions[1].Unborn || !a.Partitions[2].Unborn || !a.Partitions[3].Unborn {
		t.Errorf("%+v, %v", a, err)
	}
}
