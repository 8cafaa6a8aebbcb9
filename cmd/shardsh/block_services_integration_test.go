//go:build integration && linux

package main_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"shardsh/cluster/pegasus"
	"shardsh/commands/spec"
	"shardsh/storage/storagetest"
)

// realServer answers what .ci/integration says about a server it started.
func realServer(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set: .ci/integration starts the server and sets it", variable)
	}
	return value
}

// freshName is one that nothing else on a real server has.
func freshName() string { return fmt.Sprintf("shell%d", time.Now().UnixNano()) }

// s3Section is a section of config.ini for an empty bucket of its own on the real S3, which is made.
func s3Section(t *testing.T, name string) string {
	t.Helper()
	at, bucket := realServer(t, "SHARDSH_TEST_S3"), freshName()
	if err := s3Admin(t).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[block_service.%s]\ntype = s3_service\nargs = %s %s some/prefix\naccess_key_env = SHARDSH_TEST_S3_ACCESS_KEY\n"+
		"secret_key_env = SHARDSH_TEST_S3_SECRET_KEY\n", name, at, bucket)
}

// s3Admin is another client of the S3.
func s3Admin(t *testing.T) *minio.Client {
	t.Helper()
	keys := credentials.NewStaticV4(realServer(t, "SHARDSH_TEST_S3_ACCESS_KEY"), realServer(t, "SHARDSH_TEST_S3_SECRET_KEY"), "")
	admin, err := minio.New(strings.TrimPrefix(realServer(t, "SHARDSH_TEST_S3"), "http://"), &minio.Options{Creds: keys})
	if err != nil {
		t.Fatal(err)
	}
	return admin
}

// hdfsSection is one for a directory on the real HDFS.
func hdfsSection(t *testing.T, name string) string {
	t.Helper()
	storagetest.ShareServer(t, realServer(t, "SHARDSH_TEST_HDFS_CONTROL"))
	return fmt.Sprintf("[block_service.%s]\ntype = hdfs_service\nargs = hdfs://%s /shell/%s\n", name, realServer(t, "SHARDSH_TEST_HDFS"), freshName())
}

// TestBackupOnRealHDFS: the servers' block service is a real HDFS. A backup is made there, checked and restored; copied to
// an S3, split from there, and loaded from the HDFS.
func TestBackupOnRealHDFS(t *testing.T) {
	t.Run("one process", func(t *testing.T) { backupOnHDFS(t, 1_000_000) })
	t.Run("per node", func(t *testing.T) { backupOnHDFS(t, 25_000, "--process-per-node") })
}

// newHDFSLab is a lab whose servers have a real HDFS, and a folder there that is its own.
func newHDFSLab(t *testing.T, rows int, flags ...string) *backupLab {
	storagetest.ShareServer(t, realServer(t, "SHARDSH_TEST_HDFS_CONTROL"))
	b := newBackupLab(t, rows, append(flags, "--block-service", "hdfs_zjy=hdfs://"+realServer(t, "SHARDSH_TEST_HDFS"))...)
	b.root = "/shell/" + freshName()
	t.Cleanup(func() { b.run(0, "fs rm -r hdfs_zjy:"+b.root+" --yes=hdfs_zjy:"+b.root) })
	return b
}

