package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// do applies a fault that must work.
func (u *user) do(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

// silent checks that a call gets no answer, on a connection that stays.
func silent[Q, A any](u *user, address string, rpc *wire.RPC[Q, A], pid wire.GPID, args Q) *client {
	u.t.Helper()
	c, err := dial(address)
	u.do(err)
	u.t.Cleanup(func() { c.conn.Close() })
	c.seq++
	_, err = c.conn.Write(rpc.AppendRequest(nil, wire.Header{GPID: pid, TimeoutMillis: 5000, ThreadHash: pid.ThreadHash()}, c.seq, &args))
	u.do(err)
	c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var timeout net.Error
	if _, err := wire.ReadReply(c.r); !errors.As(err, &timeout) || !timeout.Timeout() {
		u.t.Fatalf("%s to %s is not met with silence: %v", rpc.Name, address, err)
	}
	return c
}

// whole waits until every node serves its replica of every partition of a table.
func (u *user) whole(table string) {
	u.t.Helper()
	u.eventually("every node serves "+table, func() bool {
		for _, p := range u.healthy(table).Configs {
			for id := range u.c.nodeAt {
				n, err := u.c.node(nodeID(id))
				if err != nil {
					return false
				}
				if r, err := n.report(p.PID); err != nil || r.Ballot != p.Ballot || r.Status != wire.ReplicaPrimary && r.Status != wire.ReplicaSecondary {
					return false
				}
			}
		}
		return true
	})
}

// leader waits until a meta server leads that is not the one named.
func (u *user) leader(not string) string {
	u.t.Helper()
	at := ""
	u.eventually("another meta server leads", func() bool {
		boss := u.c.leader()
		if boss != nil {
			at = boss.at()
		}
		return boss != nil && at != not
	})
	return at
}

func TestStandbyForwards(t *testing.T) { modes(t, testStandbyForwards) }

func testStandbyForwards(t *testing.T, c *cluster) {
	u := newUser(t, c)
	config, err := try(u, c.metaAts[1], &wire.QueryConfig, wire.GPID{}, wire.QueryConfigRequest{AppName: "demo", Indices: []int32{}})
	if err != nil || config.Err != wire.CodeForward || len(config.Configs) != 1 || config.Configs[0].Primary.String() != c.metaAts[0] {
		t.Errorf("query config: %+v, %v", config, err)
	}
	apps, err := try(u, c.metaAts[1], &wire.ListApps, wire.GPID{}, wire.ListAppsRequest{})
	if err != nil || apps.Err != wire.CodeForward || len(apps.Apps) != 0 {
		t.Errorf("list apps: %+v, %v", apps, err)
	}
	info := ask(u, &wire.ClusterInfo, struct{}{})
	if got := info.Values[0]; got != strings.Join(c.metaAts, ",") {
		t.Errorf("meta servers: %s", got)
	}
	if text, err := try(u, c.metaAts[1], &wire.CallCommand, wire.GPID{}, wire.Command{Name: "server-info", Args: []string{}}); err != nil || !strings.Contains(text, "Pegasus") {
		t.Errorf("a remote command: %q, %v", text, err)
	}
}

func TestMetaFailover(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *cluster, at string) error{
		"killed":  func(c *cluster, at string) error { return c.Kill(context.Background(), at) },
		"stopped": func(c *cluster, at string) error { return c.Stop(context.Background(), at) },
		"paused":  func(c *cluster, at string) error { return c.Pause(context.Background(), at) },
	} {
		t.Run(name, func(t *testing.T) {
			modes(t, func(t *testing.T, c *cluster) { testMetaFailover(t, c, name, end) })
		})
	}
}

