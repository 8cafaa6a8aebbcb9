//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/link"
	"shardsh/commands/spec"
)

// runPerNode starts a onebox whose servers have processes of their own.
func runPerNode(t *testing.T, dir string) *cluster {
	t.Helper()
	return runAs(t, sandbox.Config{Name: "onebox", Dir: dir, Nodes: perNode(t)})
}

func (u *user) status(endpoint string) sandbox.NodeStatus {
	u.t.Helper()
	nodes := u.c.Nodes()
	i := slices.IndexFunc(nodes, func(n sandbox.NodeStatus) bool { return n.Endpoint == endpoint })
	if i < 0 {
		u.t.Fatalf("nobody listens on %s", endpoint)
	}
	return nodes[i]
}

// signal signals the process of a server, as somebody outside would.
func (u *user) signal(endpoint string, s syscall.Signal) int {
	u.t.Helper()
	pid := u.status(endpoint).PID
	u.do(syscall.Kill(pid, s))
	if s == syscall.SIGSTOP { // takes a moment, in which it may still answer
		u.eventually("the process is stopped", func() bool {
			state, _ := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
			return strings.HasPrefix(strings.TrimSpace(string(state)), "T")
		})
	}
	return pid
}

func (u *user) becomes(endpoint, state string) {
	u.t.Helper()
	u.eventually(endpoint+" is "+state, func() bool { return u.status(endpoint).State == state })
}

// forget gives up all connections: servers behind them were stopped or killed.
func (u *user) forget() {
	u.close()
	u.conns = map[string]*client{}
}

// Every link method is a call, or the two modes would not be the same cluster.
func TestEveryLinkMethodIsACall(t *testing.T) {
	served := map[string]bool{}
	for _, c := range metaCalls {
		served[c.(interface{ Name() string }).Name()] = true
	}
	for _, c := range nodeCalls {
		served[c.(interface{ Name() string }).Name()] = true
	}
	methods := 0
	for _, l := range []reflect.Type{reflect.TypeFor[metaLink](), reflect.TypeFor[nodeLink]()} {
		for i := range l.NumMethod() {
			methods++
			if name := l.Method(i).Name; !served[name] {
				t.Errorf("no call carries %s.%s: it would fail between processes", l.Name(), name)
			}
		}
	}
	if methods != len(served) || methods < 11 {
		t.Errorf("%d methods and %d calls", methods, len(served))
	}
}

func TestProcessPerNode(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	pids := map[int]bool{syscall.Getpid(): true}
	for _, n := range c.Nodes() {
		if n.State != sandbox.Alive || pids[n.PID] || syscall.Kill(n.PID, 0) != nil {
			t.Errorf("%s is %s, in process %d", n.Endpoint, n.State, n.PID)
		}
		pids[n.PID] = true
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	delete(pids, syscall.Getpid())
	for pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is left: %v", pid, err)
		}
	}
}

// kill -9 of a replica server's process is what sandbox kill does.
func TestReplicaProcessKilled(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	writers := []*writer{startWriter(t, c, "a"), startWriter(t, c, "b")}
	for _, endpoint := range c.nodeAt {
		begin := writers[0].acked.Load()
		u.eventually("rows are written", func() bool { return writers[0].acked.Load() >= begin+10 })
		pid := u.signal(endpoint, syscall.SIGKILL)
		u.becomes(endpoint, sandbox.Dead)
		if n := u.status(endpoint); n.PID != 0 {
			t.Errorf("it is dead, and process %d", n.PID)
		}
		u.forget()
		u.eventually("it is known to be dead", func() bool {
			dead := ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes
			return len(dead) == 1 && dead[0].Node.String() == endpoint
		})
		u.start(endpoint)
		if n := u.status(endpoint); n.State != sandbox.Alive || n.PID == pid {
			t.Errorf("started again it is %+v", n)
		}
		u.whole("demo")
	}
	for _, w := range writers {
		w.check(t, u)
	}
	u.same("demo")
}

