package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// lost loses the metadata with the first meta server and waits until the next one to lead is under recovery.
func (u *user) lost() {
	u.t.Helper()
	u.do(u.c.Lose(u.t.Context(), u.c.metaAts[0]))
	u.start(u.c.metaAts[0])
	u.close()
	u.conns = map[string]*client{}
	u.eventually("it is under recovery", func() bool {
		return ask(u, &wire.ListApps, wire.ListAppsRequest{}).Err == wire.CodeUnderRecovery
	})
}

func (u *user) addresses(nodes ...int) []wire.Address {
	var all []wire.Address
	for _, i := range nodes {
		at, err := wire.ParseAddress(u.c.nodeAt[i])
		u.do(err)
		all = append(all, at)
	}
	return all
}

func (u *user) recover(q wire.RecoveryRequest) wire.HintResponse {
	u.t.Helper()
	return ask(u, &wire.StartRecovery, q)
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	envs := map[string]string{"default_ttl": "1000"}
	u.create("gone", 2, nil)
	u.create("extra", 4, envs)
	if a := ask(u, &wire.RenameApp, wire.RenameAppRequest{Old: "extra", New: "renamed"}); a.Err != wire.OK {
		t.Fatal(a)
	}
	u.do(u.put("gone", "h", "s", "of the dropped", 0))
	u.do(u.put("renamed", "h", "s", "of the renamed", 0))
	if a := ask(u, &wire.DropApp, wire.DropAppRequest{AppName: "gone"}); a.Err != wire.OK {
		t.Fatal(a)
	}
	before := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Apps
	configs := u.healthy("demo").Configs
	u.lost()
	all := u.addresses(0, 1, 2)
	for name, got := range map[string]string{
		"config":  u.config("demo").Err,
		"info":    ask(u, &wire.ClusterInfo, struct{}{}).Err,
		"nodes":   ask(u, &wire.ListNodes, wire.ListNodesRequest{}).Err,
		"create":  ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "x"}).Err,
		"level":   ask(u, &wire.ControlMeta, wire.ControlMetaRequest{Level: wire.LevelSteady}).Err,
		"propose": ask(u, &wire.ProposeBalancer, wire.BalancerRequest{}).Err,
	} {
		if got != wire.CodeUnderRecovery {
			t.Errorf("%s is answered %s", name, got)
		}
	}
	if text := u.command(c.metaAts[0], "server-info"); !strings.Contains(text, "Pegasus") {
		t.Errorf("a remote command: %q", text)
	}
	// Whoever knows where the rows are goes on with them.
	if a, err := try(u, configs[0].Primary.String(), &wire.Put, configs[0].PID, wire.PutRequest{Key: key(hashOn(wire.QueryConfigResponse{Partitions: 4}, 0), "s"), Value: []byte("v")}); err != nil || a.Error != 0 {
		t.Errorf("a write meanwhile: %+v, %v", a, err)
	}
	if a := u.recover(wire.RecoveryRequest{Nodes: append(all, all[0])}); a.Err != wire.OK || a.Hint != "" {
		t.Fatalf("%+v", a)
	}
	after := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Apps
	if len(after) != len(before) {
		t.Fatalf("%d tables, there were %d", len(after), len(before))
	}
	for i, a := range after {
		if b := before[i]; a.ID != b.ID || a.Name != b.Name || a.Status != b.Status || a.Partitions != b.Partitions || a.MaxReplicas != b.MaxReplicas || !maps.Equal(a.Envs, b.Envs) || a.CreateSecond != b.CreateSecond || a.ExpireSecond != b.ExpireSecond {
			t.Errorf("table %+v was %+v", a, b)
		}
	}
	u.whole("demo")
	for i, p := range u.config("demo").Configs {
		if p.Ballot <= configs[i].Ballot || p.Primary != configs[i].Primary {
			t.Errorf("partition %d went from %+v to %+v", i, configs[i], p)
		}
	}
	u.whole("renamed")
	if v, _ := u.get("renamed", "h", "s"); v != "of the renamed" {
		t.Errorf("the renamed table reads %q", v)
	}
	if v, _ := u.get("demo", hashOn(u.config("demo"), 0), "s"); v != "v" {
		t.Errorf("the write meanwhile reads %q", v)
	}
	if a := ask(u, &wire.RecallApp, wire.RecallAppRequest{AppID: before[2].ID}); a.Err != wire.OK || a.Info.Name != "gone" {
		t.Fatalf("%+v", a)
	}
	u.healthy("gone")
	if v, _ := u.get("gone", "h", "s"); v != "of the dropped" {
		t.Errorf("the dropped table reads %q", v)
	}
	if id := u.create("next", 1, nil); id != before[3].ID+1 {
		t.Errorf("the next table is %d", id)
	}
	if a := u.recover(wire.RecoveryRequest{Nodes: all}); a.Err != wire.CodeServiceRunning {
		t.Errorf("recovered twice: %+v", a)
	}
	u.same("demo")
	u.same("TableA")
}

