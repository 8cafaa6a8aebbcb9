package sandbox

import (
	"reflect"
	"testing"

	"shardsh/commands/spec"
)

func TestParseSettings(t *testing.T) {
	kinds := []Kind{{System: "a"}, {System: "b"}}
	got, err := ParseSettings(kinds, "a.x=1", "a.y=", "b.x=p=q", "a.x=2")
	want := map[string]map[string]string{"a": {"x": "2", "y": ""}, "b": {"x": "p=q"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "a", "a.x", "x=1", "a.=1", "c.x=1"} {
		if got, err := ParseSettings(kinds, text); spec.KindOf(err) != spec.Usage {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}
