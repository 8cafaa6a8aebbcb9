package pegasus

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// of is the restore of a backup that was made under /b of hdfs_zjy.
func (b *coldbox) of(table string, id int64, name string) NewRestore {
	b.t.Helper()
	return NewRestore{Provider: "hdfs_zjy", Path: "/b", Cluster: "onebox", BackupID: id, Table: table, TableID: b.table(table).ID, NewName: name}
}

// restored waits for the end of a restore.
func (b *coldbox) restored(id int32) (App, Restore) {
	b.t.Helper()
	var a App
	var r Restore
	b.eventually("the restore ends", func() bool {
		var err error
		a, r, err = b.RestoreStatus(b.t.Context(), id)
		b.do(err)
		return r.Dropped || r.Done() && a.Status == "AVAILABLE"
	})
	return a, r
}

func TestRestore(t *testing.T) {
	b := newColdbox(t, nil)
	want := b.contents("TableA")
	id := b.backUp("TableA", "hdfs_zjy", "/b")
	old := b.table("TableA")
	for name, c := range map[string]struct {
		change func(*NewRestore)
		want   string
	}{
		"nobody's":       {func(r *NewRestore) { r.Provider = "nobody" }, wire.CodeInvalidParameters},
		"another id":     {func(r *NewRestore) { r.TableID++ }, wire.CodeObjectNotFound},
		"another backup": {func(r *NewRestore) { r.BackupID++ }, wire.CodeObjectNotFound},
		"another path":   {func(r *NewRestore) { r.Path = "" }, wire.CodeObjectNotFound},
		"a policy":       {func(r *NewRestore) { r.Policy = "p" }, wire.CodeObjectNotFound},
		"a taken name":   {func(r *NewRestore) { r.NewName = "" }, wire.CodeInvalidParameters},
	} {
		r := b.of("TableA", id, "copy")
		c.change(&r)
		if _, err := b.StartRestore(t.Context(), r); codeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, _, err := b.RestoreStatus(t.Context(), 99); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a table that never was: %v", err)
	}
	q := b.of("TableA", id, "copy")
	b.arm("restore.download", 1_000_000)
	made, err := b.StartRestore(t.Context(), q)
	b.do(err)
	a, r, err := b.RestoreStatus(t.Context(), made)
	b.do(err)
	if r.Done() || a.Status != "CREATING" || len(r.Codes) != 8 || r.Codes[0] != wire.OK {
		t.Errorf("at first it is %+v, %+v", a, r)
	}
	if _, err := b.Partitions(t.Context(), "copy"); codeOf(err) != wire.CodeBusyCreating {
		t.Errorf("before it is restored: %v", err)
	}
	if err := b.DropApp(t.Context(), "copy", 0); codeOf(err) != wire.CodeBusyCreating {
		t.Errorf("dropped before it is restored: %v", err)
	}
	b.arm("restore.download", 0)
	a, r = b.restored(made)
	if slices.ContainsFunc(r.Codes, func(code string) bool { return code != wire.OK }) || a.Partitions != 8 || a.Replicas != 3 || a.ID <= old.ID {
		t.Errorf("it is %+v, %+v", a, r)
	}
	if want := map[string]string{
		"restore.block_service_provider": "hdfs_zjy", "restore.cluster_name": "onebox", "restore.policy_name": "", "restore.app_name": "TableA",
		"restore.app_id": fmt.Sprint(old.ID), "restore.backup_id": fmt.Sprint(id), "restore.restore_path": "/b",
	}; !maps.Equal(a.Envs, want) {
		t.Errorf("its envs are %v", a.Envs)
	}
	if got := b.contents("copy"); !maps.Equal(got, want) {
		t.Errorf("%d rows, %d before", len(got), len(want))
	}
	waitReady(t, b.Driver, "copy", 8) // before, a partition may have too few replicas to write
	b.fill("copy", 0, 20, "new")      // it takes writes
	// The original may be gone: only its name and id are looked at.
	b.do(b.DropApp(t.Context(), "TableA", 0))
	q.NewName = "TableA"
	made, err = b.StartRestore(t.Context(), q)
	b.do(err)
	b.restored(made)
	if got := b.contents("TableA"); !maps.Equal(got, want) {
		t.Errorf("%d rows, %d before", len(got), len(want))
	}
}

