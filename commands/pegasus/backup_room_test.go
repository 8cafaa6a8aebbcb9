package pegasus

import (
	"context"
	"strings"
	"testing"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// tight is a service that says what room there is.
type tight struct {
	storage.Service
	room storage.Room
}

func (s tight) Room(context.Context, string) (storage.Room, error) { return s.room, nil }

// backupFake is a cluster that can be backed up.
type backupFake struct{ *bulkFake }

func (f *backupFake) Open(context.Context, string) (cluster.Driver, error) { return f, nil }

func (*backupFake) StartTimes(context.Context, []string) (map[string]time.Time, error) {
	return nil, nil
}

func (*backupFake) StartBackup(context.Context, driver.App, string, string) (int64, error) {
	return 0, errMute
}

func (*backupFake) BackupsOf(context.Context, driver.App) ([]driver.Backup, error) { return nil, nil }

func (*backupFake) LargestUpload(context.Context, string) (int64, error) { return 0, errMute }

var _ backer = (*backupFake)(nil)

// What the primaries have, and none of the secondaries, is what a backup takes.
func TestBackupNeedsRoom(t *testing.T) {
	part := func(p int, mb float64) map[driver.ReplicaID]map[string]float64 {
		return map[driver.ReplicaID]map[string]float64{{App: 2, Partition: p}: {diskCounter: mb}}
	}
	for _, c := range []struct {
		name    string
		node    string // an endpoint beside a:1
		sandbox bool
		free    int64
		mute    bool
		flags   map[string][]string
		resumed bool
		note    string
		blocker string // "" for none
	}{
		{name: "enough", free: 30 << 20, note: "disk: 30 MiB free, about 30 MiB needed"},
		{name: "short", free: 30<<20 - 1, blocker: "disk: 30 MiB free, and about 30 MiB needed: make room, or name another place; rm_backup removes old backups"},
		{name: "short, resumed", free: 1 << 20, resumed: true, note: "disk: 1 MiB free, about 30 MiB needed, of which part may be there"},
		{name: "short, followed", free: 1 << 20, flags: map[string][]string{"follow": {"17"}}, note: "2 partitions, about 30 MB on the disks of the primaries"},
		{name: "of unknown size", free: 1 << 20, mute: true, note: "disk: 1 MiB free, how much is needed is not known"},
		{name: "far away", free: 1, node: "10.0.0.1:1", note: "how much room disk has cannot be seen from here", blocker: "disk: a local_service of 10.0.0.1:1 lies on the disks of each server itself"},
		{
			name: "far away, of the sandbox's name", free: 1, node: "10.0.0.1:1", sandbox: true, note: "how much room disk has cannot be seen from here",
			blocker: "disk: a local_service of 10.0.0.1:1 lies on the disks of each server itself, and not in the sandbox of this machine",
		},
	} {
		f := &backupFake{&bulkFake{countingFake: newCounting()}}
		f.place.level = "steady"
		s, err := storage.Directory("disk", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		f.services = map[string]storage.Service{"disk": tight{s, storage.Room{Free: c.free, Total: c.free, Copies: 1}}}
		f.blocks = []commands.Block{{Name: "disk", Type: storage.LocalType, Sandbox: c.sandbox}}
		a, b := "127.0.0.1:1", "127.0.0.2:1"
		f.nodes = []cluster.Node{{Endpoint: a, Alive: true}, {Endpoint: b, Alive: true}}
		if c.node != "" {
			f.nodes = append(f.nodes, cluster.Node{Endpoint: c.node, Alive: true})
		}
		f.apps = f.apps[:1]
		f.apps[0].Partitions = 2
		f.partitions = map[string][]driver.Partition{"demo": {partition(0, a, b), partition(1, b, a)}}
		if !c.mute {
			both := part(0, 10)
			both[driver.ReplicaID{App: 2, Partition: 1}] = map[string]float64{diskCounter: 20}
			f.samples = map[string][]*driver.Sample{a: {{Replicas: both}}, b: {{Replicas: both}}, c.node: {{}}}
		}
		word := Backup(f)
		call := &spec.Call{Command: &word, Cluster: "onebox", Args: []string{"demo", "disk"}, Flags: map[string][]string{"patience": {"1m"}, "max-rate": {"none"}}, Resumed: c.resumed}
		for k, v := range c.flags {
			call.Flags[k] = v
		}
		plan, err := word.Change(t.Context(), call)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		blocked := ""
		for _, b := range plan.Blockers {
			blocked += b.Object + ": " + b.Why
		}
		if notes := strings.Join(plan.Notes, "\n"); !strings.Contains(notes, c.note) || (blocked == "") != (c.blocker == "") || !strings.HasPrefix(blocked, c.blocker) {
			t.Errorf("%s: blocked by %q, with the notes\n%s", c.name, blocked, notes)
		}
	}
}

// What a backup has is about what the input of a bulk load made of it has.
func TestSplitNeedsRoom(t *testing.T) {
	for free, blocked := range map[int64]bool{1 << 30: false, 10: true} {
		env := &tightBlocks{withBackup(t, backuptest.Single()), free}
		plan, err := planOfSplit(t, env, false, map[string]string{"table": "TableB", "partitions": "8", "app-id": "7"}, "disk:/", "disk:/out")
		if err != nil {
			t.Fatal(err)
		}
		if (len(plan.Blockers) == 1) != blocked || blocked && !strings.HasPrefix(plan.Blockers[0].Why, "10 B free, and about ") {
			t.Errorf("%d bytes are free: %+v", free, plan.Blockers)
		}
	}
}

// tightBlocks is the environment whose block service has little room.
type tightBlocks struct {
	*blocks
	free int64
}

func (b *tightBlocks) Block(ctx context.Context, name string) (storage.Service, error) {
	s, err := b.blocks.Block(ctx, name)
	return tight{s, storage.Room{Free: b.free, Total: b.free, Copies: 1}}, err
}

// restoreFake is a cluster that can restore.
type restoreFake struct{ *bulkFake }

func (*restoreFake) StartRestore(context.Context, driver.NewRestore) (int32, error) {
	return 0, errMute
}

func (*restoreFake) RestoreStatus(context.Context, int32) (driver.App, driver.Restore, error) {
	return driver.App{}, driver.Restore{}, errMute
}

// A restored table has all its replicas on the disks of the nodes, of which servers leave a tenth free.
func TestRestoreNeedsRoom(t *testing.T) {
	const mebi = 1 << 20
	disk := driver.Disk{Tag: "data1", Capacity: 100 * mebi, Available: 50 * mebi}
	full := driver.Disk{Tag: "data2", Capacity: 100 * mebi, Available: 5 * mebi}
	for _, c := range []struct {
		name     string
		disks    map[string][]driver.Disk
		replicas int32
		there    bool
		mute     bool
		notes    string
		blocker  string
	}{
		{
			name: "enough", disks: map[string][]driver.Disk{"a:1": {disk, full}, "b:1": {disk}, "c:1": {disk}}, replicas: 3,
			notes: "120 MiB free on the disks of 3 nodes, about 120 MiB needed by 3 replicas of each partition",
		},
		{
			name: "short", disks: map[string][]driver.Disk{"a:1": {disk, full}, "b:1": {disk}, "c:1": {full}}, replicas: 3,
			blocker: "80 MiB free on the disks of 3 nodes, about 120 MiB needed by 3 replicas of each partition: servers do not write to a disk that is over 90 % full",
		},
		{
			name: "as many replicas as there are nodes", disks: map[string][]driver.Disk{"a:1": {disk}, "b:1": {disk}, "c:1": {disk}}, replicas: 5,
			notes: "120 MiB free on the disks of 3 nodes, about 120 MiB needed by 3 replicas of each partition",
		},
		{name: "restored already", replicas: 3, there: true},
		{name: "no answer", replicas: 3, mute: true, notes: "whether the nodes have room is not known: b:1 does not answer"},
		{name: "no capacity", disks: map[string][]driver.Disk{"a:1": {{Tag: "data1"}}}, replicas: 3, notes: "whether the nodes have room is not known: a:1 tells no capacity of data1"},
	} {
		f := &restoreFake{&bulkFake{countingFake: newCounting()}}
		f.disks.on = c.disks
		if c.mute {
			f.disks.errs = map[string]error{"b:1 ": spec.Errorf(spec.Unavailable, "b:1 does not answer")}
		}
		part := &coldbackup.Partition{Checkpoint: &coldbackup.Checkpoint{TotalSize: 20 * mebi}}
		x := &tableRestore{
			c: f, there: c.there, want: driver.NewRestore{NewName: "again"},
			table: &coldbackup.Table{App: &coldbackup.App{MaxReplicaCount: c.replicas}, Partitions: []*coldbackup.Partition{part, part}},
		}
		plan := &spec.Plan{}
		if err := x.lookAtDisks(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		blocked := ""
		for _, b := range plan.Blockers {
			blocked += b.Why
		}
		if notes := strings.Join(plan.Notes, "; "); notes != c.notes || (blocked == "") != (c.blocker == "") || !strings.HasPrefix(blocked, c.blocker) {
			t.Errorf("%s: blocked by %q, with the notes %q", c.name, blocked, notes)
		}
	}
}
