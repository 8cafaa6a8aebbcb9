package pegasus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/backuptest"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// newBulk is a cluster with the table TableB, id 7, of 4 empty partitions, whose input is on disk below /split.
func newBulk(t *testing.T) *bulkFake {
	t.Helper()
	f := &bulkFake{countingFake: newCounting(), services: map[string]storage.Service{}}
	f.nodes = f.nodes[:1]
	f.apps = []driver.App{{ID: 7, Name: "TableB", Status: "AVAILABLE", Partitions: 4, Replicas: 3, Created: time.Unix(1700000000, 0), Envs: map[string]string{}}}
	f.partitions = map[string][]driver.Partition{"TableB": {}}
	figures := map[driver.ReplicaID]map[string]float64{}
	for i := range 4 {
		f.partitions["TableB"] = append(f.partitions["TableB"], partition(i, "a:1", "b:1", "c:1"))
		figures[driver.ReplicaID{App: 7, Partition: i}] = map[string]float64{keysFigure: 0, diskCounter: 0}
	}
	f.samples = map[string][]*driver.Sample{"a:1": slices.Repeat([]*driver.Sample{{Replicas: figures}}, 20)}
	disk, err := storage.Directory("disk", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.blocks = []commands.Block{{Name: "disk", Type: storage.HDFSType}}
	f.services["disk"] = disk
	f.makeInput(t)
	return f
}

// makeInput splits a backup for TableB, by split_backup itself.
func (f *bulkFake) makeInput(t *testing.T) {
	t.Helper()
	from := t.TempDir()
	if err := backuptest.Write(from, backuptest.Single()); err != nil {
		t.Fatal(err)
	}
	source, err := storage.Directory("source", from)
	if err != nil {
		t.Fatal(err)
	}
	f.services["source"] = source
	p, err := planOfSplit(t, f, false, splitFlagsFor(t, 4), "source:/", "disk:/split")
	if err == nil {
		err = p.Steps[0].Job.Run(t.Context(), &journal{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (f *bulkFake) plan(t *testing.T, resumed bool, flags map[string]string) (*spec.Plan, error) {
	t.Helper()
	c := StartBulkLoad(f)
	call := &spec.Call{Command: &c, Cluster: "onebox", Resumed: resumed, Flags: map[string][]string{
		"app-name": {"TableB"}, "file-provider-type": {"disk"}, "root-path": {"/split"},
	}}
	for key, value := range flags {
		call.Flags[key] = []string{value}
	}
	return c.Change(t.Context(), call)
}

func TestBulkLoadPlan(t *testing.T) {
	f := newBulk(t)
	p, err := f.plan(t, false, map[string]string{"full-check": "true"})
	if err != nil || len(p.Blockers) > 0 {
		t.Fatal(err, p.Blockers)
	}
	if diff := cmp.Diff([]string{"read every file of disk:/split/onebox/TableB", "load 900 rows, 4 files, 12159 bytes into TableB"}, stepTexts(p)); diff != "" {
		t.Error(diff)
	}
	if p.Class() != spec.Alter || len(p.Holds) != 1 || p.Holds[0].Setting != "rocksdb.usage_scenario of TableB" || p.Holds[0].During != "bulk_load" {
		t.Errorf("%s, holds %+v, notes %v", p.Class(), p.Holds, p.Notes)
	}
	if err := p.Steps[0].Job.Run(t.Context(), &journal{}); err != nil {
		t.Error(err)
	}
	f.place.level = "lively"
	f.apps[0].Envs = map[string]string{"rocksdb.usage_scenario": "prefer_write", "replica.write_throttling": "20000*delay*100", behindEnv: "true"}
	if p, err = f.plan(t, false, nil); err != nil {
		t.Fatal(err)
	}
	var holds []string
	for _, h := range p.Holds {
		was, err := h.Read(t.Context())
		holds = append(holds, fmt.Sprintf("%s %s to %s, %s, %v: %s", h.Setting, was, h.During, h.Class, err, h.Restore(was)))
	}
	if diff := cmp.Diff([]string{
		"rocksdb.usage_scenario of TableB prefer_write to bulk_load, change, <nil>: set_app_envs --table TableB rocksdb.usage_scenario prefer_write",
		"meta level lively to steady, change, <nil>: set_meta_level lively",
		"replica.write_throttling of TableB 20000*delay*100 to unset, risky, <nil>: set_app_envs --table TableB replica.write_throttling 20000*delay*100",
	}, holds); diff != "" {
		t.Error(diff)
	}
	f.place.level = "freezed"
	if p, err = f.plan(t, false, nil); err != nil || p.Holds[1].Class != spec.Risky {
		t.Errorf("a level at which nothing is cured was chosen on purpose: %v %+v", err, p.Holds)
	}
	if p, err = f.plan(t, true, nil); err != nil || p.Class() != spec.Alter || len(p.Holds) != 4 || len(p.Blockers) > 0 {
		t.Errorf("resumed: %v %s %+v", err, p.Class(), p.Holds)
	}
	if p, err = f.plan(t, false, map[string]string{"keep-settings": "true"}); err != nil || len(p.Holds) > 0 {
		t.Errorf("%v %+v", err, p.Holds)
	}
}

func TestBulkLoadBlockers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bulkFake)
		flags  map[string]string
		want   string // in a blocker
		note   string
	}{
		"duplicated": {change: func(f *bulkFake) { f.apps[0].Duplicating = true }, want: "TableB: it is being duplicated"},
		"split":      {change: func(f *bulkFake) { f.split.now = &driver.Split{Partitions: 8} }, want: "TableB: it is being split"},
		"loading":    {change: func(f *bulkFake) { f.apps[0].BulkLoading = true }, want: "TableB: it is being bulk loaded"},
		"another one": {change: func(f *bulkFake) {
			f.apps = append(f.apps, driver.App{ID: 8, Name: "other", Status: "AVAILABLE", BulkLoading: true})
		}, want: "other: it is being bulk loaded"},
		"unready":      {change: func(f *bulkFake) { f.partitions["TableB"][2].Secondaries = nil }, want: "TableB/2: 1 partition without all replicas"},
		"behind":       {flags: map[string]string{"ingest-behind": "true"}, want: "--ingest_behind needs rocksdb.allow_ingest_behind=true"},
		"another id":   {change: func(f *bulkFake) { f.apps[0].ID = 8 }, want: "bulk_load_info: it is for a table with the id 7"},
		"nothing":      {flags: map[string]string{"cluster-name": "ClusterB"}, want: "disk:/split/ClusterB/TableB/bulk_load_info: it is missing"},
		"a full disk":  {change: func(f *bulkFake) { f.disks.on = map[string][]driver.Disk{"a:1": {fullDisk()}} }, want: "data1 of a:1: 95 MiB of 100 MiB are used"},
		"unknown":      {flags: map[string]string{"file-provider-type": "hdfs_far"}, note: "this shell has no block service hdfs_far: what is there was not looked at"},
		"far disks":    {change: func(f *bulkFake) { f.blocks[0].Type, f.blocks[0].Where = storage.LocalType, "/data" }, note: "disk is a local_service: every server, a:1 for one, reads its own disk, and not /data of this machine"},
		"with rows":    {change: withRows, note: "the 4000 rows or so that are there are replaced where loaded ones have the same keys"},
		"still set up": {change: func(f *bulkFake) { f.apps[0].Envs[scenarioEnv] = loading }, note: "rocksdb.usage_scenario is bulk_load already, and stays so"},
	} {
		f := newBulk(t)
		if c.change != nil {
			c.change(f)
		}
		p, err := f.plan(t, false, c.flags)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var blockers []string
		for _, b := range p.Blockers {
			blockers = append(blockers, b.Object+": "+b.Why)
		}
		if text := strings.Join(blockers, "\n"); !strings.Contains(text, c.want) || c.want == "" && text != "" {
			t.Errorf("%s: blocked by %q", name, text)
		}
		if text := strings.Join(p.Notes, "\n"); !strings.Contains(text, c.note) {
			t.Errorf("%s: notes %s", name, text)
		}
		if len(f.bulk.asked) > 0 {
			t.Errorf("%s: a plan has asked for %v", name, f.bulk.asked)
		}
	}
	f := newBulk(t)
	f.blocks = append(f.blocks, commands.Block{Name: "s3", Type: storage.S3Type})
	if _, err := f.plan(t, false, map[string]string{"file-provider-type": "s3"}); spec.KindOf(err) != spec.Unable {
		t.Errorf("an s3_service: %v", err)
	}
}

func withRows(f *bulkFake) {
	for _, figures := range f.samples["a:1"][0].Replicas {
		figures[keysFigure] = 1000
	}
}

func fullDisk() driver.Disk {
	return driver.Disk{Tag: "data1", Capacity: 100 << 20, Available: 5 << 20, Replicas: []driver.DiskReplica{{AppID: 7, Partition: 0}}}
}

// run runs the load of a plan with a journal.
func (f *bulkFake) run(t *testing.T, ctx context.Context, resumed bool, j *journal) error {
	t.Helper()
	p, err := f.plan(t, resumed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.Steps[0].Job.Run(ctx, j)
}

const startAsked = "start {Table:TableB Cluster:onebox Provider:disk Root:/split Behind:false}"

func (f *bulkFake) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, f.bulk.asked); diff != "" {
		t.Error(diff)
	}
	f.bulk.asked = nil
}

func TestBulkLoadRun(t *testing.T) {
	f, j := newBulk(t), &journal{}
	half := load("BLS_DOWNLOADING", 4)
	half.Partitions[0].Replicas = map[string]driver.BulkReplica{"a:1": {Progress: 100}, "b:1": {Progress: 20}}
	f.loads(succeeded(4), half, load("BLS_PAUSED", 4), load("BLS_INGESTING", 4), load("BLS_DOWNLOADING", 4), load("BLS_SUCCEED", 4), succeeded(4))
	if err := f.run(t, t.Context(), false, j); err != nil {
		t.Fatal(err)
	}
	f.wantAsked(t, "clear TableB", startAsked)
	if !strings.HasPrefix(j.detail, "900 rows, 4 files, 12159 bytes loaded into 4 partitions; it began anew once") {
		t.Errorf("it says %q", j.detail)
	}
	if j.shown.Done != 4 || j.shown.Total != 4 || j.shown.Bytes != 12159 || j.shown.TotalBytes != 12159 {
		t.Errorf("it shows %+v", j.shown)
	}
}

func TestBulkLoadProgress(t *testing.T) {
	b := load("BLS_DOWNLOADING", 4)
	b.Partitions[0].Replicas = map[string]driver.BulkReplica{"a:1": {Progress: 100}, "b:1": {Progress: 20}, "c:1": {Progress: -1}}
	b.Partitions[1].Status = "BLS_DOWNLOADED"
	if p := progressOf(b, nil); p.download != 40 || p.ingested != 0 || p.String() != "about 40 % downloaded, 0 of 4 partitions ingested" {
		t.Errorf("%+v", p)
	}
	b = load("BLS_INGESTING", 4)
	b.Partitions[0].Replicas = map[string]driver.BulkReplica{"a:1": {Progress: -1, Ingest: "running"}, "b:1": {Progress: -1, Ingest: "running"}}
	b.Partitions[1].Status = "BLS_SUCCEED"
	if p := progressOf(b, nil); p.download != 100 || p.ingested != 1 || p.ingesting != 1 {
		t.Errorf("%+v", p)
	}
}

// Whenever the shell is killed, the bulk load is started once: what an earlier run has sent is followed.
func TestBulkLoadIsStartedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		killAt int               // the save that fails
		after  []driver.BulkLoad // what the next run sees
		starts int               // of both runs
	}{
		"before it is sent":              {1, []driver.BulkLoad{load(bulkNone, 0), load("BLS_DOWNLOADING", 4), succeeded(4)}, 1},
		"when it was sent":               {2, []driver.BulkLoad{load("BLS_DOWNLOADING", 4), load("BLS_INGESTING", 4), succeeded(4)}, 1},
		"when it was sent, and is over":  {2, []driver.BulkLoad{succeeded(4)}, 1},
		"when it was sent, and was lost": {2, []driver.BulkLoad{load(bulkNone, 0), load("BLS_DOWNLOADING", 4), succeeded(4)}, 2},
		"while it is followed":           {3, []driver.BulkLoad{load("BLS_INGESTING", 4), succeeded(4)}, 1},
	} {
		f, j := newBulk(t), &journal{killAt: c.killAt}
		f.loads(load(bulkNone, 0), load("BLS_DOWNLOADING", 4), load("BLS_INGESTING", 4))
		if err := f.run(t, t.Context(), false, j); !errors.Is(err, errKilled) {
			t.Fatalf("%s: %v", name, err)
		}
		f.loads(c.after...)
		f.apps[0].BulkLoading = true // which must not block what goes on
		if err := f.run(t, t.Context(), true, j); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(f.bulk.asked); n != c.starts {
			t.Errorf("%s: %d starts", name, n)
		}
	}
}

