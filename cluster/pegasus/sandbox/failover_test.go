package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

func (u *user) kill(endpoint string) {
	u.t.Helper()
	if err := u.c.Kill(u.t.Context(), endpoint); err != nil {
		u.t.Fatal(err)
	}
	if c := u.conns[endpoint]; c != nil {
		c.conn.Close()
		delete(u.conns, endpoint)
	}
}

func (u *user) start(endpoint string) {
	u.t.Helper()
	u.do(u.c.Start(u.t.Context(), endpoint))
}

func (u *user) level(l wire.MetaLevel) {
	u.t.Helper()
	if a := ask(u, &wire.ControlMeta, wire.ControlMetaRequest{Level: l}); a.Err != wire.OK {
		u.t.Fatal(a)
	}
}

// writer writes rows until it is stopped, and remembers which were acknowledged.
type writer struct {
	u     *user
	hash  string
	stop  context.CancelFunc
	done  chan struct{}
	acked atomic.Int64 // the rows 0 to acked-1 are there
}

// startWriter writes w000000, w000001 … of a hash key; a row that fails is written again. The
// meta servers are asked in the order given.
func startWriter(t *testing.T, c *cluster, hash string, metas ...string) *writer {
	ctx, stop := context.WithCancel(t.Context())
	w := &writer{u: newUser(t, c), hash: hash, stop: stop, done: make(chan struct{})}
	if len(metas) > 0 {
		w.u.metas = strings.Join(metas, ",")
	}
	var last error // of the row that is being written
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			n := w.acked.Load()
			if last = w.u.put("demo", hash, fmt.Sprintf("w%06d", n), fmt.Sprint("value ", n), 0); last == nil {
				w.acked.Add(1)
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-w.done
		if t.Failed() {
			t.Logf("the writer of %s has written %d rows; the last answer was %v", hash, w.acked.Load(), last)
		}
	})
	return w
}

// check stops the writer and reads every acknowledged row.
func (w *writer) check(t *testing.T, u *user) {
	t.Helper()
	u.eventually("writes are acknowledged", func() bool { return w.acked.Load() >= 10 })
	w.stop()
	<-w.done
	acked := w.acked.Load()
	for i := range acked {
		if got, status := u.get("demo", w.hash, fmt.Sprintf("w%06d", i)); status != 0 || got != fmt.Sprint("value ", i) {
			t.Fatalf("row %d of %d acknowledged is %q, status %d", i, acked, got, status)
		}
	}
}

// storeOf is the store of a replica server. Those in processes of their own must be gone before it can be read.
func (u *user) storeOf(id nodeID) *engine.Store {
	u.t.Helper()
	if u.c.spawn == nil {
		return u.c.local(id).store
	}
	u.do(u.c.Close())
	s, err := openStore(u.c.nodeDir(id), u.t.Logf)
	u.do(err)
	u.t.Cleanup(func() { s.Close() })
	return s
}

// same checks that all replicas of tables come to the same point, and hold the same rows there. Servers in processes of
// their own are ended for that.
func (u *user) same(tables ...string) {
	u.t.Helper()
	for _, table := range tables {
		for _, p := range u.healthy(table).Configs {
			u.evened(p.PID)
		}
	}
	var sums [3]uint64
	for i := range sums {
		iter, err := u.storeOf(nodeID(i)).Iterate([]byte{'d'}, []byte{'d' + 1})
		if err != nil {
			u.t.Fatal(err)
		}
		for ok := iter.First(); ok; ok = iter.Next() {
			sums[i] = sums[i]*31 + wire.Hash(append(append([]byte{}, iter.Key()...), iter.Value()...), nil)
		}
		if err := errors.Join(iter.Error(), iter.Close()); err != nil {
			u.t.Fatal(err)
		}
	}
	if sums[0] != sums[1] || sums[0] != sums[2] {
		u.t.Errorf("the nodes hold different rows: %x", sums)
	}
}

// evened waits until all replicas of a partition are at the same point: a new primary evens them after it is known.
func (u *user) evened(pid wire.GPID) {
	u.t.Helper()
	var at [3]point
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		for i := range at {
			n, err := u.c.node(nodeID(i))
			u.do(err)
			r, err := n.report(pid)
			u.do(err)
			at[i] = r.At
		}
		if at[0] == at[1] && at[0] == at[2] && at[0] != incomplete {
			return
		}
	}
	u.t.Fatalf("the nodes stay at %v of partition %s", at, pid)
}

