package sandbox

import (
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
