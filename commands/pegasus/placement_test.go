package pegasus

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func TestMovesChosen(t *testing.T) {
	for name, c := range map[string]struct {
		word  string
		flags map[string]string
		args  []string
		want  string // what is proposed, or a part of the error
		undo  string
	}{
		"the lightest secondary": {"changeleader", nil, []string{"demo", "0"}, "move_pri 2.0 a:1 b:1", "changeleader demo 0 a:1"},
		"a secondary":            {"changeleader", nil, []string{"demo", "0", "c:1"}, "move_pri 2.0 a:1 c:1", "changeleader demo 0 a:1"},
		"the leader":             {"changeleader", nil, []string{"demo", "0", "a:1"}, "nothing", ""},
		"no secondary":           {"changeleader", nil, []string{"demo", "2"}, "no live secondary", ""},
		"no replica":             {"changeleader", nil, []string{"demo", "1", "a:1"}, "migrate demo 1 b:1 a:1", ""},
		"no primary":             {"changeleader", nil, []string{"demo", "3"}, "has no primary", ""},
		"a dead node":            {"changeleader", nil, []string{"demo", "0", "d:1"}, "not alive", ""},
		"an unknown node":        {"changeleader", nil, []string{"demo", "0", "x:1"}, "no node is called", ""},
		"a primary migrates":     {"migrate", nil, []string{"demo", "1", "b:1", "a:1"}, "replace_pri 2.1 b:1 a:1", "migrate demo 1 a:1 b:1"},
		"a secondary migrates":   {"migrate", nil, []string{"demo", "1", "c:1", "a:1"}, "copy_sec 2.1 c:1 a:1", "migrate demo 1 a:1 c:1"},
		"it is there":            {"migrate", nil, []string{"demo", "0", "a:1", "b:1"}, "changeleader demo 0 b:1", ""},
		"it has moved":           {"migrate", nil, []string{"demo", "2", "b:1", "c:1"}, "nothing", ""},
		"to itself":              {"migrate", nil, []string{"demo", "0", "a:1", "a:1"}, "same node", ""},
		"from nowhere":           {"migrate", nil, []string{"demo", "2", "a:1", "b:1"}, "no replica on a:1", ""},
		"no such partition":      {"migrate", nil, []string{"demo", "4", "a:1", "b:1"}, "no partition 4", ""},
		"no such table":          {"migrate", nil, []string{"gone", "0", "a:1", "b:1"}, "no table gone", ""},
		"move_pri":               {"balance", map[string]string{"gpid": "2.0", "type": "move_pri", "from": "a:1", "to": "b:1"}, nil, "move_pri 2.0 a:1 b:1", "balance -g 2.0 -p move_pri -f b:1 -t a:1"},
		"copy_pri":               {"balance", map[string]string{"gpid": "2.1", "type": "copy_pri", "from": "b:1", "to": "a:1"}, nil, "copy_pri 2.1 b:1 a:1", "balance -g 2.1 -p copy_pri -f a:1 -t b:1"},
		"the wrong kind":         {"balance", map[string]string{"gpid": "2.1", "type": "copy_sec", "from": "b:1", "to": "a:1"}, nil, "not copy_sec but copy_pri", ""},
		"a bad gpid":             {"balance", map[string]string{"gpid": "2", "type": "copy_sec", "from": "b:1", "to": "a:1"}, nil, "is no partition", ""},
		"an unknown id":          {"balance", map[string]string{"gpid": "9.0", "type": "copy_sec", "from": "b:1", "to": "a:1"}, nil, "no table in use has the id 9", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			p, err := f.plan(t, c.word, c.flags, c.args...)
			switch {
			case err != nil:
				if !strings.Contains(err.Error()+spec.HintOf(err), c.want) {
					t.Fatalf("%v, hint %s", err, spec.HintOf(err))
				}
			case len(p.Steps) == 0:
				if c.want != "nothing" {
					t.Fatal("nothing to do")
				}
			default:
				if s := state(t, p); s.Kind != spec.Todo {
					t.Fatalf("%+v", s)
				}
				if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
					t.Fatal(err)
				}
				if len(f.place.proposed) != 1 || f.place.proposed[0] != c.want || p.Steps[0].Undo != c.undo || len(p.Steps) != 2 {
					t.Errorf("proposed %v, undo %q, %d steps", f.place.proposed, p.Steps[0].Undo, len(p.Steps))
				}
			}
		})
	}
}

func TestMoveChecks(t *testing.T) {
	f := newFake()
	p, err := f.plan(t, "changeleader", nil, "demo", "0", "b:1")
	if err != nil {
		t.Fatal(err)
	}
	f.place.level = "freezed"
	if s := state(t, p); s.Kind != spec.Blocked || !strings.Contains(s.Why, "set_meta_level steady") {
		t.Errorf("freezed: %+v", s)
	}
	f.place.level = "lively"
	f.partitions["demo"][0] = partition(0, "c:1", "a:1", "b:1")
	if s := state(t, p); s.Kind != spec.Blocked || !strings.Contains(s.Why, "has changed") {
		t.Errorf("another primary by now: %+v", s)
	}
	f.partitions["demo"][0] = partition(0, "b:1", "a:1", "c:1")
	if s := state(t, p); s.Kind != spec.Done {
		t.Errorf("done: %+v", s)
	}
}

// The wait shows a learner, and ends when the old replica is gone.
func TestMigrateWaits(t *testing.T) { synctest.Test(t, migrateWaits) }

