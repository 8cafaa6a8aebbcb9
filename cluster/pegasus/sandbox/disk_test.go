package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// disks asks a node for its disks.
func (u *user) disks(at, table string) wire.QueryDiskResponse {
	u.t.Helper()
	a, err := try(u, at, &wire.QueryDisk, wire.GPID{}, wire.QueryDiskRequest{AppName: table})
	if err != nil {
		u.t.Fatal(err)
	}
	return a
}

// diskOf answers on which disk of a node a replica is, and in which role: "ssd1 primary"; "" for none.
func (u *user) diskOf(at string, pid wire.GPID) string {
	u.t.Helper()
	found := ""
	for _, d := range u.disks(at, "").Disks {
		for role, held := range map[string]map[int32][]wire.GPID{"primary": d.Primaries, "secondary": d.Secondaries} {
			if slices.Contains(held[pid.App], pid) {
				found += d.Tag + " " + role
			}
		}
	}
	return found
}

// restart kills a node and starts it again; connections to it are new ones afterwards.
func (u *user) restart(at string) {
	u.t.Helper()
	u.kill(at)
	u.close()
	u.conns = map[string]*client{}
	u.start(at)
}

func TestDisks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := run(t, "onebox", dir)
	u := newUser(t, c)
	u.whole("TableA")
	u.whole("demo")
	node := c.nodeAt[0]
	all := u.disks(node, "")
	if all.Err != wire.OK || len(all.Disks) != 2 || all.TotalCapacityMB != 2*all.Disks[0].CapacityMB || all.TotalAvailableMB != all.Disks[0].AvailableMB+all.Disks[1].AvailableMB {
		t.Fatalf("%+v", all)
	}
	primaries := 0
	for i, d := range all.Disks {
		if d.Tag != diskTags[i] || !strings.HasPrefix(d.Dir, dir) || d.AvailableMB > d.CapacityMB || d.AvailableMB < d.CapacityMB*9/10 {
			t.Errorf("disk %d is %+v", i, d)
		}
		for app, want := range map[int32]int{1: 4, 2: 2} { // half of each table
			if got := len(d.Primaries[app]) + len(d.Secondaries[app]); got != want {
				t.Errorf("%s has %d replicas of table %d", d.Tag, got, app)
			}
			primaries += len(d.Primaries[app])
		}
	}
	if primaries != 5 { // TableA/0, /3, /6 and demo/0, /3
		t.Errorf("%d primaries", primaries)
	}
	one := u.disks(node, "demo")
	if one.Err != wire.OK || len(one.Disks[0].Primaries[1])+len(one.Disks[0].Secondaries[1]) != 0 || len(one.Disks[0].Primaries[2])+len(one.Disks[0].Secondaries[2]) != 2 {
		t.Errorf("of one table: %+v", one)
	}
	if none := u.disks(node, "nothing"); none.Err != wire.CodeObjectNotFound {
		t.Errorf("of no table: %+v", none)
	}
	replicas, err := try(u, node, &wire.QueryReplicaInfo, wire.GPID{}, wire.QueryNodeRequest{})
	if err != nil || len(replicas.Replicas) != 12 {
		t.Fatal(replicas, err)
	}
	was := map[wire.GPID]string{}
	for _, r := range replicas.Replicas {
		if was[r.PID] = u.diskOf(node, r.PID); !strings.HasPrefix(was[r.PID], r.DiskTag+" ") {
			t.Errorf("%s is on %s and on %s", r.PID, r.DiskTag, was[r.PID])
		}
	}
	// A restart of the server moves nothing.
	u.restart(node)
	u.whole("TableA")
	u.whole("demo")
	for pid, tag := range was {
		if now := u.diskOf(node, pid); strings.Fields(now)[0] != strings.Fields(tag)[0] {
			t.Errorf("%s went from %s to %s", pid, tag, now)
		}
	}
}

func TestDiskMigration(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	u.whole("demo")
	p := u.config("demo").Configs[0]
	node := p.Secondaries[0].String()
	from, to := diskTags[0], diskTags[1]
	if u.diskOf(node, p.PID) != from+" secondary" {
		from, to = to, from
	}
	move := func(at string, pid wire.GPID, from, to string) string {
		a, err := try(u, at, &wire.DiskMigrate, wire.GPID{}, wire.DiskMigrateRequest{PID: pid, Origin: from, Target: to})
		if err != nil || a.Err != wire.OK && (a.Hint == nil || *a.Hint == "") {
			t.Errorf("from %s to %s: %+v, %v", from, to, a, err)
		}
		return a.Err
	}
	for want, got := range map[string][]string{
		wire.CodeInvalidState:      {move(p.Primary.String(), p.PID, from, to)},
		wire.CodeInvalidParameters: {move(node, p.PID, from, from), move(node, p.PID, "x", "x")},
		wire.CodeObjectNotFound:    {move(node, p.PID, to, from), move(node, p.PID, from, "hdd"), move(node, p.PID, "hdd", to), move(node, wire.GPID{App: 2, Partition: 99}, from, to)},
	} {
		for i := range got {
			if got[i] != want {
				t.Errorf("%d: %s, not %s", i, got[i], want)
			}
		}
	}
	server := c.local(nodeID(slices.Index(c.nodeAt, node)))
	server.disks.copying.Lock() // it waits for its turn
	if got := move(node, p.PID, from, to); got != wire.OK {
		t.Fatal(got)
	}
	if got := move(node, p.PID, from, to); got != wire.CodeBusy {
		t.Errorf("a second time: %s", got)
	}
	if got := u.diskOf(node, p.PID); got != from+" secondary" {
		t.Errorf("before it moved: %s", got)
	}
	server.disks.copying.Unlock()
	u.eventually("it is there and a secondary again", func() bool {
		return u.diskOf(node, p.PID) == to+" secondary" && slices.Contains(u.config("demo").Configs[0].Secondaries, p.Secondaries[0])
	})
	u.restart(node)
	u.whole("demo")
	if got := u.diskOf(node, p.PID); !strings.HasPrefix(got, to) {
		t.Errorf("after a restart: %s", got)
	}
	u.eventually("it can be moved back", func() bool { return move(node, p.PID, to, from) == wire.OK })
	u.eventually("it is back", func() bool { return u.diskOf(node, p.PID) == from+" secondary" })
	w.check(t, u)
	u.same("demo")
}

