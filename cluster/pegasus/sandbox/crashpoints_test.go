package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// What only happens when a server dies between two steps, or an answer never comes: here it is made to happen.

// unsureNetwork loses one answer of the meta server: what its learned asks for is kept, but nobody is told, and the
// guardian does nothing until it is let go on.
type unsureNetwork struct {
	view
	lose *atomic.Pointer[wire.GPID] // of which partition
	told bool                       // all are told, and only the answer is lost
}

func (n unsureNetwork) meta() (metaLink, error) {
	m, err := n.view.meta()
	if err != nil {
		return nil, err
	}
	return unsureMeta{m, n}, nil
}

type unsureMeta struct {
	metaLink
	unsureNetwork
}

func (m unsureMeta) learned(pid wire.GPID, ballot int64, primary, node nodeID, at point) (group, error) {
	lose := m.lose.Load()
	if lost := lose != nil && *lose == pid; !lost || m.told {
		next, err := m.metaLink.learned(pid, ballot, primary, node, at)
		if lost && err == nil {
			m.lose.Store(nil)
			err = errUnsure
		}
		return next, err
	}
	boss := m.metaLink.(*metaServer)
	boss.rounds.Lock()
	boss.mu.Lock()
	defer boss.mu.Unlock()
	_, err := boss.swap(boss.groups[pid], func(g *group) {
		g.Secondaries = append(g.Secondaries, node)
		g.LastDrops = without(g.LastDrops, node)
	})
	m.lose.Store(nil)
	return group{}, errors.Join(errUnsure, err)
}

// unsure has node 0 come back with a network that loses answers, and lead everything when the others have left: a
// partition that it leads, with node 2 as the only secondary.
func (u *user) unsure(lose *atomic.Pointer[wire.GPID], told bool) (s *replicaServer, p wire.Partition) {
	u.t.Helper()
	c := u.c
	u.kill(c.nodeAt[0])
	network := unsureNetwork{view: view{c, c.nodeAt[0]}, lose: lose, told: told}
	s, err := startReplicaServer(0, c.nodeAt[0], c.nodeDir(0), network, u.t.Logf)
	u.do(err)
	c.steer.Lock()
	s.lose()
	c.mu.Lock()
	c.nodes[0] = s
	c.mu.Unlock()
	c.touch()
	c.steer.Unlock()
	u.whole("demo")
	p = u.config("demo").Configs[0]
	u.kill(c.nodeAt[1])
	if p.Primary.String() == c.nodeAt[2] {
		u.kill(c.nodeAt[2])
		u.eventually("node 0 leads", func() bool { return u.config("demo").Configs[0].Primary.String() == c.nodeAt[0] })
		u.start(c.nodeAt[2])
	}
	u.eventually("node 0 leads, with one secondary", func() bool {
		p = u.config("demo").Configs[0]
		return p.Primary.String() == c.nodeAt[0] && len(p.Secondaries) == 1
	})
	return s, p
}

// The news of a new secondary may overtake the answer, which is lost then: the primary goes on.
func TestSureOfANewSecondary(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	var lose atomic.Pointer[wire.GPID]
	_, p := u.unsure(&lose, true)
	hash := hashOn(u.config("demo"), 0)
	lose.Store(&p.PID)
	u.start(c.nodeAt[1])
	u.eventually("the answer is lost", func() bool { return lose.Load() == nil })
	u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "after", 0) == nil })
	u.whole("demo")
	u.same("demo")
}

// A primary that does not know whether the group has a new member acknowledges nothing until it does.
func TestUnsureOfANewSecondary(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	var lose atomic.Pointer[wire.GPID]
	s, p := u.unsure(&lose, false)
	hash := hashOn(u.config("demo"), 0)
	u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "before", 0) == nil })

	boss := c.localLeader()
	letGo := sync.OnceFunc(func() {
		if lose.Swap(nil) == nil {
			boss.rounds.Unlock()
		}
	})
	t.Cleanup(letGo)
	lose.Store(&p.PID)
	u.start(c.nodeAt[1])
	u.eventually("the answer is lost", func() bool { return lose.Load() == nil })
	u.eventually("the primary is inactive", func() bool {
		r, err := s.report(p.PID)
		return err == nil && r.Status == wire.ReplicaInactive
	})
	if err := u.put("demo", hash, "s", "between", 0); err == nil {
		t.Error("a write was acknowledged by who does not know the group")
	}
	letGo()
	u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "after", 0) == nil })
	u.whole("demo")
	u.same("demo")
}

