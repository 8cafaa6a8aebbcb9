package pegasus

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

var _ splitter = (*fake)(nil)

// splitting is a fake whose table demo is being split from 4 partitions into 8.
func splitting(status map[int]string) *fake {
	f := newFake()
	f.apps[0].Partitions = 8
	f.split.now = &driver.Split{Partitions: 8, Status: status}
	return f
}

func wantKind(t *testing.T, what string, err error, kind spec.ErrorKind, parts ...string) {
	t.Helper()
	if err == nil || spec.KindOf(err) != kind {
		t.Errorf("%s: %v, want %s", what, err, kind)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+" "+spec.HintOf(err), part) {
			t.Errorf("%s: %v (%s) lacks %q", what, err, spec.HintOf(err), part)
		}
	}
}

func TestSplitStartRefuses(t *testing.T) {
	for want, words := range map[string][]string{"4": nil, "16": {"4 partitions", "-p 8"}, "5": {"-p 8"}, "0": {"partitions"}, "-8": {"partitions"}} {
		f := newFake()
		p, err := f.plan(t, "partition_split start", map[string]string{"table": "demo", "partition-count": want})
		if words == nil { // it has as many already
			if err != nil || len(p.Steps) != 2 {
				t.Errorf("%s: %+v, %v", want, p, err)
			}
			continue
		}
		wantKind(t, want, err, spec.Usage, words...)
	}
	_, err := newFake().plan(t, "partition_split start", map[string]string{"table": "nosuch", "partition-count": "8"})
	wantKind(t, "no table", err, spec.NotFound, "nosuch")
}

func TestSplitStart(t *testing.T) {
	f := newFake()
	p, err := f.plan(t, "partition_split start", map[string]string{"partition-count": "8"})
	if err != nil || p.Class() != spec.Risky || len(p.Blockers) != 0 || len(p.Steps) != 2 || p.Steps[0].Undo != "partition_split cancel -a demo -p 4" {
		t.Fatalf("%+v, %v", p, err)
	}
	if len(f.split.asked) != 0 {
		t.Fatalf("planning asked for %q", f.split.asked)
	}
	if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != spec.Todo {
		t.Error(s, err)
	}
	f.split.onAsked = func() {
		f.apps[0].Partitions = 8
		f.split.now = &driver.Split{Partitions: 8, Status: map[int]string{1: "SPLITTING", 3: "PAUSED"}}
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || !slices.Equal(f.split.asked, []string{"start demo 8"}) {
		t.Error(f.split.asked, err)
	}
	if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != spec.Done {
		t.Error(s, err)
	}
	// The second look finds it done.
	whole := []driver.Partition{}
	for i := range 8 {
		whole = append(whole, partition(i, "a:1", "b:1", "c:1"))
	}
	f.partitions["demo"] = whole
	r := &ending{report: report{}, after: func() { f.split.now = nil }}
	if err := p.Steps[1].Apply(t.Context(), r); err != nil || r.detail != "8 of 8 partitions ready" {
		t.Error(r.detail, err)
	}
	if want := []string{"2/4 partitions", "4/4 partitions"}; !slices.Equal(r.progress, want) || r.first != "2 of 4 split; PAUSED 3; SPLITTING 1" {
		t.Errorf("%q, at first %q", r.progress, r.first)
	}
}

// ending is a report that changes the cluster after the first word.
type ending struct {
	report
	first string
	after func()
}

func (e *ending) Detail(format string, args ...any) {
	if e.report.Detail(format, args...); e.first == "" {
		e.first = e.detail
	}
}

func (e *ending) Progress(done, total int64, unit string) {
	e.report.Progress(done, total, unit)
	e.after()
}

func TestSplitStartGoesOn(t *testing.T) {
	f := splitting(map[int]string{0: "SPLITTING"})
	p, err := f.plan(t, "partition_split start", map[string]string{"table": "demo", "partition-count": "8"})
	if err != nil || p.Steps[0].Undo != "partition_split cancel -a demo -p 4" {
		t.Fatal(p, err)
	}
	if s, _ := p.Steps[0].Check(t.Context()); s.Kind != spec.Done {
		t.Error(s)
	}
	p, err = f.plan(t, "partition_split start", map[string]string{"table": "demo", "partition-count": "16"})
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := p.Steps[0].Check(t.Context()); s.Kind != spec.Blocked || !strings.Contains(s.Why, "being split into 8") {
		t.Error(s)
	}
	// Paused in whole, it does not come to its end; canceled, it came to another one.
	p, _ = f.plan(t, "partition_split start", map[string]string{"table": "demo", "partition-count": "8"})
	f.split.now.Status = map[int]string{0: "PAUSED", 2: "PAUSED"}
	wantKind(t, "paused", p.Steps[1].Apply(t.Context(), &report{}), spec.Failed, "PAUSED 0,2", "partition_split restart -a demo")
	f.split.now = nil
	wantKind(t, "canceled", p.Steps[1].Apply(t.Context(), &report{}), spec.Failed, "canceled", "4 partitions")
}

func TestSplitBlockers(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*driver.App)
		want string
	}{
		"loading":     {func(a *driver.App) { a.BulkLoading = true }, "being loaded"},
		"duplicating": {func(a *driver.App) { a.Duplicating = true }, "being duplicated"},
		"six":         {func(a *driver.App) { a.Partitions = 6 }, "6 is no power of two"},
	} {
		f := newFake()
		c.set(&f.apps[0])
		count := map[bool]string{true: "12", false: "8"}[f.apps[0].Partitions == 6]
		p, err := f.plan(t, "partition_split start", map[string]string{"table": "demo", "partition-count": count})
		if err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0].Why, c.want) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// A disk must stay under 90 % with three times what the table takes there.
