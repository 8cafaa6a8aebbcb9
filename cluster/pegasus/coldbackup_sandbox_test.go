package pegasus

import (
	"fmt"
	"path"
	"testing"
	"time"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
)

// A backup that a cluster made is found, whole, and has the rows the cluster had.
func TestBackupOfClusterIsReadOffline(t *testing.T) {
	for _, provider := range []string{"disk", "hdfs_zjy"} {
		b := newColdbox(t, nil)
		b.fill("demo", 0, 500, "v")
		want := b.contents("demo")
		id := b.backUp("demo", provider, map[string]string{"hdfs_zjy": "/user/backup"}[provider])
		s := backuptest.Dir(b.dirs[provider])
		var found []string
		for dir, err := range coldbackup.List(t.Context(), s, "") {
			b.do(err)
			found = append(found, dir)
		}
		if len(found) != 1 || path.Base(found[0]) != fmt.Sprint(id) {
			t.Fatalf("%s: the backup %d is not what is found: %v", provider, id, found)
		}
		backup, err := coldbackup.Load(t.Context(), s, found[0])
		b.do(err)
		if p := backup.AllProblems(nil); len(p) > 0 || !backup.Complete() || len(backup.Tables) != 1 {
			t.Fatalf("%s: %v", provider, p)
		}
		b.do(coldbackup.Verify(t.Context(), s, backup, nil, 2, func(c coldbackup.Checked) error {
			if c.Verdict == coldbackup.Damaged || c.Verdict == coldbackup.Missing {
				t.Errorf("%s: %+v", provider, c)
			}
			return nil
		}))
		table, got := backup.Tables[0], map[string]string{}
		for _, p := range table.Partitions {
			for row, err := range table.Scan(t.Context(), s, p, coldbackup.ScanOptions{Now: time.Now()}, &coldbackup.ScanCounts{}) {
				b.do(err)
				got[fmt.Sprintf("%q %q", row.Hash, row.Sort)] = string(row.Data)
			}
		}
		if len(got) != len(want) || len(got) < 500 {
			t.Errorf("%s: %d rows instead of %d", provider, len(got), len(want))
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %q instead of %q", provider, k, got[k], v)
			}
		}
	}
}