func TestNodesDieOneByOne(t *testing.T) { modes(t, testNodesDieOneByOne) }

func testNodesDieOneByOne(t *testing.T, c *cluster) {
	u := newUser(t, c)
	var writers []*writer
	for i := range 3 {
		writers = append(writers, startWriter(t, c, fmt.Sprint("hash", i)))
	}
	before := u.healthy("demo")
	for round := range 2 {
		for id, endpoint := range c.nodeAt {
			u.kill(endpoint)
			if round == 0 { // at once in one round, after the meta server has replaced it in the other
				u.eventually("the dead node has left the groups", func() bool {
					for _, p := range u.config("demo").Configs {
						if !p.Primary.Valid() || p.Primary.String() == endpoint || len(p.Secondaries) != 1 || len(p.LastDrops) != 1 || p.LastDrops[0].String() != endpoint {
							return false
						}
					}
					dead := ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes
					return len(dead) == 1 && dead[0].Node.String() == endpoint
				})
			}
			u.start(endpoint)
			u.eventually("the node is back", func() bool {
				n, err := c.node(nodeID(id))
				if err != nil {
					return false
				}
				for _, p := range u.healthy("demo").Configs {
					if r, err := n.report(p.PID); err != nil || r.Status != wire.ReplicaPrimary && r.Status != wire.ReplicaSecondary {
						return false
					}
				}
				return true
			})
		}
	}
	for _, w := range writers {
		w.check(t, u)
	}
	for i, p := range u.healthy("demo").Configs {
		if p.Ballot <= before.Configs[i].Ballot {
			t.Errorf("partition %d: ballot %d after %d", i, p.Ballot, before.Configs[i].Ballot)
		}
	}
	if n := len(u.scanAll(u.config("TableA").Configs[0], wire.GetScannerRequest{})); n == 0 {
		t.Error("TableA has lost its rows")
	}
	u.same("demo")
}

func TestKillAndStartRefuse(t *testing.T) { modes(t, testKillAndStartRefuse) }

func testKillAndStartRefuse(t *testing.T, c *cluster) {
	u := newUser(t, c)
	if err := c.Start(t.Context(), c.nodeAt[0]); err == nil {
		t.Error("a running node was started")
	}
	u.kill(c.nodeAt[0])
	if err := c.Kill(t.Context(), c.nodeAt[0]); err == nil {
		t.Error("a dead node was killed")
	}
	if err := c.Kill(t.Context(), "127.0.0.1:1"); err == nil {
		t.Error("a stranger was killed")
	}
	if _, err := dial(c.nodeAt[0]); err == nil {
		t.Error("a dead node listens")
	}
	if n := c.Nodes()[metaServers]; n.State != "dead" || n.PID != 0 {
		t.Errorf("the dead node is %+v", n)
	}
}

// With one of three replicas left a partition takes no writes; reads go on.
func TestNotEnoughMembers(t *testing.T) { modes(t, testNotEnoughMembers) }

func testNotEnoughMembers(t *testing.T, c *cluster) {
	u := newUser(t, c)
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	w := startWriter(t, c, "live")
	u.eventually("rows are written", func() bool { return w.acked.Load() >= 20 })
	u.kill(c.nodeAt[0])
	u.kill(c.nodeAt[1])
	u.eventually("one member is left", func() bool {
		for _, p := range u.config("demo").Configs {
			if p.Primary.String() != c.nodeAt[2] || len(p.Secondaries) != 0 {
				return false
			}
		}
		return true
	})
	if err := u.put("demo", "h", "s", "w", 0); err == nil || err.Error() != wire.CodeNotEnoughMember {
		t.Errorf("a write to one member: %v", err)
	}
	if got, status := u.get("demo", "h", "s"); got != "v" || status != 0 {
		t.Errorf("a read from one member: %q, status %d", got, status)
	}
	u.start(c.nodeAt[0])
	u.eventually("writes are taken again", func() bool { return u.put("demo", "h", "s", "w", 0) == nil })
	u.start(c.nodeAt[1])
	w.check(t, u)
	u.same("demo")
}

