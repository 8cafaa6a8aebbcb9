package pegasus

import (
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// A primary that moved is found again, by reads and by writes: such refusals come before anything is done.
func TestPrimaryMoves(t *testing.T) {
	for _, code := range []string{wire.CodeInvalidState, wire.CodeObjectNotFound, wire.CodeParentMisused} {
		b := newBox(t, 1)
		d := open(t, 10*time.Second, b.meta.endpoint)
		old := newServer(t)
		old.reject(wire.Put.Name, code)
		old.reject(wire.Get.Name, code)
		b.configure(func(a *wire.QueryConfigResponse) { a.Configs[0].Primary = old.address() })
		if _, err := d.Partitions(t.Context(), boxTable); err != nil { // fills the cache
			t.Fatal(err)
		}
		b.configure(nil)
		if _, err := d.Set(t.Context(), boxTable, []byte("h"), nil, []byte("v"), 0); err != nil {
			t.Fatal(code, err)
		}
		if n := old.calls(wire.Put.Name); n != 1 {
			t.Errorf("%s: the old primary was asked %d times", code, n)
		}
		if value, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil); err != nil || string(value) != "v" {
			t.Errorf("%s: %q %v", code, value, err)
		}
	}
}

// A dead primary: asking again finds its successor.
func TestPrimaryDies(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 10*time.Second, b.meta.endpoint)
	dead := newServer(t)
	dead.stop()
	b.configure(func(a *wire.QueryConfigResponse) { a.Configs[0].Primary = dead.address() })
	if _, err := d.Partitions(t.Context(), boxTable); err != nil {
		t.Fatal(err)
	}
	b.configure(nil)
	if _, err := d.Set(t.Context(), boxTable, []byte("h"), nil, []byte("v"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestRefusalsThatStay(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.meta.endpoint)
	b.node.reject(wire.Get.Name, wire.CodeInvalidState) // replica.deny_client_request = reconfig*all
	within(t, 10*time.Second, func() {
		_, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil)
		wantError(t, err, spec.Unavailable, wire.CodeInvalidState, "deny", b.node.endpoint)
	})
	if n := b.meta.calls(wire.QueryConfig.Name); n < 2 {
		t.Errorf("the meta server was asked %d times", n)
	}
	b.configure(func(a *wire.QueryConfigResponse) { a.Configs[0].Primary = 0 })
	within(t, 10*time.Second, func() {
		_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, nil, 0)
		wantError(t, err, spec.Unavailable, "partition 0 of table TableA has no primary", "showtable")
	})
	// The deadline ends what keeps failing, with the reason and not with the deadline.
	b.configure(nil)
	d = open(t, 400*time.Millisecond, b.meta.endpoint)
	b.node.reject(wire.Get.Name, wire.CodeObjectNotFound)
	within(t, 4*time.Second, func() {
		_, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil)
		wantError(t, err, spec.Unavailable, wire.CodeObjectNotFound)
	})
}

// While a table is split, rows of children that are not ready are with their parents.
func TestSplitChildren(t *testing.T) {
	b := newBox(t, 4)
	b.configure(func(a *wire.QueryConfigResponse) { a.Configs[2].Ballot, a.Configs[3].Ballot = -1, -1 })
	d := open(t, 5*time.Second, b.meta.endpoint)
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		at, err := d.Locate(t.Context(), boxTable, []byte(key), nil)
		if err != nil || at.Partition != int(wire.Hash([]byte(key), nil)%2) {
			t.Errorf("%s is in partition %d, %v", key, at.Partition, err)
		}
		ack, err := d.Set(t.Context(), boxTable, []byte(key), nil, nil, 0)
		if err != nil || ack.Partition != at.Partition {
			t.Errorf("%s was written to %+v, %v", key, ack, err)
		}
	}
}

// A partition of a new table that no server serves yet is no child of a split: its rows go nowhere else.
func TestPartitionsToBeFounded(t *testing.T) {
	b := newBox(t, 4)
	b.configure(func(a *wire.QueryConfigResponse) {
		for i := 2; i < 4; i++ {
			a.Configs[i].Ballot, a.Configs[i].Primary, a.Configs[i].HPPrimary = 0, 0, nil
		}
	})
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	waiting := 0
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		want := wire.PartitionOf(wire.Hash([]byte(key), nil), 4)
		ack, err := d.Set(t.Context(), boxTable, []byte(key), nil, nil, 0)
		switch {
		case want >= 2:
			waiting++
			wantError(t, err, spec.Unavailable, "")
		case err != nil || ack.Partition != want:
			t.Errorf("%s was written to %+v, %v", key, ack, err)
		}
	}
	if waiting == 0 {
		t.Error("no key is of a partition that waits")
	}
}