// Steps of a copy that another one has replaced come too late.
func TestStepsOfAnOldCopy(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.level(wire.LevelFreezed) // nobody else changes the group
	p := u.config("demo").Configs[0]
	n := c.local(2)
	first, err := n.learn(p.PID, p.Ballot, true)
	u.do(err)
	row := func(name string) []byte {
		b := n.store.NewBatch()
		defer b.Close()
		u.do(putRow(b, rowPrefix(p.PID), 0, 0, []byte(name), key("h", name)))
		return append([]byte{}, b.Repr()...)
	}
	u.do(n.learnRows(p.PID, p.Ballot, first.Copy, row("old")))
	second, err := n.learn(p.PID, p.Ballot, true)
	u.do(err)
	if err := n.learnRows(p.PID, p.Ballot, first.Copy, row("late")); !errors.Is(err, errStale) {
		t.Errorf("rows of the first copy: %v", err)
	}
	if err := n.learnEnd(p.PID, p.Ballot, first.Copy, point{1, 1}); !errors.Is(err, errStale) {
		t.Errorf("the end of the first copy: %v", err)
	}
	u.do(n.learnRows(p.PID, p.Ballot, second.Copy, row("new")))
	u.do(n.learnEnd(p.PID, p.Ballot, second.Copy, point{p.Ballot, 7}))
	for name, there := range map[string]bool{"old": false, "late": false, "new": true} {
		if _, err := n.store.Read(append(rowPrefix(p.PID), key("h", name)...)); (err == nil) != there {
			t.Errorf("row %s: %v", name, err)
		}
	}
	if r, err := n.report(p.PID); err != nil || r.At != (point{p.Ballot, 7}) {
		t.Errorf("it is at %+v, %v", r, err)
	}
}

// A leader that died after it had kept something and before it told anybody: the next one tells.
func TestNextLeaderTells(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.create("gone", 2, nil)
	u.create("fewer", 2, nil)
	boss := c.localLeader()
	boss.rounds.Lock()
	boss.mu.Lock()
	changed := map[string]func(*app){
		"demo":  func(a *app) { a.Envs = map[string]string{envDefaultTTL: "77"} },
		"gone":  func(a *app) { a.Status, a.Dropped, a.ExpiresAt = wire.AppDropped, 1, 1<<40 },
		"fewer": func(a *app) { a.Replicas = 2 },
	}
	for name, change := range changed {
		a := *boss.named(name)
		change(&a)
		u.do(boss.setApp(&a))
	}
	boss.mu.Unlock()
	boss.rounds.Unlock()
	u.kill(c.metaAts[0])
	u.leader(c.metaAts[0])
	u.eventually("the nodes know what was kept", func() bool {
		for id := range c.nodes {
			envs := c.local(nodeID(id)).queryEnvs(nil)
			gone := u.appID("gone")
			if strings.Count(envs, envDefaultTTL+":77") != 4 || strings.Contains(envs, fmt.Sprintf("\n%d.", gone)) {
				return false
			}
		}
		return true
	})
	u.eventually("there are fewer replicas", func() bool {
		for _, p := range u.config("fewer").Configs {
			if p.MaxReplicas != 2 || !p.Primary.Valid() || len(p.Secondaries) != 1 {
				return false
			}
		}
		return true
	})
}

func (u *user) appID(name string) int32 {
	for _, a := range ask(u, &wire.ListApps, wire.ListAppsRequest{}).Apps {
		if a.Name == name {
			return a.ID
		}
	}
	u.t.Fatalf("there is no table %s", name)
	return 0
}

