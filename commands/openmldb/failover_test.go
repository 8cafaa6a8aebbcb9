package openmldb

import (
	"slices"
	"strings"
	"testing"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

func doneOp(id uint64, kind string, pid int) driver.Op {
	return driver.Op{
		ID: id, Type: kind, Status: "kDone", Table: driver.TableName{Name: "flow"}, Partition: pid,
		Start: time.Unix(100, 0), End: time.Unix(101, 0),
	}
}

func TestOfflinePlan(t *testing.T) {
	f := small()
	f.offset("t33:1", 0, 8)
	f.offset("t31:1", 0, 9)
	f.down("t32:1")
	f.part(0).Replicas[0].Offset = new(uint64)
	*f.part(0).Replicas[0].Offset = 12
	c := OfflineEndpoint(f)
	p := planOf(t, c, callOf(c, "t32:1"))
	want := []string{
		"take t32:1 offline", "elect a leader of flow/0 instead of t32:1", "leave the follower of flow/1 on t32:1 out",
	}
	if !slices.Equal(texts(p), want) || p.Class() != spec.Risky || len(p.Blockers) > 0 {
		t.Errorf("steps %q, class %s, blockers %v", texts(p), p.Class(), p.Blockers)
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "t31:1 has the largest offset, 9") || !strings.Contains(notes, "up to 3 entries are lost") {
		t.Errorf("notes: %s", notes)
	}
}

func TestOfflineOutcome(t *testing.T) {
	f := small()
	f.down("t32:1")
	f.does = func(string) {
		f.ops = []driver.Op{doneOp(55, "kChangeLeaderOP", 0), doneOp(56, "kOfflineReplicaOP", 1)}
		f.setAlive(0, "t32:1", false)
		f.setAlive(1, "t32:1", false)
		f.part(0).Replicas[2].Leader = true
		f.part(0).Terms = append(f.part(0).Terms, driver.TermOffset{Term: 5})
	}
	c := OfflineEndpoint(f)
	call := callOf(c, "t32:1")
	p := planOf(t, c, call)
	got, err := apply(t, p)
	if err != nil || len(got) != 3 || !strings.Contains(got[1], "led by t31:1, term 5: op 55 kChangeLeaderOP 1s") {
		t.Fatalf("%q, %v", got, err)
	}
	if again := planOf(t, c, call); len(again.Steps) > 0 {
		t.Errorf("done once, it plans %q", texts(again))
	}
}

// An "ok" of the nameserver that made no operation must not count.
func TestOfflineThatDoesNothing(t *testing.T) {
	f := small()
	f.down("t32:1")
	c := OfflineEndpoint(f)
	got, err := apply(t, planOf(t, c, callOf(c, "t32:1")))
	if err == nil || spec.KindOf(err) != spec.Failed || !strings.Contains(got[len(got)-1], "did nothing for flow/0") {
		t.Errorf("%q, %v", got, err)
	}
}

// The nameserver dies after it said "ok": what becomes of it is not known, and not said to have failed.
func TestOfflineOutOfSight(t *testing.T) {
	f := small()
	f.down("t32:1")
	f.does = func(string) { f.lost = spec.Errorf(spec.Unavailable, "connection refused") }
	c := OfflineEndpoint(f)
	_, err := apply(t, planOf(t, c, callOf(c, "t32:1")))
	if spec.KindOf(err) != spec.UnknownOutcome || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(spec.HintOf(err), "showopstatus") {
		t.Errorf("%v", err)
	}
}

func TestFailedOp(t *testing.T) {
	f := small()
	f.down("t32:1")
	f.does = func(string) {
		op := doneOp(61, "kChangeLeaderOP", 0)
		op.Status, op.Task = "kFailed", "kSelectLeader"
		f.ops = []driver.Op{op}
		f.traces = map[uint64]driver.OpTrace{61: {Tasks: []driver.OpTask{{Type: "kSelectLeader", Status: "kFailed", Tablet: "t33:1", Endpoint: "t32:1"}}}}
	}
	c := OfflineEndpoint(f)
	_, err := apply(t, planOf(t, c, callOf(c, "t32:1")))
	if err == nil || !strings.Contains(err.Error(), "op 61 kChangeLeaderOP of flow/0 at kSelectLeader failed on t33:1 towards t32:1") {
		t.Errorf("%v", err)
	}
}

func TestOfflineRefusals(t *testing.T) {
	f := small()
	f.auto = true
	c := OfflineEndpoint(f)
	_, err := c.Change(t.Context(), callOf(c, "t32:1"))
	if spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "301") || !strings.Contains(spec.HintOf(err), "--manual") {
		t.Errorf("auto_failover on: %v", err)
	}
	call := callOf(c, "t32:1")
	call.Flags["manual"] = []string{"true"}
	if p := planOf(t, c, call); len(p.Holds) != 1 || p.Holds[0].Setting != autoFailover || p.Holds[0].During != "false" {
		t.Errorf("--manual holds %v", p.Holds)
	}
	f.auto = false
	f.tables[0].Parts[1].Replicas = f.tables[0].Parts[1].Replicas[:1]
	p := planOf(t, c, callOf(c, "t32:1"))
	if len(p.Blockers) != 1 || p.Blockers[0].Object != "flow/1" {
		t.Errorf("the only replica: %v", p.Blockers)
	}
	f.down("t32:1")
	if p = planOf(t, c, callOf(c, "t32:1")); len(p.Blockers) > 0 {
		t.Errorf("of a dead tablet: %v", p.Blockers)
	}
	for _, args := range [][]string{{"t32:1", "9"}, {"t32:1", "0"}} {
		if _, err := c.Change(t.Context(), callOf(c, args...)); spec.KindOf(err) != spec.Usage {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := c.Change(t.Context(), callOf(c, "t39:1")); spec.KindOf(err) != spec.NotFound {
		t.Errorf("an unknown tablet: %v", err)
	}
}

func TestRecoverEndpoint(t *testing.T) {
	f := small()
	c := RecoverEndpoint(f)
	_, err := c.Change(t.Context(), callOf(c, "t32:1"))
	if spec.KindOf(err) != spec.Failed || !strings.Contains(err.Error(), "nothing was taken offline") {
		t.Errorf("nothing offline: %v", err)
	}
	f.setAlive(0, "t32:1", false)
	f.part(0).Replicas[2].Leader = true
	f.down("t32:1")
	if _, err := c.Change(t.Context(), callOf(c, "t32:1")); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "303") {
		t.Errorf("a dead tablet: %v", err)
	}
	f.tablets[1].Healthy = true
	f.does = func(string) {
		f.ops = []driver.Op{doneOp(58, "kRecoverTableOP", 0), doneOp(60, "kReAddReplicaOP", 0)}
		f.part(0).Replicas[0].Leader, f.part(0).Replicas[0].Alive = false, true
	}
	p := planOf(t, c, callOf(c, "t32:1"))
	got, err := apply(t, p)
	if err != nil || len(got) != 2 || !strings.Contains(got[1], "t32:1 is alive, as the follower: op 58 kRecoverTableOP 1s, op 60 kReAddReplicaOP 1s") {
		t.Errorf("%q: %q, %v", texts(p), got, err)
	}
	f.setAlive(1, "t33:1", false)
	f.setAlive(1, "t32:1", false)
	if p = planOf(t, c, callOf(c, "t32:1")); len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Why, "recoverdata") {
		t.Errorf("without a leader: %v", p.Blockers)
	}
}