// All replica servers die at once; whatever was acknowledged is there when they are back.
func TestAllReplicaProcessesKilled(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	u.eventually("rows are written", func() bool { return w.acked.Load() >= 100 })
	for _, endpoint := range c.nodeAt {
		u.signal(endpoint, syscall.SIGKILL)
	}
	for _, endpoint := range c.nodeAt {
		u.becomes(endpoint, sandbox.Dead)
	}
	u.forget()
	for _, endpoint := range c.nodeAt {
		u.start(endpoint)
	}
	u.whole("demo")
	w.check(t, u)
	u.same("demo")
}

// A leading meta server dies in the middle of things; another one leads on with what was kept.
func TestLeaderProcessKilled(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	w := startWriter(t, c, "live")
	for round := range 4 {
		old := u.leader("")
		create := wire.CreateApp.AppendRequest(nil, wire.Header{TimeoutMillis: 5000}, 1, &wire.CreateAppRequest{
			AppName: fmt.Sprint("table", round), Options: wire.CreateAppOptions{Partitions: 16, Replicas: 3, AppType: appType, Stateful: true},
		})
		meta, err := dial(old)
		u.do(err)
		_, err = meta.conn.Write(create)
		u.do(err)
		u.signal(old, syscall.SIGKILL)
		meta.conn.Close()
		u.leader(old)
		u.start(old)
		u.forget()
		var apps []wire.AppInfo
		u.eventually("the tables are whole", func() bool {
			apps = ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps
			return len(apps) >= 2
		})
		for _, a := range apps { // the new one is there whole, or not at all
			u.whole(a.Name)
		}
	}
	w.check(t, u)
	u.same("demo")
}

// A process that was stopped is a paused server once its beacons have been missed for long; nobody hangs on it.
func TestReplicaProcessStopped(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]func(u *user, endpoint string){
		"started":   func(u *user, endpoint string) { u.start(endpoint) },
		"continued": func(u *user, endpoint string) { u.signal(endpoint, syscall.SIGCONT) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := runPerNode(t, t.TempDir())
			u := newUser(t, c)
			before := u.config("demo")
			p := before.Configs[0]
			victim, hash := p.Primary.String(), hashOn(before, 0)
			u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "old", 0) == nil })
			pid := u.signal(victim, syscall.SIGSTOP)
			asked := silent(u, victim, &wire.Get, p.PID, key(hash, "s"))
			u.becomes(victim, sandbox.Paused)
			if n := u.status(victim); n.PID != pid || n.Faults != "sends no beacons" {
				t.Errorf("it is %+v", n)
			}
			u.forget()
			w := startWriter(t, c, "live")
			u.eventually("it is replaced", func() bool {
				now := u.config("demo").Configs[0]
				return now.Primary.Valid() && now.Primary != p.Primary
			})
			u.eventually("a row is written", func() bool { return u.put("demo", hash, "s", "new", 0) == nil })
			goOn(u, victim)
			u.becomes(victim, sandbox.Alive)
			asked.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if reply, err := wire.ReadReply(asked.r); err != nil || reply.OK() {
				t.Errorf("the read from before is answered %+v, %v", reply, err)
			}
			u.whole("demo")
			w.check(t, u)
			u.same("demo")
		})
	}
}

// A leader that was stopped leads no more when it goes on: it begins anew.
func TestLeaderProcessStopped(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	old := c.metaAts[0]
	pid := u.signal(old, syscall.SIGSTOP)
	u.metas = c.metaAts[1]
	if at := u.leader(old); at != c.metaAts[1] {
		t.Fatalf("%s leads", at)
	}
	id := u.create("extra", 4, nil)
	u.signal(old, syscall.SIGCONT)
	u.eventually("it began anew", func() bool {
		n := u.status(old)
		return n.State == sandbox.Alive && n.PID != pid
	})
	config, err := try(u, old, &wire.QueryConfig, wire.GPID{}, wire.QueryConfigRequest{AppName: "demo", Indices: []int32{}})
	if err != nil || config.Err != wire.CodeForward || config.Configs[0].Primary.String() != c.metaAts[1] {
		t.Errorf("the old leader answers %+v, %v", config, err)
	}
	u.kill(c.metaAts[1])
	u.leader(c.metaAts[1])
	u.metas = old
	if got := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps; len(got) != 3 || got[2].ID != id {
		t.Errorf("tables: %+v", got)
	}
}