// A writer that knows where its partition is goes on until the recovery, and again after it: what was acknowledged stays,
// although one of the servers is not named and leads.
func TestRecoveryKeepsAcknowledgedRows(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	config := u.config("demo")
	p, hash := config.Configs[0], hashOn(config, 0)
	var acked atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	writer := newUser(t, c)
	go func() {
		defer close(done)
		for at := 0; ; {
			select {
			case <-stop:
				return
			default:
			}
			n := acked.Load()
			q := wire.PutRequest{Key: key(hash, fmt.Sprint(n)), Value: fmt.Append(nil, n)}
			if a, err := try(writer, c.nodeAt[at], &wire.Put, p.PID, q); err == nil && a.Error == 0 {
				acked.Add(1)
			} else {
				at = (at + 1) % len(c.nodeAt)
			}
		}
	}()
	u.eventually("rows are written", func() bool { return acked.Load() >= 50 })
	u.lost()
	now := acked.Load()
	u.eventually("rows are written meanwhile", func() bool { return acked.Load() >= now+50 })
	leads := slices.Index(c.nodeAt, p.Primary.String())
	others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == leads })
	a := u.recover(wire.RecoveryRequest{Nodes: u.addresses(others...)})
	if a.Err != wire.OK || !strings.Contains(a.Hint, "2 of 3 replicas") {
		t.Fatalf("%+v", a)
	}
	now = acked.Load()
	u.eventually("rows are written again", func() bool { return acked.Load() >= now+50 })
	close(stop)
	<-done
	u.whole("demo")
	for i := range acked.Load() {
		if v, status := u.get("demo", hash, fmt.Sprint(i)); status != 0 || v != fmt.Sprint(i) {
			t.Fatalf("row %d of %d acknowledged is %q, status %d", i, acked.Load(), v, status)
		}
	}
	u.same("demo")
}

func TestRecoveryRefuses(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	a := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "single", Options: wire.CreateAppOptions{
		Partitions: 3, Replicas: 1, AppType: appType, Stateful: true,
	}})
	pid := wire.GPID{App: a.AppID}
	single := u.healthy("single").Configs
	for i := range single {
		u.do(u.put("single", hashOn(u.config("single"), i), "s", "v", 0))
	}
	u.whole("demo")
	u.do(u.put("demo", "h", "s", "v", 0))
	if got := u.recover(wire.RecoveryRequest{}); got.Err != wire.CodeServiceRunning {
		t.Fatalf("nothing is lost: %+v", got)
	}
	victim := slices.Index(c.nodeAt, single[0].Primary.String())
	others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == victim })
	u.kill(c.nodeAt[victim])
	u.lost()
	all := u.addresses(0, 1, 2)
	for _, step := range []struct {
		what string
		q    wire.RecoveryRequest
		code string
		hint string
	}{
		{"a dead server", wire.RecoveryRequest{Nodes: all}, wire.CodeTryAgain, "ERROR: node " + c.nodeAt[victim] + " "},
		{"a stranger", wire.RecoveryRequest{Nodes: []wire.Address{0x7f00000100010001}}, wire.CodeTryAgain, "ERROR: node 127.0.0.1:1 "},
		{"a lost partition", wire.RecoveryRequest{Nodes: u.addresses(others...)}, wire.CodeTryAgain, "ERROR: partition " + pid.String() + " "},
		{"a lost partition, though", wire.RecoveryRequest{Nodes: all, SkipBadNodes: true}, wire.CodeTryAgain, "ERROR: partition " + pid.String() + " "},
		{"a dead server, though", wire.RecoveryRequest{Nodes: all, SkipLostPartitions: true}, wire.CodeTryAgain, "ERROR: node "},
	} {
		got := u.recover(step.q)
		if got.Err != step.code || !strings.Contains(got.Hint, step.hint) {
			t.Errorf("%s: %+v", step.what, got)
		}
		if err := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Err; err != wire.CodeUnderRecovery {
			t.Fatalf("after %s it answers %s", step.what, err)
		}
	}
	got := u.recover(wire.RecoveryRequest{Nodes: all, SkipBadNodes: true, SkipLostPartitions: true})
	if got.Err != wire.OK || !strings.Contains(got.Hint, "WARNING: partition "+pid.String()+" has no replica") || !strings.Contains(got.Hint, "WARNING: node "+c.nodeAt[victim]) {
		t.Fatalf("%+v", got)
	}
	config := u.healthy("single")
	for i, p := range config.Configs {
		want := "v"
		if i == 0 {
			want = ""
		}
		if v, _ := u.get("single", hashOn(config, i), "s"); v != want {
			t.Errorf("partition %d reads %q", i, v)
		}
		if i == 0 && p.Primary.String() == c.nodeAt[victim] {
			t.Errorf("a dead server leads")
		}
	}
	u.start(c.nodeAt[victim])
	u.whole("demo")
	if v, _ := u.get("demo", "h", "s"); v != "v" {
		t.Errorf("the row reads %q", v)
	}
}

