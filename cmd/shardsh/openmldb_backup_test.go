//go:build integration && linux

package main_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb"
)

const (
	keptRows  = 100_000
	keptTable = "demo_db/visits"
)

// keptLab is a served OpenMLDB with a table of 100,000 rows, a copy of it in another one, a directory and a bucket.
type keptLab struct {
	*copyLab
	d   *openmldb.Driver
	dir string // of the service out
}

func newKeptLab(t *testing.T) *keptLab {
	t.Helper()
	l := &keptLab{copyLab: &copyLab{t: t, s: serveAs(t, t.TempDir(), "onebox", "openmldb", "openmldb2"), home: t.TempDir()}, dir: t.TempDir()}
	text, err := os.ReadFile(l.s.config)
	found := regexp.MustCompile(`(?m)^openmldb = (.*)$`).FindSubmatch(text)
	if err != nil || found == nil {
		t.Fatalf("%v: no address of openmldb in %s", err, text)
	}
	if l.d, err = openmldb.New(string(found[1]), cluster.Options{Timeout: func() time.Duration { return time.Minute }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.d.Close(); err != nil {
			t.Error(err)
		}
	})
	services := fmt.Sprintf("\n[block_service.out]\ntype = local_service\nargs = %s\nmeta = none\n", l.dir) + s3Section(t, "s3")
	if err := os.WriteFile(l.s.config, append(text, services...), 0o600); err != nil {
		t.Fatal(err)
	}
	l.fill()
	l.run(0, inOpenMLDB, "copy_data "+keptTable+" -c openmldb2 -a visits --create")
	return l
}

func (l *keptLab) fill() {
	l.t.Helper()
	name := openmldb.ParseTableName(keptTable)
	forever := openmldb.TTL{Type: "kAbsoluteTime"}
	if err := l.d.Create(l.t.Context(), openmldb.NewTable{
		TableName: name, Partitions: 8, Replicas: 3,
		Columns: []openmldb.Column{{Name: "who", Type: "string"}, {Name: "page", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "score", Type: "double"}},
		Indexes: []openmldb.Index{
			{Name: "who", Columns: []string{"who"}, TimeColumn: "at", TTL: forever},
			{Name: "page", Columns: []string{"page"}, TimeColumn: "at", TTL: forever},
		},
	}); err != nil {
		l.t.Fatal(err)
	}
	var rows iter.Seq2[openmldb.Row, error] = func(yield func(openmldb.Row, error) bool) {
		for i := range keptRows {
			row := []any{fmt.Sprint("v", i%3989), fmt.Sprint("p", i%997), int64(1 + i%500), float64(i % 50)}
			if i%7 == 0 {
				row[3] = nil
			}
			if !yield(openmldb.Row{Values: row}, nil) {
				return
			}
		}
	}
	for i, err := range l.d.PutMany(l.t.Context(), name, rows, 256) {
		if err != nil {
			l.t.Fatal(i, err)
		}
	}
	l.whole()
}

// whole waits until followers have what their leaders have.
func (l *keptLab) whole() {
	l.t.Helper()
	eventually(l.t, "every replica has everything", func() bool {
		faults, err := l.d.Faults(l.t.Context())
		return err == nil && len(faults) == 0
	})
}

// healthy waits until the nameserver takes a tablet for healthy, or dead.
func (l *keptLab) healthy(endpoint string, is bool) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%s is healthy: %v", endpoint, is), func() bool {
		all, err := l.d.Tablets(l.t.Context())
		return err == nil && slices.ContainsFunc(all, func(x openmldb.Tablet) bool { return x.Endpoint == endpoint && x.Healthy == is })
	})
}

// anew forgets the jobs so far, so that the next one is j1.
func (l *keptLab) anew() { l.home = l.t.TempDir() }

// killed runs a line, kills it several times once a random number of rows is dealt with, and resumes it to its end.
func (l *keptLab) killed(r *rand.Rand, kills int, most int64, line string) {
	l.t.Helper()
	l.anew()
	lines := []string{inOpenMLDB, line}
	for kill := range kills {
		at := r.Int64N(most)
		run := l.start(lines...)
		over := make(chan struct{})
		go func() { _ = run.cmd.Wait(); close(over) }()
		var j labJob
		ended := false
		eventually(l.t, fmt.Sprintf("%d rows are dealt with", at), func() bool {
			select {
			case <-over:
				ended = true
				return true
			default:
			}
			var found bool
			j, found = l.show()
			return found && j.State == "running" && j.Done >= at
		})
		run.cmd.Process.Kill()
		<-over
		l.t.Logf("kill %d at %d: %+v", kill, at, j)
		lines = []string{inOpenMLDB, "job resume j1"}
		if j, _ := l.show(); ended && j.State == "done" {
			return
		}
	}
	l.run(0, lines...)
	if j, _ := l.show(); j.State != "done" {
		l.t.Errorf("%+v", j)
	}
}

