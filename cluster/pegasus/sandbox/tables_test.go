package sandbox

import (
	"fmt"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// A dropped table comes back with its rows and settings, also when nodes were restarted meanwhile.
func TestRecall(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	id := u.create("visits", 2, map[string]string{"business.info": "x"})
	for i := range 100 {
		if err := u.put("visits", fmt.Sprint("user", i), "s", fmt.Sprint("v", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	recall := func(id int32, name string) string {
		return ask(u, &wire.RecallApp, wire.RecallAppRequest{AppID: id, NewName: name}).Err
	}
	if got := recall(id, ""); got != wire.CodeAppExist {
		t.Errorf("a table that is there: %s", got)
	}
	if got := recall(99, ""); got != wire.CodeAppNotExist {
		t.Errorf("no table: %s", got)
	}
	drop := func(name string, seconds int64) {
		a := ask(u, &wire.DropApp, wire.DropAppRequest{AppName: name, Options: wire.DropAppOptions{ReserveSeconds: &seconds}})
		if a.Err != wire.OK {
			t.Fatal(a)
		}
	}
	drop("visits", 1000)
	other := u.create("visits", 1, nil)
	if got := recall(id, ""); got != wire.CodeInvalidParameters {
		t.Errorf("the name is taken: %s", got)
	}
	u.kill(c.nodeAt[1])
	u.start(c.nodeAt[1])
	u = newUser(t, c) // the connections to it are gone
	a := ask(u, &wire.RecallApp, wire.RecallAppRequest{AppID: id, NewName: "visits1"})
	if a.Err != wire.OK || a.Info.Name != "visits1" || a.Info.Status != wire.AppAvailable || a.Info.Envs["business.info"] != "x" || a.Info.DropSecond != 0 {
		t.Fatalf("%+v", a)
	}
	u.healthy("visits1")
	for i := range 100 {
		if got, status := u.get("visits1", fmt.Sprint("user", i), "s"); status != 0 || got != fmt.Sprint("v", i) {
			t.Fatalf("row %d: %q, status %d", i, got, status)
		}
	}
	if err := u.put("visits1", "user0", "s", "new", 0); err != nil {
		t.Error(err)
	}
	u.same("visits1")
	drop("visits", 1)
	end := time.Now().Add(2 * time.Second)
	u.eventually("its time is over", func() bool { return time.Now().After(end) })
	if got := recall(other, ""); got != wire.CodeAppNotExist {
		t.Errorf("too late: %s", got)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	rename := func(old, name string) string {
		return ask(u, &wire.RenameApp, wire.RenameAppRequest{Old: old, New: name}).Err
	}
	for _, c := range []struct{ old, name, want string }{
		{"nothing", "x", wire.CodeAppNotExist},
		{"demo", "TableA", wire.CodeInvalidParameters},
		{"demo", "renamed", wire.OK},
	} {
		if got := rename(c.old, c.name); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.old, c.name, got, c.want)
		}
	}
	if got, _ := u.get("renamed", "h", "s"); got != "v" {
		t.Errorf("its row reads %q", got)
	}
	if a := u.config("demo"); a.Err != wire.CodeObjectNotFound {
		t.Errorf("the old name: %+v", a)
	}
}

// Copies are dropped and made under writes, and no acknowledged row is lost.
func TestReplicaCount(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	set := func(table string, n int32) wire.ReplicaCountResponse {
		return ask(u, &wire.SetReplicaCount, wire.SetReplicaCountRequest{AppName: table, Count: n})
	}
	for n, want := range map[int32]string{0: wire.CodeInvalidParameters, 6: wire.CodeInvalidParameters, 4: wire.CodeInvalidParameters, 3: wire.OK} {
		if a := set("demo", n); a.Err != want {
			t.Errorf("%d: %+v", n, a)
		}
	}
	if a := set("nothing", 2); a.Err != wire.CodeAppNotExist {
		t.Errorf("no table: %+v", a)
	}
	w := startWriter(t, c, "hash")
	was := int32(3)
	for _, n := range []int32{1, 2, 3, 1, 3} {
		if a := set("demo", n); a.Err != wire.OK || a.Count != was {
			t.Fatalf("to %d: %+v", n, a)
		}
		was = n
		if a := ask(u, &wire.GetReplicaCount, wire.GetReplicaCountRequest{AppName: "demo"}); a.Err != wire.OK || a.Count != n {
			t.Errorf("%+v", a)
		}
		before := w.acked.Load()
		u.eventually("the groups have that many, and take writes", func() bool {
			for _, p := range u.config("demo").Configs {
				if !p.Primary.Valid() || p.MaxReplicas != n || 1+len(p.Secondaries) != int(n) {
					return false
				}
			}
			return w.acked.Load() > before+5
		})
	}
	w.check(t, u)
	u.same("demo")
	u.level(wire.LevelFreezed)
	if a := set("demo", 2); a.Err != wire.CodeStateFreezed {
		t.Errorf("freezed: %+v", a)
	}
}
