package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// pair starts a onebox and a onebox2 that know each other.
func pair(t *testing.T, compat string, nodes *sandbox.NodeProcesses) (source, follower *user) {
	t.Helper()
	at := map[string]string{}
	known := make(chan struct{})
	peer := func(name string) (string, bool) {
		select {
		case <-known:
			address, is := at[name]
			return address, is
		default:
			return "", true
		}
	}
	for _, name := range []string{"onebox", "onebox2"} {
		c := runAs(t, sandbox.Config{Name: name, Dir: t.TempDir(), Compat: compat, Nodes: nodes, Peer: peer})
		at[name] = c.Address()
		if source == nil {
			source = newUser(t, c)
		} else {
			follower = newUser(t, c)
		}
	}
	close(known)
	return source, follower
}

// pairs runs a test on clusters in this process, and on ones whose servers have processes of their own.
func pairs(t *testing.T, test func(t *testing.T, source, follower *user)) {
	t.Parallel()
	for name, nodes := range map[string]*sandbox.NodeProcesses{"one process": nil, "per node": perNode(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, follower := pair(t, "", nodes)
			test(t, source, follower)
		})
	}
}

func (u *user) addDup(table string, checkpoint bool) int32 {
	u.t.Helper()
	a := ask(u, &wire.AddDup, wire.AddDupRequest{AppName: table, Remote: "onebox2", Checkpoint: &checkpoint})
	if a.Err != wire.OK {
		u.t.Fatalf("duplicate %s: %+v", table, a)
	}
	return a.DupID
}

func (u *user) dup(table string) wire.DupEntry {
	u.t.Helper()
	a := ask(u, &wire.QueryDup, wire.QueryDupRequest{AppName: table})
	if a.Err != wire.OK || len(a.Entries) != 1 {
		u.t.Fatalf("the duplications of %s: %+v", table, a)
	}
	return a.Entries[0]
}

func (u *user) modifyDup(table string, id int32, status wire.DupStatus) string {
	u.t.Helper()
	return ask(u, &wire.ModifyDup, wire.ModifyDupRequest{AppName: table, DupID: id, Status: &status}).Err
}

func (u *user) ships(table string) {
	u.t.Helper()
	u.eventually("the duplication of "+table+" ships and has begun everywhere", func() bool {
		d := u.dup(table)
		for _, at := range d.Progress {
			if at < 0 {
				return false
			}
		}
		return d.Status == wire.DupLog
	})
}

// committed is the last decree of each partition, as their primaries say.
func (u *user) committed(table string) map[int32]int64 {
	u.t.Helper()
	all := map[int32]int64{}
	for _, p := range u.healthy(table).Configs {
		a, err := try(u, p.Primary.String(), &wire.QueryReplicaInfo, wire.GPID{}, wire.QueryNodeRequest{})
		if err != nil {
			continue
		}
		for _, r := range a.Replicas {
			if r.PID == p.PID {
				all[p.PID.Partition] = r.LastCommitted
			}
		}
	}
	return all
}

// shipped waits until the follower has what has been written so far.
func (u *user) shipped(table string) {
	u.t.Helper()
	u.eventually("everything of "+table+" is shipped", func() bool {
		want := u.committed(table)
		have := u.dup(table).Progress
		if len(want) != len(have) {
			return false
		}
		for i, at := range want {
			if have[i] < at {
				return false
			}
		}
		return true
	})
}

// rows are all rows of a table, with when they expire.
func (u *user) rows(table string) map[string]string {
	u.t.Helper()
	all := map[string]string{}
	u.eventually("all of "+table+" can be read", func() bool {
		clear(all)
		for _, p := range u.healthy(table).Configs {
			expire, full := true, true
			q := wire.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{255, 255}, StartInclusive: true, BatchSize: 1000, ReturnExpireTS: &expire, FullScan: &full}
			a, err := try(u, p.Primary.String(), &wire.GetScanner, p.PID, q)
			for err == nil && a.Error == 0 {
				for _, kv := range a.Rows {
					all[string(kv.Key)] = fmt.Sprintf("%q until %d", kv.Value, kv.ExpireTS)
				}
				if a.ContextID < 0 {
					break
				}
				a, err = try(u, p.Primary.String(), &wire.Scan, p.PID, wire.ScanRequest{ContextID: a.ContextID})
			}
			if err != nil || a.Error != 0 {
				return false
			}
		}
		return true
	})
	return all
}

