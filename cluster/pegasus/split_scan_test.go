package pegasus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// splitBox is a box whose table can be split partition by partition, with servers that mind whose rows are whose.
type splitBox struct {
	*box
	*scans
	d *Driver
}

func newSplitBox(t *testing.T, partitions, rows int) *splitBox {
	b := newBox(t, partitions)
	b.spread = map[int]int{}
	for i := range rows {
		b.put(fmt.Sprint("h", i/5), fmt.Sprint("s", i%5), fmt.Sprint("v", i), 0)
	}
	s := &splitBox{b, newScans(b), open(t, 10*time.Second, b.meta.endpoint)}
	mind(s, &wire.GetScanner, s.open)
	mind(s, &wire.Scan, s.scan)
	return s
}

// mind makes a handler that refuses requests for rows which are in the other half by now.
func mind[Q, A any](s *splitBox, r *wire.RPC[Q, A], f func(wire.Header, *Q) *A) {
	s.node.handle(r.Name, func(_ *client, q *wire.Request) []byte {
		p := int(q.GPID.Partition)
		s.box.mu.Lock()
		n := s.spread[p]
		s.box.mu.Unlock()
		if n != 0 && int(q.PartitionHash%uint64(n)) != p {
			return wire.AppendRejection(nil, q.Name, q.Seq, wire.CodeParentMisused)
		}
		var args Q
		if err := r.DecodeArgs(q.Args, &args); err != nil {
			s.node.t.Errorf("%s: %v", r.Name, err)
			return nil
		}
		return r.AppendReply(nil, q.Seq, f(q.Header, &args))
	})
}

// split registers the children of some partitions. Scans of these go on without the rows that leave; scans.mu is held.
func (s *splitBox) split(parents ...int) {
	n := s.partitions
	s.box.mu.Lock()
	for _, p := range parents {
		s.spread[p], s.spread[p+n] = 2*n, 2*n
	}
	ready := maps.Clone(s.spread)
	s.box.mu.Unlock()
	s.configure(func(a *wire.QueryConfigResponse) {
		a.Partitions = int32(2 * n)
		for i := range n {
			child := wire.Partition{PID: wire.GPID{App: 2, Partition: int32(i + n)}, Ballot: -1}
			if ready[i] != 0 {
				child = a.Configs[i]
				child.PID.Partition += int32(n)
				child.Ballot++
			}
			a.Configs = append(a.Configs, child)
		}
	})
	for _, c := range s.contexts {
		if slices.Contains(parents, c.partition) {
			c.rows = slices.DeleteFunc(slices.Clone(c.rows), func(kv wire.KeyValue) bool {
				hash, sort, _ := wire.DecodeKey(kv.Key)
				return wire.PartitionOf(wire.Hash(hash, sort), 2*n) != c.partition
			})
		}
	}
}

// whole compares what came with all rows of the table.
func (s *splitBox) whole(t *testing.T, what string, got []string) {
	t.Helper()
	want := s.expectedRows()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d rows, %d of them once, of %d", what, len(got), len(slices.Compact(slices.Clone(got))), len(want))
	}
}

func (s *splitBox) expectedRows() []string {
	var all []string
	for _, kv := range s.sorted(-1, nil) {
		hash, sort, _ := wire.DecodeKey(kv.Key)
		all = append(all, fmt.Sprintf("%s %s %s", hash, sort, kv.Value))
	}
	slices.Sort(all)
	return all
}

func (s *splitBox) scanAll(t *testing.T, o ScanOptions) []string {
	t.Helper()
	rows := []string{}
	for row, err := range s.d.Scan(t.Context(), boxTable, o) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, fmt.Sprintf("%s %s %s", row.Hash, row.Sort, row.Value))
	}
	return rows
}

// A scan neither loses nor doubles rows, whenever partitions are split under it, and whatever else happens to it.
func TestScanThroughSplit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range 60 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		s := newSplitBox(t, 1<<r.IntN(3), 50+r.IntN(200))
		s.holes = r.IntN(3)
		moments := map[int][]int{} // after which answer which partitions are split
		for p := range s.partitions {
			if r.IntN(4) > 0 {
				moment := 1 + r.IntN(40)
				moments[moment] = append(moments[moment], p)
			}
		}
		for range 3 {
			s.forget[1+r.IntN(40)], s.incomplete[1+r.IntN(40)] = true, true
		}
		if r.IntN(3) == 0 { // some are split before
			s.split(r.IntN(s.partitions))
		}
		s.answered = func(n int) {
			if p := moments[n]; len(p) > 0 {
				s.split(p...)
			}
		}
		o := ScanOptions{Partition: -1, Batch: 1 + r.IntN(12)}
		what := fmt.Sprintf("seed %d, round %d", seed, round)
		if r.IntN(2) == 0 {
			s.whole(t, what, s.scanAll(t, o))
			continue
		}
		s.oldServer = r.IntN(2) == 0
		total, seen := int64(0), map[int]bool{}
		for count, err := range s.d.Count(t.Context(), boxTable, o) {
			if err != nil || seen[count.Partition] {
				t.Fatalf("%s: partition %d, %v", what, count.Partition, err)
			}
			total, seen[count.Partition] = total+count.Rows, true
			// One that was counted to its end before it was split has its child's rows, too.
			want, left := s.held(count.Partition)
			if n := int(count.Rows); n != want && n != want+left {
				t.Errorf("%s: partition %d has %d rows, and %d before it was split: counted %d", what, count.Partition, want, want+left, n)
			}
		}
		if want := int64(len(s.expectedRows())); total != want {
			t.Fatalf("%s: counted %d rows of %d", what, total, want)
		}
	}
}