// What happens while the leader is stopped it is never told; who leads after it knows all the same.
func TestStoppedLeaderMissesADeath(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	old := c.metaAts[0]
	pid := u.signal(old, syscall.SIGSTOP)
	u.kill(c.nodeAt[0])
	u.metas = c.metaAts[1]
	u.eventually("the death is known", func() bool {
		dead := ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes
		return len(dead) == 1 && dead[0].Node.String() == c.nodeAt[0]
	})
	u.start(old)
	if n := u.status(old); n.State != sandbox.Alive || n.PID == pid {
		t.Errorf("the old leader is %+v", n)
	}
	u.start(c.nodeAt[0])
	u.whole("demo")
	u.same("demo")
}

// A leader that did not take note of something begins anew, and leads again or another one does.
func TestLeaderThatTakesNoNote(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	old := c.metaAts[0]
	pid := u.status(old).PID
	c.leader().(*farLeader).deposed.Store(true)
	c.owes.Store(true)
	u.eventually("it began anew", func() bool {
		n := u.status(old)
		return n.State == sandbox.Alive && n.PID != pid
	})
	u.create("extra", 2, nil)
	at := u.leader("")
	u.kill(at)
	u.leader(at)
	u.whole("extra")
	u.same("extra")
}

// What a server was told that is paused, slow or throttled it is told again when it is started anew.
func TestFaultsOutliveProcesses(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	u := newUser(t, c)
	const by = 150 * time.Millisecond
	at := c.nodeAt[0]
	u.do(c.Slow(t.Context(), at, by))
	u.kill(at)
	u.start(at)
	begin := time.Now()
	if _, err := try(u, at, &wire.CallCommand, wire.GPID{}, wire.Command{Name: "server-info"}); err != nil || time.Since(begin) < by {
		t.Errorf("it answered after %s: %v", time.Since(begin), err)
	}
	u.do(c.Break(t.Context(), "node.received:command", 2))
	for _, at := range c.nodeAt[1:] { // the point is one, however many processes there are
		silent(u, at, &wire.CallCommand, wire.GPID{}, wire.Command{Name: "server-info"})
	}
	for _, at := range c.nodeAt {
		if _, err := try(u, at, &wire.CallCommand, wire.GPID{}, wire.Command{Name: "server-info"}); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// A port that somebody has is an error by which another network is tried, whichever process it happened in.
func TestProcessFindsPortTaken(t *testing.T) {
	t.Parallel()
	c := runPerNode(t, t.TempDir())
	again := &cluster{
		name: c.name, dir: t.TempDir(), log: t.Logf, spawn: c.spawn, nodeAt: c.nodeAt, metaAts: c.metaAts, gates: c.gates,
		nodes: make([]replicaNode, len(c.nodes)), metas: make([]metaNode, len(c.metas)), token: link.NewToken(),
		providers: c.providers,
	}
	if err := again.startNode(t.Context(), 0); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("it was started: %v", err)
	}
	if err := again.startMeta(t.Context(), 0); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("it was started: %v", err)
	}
}

// A process that dies before it answers says why.
func TestProcessDiesAtOnce(t *testing.T) {
	t.Parallel()
	network, err := sandbox.TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	nodes := &sandbox.NodeProcesses{Executable: perNode(t).Executable, System: "no such system"}
	_, err = startCluster(t.Context(), sandbox.Config{Name: "onebox", Dir: t.TempDir(), Net: network, Log: t.Logf, Nodes: nodes}, replicaServers, nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 1") || spec.KindOf(err) != spec.Failed {
		t.Errorf("it was started: %v", err)
	}
}
