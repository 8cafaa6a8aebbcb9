package pegasus

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

var _ duplicator = (*fake)(nil)

// dupPlan plans with a source and a follower.
func dupPlan(t *testing.T, source, follower *fake, name string, flags map[string]string, args ...string) (*spec.Plan, error) {
	t.Helper()
	call := source.call(t, name, flags, args...)
	call.Cluster = "onebox"
	for _, c := range Words(dupEnv{source, follower}) {
		if c.Name == name {
			return c.Change(t.Context(), call)
		}
	}
	t.Fatal("no word", name)
	return nil, nil
}

// twoBoxes are a source and a follower that has a table of that shape, too.
func twoBoxes() (source, follower *fake) {
	source, follower = newFake(), newFake()
	source.info = []cluster.Setting{{Key: "primary_meta_server", Value: "m:1"}, {Key: "cluster_name", Value: "onebox"}}
	follower.info = []cluster.Setting{{Key: "cluster_name", Value: "onebox2"}}
	source.dups.release = driver.Version{Text: "2.6.0", Major: 2, Minor: 6}
	return source, follower
}

func TestAddDupRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		args  []string
		kind  spec.ErrorKind
		words []string
	}{
		"itself":            {nil, []string{"demo", "onebox"}, spec.Usage, []string{"follow itself"}},
		"no table":          {nil, []string{"nosuch", "onebox2"}, spec.NotFound, []string{"nosuch"}},
		"a bad name":        {map[string]string{"remote-app-name": "no table"}, []string{"demo", "onebox2"}, spec.Usage, nil},
		"too many replicas": {map[string]string{"sst": "true", "remote-replica-count": "9"}, []string{"demo", "onebox2"}, spec.Usage, []string{"9 replicas"}},
		"replicas there":    {map[string]string{"remote-replica-count": "2"}, []string{"demo", "onebox2"}, spec.Usage, []string{"-r needs -s"}},
	} {
		source, follower := twoBoxes()
		_, err := dupPlan(t, source, follower, "add_dup", c.flags, c.args...)
		wantKind(t, name, err, c.kind, c.words...)
		if len(source.dups.asked) != 0 {
			t.Errorf("%s: planning asked for %q", name, source.dups.asked)
		}
	}
	source, follower := twoBoxes()
	source.dups.release = driver.Version{Text: "2.5.0", Major: 2, Minor: 5}
	_, err := dupPlan(t, source, follower, "add_dup", map[string]string{"remote-app-name": "other"}, "demo", "onebox2")
	wantKind(t, "another name on 2.5", err, spec.Unable, "2.5.0", "-a and -r")
}

func TestAddDupBlockers(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		how   func(source, follower *fake)
		want  string // "" for none
	}{
		"nothing":              {nil, func(_, _ *fake) {}, ""},
		"no table there":       {nil, func(_, f *fake) { f.apps = nil }, "create it there with -p 4"},
		"another shape":        {nil, func(_, f *fake) { f.apps[0].Partitions = 8 }, "8 partitions on onebox2 and 4 here"},
		"made, and is there":   {map[string]string{"sst": "true"}, func(_, _ *fake) {}, "has such a table"},
		"made":                 {map[string]string{"sst": "true"}, func(_, f *fake) { f.apps = nil }, ""},
		"made on too few":      {map[string]string{"sst": "true"}, func(_, f *fake) { f.apps, f.nodes = nil, f.nodes[:1] }, "1 live node"},
		"loaded":               {nil, func(s, _ *fake) { s.apps[0].BulkLoading = true }, "being loaded"},
		"split":                {nil, func(s, _ *fake) { s.split.now = &driver.Split{Partitions: 8} }, "being split"},
		"under another name":   {map[string]string{"remote-app-name": "other"}, func(_, _ *fake) {}, "no such table"},
		"not to be found here": {nil, nil, "cannot be opened"},
	} {
		source, follower := twoBoxes()
		if c.how == nil {
			follower = nil
		} else {
			c.how(source, follower)
		}
		p, err := dupPlan(t, source, follower, "add_dup", c.flags, "demo", "onebox2")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want == "" != (len(p.Blockers) == 0) || c.want != "" && !strings.Contains(p.Blockers[0].Why, c.want) {
			t.Errorf("%s: %+v", name, p.Blockers)
		}
	}
}