// held is how many rows a partition has at this moment, and how many have left it in a split.
func (s *splitBox) held(partition int) (rows, left int) {
	s.scans.mu.Lock() // no split meanwhile
	defer s.scans.mu.Unlock()
	if partition < s.partitions {
		left = len(s.sorted(partition+s.partitions, nil))
	}
	return len(s.sorted(partition, nil)), left
}

// One partition is scanned with what leaves it; one whose child was there before is scanned alone.
func TestScanOfOnePartitionThroughSplit(t *testing.T) {
	s := newSplitBox(t, 2, 100)
	var want []string
	for _, kv := range s.sorted(1, nil) {
		hash, sort, _ := wire.DecodeKey(kv.Key)
		want = append(want, fmt.Sprintf("%s %s %s", hash, sort, kv.Value))
	}
	s.answered = func(n int) {
		if n == 4 {
			s.split(0, 1)
		}
	}
	got := s.scanAll(t, ScanOptions{Partition: 1, Batch: 3})
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d rows of %d", len(got), len(want))
	}
	if got := s.scanAll(t, ScanOptions{Partition: 1, Batch: 3}); len(got) != len(s.sorted(1, nil)) || len(got) == len(want) {
		t.Errorf("after the split: %d rows of %d", len(got), len(s.sorted(1, nil)))
	}
}

// The scan of a hash key goes on at the child, after the last row.
func TestHashScanThroughSplit(t *testing.T) {
	for i := range 8 {
		s := newSplitBox(t, 2, 100)
		hash := fmt.Sprint("h", i)
		s.answered = func(n int) {
			if n == 1 {
				s.split(0, 1)
			}
		}
		var sorts []string
		at := 0
		for row, err := range s.d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1, Batch: 2, HashKey: Filter{"exact", []byte(hash)}}) {
			if err != nil {
				t.Fatal(err)
			}
			sorts, at = append(sorts, string(row.Sort)), row.Partition
		}
		if want := []string{"s0", "s1", "s2", "s3", "s4"}; !slices.Equal(sorts, want) || at != wire.PartitionOf(wire.Hash([]byte(hash), nil), 4) {
			t.Errorf("%s: %q, at last in partition %d", hash, sorts, at)
		}
	}
}

// While a child is registered servers turn everything away; that is waited out, by writes too, without asking the meta
// server again and again.
func TestSplittingIsWaitedOut(t *testing.T) {
	for _, c := range []struct {
		code    string
		refresh bool
	}{{wire.CodeSplitting, false}, {wire.CodeParentMisused, true}, {wire.CodeChildNotReady, true}} {
		b := newBox(t, 1)
		d := open(t, 10*time.Second, b.meta.endpoint)
		if _, err := d.Set(t.Context(), boxTable, []byte("h"), nil, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
		asked := b.meta.calls(wire.QueryConfig.Name)
		refusals := 3
		puts := 0
		b.node.handle(wire.Put.Name, func(_ *client, q *wire.Request) []byte {
			b.mu.Lock()
			defer b.mu.Unlock()
			if refusals--; refusals >= 0 {
				return wire.AppendRejection(nil, q.Name, q.Seq, c.code)
			}
			puts++
			return wire.Put.AppendReply(nil, q.Seq, &wire.UpdateResponse{AppID: 2, Server: b.node.endpoint})
		})
		if _, err := d.Set(t.Context(), boxTable, []byte("h"), nil, []byte("w"), 0); err != nil {
			t.Fatal(c.code, err)
		}
		if again := b.meta.calls(wire.QueryConfig.Name) - asked; puts != 1 || (again > 0) != c.refresh {
			t.Errorf("%s: %d writes, the meta server was asked %d times more", c.code, puts, again)
		}
	}
	// A split that does not come to its end: the deadline ends the waiting, and nothing was done.
	b := newBox(t, 1)
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	b.node.reject(wire.Put.Name, wire.CodeSplitting)
	within(t, 5*time.Second, func() {
		_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, []byte("v"), 0)
		wantError(t, err, spec.Unavailable, wire.CodeSplitting, "being split")
	})
	if n := b.node.calls(wire.Put.Name); n < 2 {
		t.Errorf("the write was tried %d times", n)
	}
}
