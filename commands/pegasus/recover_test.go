package pegasus

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// lost is a fake whose metadata is lost: two servers hold demo between them.
func lost() *fake {
	f := newFake()
	f.disks.lost = true
	f.disks.seen = []string{"10.0.0.31:1", "10.0.0.32:1"}
	demo := driver.App{ID: 2, Name: "demo", Status: "AVAILABLE", Partitions: 4, Replicas: 2}
	gone := driver.App{ID: 1, Name: "gone", Status: "AVAILABLE", Partitions: 1, Replicas: 2}
	f.disks.tables = map[string][]driver.App{"10.0.0.31:1": {gone, demo}, "10.0.0.32:1": {demo}}
	gone.Status = "DROPPED"
	f.disks.tables["10.0.0.32:1"] = append(f.disks.tables["10.0.0.32:1"], gone)
	held := func(partitions ...int) (all []driver.HeldReplica) {
		for _, p := range partitions {
			all = append(all, driver.HeldReplica{AppID: 2, Partition: p})
		}
		return all
	}
	f.place.heldOn = map[string][]driver.HeldReplica{"10.0.0.31:1": held(0, 1, 2), "10.0.0.32:1": held(2, 3)}
	f.partitions["demo"] = []driver.Partition{partition(0, "10.0.0.31:1"), partition(1, "10.0.0.31:1"), partition(2, "10.0.0.32:1"), partition(3, "10.0.0.32:1")}
	return f
}

