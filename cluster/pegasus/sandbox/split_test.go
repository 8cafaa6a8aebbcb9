package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

func (u *user) startSplit(table string, partitions int32) {
	u.t.Helper()
	if a := ask(u, &wire.StartSplit, wire.StartSplitRequest{AppName: table, NewPartitions: partitions}); a.Err != wire.OK {
		u.t.Fatalf("split %s into %d: %+v", table, partitions, a)
	}
}

func (u *user) splitStatus(table string) (map[int32]wire.SplitStatus, string) {
	u.t.Helper()
	a := ask(u, &wire.QuerySplit, wire.QuerySplitRequest{AppName: table})
	return a.Status, a.Err
}

func (u *user) controlSplit(table string, how wire.SplitControl, parent int32, old ...int32) string {
	u.t.Helper()
	q := wire.ControlSplitRequest{AppName: table, Control: how, Parent: parent}
	if len(old) > 0 {
		q.OldPartitions = &old[0]
	}
	return ask(u, &wire.ControlSplit, q).Err
}

// splits waits until a table's split has come to its end, and all children are complete.
func (u *user) splits(table string, partitions int32) wire.QueryConfigResponse {
	u.t.Helper()
	u.eventually("the split of "+table+" ends", func() bool {
		_, code := u.splitStatus(table)
		return code == wire.CodeInvalidState
	})
	config := u.healthy(table)
	if config.Partitions != partitions || len(config.Configs) != int(partitions) {
		u.t.Fatalf("%s has %d partitions, want %d", table, config.Partitions, partitions)
	}
	return config
}

// slowCopies bounds how fast all nodes send replicas.
func (u *user) slowCopies(megabytes string) {
	u.t.Helper()
	for _, endpoint := range u.c.nodeAt {
		text, err := try(u, endpoint, &wire.CallCommand, wire.GPID{}, wire.Command{
			Name: "nfs.max_send_rate_megabytes_per_disk", Args: []string{megabytes},
		})
		if err != nil || text != "OK" {
			u.t.Fatal(text, err)
		}
	}
}

// children counts the replicas on a node that are children of a split.
func (u *user) children(id nodeID) int {
	count := 0
	n, err := u.c.node(id)
	if err != nil {
		return 0
	}
	for _, r := range n.(*replicaServer).all() {
		if r.report().Status == wire.ReplicaPartitionSplit {
			count++
		}
	}
	return count
}

// keep writes rows of many hash keys and answers how to check that they are all there.
func (u *user) keep(table, name string, count, size int) (check func(*user)) {
	u.t.Helper()
	value := func(i int) string { return fmt.Sprintf("%s %d %0*d", name, i, size, i) }
	for i := range count {
		if err := u.put(table, fmt.Sprint(name, i), "s", value(i), 0); err != nil {
			u.t.Fatal(err)
		}
	}
	return func(u *user) {
		u.t.Helper()
		for i := range count {
			if got, status := u.get(table, fmt.Sprint(name, i), "s"); status != 0 || got != value(i) {
				u.t.Fatalf("row %d of %s reads %.40q, status %d", i, name, got, status)
			}
		}
	}
}

// hold makes the groups of a table incomplete, so that splits wait, until the node runs again.
func (u *user) hold(table string) (release func()) {
	u.t.Helper()
	endpoint := u.c.nodeAt[2]
	u.kill(endpoint)
	u.eventually("the dead node has left", func() bool {
		for _, p := range u.config(table).Configs {
			if !p.Primary.Valid() || len(p.Secondaries) != 1 {
				return false
			}
		}
		return true
	})
	return func() { u.start(endpoint) }
}

