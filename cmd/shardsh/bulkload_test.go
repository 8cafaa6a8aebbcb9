//go:build integration && linux

package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// splitFor makes a table and the input of a bulk load for it, of a backup of the lab's table that is made unless there is one.
func (b *backupLab) splitFor(table string, partitions int, more string) {
	b.t.Helper()
	if len(b.known()) == 0 {
		b.run(0, "backup "+labTable+" hdfs_zjy "+b.root+"/backup --max-rate none --yes")
	}
	b.run(0, fmt.Sprintf("create %s -p %d %s", table, partitions, more),
		fmt.Sprintf("split_backup hdfs_zjy:%s/backup hdfs_zjy:%s/split --table %s --partitions %d --cluster onebox", b.root, b.root, table, partitions))
}

func (b *backupLab) loadLine(table, more string) string {
	return "start_bulk_load -a " + table + " -c onebox -p hdfs_zjy -r " + b.root + "/split " + more
}

// TestBulkLoadOfBackup: as many rows as fit a test's time are backed up, split for two and four times the partitions, loaded, and
// equal.
func TestBulkLoadOfBackup(t *testing.T) {
	const rows = 1_000_000
	begun := time.Now()
	took := func(what string) {
		t.Logf("%s: %s", what, time.Since(begun).Round(10*time.Millisecond))
		begun = time.Now()
	}
	b := newBackupLab(t, rows)
	took(fmt.Sprintf("write %d rows", rows))
	for _, partitions := range []int{16, 32} {
		table := fmt.Sprint("loaded", partitions)
		b.splitFor(table, partitions, "")
		took(fmt.Sprintf("back up and split for %d partitions", partitions))
		b.run(0, b.loadLine(table, "--full-check"))
		took("check and load")
		b.run(0, "use "+labTable, "diff_data -c onebox -a "+table+" --ttl-drift 0")
		took("compare")
	}
}

