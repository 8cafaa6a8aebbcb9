package sandbox

import (
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// A partition whose last member is gone waits for it, is listed with what the others have, and takes the node that it is
// told to take, without the rows that this one never got.
func TestDeadPartition(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	id := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "two", Options: wire.CreateAppOptions{
		Partitions: 1, Replicas: 2, AppType: appType, Stateful: true,
	}}).AppID
	pid := wire.GPID{App: id}
	p := u.healthy("two").Configs[0]
	first, second := p.Primary.String(), p.Secondaries[0].String()
	dead := func(pid wire.GPID) []wire.DDDPartition {
		a := ask(u, &wire.DDDDiagnose, wire.DDDRequest{PID: pid})
		if a.Err != wire.OK {
			t.Fatal(a)
		}
		return a.Partitions
	}
	all := wire.GPID{App: -1, Partition: -1}
	put := func(sort string) {
		u.eventually("the row is taken", func() bool { return u.put("two", "h", sort, "v", 0) == nil })
	}
	put("both")
	if got := dead(all); len(got) != 0 {
		t.Fatalf("nothing is dead: %+v", got)
	}
	u.kill(second)
	u.eventually("the secondary has left", func() bool { return len(u.config("two").Configs[0].Secondaries) == 0 })
	put("one")
	u.kill(first)
	u.eventually("it is dead", func() bool { return len(dead(all)) > 0 })
	u.start(second)
	u = newUser(t, c)
	u.eventually("what is back is known", func() bool {
		got := dead(pid)
		return len(got) == 1 && len(got[0].Dropped) == 2 && got[0].Dropped[0].Collected && got[0].Dropped[0].LastCommitted == 1
	})
	got := dead(wire.GPID{App: id, Partition: -1})[0]
	if d := got.Dropped; d[0].Node.String() != second || !d[0].Alive || d[1].Node.String() != first || d[1].Alive || d[1].Collected || d[1].DropTimeMillis == 0 || got.Reason == "" || got.Config.PID != pid {
		t.Errorf("%+v", got)
	}
	if other := dead(wire.GPID{App: 1, Partition: -1}); len(other) != 0 {
		t.Errorf("another table: %+v", other)
	}
	node := p.Secondaries[0]
	if err := u.propose(pid, true, wire.ProposalAction{Target: node, Node: node, Type: wire.ConfigAssignPrimary}); err != wire.OK {
		t.Fatal(err)
	}
	u.eventually("it leads", func() bool { return u.config("two").Configs[0].Primary == node && len(dead(all)) == 0 })
	u.eventually("it serves", func() bool {
		a, err := at(u, "two", []byte("h"), &wire.Get, key("h", "both"))
		return err == nil && string(a.Value) == "v"
	})
	if v, status := u.get("two", "h", "one"); status != wire.StatusNotFound {
		t.Errorf("a row that it never got: %q", v)
	}
}
