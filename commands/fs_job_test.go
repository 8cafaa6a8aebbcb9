package commands

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCopyState(t *testing.T) {
	for range 200 {
		const n = 60
		var s copyState
		want := make([]bool, n)
		for _, i := range rand.Perm(n)[:rand.IntN(n+1)] {
			s.add(i)
			s.add(i)
			want[i] = true
			if got := s.has(n); !slices.Equal(got, want) {
				t.Fatalf("after %d it is %v", i, s.Done)
			}
			for j, r := range s.Done {
				if r[0] >= r[1] || j > 0 && s.Done[j-1][1] >= r[0] {
					t.Fatalf("the ranges are %v", s.Done)
				}
			}
		}
	}
	// What a journal holds is not believed beyond the files there are.
	hostile := copyState{Done: [][2]int{{-5, 2}, {3, 1 << 40}, {9, 1}}}
	if got := hostile.has(5); !slices.Equal(got, []bool{true, true, false, true, true}) {
		t.Errorf("it has %v", got)
	}
}