// When all members have died, only the one that left last may serve.
func TestLastMemberReturns(t *testing.T) { modes(t, testLastMemberReturns) }

func testLastMemberReturns(t *testing.T, c *cluster) {
	u := newUser(t, c)
	for i, endpoint := range c.nodeAt {
		u.eventually("a row is written", func() bool { return i == 2 || u.put("demo", "h", fmt.Sprint(i), "v", 0) == nil })
		u.kill(endpoint)
		u.eventually("the dead node has left", func() bool {
			for _, p := range u.config("demo").Configs {
				if len(p.LastDrops) != i+1 || i < 2 && !p.Primary.Valid() {
					return false
				}
			}
			return true
		})
	}
	u.start(c.nodeAt[0])
	u.start(c.nodeAt[1])
	time.Sleep(2 * guardPeriod) // a chance to do the wrong thing, not a wait for the right one
	for _, p := range u.config("demo").Configs {
		if p.Primary.Valid() {
			t.Fatalf("partition %s is served by %s, which may have missed writes", p.PID, p.Primary)
		}
	}
	u.start(c.nodeAt[2])
	u.healthy("demo")
	for i := range 2 {
		if got, _ := u.get("demo", "h", fmt.Sprint(i)); got != "v" {
			t.Errorf("row %d reads %q", i, got)
		}
	}
	u.same("demo")
}

// A freezed meta server replaces nobody; a primary that loses a secondary waits for it.
func TestFreezed(t *testing.T) { modes(t, testFreezed) }

func testFreezed(t *testing.T, c *cluster) {
	u := newUser(t, c)
	u.level(wire.LevelFreezed)
	before := u.config("demo")
	u.kill(c.nodeAt[0])
	u.eventually("the node is known to be dead", func() bool {
		return len(ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes) == 1
	})
	time.Sleep(2 * guardPeriod)
	for i, p := range u.config("demo").Configs {
		if p.Ballot != before.Configs[i].Ballot || p.Primary != before.Configs[i].Primary {
			t.Errorf("partition %d went from %+v to %+v", i, before.Configs[i], p)
		}
	}
	var wrote sync.WaitGroup
	other := newUser(t, c)
	result := make(chan error, 1)
	hash := hashOn(before, 1)
	wrote.Go(func() { result <- other.put("demo", hash, "s", "v", 0) })
	p := before.Configs[1]
	n, err := c.node(1)
	if err != nil || p.Primary.String() != c.nodeAt[1] {
		t.Fatal(p, err)
	}
	u.eventually("the primary is inactive", func() bool {
		r, err := n.report(p.PID)
		return err == nil && r.Status == wire.ReplicaInactive
	})
	if err := u.put("demo", hash, "other", "v", 0); err == nil || err.Error() != wire.CodeInvalidState {
		t.Errorf("another write meanwhile: %v", err)
	}
	u.level(wire.LevelSteady)
	wrote.Wait()
	if err := <-result; err != nil {
		t.Errorf("the write that waited: %v", err)
	}
	if got, _ := u.get("demo", hash, "s"); got != "v" {
		t.Errorf("it reads %q", got)
	}
	u.start(c.nodeAt[0])
	u.same("demo")
}

// hashOn finds a hash key that belongs to a partition.
func hashOn(config wire.QueryConfigResponse, partition int) string {
	for i := 0; ; i++ {
		hash := fmt.Sprint("h", i)
		if wire.PartitionOf(wire.Hash([]byte(hash), nil), int(config.Partitions)) == partition {
			return hash
		}
	}
}

// All meta servers die and come back: tables, envs and groups are as before, and data went on meanwhile.
func TestMetaDies(t *testing.T) { modes(t, testMetaDies) }

