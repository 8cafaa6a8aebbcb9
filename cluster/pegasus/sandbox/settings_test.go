package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// command runs a remote command.
func (u *user) command(at, name string, args ...string) string {
	u.t.Helper()
	if args == nil {
		args = []string{}
	}
	text, err := try(u, at, &wire.CallCommand, wire.GPID{}, wire.Command{Name: name, Args: args})
	if err != nil {
		u.t.Fatalf("%s on %s: %v", name, at, err)
	}
	return text
}

func TestSettingCommands(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	for _, s := range []struct{ at, name, standard, bad string }{
		{c.metaAt, "meta.live_percentage", "0", "-1"},
		{c.metaAt, "meta.lb.assign_delay_ms", "600000", "0"},
		{c.nodeAt[0], "nfs.max_send_rate_megabytes_per_disk", "500", "0"},
		{c.nodeAt[0], "nfs.max_copy_rate_megabytes_per_disk", "500", "fast"},
	} {
		for _, step := range [][2]string{
			{"", s.standard}, {"70", "OK"}, {"", "70"}, {s.bad, "ERR: invalid arguments"}, {"", "70"}, {"DEFAULT", "OK"}, {"", s.standard},
		} {
			if got := u.command(s.at, s.name, strings.Fields(step[0])...); got != step[1] {
				t.Errorf("%s %s is answered %q", s.name, step[0], got)
			}
		}
		if help := u.command(s.at, "help"); !strings.Contains(help, s.name+" - ") {
			t.Errorf("help does not name %s", s.name)
		}
	}
	if got := u.command(c.metaAts[1], "meta.live_percentage", "20"); got != "OK" || u.command(c.metaAt, "meta.live_percentage") != "0" {
		t.Errorf("a setting of one meta server is another one's: %q", got)
	}
	if got := u.command(c.nodeAt[0], "replica.nothing"); got != "unknown command 'replica.nothing'" {
		t.Error(got)
	}
}

// Too few nodes alive: nothing is cured until the percentage is lowered.
func TestLivePercentage(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.command(c.metaAt, "meta.live_percentage", "70")
	victim := u.config("demo").Configs[0].Primary.String()
	u.kill(victim)
	u.eventually("it is known to be dead", func() bool {
		return len(ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes) == 1
	})
	boss := c.leader()
	for range 2 {
		boss.rounds.Lock()
		boss.cure()
		boss.rounds.Unlock()
	}
	if p := u.config("demo").Configs[0]; p.Primary.String() != victim {
		t.Errorf("with two of three alive, below 70 %%, it is served by %s", p.Primary)
	}
	u.command(c.metaAt, "meta.live_percentage", "60")
	u.eventually("it is replaced", func() bool {
		p := u.config("demo").Configs[0]
		return p.Primary.Valid() && p.Primary.String() != victim
	})
}

func TestKillPartition(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	before := u.config("demo")
	p := before.Configs[0]
	id := fmt.Sprint(p.PID.App)
	if got := u.command(p.Primary.String(), "replica.kill_partition", id, "0"); got != wire.OK {
		t.Fatal(got)
	}
	u.eventually("the partition has a new ballot", func() bool { return u.config("demo").Configs[0].Ballot > p.Ballot })
	if got := u.command(c.nodeAt[0], "replica.kill_partition", "99"); got != wire.CodeObjectNotFound {
		t.Error(got)
	}
	if got := u.command(c.nodeAt[0], "replica.kill_partition", "x"); got != wire.CodeInvalidParameters {
		t.Error(got)
	}
	u.whole("demo")
	u.same("demo")
	if got, _ := u.get("demo", "h", "s"); got != "v" {
		t.Errorf("the row reads %q", got)
	}
}

func TestDenyClientCommand(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	p := u.config("demo").Configs[0]
	at := p.Primary.String()
	u.command(at, "replica.deny-client", "true")
	silent(u, at, &wire.Get, p.PID, key("h", "s"))
	silent(u, at, &wire.Put, p.PID, wire.PutRequest{Key: key("h", "s"), Value: []byte("v")})
	u.command(at, "replica.deny-client", "false")
	if _, err := try(u, at, &wire.Get, p.PID, key("h", "s")); err != nil {
		t.Error(err)
	}
}

// countersOf reads a server's counters by prefix.
func (u *user) countersOf(at string, prefix ...string) map[string]float64 {
	u.t.Helper()
	var answer struct {
		Result   string
		Counters []counter
	}
	if err := json.Unmarshal([]byte(u.command(at, "perf-counters-by-prefix", prefix...)), &answer); err != nil || answer.Result != "OK" {
		u.t.Fatalf("%+v, %v", answer, err)
	}
	all := map[string]float64{}
	for _, c := range answer.Counters {
		all[c.Name] = c.Value
	}
	return all
}

// What was done is what the counters say.
func TestCounters(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	p := u.config("demo").Configs[0]
	at, hash := p.Primary.String(), hashOn(u.config("demo"), 0)
	name := func(of string) string { return fmt.Sprintf("replica*app.pegasus*%s@%s", of, p.PID) }
	r := c.nodes[slices.Index(c.nodeAt, at)].replica(p.PID)
	r.stats.perSecond(time.Now().Add(-time.Hour), time.Now()) // the window begins now
	begin := time.Now()
	for i := range 50 {
		if err := u.put("demo", hash, fmt.Sprint(i), strings.Repeat("x", 5000), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		u.get("demo", hash, fmt.Sprint(i))
	}
	var got map[string]float64
	var end time.Time
	u.eventually("the window is over", func() bool {
		if end = time.Now(); end.Sub(begin) < time.Second { // in which what a call takes does not matter
			return false
		}
		got = u.countersOf(at, name("put_qps"), name("get_qps"))
		return got[name("put_qps")] > 0
	})
	took := end.Sub(begin).Seconds()
	if puts, gets := got[name("put_qps")]*took, got[name("get_qps")]*took; puts < 45 || puts > 51 || gets < 27 || gets > 31 {
		t.Errorf("%f puts and %f gets in %f s", puts, gets, took)
	}
	got = u.countersOf(at, "replica*app.pegasus*r")
	if n := got[name("recent.write.cu")]; n != 100 {
		t.Errorf("%f write units", n)
	}
	if n := got[name("recent.read.cu")]; n != 60 {
		t.Errorf("%f read units", n)
	}
	if n := got[name("rdb.estimate_num_keys")]; n != 50 {
		t.Errorf("%f keys", n)
	}
	if n := u.countersOf(at, "replica*app.pegasus*recent.write.cu")[name("recent.write.cu")]; n != 0 {
		t.Errorf("%f write units when asked again", n)
	}
	if n := u.countersOf(at, "replica*eon.replica_stub*replica(Count)")["replica*eon.replica_stub*replica(Count)"]; n != 12 {
		t.Errorf("%f replicas", n)
	}
	if text := u.command(at, "server-stat"); !strings.Contains(text, "serving_replica_count=12") {
		t.Error(text)
	}
	if text := u.command(c.metaAt, "server-stat"); !strings.HasPrefix(text, "alive_nodes=3, unalive_nodes=0") {
		t.Error(text)
	}
	if text := u.command(at, "perf-counters", "("); !strings.Contains(text, "invalid arguments") {
		t.Error(text)
	}
}
