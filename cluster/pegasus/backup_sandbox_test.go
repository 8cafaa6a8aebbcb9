package pegasus

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// coldbox is a onebox with a local_service and a hdfs_service, which are directories.
type coldbox struct {
	*Driver
	t    *testing.T
	c    sandbox.ClusterServer
	dirs map[string]string
}

func newColdbox(t *testing.T, settings map[string]string) *coldbox {
	t.Helper()
	dirs := map[string]string{"disk": t.TempDir(), "hdfs_zjy": t.TempDir()}
	d, c := oneboxWith(t, sandbox.Config{Providers: dirs, Settings: settings})
	return &coldbox{d, t, c, dirs}
}

func (b *coldbox) do(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *coldbox) eventually(what string, holds func() bool) {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("never came true: %s", what)
		}
	}
}

func (b *coldbox) table(name string) App {
	b.t.Helper()
	a, err := b.app(b.t.Context(), "find a table", name)
	b.do(err)
	return a
}

func (b *coldbox) arm(point string, n int) {
	b.t.Helper()
	b.do(b.c.(sandbox.Breaker).Break(b.t.Context(), point, n))
}

// start begins a backup and answers its id.
func (b *coldbox) start(table, provider, path string) int64 {
	b.t.Helper()
	id, err := b.StartBackup(b.t.Context(), b.table(table), provider, path)
	b.do(err)
	return id
}

// status is a backup as the leading meta server has it.
func (b *coldbox) status(table string, id int64) Backup {
	b.t.Helper()
	list, err := b.BackupsOf(b.t.Context(), b.table(table))
	b.do(err)
	i := slices.IndexFunc(list, func(x Backup) bool { return x.ID == id })
	if i < 0 {
		b.t.Fatalf("the backup %d is not among %v", id, list)
	}
	return list[i]
}

func (b *coldbox) backUp(table, provider, path string) int64 {
	b.t.Helper()
	id := b.start(table, provider, path)
	b.eventually("the backup of "+table+" is complete", func() bool { return !b.status(table, id).End.IsZero() })
	return id
}

// contents are all rows of a table with their values; when they expire is asked elsewhere.
func (b *coldbox) contents(table string) map[string]string {
	b.t.Helper()
	all := map[string]string{}
	for row, err := range b.Scan(b.t.Context(), table, ScanOptions{Partition: -1}) {
		b.do(err)
		all[fmt.Sprintf("%q %q", row.Hash, row.Sort)] = string(row.Value)
	}
	return all
}

func (b *coldbox) fill(table string, from, to int, value string) {
	b.t.Helper()
	for i := from; i < to; i++ {
		_, err := b.Set(b.t.Context(), table, fmt.Appendf(nil, "hash%d", i%37), fmt.Appendf(nil, "sort%05d", i), fmt.Append(nil, value, i), 0)
		b.do(err)
	}
}

// uploads is the sum of the counter that tells of uploads, over all nodes.
func (b *coldbox) uploads() int64 {
	b.t.Helper()
	sum := int64(0)
	for _, n := range b.c.Nodes() {
		if n.Role != "replica-server" || n.State != sandbox.Alive {
			continue
		}
		var a string
		q := wire.Command{Name: "perf-counters-by-substr", Args: []string{"cold.backup.max.upload.file.size"}}
		if err := call(b.t.Context(), b.Driver, n.Endpoint, &wire.CallCommand, wire.GPID{}, 0, &q, &a, nil); err != nil {
			continue
		}
		var list struct{ Counters []struct{ Value float64 } }
		b.do(json.Unmarshal([]byte(a), &list))
		for _, c := range list.Counters {
			sum += int64(c.Value)
		}
	}
	return sum
}

// place is a file of a backup.
func (b *coldbox) place(provider string, parts ...any) string {
	dir := b.dirs[provider]
	for _, p := range parts {
		dir = filepath.Join(dir, fmt.Sprint(p))
	}
	return dir
}

// read reads a file and checks what a local_service keeps beside it.
func (b *coldbox) read(name string) []byte {
	b.t.Helper()
	text, err := os.ReadFile(name)
	b.do(err)
	meta, err := os.ReadFile(filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".meta"))
	b.do(err)
	sum := md5.Sum(text)
	if want := fmt.Sprintf(`{"size":%d,"md5":"%s"}`, len(text), hex.EncodeToString(sum[:])); string(meta) != want {
		b.t.Errorf("beside %s is %s, want %s", name, meta, want)
	}
	return text
}

