package sandbox

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// compacted waits until all replicas of a table have been compacted.
func (u *user) compacted(table string) {
	u.t.Helper()
	last := int32(-1)
	u.eventually(table+" is compacted", func() bool {
		a := ask(u, &wire.QueryCompact, wire.QueryCompactRequest{AppName: table})
		if a.Err != wire.OK || a.Progress == nil || *a.Progress < last {
			u.t.Fatalf("after %d %% the compaction of %s is at %+v", last, table, a)
		}
		last = *a.Progress
		return last == 100
	})
}

func TestCompactRefuses(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	u.create("off", 1, map[string]string{envCompactOff: "true"})
	for name, c := range map[string]struct {
		q    wire.StartCompactRequest
		want string
	}{
		"no table": {wire.StartCompactRequest{AppName: "nosuch"}, wire.CodeAppNotExist},
		"disabled": {wire.StartCompactRequest{AppName: "off"}, wire.CodeOperationDisabled},
		"level":    {wire.StartCompactRequest{AppName: "demo", TargetLevel: new(int32(-2))}, wire.CodeInvalidParameters},
		"running":  {wire.StartCompactRequest{AppName: "demo", MaxRunning: new(int32(-1))}, wire.CodeInvalidParameters},
	} {
		if a := ask(u, &wire.StartCompact, c.q); a.Err != c.want || a.Hint == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for table, want := range map[string]string{"demo": wire.CodeInvalidState, "nosuch": wire.CodeAppNotExist} {
		if a := ask(u, &wire.QueryCompact, wire.QueryCompactRequest{AppName: table}); a.Err != want || a.Progress != nil {
			t.Errorf("%s: %+v", table, a)
		}
	}
}

// A compaction deletes what has expired, keeps what is written meanwhile, and tells when it was made, also after a
// start of the node.
func TestCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := run(t, "onebox", dir)
	u := newUser(t, c)
	check := u.keep("demo", "row", 50, 10)
	past := int32(time.Now().Unix() - wire.Epoch - 5)
	for i := range 700 { // more than one batch
		if err := u.put("demo", "expired", fmt.Sprintf("%04d", i), "v", past); err != nil {
			t.Fatal(err)
		}
	}
	w := startWriter(t, c, "live")
	u.eventually("rows are written", func() bool { return w.acked.Load() > 20 })
	a := ask(u, &wire.StartCompact, wire.StartCompactRequest{
		AppName: "demo", TargetLevel: new(int32(2)), Bottommost: new(true), MaxRunning: new(int32(1)),
	})
	if a.Err != wire.OK {
		t.Fatal(a)
	}
	u.compacted("demo")
	w.check(t, u)
	check(u)
	u.same("demo")
	id := u.config("demo").AppID
	for n, s := range c.nodes {
		var keys int64
		for _, r := range s.all() {
			if r.pid.App == id {
				keys += r.countKeys()
			}
		}
		if want := 50 + w.acked.Load(); keys != want && keys != want+1 { // one more may have been written, and not acknowledged
			t.Errorf("node %d holds %d rows, want %d", n, keys, want)
		}
	}
	envs := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps[1].Envs
	if envs[envCompactLevel] != "2" || envs[envCompactBottom] != "force" || envs[envCompactLimit] != "1" || envs[envCompactOnce] == "" {
		t.Errorf("envs are %v", envs)
	}
	ids := fmt.Sprint(id)
	if text := u.queryCompactOn(0, ids); !strings.HasPrefix(text, "4 processed, 0 not found\n") || strings.Count(text, "last used") != 4 || strings.Contains(text, "[-]") {
		t.Errorf("the node says\n%s", text)
	}
	if text := u.queryCompactOn(0, "1,"+ids+".3"); !strings.HasPrefix(text, "9 processed") || strings.Count(text, "[-]") != 8 {
		t.Errorf("the node says\n%s", text)
	}
	u.kill(c.nodeAt[0])
	u.start(c.nodeAt[0])
	u.healthy("demo")
	u.eventually("the replicas are active", func() bool { return strings.HasPrefix(u.queryCompactOn(0, ids), "4 processed") })
	if text := u.queryCompactOn(0, ids); strings.Contains(text, "[-]") || strings.Contains(text, "last used") || strings.Contains(text, "recent") {
		t.Errorf("after a start the node says\n%s", text)
	}
}

func (u *user) queryCompactOn(id nodeID, args ...string) string {
	u.t.Helper()
	text, err := try(u, u.c.nodeAt[id], &wire.CallCommand, wire.GPID{}, wire.Command{Name: "replica.query-compact", Args: args})
	if err != nil {
		u.t.Fatal(err)
	}
	return text
}

// Setting the env is as good as the call; a time that has come before the last compaction, or that has not come yet,
// does nothing, and neither does anything while compactions are disabled or bounded to none.
func TestCompactByEnvs(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	set := func(pairs ...string) {
		t.Helper()
		q := wire.UpdateAppEnvRequest{AppName: "demo", Op: wire.EnvSet}
		for i := 0; i < len(pairs); i += 2 {
			q.Keys, q.Values = append(q.Keys, pairs[i]), append(q.Values, pairs[i+1])
		}
		if a := ask(u, &wire.UpdateAppEnv, q); a.Err != wire.OK {
			t.Fatal(a)
		}
	}
	idle := func(why string) {
		t.Helper()
		if a := ask(u, &wire.QueryCompact, wire.QueryCompactRequest{AppName: "demo"}); a.Err != wire.CodeInvalidState {
			t.Errorf("%s: %+v", why, a)
		}
	}
	now := time.Now().Unix()
	set(envCompactOnce, fmt.Sprint(now+3600))
	idle("a time to come")
	set(envCompactOff, "true", envCompactOnce, fmt.Sprint(now))
	idle("disabled")
	set(envCompactOff, "false", envCompactLimit, "0")
	idle("none at a time")
	set(envCompactLimit, "3")
	u.compacted("demo")
	finished := c.nodes[0].replica(wire.GPID{App: 2}).compact.at()
	set(envCompactOnce, fmt.Sprint(now-10))
	u.compacted("demo")
	if again := c.nodes[0].replica(wire.GPID{App: 2}).compact.at(); again != finished {
		t.Errorf("compacted again, at %d after %d", again, finished)
	}
}