func equal(t *testing.T, source, follower *user, table string) {
	t.Helper()
	want, got := source.rows(table), follower.rows(table)
	if !maps.Equal(want, got) {
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%q is %s at the source, %s at the follower", key, value, got[key])
			}
		}
		for key := range got {
			if want[key] == "" {
				t.Errorf("%q is at the follower only", key)
			}
		}
	}
}

// scribble makes random writes of every kind that is shipped. One that times out may or may not have been made.
func (u *user) scribble(table string, random *rand.Rand, count int) {
	u.t.Helper()
	expires := int32(time.Now().Add(time.Hour).Unix() - wire.Epoch)
	for range count {
		hash, sort := fmt.Sprint("h", random.IntN(20)), fmt.Sprint("s", random.IntN(4))
		u.eventually("a write of "+hash+" is acknowledged", func() bool {
			var err error
			switch random.IntN(5) {
			case 0:
				_, err = at(u, table, []byte(hash), &wire.Remove, key(hash, sort))
			case 1:
				_, err = at(u, table, []byte(hash), &wire.MultiPut, wire.MultiPutRequest{HashKey: []byte(hash), ExpireTS: expires, Rows: []wire.KeyValue{
					{Key: []byte(sort), Value: []byte(fmt.Sprint(random.Uint64()))}, {Key: []byte("m"), Value: nil},
				}})
			case 2:
				_, err = at(u, table, []byte(hash), &wire.MultiRemove, wire.MultiRemoveRequest{HashKey: []byte(hash), SortKeys: [][]byte{[]byte(sort), []byte("m")}})
			default:
				err = u.put(table, hash, sort, fmt.Sprint(random.Uint64()), 0)
			}
			return err == nil
		})
	}
}

// With the rows that there are: the table is made over there, the rows arrive with their TTLs, then every write.
func TestDuplicateWithRows(t *testing.T) { pairs(t, testDuplicateWithRows) }

