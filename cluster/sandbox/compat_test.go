package sandbox

import (
	"maps"
	"testing"

	"shardsh/commands/spec"
)

func TestParseCompat(t *testing.T) {
	kinds := []Kind{
		{System: "pegasus", Compat: []string{"2.5", "2.6"}},
		{System: "openmldb", Compat: []string{"2022", "2018"}},
		{System: "other", Compat: []string{"2.6"}},
		{System: "plain"},
	}
	for _, tt := range []struct {
		texts []string
		want  Compat
	}{
		{nil, Compat{}},
		{[]string{""}, Compat{}},
		{[]string{"2018"}, Compat{"openmldb": "2018"}},
		{[]string{"pegasus=2.6", "2018"}, Compat{"pegasus": "2.6", "openmldb": "2018"}},
		{[]string{" pegasus=2.6, other=2.6 ,"}, Compat{"pegasus": "2.6", "other": "2.6"}},
		{[]string{"pegasus=2.6", "pegasus=2.5"}, Compat{"pegasus": "2.5"}},
	} {
		got, err := ParseCompat(kinds, tt.texts...)
		if err != nil || !maps.Equal(got, tt.want) {
			t.Errorf("%q: %v, %v", tt.texts, got, err)
		}
	}
	for text, hint := range map[string]string{
		"2.6":           "write pegasus=2.6",
		"2.7":           "releases: pegasus=2.5, pegasus=2.6, openmldb=2022, openmldb=2018, other=2.6",
		"pegasus=2018":  "releases: pegasus=2.5, pegasus=2.6",
		"plain=1":       "",
		"nobody=1":      "",
		"pegasus=":      "releases: pegasus=2.5, pegasus=2.6",
		"=2.6":          "write pegasus=2.6",
		"2018,2.9=junk": "",
	} {
		if got, err := ParseCompat(kinds, text); spec.KindOf(err) != spec.Usage || spec.HintOf(err) != hint {
			t.Errorf("%q: %v, %v, hint %q", text, got, err, spec.HintOf(err))
		}
	}
}
