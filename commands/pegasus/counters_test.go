package pegasus

import "testing"

func TestTally(t *testing.T) {
	sums := tally{"hits": 3, "total": 4, "zero": 0}
	sums.add(tally{"hits": 3, "total": 4})
	if got := sums.sum("hits", 2); got != 3.0 {
		t.Errorf("a sum is %v", got)
	}
	if got := sums.sum("misses", 1); got != nil {
		t.Errorf("what nobody counts is %v", got)
	}
	for _, c := range []struct {
		of, by []string
		want   any
	}{
		{[]string{"hits"}, []string{"total"}, 0.75},
		{[]string{"total", "-hits"}, []string{"total"}, 0.25},
		{[]string{"hits"}, []string{"zero"}, nil},
		{[]string{"hits"}, []string{"nothing"}, nil},
		{[]string{"-nothing"}, []string{"total"}, nil},
	} {
		if got := sums.ratio(c.of, c.by); got != c.want {
			t.Errorf("%v by %v is %v", c.of, c.by, got)
		}
	}
}

func TestLongestPart(t *testing.T) {
	for pattern, want := range map[string]string{"": "", "get_qps": "get_qps", "*get_qps*": "get_qps", "replica*server*": "replica", "a?bcd": "bcd", "**": ""} {
		if got := longestPart(pattern); got != want {
			t.Errorf("%q has %q", pattern, got)
		}
	}
}

func TestQuoteAll(t *testing.T) {
	got := quoteAll([]string{"10.0.0.1:1,10.0.0.2:1", "", "a b", "\x1b[2J"})
	for i, want := range []string{"10.0.0.1:1,10.0.0.2:1", `""`, `"a b"`, `"\x1b[2J"`} {
		if got[i] != want {
			t.Errorf("it is %s", got[i])
		}
	}
}
