package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// cold runs a test on a cluster with a block service, in this process and with a process for each server; the service is a
// directory, or another one.
func cold(t *testing.T, compat string, test func(u *user, service BlockService)) {
	t.Parallel()
	for name, nodes := range map[string]*sandbox.NodeProcesses{"one process": nil, "per node": perNode(t)} {
		for _, far := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, far %t", name, far), func(t *testing.T) {
				t.Parallel()
				place := t.TempDir()
				service := BlockService(directory(place))
				if far {
					place, service = flatURL(place, ""), flat(place)
				}
				c := runAs(t, sandbox.Config{
					Name: "onebox", Dir: t.TempDir(), Nodes: nodes, Compat: compat, Providers: map[string]string{"hdfs_zjy": place},
				})
				test(newUser(t, c), service)
			})
		}
	}
}

// backUp backs a table up and answers the id.
func (u *user) backUp(app int32) int64 {
	u.t.Helper()
	a := ask(u, &wire.StartBackup, wire.StartBackupRequest{Provider: "hdfs_zjy", AppID: app, Path: new("/b")})
	if a.Err != wire.OK {
		u.t.Fatalf("back up: %+v", a)
	}
	u.eventually("the backup is complete", func() bool {
		q := ask(u, &wire.QueryBackup, wire.QueryBackupRequest{AppID: app, BackupID: a.BackupID})
		return q.Err == wire.OK && len(q.Items) == 1 && q.Items[0].EndMS > 0 && !q.Items[0].Failed
	})
	return *a.BackupID
}

func TestColdBackupRestored(t *testing.T) {
	cold(t, "", func(u *user, _ BlockService) {
		app := u.config("TableA").AppID
		want := u.rows("TableA")
		id := u.backUp(app)
		a := ask(u, &wire.StartRestore, wire.StartRestoreRequest{
			Cluster: "onebox", BackupID: id, AppName: "TableA", AppID: app, NewName: "copy", Provider: "hdfs_zjy", Path: new("/b"),
		})
		if a.Err != wire.OK {
			u.t.Fatalf("restore: %+v", a)
		}
		u.healthy("copy")
		if got := u.rows("copy"); !maps.Equal(got, want) {
			u.t.Errorf("%d rows, %d before", len(got), len(want))
		}
		q := ask(u, &wire.QueryRestore, wire.QueryRestoreRequest{AppID: a.AppID})
		if q.Err != wire.OK || slices.Min(q.Progress) != 1000 {
			u.t.Errorf("in the end it is %+v", q)
		}
	})
}