func TestAddDup(t *testing.T) {
	source, follower := twoBoxes()
	p, err := dupPlan(t, source, follower, "add_dup", nil, "demo", "onebox2")
	if err != nil || len(p.Steps) != 2 || p.Class() != spec.Risky || p.Steps[0].Undo != "remove_dup demo onebox2" || len(p.Notes) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != spec.Todo {
		t.Error(s, err)
	}
	dup := driver.Duplication{ID: 77, Remote: "onebox2", Status: "DS_LOG", Partitions: map[int]driver.Shipped{0: {Confirmed: 1, Committed: -1}, 1: {Confirmed: 2, Committed: -1}, 2: {Confirmed: 3, Committed: -1}, 3: {Confirmed: -1, Committed: -1}}}
	source.dups.onAsked = func() { source.dups.list = map[string][]driver.Duplication{"demo": {dup}} }
	r := &report{}
	if err := p.Steps[0].Apply(t.Context(), r); err != nil || r.detail != "dup_id 77" {
		t.Error(r.detail, err)
	}
	if want := []string{"add demo {Remote:onebox2 Checkpoint:false RemoteTable: RemoteReplicas:0}"}; !slices.Equal(source.dups.asked, want) {
		t.Errorf("asked for %q", source.dups.asked)
	}
	if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != spec.Done || !strings.Contains(s.Why, "77") {
		t.Error(s, err)
	}
	// The second look finds the last partition begun.
	e := &ending{after: func() { dup.Partitions[3] = driver.Shipped{Confirmed: 0, Committed: -1} }}
	if err := p.Steps[1].Apply(t.Context(), e); err != nil || e.first != "3 of 4 partitions are shipped" || e.detail != "4 of 4 partitions are shipped" {
		t.Error(e.first, e.detail, err)
	}
	// What there is already, elsewhere or by another name.
	dup.RemoteTable = "other"
	source.dups.onAsked()
	if s, _ := p.Steps[0].Check(t.Context()); s.Kind != spec.Blocked || !strings.Contains(s.Why, "other") {
		t.Error(s)
	}
}

// shipping is a source whose table demo is duplicated; see newFake for its partitions.
func shipping(status string) (source, follower *fake) {
	source, follower = twoBoxes()
	source.apps[0].Duplicating = true
	source.dups.list = map[string][]driver.Duplication{"demo": {{
		ID: 9, Status: status, FailMode: "FAIL_SLOW", Remote: "onebox2", Created: time.Unix(5, 0).UTC(),
		Partitions: map[int]driver.Shipped{0: {Confirmed: 10, Committed: -1}, 1: {Confirmed: 20, Committed: -1}, 2: {Confirmed: -1, Committed: -1}, 3: {Confirmed: 5, Committed: -1}},
	}}}
	source.place.heldOn = map[string][]driver.HeldReplica{
		"a:1": {{AppID: 2, Partition: 0, Status: "PRIMARY", Committed: 10}},
		"b:1": {{AppID: 2, Partition: 1, Status: "PRIMARY", Committed: 25}, {AppID: 2, Partition: 0, Status: "SECONDARY", Committed: 99}},
	}
	return source, follower
}

