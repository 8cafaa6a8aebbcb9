package cluster

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Copies is a partition and the live nodes that hold a copy of it.
type Copies struct {
	Table     string
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
			if !started || r.Table != c.Table || r.Partition != c.Partition {
				if started && !yield(c, nil) {
					return
				}
				c = Copies{Table: r.Table, Partition: r.Partition, Wanted: r.Wanted, Needed: max(r.Needed, 1)}
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
	// Losses are sets of Survives+1 nodes that must not fail together, the worst first; none when Survives is -1.
	Losses []Loss
	weak   []Copies
}

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
		r.Survives, r.weak = spare, nil
	}
	if spare == r.Survives {
		r.weak = append(r.weak, Copies{Table: c.Table, Partition: c.Partition, Live: slices.Sorted(slices.Values(c.Live))})
	}
}

// Finish works out the losses once every partition was added.
func (r *Risk) Finish() {
	if r.Partitions == 0 || r.Survives < 0 {
		r.weak = nil
		return
	}
	losses := map[string]*Loss{}
	for _, c := range r.weak {
		for nodes := range subsets(c.Live, r.Survives+1) {
			key := strings.Join(nodes, ",")
			l := losses[key]
			if l == nil {
				l = &Loss{Nodes: slices.Clone(nodes)}
				losses[key] = l
			}
			l.Count++
			l.Gone = l.Gone || len(c.Live) == len(nodes)
			if len(l.Partitions) < lossSamples {
				l.Partitions = append(l.Partitions, c.Name())
			}
		}
	}
	r.weak = nil
	for _, l := range losses {
		r.Losses = append(r.Losses, *l)
	}
	slices.SortFunc(r.Losses, func(a, b Loss) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), slices.Compare(a.Nodes, b.Nodes))
	})
}

// subsets yields the subsets of a size, in order; each is valid until the next.
func subsets(all []string, size int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		pick := make([]string, 0, size)
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