// leaderDies runs a line, and kills the leader of a partition once so many rows are dealt with.
func (l *keptLab) leaderDies(partition int, line string) {
	l.t.Helper()
	l.anew()
	run := l.start(inOpenMLDB, line)
	l.until("rows are dealt with", func(j labJob) bool { return j.Done > keptRows/5 })
	table, err := l.d.Describe(l.t.Context(), openmldb.ParseTableName(keptTable))
	if err != nil {
		l.t.Fatal(err)
	}
	leader, ok := table.Parts[partition].Leader()
	if !ok {
		l.t.Fatal("nobody leads")
	}
	home := l.home
	l.home = l.t.TempDir() // the line that kills is no job of theirs
	l.run(0, inOpenMLDB, "sandbox kill "+leader.Endpoint)
	l.home = home
	run.exit(0)
	l.home = l.t.TempDir()
	l.healthy(leader.Endpoint, false)
	l.run(0, inOpenMLDB, "sandbox start "+leader.Endpoint)
	l.healthy(leader.Endpoint, true)
	l.whole()
}

// stored are the files of a backup on a service, the times in the manifest left out, and with them what depends on it.
func (l *keptLab) stored(place string) map[string]string {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "got")
	l.run(0, "fs get "+place+" "+dir)
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		switch filepath.Base(rel) {
		case "manifest.json":
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				return err
			}
			delete(m, "started")
			delete(m, "finished")
			data, err = json.Marshal(m)
		case "SHA256SUMS":
			data = []byte(strings.Join(slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool {
				return strings.HasSuffix(line, "  manifest.json")
			}), "\n"))
		}
		all[rel] = string(data)
		return err
	})
	if err != nil || len(all) < 10 {
		l.t.Fatal(len(all), err)
	}
	return all
}

func (l *keptLab) sameStored(a, b string) {
	l.t.Helper()
	want, got := l.stored(a), l.stored(b)
	for name, content := range want {
		if got[name] != content {
			l.t.Errorf("%s of %s differs from that of %s", name, b, a)
		}
	}
	if len(got) != len(want) {
		l.t.Errorf("%s has %d files, and %s has %d", a, len(want), b, len(got))
	}
}

// sameAsCopy compares with the copy in the other cluster, by both indexes.
func (l *keptLab) sameAsCopy() {
	l.t.Helper()
	for _, index := range []string{"who", "page"} {
		out := l.run(0, inOpenMLDB, "diff_data "+keptTable+" -c openmldb2 -a visits --index "+index)
		if want := fmt.Sprintf(`"source_rows":%d,"target_rows":%[1]d`, keptRows); !strings.Contains(out, want) {
			l.t.Error(out)
		}
	}
}

// TestOpenMLDBBackup: 100,000 rows are backed up, dropped, and restored with another number of partitions, to a directory
// and to an S3, while leaders die and shells are killed. The files are the same bytes each time, and the rows the same.
func TestOpenMLDBBackup(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newKeptLab(t)
	for i, service := range []string{"out", "s3"} {
		at := func(folder string) string { return service + ":/" + folder + "/demo_db.visits" }
		line := func(folder string) string {
			return "backup demo_db.visits " + service + ":/" + folder + " --max-rate 60000rows/s"
		}
		l.anew()
		l.run(0, inOpenMLDB, line("whole"))
		l.killed(r, 4, 3*keptRows/2, line("killed"))
		l.sameStored(at("whole"), at("killed"))
		l.leaderDies(1, line("moved"))
		l.sameStored(at("whole"), at("moved"))
		l.run(0, inOpenMLDB, "verify_backup "+at("moved"))

		l.run(0, inOpenMLDB, "drop "+keptTable+" --yes="+keptTable)
		restore := fmt.Sprintf("restore %s --partitions %d --verify --max-rate 30000rows/s", at("killed"), 5+4*i)
		l.killed(r, 3, 9*keptRows/10, restore)
		l.sameAsCopy()
		l.whole()
		l.run(0, inOpenMLDB, "drop "+keptTable+" --yes="+keptTable)
		l.leaderDies(2, restore)
		l.sameAsCopy()
	}
}
