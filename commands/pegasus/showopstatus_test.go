package pegasus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	driver "shardsh/cluster/pegasus"
)

// A backup that runs and a restore are among the operations; a backup that has ended is not.
func TestCopyOps(t *testing.T) {
	f := &fake{}
	available := driver.App{ID: 3, Name: "TableA", Status: "AVAILABLE"}
	restoring := driver.App{ID: 9, Name: "TableA_new", Status: "CREATING", Envs: map[string]string{"restore.backup_id": "1742888751127"}}
	f.split.backups = []driver.Backup{
		{ID: 5, AppID: 3, Provider: "hdfs_zjy", Path: "/user/pegasus/backup", Start: time.UnixMilli(5)},
		{ID: 4, AppID: 3, Start: time.UnixMilli(4), End: time.UnixMilli(5)},
		{ID: 3, AppID: 3, Start: time.UnixMilli(3), Failed: true},
	}
	f.split.restore = driver.Restore{Codes: []string{"ERR_OK", "ERR_BUSY"}, Progress: []int{1000, 250}}
	ops, err := copyOps(t.Context(), f, []driver.App{available, restoring}, []driver.App{available})
	var lines []string
	for _, o := range ops {
		lines = append(lines, fmt.Sprintf("%s %s %s %s: %s", o.id, o.kind, o.table, o.status, o.task))
	}
	want := "backup-5 backup TableA kDoing: upload to hdfs_zjy /user/pegasus/backup\n" +
		"restore-9 restore TableA_new kDoing: 62% of backup 1742888751127"
	if got := strings.Join(lines, "\n"); got != want || err != nil {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