// keys are the keys of a JSON object in their order.
func keys(t *testing.T, text []byte) (names []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// A backup is laid out as Pegasus does it, its files are what their list says, and its tables have the rows.
func TestColdBackupLayout(t *testing.T) {
	b := newColdbox(t, nil)
	a := b.table("TableA")
	want := b.contents("TableA")
	id := b.backUp("TableA", "hdfs_zjy", "/user/pegasus")
	if s := b.status("TableA", id); s.Failed || s.Provider != "hdfs_zjy" || s.Path != "/user/pegasus" || s.Start.UnixMilli() != id || !s.End.After(s.Start) {
		t.Errorf("the backup is %+v", s)
	}
	top := b.place("hdfs_zjy", "user/pegasus/onebox", id)
	if got, want := string(b.read(filepath.Join(top, "backup_info"))), fmt.Sprintf(`{"backup_id":%d,"start_time_ms":%[1]d,"end_time_ms":0,"app_id":%d,"app_name":"TableA"}`, id, a.ID); got != want {
		t.Errorf("backup_info is %s, want %s", got, want)
	}
	dir := filepath.Join(top, fmt.Sprintf("TableA_%d", a.ID))
	meta := b.read(filepath.Join(dir, "meta/app_metadata"))
	if got, want := strings.Join(keys(t, meta), " "), "status app_type app_name app_id partition_count envs is_stateful max_replica_count expire_second create_second "+
		"drop_second duplicating init_partition_count is_bulk_loading"; got != want {
		t.Errorf("app_metadata has %s", got)
	}
	if want := fmt.Sprintf(`{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"TableA","app_id":%d,"partition_count":8,"envs":{},"is_stateful":1,`, a.ID); !strings.HasPrefix(string(meta), want) {
		t.Errorf("app_metadata is %s", meta)
	}
	got := map[string]string{}
	for i := range 8 {
		b.checkPartition(filepath.Join(dir, fmt.Sprint(i)), got)
	}
	if len(got) != len(want) {
		t.Errorf("%d rows in the backup, %d in the table", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s is %q in the backup, %q in the table", k, got[k], v)
		}
	}
}

// checkPartition checks the files of a partition and adds its rows.
func (b *coldbox) checkPartition(dir string, rows map[string]string) {
	b.t.Helper()
	current := string(b.read(filepath.Join(dir, "current_checkpoint")))
	if !strings.HasPrefix(current, "chkpt_127.0.") || strings.Count(current, "_") != 2 {
		b.t.Fatalf("current_checkpoint is %q", current)
	}
	dir = filepath.Join(dir, current)
	text := b.read(filepath.Join(dir, "backup_metadata"))
	if got := strings.Join(keys(b.t, text), " "); got != "checkpoint_decree checkpoint_timestamp files checkpoint_total_size" {
		b.t.Errorf("backup_metadata has %s", got)
	}
	var meta struct {
		Decree int64 `json:"checkpoint_decree"`
		Files  []struct {
			Name, MD5 string
			Size      int64
		}
		Total int64 `json:"checkpoint_total_size"`
	}
	b.do(json.Unmarshal(text, &meta))
	total := int64(0)
	for _, f := range meta.Files {
		content := b.read(filepath.Join(dir, f.Name))
		sum := md5.Sum(content)
		if int64(len(content)) != f.Size || hex.EncodeToString(sum[:]) != f.MD5 {
			b.t.Errorf("%s is not what the list says", f.Name)
		}
		total += f.Size
	}
	if total != meta.Total || meta.Decree <= 0 {
		b.t.Errorf("%d bytes of %d, decree %d", total, meta.Total, meta.Decree)
	}
	c, err := rocksdb.OpenCheckpoint(b.t.Context(), directory(dir))
	b.do(err)
	if v, err := c.DataVersion(b.t.Context()); v != 1 || err != nil {
		b.t.Errorf("data version %d, %v", v, err)
	}
	it, err := c.NewIterator(b.t.Context(), rocksdb.IterOptions{})
	b.do(err)
	defer it.Close()
	for it.Next() {
		hash, sort, err := wire.DecodeKey(it.Key())
		b.do(err)
		v, err := rocksdb.DecodeValue(1, it.Value())
		b.do(err)
		rows[fmt.Sprintf("%q %q", hash, sort)] = string(v.Data)
	}
	b.do(it.Err())
}

// directory is one of this machine as a rocksdb.Source.
type directory string

type directoryFile struct {
	*os.File
	size int64
}

func (f directoryFile) Size() int64 { return f.size }

func (d directory) Open(_ context.Context, name string) (rocksdb.File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return directoryFile{f, info.Size()}, nil
}

func codeOf(err error) string {
	var e *spec.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestColdBackupRefusals(t *testing.T) {
	b := newColdbox(t, nil)
	a := b.table("demo")
	gone := a
	gone.ID = 99
	for _, c := range []struct {
		app                  App
		provider, path, want string
	}{
		{gone, "disk", "", wire.CodeInvalidState},
		{a, "nobody", "", wire.CodeInvalidParameters},
		{a, "s3_service", "", wire.CodeInvalidParameters},  // no type that servers know
		{a, "disk", "/backup", wire.CodeInvalidParameters}, // its root is set
	} {
		if _, err := b.StartBackup(t.Context(), c.app, c.provider, c.path); codeOf(err) != c.want {
			t.Errorf("%d to %s at %q: %v, want %s", c.app.ID, c.provider, c.path, err, c.want)
		}
	}
	b.arm("backup.upload", 1_000_000)
	id := b.start("demo", "disk", "")
	if _, err := b.StartBackup(t.Context(), a, "disk", ""); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("a second one: %v", err)
	}
	b.eventually("it uploads", func() bool { return b.uploads() > 0 })
	if _, err := os.Stat(b.place("disk", "onebox", id, "backup_info")); !errors.Is(err, os.ErrNotExist) || !b.status("demo", id).End.IsZero() {
		t.Errorf("it is complete before its files are there: %v", err)
	}
	if found, err := b.Examine(t.Context()); err != nil || len(found) != 1 || found[0].Kind != "backup" || found[0].Object != "demo" || found[0].Bad {
		t.Errorf("while it runs: %+v, %v", found, err)
	}
	b.arm("backup.upload", 0)
	b.eventually("it is complete", func() bool { return !b.status("demo", id).End.IsZero() })
	if found, err := b.Examine(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("when it is complete: %+v, %v", found, err)
	}
	b.read(b.place("disk", "onebox", id, "backup_info"))
	if n := b.uploads(); n != 0 {
		t.Errorf("still %d bytes are being uploaded", n)
	}
	// A checkpoint that fails is the end of the backup.
	b.arm("backup.checkpoint", 1)
	id = b.start("demo", "disk", "")
	b.eventually("it fails", func() bool { return b.status("demo", id).Failed })
	if s := b.status("demo", id); !s.End.IsZero() {
		t.Errorf("it failed, and ended at %v", s.End)
	}

	off := newColdbox(t, map[string]string{"cold_backup_disabled": "true"})
	if _, err := off.StartBackup(t.Context(), off.table("demo"), "disk", ""); codeOf(err) != wire.CodeServiceNotActive {
		t.Errorf("switched off: %v", err)
	}
	if _, err := off.BackupsOf(t.Context(), off.table("demo")); codeOf(err) != wire.CodeServiceNotActive {
		t.Errorf("switched off: %v", err)
	}
}

// A backup whose server is started again while it uploads is never complete; nothing is uploaded any more, and after
// another meta server took the lead nobody knows of it.
func TestColdBackupStuck(t *testing.T) {
	b := newColdbox(t, nil)
	b.arm("backup.upload", 1_000_000)
	id := b.start("demo", "disk", "")
	b.eventually("it uploads", func() bool { return b.uploads() > 0 })
	dir := b.place("disk", "onebox", id, fmt.Sprintf("demo_%d", b.table("demo").ID))
	var leader string
	for _, n := range b.c.Nodes() {
		if n.Role == "meta-server" {
			if leader == "" {
				leader = n.Endpoint
			}
			continue
		}
		b.do(b.c.Kill(t.Context(), n.Endpoint))
		b.do(b.c.Start(t.Context(), n.Endpoint))
	}
	b.eventually("nothing is uploaded", func() bool { return b.uploads() == 0 })
	b.arm("backup.upload", 0)
	b.eventually("all of demo can be read again", func() bool {
		_, err := b.Set(t.Context(), "demo", []byte("h"), []byte("s"), []byte("v"), 0)
		return err == nil
	})
	// A backup that is begun later comes to its end, this one does not.
	other := b.backUp("TableA", "disk", "")
	if s := b.status("demo", id); !s.End.IsZero() || s.Failed {
		t.Errorf("a backup that was forgotten is %+v", s)
	}
	for i := range 4 {
		if _, err := os.Stat(filepath.Join(dir, fmt.Sprint(i), "current_checkpoint")); err == nil {
			t.Errorf("partition %d is complete", i)
		}
	}
	if _, err := b.StartBackup(t.Context(), b.table("demo"), "disk", ""); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("another one while it is thought to run: %v", err)
	}
	b.do(b.c.Kill(t.Context(), leader))
	b.eventually("another meta server leads and knows of no backup", func() bool {
		for _, table := range []string{"demo", "TableA"} {
			if list, err := b.BackupsOf(t.Context(), b.table(table)); err != nil || len(list) > 0 {
				return false
			}
		}
		return true
	})
	b.read(b.place("disk", "onebox", other, "backup_info"))
	b.backUp("demo", "disk", "")
}