// TestBulkLoadFollowedAgain: the shell is killed while it follows a bulk load; the job finds it again, starts no other, and puts
// back what was held.
func TestBulkLoadFollowedAgain(t *testing.T) {
	b := newBackupLab(t, 2000)
	b.splitFor("loaded", 16, "")
	b.run(0, "set_meta_level lively --yes", "sandbox break bulk.download 1000000000")
	r := b.start(b.loadLine("loaded", "--yes"))
	status := func() pegasus.BulkLoad {
		l, err := b.d.BulkLoad(t.Context(), "loaded")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	id := b.jobOf("start_bulk_load")
	eventually(t, "it is followed", func() bool { return strings.Contains(b.run(0, "job show "+id), "downloading") })
	r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	if l := status(); !l.Loading {
		t.Fatalf("the servers do not go on: %+v", l)
	}
	if out := b.run(0, "holds --columns setting,was,during,state"); !strings.Contains(out, `"was":"lively"`) || !strings.Contains(out, "left behind") {
		t.Errorf("what was held is forgotten: %s", out)
	}
	second := b.start(b.loadLine("loaded", "--yes")) // the same line is another one, and refused
	second.exit(5)
	if text := second.err.String(); !strings.Contains(text, "it is being bulk loaded") {
		t.Errorf("it says %s", text)
	}
	again := b.start("job resume " + id)
	eventually(t, "it is followed again", func() bool { return strings.Contains(b.run(0, "job show "+id), `"state":"running"`) })
	b.run(0, "sandbox break bulk.download 0")
	again.exit(0)
	b.run(0, "use "+labTable, "diff_data -c onebox -a loaded --ttl-drift 0")
	if out := b.run(0, "holds"); strings.TrimSpace(out) != "[]" {
		t.Errorf("what was put back is remembered still: %s", out)
	}
	if out := b.run(0, "get_meta_level", "use loaded > /dev/null", "get_app_envs"); !strings.Contains(out, "lively") || strings.Contains(out, "usage_scenario") {
		t.Errorf("it was left so: %s", out)
	}
	b.run(5, "job resume "+id)
}

// jobOf is the id of the job that a word has begun.
func (b *backupLab) jobOf(word string) (id string) {
	b.t.Helper()
	eventually(b.t, "there is a job of "+word, func() bool {
		var all []struct{ ID, Command string }
		if err := json.Unmarshal([]byte(b.run(0, "jobs --all")), &all); err != nil {
			b.t.Fatal(err)
		}
		for _, j := range all {
			if strings.HasPrefix(j.Command, word) {
				id = j.ID
			}
		}
		return id != ""
	})
	return id
}

// TestBulkLoadInterrupted: Ctrl-C ends the following and not the bulk load; job cancel too. A cancelled one is begun anew by its job.
func TestBulkLoadInterrupted(t *testing.T) {
	b := newBackupLab(t, 100)
	b.splitFor("loaded", 8, "")
	b.run(0, "sandbox break bulk.download 1000000000")
	r := b.start(b.loadLine("loaded", "--max-rate 60MB/s"))
	id := b.jobOf("start_bulk_load")
	b.rate("60")
	b.run(0, "job rate "+id+" 90MB/s")
	b.rate("90")
	eventually(t, "it is followed", func() bool { return strings.Contains(b.run(0, "job show "+id), "downloading") })
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r.exit(130)
	if text := r.err.String(); !strings.Contains(text, "the servers go on with it (downloading)") || !strings.Contains(text, "pause_bulk_load -a loaded") ||
		!strings.Contains(text, "job resume "+id) {
		t.Errorf("it says %s", text)
	}
	b.rate("500")
	b.run(0, "pause_bulk_load -a loaded")
	again := b.start("job resume " + id)
	eventually(t, "it waits", func() bool {
		return strings.Contains(b.run(0, "job show "+id), "it is paused: restart_bulk_load -a loaded")
	})
	b.run(0, "restart_bulk_load -a loaded", "cancel_bulk_load -a loaded")
	again.exit(1)
	if text := again.err.String(); !strings.Contains(text, "it was cancelled") {
		t.Errorf("it says %s", text)
	}
	b.run(0, "sandbox break bulk.download 0")
	b.run(0, "job resume "+id)
	b.run(0, "use "+labTable, "diff_data -c onebox -a loaded --ttl-drift 0")
}

// TestIngestBehindWhileWriting: clients write to both tables while the old rows are loaded behind: what they wrote, and what they
// deleted, stays.
func TestIngestBehindWhileWriting(t *testing.T) {
	const rows = 20_000
	t.Run("directory", func(t *testing.T) { ingestBehind(newBackupLab(t, rows), rows) })
	t.Run("HDFS", func(t *testing.T) { ingestBehind(newHDFSLab(t, rows), rows) })
}

func ingestBehind(b *backupLab, rows int) {
	t := b.t
	b.splitFor("behind", 32, "-e rocksdb.allow_ingest_behind=true")
	before := b.scan(labTable)
	ctx, stop := context.WithCancel(t.Context())
	var writers errgroup.Group
	var changes [4]map[string]string // by key; "" is deleted
	var done [4]atomic.Int64
	for w := range changes {
		changes[w] = map[string]string{}
		writers.Go(func() error { return b.writeBehind(ctx, w, len(changes), rows, changes[w], &done[w]) })
	}
	writing := func(n int64) {
		for w := range done {
			from := done[w].Load()
			eventually(t, "clients write", func() bool { return done[w].Load() >= from+n })
		}
	}
	writing(100)
	b.run(0, "use behind > /dev/null", "set_app_envs rocksdb.usage_scenario bulk_load > /dev/null", b.loadLine("behind", "--ingest_behind --yes"))
	writing(100)
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	want := before
	total := 0
	for _, all := range changes {
		for k, v := range all {
			total++
			if delete(want, k); v != "" {
				want[k] = v
			}
		}
	}
	got := b.scan("behind")
	wrong := 0
	for k, v := range want {
		if got[k] != v {
			if wrong++; wrong < 5 {
				t.Errorf("%s is %q instead of %q", k, got[k], v)
			}
		}
	}
	if wrong > 0 || len(got) != len(want) {
		t.Errorf("%d rows instead of %d, %d are wrong; %d were changed meanwhile", len(got), len(want), wrong, total)
	}
	t.Logf("%d rows were changed while %d were loaded behind", total, rows)
}

// writeBehind sets and deletes rows of every so manieth key until the context ends, and notes what was acknowledged last.
func (b *backupLab) writeBehind(ctx context.Context, w, of, rows int, changes map[string]string, done *atomic.Int64) error {
	r := rand.New(rand.NewPCG(uint64(w), 7))
	for n := 0; ctx.Err() == nil; n++ {
		i := r.IntN(rows/of)*of + w
		hash, sort := fmt.Append(nil, "key", i/500), fmt.Appendf(nil, "s%06d", i%500)
		value := ""
		if r.IntN(3) > 0 {
			value = fmt.Sprintf("newer %d of %d", n, w)
		}
		for {
			var err error
			if value != "" {
				_, err = b.d.Set(b.t.Context(), "behind", hash, sort, []byte(value), 0)
			} else {
				_, err = b.d.Del(b.t.Context(), "behind", hash, sort)
			}
			var e *spec.Error
			if errors.As(err, &e) && e.Code == "ERR_OPERATION_DISABLED" { // its partition ingests
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				return err
			}
			break
		}
		changes[fmt.Sprintf("%s %s", hash, sort)] = value
		done.Add(1)
	}
	return nil
}

// scan reads a table whole.
func (b *backupLab) scan(table string) map[string]string {
	b.t.Helper()
	rows := map[string]string{}
	for row, err := range b.d.Scan(b.t.Context(), table, pegasus.ScanOptions{Partition: -1}) {
		if err != nil {
			b.t.Fatal(err)
		}
		rows[fmt.Sprintf("%s %s", row.Hash, row.Sort)] = string(row.Value)
	}
	return rows
}
