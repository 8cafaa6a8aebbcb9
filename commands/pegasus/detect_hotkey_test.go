package pegasus

import (
	"slices"
	"strings"
	"testing"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func hotFlags(action string, more ...string) map[string]string {
	flags := map[string]string{"app-name": "demo", "partition-index": "0", "hotkey-type": "read", "detect-action": action}
	for i := 0; i+1 < len(more); i += 2 {
		flags[more[i]] = more[i+1]
	}
	return flags
}

func TestDetectHotkey(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		now   driver.Hotkey
		asked string
		state spec.StateKind
		undo  string
	}{
		"start": {hotFlags("start"), driver.Hotkey{State: "STOPPED"}, "start read 2.0 a:1", spec.Todo, "detect_hotkey -a demo -p 0 -t read -c stop -d a:1"},
		"start elsewhere": {
			hotFlags("start", "address", "b:1", "hotkey-type", "write"), driver.Hotkey{}, "start write 2.0 b:1", spec.Todo, "detect_hotkey -a demo -p 0 -t write -c stop -d b:1",
		},
		"by id":                 {hotFlags("start", "app-name", "2"), driver.Hotkey{State: "STOPPED"}, "start read 2.0 a:1", spec.Todo, "detect_hotkey -a demo -p 0 -t read -c stop -d a:1"},
		"start what runs":       {hotFlags("start"), driver.Hotkey{State: "FINE_DETECTING"}, "", spec.Done, ""},
		"start what has found":  {hotFlags("start"), driver.Hotkey{State: "FINISHED", Found: true, Key: []byte("k\x00")}, "", spec.Blocked, ""},
		"stop":                  {hotFlags("stop"), driver.Hotkey{State: "COARSE_DETECTING"}, "stop read 2.0 a:1", spec.Todo, ""},
		"stop what has found":   {hotFlags("stop"), driver.Hotkey{State: "FINISHED", Found: true}, "stop read 2.0 a:1", spec.Todo, ""},
		"stop what is not told": {hotFlags("stop"), driver.Hotkey{}, "stop read 2.0 a:1", spec.Todo, ""},
		"stop what is stopped":  {hotFlags("stop"), driver.Hotkey{State: "STOPPED"}, "", spec.Done, ""},
	} {
		f := newFake()
		f.disks.hot = c.now
		p, err := f.plan(t, "detect_hotkey", c.flags)
		if err != nil || p.Class() != spec.Alter {
			t.Fatal(name, p, err)
		}
		s := state(t, p)
		if s.Kind != c.state {
			t.Errorf("%s: %+v", name, s)
		}
		if c.state != spec.Todo {
			continue
		}
		if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || f.disks.asked[len(f.disks.asked)-1] != c.asked || p.Steps[0].Undo != c.undo {
			t.Errorf("%s: %v, asked %q, undo %s", name, err, f.disks.asked, p.Steps[0].Undo)
		}
	}
}

func TestQueryHotkey(t *testing.T) {
	f := newFake()
	query := func(flags map[string]string) (*spec.Table, error) {
		call := f.call(t, "detect_hotkey", flags)
		word := QueryHotkey(f)
		call.Command = &word
		return word.Query(t.Context(), call)
	}
	f.disks.hot = driver.Hotkey{State: "COARSE_DETECTING", Hint: "not yet"}
	table, err := query(hotFlags("query"))
	if err != nil || !slices.Equal(table.Notes(), []string{"not yet"}) {
		t.Fatal(err)
	}
	if got, err := cells(t, table); err != nil || !slices.Equal(got, []string{"demo|0|read|a:1|COARSE_DETECTING|false|<nil>"}) {
		t.Errorf("%v %q", err, got)
	}
	f.disks.hot = driver.Hotkey{State: "FINISHED", Found: true, Key: []byte("user_0042")}
	if table, err = query(hotFlags("query")); err != nil || table.Notes != nil {
		t.Fatal(err)
	}
	if got, err := cells(t, table); err != nil || !slices.Equal(got, []string{"demo|0|read|a:1|FINISHED|true|user_0042"}) {
		t.Errorf("%v %q", err, got)
	}
	for name, c := range map[string]struct {
		flags map[string]string
		kind  spec.ErrorKind
		part  string
	}{
		"no such table":     {hotFlags("query", "app-name", "nope"), spec.NotFound, "no table nope"},
		"no such id":        {hotFlags("query", "app-name", "9"), spec.NotFound, "name or id 9"},
		"no such partition": {hotFlags("query", "partition-index", "4"), spec.NotFound, "no partition 4"},
		"no primary":        {hotFlags("query", "partition-index", "3"), spec.Unavailable, "no primary"},
		"no such node":      {hotFlags("query", "address", "x:1"), spec.NotFound, "no node"},
		"a negative one":    {hotFlags("query", "partition-index", "-1"), spec.Usage, "no partition"},
	} {
		if _, err := query(c.flags); spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
