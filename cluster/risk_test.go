package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func risk(partitions ...Copies) Risk {
	var r Risk
	for _, c := range partitions {
		r.Add(c)
	}
	r.Finish()
	return r
}

func TestRisk(t *testing.T) {
	three := Copies{Table: "T", Needed: 2, Live: []string{"c", "a", "b"}}
	two := Copies{Table: "T", Partition: 1, Needed: 2, Live: []string{"a", "c"}}
	for _, c := range []struct {
		name     string
		risk     Risk
		survives int
		worst    []string
		losses   int
		gone     bool
	}{
		{"any one of three", risk(three), 1, []string{"a", "b"}, 3, false},
		{"no one is left to spare", risk(three, two), 0, []string{"a"}, 2, false},
		{"one does not take writes", risk(three, Copies{Needed: 2, Live: []string{"a"}}), -1, nil, 0, false},
		{"a single copy", risk(Copies{Needed: 1, Live: []string{"a"}}), 0, []string{"a"}, 1, true},
	} {
		if c.risk.Survives != c.survives || len(c.risk.Losses) != c.losses {
			t.Errorf("%s: %+v", c.name, c.risk)
			continue
		}
		if c.losses > 0 && (!slices.Equal(c.risk.Losses[0].Nodes, c.worst) || c.risk.Losses[0].Gone != c.gone) {
			t.Errorf("%s: %+v", c.name, c.risk.Losses[0])
		}
	}
}

// TestLossesAreBounded: of many sets of nodes the worst few are listed, and all are counted.
func TestLossesAreBounded(t *testing.T) {
	var r Risk
	for p := range 600 {
		a, b := fmt.Sprintf("n%03d", p%300), fmt.Sprintf("n%03d", 300+p%300)
		r.Add(Copies{Table: "T", Partition: p, Needed: 2, Live: []string{b, a, "m"}})
	}
	r.Add(Copies{Table: "T", Partition: 600, Needed: 2, Live: []string{"n007", "m", "n307"}})
	r.Finish()
	if r.Survives != 1 || r.Sets != 900 || len(r.Losses) != MostLosses {
		t.Fatalf("survives %d, %d of %d sets", r.Survives, len(r.Losses), r.Sets)
	}
	want := []Loss{
		{Nodes: []string{"m", "n007"}, Partitions: []string{"T/7", "T/307", "T/600"}, Count: 3},
		{Nodes: []string{"m", "n307"}, Partitions: []string{"T/7", "T/307", "T/600"}, Count: 3},
		{Nodes: []string{"n007", "n307"}, Partitions: []string{"T/7", "T/307", "T/600"}, Count: 3},
		{Nodes: []string{"m", "n000"}, Partitions: []string{"T/0", "T/300"}, Count: 2},
	}
	if diff := cmp.Diff(want, r.Losses[:4]); diff != "" {
		t.Error(diff)
	}
}

// TestRiskAgainstTheDefinition tries every set of failing nodes on small random clusters.
func TestRiskAgainstTheDefinition(t *testing.T) {
	const seed = 20180824
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 300 {
		nodes := []string{"a", "b", "c", "d", "e"}[:2+random.IntN(4)]
		var all []Copies
		for p := range 1 + random.IntN(5) {
			live := slices.Clone(nodes)
			random.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
			all = append(all, Copies{Table: "T", Partition: p, Needed: 1 + random.IntN(2), Live: live[:random.IntN(len(live)+1)]})
		}
		got := risk(all...)
		want := -1
		for size := 0; size <= len(nodes) && survivesAll(all, nodes, size); size++ {
			want = size
		}
		want = min(want, got.Survives) // beyond the number of nodes there is nothing to fail
		if got.Survives != want {
			t.Fatalf("round %d of seed %d: %+v answers %d, want %d", round, seed, all, got.Survives, want)
		}
		for _, l := range got.Losses {
			if len(got.Losses) != got.Sets {
				t.Fatalf("round %d of seed %d: %d of %d sets", round, seed, len(got.Losses), got.Sets)
			}
			if broken := brokenBy(all, l.Nodes); len(broken) != l.Count {
				t.Fatalf("round %d of seed %d: %v breaks %v, not %d", round, seed, l.Nodes, broken, l.Count)
			}
		}
	}
}

func survivesAll(all []Copies, nodes []string, size int) bool {
	for set := range subsets(nodes, size) {
		if len(brokenBy(all, set)) > 0 {
			return false
		}
	}
	return true
}

func brokenBy(all []Copies, down []string) []string {
	var broken []string
	for _, c := range all {
		left := 0
		for _, n := range c.Live {
			if !slices.Contains(down, n) {
				left++
			}
		}
		if left < c.Needed {
			broken = append(broken, c.Name())
		}
	}
	return broken
}

func TestGroup(t *testing.T) {
	replicas := func(yield func(Replica, error) bool) {
		for _, r := range []Replica{
			{Table: "T", Partition: 0, Endpoint: "a", Alive: true, Leads: true, Wanted: 3, Needed: 2},
			{Table: "T", Partition: 0, Endpoint: "b", Alive: false, Wanted: 3, Needed: 2},
			{Table: "T", Partition: 0, Endpoint: "c", Alive: true, Wanted: 3, Needed: 2},
			{Table: "T", Partition: 1, Endpoint: "", Wanted: 3, Needed: 2},
			{Table: "U", Partition: 1, Endpoint: "c", Alive: true, Leads: true, Wanted: 1},
		} {
			if !yield(r, nil) {
				return
			}
		}
		yield(Replica{}, fmt.Errorf("lost"))
	}
	var got []Copies
	var last error
	for c, err := range Group(replicas, func(e string) bool { return e == "a" }) {
		if last = err; err == nil {
			got = append(got, c)
		}
	}
	want := []Copies{
		{Table: "T", Live: []string{"c"}, Wanted: 3, Needed: 2}, {Table: "T", Partition: 1, Wanted: 3, Needed: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" || last == nil {
		t.Error(diff, last)
	}
}