// Servers that were told of a group that was never kept take their place in the one that is.
func TestToldButNeverKept(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	boss := c.localLeader()
	boss.rounds.Lock()
	a := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "new", Options: wire.CreateAppOptions{
		Partitions: 3, Replicas: 3, AppType: appType, Stateful: true,
	}})
	boss.mu.Lock()
	table := *boss.apps[a.AppID]
	boss.mu.Unlock()
	for i := range int32(3) {
		g := group{PID: wire.GPID{App: a.AppID, Partition: i}, Ballot: 40, Max: 3, Primary: 2, Secondaries: []nodeID{0, 1}}
		for id := range c.nodes {
			u.do(c.local(nodeID(id)).assign(assignment{table, g}))
		}
	}
	boss.rounds.Unlock()
	u.whole("new")
	for i := range 3 {
		u.eventually("a row is written", func() bool { return u.put("new", hashOn(u.config("new"), i), "s", "v", 0) == nil })
	}
	u.same("new")
}

// A server that nobody answers knows by itself that its lease has run out, and begins anew when it is answered again.
func TestLapsedLease(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	n := newFarNetwork(c.gate(c.nodeAt[0]), identity{NodeAt: c.nodeAt, Token: c.token})
	if n.lapsed() {
		t.Error("it has lapsed at once")
	}
	n.heard(time.Now().Add(-beaconLimit))
	if !n.lapsed() {
		t.Error("it has not lapsed")
	}
	s := c.local(0)
	quiet := &replicaServer{net: n, started: time.Now()}
	if !quiet.alone() {
		t.Error("its replicas may serve")
	}
	n.heard(time.Now())
	if quiet.alone() || s.alone() {
		t.Error("its replicas may not serve")
	}
	u.whole("demo")
}

// A round of curing that is left out is, wherever the leading meta server runs.
func TestUncured(t *testing.T) { modes(t, testUncured) }

func testUncured(t *testing.T, c *cluster) {
	u := newUser(t, c)
	u.whole("demo")
	before := u.config("demo").Configs
	armed := func() int {
		points := c.Points()
		return points[slices.IndexFunc(points, func(p sandbox.Point) bool { return p.Name == pointUncured })].Armed
	}
	u.do(c.Break(t.Context(), pointUncured, 1<<30))
	u.eventually("no round is under way that cures", func() bool { return armed() < 1<<30 })
	u.kill(c.nodeAt[0])
	u.eventually("it is known to be dead", func() bool {
		return len(ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes) == 1
	})
	n := armed()
	u.eventually("rounds are left out", func() bool { return armed() <= n-3 })
	if after := u.config("demo").Configs; !reflect.DeepEqual(after, before) {
		t.Errorf("%+v became %+v", before, after)
	}
	u.do(c.Break(t.Context(), pointUncured, 0))
	u.eventually("all partitions have other primaries", func() bool {
		return !slices.ContainsFunc(u.config("demo").Configs, func(p wire.Partition) bool {
			return !p.Primary.Valid() || p.Primary.String() == c.nodeAt[0]
		})
	})
}

// What is still under way to a child that was discarded does not get into the next one.
func TestLateRowsOfAChild(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	s, parent, child := c.local(0), wire.GPID{App: 2}, wire.GPID{App: 2, Partition: 4}
	first, err := s.spawn(parent, child, 100)
	u.do(err)
	rows := s.store.NewBatch()
	u.do(rows.Set(append(rowPrefix(child), "late"...), []byte("row"), nil))
	repr := bytes.Clone(rows.Repr())
	u.do(rows.Close())
	u.do(s.learnRows(child, 100, first, bytes.Clone(repr)))
	u.do(s.discard(child, 100))
	second, err := s.spawn(parent, child, 100)
	u.do(err)
	if err := s.learnRows(child, 100, first, repr); !errors.Is(err, errStale) {
		t.Errorf("late rows: %v", err)
	}
	if err := s.learnEnd(child, 100, first, point{1, 1}); !errors.Is(err, errStale) {
		t.Errorf("a late end: %v", err)
	}
	if keys := s.replica(child).countKeys(); keys != 0 {
		t.Errorf("%d rows are there", keys)
	}
	u.do(s.learnEnd(child, 100, second, point{1, 1}))
	u.do(s.discard(child, 100))
}