func TestSplitRoom(t *testing.T) {
	replicas := []driver.DiskReplica{{AppID: 2, Partition: 0}, {AppID: 2, Partition: 3, Primary: true}, {AppID: 9, Partition: 1}}
	f := newFake()
	f.split.sizes = map[int]float64{0: 20, 1: 500, 3: 30}
	f.disks.on = map[string][]driver.Disk{
		"a:1": {
			{Tag: "ssd1", Capacity: 1000 << 20, Available: 250 << 20, Replicas: replicas}, // 750 + 150 = 900
			{Tag: "ssd2", Capacity: 1000 << 20, Available: 249 << 20, Replicas: replicas},
		},
		"b:1": {{Tag: "ssd1", Replicas: replicas}},
	}
	p, err := f.plan(t, "partition_split start", map[string]string{"partition-count": "8"})
	if err != nil || len(p.Blockers) != 1 || p.Blockers[0].Object != "ssd2 of a:1" || !strings.HasPrefix(p.Blockers[0].Why, "751 MiB of 1000 MiB are used, and the split may take 150 MiB") {
		t.Errorf("%+v, %v", p.Blockers, err)
	}
	notes := len(p.Notes)
	f.split.sizes = nil
	f.disks.errs = map[string]error{"b:1 demo": errors.New("no answer")}
	p, err = f.plan(t, "partition_split start", map[string]string{"partition-count": "8"})
	if err != nil || len(p.Blockers) != 0 || len(p.Notes) != notes+1 || !strings.Contains(p.Notes[notes], "a:1 has no figures, and 1 node more") {
		t.Errorf("%+v, %q, %v", p.Blockers, p.Notes, err)
	}
}