func testMetaFailover(t *testing.T, c *cluster, name string, end func(c *cluster, at string) error) {
	u := newUser(t, c)
	w := startWriter(t, c, "live", c.metaAts[1], c.metaAts[0])
	id := u.create("extra", 4, map[string]string{"default_ttl": "1000"})
	old := c.metaAts[0]
	u.do(end(c, old))
	if name == "paused" {
		silent(u, old, &wire.ListApps, wire.GPID{}, wire.ListAppsRequest{})
	}
	if at := u.leader(old); at != c.metaAts[1] {
		t.Fatalf("%s leads", at)
	}
	u.metas = c.metaAts[1] + "," + c.metaAts[0]
	if got := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}); len(got.Apps) != 3 || got.Apps[2].ID != id {
		t.Errorf("tables: %+v", got)
	}
	u.eventually("rows are written", func() bool { return w.acked.Load() >= 20 })
	u.start(old)
	u.close()
	u.conns = map[string]*client{}
	config, err := try(u, old, &wire.QueryConfig, wire.GPID{}, wire.QueryConfigRequest{AppName: "demo", Indices: []int32{}})
	if err != nil || config.Err != wire.CodeForward || config.Configs[0].Primary.String() != c.metaAts[1] {
		t.Errorf("the old leader answers %+v, %v", config, err)
	}
	u.do(c.Kill(t.Context(), c.metaAts[1]))
	u.leader(c.metaAts[1])
	u.whole("demo")
	w.check(t, u)
	u.same("demo")
}

// A leader that was paused for less than its session leads on, with what it had in memory.
func TestShortPauseKeepsTheLead(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.level(wire.LevelFreezed)
	boss := c.leader()
	c.steer.Lock() // no election can happen in between
	c.gate(c.metaAt).Pause()
	c.vacate(time.Hour)
	c.touch()
	c.steer.Unlock()
	u.do(c.Start(t.Context(), c.metaAt))
	if c.leader() != boss {
		t.Error("another one leads")
	}
	if a := ask(u, &wire.ControlMeta, wire.ControlMetaRequest{Level: wire.LevelInvalid}); a.OldLevel != wire.LevelFreezed {
		t.Errorf("the level is %v", a.OldLevel)
	}
	u.level(wire.LevelSteady)
	u.whole("demo")
	u.same("demo")
}

// A paused primary is replaced; when it goes on, it serves nobody what is stale.
func TestPausedNode(t *testing.T) { modes(t, testPausedNode) }

func testPausedNode(t *testing.T, c *cluster) {
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	before := u.config("demo")
	victim := before.Configs[0].Primary.String()
	hash := hashOn(before, 0)
	u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "old", 0) == nil })
	u.eventually("rows are written", func() bool { return w.acked.Load() >= 10 })
	u.do(c.Pause(t.Context(), victim))
	if err := c.Pause(t.Context(), victim); spec.KindOf(err) != spec.Refused {
		t.Errorf("paused twice: %v", err)
	}
	asked := silent(u, victim, &wire.Get, before.Configs[0].PID, key(hash, "s"))
	if i := slices.IndexFunc(c.Nodes(), func(n sandbox.NodeStatus) bool { return n.Endpoint == victim }); c.Nodes()[i].State != sandbox.Paused {
		t.Errorf("it is %+v", c.Nodes()[i])
	}
	u.close()
	u.conns = map[string]*client{}
	u.eventually("it is replaced", func() bool {
		p := u.config("demo").Configs[0]
		return p.Primary.Valid() && p.Primary.String() != victim
	})
	u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "new", 0) == nil })
	u.start(victim)
	asked.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	reply, err := wire.ReadReply(asked.r)
	if err != nil || reply.OK() {
		t.Errorf("the read from before is answered %+v, %v", reply, err)
	}
	u.whole("demo")
	w.check(t, u)
	u.same("demo")
}

// A primary that no meta server hears stops serving before another one takes its place.
func TestCutOffNode(t *testing.T) { modes(t, testCutOffNode) }

func testCutOffNode(t *testing.T, c *cluster) {
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	before := u.config("demo")
	p := before.Configs[0]
	victim, hash := p.Primary.String(), hashOn(before, 0)
	for _, meta := range c.metaAts {
		u.do(c.Partition(t.Context(), meta, victim))
	}
	if faults := c.Nodes()[0].Faults; faults != "cut off "+victim {
		t.Errorf("the meta server is %q", faults)
	}
	u.eventually("it is replaced", func() bool {
		now := u.config("demo").Configs[0]
		return now.Primary.Valid() && now.Primary != p.Primary
	})
	if _, err := try(u, victim, &wire.Get, p.PID, key(hash, "s")); err == nil || err.Error() != wire.CodeInvalidState {
		t.Errorf("the old primary answers a read: %v", err)
	}
	if _, err := try(u, victim, &wire.Put, p.PID, wire.PutRequest{Key: key(hash, "s"), Value: []byte("v")}); err == nil || err.Error() != wire.CodeInvalidState {
		t.Errorf("the old primary answers a write: %v", err)
	}
	u.do(c.Heal(t.Context()))
	u.whole("demo")
	w.check(t, u)
	u.same("demo")
}