func TestBulkLoadRunFails(t *testing.T) {
	busy := &spec.Error{Kind: spec.Failed, Code: "ERR_BUSY", Err: errors.New("another table is loaded")}
	lost := &spec.Error{Kind: spec.UnknownOutcome, Err: errors.New("no answer")}
	for name, c := range map[string]struct {
		start error
		loads []driver.BulkLoad
		kind  spec.ErrorKind // Failed for none
		want  string         // "" for success
		hint  string
		again bool // the next run starts anew
	}{
		"refused":                {start: busy, loads: []driver.BulkLoad{load(bulkNone, 0)}, want: "ERR_BUSY", hint: "keeps the lock of one that was dropped", again: true},
		"no answer":              {start: lost, loads: []driver.BulkLoad{load(bulkNone, 0)}, kind: spec.UnknownOutcome, want: "no answer", hint: "job resume looks", again: true},
		"no answer, but begun":   {start: lost, loads: []driver.BulkLoad{load(bulkNone, 0), load("BLS_DOWNLOADING", 4), succeeded(4)}},
		"loading already":        {loads: []driver.BulkLoad{load("BLS_DOWNLOADING", 4)}, kind: spec.Refused, want: "is being bulk loaded already", hint: "nothing was sent"},
		"exhausted":              {loads: []driver.BulkLoad{load(bulkNone, 0), load("BLS_FAILED", 4)}, want: "ERR_RETRY_EXHAUSTED: trouble that may pass", hint: "the files are kept at disk:/split/onebox/TableB", again: true},
		"cancelled":              {loads: []driver.BulkLoad{load(bulkNone, 0), load("BLS_CANCELED", 4)}, want: "it was cancelled", hint: "the input is still at", again: true},
		"forgotten":              {loads: []driver.BulkLoad{load(bulkNone, 0), load("BLS_DOWNLOADING", 4), load(bulkNone, 0)}, want: "knows of no bulk load any more", again: true},
		"forgotten, and through": {loads: []driver.BulkLoad{load(bulkNone, 0), load("BLS_SUCCEED", 4), load(bulkNone, 0)}},
		"exhausted, with parts":  {loads: []driver.BulkLoad{load(bulkNone, 0), inPart(), load("BLS_FAILED", 4)}, want: "2 of 4 partitions were seen to have ingested: 1, 3", again: true},
	} {
		f, j := newBulk(t), &journal{}
		f.loads(c.loads...)
		f.bulk.start = c.start
		err := f.run(t, t.Context(), false, j)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || !strings.Contains(spec.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%v), hint %q", name, err, spec.KindOf(err), spec.HintOf(err))
		}
		if !c.again {
			continue
		}
		f.bulk.asked, f.bulk.start = nil, nil
		f.loads(load(bulkNone, 0), succeeded(4))
		if err := f.run(t, t.Context(), true, j); err != nil {
			t.Errorf("%s, again: %v", name, err)
		}
		f.wantAsked(t, startAsked)
	}
}

