package pegasus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/backuptest"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// servicesFake has block services.
type servicesFake struct {
	*fake
	blocks []commands.Block
	open   map[string]storage.Service
	broken error
}

func (f *servicesFake) Blocks() []commands.Block { return f.blocks }

func (f *servicesFake) Block(_ context.Context, name string) (storage.Service, error) {
	if s := f.open[name]; s != nil {
		return s, f.broken
	}
	return nil, spec.Errorf(spec.NotFound, "no block service is called %q", name).WithHint("block_services lists them")
}

func newServices(t *testing.T, endpoints ...string) (*servicesFake, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := storage.Open(storage.Config{Name: "disk", Type: storage.LocalType, Args: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := &servicesFake{fake: &fake{}, open: map[string]storage.Service{"disk": s}, blocks: []commands.Block{
		{Name: "disk", Type: storage.LocalType, Where: dir},
		{Name: "bucket", Type: storage.S3Type},
		{Name: "zjy", Type: storage.HDFSType, Where: "hdfs://zjyprc-hadoop /pegasus"},
		{Name: "plain", Type: storage.HDFSType, Where: "hdfs://zjyprc-hadoop /"},
	}}
	for _, e := range endpoints {
		f.nodes = append(f.nodes, cluster.Node{Endpoint: e, Alive: true})
	}
	return f, dir
}

// A local_service of servers elsewhere is theirs, and not this machine's directory of the same name.
func TestWhatIsSeenOfAService(t *testing.T) {
	for _, c := range []struct{ node, service, path, unseen, err string }{
		{"127.0.0.1:34801", "disk", "/backup", "", ""},
		{"localhost:34801", "disk", "", "", ""},
		{"10.0.0.1:34801", "disk", "/backup", "a local_service of 10.0.0.1:34801 lies on the disks of each server itself", ""},
		{"replica-1:34801", "disk", "/backup", "of replica-1:34801", ""},
		{"127.0.0.1:34801", "other", "", "config.ini has no such block service", ""},
		{"127.0.0.1:34801", "bucket", "", "", "which no server of Pegasus has"},
		{"127.0.0.1:34801", "disk", "/../etc", "", "leads upwards"},
	} {
		f, _ := newServices(t, c.node)
		s, err := openCold(t.Context(), f, f, c.service, c.path)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s at %s: %v", c.service, c.node, err)
			}
		case err != nil:
			t.Errorf("%s at %s: %v", c.service, c.node, err)
		case !strings.Contains(s.unseen, c.unseen) || (s.store == nil) != (c.unseen != ""):
			t.Errorf("%s at %s: %q", c.service, c.node, s.unseen)
		}
	}
	f, _ := newServices(t, "127.0.0.1:34801")
	f.broken = errors.New("no route to host")
	if s, err := openCold(t.Context(), f, f, "disk", ""); err != nil || !strings.Contains(s.unseen, "cannot be reached from here: no route") {
		t.Errorf("%v, %v", s, err)
	}
	for service, want := range map[string]string{"zjy": "/pegasus", "plain": "", "disk": "", "other": ""} {
		if got := hdfsRoot(f, service); got != want {
			t.Errorf("the root of %s is %q", service, got)
		}
	}
}

// A backup that nothing can be seen of is never said to be good.
func TestUnseenBackupIsNotChecked(t *testing.T) {
	f, _ := newServices(t, "10.0.0.1:34801")
	to, err := openCold(t.Context(), f, f, "disk", "")
	if err != nil {
		t.Fatal(err)
	}
	x := &tableBackup{app: driver.App{ID: 3, Name: "TableA", Partitions: 4}, to: to}
	r := &backupRun{tableBackup: x, w: &journal{}, state: backupState{ID: 1742888751127, Ended: true}}
	if err := r.check(t.Context()); spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), "was not checked: a local_service of 10.0.0.1") {
		t.Errorf("%v", err)
	}
	if x.result.status == "complete" || x.result.sideCar || x.result.checked != "no" {
		t.Errorf("it is %+v", x.result)
	}
}