// external is a table to be ingested.
func external(t *testing.T, rows map[string]string) []byte {
	t.Helper()
	o := rocksdb.DefaultWriterOptions()
	o.External = true
	var out bytes.Buffer
	w, err := rocksdb.NewTableWriter(&out, o)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if err == nil {
			err = w.Put([]byte(k), append(make([]byte, rowHeader), rows[k]...))
		}
	}
	if err == nil {
		_, err = w.Finish()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (u *user) bulkInput(service BlockService, table string, rows int) {
	u.t.Helper()
	config := u.config(table)
	parts := make([]map[string]string, config.Partitions)
	for i := range parts {
		parts[i] = map[string]string{}
	}
	for i := range rows {
		hash := fmt.Sprint("loaded", i)
		p := wire.PartitionOf(wire.Hash([]byte(hash), nil), len(parts))
		parts[p][string(key(hash, "s"))] = fmt.Sprint("value ", i)
	}
	dir := path.Join("root/onebox", table)
	u.do(writeBlockJSON(u.t.Context(), service, path.Join(dir, "bulk_load_info"), bulkInfo{config.AppID, table, config.Partitions}))
	for i, rows := range parts {
		content := external(u.t, rows)
		at := path.Join(dir, fmt.Sprint(i))
		u.do(writeBlock(u.t.Context(), service, path.Join(at, "a.sst"), content))
		list := bulkMetadata{[]rocksdb.WrittenFile{{Name: "a.sst", Size: int64(len(content))}}, int64(len(content))}
		u.do(writeBlockJSON(u.t.Context(), service, path.Join(at, "bulk_load_metadata"), list))
	}
}

func TestBulkLoaded(t *testing.T) {
	cold(t, "2.6", func(u *user, service BlockService) {
		const rows = 500
		u.healthy("demo")
		u.bulkInput(service, "demo", rows)
		a := ask(u, &wire.StartBulkLoad, wire.StartBulkLoadRequest{AppName: "demo", Cluster: "onebox", Provider: "hdfs_zjy", Root: "/root"})
		if a.Err != wire.OK {
			u.t.Fatalf("bulk load: %+v", a)
		}
		var q wire.QueryBulkLoadResponse
		u.eventually("it is loaded", func() bool {
			q = ask(u, &wire.QueryBulkLoad, wire.QueryBulkLoadRequest{AppName: "demo"})
			return q.Err != wire.OK || q.Status == wire.BulkSucceed && !*q.Loading
		})
		if q.Err != wire.OK || len(q.States) != 4 || len(q.Hosts) != 4 || len(q.Hosts[0]) != 3 {
			u.t.Errorf("in the end it is %+v", q)
		}
		if got := u.rows("demo"); len(got) != rows {
			u.t.Errorf("%d rows of %d", len(got), rows)
		}
		if got, _ := u.get("demo", "loaded7", "s"); got != "value 7" {
			u.t.Errorf("a row reads %q", got)
		}
	})
}

// A meta server that is asked for the restore of a table that there never was ends, as Pegasus's does.
func TestQueryRestoreOfNothing(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	_, _ = try(u, u.c.metaAts[0], &wire.QueryRestore, wire.GPID{}, wire.QueryRestoreRequest{AppID: 99})
	u.eventually("the meta server is dead", func() bool { return u.c.Nodes()[0].State == sandbox.Dead })
}

func TestBackupFilesInJSON(t *testing.T) {
	for release, more := range map[release]string{release25: "", release26: `,"atomic_idempotent":1`} {
		a := &app{ID: 2, Name: "t", Type: appType, Partitions: 4, Init: 4, Replicas: 3, Stateful: true, Created: 5, Envs: map[string]string{"a": "b"}, AtomicIdempotent: true}
		text, err := json.Marshal(release.metadata(a))
		want := `{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"t","app_id":2,"partition_count":4,"envs":{},"is_stateful":1,` +
			`"max_replica_count":3,"expire_second":0,"create_second":5,"drop_second":0,"duplicating":0,"init_partition_count":4,"is_bulk_loading":0` + more + `}`
		if err != nil || string(text) != want {
			t.Errorf("%s, %v", text, err)
		}
	}
	var m appMetadata
	if err := json.Unmarshal([]byte(`{"is_stateful":true,"duplicating":0,"is_bulk_loading":false}`), &m); err != nil || !m.Stateful || m.Duplicating {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestConfiguration(t *testing.T) {
	for text, want := range map[string]string{"cold_backup_disabled=true": "", "strict=1": "", "other=1": "no setting", "strict=x": "true or false"} {
		k, v, _ := strings.Cut(text, "=")
		_, err := readConfiguration(map[string]string{k: v})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever a path is, it stays below the directory.
func TestDirectoryPaths(t *testing.T) {
	d := directory(t.TempDir())
	for _, name := range []string{"../../x", "/../x", "a/../../x"} {
		if err := writeBlock(t.Context(), d, name, []byte("v")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := readBlock(t.Context(), d, "x"); string(got) != "v" || err != nil {
			t.Errorf("%s reads %q, %v", name, got, err)
		}
	}
	if err := writeBlock(t.Context(), d, "/", nil); err == nil {
		t.Error("the root is a file")
	}
}
