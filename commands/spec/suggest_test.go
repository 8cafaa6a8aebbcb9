package spec

import (
	"slices"
	"strings"
	"testing"
)

func TestSuggest(t *testing.T) {
	words := []string{"ls", "cc", "use", "nodes", "showtable", "showtablet", "cluster_info", "get", "set", "del", "表格"}
	for word, want := range map[string][]string{
		"shwotable":               {"showtable", "showtablet"},
		"showtabel":               {"showtable", "showtablet"},
		"showtable":               {"showtablet"},
		"Nodse":                   {"nodes"},
		"clusterifo":              {"cluster_info"},
		"sl":                      {"ls"},
		"lss":                     {"ls"},
		"gte":                     {"get"},
		"表":                       {"表格"},
		"xy":                      nil,
		"zzz":                     nil,
		"":                        nil,
		"drop":                    nil,
		strings.Repeat("a", 1000): nil,
	} {
		if got := Suggest(word, words); !slices.Equal(got, want) {
			t.Errorf("Suggest(%.20q) = %q, want %q", word, got, want)
		}
	}
	if got := Suggest("a", []string{"b", "b", "c", "d", "e"}); !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("at most three, each once: %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"ab", "ba", 1},
		{"kitten", "sitting", 3},
		{"abcd", "badc", 2},
	} {
		if got := distance([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance([]rune(tt.b), []rune(tt.a)); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