// put writes a backup to a service.
func put(t *testing.T, s storage.Service) {
	t.Helper()
	from := t.TempDir()
	err := backuptest.Write(from, backuptest.Single())
	if err == nil {
		err = filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			to, err := filepath.Rel(from, name)
			if err != nil {
				return err
			}
			return storage.WriteFile(t.Context(), s, filepath.ToSlash(to), content)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What has arrived of a partition is derived from its files, in whichever state they are.
func TestPartitionIsDerived(t *testing.T) {
	f, dir := newServices(t)
	put(t, f.open["disk"])
	s := blockStore{f.open["disk"]}
	part := "onebox/1742888751127/single_4/1"
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(part), name) }
	look := func() partSeen {
		t.Helper()
		p, err := lookAtPartition(t.Context(), s, part)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole := look()
	if !whole.done || whole.files == 0 || whole.bytes != whole.total || whole.percent() != 100 {
		t.Errorf("a whole one is %+v", whole)
	}
	// Another checkpoint, of the primary before, has more in it, and does not count.
	if err := os.MkdirAll(at("chkpt_10.0.0.9_34801"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteFile(t.Context(), f.open["disk"], part+"/chkpt_10.0.0.9_34801/big.sst", make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if p := look(); p.bytes != whole.bytes || p.checkpoints != 2 {
		t.Errorf("beside another checkpoint it is %+v", p)
	}
	// current_checkpoint is written last: until its .meta is there nobody finds it.
	if err := errors.Join(os.Remove(at(".current_checkpoint.meta")), os.RemoveAll(at("chkpt_10.0.0.9_34801"))); err != nil {
		t.Fatal(err)
	}
	if p := look(); p.done || p.percent() != 99 || p.bytes != whole.bytes {
		t.Errorf("before it is named it is %+v", p)
	}
	if err := errors.Join(os.Remove(at("chkpt_10.0.0.1_34801/.backup_metadata.meta")), os.Remove(at("chkpt_10.0.0.1_34801/backup_metadata"))); err != nil {
		t.Fatal(err)
	}
	if p := look(); p.done || p.percent() != -1 || p.files != whole.files {
		t.Errorf("without its list it is %+v", p)
	}
	if p, err := lookAtPartition(t.Context(), s, "onebox/1742888751127/single_4/9"); err != nil || p != (partSeen{}) {
		t.Errorf("one that is not there is %+v, %v", p, err)
	}
}

// rateFake is a cluster whose servers have limits.
type rateFake struct {
	*fake
	version driver.Version
	mu      sync.Mutex
	values  map[string]string // by endpoint
}

func (f *rateFake) ServerVersion(context.Context, string) (driver.Version, error) {
	return f.version, nil
}

func (f *rateFake) RemoteCommand(_ context.Context, endpoint, _ string, args ...string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(args) > 0 {
		f.values[endpoint] = args[0]
		return "OK", nil
	}
	return f.values[endpoint], nil
}

func TestSendRateIsHeldByRelease(t *testing.T) {
	call := &spec.Call{Command: &spec.Command{Flags: []spec.Flag{sendRateFlag}}}
	for _, c := range []struct {
		version driver.Version
		a, b    string // what two servers have
		held    []commands.Held
		command string // that is held, "" when none is
		notes   string
	}{
		{version: driver.Version{Major: 2, Minor: 3}, a: "500", b: "500", command: sendRateOld, notes: "held at 50 (it is 500)"},
		{version: driver.Version{Major: 2, Minor: 4}, a: "500", b: "500", command: sendRateNew, notes: "held at 50 (it is 500)"},
		{version: driver.Version{Major: 2, Minor: 6}, a: `{"error":"ok","nfs.max_send_rate_megabytes_per_disk":"0"}`, b: "0", command: sendRateNew, notes: "(it is 0)"},
		{version: driver.Version{Major: 2, Minor: 5}, a: "40", b: "40", notes: "is 40, and left alone"},
		{version: driver.Version{Major: 2, Minor: 5}, a: "500", b: "100", notes: "differs between servers (100, 500)"},
		{version: driver.Version{Major: 2, Minor: 5}, a: "unknown command", b: "500", notes: "is not known, and left alone"},
		{
			version: driver.Version{Major: 2, Minor: 5}, a: "100", b: "100", held: []commands.Held{{Setting: sendRateNew, Was: "500", During: "50"}},
			command: sendRateNew, notes: "left so by a shell that was killed; it is held at 50, and put back to 500",
		},
		{
			version: driver.Version{Major: 2, Minor: 5}, a: "50", b: "50", held: []commands.Held{{Setting: sendRateNew, Was: "500", During: "50"}},
			command: sendRateNew, notes: "put back to 500",
		},
		{
			version: driver.Version{Major: 2, Minor: 5}, a: "100", b: "100", held: []commands.Held{{Setting: sendRateNew, Was: "500", During: "50", Active: true}},
			command: sendRateNew, notes: "held at 50 (it is 100)",
		},
	} {
		f := &rateFake{fake: &fake{held: c.held}, version: c.version, values: map[string]string{"a:1": c.a, "b:1": c.b}}
		f.nodes = []cluster.Node{{Endpoint: "a:1", Alive: true}, {Endpoint: "b:1", Alive: true}, {Endpoint: "c:1"}}
		plan := &spec.Plan{}
		if _, err := planSendRate(t.Context(), f, call, f, plan); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(plan.Notes, "; "); !strings.Contains(text, c.notes) {
			t.Errorf("%v %s %s: it says %s", c.version, c.a, c.b, text)
		}
		if held := len(plan.Holds) == 1 && plan.Holds[0].Setting == c.command; held != (c.command != "") {
			t.Errorf("%v %s %s: it holds %+v", c.version, c.a, c.b, plan.Holds)
		}
	}
}

// The rows of a restored table are compared with those of the backup, some of which may have expired in between.
func TestRestoredRowsAreCompared(t *testing.T) {
	x := &tableRestore{want: driver.NewRestore{NewName: "again"}}
	for _, c := range []struct {
		there, least, most, strays int64
		says                       string // "" when it is as it should be
	}{
		{10, 10, 10, 0, ""},
		{9, 8, 10, 0, ""},
		{7, 8, 10, 0, "has 7 rows and the backup 8 to 10 rows"},
		{11, 10, 10, 0, "has 11 rows and the backup 10 rows"},
		{13, 10, 10, 3, "besides 3 that a split has left"},
		{14, 10, 10, 3, "has 14 rows and the backup 10 rows"},
		{0, 10, 10, 3, "has 0 rows"},
	} {
		err := x.compare(&journal{}, c.there, c.least, c.most, c.strays)
		switch {
		case c.says == "" && err != nil, c.says != "" && (spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestFreeName(t *testing.T) {
	apps := []driver.App{{Name: "a"}, {Name: "a_restored"}, {Name: "a_restored2", Status: "DROPPED"}}
	if got := freeName("a", apps); got != "a_restored2" {
		t.Errorf("it is %s", got)
	}
}

func TestPolicyIsDue(t *testing.T) {
	at := time.Date(2024, 3, 1, 3, 0, 0, 0, time.UTC)
	p := driver.BackupPolicy{Every: 24 * time.Hour, Backups: []driver.PolicyBackup{{Start: at.Add(-48 * time.Hour)}, {Start: at}}}
	if row := policyRow(p); row[7] != at || row[8] != at.Add(24*time.Hour) {
		t.Errorf("it is %v", row)
	}
	p.Disabled = true
	if row := policyRow(p); row[5] != "disabled" || row[8] != nil {
		t.Errorf("disabled it is %v", row)
	}
}

// What is so already is not sent, and the line that takes a change back has what was.
func TestPolicyChangeText(t *testing.T) {
	old := driver.BackupPolicy{Name: "p", Tables: []int32{1, 2}, Every: time.Hour, Keep: 3, Start: "03:00"}
	c := withoutSame(old, driver.PolicyChange{Add: []int32{2, 5}, Remove: []int32{1, 7}, Every: new(time.Hour), Keep: new(4), Start: new("04:00")})
	text, undo := changeText(old, c)
	if text != "with table 5, without table 1, keep 4, at 04:00" || undo != "modify_backup_policy -p p -r 5 -a 1 -c 3 -s 03:00" {
		t.Errorf("%q, %q", text, undo)
	}
	if text, _ := changeText(old, withoutSame(old, driver.PolicyChange{Keep: new(3)})); text != "" {
		t.Errorf("nothing changes: %q", text)
	}
}