func TestChangeLeader(t *testing.T) {
	f := small()
	f.offset("t31:1", 0, 7)
	c := ChangeLeader(f)
	for args, code := range map[string]string{"flow 0": "309", "flow 0 t39:1": "", "flow 2 auto": ""} {
		_, err := c.Change(t.Context(), callOf(c, strings.Fields(args)...))
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("changeleader %s: %v", args, err)
		}
	}
	p := planOf(t, c, callOf(c, "flow", "0", "auto"))
	if texts(p)[0] != "have t33:1 elected to lead flow/0" || len(p.Blockers) > 0 {
		t.Errorf("%q, %v", texts(p), p.Blockers)
	}
	p = planOf(t, c, callOf(c, "flow", "0", "t31:1"))
	if len(p.Blockers) != 1 || p.Blockers[0].Why != "t31:1 lacks 3 entries, which would be lost" {
		t.Errorf("a candidate that lags: %v", p.Blockers)
	}
	if p = planOf(t, c, callOf(c, "flow", "0", "t32:1")); len(p.Steps) > 0 {
		t.Errorf("the leader itself: %q", texts(p))
	}
	f.tables[0].Parts[0].Replicas = f.tables[0].Parts[0].Replicas[:1]
	if _, err := c.Change(t.Context(), callOf(c, "flow", "0", "auto")); err == nil || !strings.Contains(err.Error(), "134") {
		t.Errorf("one replica: %v", err)
	}
}

