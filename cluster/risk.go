package cluster

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Copies is a partition and the live nodes that hold a copy of it.
type Copies struct {
	Table     string // its full name
	Partition int
	Leader    string // "" when it has none, or when its node is down
	Live      []string
	Wanted    int
	Needed    int // copies that must live for the partition to take writes
}

// Name is how people write a partition: `flow/0`.
func (c Copies) Name() string { return fmt.Sprintf("%s/%d", c.Table, c.Partition) }

// Group gathers replicas, which come in order of table and partition, into partitions. Nodes for which down answers
// true count as dead.
func Group(replicas iter.Seq2[Replica, error], down func(endpoint string) bool) iter.Seq2[Copies, error] {
	return func(yield func(Copies, error) bool) {
		var c Copies
		started := false
		for r, err := range replicas {
			if err != nil {
				yield(Copies{}, err)
				return
			}
			if !started || r.FullName() != c.Table || r.Partition != c.Partition {
				if started && !yield(c, nil) {
					return
				}
				c = Copies{Table: r.FullName(), Partition: r.Partition, Wanted: r.Wanted, Needed: max(r.Needed, 1)}
				started = true
			}
			if r.Endpoint == "" || !r.Alive || down(r.Endpoint) {
				continue
			}
			c.Live = append(c.Live, r.Endpoint)
			if r.Leads {
				c.Leader = r.Endpoint
			}
		}
		if started {
			yield(c, nil)
		}
	}
}

// Risk is what may still fail.
type Risk struct {
	Partitions int
	// Survives is how many nodes, whichever they are, may fail together while every partition still takes writes. It
	// is -1 when one does not even now, and without meaning when there are no partitions.
	Survives int
	// Losses are sets of Survives+1 nodes that must not fail together, the worst first and MostLosses of them at most;
	// none when Survives is -1.
	Losses []Loss
	// Sets is how many such sets there are, listed or not: up to 124,750 in a cluster of 500 nodes.
	Sets int

	numbers map[string]int32 // of nodes, in the order they came
	weak    []weak
	live    []int32 // the nodes of all that is weak, one after the other
}

// weak is a partition that has no more to spare than any other. Its nodes end at Risk.live[end].
type weak struct {
	table     string
	partition int
	end       int
}

// MostLosses bounds Risk.Losses.
const MostLosses = 10

// Loss is what the failure of some nodes together would cost.
type Loss struct {
	Nodes      []string
	Partitions []string // the first few by name
	Count      int      // all of them
	Gone       bool     // some would have no live copy at all, instead of just not taking writes
}

// lossSamples is how many partitions a Loss names.
const lossSamples = 5

// Add takes a partition into account.
func (r *Risk) Add(c Copies) {
	spare := max(len(c.Live)-c.Needed, -1)
	if r.Partitions++; r.Partitions == 1 || spare < r.Survives {
		r.Survives, r.weak, r.live = spare, nil, nil
	}
	if spare != r.Survives || spare < 0 {
		return
	}
	if r.numbers == nil {
		r.numbers = map[string]int32{}
	}
	for _, node := range c.Live {
		n, known := r.numbers[node]
		if !known {
			n = int32(len(r.numbers))
			r.numbers[node] = n
		}
		r.live = append(r.live, n)
	}
	r.weak = append(r.weak, weak{c.Table, c.Partition, len(r.live)})
}

// tally counts the partitions that a set of nodes would cost. The sets are told apart by their nodes' numbers.
type tally struct {
	nodes   string
	count   int
	gone    bool
	samples [lossSamples]int32 // indices of Risk.weak
}

// Finish works out the losses once every partition was added.
func (r *Risk) Finish() {
	nodes := r.byName()
	tallies := r.tallies()
	r.Sets = len(tallies)
	worse := func(a, b *tally) int { return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.nodes, b.nodes)) }
	var worst []*tally
	for i := range tallies {
		t := &tallies[i]
		if len(worst) == MostLosses && worse(t, worst[MostLosses-1]) > 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(worst, t, worse)
		worst = slices.Insert(worst, at, t)
		worst = worst[:min(len(worst), MostLosses)]
	}
	for _, t := range worst {
		l := Loss{Count: t.count, Gone: t.gone}
		for b := []byte(t.nodes); len(b) > 0; b = b[4:] {
			l.Nodes = append(l.Nodes, nodes[binary.BigEndian.Uint32(b)])
		}
		for _, i := range t.samples[:min(t.count, lossSamples)] {
			w := r.weak[i]
			l.Partitions = append(l.Partitions, Copies{Table: w.table, Partition: w.partition}.Name())
		}
		r.Losses = append(r.Losses, l)
	}
	r.numbers, r.weak, r.live = nil, nil, nil
}

// byName renumbers the nodes in the order of their names, which it answers.
func (r *Risk) byName() []string {
	names := slices.Sorted(maps.Keys(r.numbers))
	now := make([]int32, len(names))
	for i, name := range names {
		now[r.numbers[name]] = int32(i)
	}
	for i, n := range r.live {
		r.live[i] = now[n]
	}
	return names
}

func (r *Risk) tallies() []tally {
	var all []tally
	known := map[string]int32{}
	var key []byte
	start := 0
	for i, w := range r.weak {
		live := r.live[start:w.end]
		start = w.end
		slices.Sort(live)
		for nodes := range subsets(live, r.Survives+1) {
			key = key[:0]
			for _, n := range nodes {
				key = binary.BigEndian.AppendUint32(key, uint32(n))
			}
			at, seen := known[string(key)]
			if !seen {
				at = int32(len(all))
				all = append(all, tally{nodes: string(key)})
				known[all[at].nodes] = at
			}
			t := &all[at]
			if t.count < lossSamples {
				t.samples[t.count] = int32(i)
			}
			t.count++
			t.gone = t.gone || len(live) == len(nodes)
		}
	}
	return all
}

// subsets yields the subsets of a size, in order; each is valid until the next.
func subsets[T any](all []T, size int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		pick := make([]T, 0, size)
		var walk func(from int) bool
		walk = func(from int) bool {
			if len(pick) == size {
				return yield(pick)
			}
			for i := from; i <= len(all)-(size-len(pick)); i++ {
				pick = append(pick, all[i])
				ok := walk(i + 1)
				pick = pick[:len(pick)-1]
				if !ok {
					return false
				}
			}
			return true
		}
		walk(0)
	}
}