// A primary that cannot reach a secondary goes on without it.
func TestCutOffSecondary(t *testing.T) { modes(t, testCutOffSecondary) }

func testCutOffSecondary(t *testing.T, c *cluster) {
	u := newUser(t, c)
	p := u.config("demo").Configs[0]
	hash := hashOn(u.config("demo"), 0)
	u.do(c.Partition(t.Context(), p.Primary.String(), p.Secondaries[0].String()))
	if err := u.put("demo", hash, "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	if now := u.config("demo").Configs[0]; now.Primary != p.Primary || slices.Contains(now.Secondaries, p.Secondaries[0]) {
		t.Errorf("the group is %+v", now)
	}
	u.do(c.Heal(t.Context()))
	u.whole("demo")
	u.same("demo")
}

func TestLostNode(t *testing.T) { modes(t, testLostNode) }

func testLostNode(t *testing.T, c *cluster) {
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	u.eventually("rows are written", func() bool { return w.acked.Load() >= 10 })
	u.do(c.Lose(t.Context(), c.nodeAt[0]))
	if _, err := os.Stat(c.nodeDir(0)); !os.IsNotExist(err) {
		t.Errorf("its store: %v", err)
	}
	u.start(c.nodeAt[0])
	u.whole("TableA")
	u.whole("demo")
	w.check(t, u)
	rows := 0
	for _, p := range u.config("TableA").Configs {
		rows += len(u.scanAll(p, wire.GetScannerRequest{}))
	}
	if rows != 1000 {
		t.Errorf("TableA has %d rows", rows)
	}
	u.same("demo")
}

// When all have lost their data a partition stays dead: it does not come back empty.
func TestAllLost(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	for i, endpoint := range c.nodeAt {
		u.do(c.Lose(t.Context(), endpoint))
		u.eventually("it has left", func() bool { return len(u.config("TableA").Configs[0].LastDrops) == i+1 })
	}
	for _, endpoint := range c.nodeAt {
		u.start(endpoint)
	}
	boss := c.localLeader()
	for range 3 {
		boss.rounds.Lock()
		boss.cure()
		boss.rounds.Unlock()
	}
	for _, p := range u.config("TableA").Configs {
		if p.Primary.Valid() {
			t.Fatalf("%s is served by %s, which has nothing", p.PID, p.Primary)
		}
	}
}

// Stopping a node answers what it was asked before.
func TestStopAnswersFirst(t *testing.T) { modes(t, testStopAnswersFirst) }

