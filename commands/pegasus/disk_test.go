package pegasus

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func TestQueryDisk(t *testing.T) {
	f := newFake()
	f.disks.on = map[string][]driver.Disk{
		"a:1": twoDisks(50, []int{0}, []int{3}), "b:1": twoDisks(9, []int{1}, nil, 0), "c:1": {{Tag: "hdd", Capacity: 1 << 30, Available: 1 << 30}},
	}
	for name, c := range map[string]struct {
		flags map[string]string
		want  []string
	}{
		"all live nodes": {nil, []string{
			"a:1|ssd1|104857600|52428800|50|1|1|2", "a:1|ssd2|104857600|52428800|50|0|0|0",
			"b:1|ssd1|104857600|52428800|50|1|0|1", "b:1|ssd2|104857600|9437184|9|0|1|1", "c:1|hdd|1073741824|1073741824|100|0|0|0",
		}},
		"one tag":           {map[string]string{"tag": "hdd"}, []string{"c:1|hdd|1073741824|1073741824|100|0|0|0"}},
		"one node's tag":    {map[string]string{"tag": "ssd2", "node": "b:1"}, []string{"b:1|ssd2|104857600|9437184|9|0|1|1"}},
		"by the end":        {map[string]string{"node": ":1"}, nil},
		"a table with none": {map[string]string{"app-name": "demo", "node": "c:1"}, nil},
	} {
		f.disks.errs = map[string]error{"c:1 demo": &spec.Error{Kind: spec.NotFound}}
		table, err := f.query(t, "query_disk", c.flags)
		if name == "by the end" {
			if spec.KindOf(err) != spec.Usage {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := cells(t, table); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v\n%q", name, err, got)
		}
	}
	table, err := f.query(t, "query_disk", map[string]string{"detailed": "true", "node": "b:1"})
	if err != nil || table.Section != "disks" || len(table.More) != 1 || table.More[0].Section != "replicas" {
		t.Fatalf("%+v %v", table, err)
	}
	got, err := cells(t, table.More[0])
	if want := []string{"b:1|ssd1|2.1|demo|primary|/1", "b:1|ssd2|2.0|demo|secondary|/2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %q", err, got)
	}
}