func testMetaDies(t *testing.T, c *cluster) {
	u := newUser(t, c)
	u.create("extra", 4, map[string]string{"default_ttl": "1000"})
	before := u.config("demo")
	p := before.Configs[1]
	hash := hashOn(before, 1)
	u.kill(c.metaAts[0])
	u.kill(c.metaAts[1])
	if _, err := dial(c.metaAt); err == nil {
		t.Error("a dead meta server listens")
	}
	if a, err := try(u, p.Primary.String(), &wire.Put, p.PID, wire.PutRequest{Key: key(hash, "s"), Value: []byte("v")}); err != nil || a.Error != 0 {
		t.Errorf("a write without a meta server: %+v, %v", a, err)
	}
	for _, conn := range u.conns {
		conn.conn.Close()
	}
	u.conns = map[string]*client{}
	u.start(c.metaAts[1])
	for i, p := range u.healthy("demo").Configs {
		if p.Ballot < before.Configs[i].Ballot {
			t.Errorf("partition %d had ballot %d and has %d", i, before.Configs[i].Ballot, p.Ballot)
		}
	}
	if got, _ := u.get("demo", hash, "s"); got != "v" {
		t.Errorf("the row reads %q", got)
	}
	apps := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps
	if len(apps) != 3 || apps[2].Envs["default_ttl"] != "1000" {
		t.Errorf("tables: %+v", apps)
	}
	// Nodes that died while nobody watched are found out.
	u.kill(c.metaAts[1])
	u.kill(c.nodeAt[2])
	u.conns = map[string]*client{}
	u.start(c.metaAt)
	u.eventually("the dead node is replaced", func() bool {
		for _, p := range u.config("demo").Configs {
			if !p.Primary.Valid() || p.Primary.String() == c.nodeAt[2] {
				return false
			}
		}
		return true
	})
	if got, _ := u.get("demo", hash, "s"); got != "v" {
		t.Errorf("the row reads %q", got)
	}
}

// A node that missed a lot gets a copy, one that missed little the mutations, both while writes go on.
func TestLearning(t *testing.T) { modes(t, testLearning) }

func testLearning(t *testing.T, c *cluster) {
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	for _, n := range []int{1, 500} {
		u.kill(c.nodeAt[1])
		u.eventually("the dead node has left", func() bool {
			for _, p := range u.config("demo").Configs {
				if len(p.Secondaries) != 1 || !p.Primary.Valid() {
					return false
				}
			}
			return true
		})
		big := make([]byte, 10_000)
		for i := range n {
			u.eventually("a row is written", func() bool {
				return u.put("demo", fmt.Sprint("hash", i%16), fmt.Sprint(i), string(big), 0) == nil
			})
		}
		u.start(c.nodeAt[1])
		u.healthy("demo")
	}
	w.check(t, u)
	u.same("demo")
}

// What a dead primary had given to some secondaries only is taken back or spread, never left in one place.
func TestUnequalTailsAreEvened(t *testing.T) {
	dir := t.TempDir()
	c := run(t, "onebox", dir)
	u := newUser(t, c)
	hash := hashOn(u.config("demo"), 0)
	if err := u.put("demo", hash, "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	p := u.config("demo").Configs[0]
	// One secondary gets a mutation that nobody else has, as if the process had been killed in the middle of a write.
	n, err := c.node(1)
	if err != nil {
		t.Fatal(err)
	}
	has, err := n.report(p.PID)
	if err != nil || has.Status != wire.ReplicaSecondary {
		t.Fatal(has, err)
	}
	b := c.local(1).store.NewBatch()
	last := point{has.Ballot, has.At.Decree + 1}
	if err := errors.Join(putRow(b, rowPrefix(p.PID), 0, 0, []byte("ghost"), key(hash, "ghost")), putState(b, stateKeyOf(p.PID), last)); err != nil {
		t.Fatal(err)
	}
	wait, err := n.prepare(mutation{PID: p.PID, Ballot: has.Ballot, Prev: has.At, Last: last, Repr: append([]byte{}, b.Repr()...)})
	if err != nil || wait.Wait() != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	u = newUser(t, run(t, "onebox", dir))
	u.same("demo")
	if err := u.put("demo", hash, "after", "v", 0); err != nil {
		t.Fatal(err)
	}
	u.same("demo")
	for sort, want := range map[string]string{"s": "v", "after": "v", "ghost": ""} {
		if got, _ := u.get("demo", hash, sort); got != want {
			t.Errorf("%s reads %q, want %q", sort, got, want)
		}
	}
}