func testStopAnswersFirst(t *testing.T, c *cluster) {
	u := newUser(t, c)
	p := u.config("demo").Configs[0]
	conn, err := dial(p.Primary.String())
	u.do(err)
	defer conn.conn.Close()
	const writes = 200
	var frames []byte
	for i := range writes {
		args := wire.PutRequest{Key: key(hashOn(u.config("demo"), 0), fmt.Sprint(i)), Value: []byte("v")}
		frames = wire.Put.AppendRequest(frames, wire.Header{GPID: p.PID, TimeoutMillis: 5000, ThreadHash: p.PID.ThreadHash()}, int32(i+1), &args)
	}
	_, err = conn.conn.Write(frames)
	u.do(err)
	conn.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	first, err := wire.ReadReply(conn.r)
	if err != nil || !first.OK() {
		t.Fatal(first, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- c.Stop(context.Background(), p.Primary.String()) }()
	answered := 1
	for {
		reply, err := wire.ReadReply(conn.r)
		if err != nil {
			break
		}
		if !reply.OK() {
			t.Errorf("a write was answered %s", reply.Code)
		}
		answered++
	}
	u.do(<-stopped)
	u.eventually("it is replaced", func() bool {
		now := u.config("demo").Configs[0]
		return now.Primary.Valid() && now.Primary != p.Primary
	})
	for i := range answered {
		if got, status := u.get("demo", hashOn(u.config("demo"), 0), fmt.Sprint(i)); got != "v" {
			t.Errorf("row %d of %d answered: %q, status %d", i, answered, got, status)
		}
	}
	if err := c.Stop(t.Context(), p.Primary.String()); spec.KindOf(err) != spec.Refused {
		t.Errorf("stopped twice: %v", err)
	}
}

func TestSlowNode(t *testing.T) { modes(t, testSlowNode) }

func testSlowNode(t *testing.T, c *cluster) {
	u := newUser(t, c)
	const by = 150 * time.Millisecond
	p := u.config("demo").Configs[0]
	hash := hashOn(u.config("demo"), 0)
	for _, at := range []string{p.Primary.String(), p.Secondaries[0].String()} { // a write waits for its slowest member
		u.do(c.Slow(t.Context(), at, by))
		begin := time.Now()
		if err := u.put("demo", hash, "s", "v", 0); err != nil || time.Since(begin) < by {
			t.Errorf("a write took %s: %v", time.Since(begin), err)
		}
		u.do(c.Slow(t.Context(), at, 0))
	}
	if faults := c.Nodes()[metaServers].Faults; faults != "" {
		t.Errorf("a node is still %q", faults)
	}
}

func TestThrottle(t *testing.T) { modes(t, testThrottle) }

func testThrottle(t *testing.T, c *cluster) {
	u := newUser(t, c)
	u.do(c.Throttle(t.Context(), 5))
	busy := false
	for i := 0; i < 100_000 && !busy; i++ {
		err := u.put("demo", "h", fmt.Sprint(i), "v", 0)
		if busy = err != nil && err.Error() == wire.CodeBusy; err != nil && !busy {
			t.Fatal(err)
		}
		if i < 5 && busy {
			t.Errorf("write %d was refused", i)
		}
	}
	if !busy {
		t.Error("nothing was refused")
	}
	if _, status := u.get("demo", "h", "0"); status != 0 {
		t.Errorf("a read: %d", status)
	}
	u.do(c.Throttle(t.Context(), 0))
	for i := range 100 {
		if err := u.put("demo", "h", fmt.Sprint(i), "v", 0); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBreakPoints(t *testing.T) { modes(t, testBreakPoints) }

func testBreakPoints(t *testing.T, c *cluster) {
	u := newUser(t, c)
	create := func(name string) wire.CreateAppRequest {
		return wire.CreateAppRequest{AppName: name, Options: wire.CreateAppOptions{Partitions: 2, Replicas: 3, AppType: appType, Stateful: true}}
	}
	tables := func() int { return len(ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps) }

	u.do(c.Break(t.Context(), "meta.received:create", 1))
	silent(u, c.metaAt, &wire.CreateApp, wire.GPID{}, create("x"))
	if tables() != 2 {
		t.Error("a request that was lost has made a table")
	}
	u.do(c.Break(t.Context(), "meta.accepted:create", 1))
	silent(u, c.metaAt, &wire.CreateApp, wire.GPID{}, create("x"))
	if tables() != 3 {
		t.Error("a request that was accepted has made no table")
	}
	u.do(c.Break(t.Context(), "meta.before-answer:create", 1))
	if _, err := try(u, c.metaAt, &wire.CreateApp, wire.GPID{}, create("y")); err == nil {
		t.Error("the answer came")
	}
	if tables() != 4 {
		t.Error("a request that was carried out has made no table")
	}
	if a := ask(u, &wire.CreateApp, create("z")); a.Err != wire.OK {
		t.Errorf("a point acted twice: %+v", a)
	}
	u.do(c.Break(t.Context(), "node.accepted:put", 2))
	p := u.config("demo").Configs[0]
	hash := hashOn(u.config("demo"), 0)
	silent(u, p.Primary.String(), &wire.Put, p.PID, wire.PutRequest{Key: key(hash, "s"), Value: []byte("v")})
	if got, _ := u.get("demo", hash, "s"); got != "v" {
		t.Errorf("the row reads %q", got)
	}
	armed := 0
	for _, at := range c.Points() {
		armed += at.Armed
	}
	if armed != 1 {
		t.Errorf("%d calls are still to be lost", armed)
	}
	u.do(c.Break(t.Context(), "node.accepted:put", 0))
	if err := u.put("demo", hash, "s", "w", 0); err != nil {
		t.Errorf("a disarmed point: %v", err)
	}
	err := c.Break(t.Context(), "meta.acepted:create", 1)
	if spec.KindOf(err) != spec.NotFound || !strings.Contains(spec.HintOf(err), "meta.accepted:create") {
		t.Errorf("a point that does not exist: %v, %s", err, spec.HintOf(err))
	}
}