func backupOnHDFS(t *testing.T, rows int, flags ...string) {
	b := newHDFSLab(t, rows, flags...)
	b.addSection(s3Section(t, "s3_main"))
	begun := time.Now()
	took := func(what string) {
		t.Logf("%s: %s", what, time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
	}
	root := b.root
	b.on("onebox2", "create big -p 16")
	b.run(0, "use big", "copy_data -c onebox2 -a big")
	took("copied to compare with")
	got := b.answer(b.run(0, "backup big hdfs_zjy "+root+"/backup --yes --max-rate none"))
	took(fmt.Sprintf("backed up, %d bytes", got.Size))
	if list := b.known(); len(list) != 1 || list[0].ID != got.BackupID || list[0].Provider != "hdfs_zjy" {
		t.Errorf("the meta server knows %+v", list)
	}
	b.run(0, "verify_backup hdfs_zjy:"+root+"/backup")
	took("verified")
	files := b.run(0, "fs ls -R hdfs_zjy:"+root+" --columns path")
	if strings.Contains(files, "/.") || !strings.Contains(files, "/backup_info") || strings.Count(files, "/current_checkpoint") != 8 {
		t.Errorf("on the HDFS there are %s", files)
	}
	if rows >= 1_000_000 { // servers tell whole MB of each partition
		b.refusedWithoutRoom(root + "/tight")
	}
	b.run(0, "drop big --yes=big")
	b.run(0, fmt.Sprintf("restore -c onebox -a big -i %d -t %d -b hdfs_zjy -r %s/backup --max-rate none", b.tableID(files), got.BackupID, root))
	took("dropped, restored and counted")
	b.sameRows("big", rows)
	took("compared")

	b.run(0, "fs copy hdfs_zjy:"+root+"/backup s3_main:/backup --parallel 8")
	took("copied to the S3")
	b.run(0, "verify_backup s3_main:/backup")
	for i, from := range []string{"s3_main:/backup", "hdfs_zjy:" + root + "/backup"} {
		table, partitions := fmt.Sprint("loaded", i), 16<<i
		b.run(0, fmt.Sprintf("create %s -p %d", table, partitions),
			fmt.Sprintf("split_backup %s hdfs_zjy:%s/split --table %s --partitions %d --cluster onebox", from, root, table, partitions))
		took(fmt.Sprintf("%s split for %d partitions", from, partitions))
		b.run(0, b.loadLine(table, "--full-check"))
		took("loaded")
		b.sameRows(table, rows)
		took("compared")
	}

	// Servers know no S3.
	var e *spec.Error
	_, err := b.d.StartBackup(t.Context(), pegasus.App{ID: 2, Name: "loaded0"}, "s3_main", "/x")
	if !errors.As(err, &e) || e.Code != "ERR_INVALID_PARAMETERS" || !strings.Contains(err.Error(), "invalid backup_provider_type s3_main") {
		t.Errorf("a backup to the S3: %v", err)
	}
}

// refusedWithoutRoom backs up to a folder of the HDFS whose quota leaves half a MiB, for files that are stored twice.
func (b *backupLab) refusedWithoutRoom(dir string) {
	b.t.Helper()
	const mebi = 1 << 20
	storagetest.Steer(b.t, realServer(b.t, "SHARDSH_TEST_HDFS_CONTROL"), fmt.Sprintf("quota %s %d", dir, mebi))
	plan := b.run(5, "backup big hdfs_zjy "+dir+" --plan")
	if want := "512 KiB free (within the quota of " + dir + "; for files that are stored 2 times), and about "; !strings.Contains(plan, want) {
		b.t.Errorf("without room for a backup it says %s", plan)
	}
	if count := len(b.known()); count != 1 {
		b.t.Errorf("the meta server knows of %d backups", count)
	}
	storagetest.Steer(b.t, realServer(b.t, "SHARDSH_TEST_HDFS_CONTROL"), fmt.Sprintf("quota %s 0", dir))
	if plan := b.run(0, "backup big hdfs_zjy "+dir+" --plan"); strings.Contains(plan, "blockers") {
		b.t.Errorf("with room again it says %s", plan)
	}
}

func (b *backupLab) addSection(text string) {
	b.t.Helper()
	have, err := os.ReadFile(b.s.config)
	if err == nil {
		err = os.WriteFile(b.s.config, append(have, text...), 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// tableID reads the id of the table from the folders of its backup.
func (b *backupLab) tableID(files string) (id int) {
	b.t.Helper()
	_, rest, found := strings.Cut(files, "/"+labTable+"_")
	if _, err := fmt.Sscanf(rest, "%d", &id); !found || err != nil {
		b.t.Fatalf("no id in %s", files)
	}
	return id
}

// sameRows compares a table with the copy of the lab's.
func (b *backupLab) sameRows(table string, rows int) {
	b.t.Helper()
	out := b.run(0, "use "+table, "diff_data -c onebox2 -a big --ttl-drift 0")
	if !strings.Contains(out, fmt.Sprintf(`"equal_rows":%d`, rows)) {
		b.t.Errorf("it is not equal: %.500s", out)
	}
}