func inPart() driver.BulkLoad {
	b := load("BLS_INGESTING", 4)
	b.Partitions[1].Status, b.Partitions[3].Status = "BLS_SUCCEED", "BLS_SUCCEED"
	return b
}

// A meta server that does not answer for a while ends nothing; Ctrl-C says what goes on.
func TestBulkLoadFollowed(t *testing.T) {
	f, j := newBulk(t), &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	f.bulk.looks = func(n int) (driver.BulkLoad, error) {
		switch {
		case n == 1:
			return load(bulkNone, 0), nil
		case n < 4:
			return driver.BulkLoad{}, spec.Errorf(spec.Unavailable, "the meta server is away")
		case n == 5:
			cancel()
		}
		return load("BLS_DOWNLOADING", 4), nil
	}
	err := f.run(t, ctx, false, j)
	if spec.KindOf(err) != spec.Interrupted || !strings.Contains(err.Error(), "the servers go on with it (downloading)") ||
		!strings.Contains(err.Error(), "cancel_bulk_load -a TableB") || f.bulk.n < 5 {
		t.Errorf("%v after %d looks", err, f.bulk.n)
	}
	f.loads(load("BLS_INGESTING", 4), succeeded(4))
	if err := f.run(t, t.Context(), true, j); err != nil {
		t.Error(err)
	}
	f.wantAsked(t, startAsked)
}