// What is missing or damaged drops the new table, or with SkipBad empties a partition.
func TestRestoreOfDamagedBackup(t *testing.T) {
	b := newColdbox(t, map[string]string{"strict": "true"})
	want := b.contents("TableA")
	for _, c := range []struct {
		name string
		harm func(dir string)
	}{
		{"a byte", func(dir string) {
			names, err := filepath.Glob(filepath.Join(dir, "chkpt_*", "*.sst"))
			b.do(err)
			text, err := os.ReadFile(names[0])
			b.do(err)
			text[len(text)/2] ^= 1
			b.do(os.WriteFile(names[0], text, 0o600))
		}},
		{"the list", func(dir string) {
			names, err := filepath.Glob(filepath.Join(dir, "chkpt_*", "backup_metadata"))
			b.do(err)
			b.do(os.WriteFile(names[0], []byte("{"), 0o600))
		}},
		{"no current_checkpoint", func(dir string) { b.do(os.Remove(filepath.Join(dir, "current_checkpoint"))) }},
		{"no .meta", func(dir string) { b.do(os.Remove(filepath.Join(dir, ".current_checkpoint.meta"))) }},
	} {
		id := b.backUp("TableA", "hdfs_zjy", "/b")
		q := b.of("TableA", id, "copy")
		c.harm(b.place("hdfs_zjy", "b/onebox", id, fmt.Sprintf("TableA_%d", q.TableID), 3))
		made, err := b.StartRestore(t.Context(), q)
		b.do(err)
		if _, r := b.restored(made); !r.Dropped {
			t.Errorf("%s: %+v", c.name, r)
		}
		q.SkipBad = true
		made, err = b.StartRestore(t.Context(), q)
		b.do(err)
		a, r := b.restored(made)
		bad := 0
		for i, code := range r.Codes {
			if code == wire.CodeIgnoreBadData && i == 3 {
				bad++
			}
		}
		got := b.contents("copy")
		if bad != 1 || len(got) >= len(want) || len(got) == 0 || a.Envs["restore.skip_bad_partition"] != "true" {
			t.Errorf("%s: %d rows, %v, %v", c.name, len(got), r.Codes, a.Envs)
		}
		for k, v := range got {
			if want[k] != v {
				t.Fatalf("%s: %s is %q", c.name, k, v)
			}
		}
		b.do(b.DropApp(t.Context(), "copy", 0))
	}
	id := b.backUp("TableA", "hdfs_zjy", "/b")
	q := b.of("TableA", id, "copy")
	meta := b.place("hdfs_zjy", "b/onebox", id, fmt.Sprintf("TableA_%d", q.TableID), "meta/app_metadata")
	b.do(os.WriteFile(meta, []byte("no JSON"), 0o600))
	if _, err := b.StartRestore(t.Context(), q); codeOf(err) != wire.CodeCorruption {
		t.Errorf("an app_metadata that is no JSON: %v", err)
	}
	// The documents say that the original must be there. Only a strict sandbox does.
	id = b.backUp("TableA", "hdfs_zjy", "/b")
	q = b.of("TableA", id, "copy")
	b.do(b.DropApp(t.Context(), "TableA", 0))
	if _, err := b.StartRestore(t.Context(), q); codeOf(err) != wire.CodeInvalidParameters {
		t.Errorf("the original is gone: %v", err)
	}
}

// A restore survives the death of servers, of meta servers as well.
func TestRestoreThroughKills(t *testing.T) {
	b := newColdbox(t, nil)
	want := b.contents("TableA")
	id := b.backUp("TableA", "hdfs_zjy", "/b")
	b.arm("restore.download", 20)
	made, err := b.StartRestore(t.Context(), b.of("TableA", id, "copy"))
	b.do(err)
	var metas, nodes []string
	for _, n := range b.c.Nodes() {
		if strings.HasPrefix(n.Role, "meta") {
			metas = append(metas, n.Endpoint)
		} else {
			nodes = append(nodes, n.Endpoint)
		}
	}
	b.do(b.c.Kill(t.Context(), nodes[1]))
	b.do(b.c.Kill(t.Context(), metas[0]))
	b.do(b.c.Start(t.Context(), metas[0]))
	b.restored(made)
	b.do(b.c.Start(t.Context(), nodes[1]))
	if got := b.contents("copy"); !maps.Equal(got, want) {
		t.Errorf("%d rows, %d before", len(got), len(want))
	}
	if n := len(b.c.Nodes()); n != 5 || b.c.Nodes()[3].State != sandbox.Alive {
		t.Errorf("%d nodes", n)
	}
}