func dupRowsOf(t *testing.T, source, follower *fake, name string, flags map[string]string, args ...string) []string {
	t.Helper()
	call := source.call(t, name, flags, args...)
	call.Cluster = "onebox"
	for _, c := range Words(dupEnv{source, follower}) {
		if c.Name == name {
			table, err := c.Query(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := cells(t, table)
			if err != nil {
				t.Fatal(err)
			}
			return lines
		}
	}
	t.Fatal("no word", name)
	return nil
}

func TestQueryDup(t *testing.T) {
	source, follower := shipping("DS_LOG")
	want := []string{"9|DS_LOG|onebox2|" + time.Unix(5, 0).UTC().String() + "|FAIL_SLOW|<nil>"}
	if diff := cmp.Diff(want, dupRowsOf(t, source, follower, "query_dup", nil, "demo")); diff != "" {
		t.Error(diff)
	}
	detail := func() []string {
		return dupRowsOf(t, source, follower, "query_dup", map[string]string{"detail": "true"}, "demo")
	}
	// The third has not begun, the fourth has no primary, here or there.
	want = []string{
		"9|DS_LOG|onebox2|0|10|10|0|<nil>", "9|DS_LOG|onebox2|1|20|25|5|being shipped",
		"9|DS_LOG|onebox2|2|<nil>|<nil>|<nil>|not begun, or its primary does not answer", "9|DS_LOG|onebox2|3|5|<nil>|<nil>|the partition has no primary",
	}
	if diff := cmp.Diff(want, detail()); diff != "" {
		t.Error(diff)
	}
	reasons := func() (all []string) {
		for _, line := range detail() {
			all = append(all, line[strings.LastIndexByte(line, '|')+1:])
		}
		return all
	}
	source.partitions["demo"][3].Primary = "b:1"
	for what, c := range map[string]struct {
		how  func()
		want string // of partition 1
	}{
		"throttled":       {func() { follower.apps[0].Envs["replica.write_throttling"] = "100*delay*100" }, "onebox2 restrains it: replica.write_throttling = 100*delay*100"},
		"no primary":      {func() { follower.partitions["demo"][1].Primary = "" }, "the partition has no primary on onebox2"},
		"another shape":   {func() { follower.apps[0].Partitions = 8 }, "demo has 8 partitions there, 4 here"},
		"no table":        {func() { follower.apps = nil }, "onebox2 has no table demo"},
		"no such cluster": {func() { follower = nil }, "being shipped"},
	} {
		_, follower = twoBoxes()
		if c.how(); reasons()[1] != c.want {
			t.Errorf("%s: %q", what, reasons())
		}
	}
	source.dups.list["demo"][0].Status = "DS_PAUSE"
	if got := reasons(); got[0] != "paused" || got[1] != "paused" {
		t.Errorf("%q", got)
	}
	source.dups.list = nil
	if got := detail(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestDups(t *testing.T) {
	for _, able := range []bool{false, true} {
		source, follower := shipping("DS_LOG")
		source.dups.able = able
		created := time.Unix(5, 0).UTC().String()
		if diff := cmp.Diff([]string{"2|demo|9|" + created + "|DS_LOG|onebox2|demo"}, dupRowsOf(t, source, follower, "dups", nil)); diff != "" {
			t.Error(diff)
		}
		got := dupRowsOf(t, source, follower, "dups", map[string]string{"list-partitions": "true"})
		if len(got) != 4 || got[1] != "2|demo|9|"+created+"|DS_LOG|onebox2|demo|1|20|25|5" {
			t.Errorf("%q", got)
		}
	}
}

func TestChangeDup(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		args   []string
		kind   spec.StateKind
		asked  string
		undo   string
	}{
		"pause_dup":         {"DS_LOG", []string{"demo", "9"}, spec.Todo, "pause demo 9", "start_dup demo 9"},
		"start_dup":         {"DS_PAUSE", []string{"demo", "onebox2"}, spec.Todo, "start demo 9", "pause_dup demo 9"},
		"remove_dup":        {"DS_APP", []string{"demo", "9"}, spec.Todo, "remove demo 9", "add_dup demo onebox2"},
		"set_dup_fail_mode": {"DS_LOG", []string{"demo", "9", "skip"}, spec.Todo, "mode demo 9 skip", "set_dup_fail_mode demo 9 slow"},
	} {
		source, follower := shipping(c.status)
		p, err := dupPlan(t, source, follower, name, nil, c.args...)
		if err != nil || len(p.Steps) != 1 || p.Steps[0].Undo != c.undo {
			t.Errorf("%s: %+v, %v", name, p, err)
			continue
		}
		if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != c.kind {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if name == "remove_dup" {
			source.dups.onAsked = func() { source.dups.list = nil }
		}
		r := &report{}
		if err := p.Steps[0].Apply(t.Context(), r); err != nil || !slices.Equal(source.dups.asked, []string{c.asked}) {
			t.Errorf("%s: %q, %v", name, source.dups.asked, err)
		}
		if gone := name == "remove_dup"; gone != (r.detail == "it is gone") || r.detail == "" {
			t.Errorf("%s reports %q", name, r.detail)
		}
	}
	for name, c := range map[string]struct {
		status string
		kind   spec.StateKind
	}{
		"pause_dup": {"DS_PREPARE", spec.Blocked}, "start_dup": {"DS_LOG", spec.Done},
	} {
		source, follower := shipping(c.status)
		p, err := dupPlan(t, source, follower, name, nil, "demo", "9")
		if err != nil {
			t.Fatal(err)
		}
		if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != c.kind || s.Why == "" {
			t.Errorf("%s at %s: %v, %v", name, c.status, s, err)
		}
	}
	source, follower := shipping("DS_LOG")
	for _, named := range []string{"8", "onebox3", "9x"} {
		_, err := dupPlan(t, source, follower, "pause_dup", nil, "demo", named)
		wantKind(t, named, err, spec.NotFound, "query_dup demo")
	}
}

func TestDupOps(t *testing.T) {
	for status, want := range map[string][2]string{
		"DS_LOG":     {"kDoing", "to onebox2: 1 of 4 partitions are level, 5 writes behind"},
		"DS_PAUSE":   {"kInited", "to onebox2: paused"},
		"DS_PREPARE": {"kDoing", "to onebox2: the source makes its checkpoint"},
	} {
		source, _ := shipping(status)
		ops, err := dupOps(t.Context(), source, source.apps[:1])
		if err != nil || len(ops) != 1 || ops[0].status != want[0] || ops[0].task != want[1] || ops[0].id != "duplication-2-9" {
			t.Errorf("%s: %+v, %v", status, ops, err)
		}
	}
}
