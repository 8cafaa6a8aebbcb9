//go:build integration && linux

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	"shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/backuptest"
)

// backupLab is a served cluster with a table, a state directory, and a driver that looks past the shell.
type backupLab struct {
	*copyLab
	d    *pegasus.Driver
	root string // where its backups and inputs of bulk loads are on hdfs_zjy
}

const backupLine = "backup big hdfs_zjy /user/pegasus/backup --yes"

func newBackupLab(t *testing.T, rows int, flags ...string) *backupLab {
	t.Helper()
	l := &copyLab{t: t, s: serveAs(t, t.TempDir(), append(flags, "onebox", "onebox2")...), home: t.TempDir()}
	l.run(0, "create "+labTable+" -p 8")
	d, err := pegasus.New(l.s.address(), cluster.Options{Timeout: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	b := &backupLab{l, d, "/user/pegasus"}
	b.fill(rows)
	return b
}

// fill writes rows, many with one write.
func (b *backupLab) fill(rows int) {
	b.t.Helper()
	const perKey = 500
	var group errgroup.Group
	group.SetLimit(16)
	for key := range (rows + perKey - 1) / perKey {
		group.Go(func() error {
			list := make([]pegasus.SortValue, min(perKey, rows-key*perKey))
			for i := range list {
				list[i] = pegasus.SortValue{Sort: fmt.Appendf(nil, "s%06d", i), Value: fmt.Appendf(nil, "value %d of %d", i, key)}
			}
			_, err := b.d.MultiSet(b.t.Context(), labTable, fmt.Append(nil, "key", key), list, time.Duration(key%3)*time.Hour)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.t.Fatal(err)
	}
}

// known are the backups of the table that the meta server knows of.
func (b *backupLab) known() []pegasus.Backup {
	b.t.Helper()
	apps, err := b.d.Apps(b.t.Context(), "available")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, a := range apps {
		if a.Name == labTable {
			list, err := b.d.BackupsOf(b.t.Context(), a)
			if err != nil {
				b.t.Fatal(err)
			}
			return list
		}
	}
	b.t.Fatal("there is no table")
	return nil
}

// journal is what the backup's job has saved.
func (b *backupLab) journal(id, name string) (saved struct {
	ID  int64
	Dir string
},
) {
	path := filepath.Join(b.home, "state", "shardsh", "jobs", id, name+".journal")
	text, err := os.ReadFile(path)
	if err != nil {
		text, _ = os.ReadFile(path + ".old")
	}
	if _, body, ok := strings.Cut(string(text), "\n"); ok {
		_ = json.Unmarshal([]byte(body), &saved)
	}
	return saved
}

// uploading waits until the job follows a backup and a server uploads for it.
func (b *backupLab) uploading() {
	b.t.Helper()
	eventually(b.t, "the journal knows the backup and its folder", func() bool { j := b.journal("j1", "backup"); return j.ID != 0 && j.Dir != "" })
	node := b.node("onebox", ".31:34801")
	eventually(b.t, "a server uploads", func() bool {
		n, err := b.d.LargestUpload(b.t.Context(), node)
		return err == nil && n > 0
	})
}

// answer is the last JSON value of an output, as a record.
func (b *backupLab) answer(out string) (record struct {
	BackupID int64 `json:"backup_id"`
	Status   string
	SideCar  bool `json:"side_car"`
	Path     string
	Size     int64
},
) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return record
}

// TestBackupFollowedAgain: the shell is killed while it follows a backup; the job finds it again and begins no other.
func TestBackupFollowedAgain(t *testing.T) {
	b := newBackupLab(t, 2000)
	b.run(0, "sandbox break backup.upload 1000000000")
	r := b.start(backupLine)
	b.uploading()
	b.run(0, "job rate j1 200MB/s")
	b.rate("200")
	r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	if out := b.run(0, "holds --columns setting,was,during"); !strings.Contains(out, `"was":"500"`) {
		t.Errorf("the limit that was held is forgotten: %s", out)
	}
	again := b.start("job resume j1")
	eventually(t, "it is followed again", func() bool { j, ok := b.show(); return ok && j.State == "running" })
	b.run(0, "sandbox break backup.upload 0")
	got := b.answer(again.exit(0))
	if known := b.known(); len(known) != 1 || known[0].ID != got.BackupID || got.Status != "complete" || !got.SideCar {
		t.Errorf("the servers know of %v, and it ended with %+v", known, got)
	}
	b.run(0, "verify_backup "+got.Path)
	if out := b.run(0, "holds"); strings.TrimSpace(out) != "[]" {
		t.Errorf("what was put back is remembered still: %s", out)
	}
	b.rate("500")
}

// TestBackupAnswerLost: no answer came, or the shell was killed before it did: the job adopts what was begun.
func TestBackupAnswerLost(t *testing.T) {
	b := newBackupLab(t, 100)
	b.run(0, "sandbox break meta.before-answer:start-backup-app")
	r := b.start("option timeout 2s", backupLine)
	r.exit(6)
	if text := r.err.String(); !strings.Contains(text, "job resume looks whether it has begun") {
		t.Errorf("it says %s", text)
	}
	eventually(t, "the backup is complete", func() bool { list := b.known(); return len(list) == 1 && !list[0].End.IsZero() })
	got := b.answer(b.run(0, "job resume j1"))
	if known := b.known(); len(known) != 1 || known[0].ID != got.BackupID {
		t.Errorf("the servers know of %v, and it ended with %+v", known, got)
	}

	// Another meta server leads and knows of none; what is on the service tells.
	b.run(0, "sandbox break meta.before-answer:start-backup-app")
	b.start("option timeout 2s", backupLine).exit(6)
	eventually(t, "both are complete", func() bool { list := b.known(); return len(list) == 2 && !list[1].End.IsZero() })
	second := b.known()[1].ID
	b.killLeader()
	if got := b.answer(b.run(0, "job resume j2")); got.BackupID != second {
		t.Errorf("it followed %d instead of %d", got.BackupID, second)
	}
}

// killLeader has another meta server take the lead.
func (b *backupLab) killLeader() {
	b.t.Helper()
	info, err := b.d.Info(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.run(0, "sandbox kill "+info.Leader)
	eventually(b.t, "another meta server leads", func() bool {
		now, err := b.d.Info(b.t.Context())
		return err == nil && now.Leader != info.Leader
	})
}

var rmBackupHint = regexp.MustCompile(`rm_backup (\S+);`)

// TestBackupReplicaServerRestarted: a replica server is killed and started again in the middle of a backup.
func TestBackupReplicaServerRestarted(t *testing.T) {
	b := newBackupLab(t, 2000)
	node := b.node("onebox", ".32:34801")
	b.run(0, "sandbox break backup.upload 1000000000")
	r := b.start(backupLine)
	b.uploading()
	eventually(t, "it is old enough that its start can be told from another", func() bool {
		ages, err := b.d.Ages(t.Context(), []string{node})
		return err == nil && ages[node] > 2*time.Second
	})
	b.run(0, "sandbox kill "+node)
	b.until("the dead node is named", func(j labJob) bool { return strings.Contains(j.Held, node+" is not alive") })
	b.run(0, "sandbox start "+node)
	b.until("it waits for the other servers", func(j labJob) bool { return strings.Contains(j.Held, "waits until no server uploads") })
	b.run(0, "sandbox break backup.upload 0")
	r.exit(1)
	text := r.err.String()
	hint := rmBackupHint.FindStringSubmatch(text)
	if !strings.Contains(text, node+" was started again") || !strings.Contains(text, "no server uploads any more") || hint == nil {
		t.Fatalf("it says %s", text)
	}
	again := b.start("job resume j1") // what has failed is not begun again by itself
	again.exit(1)
	if known := b.known(); len(known) != 1 || !strings.Contains(again.err.String(), "has failed") {
		t.Errorf("the servers know of %v, and it says %s", known, again.err.String())
	}
	b.run(0, "rm_backup "+hint[1]+" --yes="+hint[1])
	// The meta server goes on asking for the one that never ends, until another one leads.
	stuck := b.start(backupLine)
	stuck.exit(5)
	if text := stuck.err.String(); !strings.Contains(text, "only when another meta server takes the lead") {
		t.Errorf("it says %s", text)
	}
	b.killLeader()
	eventually(t, "every partition has a primary", func() bool {
		r := b.start("app big")
		_ = r.cmd.Wait()
		return r.cmd.ProcessState.Success()
	})
	if got := b.answer(b.run(0, backupLine)); got.Status != "complete" {
		t.Errorf("it ended with %+v", got)
	}
}

// TestBackupForgotten: the meta server that had begun it is gone, and with it all memory of it.
func TestBackupForgotten(t *testing.T) {
	b := newBackupLab(t, 100)
	b.run(0, "sandbox break backup.upload 1000000000")
	r := b.start(backupLine)
	b.uploading()
	b.killLeader()
	b.until("it waits for the servers", func(j labJob) bool { return strings.Contains(j.Held, "waits until no server uploads") })
	b.run(0, "sandbox break backup.upload 0")
	r.exit(1)
	if text := r.err.String(); !strings.Contains(text, "kept in the memory of the one before") {
		t.Errorf("it says %s", text)
	}
}

// rate waits until the servers' limit of what they send is so.
func (b *backupLab) rate(want string) {
	b.t.Helper()
	eventually(b.t, "the servers' limit is "+want, func() bool {
		return strings.Count(b.run(0, "remote_command --columns message -t replica-server nfs.max_send_rate_megabytes_per_disk"), `"`+want+`"`) == 3
	})
}

// TestBackupInterrupted: Ctrl-C ends the following and not the backup; the rate is raised meanwhile.
func TestBackupInterrupted(t *testing.T) {
	b := newBackupLab(t, 100)
	b.run(0, "sandbox break backup.upload 1000000000")
	r := b.start(backupLine)
	b.uploading()
	b.rate("50")
	b.run(0, "job rate j1 100MB/s")
	b.rate("100")
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.exit(130)
	if text := r.err.String(); !strings.Contains(text, "it cannot be cancelled: the servers go on with it") || !strings.Contains(text, "job resume j1") {
		t.Errorf("it says %s", text)
	}
	b.rate("500")
	// Where no limit is held job rate changes nothing, and that is said.
	b.run(0, "remote_command -t replica-server nfs.max_send_rate_megabytes_per_disk 40")
	r = b.start("job resume j1")
	eventually(t, "the rate is of no use", func() bool {
		j, _ := b.show()
		return strings.Contains(j.Held, "none is held, and so job rate changes nothing")
	})
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.exit(130)
	b.run(0, "sandbox break backup.upload 0")
	if got := b.answer(b.run(0, "job resume j1")); got.Status != "complete" || len(b.known()) != 1 {
		t.Errorf("it ended with %+v", got)
	}
}

// TestRestoreFollowedAgain: the shell is killed while a table is being made; the job finds it again and makes no other.
func TestRestoreFollowedAgain(t *testing.T) {
	b := newBackupLab(t, 2000)
	got := b.answer(b.run(0, backupLine))
	b.run(0, "sandbox break restore.download 1000000000")
	line := fmt.Sprintf("restore -c onebox -a big -i 3 -t %d -b hdfs_zjy -r /user/pegasus/backup -n again", got.BackupID)
	r := b.start(line)
	eventually(t, "the journal knows the table", func() bool { return b.journal("j2", "restore").ID != 0 })
	r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	b.run(5, line) // it is not begun twice by the same line either
	again := b.start("job resume j2")
	b.run(0, "sandbox break restore.download 0")
	again.exit(0)
	b.run(0, "use big", "diff_data -c onebox -a again --ttl-drift 0")
}

// TestRestoreRefusedByServers: servers that demand what the documentation says, and servers without backups.
func TestRestoreRefusedByServers(t *testing.T) {
	b := newBackupLab(t, 10, "--set", "pegasus.strict=true", "--set", "pegasus.cold_backup_disabled=true")
	r := b.start("backup big disk --yes")
	r.exit(1)
	if text := r.err.String(); !strings.Contains(text, "set cold_backup_disabled = false in [meta_server]") {
		t.Errorf("it says %s", text)
	}
	dir := filepath.Join(b.home, "old")
	if err := backuptest.Write(dir, backuptest.Single()); err != nil {
		t.Fatal(err)
	}
	r = b.start("fs put "+dir+" disk:/old", "restore -c onebox -a single -i 4 -t 1742888751127 -b disk -r old -n again")
	r.exit(1)
	if text := r.err.String(); !strings.Contains(text, "these servers may demand it: do without them: create again -p 4, split_backup disk:/old/onebox/1742888751127 disk:/OUT") {
		t.Errorf("it says %s", text)
	}
}

// TestBackupDropRestore: as many rows as fit a test's time are backed up, dropped, restored, and equal.
func TestBackupDropRestore(t *testing.T) {
	const rows = 1_000_000
	begun := time.Now()
	b := newBackupLab(t, rows)
	took := func(what string) {
		t.Logf("%s: %s", what, time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
	}
	took("filled")
	b.on("onebox2", "create big -p 16")
	b.run(0, "use big", "copy_data -c onebox2 -a big")
	took("copied to compare with")
	got := b.answer(b.run(0, backupLine+" --max-rate none"))
	took(fmt.Sprintf("backed up, %d bytes", got.Size))
	b.run(0, "drop big --yes=big")
	b.run(0, fmt.Sprintf("restore -c onebox -a big -i 3 -t %d -b hdfs_zjy -r /user/pegasus/backup --max-rate none", got.BackupID))
	took("dropped, restored and counted")
	out := b.run(0, "use big", "diff_data -c onebox2 -a big --ttl-drift 0")
	took("compared")
	if !strings.Contains(out, fmt.Sprintf(`"equal_rows":%d`, rows)) {
		t.Errorf("it is not equal: %.500s", out)
	}
}