// A cluster whose process ends before it is recovered waits for it in the next one, and makes no first content.
func TestRecoveryInAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, network := runOn(t, sandbox.Config{Name: "onebox", Dir: dir, Log: t.Logf})
	u := newUser(t, c)
	u.whole("demo")
	u.do(u.put("demo", "h", "s", "v", 0))
	u.lost()
	u.do(errors.Join(c.Close(), network.Close()))
	c = run(t, "onebox", dir)
	u = newUser(t, c)
	if got := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Err; got != wire.CodeUnderRecovery {
		t.Fatalf("it answers %s", got)
	}
	if a := u.recover(wire.RecoveryRequest{Nodes: u.addresses(0, 1, 2)}); a.Err != wire.OK || a.Hint != "" {
		t.Fatalf("%+v", a)
	}
	u.whole("demo")
	leads := map[string]int{}
	for _, p := range u.healthy("TableA").Configs {
		leads[p.Primary.String()]++
	}
	if len(leads) != 3 {
		t.Errorf("who leads: %v", leads)
	}
	if v, _ := u.get("demo", "h", "s"); v != "v" {
		t.Errorf("the row reads %q", v)
	}
	if v, _ := u.get("TableA", "user_0042", "email"); v != "user_0042@example.com" {
		t.Errorf("a row of TableA reads %q", v)
	}
}