func TestSplitRefuses(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	for name, c := range map[string]struct {
		q    wire.StartSplitRequest
		want string
	}{
		"no doubling": {wire.StartSplitRequest{AppName: "demo", NewPartitions: 16}, wire.CodeInvalidParameters},
		"none at all": {wire.StartSplitRequest{AppName: "demo"}, wire.CodeInvalidParameters},
		"no table":    {wire.StartSplitRequest{AppName: "nosuch", NewPartitions: 8}, wire.CodeAppNotExist},
	} {
		if a := ask(u, &wire.StartSplit, c.q); a.Err != c.want || a.Hint == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if _, code := u.splitStatus("demo"); code != wire.CodeInvalidState {
		t.Errorf("status of a table that is not split: %s", code)
	}
	u.expect("pause without a split", u.controlSplit("demo", wire.SplitPause, -1), wire.CodeInvalidState)
	u.hold("demo")
	u.startSplit("demo", 8)
	for i, p := range u.config("demo").Configs {
		if child := i >= 4; child != (p.Ballot == -1) || child == p.Primary.Valid() {
			t.Errorf("partition %d of a table that is being split: %+v", i, p)
		}
	}
	u.expect("a second split", ask(u, &wire.StartSplit, wire.StartSplitRequest{AppName: "demo", NewPartitions: 16}).Err, wire.CodeBusy)
	u.expect("drop", ask(u, &wire.DropApp, wire.DropAppRequest{AppName: "demo"}).Err, wire.CodeSplitting)
	u.expect("a proposal for a child", ask(u, &wire.ProposeBalancer, wire.BalancerRequest{PID: wire.GPID{App: 2, Partition: 5}}).Err, wire.CodeInvalidParameters)
	u.expect("another number of replicas", ask(u, &wire.SetReplicaCount, wire.SetReplicaCountRequest{AppName: "demo", Count: 2}).Err, wire.OK)
	u.splits("demo", 8) // with two replicas each, the groups are complete
}

func (u *user) expect(what, got, want string) {
	u.t.Helper()
	if got != want {
		u.t.Errorf("%s is answered %s, want %s", what, got, want)
	}
}

// paused waits until parents are paused.
func (u *user) paused(table string, parents ...int32) {
	u.t.Helper()
	u.eventually(fmt.Sprint(parents, " are paused"), func() bool {
		status, _ := u.splitStatus(table)
		return !slices.ContainsFunc(parents, func(i int32) bool { return status[i] != wire.SplitPaused })
	})
}

func TestSplitIsControlled(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	control := func(how wire.SplitControl, parent int32, old ...int32) string {
		t.Helper()
		return u.controlSplit("demo", how, parent, old...)
	}
	check := u.keep("demo", "before", 40, 10)
	release := u.hold("demo")
	u.startSplit("demo", 8)
	status, code := u.splitStatus("demo")
	all := map[int32]wire.SplitStatus{0: wire.SplitSplitting, 1: wire.SplitSplitting, 2: wire.SplitSplitting, 3: wire.SplitSplitting}
	if code != wire.OK || !maps.Equal(status, all) {
		t.Fatal(status, code)
	}
	u.expect("pause of one", control(wire.SplitPause, 1), wire.OK)
	u.paused("demo", 1)
	u.expect("pause of a paused one", control(wire.SplitPause, 1), wire.CodeInvalidState)
	u.expect("restart of one that goes on", control(wire.SplitRestart, 0), wire.CodeInvalidState)
	u.expect("pause of a child", control(wire.SplitPause, 4), wire.CodeInvalidParameters)
	u.expect("pause of all", control(wire.SplitPause, -1), wire.OK)
	u.paused("demo", 0, 1, 2, 3)
	u.expect("cancel of another count", control(wire.SplitCancel, -1, 8), wire.CodeInvalidParameters)
	u.expect("cancel without a count", control(wire.SplitCancel, -1), wire.CodeInvalidParameters)
	u.expect("cancel", control(wire.SplitCancel, -1, 4), wire.OK)
	u.eventually("the split is canceled", func() bool {
		_, code := u.splitStatus("demo")
		return code == wire.CodeInvalidState && u.config("demo").Partitions == 4
	})
	check(u)
	u.startSplit("demo", 8)
	u.expect("pause of one", control(wire.SplitPause, 1), wire.OK)
	u.paused("demo", 1)
	release()
	u.eventually("the others are split", func() bool {
		status, code := u.splitStatus("demo")
		return code == wire.OK && maps.Equal(status, map[int32]wire.SplitStatus{1: wire.SplitPaused})
	})
	u.expect("pause of one that is split", control(wire.SplitPause, 0), wire.CodeChildRegistered)
	u.expect("restart of one that is split", control(wire.SplitRestart, 0), wire.CodeInvalidState)
	u.expect("cancel when some are split", control(wire.SplitCancel, -1, 4), wire.CodeChildRegistered)
	check(u)
	u.expect("restart of all", control(wire.SplitRestart, -1), wire.OK)
	u.splits("demo", 8)
	check(u)
	u.expect("cancel when all are split", control(wire.SplitCancel, -1, 4), wire.CodeInvalidState)
	u.same("demo")
}

// After a split every row is with the partition its hash says, there only as far as clients can see, and a compaction
// deletes the others.
func TestSplitParts(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	const rows = 200
	check := u.keep("demo", "row", rows, 10)
	past := int32(time.Now().Unix() - wire.Epoch - 5)
	for i := range 20 {
		if err := u.put("demo", fmt.Sprint("expired", i), "s", "v", past); err != nil {
			t.Fatal(err)
		}
	}
	before := u.config("demo")
	u.startSplit("demo", 8)
	config := u.splits("demo", 8)
	check(u)
	for i, p := range config.Configs {
		if p.Ballot <= before.Configs[i%4].Ballot || i >= 4 && (p.Primary != config.Configs[i-4].Primary || len(p.Secondaries) != 2) {
			t.Errorf("partition %d is %+v, and its parent was %+v", i, p, before.Configs[i%4])
		}
	}
	u.misused(config)
	u.parts(config, rows, 2*rows)
	apps := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps
	if a := apps[1]; a.Name != "demo" || a.Partitions != 8 || a.InitPartitions != 4 || a.Envs[envValidateHash] != "true" {
		t.Errorf("the table is described as %+v", a)
	}
	if a := ask(u, &wire.StartCompact, wire.StartCompactRequest{AppName: "demo", Bottommost: new(true)}); a.Err != wire.OK {
		t.Fatal(a)
	}
	u.compacted("demo")
	u.parts(config, rows, rows)
	check(u)
	u.same("demo")
	for id, s := range u.c.nodes {
		count := int64(0)
		for _, r := range s.all() {
			if r.pid.App == config.AppID {
				count += r.countKeys()
			}
		}
		if count != rows {
			t.Errorf("node %d stores %d rows, want %d", id, count, rows)
		}
	}
	// Once more, from what is a table with children by now.
	u.startSplit("demo", 16)
	u.parts(u.splits("demo", 16), rows, 2*rows)
	check(u)
}

// misused sends requests to partitions that are not theirs.
func (u *user) misused(config wire.QueryConfigResponse) {
	u.t.Helper()
	for i := range 8 {
		hash := []byte(fmt.Sprint("row", i))
		h := wire.Hash(hash, nil)
		p := config.Configs[(wire.PartitionOf(h, 8)+4)%8]
		_, err := tryRow(u, p.Primary.String(), &wire.Get, p.PID, h, key(string(hash), "s"))
		if !errors.Is(err, rejection(wire.CodeParentMisused)) {
			u.t.Errorf("a read at the wrong half: %v", err)
		}
		_, err = tryRow(u, p.Primary.String(), &wire.Put, p.PID, h, wire.PutRequest{Key: key(string(hash), "s")})
		if !errors.Is(err, rejection(wire.CodeParentMisused)) {
			u.t.Errorf("a write to the wrong half: %v", err)
		}
	}
}

// parts compares how many rows there are, by what clients see and by what replicas hold.
func (u *user) parts(config wire.QueryConfigResponse, seen, held int) {
	u.t.Helper()
	own, all := 0, 0
	for i, p := range config.Configs {
		for _, row := range u.scanAll(p, wire.GetScannerRequest{ValidatePartitionHash: new(true)}) {
			hash, sort, err := wire.DecodeKey(row.Key)
			if err != nil || wire.PartitionOf(wire.Hash(hash, sort), len(config.Configs)) != i {
				u.t.Fatalf("partition %d shows %q, %v", i, row.Key, err)
			}
			own++
		}
		all += len(u.scanAll(p, wire.GetScannerRequest{ValidatePartitionHash: new(false)}))
	}
	if own != seen || all != held {
		u.t.Errorf("%d rows are shown and %d held, want %d and %d", own, all, seen, held)
	}
}

func TestSplitUnderWriters(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	check := u.keep("demo", "before", 100, 2000)
	var writers []*writer
	for i := range 6 {
		writers = append(writers, startWriter(t, c, fmt.Sprint("hash", i)))
	}
	written := func() (n int64) {
		for _, w := range writers {
			n += w.acked.Load()
		}
		return n
	}
	for _, partitions := range []int32{8, 16} {
		n := written()
		u.eventually("rows are written before", func() bool { return written() > n+100 })
		u.startSplit("demo", partitions)
		u.splits("demo", partitions)
		n = written()
		u.eventually("rows are written after", func() bool { return written() > n+100 })
	}
	for _, w := range writers {
		w.check(t, u)
	}
	check(u)
	u.same("demo")
}

// A node dies while its replicas are copied to their children, and another one while the first is back.
func TestSplitNodeDies(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	check := u.keep("demo", "before", 200, 10_000)
	w := startWriter(t, c, "live")
	for i, partitions := range []int32{8, 16} {
		u.slowCopies("1")
		u.startSplit("demo", partitions)
		u.eventually("children are being made", func() bool { return u.children(nodeID(i)) > 0 })
		u.kill(c.nodeAt[i])
		if i == 0 { // in one round it comes back at once, in the other after it was replaced
			u.eventually("it is replaced", func() bool {
				return !slices.ContainsFunc(u.config("demo").Configs, func(p wire.Partition) bool { return p.Primary.String() == c.nodeAt[i] })
			})
		}
		n := w.acked.Load()
		u.eventually("rows are written without it", func() bool { return w.acked.Load() > n })
		u.start(c.nodeAt[i])
		u.slowCopies("500")
		u.splits("demo", partitions)
	}
	w.check(t, u)
	check(u)
	u.same("demo")
}

// A split that is given up leaves nothing behind, and one that is paused in the middle of copying goes on.
func TestSplitStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	check := u.keep("demo", "before", 100, 20_000)
	w := startWriter(t, c, "live")
	begin := func() {
		t.Helper()
		u.slowCopies("1")
		u.startSplit("demo", 8)
		u.eventually("children are being made", func() bool { return u.children(0) > 0 && u.children(1) > 0 })
	}
	begin()
	if code := u.controlSplit("demo", wire.SplitCancel, -1, 4); code != wire.OK {
		t.Fatal(code)
	}
	u.eventually("it is canceled", func() bool { return u.config("demo").Partitions == 4 })
	for id, s := range c.nodes {
		a, err := try(u, c.nodeAt[id], &wire.QueryReplicaInfo, wire.GPID{}, wire.QueryNodeRequest{})
		if err != nil || slices.ContainsFunc(a.Replicas, func(r wire.ReplicaInfo) bool { return r.PID.App == 2 && r.PID.Partition >= 4 }) {
			t.Errorf("node %d holds %+v, %v", id, a.Replicas, err)
		}
		for child := range int32(4) {
			if at, has := s.stored(wire.GPID{App: 2, Partition: 4 + child}); has {
				t.Errorf("node %d keeps a child at %v", id, at)
			}
		}
	}
	begin()
	if code := u.controlSplit("demo", wire.SplitPause, -1); code != wire.OK {
		t.Fatal(code)
	}
	u.eventually("it is paused", func() bool {
		status, code := u.splitStatus("demo")
		for _, s := range status {
			if s != wire.SplitPaused {
				return false
			}
		}
		return code == wire.OK
	})
	u.slowCopies("500")
	n := w.acked.Load()
	u.eventually("rows are written meanwhile", func() bool { return w.acked.Load() > n+20 })
	if code := u.controlSplit("demo", wire.SplitRestart, -1); code != wire.OK {
		t.Fatal(code)
	}
	u.splits("demo", 8)
	w.check(t, u)
	check(u)
	u.same("demo")
}