func testDuplicateWithRows(t *testing.T, source, follower *user) {
	source.create("table", 4, map[string]string{"business.info": "x"})
	random := rand.New(rand.NewPCG(1, 2))
	source.scribble("table", random, 200)
	if err := source.put("table", "h1", "ttl", "soon", int32(time.Now().Add(time.Hour).Unix()-wire.Epoch)); err != nil {
		t.Fatal(err)
	}
	id := source.addDup("table", true)
	source.scribble("table", random, 50)
	source.ships("table")
	source.scribble("table", random, 50)
	source.shipped("table")
	equal(t, source, follower, "table")
	infos := ask(follower, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps
	at := slices.IndexFunc(infos, func(a wire.AppInfo) bool { return a.Name == "table" })
	if at < 0 || infos[at].Envs[envMasterCluster] != "onebox" || infos[at].Envs[envMasterMetas] != source.metas || infos[at].Envs["business.info"] != "x" {
		t.Errorf("the follower's table: %+v", infos)
	}
	for _, a := range ask(source, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps {
		if a.Duplicating == nil || *a.Duplicating != (a.Name == "table") {
			t.Errorf("%s duplicates: %v", a.Name, a.Duplicating)
		}
	}
	// Paused, nothing goes; started again, everything does.
	source.expect("pause", source.modifyDup("table", id, wire.DupPause), wire.OK)
	before := follower.rows("table")
	source.scribble("table", random, 50)
	if got := follower.rows("table"); !maps.Equal(before, got) {
		t.Error("a paused duplication ships")
	}
	source.expect("start", source.modifyDup("table", id, wire.DupLog), wire.OK)
	source.shipped("table")
	equal(t, source, follower, "table")
	source.expect("remove", source.modifyDup("table", id, wire.DupRemoved), wire.OK)
	if a := ask(source, &wire.QueryDup, wire.QueryDupRequest{AppName: "table"}); len(a.Entries) != 0 {
		t.Errorf("a removed duplication is listed: %+v", a)
	}
}

// Servers of both clusters die while there are writes, one after the other and together. In the end the rows are equal.
func TestDuplicateThroughKills(t *testing.T) { pairs(t, testDuplicateThroughKills) }

func testDuplicateThroughKills(t *testing.T, source, follower *user) {
	source.create("table", 4, nil)
	follower.create("table", 4, nil)
	random := rand.New(rand.NewPCG(3, 4))
	source.addDup("table", false)
	source.ships("table")
	primaryOf := func(u *user) string { return u.healthy("table").Configs[0].Primary.String() }
	for _, dies := range []struct {
		u  *user
		at func() string
	}{
		{source, func() string { return primaryOf(source) }},
		{follower, func() string { return primaryOf(follower) }},
		{follower, func() string { return follower.leader("") }},
		{source, func() string { return source.leader("") }},
	} {
		source.scribble("table", random, 30)
		endpoint := dies.at()
		dies.u.kill(endpoint)
		source.scribble("table", random, 60)
		dies.u.start(endpoint)
		source.healthy("table")
	}
	// The follower applies a shipment and does not say so: it comes again.
	follower.do(follower.c.Break(t.Context(), "node.accepted:duplicate", 1))
	source.scribble("table", random, 30)
	source.shipped("table")
	equal(t, source, follower, "table")
}

// What the fail modes make of a log that cannot be read.
func TestDuplicateFailModes(t *testing.T) {
	t.Parallel()
	source, follower := pair(t, "", nil)
	source.create("table", 1, nil)
	follower.create("table", 1, nil)
	id := source.addDup("table", false)
	source.ships("table")
	mode := func(m wire.DupFailMode) {
		t.Helper()
		source.expect("the fail mode", ask(source, &wire.ModifyDup, wire.ModifyDupRequest{AppName: "table", DupID: id, FailMode: &m}).Err, wire.OK)
		source.eventually("the primary has heard of the fail mode", func() bool {
			n, err := source.c.node(nodeID(slices.Index(source.c.nodeAt, source.healthy("table").Configs[0].Primary.String())))
			if err != nil {
				return false
			}
			r := n.(*replicaServer).replica(source.healthy("table").Configs[0].PID)
			r.mu.Lock()
			defer r.mu.Unlock()
			s := r.ships[id]
			if s == nil {
				return false
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.dup.FailMode == m
		})
	}
	put := func(name string) {
		t.Helper()
		if err := source.put("table", name, "s", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	armed := func() int {
		for _, p := range source.c.Points() {
			if p.Name == pointDamaged {
				return p.Armed
			}
		}
		return -1
	}
	// SLOW tries again until it works: nothing is lost.
	source.do(source.c.Break(t.Context(), pointDamaged, 5))
	put("slow")
	source.shipped("table")
	if _, status := follower.get("table", "slow", "s"); status != 0 || armed() != 0 {
		t.Errorf("FAIL_SLOW lost a write: status %d, %d times left", status, armed())
	}
	// SKIP leaves out what cannot be read three times, and says so.
	mode(wire.DupFailSkip)
	source.do(source.c.Break(t.Context(), pointDamaged, skipAfter))
	put("skip")
	source.shipped("table")
	put("after")
	source.shipped("table")
	if _, status := follower.get("table", "skip", "s"); status != wire.StatusNotFound || armed() != 0 {
		t.Errorf("FAIL_SKIP shipped what it cannot read: status %d", status)
	}
	if _, status := follower.get("table", "after", "s"); status != 0 {
		t.Errorf("FAIL_SKIP stopped: status %d", status)
	}
	at := source.healthy("table").Configs[0].Primary.String()
	if lost := source.counter(at, "dup_recent_mutation_loss_count"); lost != 1 {
		t.Errorf("%v writes were lost, by the counters", lost)
	}
	// FAST ends the server; the next primary goes on from where it was.
	mode(wire.DupFailFast)
	source.do(source.c.Break(t.Context(), pointDamaged, 1))
	_ = source.put("table", "fast", "s", "fast", 0) // the server may end before it answers
	source.eventually("the server has ended", func() bool {
		return slices.ContainsFunc(source.c.Nodes(), func(n sandbox.NodeStatus) bool { return n.Endpoint == at && n.State == sandbox.Dead })
	})
	source.start(at)
	source.eventually("a write is acknowledged again", func() bool { return source.put("table", "fast", "s", "again", 0) == nil })
	source.shipped("table")
	if _, status := follower.get("table", "fast", "s"); status != 0 {
		t.Errorf("FAIL_FAST lost a write: status %d", status)
	}
}

// counter sums the perf counters of a node that have a text in their names.
func (u *user) counter(endpoint, part string) float64 {
	u.t.Helper()
	text, err := try(u, endpoint, &wire.CallCommand, wire.GPID{}, wire.Command{Name: "perf-counters-by-substr", Args: []string{part}})
	if err != nil {
		u.t.Fatal(err)
	}
	sum := 0.0
	for _, piece := range strings.Split(text, `"value":`)[1:] {
		var value float64
		if _, err := fmt.Sscanf(piece, "%g", &value); err != nil {
			u.t.Fatal(piece, err)
		}
		sum += value
	}
	return sum
}

// Writes whose outcome depends on rows are refused, and counted; others and reads are not.
func TestDuplicatedTableRefusesConditionalWrites(t *testing.T) {
	t.Parallel()
	source, follower := pair(t, "", nil)
	source.create("table", 1, nil)
	follower.create("table", 1, nil)
	source.addDup("table", false)
	source.ships("table")
	hash := []byte("h")
	for name, write := range map[string]func() error{
		"incr": func() error {
			_, err := at(source, "table", hash, &wire.Incr, wire.IncrRequest{Key: key("h", "s"), Increment: 1})
			return err
		},
		"check and set": func() error {
			_, err := at(source, "table", hash, &wire.CheckAndSet, wire.CheckAndSetRequest{HashKey: hash})
			return err
		},
		"check and mutate": func() error {
			_, err := at(source, "table", hash, &wire.CheckAndMutate, wire.CheckAndMutateRequest{HashKey: hash})
			return err
		},
	} {
		var refused rejection
		if err := write(); !errors.As(err, &refused) || string(refused) != wire.CodeOperationDisabled {
			t.Errorf("%s: %v", name, err)
		}
	}
	node := source.healthy("table").Configs[0].Primary.String()
	if n := source.counter(node, "dup.disabled_non_idempotent_write_count@table"); n != 3 {
		t.Errorf("%v writes were refused, by the counters", n)
	}
	if n := source.counter(node, "recent.write.fail.count"); n < 3 {
		t.Errorf("%v writes failed, by the counters", n)
	}
	if err := source.put("table", "h", "s", "v", 0); err != nil {
		t.Error(err)
	}
	source.shipped("table")
	if n := source.counter(node, "dup.pending_mutations_count"); n != 0 {
		t.Errorf("%v writes are pending, by the counters", n)
	}
	// A duplicated table cannot be split; one that is being split cannot be duplicated.
	if a := ask(source, &wire.StartSplit, wire.StartSplitRequest{AppName: "table", NewPartitions: 2}); a.Err != wire.CodeInvalidState {
		t.Errorf("split a duplicated table: %+v", a)
	}
	release := source.hold("demo")
	source.startSplit("demo", 8)
	if a := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "demo", Remote: "onebox2"}); a.Err != wire.CodeSplitting {
		t.Errorf("duplicate a table that is being split: %+v", a)
	}
	release()
	source.splits("demo", 8)
}

// What add and modify refuse, in the order in which Pegasus looks.
func TestDuplicationRefuses(t *testing.T) {
	t.Parallel()
	source, _ := pair(t, "", nil)
	for name, c := range map[string]struct {
		q    wire.AddDupRequest
		want string
	}{
		"itself":     {wire.AddDupRequest{AppName: "demo", Remote: "onebox"}, wire.CodeInvalidParameters},
		"no cluster": {wire.AddDupRequest{AppName: "demo", Remote: "nosuch"}, wire.CodeInvalidParameters},
		"no table":   {wire.AddDupRequest{AppName: "nosuch", Remote: "onebox2"}, wire.CodeAppNotExist},
	} {
		if a := ask(source, &wire.AddDup, c.q); a.Err != c.want || a.Hint == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	id := source.addDup("demo", false)
	if again := source.addDup("demo", false); again != id {
		t.Errorf("the same duplication is %d, then %d", id, again)
	}
	source.expect("of a table that is not there", source.modifyDup("nosuch", id, wire.DupPause), wire.CodeAppNotExist)
	source.expect("that is not there", source.modifyDup("demo", id+1, wire.DupPause), wire.CodeObjectNotFound)
	source.expect("back to the checkpoint", source.modifyDup("demo", id, wire.DupPrepare), wire.CodeInvalidParameters)
	if _, err := try(source, source.leader(""), &wire.ListDups, wire.GPID{}, wire.ListDupsRequest{MatchType: 1}); err == nil || err.Error() != wire.CodeHandlerNotFound {
		t.Errorf("2.5 lists all duplications: %v", err)
	}
}

// From 2.6 on the follower's table may have another name, and the master is told what was asked for.
func TestDuplicate26(t *testing.T) {
	t.Parallel()
	source, follower := pair(t, "2.6", nil)
	source.create("table", 2, nil)
	source.scribble("table", rand.New(rand.NewPCG(5, 6)), 40)
	name, one := "copy", int32(1)
	a := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "table", Remote: "onebox2", RemoteApp: &name, RemoteReplicas: &one})
	if a.Err != wire.OK || a.RemoteApp == nil || *a.RemoteApp != name || a.RemoteReplicas == nil || *a.RemoteReplicas != 1 {
		t.Fatalf("%+v", a)
	}
	source.eventually("it ships", func() bool {
		e := source.dup("table")
		for _, s := range e.States {
			if s.Confirmed < 0 || s.Confirmed < s.LastCommitted {
				return false
			}
		}
		return e.Status == wire.DupLog && e.Progress == nil && len(e.States) == 2
	})
	if want, got := source.rows("table"), follower.rows("copy"); !maps.Equal(want, got) {
		t.Errorf("the source has %d rows, the follower %d", len(want), len(got))
	}
	if b := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "demo", Remote: "onebox2", RemoteApp: &name}); b.Err != wire.CodeInvalidParameters {
		t.Errorf("two tables into one: %+v", b)
	}
	off := false
	source.eventually("it is there already", func() bool {
		return ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "table", Remote: "onebox2", Checkpoint: &off}).Err == wire.CodeDupExist
	})
	list := ask(source, &wire.ListDups, wire.ListDupsRequest{MatchType: 1})
	if d := list.Apps["table"].Dups[a.DupID]; list.Err != wire.OK || d.RemoteApp == nil || *d.RemoteApp != name || len(list.Apps["demo"].Dups) != 0 {
		t.Errorf("%+v", list)
	}
}