func TestQueryDiskFails(t *testing.T) {
	f := newFake()
	f.disks.on = map[string][]driver.Disk{"a:1": twoDisks(50, nil, nil)}
	f.disks.errs = map[string]error{"b:1 ": errSilent, "c:1 ": errSilent}
	table, err := f.query(t, "query_disk", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cells(t, table); len(got) != 2 || spec.KindOf(err) != spec.PartlyDone || !strings.Contains(err.Error(), "asked 3 servers, 2 did not answer") {
		t.Errorf("%v %q", err, got)
	}
	f.disks.errs["a:1 "] = errSilent
	table, err = f.query(t, "query_disk", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cells(t, table); spec.KindOf(err) != spec.Unavailable {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		flags map[string]string
		kind  spec.ErrorKind
		part  string
	}{
		"no such table": {map[string]string{"app-name": "gone"}, spec.NotFound, "no table gone"},
		"no such node":  {map[string]string{"node": "x:1"}, spec.NotFound, "no node"},
		"a dead node":   {map[string]string{"node": "d:1"}, spec.Refused, "not alive"},
	} {
		if _, err := f.query(t, "query_disk", c.flags); spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.disks.errs = nil
	if _, err := f.query(t, "query_disk", map[string]string{"tag": "hdd"}); spec.KindOf(err) != spec.NotFound || !strings.Contains(spec.HintOf(err), "[ssd1 ssd2]") {
		t.Errorf("no such tag: %v", err)
	}
	for i := range f.nodes {
		f.nodes[i].Alive = false
	}
	if _, err := f.query(t, "query_disk", nil); spec.KindOf(err) != spec.Unavailable {
		t.Errorf("nobody lives: %v", err)
	}
}

func TestDiskMigratePlans(t *testing.T) {
	move := func(g, n, from, to string) map[string]string {
		return map[string]string{"gpid": g, "node": n, "from": from, "to": to}
	}
	for name, c := range map[string]struct {
		flags map[string]string
		kind  spec.ErrorKind
		part  string
	}{
		"the same disk":     {move("2.0", "b:1", "ssd1", "ssd1"), spec.Usage, "same disk"},
		"a bad gpid":        {move("2", "b:1", "ssd1", "ssd2"), spec.Usage, "no partition"},
		"no such partition": {move("2.9", "b:1", "ssd1", "ssd2"), spec.NotFound, "no partition 9"},
		"a dead node":       {move("2.0", "d:1", "ssd1", "ssd2"), spec.Refused, "not alive"},
		"the primary":       {move("2.0", "a:1", "ssd1", "ssd2"), spec.Refused, "leads demo/0"},
		"no replica":        {move("2.1", "a:1", "ssd1", "ssd2"), spec.NotFound, "no replica on a:1"},
		"no such origin":    {move("2.0", "b:1", "hdd", "ssd2"), spec.NotFound, "no disk hdd"},
		"no such target":    {move("2.0", "b:1", "ssd1", "hdd"), spec.NotFound, "no disk hdd"},
		"another disk":      {move("2.0", "c:1", "ssd1", "ssd2"), spec.NotFound, "is not on ssd1"},
	} {
		f := newFake()
		f.disks.on = map[string][]driver.Disk{"b:1": twoDisks(50, nil, []int{0}), "c:1": twoDisks(50, nil, nil)}
		_, err := f.plan(t, "disk_migrate", c.flags)
		if spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.part) || len(f.disks.moved) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := newFake()
	f.disks.on = map[string][]driver.Disk{"b:1": twoDisks(50, nil, nil, 0)}
	if p, err := f.plan(t, "disk_migrate", move("2.0", "b:1", "ssd1", "ssd2")); err != nil || len(p.Steps) != 0 {
		t.Errorf("it is there: %+v %v", p, err)
	}
	f.disks.on["b:1"] = twoDisks(9, nil, []int{0})
	if p, err := f.plan(t, "disk_migrate", move("2.0", "b:1", "ssd1", "ssd2")); err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Why, "9% of disk ssd2") {
		t.Errorf("a full disk: %+v %v", p, err)
	}
	f.disks.on["b:1"] = twoDisks(50, nil, []int{0})
	p, err := f.plan(t, "disk_migrate", move("2.0", "b:1", "ssd1", "ssd2"))
	if err != nil || len(p.Blockers) != 0 || len(p.Steps) != 2 || p.Class() != spec.Alter || p.Steps[0].Undo != "disk_migrate -g 2.0 -n b:1 -f ssd2 -t ssd1" {
		t.Errorf("%+v %v", p, err)
	}
	f.partitions["demo"][0] = partition(0, "a:1", "b:1") // two of three live: writes would stop
	if p, err = f.plan(t, "disk_migrate", move("2.0", "b:1", "ssd1", "ssd2")); err != nil || p.Class() != spec.Risky || !strings.Contains(strings.Join(p.Notes, "\n"), "1 replica of it live, and writes need 2") {
		t.Errorf("%+v %v", p, err)
	}
	if s := state(t, p); s.Kind != spec.Todo {
		t.Errorf("%+v", s)
	}
	f.partitions["demo"][0] = partition(0, "b:1", "a:1")
	if s := state(t, p); s.Kind != spec.Blocked {
		t.Errorf("it leads by now: %+v", s)
	}
	f.disks.on["b:1"] = twoDisks(50, nil, nil, 0)
	if s := state(t, p); s.Kind != spec.Done {
		t.Errorf("it is there by now: %+v", s)
	}
}

// The replica is on the way for a while, then it is a learner, then a secondary.
func TestDiskMigrateWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.disks.on = map[string][]driver.Disk{"b:1": twoDisks(50, nil, []int{0})}
		p, err := f.plan(t, "disk_migrate", map[string]string{"gpid": "2.0", "node": "b:1", "from": "ssd1", "to": "ssd2"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || !slices.Equal(f.disks.moved, []string{"2.0 b:1 ssd1 ssd2"}) {
			t.Fatal(err, f.disks.moved)
		}
		polls := 0
		f.polls = func(n int) ([]driver.Partition, error) {
			polls++
			switch polls {
			case 1:
			case 2:
				f.disks.on["b:1"] = twoDisks(50, nil, nil)
				return []driver.Partition{partition(0, "a:1", "c:1")}, nil
			default:
				f.disks.on["b:1"] = twoDisks(50, nil, nil, 0)
			}
			return []driver.Partition{partition(0, "a:1", "c:1", "b:1")}, nil
		}
		var r report
		if err := p.Steps[1].Apply(t.Context(), &r); err != nil || r.detail != "it is on ssd2" || polls < 3 {
			t.Errorf("%v, %q after %d looks", err, r.detail, polls)
		}
	})
}