// All tablets restarted together: nothing is loaded, and the largest offset is on a follower's disk.
func TestRecoverDataPlan(t *testing.T) {
	f := small()
	f.own = map[string][]driver.TabletPartition{"t31:1": {}, "t32:1": {}, "t33:1": {}}
	f.pairs = map[string]driver.TermPair{"t31:1": {Offset: 12}, "t32:1": {Offset: 5}, "t33:1": {Offset: 12}}
	f.tables[0].Parts = f.tables[0].Parts[:1]
	for i, at := range []uint64{11, 12, 7} { // the last that the nameserver heard
		f.part(0).Replicas[i].Offset = &at
	}
	c := RecoverData(f)
	p := planOf(t, c, callOf(c))
	want := []string{
		"have flow/0 on t32:1 count as alive: false",
		"have flow/0 on t31:1 count as alive: false",
		"load flow/0 on t33:1 as the follower",
		"have t33:1 elected to lead flow/0",
		"wait until it is so: have t33:1 elected to lead flow/0",
		"have flow/0 on t32:1 catch up",
		"wait until it is so: have flow/0 on t32:1 catch up",
		"have flow/0 on t31:1 catch up",
		"wait until it is so: have flow/0 on t31:1 catch up",
	}
	if got := texts(p); !slices.Equal(got, want) {
		t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "t33:1 leads (the largest offset)") || !strings.Contains(p.Notes[0], "t32:1 was last at offset 11, its snapshot at 5") {
		t.Errorf("notes %q", p.Notes)
	}
	f.pairs["t32:1"] = driver.TermPair{Offset: 12} // the nameserver's leader is as far
	p = planOf(t, c, callOf(c))
	if texts(p)[2] != "load flow/0 on t32:1 as the leader" || slices.Contains(texts(p), "have t32:1 elected to lead flow/0") {
		t.Errorf("steps %q", texts(p))
	}
	call := callOf(c)
	call.Flags["without"] = []string{"t32:1"}
	if got := texts(planOf(t, c, call)); got[2] != "load flow/0 on t33:1 as the follower" {
		t.Errorf("without the leader's disk: %q", got)
	}
	// A snapshot says nothing of the log behind it: without the nameserver's numbers the one that led had most.
	f.part(0).Replicas[0].Offset, f.pairs["t32:1"] = nil, driver.TermPair{}
	if p = planOf(t, c, callOf(c)); texts(p)[2] != "load flow/0 on t32:1 as the leader" || !strings.Contains(p.Notes[0], "t32:1 leads (it led)") {
		t.Errorf("steps %q, notes %q", texts(p), p.Notes)
	}
	delete(f.own, "t32:1")
	f.pairs = map[string]driver.TermPair{}
	p = planOf(t, c, callOf(c))
	if len(p.Steps) > 0 || !strings.Contains(strings.Join(p.Notes, "\n"), "flow/0 stays down") {
		t.Errorf("nobody to ask: %q, %q", texts(p), p.Notes)
	}
	if p = planOf(t, c, callOf(RecoverData(small()))); p == nil {
		t.Error("no plan")
	}
	whole := RecoverData(small())
	if p = planOf(t, whole, callOf(whole)); len(p.Steps) > 0 {
		t.Errorf("a cluster that is whole: %q", texts(p))
	}
}

