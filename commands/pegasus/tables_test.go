package pegasus

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func TestRecallAndRename(t *testing.T) {
	fresh := func() *fake {
		f := newFake()
		f.apps = append(f.apps,
			driver.App{ID: 5, Name: "demo", Status: "DROPPED", Partitions: 1, Replicas: 3, Expires: time.Now().Add(time.Hour)},
			driver.App{ID: 6, Name: "late", Status: "DROPPED", Partitions: 1, Replicas: 3, Expires: time.Now().Add(-time.Hour)},
			driver.App{ID: 7, Name: "other", Status: "AVAILABLE", Partitions: 1, Replicas: 3})
		return f
	}
	for name, c := range map[string]struct {
		word  string
		args  []string
		kind  spec.StateKind
		why   string // or what the error says
		undo  string
		class spec.Class
	}{
		"its name is free":        {"recall", []string{"1"}, spec.Todo, "", "drop gone", spec.Alter},
		"its name is taken":       {"recall", []string{"5"}, spec.Blocked, "belongs to table 2", "drop demo", spec.Alter},
		"under another name":      {"recall", []string{"5", "demo5"}, spec.Todo, "", "drop demo5", spec.Alter},
		"another name, taken too": {"recall", []string{"5", "other"}, spec.Blocked, "belongs to table 7", "drop other", spec.Alter},
		"too late":                {"recall", []string{"6"}, spec.Blocked, "ran out", "drop late", spec.Alter},
		"it is there":             {"recall", []string{"7"}, spec.Done, "available", "drop other", spec.Alter},
		"there, called otherwise": {"recall", []string{"7", "x"}, spec.Blocked, "called other", "drop x", spec.Alter},
		"never there":             {"recall", []string{"9"}, 0, "no table has the id 9", "", 0},
		"no id":                   {"recall", []string{"0"}, 0, "no id", "", 0},
		"a bad name":              {"recall", []string{"1", "a b"}, 0, "no name for a table", "", 0},
		"rename":                  {"rename", []string{"demo", "new"}, spec.Todo, "", "rename new demo", spec.Risky},
		"rename to what is there": {"rename", []string{"demo", "other"}, spec.Blocked, "called other already", "rename other demo", spec.Risky},
		"rename to itself":        {"rename", []string{"demo", "demo"}, 0, "the same", "", 0},
		"rename nothing":          {"rename", []string{"gone", "new"}, 0, "no table gone", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := fresh().plan(t, c.word, nil, c.args...)
			if err != nil {
				if c.undo != "" || !strings.Contains(err.Error(), c.why) {
					t.Fatal(err)
				}
				return
			}
			s := state(t, p)
			if s.Kind != c.kind || !strings.Contains(s.Why, c.why) || p.Steps[0].Undo != c.undo || p.Class() != c.class {
				t.Fatalf("%+v, undo %q, class %s", s, p.Steps[0].Undo, p.Class())
			}
			if c.kind != spec.Todo {
				return
			}
			if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
				t.Fatal(err)
			}
			if s := state(t, p); s.Kind != spec.Done {
				t.Errorf("read back: %+v", s)
			}
		})
	}
}

// What was dropped can be had back: the line that undoes it names the table by its id.
func TestDropIsUndoneByRecall(t *testing.T) {
	f := newFake()
	p, err := f.plan(t, "drop", nil, "demo")
	if err != nil || p.Steps[0].Undo != "recall 2" {
		t.Fatalf("%v, %q", err, p.Steps[0].Undo)
	}
}

func TestSetReplicaCount(t *testing.T) {
	for _, c := range []struct {
		count string
		class spec.Class
		kind  spec.StateKind
		undo  string
	}{
		{"2", spec.Destroy, spec.Todo, "set_replica_count demo 3"},
		{"3", spec.Alter, spec.Done, ""},
		{"4", spec.Risky, spec.Blocked, "set_replica_count demo 3"}, // three nodes are alive
	} {
		f := newFake()
		p, err := f.plan(t, "set_replica_count", nil, "demo", c.count)
		if err != nil {
			t.Fatal(err)
		}
		if s := state(t, p); s.Kind != c.kind || p.Class() != c.class || p.Name != "demo" || p.Steps[0].Undo != c.undo {
			t.Errorf("to %s: %+v, class %s, undo %q", c.count, s, p.Class(), p.Steps[0].Undo)
		}
	}
	for _, bad := range []string{"0", "6", "-1"} {
		if _, err := newFake().plan(t, "set_replica_count", nil, "demo", bad); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestSetReplicaCountWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p, err := f.plan(t, "set_replica_count", nil, "demo", "2")
		if err != nil {
			t.Fatal(err)
		}
		two := func(members ...string) driver.Partition {
			q := partition(0, members...)
			q.MaxReplicas = 2
			return q
		}
		f.polls = func(n int) ([]driver.Partition, error) {
			return map[int][]driver.Partition{
				1: {partition(0, "a:1", "b:1"), two("a:1", "b:1")}, 2: {two("a:1", "b:1", "c:1"), two("a:1", "b:1")},
				3: {two("", "b:1"), two("a:1", "b:1")}, 4: {two("a:1", "b:1"), two("a:1", "b:1")},
			}[n], nil
		}
		r := &report{}
		if err := p.Steps[1].Apply(t.Context(), r); err != nil || f.polled != 4 || r.detail != "2 of 2 have" {
			t.Errorf("%v after %d polls, %q", err, f.polled, r.detail)
		}
	})
}

func TestClearAppEnvs(t *testing.T) {
	for _, c := range []struct {
		flags map[string]string
		left  int
		class spec.Class
		undo  string
	}{
		{map[string]string{"all": "true"}, 0, spec.Risky, ""}, // one value cannot be written plainly
		{map[string]string{"prefix": "business"}, 1, spec.Alter, ""},
		{map[string]string{"prefix": "rocksdb."}, 2, 0, ""},
	} {
		f := newFake()
		p, err := f.plan(t, "clear_app_envs", c.flags)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Steps {
			if err := s.Apply(t.Context(), &report{}); err != nil || s.Undo != c.undo || state(t, p).Kind != spec.Done {
				t.Errorf("%v: %v, undo %q", c.flags, err, s.Undo)
			}
		}
		if len(f.apps[0].Envs) != c.left || p.Class() != c.class {
			t.Errorf("%v: %v left, class %s", c.flags, f.apps[0].Envs, p.Class())
		}
	}
	for _, flags := range []map[string]string{nil, {"all": "true", "prefix": "x"}} {
		if _, err := newFake().plan(t, "clear_app_envs", flags); spec.KindOf(err) != spec.Usage {
			t.Errorf("%v: %v", flags, err)
		}
	}
}
