//go:build integration && linux

package main_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb"
)

const (
	visitRows  = 30_000
	visitLine  = "copy_data demo_db/visits -c openmldb2 -a visits --create -t 3000 --max-rate 6000rows/s"
	inOpenMLDB = "cluster openmldb > /dev/null"
)

// newVisitLab is two served OpenMLDB clusters with a table to copy, where rows share keys and times, and some are the same
// altogether.
func newVisitLab(t *testing.T) *copyLab {
	t.Helper()
	l := &copyLab{t: t, s: serveAs(t, t.TempDir(), "onebox", "openmldb", "openmldb2"), home: t.TempDir()}
	text, err := os.ReadFile(l.s.config)
	found := regexp.MustCompile(`(?m)^openmldb = (.*)$`).FindSubmatch(text)
	if err != nil || found == nil {
		t.Fatalf("%v: no address of openmldb in %s", err, text)
	}
	d, err := openmldb.New(string(found[1]), cluster.Options{Timeout: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	name := openmldb.TableName{DB: "demo_db", Name: "visits"}
	if err := d.Create(t.Context(), openmldb.NewTable{
		TableName: name, Partitions: 5, Replicas: 3,
		Columns: []openmldb.Column{{Name: "who", Type: "string"}, {Name: "page", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "score", Type: "double"}},
		Indexes: []openmldb.Index{
			{Name: "who", Columns: []string{"who"}, TimeColumn: "at", TTL: openmldb.TTL{Type: "kAbsoluteTime"}},
			{Name: "page", Columns: []string{"page"}, TimeColumn: "at", TTL: openmldb.TTL{Type: "kAbsoluteTime"}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	var rows iter.Seq2[openmldb.Row, error] = func(yield func(openmldb.Row, error) bool) {
		for i := range visitRows {
			row := []any{fmt.Sprint("v", i%997), fmt.Sprint("p", i%31), int64(1 + i%20), float64(i % 5)}
			if i%7 == 0 {
				row[3] = nil
			}
			if !yield(openmldb.Row{Values: row}, nil) {
				return
			}
		}
	}
	for i, err := range d.PutMany(t.Context(), name, rows, 256) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	return l
}

// sameVisits compares by both indexes.
func (l *copyLab) sameVisits() {
	l.t.Helper()
	for _, index := range []string{"who", "page"} {
		out := l.run(0, inOpenMLDB, "diff_data demo_db/visits -c openmldb2 -a visits --index "+index)
		if want := fmt.Sprintf(`"source_rows":%d,"target_rows":%[1]d`, visitRows); !strings.Contains(out, want) {
			l.t.Error(out)
		}
	}
}

// TestOpenMLDBCopyKilled kills the shell at random moments and resumes the copy each time. Tablets keep every row they
// are sent; none is sent twice.
func TestOpenMLDBCopyKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newVisitLab(t)
	lines := []string{inOpenMLDB, visitLine}
	for kill := range 6 {
		run := l.start(lines...)
		moment := time.Duration(200+r.IntN(1200)) * time.Millisecond
		time.Sleep(moment)
		run.cmd.Process.Kill()
		run.exit(-1)
		if _, found := l.show(); found {
			lines = []string{inOpenMLDB, "job resume j1"}
		}
		j, _ := l.show()
		t.Logf("kill %d after %s: %+v", kill, moment, j)
	}
	l.run(0, lines...)
	l.sameVisits()
	if j, _ := l.show(); j.State != "done" {
		t.Errorf("%+v", j)
	}
}

// TestOpenMLDBCopyInterrupted: Ctrl-C ends it and says how to go on.
func TestOpenMLDBCopyInterrupted(t *testing.T) {
	l := newVisitLab(t)
	run := l.start(inOpenMLDB, visitLine)
	l.until("rows are copied", func(j labJob) bool { return j.Done > 1000 })
	if err := run.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	run.exit(130)
	if text := run.err.String(); !strings.Contains(text, "job resume j1") {
		t.Errorf("it says %s", text)
	}
	l.run(0, inOpenMLDB, "job resume j1")
	l.sameVisits()
}