// A follower knows which write is newer when it is asked to look, and refuses what cannot be another cluster's.
func TestDuplicateRequests(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox2", ""))
	u.create("table", 1, nil)
	hash, put := []byte("h"), wire.Put.Name
	ship := func(stamp int64, cluster int8, code, value string, verify bool) wire.DuplicateResponse {
		t.Helper()
		raw := wire.Put.AppendArgs(nil, &wire.PutRequest{Key: key("h", "s"), Value: []byte(value)})
		a, err := at(u, "table", hash, &wire.Duplicate, wire.DuplicateRequest{Entries: []wire.DuplicateEntry{
			{Timestamp: &stamp, Code: &code, RawMessage: &raw, ClusterID: &cluster, VerifyTimetag: &verify},
		}})
		u.do(err)
		return a
	}
	for _, step := range []struct {
		stamp  int64
		value  string
		verify bool
		reads  string
	}{
		{100, "first", true, "first"},
		{99, "older", true, "first"},
		{100, "as old", true, "first"},
		{101, "newer", true, "newer"},
		{50, "unasked", false, "unasked"},
	} {
		if a := ship(step.stamp, 1, put, step.value, step.verify); a.Error == nil || *a.Error != 0 {
			t.Fatalf("%+v: %+v", step, a)
		}
		if got, _ := u.get("table", "h", "s"); got != step.reads {
			t.Errorf("after %q of %d the row is %q, want %q", step.value, step.stamp, got, step.reads)
		}
	}
	for name, a := range map[string]wire.DuplicateResponse{
		"its own": ship(200, 2, put, "x", false), "nobody's": ship(200, 9, put, "x", false), "no write": ship(200, 1, wire.Incr.Name, "x", false),
	} {
		if a.Error == nil || *a.Error != wire.StatusInvalidArgument || a.Hint == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if got, _ := u.get("table", "h", "s"); got != "unasked" {
		t.Errorf("a refused write was made: %q", got)
	}
}