// Losing the standby takes the leader along; losing a dead one works.
func TestLoseMetadata(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.do(c.Lose(t.Context(), c.metaAts[1]))
	for _, n := range c.Nodes()[:metaServers] {
		if n.State != sandbox.Dead {
			t.Errorf("%s is %s", n.Endpoint, n.State)
		}
	}
	u.do(c.Lose(t.Context(), c.metaAts[1]))
	u.start(c.metaAts[1])
	if got := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Err; got != wire.CodeUnderRecovery {
		t.Errorf("it answers %s", got)
	}
	if err := c.Lose(t.Context(), "127.0.0.1:1"); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

// A server that was down learns what became of tables meanwhile.
func TestReturnedServersAreInformed(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	id := u.create("gone", 2, nil)
	u.whole("gone")
	u.kill(c.nodeAt[0])
	if a := ask(u, &wire.DropApp, wire.DropAppRequest{AppName: "gone"}); a.Err != wire.OK {
		t.Fatal(a)
	}
	u.start(c.nodeAt[0])
	s := c.servers()[0]
	u.eventually("it knows", func() bool { return s.app(id).Status == wire.AppDropped && s.replica(wire.GPID{App: id}) == nil })
	u.restart(c.nodeAt[0])
	s = c.servers()[0]
	if s.app(id).Status != wire.AppDropped || s.replica(wire.GPID{App: id}) != nil {
		t.Errorf("after a restart: %+v", s.app(id))
	}
	has, err := s.inventory(false)
	if err != nil || !slices.ContainsFunc(has.Replicas, func(h held) bool { return h.PID.App == id }) {
		t.Errorf("its rows are gone: %+v, %v", has, err)
	}
}

// What several servers say of the same things.
func TestRecoveryJudges(t *testing.T) {
	m := &metaServer{nodes: []nodeID{0, 1, 2, 3}}
	table := func(id int32, name string, version int64, status wire.AppStatus) app {
		return app{ID: id, Name: name, Type: appType, Status: status, Partitions: 1, Replicas: 3, Version: version}
	}
	on := func(app int32, ballot int64, at point, leads bool) held {
		return held{wire.GPID{App: app}, ballot, at, leads}
	}
	r := &recovery{m: m, nodes: []recoveryNode{
		{id: 0, has: inventory{
			Apps:     []app{table(2, "old", 1, wire.AppAvailable), table(4, "same", 1, wire.AppAvailable), table(6, "same", 1, wire.AppAvailable)},
			Replicas: []held{on(2, 3, point{3, 10}, true), on(4, 7, point{5, 8}, false), on(6, 2, incomplete, false)},
		}},
		{id: 1, has: inventory{
			Apps:     []app{table(2, "new", 3, wire.AppAvailable), table(5, "dropped", 2, wire.AppDropped), table(6, "same", 1, wire.AppAvailable)},
			Replicas: []held{on(2, 9, point{4, 9}, false), on(5, 1, point{1, 1}, false), on(4, 7, point{5, 8}, true), on(6, 2, point{2, 1}, false)},
		}},
		{id: 2, has: inventory{
			Apps:     []app{table(2, "mid", 2, wire.AppAvailable), table(5, "dropped", 1, wire.AppAvailable)},
			Replicas: []held{on(2, 9, point{4, 8}, false), on(4, 6, point{5, 7}, false), on(5, 1, point{1, 0}, false)},
		}},
		{id: 3, bad: true, has: inventory{Replicas: []held{on(2, 99, point{99, 99}, true)}}},
	}}
	if !r.build() {
		t.Errorf("refused: %s", r.hints.String())
	}
	var names []string
	for _, id := range slices.Sorted(maps.Keys(r.apps)) {
		names = append(names, fmt.Sprint(id, " ", r.apps[id].Name, " ", r.apps[id].Status))
	}
	want := []string{
		"1 __drop_holder__1 DROPPED", "2 new AVAILABLE", "3 __drop_holder__3 DROPPED", "4 same__4 AVAILABLE",
		"5 dropped DROPPED", "6 same AVAILABLE",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	for app, want := range map[int32]string{
		2: "1010 9 [0 2 1]", // the highest ballot, then the highest decree
		4: "1008 8 [2 0 1]", // of the same, who led
		5: "1002 1 [2 1]",
		6: "1003 1 [1]", // without the copy that was never complete
	} {
		g := r.groups[wire.GPID{App: app}]
		if got := fmt.Sprint(g.Ballot, " ", g.Committed, " ", g.LastDrops); got != want || g.Primary != noNode {
			t.Errorf("table %d: %s, want %s", app, got, want)
		}
	}
	for _, hint := range []string{"the name same of table 4", "partition 6.0 has 1 of 3"} {
		if !strings.Contains(r.hints.String(), hint) {
			t.Errorf("no hint on %s:\n%s", hint, r.hints.String())
		}
	}
	if len(r.hollow) != 0 {
		t.Errorf("to be emptied: %+v", r.hollow)
	}
	r.nodes = []recoveryNode{{id: 0, has: inventory{Apps: []app{table(6, "x", 1, wire.AppAvailable)}, Replicas: []held{on(6, 2, incomplete, false)}}}}
	if r.build() {
		t.Error("a partition of which nobody has a whole copy is not lost")
	}
	r.skipLost = true
	if !r.build() || len(r.hollow) != 1 || r.groups[wire.GPID{App: 6}].Ballot != 0 {
		t.Errorf("%+v %+v", r.hollow, r.groups)
	}
}