func TestRecoverPlans(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "nodes")
	if err := os.WriteFile(file, []byte("# the servers\n\n 10.0.0.31:1 \n; old: 10.0.0.9:1\n.32\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("# nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := []string{"10.0.0.31:1", "10.0.0.32:1"}
	for name, c := range map[string]struct {
		flags    map[string]string
		change   func(f *fake)
		nodes    []string
		kind     spec.ErrorKind
		part     string
		blockers int
		note     string
	}{
		"those seen":            {nil, nil, both, 0, "", 0, "table gone (id 1) was dropped"},
		"by their ends":         {map[string]string{"node_list_str": ".31,.32:1"}, nil, both, 0, "", 0, "10.0.0.31:1 holds 3 replicas of 2 tables"},
		"from a file":           {map[string]string{"node_list_file": file}, nil, both, 0, "", 0, "table demo (id 2), 4 partitions of 2 replicas"},
		"named twice":           {map[string]string{"node_list_str": "10.0.0.31:1, .31 ,10.0.0.32:1"}, nil, both, 0, "", 0, ""},
		"one is forgotten":      {map[string]string{"node_list_str": ".31"}, nil, both[:1], 0, "", 2, "10.0.0.32:1 is not named"},
		"its partitions empty":  {map[string]string{"node_list_str": ".31", "skip_lost_partitions": "true"}, nil, both[:1], 0, "", 0, "of demo these partitions begin empty: 3"},
		"a dead one":            {nil, func(f *fake) { f.disks.errs = map[string]error{"10.0.0.31:1": errSilent} }, both, 0, "", 2, ""},
		"without the dead one":  {map[string]string{"skip_bad_nodes": "true"}, func(f *fake) { f.disks.errs = map[string]error{"10.0.0.31:1": errSilent} }, both, 0, "", 1, "10.0.0.31:1 is left out"},
		"nothing is lost":       {nil, func(f *fake) { f.disks.lost = false }, nil, spec.Refused, "nothing to recover", 0, ""},
		"no meta server":        {nil, func(f *fake) { f.disks.errs = map[string]error{"meta": errSilent} }, nil, spec.Unavailable, "no answer", 0, ""},
		"nobody was seen":       {nil, func(f *fake) { f.disks.seen = nil }, nil, spec.Usage, "not seen", 0, ""},
		"the end of a stranger": {map[string]string{"node_list_str": ".33"}, nil, nil, spec.Usage, "seen", 0, ""},
		"no server":             {map[string]string{"node_list_str": "here"}, nil, nil, spec.Usage, "host:port", 0, ""},
		"an empty list":         {map[string]string{"node_list_str": ","}, nil, nil, spec.Usage, "no server", 0, ""},
		"an empty file":         {map[string]string{"node_list_file": empty}, nil, nil, spec.Usage, "no server", 0, ""},
		"no file":               {map[string]string{"node_list_file": file + "x"}, nil, nil, spec.Usage, "no such file", 0, ""},
		"both":                  {map[string]string{"node_list_file": file, "node_list_str": ".31"}, nil, nil, spec.Usage, "exclude", 0, ""},
		"no time":               {map[string]string{"wait_seconds": "0"}, nil, nil, spec.Usage, "no time", 0, ""},
	} {
		f := lost()
		if c.change != nil {
			c.change(f)
		}
		p, err := f.plan(t, "recover", c.flags)
		if c.nodes == nil {
			if spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(p.Blockers) != c.blockers || !strings.Contains(strings.Join(p.Notes, "\n"), c.note) {
			t.Errorf("%s: %v\n%+v", name, err, p)
			continue
		}
		if p.Class() != spec.Destroy || p.Name != "onebox" || !slices.Equal(p.Steps[0].Objects, c.nodes) || len(f.disks.recovered) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestRecover(t *testing.T) {
	f := lost()
	f.disks.hints = []string{"WARNING: something"}
	p, err := f.plan(t, "recover", map[string]string{"skip_bad_nodes": "true", "wait_seconds": "7"})
	if err != nil || len(p.Steps) != 2 {
		t.Fatal(p, err)
	}
	if s := state(t, p); s.Kind != spec.Todo {
		t.Errorf("%+v", s)
	}
	var r report
	if err := p.Steps[0].Apply(t.Context(), &r); err != nil || r.detail != "WARNING: something" {
		t.Errorf("%v %q", err, r.detail)
	}
	if want := (driver.Recovery{Nodes: f.disks.seen, SkipBadNodes: true}); len(f.disks.recovered) != 1 || !slices.Equal(f.disks.recovered[0].Nodes, want.Nodes) || !f.disks.recovered[0].SkipBadNodes || f.disks.recovered[0].SkipLostPartitions {
		t.Errorf("%+v", f.disks.recovered)
	}
	if s := state(t, p); s.Kind != spec.Done {
		t.Errorf("%+v", s)
	}
	if err := p.Steps[1].Apply(t.Context(), &r); err != nil || r.detail != "4 of 4 partitions have one" {
		t.Errorf("%v %q", err, r.detail)
	}
	table := p.Answers()
	got, err := cells(t, table)
	if want := []string{"2|demo|AVAILABLE|4|3|4", "1|gone|DROPPED|1|3|<nil>"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q", err, got)
	}
	if notes := table.Notes(); !slices.Equal(notes, []string{"WARNING: something", "2 tables rebuilt"}) {
		t.Errorf("%q", notes)
	}
	// A partition whose server is missing is not waited for for ever.
	f = lost()
	f.partitions["demo"][1].Primary = ""
	call := f.call(t, "recover", nil)
	call.Wait = 50 * time.Millisecond
	if p, err = call.Command.Change(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	err = p.Steps[1].Apply(t.Context(), &r)
	if spec.KindOf(err) != spec.Unavailable || !strings.Contains(err.Error(), "3 of 4 partitions have one") || !strings.Contains(spec.HintOf(err), "ddd_diagnose") {
		t.Errorf("%v", err)
	}
	call.Wait, call.Force = -1, true
	if p, err = call.Command.Change(t.Context(), call); err != nil || len(p.Steps) != 1 || p.Answers != nil {
		t.Fatal(p, err)
	}
	if err := p.Steps[0].Apply(t.Context(), &r); err != nil || !f.disks.recovered[0].SkipBadNodes || !f.disks.recovered[0].SkipLostPartitions {
		t.Errorf("forced: %v %+v", err, f.disks.recovered)
	}
}