func TestSplitQuery(t *testing.T) {
	f := splitting(map[int]string{0: "SPLITTING", 2: "PAUSED"})
	table, err := f.query(t, "partition_split query", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := cells(t, table)
	want := []string{"0|4|SPLITTING", "1|5|COMPLETED", "2|6|PAUSED", "3|7|COMPLETED"}
	if diff := cmp.Diff(want, lines); diff != "" || err != nil || table.Notes()[0] != "2 of 4 partitions are split" {
		t.Error(diff, err, table.Notes())
	}
	f = newFake()
	if table, err = f.query(t, "partition_split query", map[string]string{"table": "demo"}); err != nil || table.Rows != nil || !strings.Contains(table.Notes()[0], "4 partitions") {
		t.Error(err, table)
	}
}

func TestSplitControl(t *testing.T) {
	f := splitting(map[int]string{0: "SPLITTING", 1: "SPLITTING", 2: "PAUSED"})
	p, err := f.plan(t, "partition_split pause", map[string]string{"table": "demo", "parent": "1"})
	if err != nil || p.Class() != spec.Alter || p.Steps[0].Undo != "partition_split restart -a demo -i 1" || len(p.Steps) != 2 {
		t.Fatal(p, err)
	}
	f.split.onAsked = func() { f.split.now.Status[1] = "PAUSING" }
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || f.split.asked[0] != "pause demo 1 0" {
		t.Error(f.split.asked, err)
	}
	if s, _ := p.Steps[0].Check(t.Context()); s.Kind != spec.Done {
		t.Error(s)
	}
	r := &report{}
	f.split.now.Status[1] = "PAUSED"
	if err := p.Steps[1].Apply(t.Context(), r); err != nil || r.detail != "PAUSED 1" {
		t.Error(r.detail, err)
	}

	p, err = f.plan(t, "partition_split restart", map[string]string{"table": "demo"})
	if err != nil || len(p.Steps) != 1 || p.Steps[0].Undo != "partition_split pause -a demo" {
		t.Fatal(p, err)
	}
	for want, status := range map[spec.StateKind]map[int]string{
		spec.Todo: {0: "SPLITTING", 2: "PAUSED"}, spec.Done: {0: "SPLITTING"}, spec.Blocked: {0: "CANCELING"},
	} {
		f.split.now.Status = status
		if s, err := p.Steps[0].Check(t.Context()); err != nil || s.Kind != want {
			t.Errorf("%v: %+v, %v", status, s, err)
		}
	}
	for parent, word := range map[string]string{"4": "0 to 3", "-2": "0 to 3"} {
		_, err := f.plan(t, "partition_split pause", map[string]string{"table": "demo", "parent": parent})
		wantKind(t, parent, err, spec.Usage, word)
	}
	f.split.now = nil
	p, _ = f.plan(t, "partition_split pause", map[string]string{"table": "demo", "parent": "3"})
	if s, _ := p.Steps[0].Check(t.Context()); s.Kind != spec.Blocked || !strings.Contains(s.Why, "not being split") {
		t.Error(s)
	}
}

func TestSplitCancel(t *testing.T) {
	f := splitting(map[int]string{0: "SPLITTING", 1: "SPLITTING", 2: "PAUSED", 3: "PAUSING"})
	_, err := f.plan(t, "partition_split cancel", map[string]string{"table": "demo", "partition-count": "8"})
	wantKind(t, "another count", err, spec.Usage, "-p 4")
	p, err := f.plan(t, "partition_split cancel", map[string]string{"table": "demo", "partition-count": "4"})
	if err != nil || p.Class() != spec.Alter || p.Steps[0].Undo != "partition_split start -a demo -p 8" || len(p.Steps) != 2 {
		t.Fatal(p, err)
	}
	state := func() spec.State {
		t.Helper()
		s, err := p.Steps[0].Check(t.Context())
		if err != nil {
			t.Error(err)
		}
		return s
	}
	if s := state(); s.Kind != spec.Todo {
		t.Error(s)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || f.split.asked[0] != "cancel demo -1 4" {
		t.Error(f.split.asked, err)
	}
	delete(f.split.now.Status, 0)
	if s := state(); s.Kind != spec.Blocked || !strings.Contains(s.Why, "1 of 4 partitions are split") {
		t.Error(s)
	}
	f.split.now.Status = map[int]string{1: "CANCELING"}
	if s := state(); s.Kind != spec.Done {
		t.Error(s)
	}
	f.split.now = nil
	if s := state(); s.Kind != spec.Blocked || !strings.Contains(s.Why, "has 8 partitions; a table cannot be halved") {
		t.Error(s)
	}
	f.apps[0].Partitions = 4
	if s := state(); s.Kind != spec.Done {
		t.Error(s)
	}
	r := &report{}
	if err := p.Steps[1].Apply(t.Context(), r); err != nil || r.detail != "it has 4 partitions" {
		t.Error(r.detail, err)
	}
	f.partitions["demo"] = slices.Concat(f.partitions["demo"], f.partitions["demo"])
	wantKind(t, "split instead", p.Steps[1].Apply(t.Context(), r), spec.Failed, "not canceled")
}

func TestManualCompact(t *testing.T) {
	f := newFake()
	for name, flags := range map[string]map[string]string{
		"level 0": {"target-level": "0"}, "level -2": {"target-level": "-2"}, "level 11": {"target-level": "11"},
		"count": {"max-concurrent-running-count": "-1"},
	} {
		_, err := f.plan(t, "manual_compact", flags)
		wantKind(t, name, err, spec.Usage)
	}
	f.apps[0].Envs[envCompactOnce] = "100"
	p, err := f.plan(t, "manual_compact", map[string]string{
		"table": "demo", "target-level": "2", "bottommost-level-compaction": "true", "max-concurrent-running-count": "3",
	})
	if err != nil || p.Class() != spec.Alter || len(p.Steps) != 2 || p.Steps[0].Text != "compact demo to level 2, the deepest level too, 3 replicas of a node at a time" {
		t.Fatalf("%+v, %v", p, err)
	}
	f.apps[0].Envs = maps.Clone(f.apps[0].Envs) // the plan has seen the ones from before
	state := func() spec.StateKind {
		t.Helper()
		s, err := p.Steps[0].Check(t.Context())
		if err != nil {
			t.Error(err)
		}
		return s.Kind
	}
	if state() != spec.Todo {
		t.Error("an earlier compaction is none of ours")
	}
	lost := errors.New("lost")
	f.split.err = lost
	if err := p.Steps[0].Apply(t.Context(), &report{}); !errors.Is(err, lost) || f.split.asked[0] != "compact demo {Level:2 Bottommost:true AtATime:3}" {
		t.Error(f.split.asked, err)
	}
	if state() != spec.Todo {
		t.Error("it did not begin")
	}
	f.apps[0].Envs[envCompactOnce] = "200"
	if state() != spec.Done {
		t.Error("it has begun")
	}
	f.split.progress = func(n int) int { return min(100, 40*n) }
	r := &report{}
	if err := p.Steps[1].Apply(t.Context(), r); err != nil || r.detail != "100 % of the replicas are done" || !slices.Equal(r.progress, []string{"40/100 %", "80/100 %", "100/100 %"}) {
		t.Error(r, err)
	}
	f.apps[0].Envs[envCompactOff] = "true"
	p, _ = f.plan(t, "manual_compact", nil)
	if state() != spec.Blocked {
		t.Error("compactions are disabled")
	}
}

func TestQueryCompact(t *testing.T) {
	f := newFake()
	f.split.activity = driver.Activity{Compactions: map[int32]driver.CompactionCount{2: {Queued: 1, Running: 2, Finished: 9}}, Silent: 1}
	table, err := f.query(t, "query_compact", nil, "demo")
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := cells(t, table)
	if want := "demo|<nil>|1|2|9|0001-01-01 00:00:00 +0000 UTC"; lines[0] != want || !strings.Contains(table.Notes()[0], "1 live node did not answer") {
		t.Errorf("%q %q", lines, table.Notes())
	}
	f.split.progress = func(int) int { return 75 }
	table, _ = f.query(t, "query_compact", nil, "demo")
	if lines, _ = cells(t, table); !strings.HasPrefix(lines[0], "demo|75|1|2|9|") {
		t.Errorf("%q", lines)
	}
}

func TestShowOpsOfSplits(t *testing.T) {
	f := splitting(map[int]string{0: "SPLITTING", 1: "PAUSED", 3: "CANCELING"})
	f.apps[0].Envs[envCompactOnce] = "1000000000"
	f.partitions["demo"] = nil
	for i := range 8 {
		p := partition(i, "a:1", "b:1", "c:1")
		if i >= 4 && i != 6 {
			p = driver.Partition{Index: i, Ballot: -1, Unborn: true}
		}
		f.partitions["demo"] = append(f.partitions["demo"], p)
	}
	f.split.activity = driver.Activity{
		Learners:    []driver.Learner{{AppID: 2, Partition: 2, Endpoint: "d:1"}},
		Children:    []driver.Learner{{AppID: 2, Partition: 4, Endpoint: "a:1"}},
		Compactions: map[int32]driver.CompactionCount{2: {Queued: 3}},
	}
	table, err := f.query(t, "showopstatus", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	lines, _ := cells(t, table)
	for _, line := range lines {
		fields := strings.Split(line, "|")
		got = append(got, strings.Join([]string{fields[0], fields[1], fields[3], fields[4], fields[8]}, "|"))
	}
	want := []string{
		"learn-2.2-d:1|learn|2|kDoing|copy to d:1",
		"split-2.0|split|0|kDoing|make partition 4",
		"split-2.1|split|1|kInited|paused",
		"split-2.3|split|3|kDoing|canceling",
		"compact-2|manual_compact|<nil>|kInited|0 running, 3 queued, 0 finished",
	}
	if diff := cmp.Diff(want, got); diff != "" || f.split.queries != 1 {
		t.Errorf("%s, %d queries", diff, f.split.queries)
	}
	if !strings.Contains(lines[4], "2001-09-09") {
		t.Errorf("the compaction is shown as %s", lines[4])
	}
	if h := healthOf(f.partitions["demo"]); h.full != 5 || h.unhealthy != 0 || verdict(f.partitions["demo"][4]) != "splitting" {
		t.Errorf("%+v", h)
	}
	all, err := everyPartition(t.Context(), f)
	if err != nil || len(all[0].Partitions) != 5 {
		t.Errorf("%+v, %v", all, err)
	}
}