// A disk that has less than was last heard of it must not be what the others catch up with.
func TestRecoverDataStopsAtALostLog(t *testing.T) {
	f := small()
	f.own = map[string][]driver.TabletPartition{"t31:1": {}, "t32:1": {}, "t33:1": {}}
	f.pairs = map[string]driver.TermPair{"t31:1": {}, "t32:1": {}, "t33:1": {}}
	f.tables[0].Parts = f.tables[0].Parts[:1]
	for i := range f.part(0).Replicas {
		f.part(0).Replicas[i].Offset = new(uint64)
		*f.part(0).Replicas[i].Offset = 9
	}
	f.does = func(what string) {
		f.own["t32:1"] = []driver.TabletPartition{{TID: 4, Offset: 4, Mode: "kTableLeader", State: "kTableNormal"}}
	}
	c := RecoverData(f)
	p := planOf(t, c, callOf(c))
	load := p.Steps[slices.Index(texts(p), "load flow/0 on t32:1 as the leader")]
	err := load.Apply(t.Context(), &quiet{})
	if spec.KindOf(err) != spec.Failed || !strings.Contains(err.Error(), "came up at offset 4, and was at 9") || !strings.Contains(spec.HintOf(err), "--without t32:1") {
		t.Errorf("%v", err)
	}
}

func TestScale(t *testing.T) {
	f := small()
	for i := range f.tables[0].Parts {
		f.tables[0].Parts[i].Replicas = f.tables[0].Parts[i].Replicas[:2]
	}
	f.tables[0].Replicas = 2
	f.tablets = append(f.tablets, driver.Tablet{Endpoint: "t34:1", Healthy: true})
	f.own["t34:1"] = nil
	out := ScaleOut(f)
	p := planOf(t, out, callOf(out))
	if got := texts(p); !slices.Equal(got, []string{"move flow/0 from t33:1 to t31:1", "move flow/0 from t32:1 to t34:1"}) {
		t.Errorf("scaleout: %q", got)
	}
	in := ScaleIn(f)
	call := callOf(in)
	call.Flags["endpoints"] = []string{"t33:1"}
	if got := texts(planOf(t, in, call)); !slices.Equal(got, []string{"move flow/0 from t33:1 to t31:1", "move flow/1 from t33:1 to t34:1"}) {
		t.Errorf("scalein: %q", got)
	}
	call.Flags["endpoints"] = []string{"t33:1,t34:1", "t31:1"}
	if _, err := in.Change(t.Context(), call); spec.KindOf(err) != spec.Refused {
		t.Errorf("too few tablets left: %v", err)
	}
}

func TestUpgrade(t *testing.T) {
	f := small()
	pre := PreUpgrade(f)
	p := planOf(t, pre, callOf(pre, "t32:1"))
	if got := texts(p); len(got) != 4 || got[0] != "have another replica lead flow/0 instead of t32:1" || got[2] != "have flow/0 on t32:1 catch up" {
		t.Errorf("%q", got)
	}
	if len(p.Holds) != 1 || !p.Holds[0].Keep {
		t.Fatalf("holds %v", p.Holds)
	}
	was, err := p.Holds[0].Read(t.Context())
	if err != nil || was != "flow/0" {
		t.Errorf("remembers %q, %v", was, err)
	}
	post := PostUpgrade(f)
	if p = planOf(t, post, callOf(post, "t32:1")); len(p.Steps) > 0 {
		t.Errorf("nothing remembered: %q", texts(p))
	}
	f.held = []commands.Held{{Setting: ledSetting("t32:1"), Was: "flow/0,flow/1", Kept: true}}
	p = planOf(t, post, callOf(post, "t32:1"))
	if got := texts(p); len(got) != 4 || got[0] != "have t32:1 lead flow/1 instead of t33:1" {
		t.Errorf("%q", got)
	}
	f.down("t31:1")
	if _, err := pre.Change(t.Context(), callOf(pre, "t32:1")); spec.KindOf(err) != spec.Refused {
		t.Errorf("two at once: %v", err)
	}
}