// While a child is registered, clients of its parent have to wait; those that asked before are answered by whoever has
// their row then.
func TestSplitClientsWait(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	check := u.keep("demo", "before", 40, 20_000)
	u.slowCopies("1")
	u.startSplit("demo", 8)
	u.eventually("children are being made", func() bool { return u.children(0) > 0 })
	config := u.config("demo")
	boss := c.leader()
	boss.mu.Lock() // the meta server answers nobody
	n := c.nodes[0]
	var p wire.Partition
	u.eventually("a partition is about to be registered", func() bool {
		for _, p = range config.Configs {
			if r := n.replica(p.PID); p.Primary.String() == c.nodeAt[0] && r != nil {
				r.mu.Lock()
				sealed := r.sealed
				r.mu.Unlock()
				if sealed {
					return true
				}
			}
		}
		return false
	})
	for i := range 40 {
		hash := fmt.Sprint("before", i)
		h := wire.Hash([]byte(hash), nil)
		if wire.PartitionOf(h, 4) != int(p.PID.Partition) {
			continue
		}
		if _, err := tryRow(u, c.nodeAt[0], &wire.Get, p.PID, h, key(hash, "s")); !errors.Is(err, rejection(wire.CodeSplitting)) {
			t.Errorf("a read is answered %v", err)
		}
		_, err := tryRow(u, c.nodeAt[0], &wire.Put, p.PID, h, wire.PutRequest{Key: key(hash, "other")})
		if !errors.Is(err, rejection(wire.CodeSplitting)) {
			t.Errorf("a write is answered %v", err)
		}
	}
	boss.mu.Unlock()
	u.slowCopies("500")
	u.splits("demo", 8)
	check(u)
	u.same("demo")
}

// A meta server that takes over goes on with a split, and knows nothing of its having been paused.
func TestSplitMetaDies(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	check := u.keep("demo", "before", 40, 10)
	release := u.hold("demo")
	u.startSplit("demo", 8)
	if code := u.controlSplit("demo", wire.SplitPause, 2); code != wire.OK {
		t.Fatal(code)
	}
	u.eventually("one is paused", func() bool {
		status, _ := u.splitStatus("demo")
		return status[2] == wire.SplitPaused
	})
	u.kill(c.metaAts[0])
	status, code := u.splitStatus("demo")
	if code != wire.OK || len(status) != 4 || status[2] != wire.SplitSplitting {
		t.Errorf("the next meta server has the split as %v, %s", status, code)
	}
	release()
	u.splits("demo", 8)
	check(u)
}