// A replica that leads by the time its copy is made stays where it is.
func TestDiskMigrationOfWhatLeadsByThen(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	p := u.config("demo").Configs[0]
	node := p.Secondaries[0].String()
	from := strings.Fields(u.diskOf(node, p.PID))[0]
	to := diskTags[1-slices.Index(diskTags[:], from)]
	server := c.local(nodeID(slices.Index(c.nodeAt, node)))
	server.disks.copying.Lock()
	a, err := try(u, node, &wire.DiskMigrate, wire.GPID{}, wire.DiskMigrateRequest{PID: p.PID, Origin: from, Target: to})
	if err != nil || a.Err != wire.OK {
		t.Fatal(a, err)
	}
	down := wire.ProposalAction{Target: p.Primary, Node: p.Primary, Type: wire.ConfigDowngradeToSecondary}
	up := wire.ProposalAction{Target: p.Secondaries[0], Node: p.Secondaries[0], Type: wire.ConfigUpgradeToPrimary}
	if got := u.propose(p.PID, false, down, up); got != wire.OK {
		t.Fatal(got)
	}
	u.eventually("it leads", func() bool { return u.diskOf(node, p.PID) == from+" primary" })
	server.disks.copying.Unlock()
	u.eventually("it is given up", func() bool {
		server.disks.mu.Lock()
		defer server.disks.mu.Unlock()
		return len(server.disks.moving) == 0
	})
	if got := u.diskOf(node, p.PID); got != from+" primary" {
		t.Errorf("it is %s", got)
	}
}

// Full disks take no writes and no new replicas; reads go on.
func TestFullDisks(t *testing.T) { modes(t, testFullDisks) }

func testFullDisks(t *testing.T, c *cluster) {
	u := newUser(t, c)
	u.whole("demo")
	config := u.config("demo")
	p, hash := config.Configs[0], hashOn(config, 0)
	put := func() error { return u.put("demo", hash, "s", "v", 0) }
	u.do(put())
	insufficient := func() bool { err := put(); return err != nil && err.Error() == wire.CodeDiskInsufficient }
	// The primary's own disk is known at once.
	primary, secondary := p.Primary.String(), p.Secondaries[0].String()
	u.do(c.Fill(t.Context(), primary, 95))
	if !insufficient() {
		t.Errorf("a write: %v", put())
	}
	if v, _ := u.get("demo", hash, "s"); v != "v" {
		t.Errorf("a read: %q", v)
	}
	if d := u.disks(primary, "").Disks[0]; d.AvailableMB*100/d.CapacityMB > 5 || !filepath.IsAbs(d.Dir) {
		t.Errorf("%+v", d)
	}
	faults := func(at string) string {
		for _, n := range c.Nodes() {
			if n.Endpoint == at {
				return n.Faults
			}
		}
		return "?"
	}
	if got := faults(primary); got != "disks filled by 95%" {
		t.Error(got)
	}
	u.do(c.Fill(t.Context(), primary, 50))
	u.do(put())
	u.do(c.Fill(t.Context(), primary, 0))
	if got := faults(primary); got != "" {
		t.Error(got)
	}
	// A secondary's is found out when the primary asks.
	u.do(c.Fill(t.Context(), secondary, 100))
	u.eventually("the primary knows", insufficient)
	id := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "late", Options: wire.CreateAppOptions{
		Partitions: 2, Replicas: 3, AppType: appType, Stateful: true,
	}}).AppID
	u.eventually("the others have replicas of a new table", func() bool {
		late := u.config("late").Configs
		return !slices.ContainsFunc(late, func(q wire.Partition) bool {
			return !q.Primary.Valid() || q.Primary.String() == secondary || len(q.Secondaries) != 1 || q.Secondaries[0].String() == secondary
		})
	})
	if got := u.diskOf(secondary, wire.GPID{App: id}); got != "" {
		t.Errorf("a full disk got a replica: %s", got)
	}
	u.do(c.Fill(t.Context(), secondary, 0))
	u.eventually("the primary knows", func() bool { return put() == nil })
	u.whole("late")
	u.same("demo")
	if err := c.Fill(t.Context(), c.metaAt, 10); spec.KindOf(err) != spec.Unable {
		t.Errorf("a meta server: %v", err)
	}
	if err := c.Fill(t.Context(), "127.0.0.1:1", 10); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

// What rows take is counted against their disk.
func TestDiskUse(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	config := u.config("demo")
	hash, node := hashOn(config, 0), config.Configs[0].Primary.String()
	tag := strings.Fields(u.diskOf(node, config.Configs[0].PID))[0]
	free := func() int64 {
		for _, d := range u.disks(node, "").Disks {
			if d.Tag == tag {
				return d.AvailableMB
			}
		}
		return -1
	}
	before, value := free(), strings.Repeat("v", 900_000)
	// Enough to fill memtables, so that some of it is in tables.
	for i := 0; free() > before-10; i++ {
		if i == 200 {
			t.Fatalf("%d MB are free after %d rows, %d before", free(), i, before)
		}
		u.do(u.put("demo", hash, fmt.Sprint(i), value, 0))
	}
}