// What was found dead is looked at again before it is deleted: it may have been written since, or be a learner's.
func TestCompactSparesWhatIsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	config := u.config("demo")
	p := config.Configs[0]
	hash := hashOn(config, 0)
	past := int32(time.Now().Unix() - wire.Epoch - 5)
	r := c.nodes[0].replica(p.PID)
	var keys [][]byte
	for i := range 4 {
		if err := u.put("demo", hash, fmt.Sprint(i), "old", past); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.storeKey(key(hash, fmt.Sprint(i))))
	}
	if err := u.put("demo", hash, "1", "new", 0); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	status := r.status
	r.status = wire.ReplicaPotentialSecondary
	r.mu.Unlock()
	if err := r.deleteUnseen(keys); err != nil || r.countKeys() != 4 {
		t.Errorf("a learner's rows: %d are left, %v", r.countKeys(), err)
	}
	r.mu.Lock()
	r.status = status
	r.mu.Unlock()
	if err := r.deleteUnseen(keys); err != nil || r.countKeys() != 1 {
		t.Errorf("%d rows are left, %v", r.countKeys(), err)
	}
	if got, status := u.get("demo", hash, "1"); got != "new" || status != 0 {
		t.Errorf("the row that was written reads %q, status %d", got, status)
	}
}

// No node compacts more replicas at a time than it may.
func TestCompactIsBounded(t *testing.T) {
	s := &replicaServer{replicas: map[wire.GPID]*replica{}, stop: make(chan struct{}), compacts: make(chan struct{}, 1)}
	s.idle = sync.NewCond(&s.mu)
	var err error
	if s.store, err = openStore(t.TempDir(), t.Logf); err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	s.disks = &disks{s: s, gate: newGate(newPoints("node", nil))}
	for limit, want := range map[string]int{"": compactWorkers, "0": 0, "1": 1, "99": compactWorkers, "x": compactWorkers} {
		a := &app{Envs: map[string]string{envCompactOnce: "1", envCompactLimit: limit}}
		for i := range int32(5) {
			r := newReplica(s, wire.GPID{App: 1, Partition: i}, point{1, 1})
			r.status, r.app = wire.ReplicaPrimary, a
			s.replicas[r.pid] = r
			r.setCompacted(0)
		}
		s.replicas[wire.GPID{App: 1, Partition: 4}].status = wire.ReplicaPotentialSecondary
		done := 0
		for now := time.Now(); ; {
			taken := s.takeCompactions(now)
			if again := s.takeCompactions(now); len(taken) > want || len(again) > 0 {
				t.Fatalf("limit %q: %d at a time, then %d more", limit, len(taken), len(again))
			}
			if len(taken) == 0 {
				break
			}
			done += len(taken)
			for _, r := range taken {
				if status := r.report().Compact; status != wire.CompactRunning {
					t.Errorf("a replica that was taken is %s", status)
				}
				s.compact(r)
				if status := r.report().Compact; status != wire.CompactFinished {
					t.Errorf("a replica that was compacted is %s", status)
				}
			}
		}
		if want > 0 && done != 4 || want == 0 && done != 0 {
			t.Errorf("limit %q: %d replicas were compacted", limit, done)
		}
	}
}

func TestCompactIsDue(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.Local)
	at := func(hour int) int64 { return noon.Add(time.Duration(hour-12) * time.Hour).UnixMilli() }
	for name, c := range map[string]struct {
		envs     map[string]string
		finished int64
		want     bool
	}{
		"nothing":            {nil, 0, false},
		"once":               {map[string]string{envCompactOnce: fmt.Sprint(at(11) / 1000)}, at(10), true},
		"once, done":         {map[string]string{envCompactOnce: fmt.Sprint(at(11) / 1000)}, at(11), false},
		"once, to come":      {map[string]string{envCompactOnce: fmt.Sprint(at(13) / 1000)}, at(10), false},
		"once, no number":    {map[string]string{envCompactOnce: "soon"}, 0, false},
		"daily":              {map[string]string{envCompactPeriodic: "3:00, 11:00"}, at(4), true},
		"daily, done":        {map[string]string{envCompactPeriodic: "3:00,11:00"}, at(12), false},
		"daily, to come":     {map[string]string{envCompactPeriodic: "13:00"}, at(0), false},
		"daily, no time":     {map[string]string{envCompactPeriodic: "x,25:00,"}, 0, false},
		"disabled":           {map[string]string{envCompactOnce: "1", envCompactOff: "true"}, 0, false},
		"none at a time":     {map[string]string{envCompactOnce: "1", envCompactLimit: "0"}, 0, false},
		"enabled, expressly": {map[string]string{envCompactOnce: "1", envCompactOff: "false"}, 0, true},
	} {
		if got := (&app{Envs: c.envs}).compactDue(c.finished, noon); got != c.want {
			t.Errorf("%s: due is %t", name, got)
		}
	}
}
