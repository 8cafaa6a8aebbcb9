package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// writeThroughSplit writes rows of a hash key wherever its partition is, until the servers are gone, and counts those
// that were acknowledged.
func (u *user) writeThroughSplit(hash string, acked *atomic.Int64) {
	h := wire.Hash([]byte(hash), nil)
	for {
		n := acked.Load()
		config, err := try(u, u.metas, &wire.QueryConfig, wire.GPID{}, wire.QueryConfigRequest{AppName: "demo"})
		if err != nil {
			return
		}
		p := config.Configs[wire.PartitionOf(h, int(config.Partitions))]
		if p.Ballot < 0 {
			p = config.Configs[p.PID.Partition-config.Partitions/2]
		}
		q := wire.PutRequest{Key: key(hash, fmt.Sprintf("w%06d", n)), Value: fmt.Append(nil, "value ", n)}
		a, err := tryRow(u, p.Primary.String(), &wire.Put, p.PID, h, q)
		var rejected rejection
		switch {
		case err == nil && a.Error == 0:
			acked.Add(1)
		case err != nil && !errors.As(err, &rejected):
			return
		}
	}
}

// grown says whether all counts have grown by so much since it was called.
func grown(counts []atomic.Int64, by int64) func() bool {
	from := make([]int64, len(counts))
	for i := range counts {
		from[i] = counts[i].Load()
	}
	return func() bool {
		for i := range counts {
			if counts[i].Load() < from[i]+by {
				return false
			}
		}
		return true
	}
}

// nodesOf lists the replica servers of a sandbox in another process.
func (u *user) nodesOf() (endpoints []string) {
	for _, n := range ask(u, &wire.ListNodes, wire.ListNodesRequest{}).Nodes {
		endpoints = append(endpoints, n.Node.String())
	}
	return endpoints
}

// copying says whether some node holds the child of a split.
func (u *user) copying() bool {
	u.t.Helper()
	for _, endpoint := range u.nodesOf() {
		a, err := try(u, endpoint, &wire.QueryReplicaInfo, wire.GPID{}, wire.QueryNodeRequest{})
		if err == nil && slices.ContainsFunc(a.Replicas, func(r wire.ReplicaInfo) bool { return r.Status == wire.ReplicaPartitionSplit }) {
			return true
		}
	}
	return false
}

// The whole sandbox is killed while a table is split: while rows are copied, and when some children are registered and
// others are not. It goes on where it was, and has every row that was acknowledged.
func TestSplitSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/d"
	const writers = 3
	var acked [writers]atomic.Int64
	var check func(*user)
	partitions := int32(4)
	for round := range 3 {
		p := startProcess(t, dir)
		u := newUser(t, &cluster{metaAts: []string{p.address}})
		u.metas = firstOf(p.address)
		u.healthy("demo")
		if check == nil {
			check = u.keep("demo", "before", 150, 10_000)
		}
		u.c.nodeAt = u.nodesOf()
		u.slowCopies("1")
		var wrote sync.WaitGroup
		for i := range writers {
			w := newUser(t, u.c)
			w.metas = u.metas
			wrote.Go(func() { w.writeThroughSplit(fmt.Sprint("hash", i), &acked[i]) })
		}
		u.eventually("rows are written before", grown(acked[:], 20))
		partitions *= 2
		u.startSplit("demo", partitions)
		if round == 1 {
			u.slowCopies("20")
			u.eventually("some children are registered", func() bool {
				status, _ := u.splitStatus("demo")
				return len(status) < int(partitions/2)
			})
		} else {
			u.eventually("children are being made", u.copying)
		}
		u.eventually("rows are written meanwhile", grown(acked[:], 5))
		p.kill()
		wrote.Wait()
		p = startProcess(t, dir)
		u = newUser(t, &cluster{metaAts: []string{p.address}})
		u.splits("demo", partitions)
		check(u)
		for i := range acked {
			n := acked[i].Load()
			for k := range n {
				if got, status := u.get("demo", fmt.Sprint("hash", i), fmt.Sprintf("w%06d", k)); status != 0 || got != fmt.Sprint("value ", k) {
					t.Fatalf("round %d: row %d of %d acknowledged is %q, status %d", round, k, n, got, status)
				}
			}
		}
		t.Logf("round %d: %d rows, and more", round, acked[0].Load())
		p.kill()
	}
}

func firstOf(metas string) string {
	for i := range metas {
		if metas[i] == ',' {
			return metas[:i]
		}
	}
	return metas
}