func migrateWaits(t *testing.T) {
	f := newFake()
	f.partitions["demo"][1] = partition(1, "b:1", "c:1")
	p, err := f.plan(t, "migrate", nil, "demo", "1", "c:1", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	f.place.heldOn = map[string][]driver.HeldReplica{"a:1": {{AppID: 2, Partition: 1, Status: "POTENTIAL_SECONDARY", Committed: 17}}}
	var details []string
	f.polls = func(n int) ([]driver.Partition, error) {
		now := map[int]driver.Partition{1: partition(1, "b:1", "c:1"), 3: partition(1, "b:1", "c:1", "a:1")}[n]
		if n == 2 {
			return nil, &spec.Error{Kind: spec.Unavailable}
		}
		if n > 3 {
			now = partition(1, "b:1", "a:1")
		}
		return []driver.Partition{now}, nil
	}
	r := &report{}
	wait := p.Steps[1]
	if err := wait.Apply(t.Context(), reporter{r, &details}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ballot 3, primary b:1, secondaries [c:1]; a:1 is learning, at decree 17",
		"ballot 3, primary b:1, secondaries [c:1,a:1]", "ballot 3, primary b:1, secondaries [a:1]",
	}
	if diff := cmp.Diff(want, details); diff != "" {
		t.Error(diff)
	}
}

// reporter keeps every detail.
type reporter struct {
	*report
	all *[]string
}

func (r reporter) Detail(format string, args ...any) {
	r.report.Detail(format, args...)
	*r.all = append(*r.all, r.detail)
}

// A primary that does not move is given up after a minute; nothing tells that a proposal was forgotten.
func TestMoveIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := newFake().plan(t, "changeleader", nil, "demo", "0")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = p.Steps[1].Apply(t.Context(), &report{})
		if spec.KindOf(err) != spec.Unavailable || time.Since(start) < time.Minute || !strings.Contains(err.Error(), "primary a:1") {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestProposeClasses(t *testing.T) {
	for name, c := range map[string]struct {
		gpid, kind, node string
		class            spec.Class
		blocked          bool
		sent             string
	}{
		"one more":          {"2.1", "ADD_SECONDARY", "a:1", spec.Alter, false, "ADD_SECONDARY 2.1 b:1 a:1 false"},
		"one less":          {"2.0", "DOWNGRADE_TO_INACTIVE", "c:1", spec.Risky, false, "DOWNGRADE_TO_INACTIVE 2.0 a:1 c:1 false"},
		"the last one":      {"2.2", "DOWNGRADE_TO_INACTIVE", "c:1", spec.Risky, true, "DOWNGRADE_TO_INACTIVE 2.2 c:1 c:1 false"},
		"a primary chosen":  {"2.3", "ASSIGN_PRIMARY", "b:1", spec.Destroy, false, "ASSIGN_PRIMARY 2.3 b:1 b:1 false"},
		"a primary stopped": {"2.0", "DOWNGRADE_TO_SECONDARY", "a:1", spec.Risky, false, "DOWNGRADE_TO_SECONDARY 2.0 a:1 a:1 false"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			p, err := f.plan(t, "propose", map[string]string{"gpid": c.gpid, "type": c.kind, "node": c.node})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
				t.Fatal(err)
			}
			if p.Class() != c.class || len(p.Blockers) > 0 != c.blocked || !slices.Equal(f.place.proposed, []string{c.sent}) || p.Name != "demo" {
				t.Errorf("class %s, blockers %v, proposed %v", p.Class(), p.Blockers, f.place.proposed)
			}
		})
	}
	if _, err := newFake().plan(t, "propose", map[string]string{"gpid": "2.3", "type": "REMOVE", "node": "a:1"}); spec.KindOf(err) != spec.Refused {
		t.Errorf("nobody can carry it out: %v", err)
	}
	p, err := newFake().plan(t, "propose", map[string]string{"gpid": "2.0", "type": "REMOVE", "node": "c:1", "f": "true"})
	if err != nil || p.Class() != spec.Risky {
		t.Errorf("by force: %v", err)
	}
}

func TestNodesByTheirEnds(t *testing.T) {
	set := nodeSet{"10.0.0.31:34801": true, "10.0.0.32:34801": true, "10.0.1.32:34801": true, "h:1": false}
	for text, want := range map[string]string{
		".31": "10.0.0.31:34801", ".31:34801": "10.0.0.31:34801", "10.0.0.32:34801": "10.0.0.32:34801",
		".32": "may be any of", "31": "no node", ":1": "not alive",
	} {
		got, err := set.findAlive(text)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if got, err := set.find("h"); got != "h:1" || err != nil {
		t.Errorf("a dead node is %q, %v", got, err)
	}
}

func TestSetMetaLevel(t *testing.T) {
	for _, c := range []struct {
		was, to string
		class   spec.Class
		undo    string
	}{
		{"steady", "freezed", spec.Risky, "set_meta_level steady"},
		{"lively", "stopped", spec.Risky, "set_meta_level lively"},
		{"freezed", "lively", spec.Alter, "set_meta_level freezed"},
		{"freezed", "blind", spec.Alter, "set_meta_level freezed"},
		{"steady", "steady", spec.Alter, ""},
		{"123", "freezed", spec.Alter, ""},
	} {
		f := newFake()
		f.place.level = c.was
		p, err := f.plan(t, "set_meta_level", nil, c.to)
		if err != nil {
			t.Fatal(err)
		}
		if p.Class() != c.class || p.Steps[0].Undo != c.undo || (state(t, p).Kind == spec.Done) != (c.was == c.to) {
			t.Errorf("%s to %s: class %s, undo %q", c.was, c.to, p.Class(), p.Steps[0].Undo)
		}
		r := &report{}
		if err := p.Steps[0].Apply(t.Context(), r); err != nil || f.place.level != c.to || !strings.HasSuffix(r.detail, c.was) {
			t.Errorf("%v, %q, level %s", err, r.detail, f.place.level)
		}
		if state(t, p).Kind != spec.Done {
			t.Error("not done after it was set")
		}
	}
}