// Old servers cannot forget how the last bulk load ended: then it is not guessed whether one was started.
func TestBulkLoadOfOldServers(t *testing.T) {
	f, j := newBulk(t), &journal{killAt: 2}
	f.bulk.clear = &spec.Error{Kind: spec.Failed, Code: "ERR_HANDLER_NOT_FOUND"}
	f.loads(succeeded(4))
	if err := f.run(t, t.Context(), false, j); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	f.wantAsked(t, "clear TableB", startAsked)
	if err := f.run(t, t.Context(), true, j); spec.KindOf(err) != spec.UnknownOutcome || !strings.Contains(err.Error(), "cannot be made to forget") {
		t.Error(err)
	}
	f.wantAsked(t)
	f.loads(load("BLS_DOWNLOADING", 4), succeeded(4))
	if err := f.run(t, t.Context(), true, j); err != nil {
		t.Error(err)
	}
	f.wantAsked(t)
}

// The input is looked at again where time has passed since the plan.
func TestBulkLoadResumedInput(t *testing.T) {
	f, j := newBulk(t), &journal{killAt: 1}
	f.loads(load(bulkNone, 0))
	if err := f.run(t, t.Context(), false, j); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if err := f.services["disk"].Remove(t.Context(), "split/onebox/TableB/1/000001.sst"); err != nil {
		t.Fatal(err)
	}
	if err := f.run(t, t.Context(), true, j); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "disk:/split/onebox/TableB/1/000001.sst: it is missing") {
		t.Error(err)
	}
	f.wantAsked(t)
}

func TestBulkOps(t *testing.T) {
	f := newBulk(t)
	f.apps[0].BulkLoading = true
	for status, want := range map[string]string{
		"BLS_DOWNLOADING": "kDoing downloading: about 0 % downloaded, 0 of 4 partitions ingested", "BLS_PAUSED": "kInited paused",
	} {
		f.loads(load(status, 4))
		ops, err := bulkOps(t.Context(), f.fake, f.apps)
		if err != nil || len(ops) != 1 || ops[0].status+" "+ops[0].task != want || ops[0].id != "bulk_load-7" {
			t.Errorf("%s: %+v %v", status, ops, err)
		}
	}
}
