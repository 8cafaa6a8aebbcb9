package pegasus

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestBackups(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	apps := []App{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 3, Name: "c"}}
	on(meta, &wire.QueryBackup, func(_ wire.Header, q *wire.QueryBackupRequest) *wire.QueryBackupResponse {
		switch q.AppID {
		case 1:
			return &wire.QueryBackupResponse{Err: wire.CodeInvalidParameters, Hint: "no backup"}
		case 2:
			return &wire.QueryBackupResponse{Err: wire.OK, Items: []wire.BackupItem{
				{BackupID: 7, Provider: "hdfs_zjy", Path: "/p", StartMS: 7}, {BackupID: 8, StartMS: 8, EndMS: 9, Failed: true},
			}}
		}
		return &wire.QueryBackupResponse{Err: wire.OK}
	})
	got, err := d.Backups(t.Context(), apps)
	want := []Backup{
		{ID: 7, AppID: 2, Provider: "hdfs_zjy", Path: "/p", Start: time.UnixMilli(7)},
		{ID: 8, AppID: 2, Start: time.UnixMilli(8), End: time.UnixMilli(9), Failed: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	calls := 0
	on(meta, &wire.QueryBackup, func(wire.Header, *wire.QueryBackupRequest) *wire.QueryBackupResponse {
		calls++
		return &wire.QueryBackupResponse{Err: wire.CodeServiceNotActive}
	})
	if got, err := d.Backups(t.Context(), apps); len(got) > 0 || err != nil || calls != 1 {
		t.Errorf("switched off: %v, %v, %d calls", got, err, calls)
	}
	always(meta, &wire.QueryBackup, wire.QueryBackupResponse{Err: wire.CodeStateFreezed})
	if _, err := d.Backups(t.Context(), apps); err == nil {
		t.Error("a refusal is no list")
	}
}

func TestRestoreStatus(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	app := App{ID: 4, Name: "t", Status: "CREATING", Partitions: 2, Envs: map[string]string{restoredFrom: "17"}}
	always(meta, &wire.QueryRestore, wire.QueryRestoreResponse{Err: wire.OK, Status: []string{wire.OK, wire.CodeBusy}, Progress: []int32{1000, 250}})
	r, err := d.Restore(t.Context(), app)
	if err != nil || !slices.Equal(r.Progress, []int{1000, 250}) || r.Codes[1] != wire.CodeBusy {
		t.Errorf("%+v, %v", r, err)
	}
	always(meta, &wire.QueryRestore, wire.QueryRestoreResponse{Err: wire.OK, Status: []string{wire.OK}, Progress: []int32{1, 2}})
	if _, err := d.Restore(t.Context(), app); err == nil || !strings.Contains(err.Error(), "makes no sense") {
		t.Errorf("an answer that makes no sense: %v", err)
	}
	// An id that is no restore ends meta servers: it is never sent.
	on(meta, &wire.QueryRestore, func(wire.Header, *wire.QueryRestoreRequest) *wire.QueryRestoreResponse {
		t.Error("it was sent")
		return &wire.QueryRestoreResponse{Err: wire.OK}
	})
	for _, other := range []App{{ID: 4, Status: "CREATING"}, {ID: 4, Status: "AVAILABLE", Envs: app.Envs}} {
		if _, err := d.Restore(t.Context(), other); err == nil || spec.KindOf(err) == spec.Unavailable {
			t.Errorf("%+v: %v", other, err)
		}
	}
}
