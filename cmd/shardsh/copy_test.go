//go:build integration && linux

package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	"shardsh/cluster/pegasus"
)

// copyLab is two served clusters with a table to copy, and a state directory.
type copyLab struct {
	t    *testing.T
	s    *served
	home string
}

const (
	labTable  = "big"
	labRows   = 80_000
	labPerKey = 20
)

func newCopyLab(t *testing.T, flags ...string) *copyLab {
	t.Helper()
	l := &copyLab{t: t, s: serveAs(t, t.TempDir(), append(flags, "onebox", "onebox2")...), home: t.TempDir()}
	l.run(0, "create "+labTable+" -p 8")
	l.on("onebox2", "create "+labTable+" -p 16")
	d, err := pegasus.New(l.s.address(), cluster.Options{Timeout: func() time.Duration { return time.Minute }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var group errgroup.Group
	group.SetLimit(16)
	for key := range labRows / labPerKey {
		group.Go(func() error {
			rows := make([]pegasus.SortValue, labPerKey)
			for i := range rows {
				rows[i] = pegasus.SortValue{Sort: fmt.Append(nil, i), Value: fmt.Appendf(nil, "%0*d", 10+key%200, i)}
			}
			ttl := time.Duration(key%5) * time.Hour
			_, err := d.MultiSet(t.Context(), labTable, fmt.Append(nil, "key", key), rows, ttl)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return l
}

// labRun is a shell that copies.
type labRun struct {
	l        *copyLab
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func (l *copyLab) start(lines ...string) *labRun {
	l.t.Helper()
	args := []string{"--config", l.s.config, "--cluster", "onebox", "-o", "json"}
	for _, line := range lines {
		args = append(args, "-e", line)
	}
	r := &labRun{l: l, cmd: exec.Command(program, args...)}
	r.cmd.Env = append(os.Environ(), isolated(l.home)...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { r.cmd.Process.Kill(); r.cmd.Wait() })
	return r
}

func (r *labRun) exit(want int) string {
	r.l.t.Helper()
	_ = r.cmd.Wait() // the code says it
	if got := r.cmd.ProcessState.ExitCode(); got != want {
		r.l.t.Fatalf("%v: exit %d, want %d\n%s%s", r.cmd.Args, got, want, r.out.String(), r.err.String())
	}
	return r.out.String()
}

func (l *copyLab) run(want int, lines ...string) string {
	l.t.Helper()
	return l.start(lines...).exit(want)
}

// on runs lines with another cluster in use.
func (l *copyLab) on(cluster string, lines ...string) string {
	l.t.Helper()
	return l.run(0, append([]string{"cluster " + cluster + " > /dev/null"}, lines...)...)
}

// node is the endpoint of a node of a cluster, by what stands behind the cluster's own network.
func (l *copyLab) node(cluster, end string) string {
	l.t.Helper()
	text, err := os.ReadFile(l.s.config)
	found := regexp.MustCompile(`(?m)^` + cluster + ` = (127\.\d+\.\d+)\.`).FindSubmatch(text)
	if err != nil || found == nil {
		l.t.Fatalf("%v: no network of %s in %s", err, cluster, text)
	}
	return string(found[1]) + end
}

// labJob is what job show answers.
type labJob struct {
	State, Held string
	Done        int64
	Counts      map[string]string
}

// show answers false while there is no such job.
func (l *copyLab) show() (j labJob, found bool) {
	l.t.Helper()
	r := l.start("job show j1")
	if r.cmd.Wait() != nil {
		return j, false
	}
	if err := json.Unmarshal(r.out.Bytes(), &j); err != nil {
		l.t.Fatalf("%v: %s", err, r.out.String())
	}
	return j, true
}

// until waits until what is shown of the job is so.
func (l *copyLab) until(what string, ok func(labJob) bool) {
	l.t.Helper()
	var j labJob
	defer func() {
		if l.t.Failed() {
			l.t.Logf("the job is %+v", j)
		}
	}()
	eventually(l.t, what, func() (found bool) {
		j, found = l.show()
		if found && j.State != "running" {
			l.t.Fatalf("it ended before %s: %+v", what, j)
		}
		return found && ok(j)
	})
}

// journaled is how many rows the journal has.
func (l *copyLab) journaled() (rows int64) {
	l.t.Helper()
	path := filepath.Join(l.home, "state", "shardsh", "jobs", "j1", "copy.journal")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = os.ReadFile(path + ".old"); errors.Is(err, os.ErrNotExist) {
			return 0
		}
	}
	_, body, _ := bytes.Cut(text, []byte{'\n'})
	var j struct{ Parts []struct{ Rows int64 } }
	if err != nil || json.Unmarshal(body, &j) != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	for _, p := range j.Parts {
		rows += p.Rows
	}
	return rows
}

var totalCount = regexp.MustCompile(`"total_count":\s*(\d+)`)

// arrived counts the rows of the target.
func (l *copyLab) arrived() (rows int64) {
	l.t.Helper()
	out := l.on("onebox2", "use "+labTable+" > /dev/null", "count_data")
	found := totalCount.FindStringSubmatch(out)
	if found == nil {
		l.t.Fatal(out)
	}
	fmt.Sscan(found[1], &rows)
	return rows
}

func (l *copyLab) equal() {
	l.t.Helper()
	l.run(0, "use "+labTable, "diff_data -c onebox2 -a "+labTable+" --ttl-drift 0")
}

// The windows of the copies in these tests: eight parts, two writes each, and twice as many batches of 50 rows.
const labLine = "copy_data -c onebox2 -a " + labTable + " -m 2 -o 50 -t 3000 "

const labWindow = 8 * (2*2 + 1) * 50

// TestCopyKilled kills the shell at random moments and resumes the copy each time. What it sends again is what was on its
// way, and what the last Save, at most a second or so before, did not know of.
func TestCopyKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newCopyLab(t)
	const rate = 5000
	lines := []string{"use " + labTable, labLine + fmt.Sprintf("--max-rate %drows/s", rate)}
	again := int64(0)
	for kill := range 10 {
		run := l.start(lines...)
		moment := time.Duration(100+r.IntN(1500)) * time.Millisecond
		time.Sleep(moment)
		run.cmd.Process.Kill()
		run.exit(-1)
		if _, found := l.show(); found {
			lines = []string{"job resume j1"}
		}
		saved, there := l.journaled(), l.arrived()
		t.Logf("kill %d after %s: %d rows in the journal, %d in the target", kill, moment, saved, there)
		if there < saved || there-saved > 3*rate+labWindow {
			t.Errorf("%d rows in the target and %d in the journal", there, saved)
		}
		again += there - saved
	}
	l.run(0, lines...)
	l.equal()
	if j, _ := l.show(); j.State != "done" || j.Done != labRows || j.Counts["copied"] != fmt.Sprint(labRows) {
		t.Errorf("%+v", j)
	}
	t.Logf("%d rows of %d were sent again over all kills", again, labRows)
}

// TestCopyInterrupted: Ctrl-C ends it at once and says how to go on, which another state directory can do with the folder.
func TestCopyInterrupted(t *testing.T) {
	l := newCopyLab(t)
	run := l.start("use "+labTable, labLine+"--max-rate 20000rows/s")
	l.until("rows are copied", func(j labJob) bool { return j.Done > 1000 })
	pressed := time.Now()
	if err := run.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	run.exit(130)
	if took := time.Since(pressed); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if text := run.err.String(); !strings.Contains(text, "job resume j1") {
		t.Errorf("it says %s", text)
	}
	if saved, there := l.journaled(), l.arrived(); there-saved > labWindow || there < saved {
		t.Errorf("%d rows in the journal, %d in the target", saved, there)
	}
	old := filepath.Join(l.home, "state", "shardsh", "jobs", "j1")
	l.home = t.TempDir()
	if err := os.CopyFS(filepath.Join(l.home, "state", "shardsh", "jobs", "j1"), os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	l.run(0, "job resume j1")
	l.equal()
}

// TestCopyThroughFailures kills a node of the source, one of the target, and the target's leading meta server during a copy.
// It goes on without them, they come back, and it ends by itself, and nothing is missing.
func TestCopyThroughFailures(t *testing.T) {
	l := newCopyLab(t, "--process-per-node")
	source, target, meta := l.node("onebox", ".32:34801"), l.node("onebox2", ".33:34801"), l.node("onebox2", ".1:34601")
	run := l.start("use "+labTable, labLine+"--max-rate 8000rows/s")
	l.until("rows are copied", func(j labJob) bool { return j.Done > 4000 })
	l.on("onebox", "sandbox kill "+source)
	l.on("onebox2", "sandbox kill "+target, "sandbox kill "+meta)
	j, _ := l.show()
	t.Logf("%+v", j)
	l.until("it goes on without them", func(now labJob) bool { return now.Done > j.Done+16_000 })
	l.on("onebox", "sandbox start "+source)
	l.on("onebox2", "sandbox start "+target, "sandbox start "+meta)
	run.exit(0)
	l.equal()
	j, _ = l.show()
	t.Logf("%+v", j)
}

// TestCopyThroughOverload: throttled, slow and refusing servers make it slower, and it ends by itself.
func TestCopyThroughOverload(t *testing.T) {
	l := newCopyLab(t)
	source, target := l.node("onebox", ".32:34801"), l.node("onebox2", ".31:34801")
	run := l.start("use "+labTable, labLine+"--max-rate 8000rows/s")
	l.until("rows are copied", func(j labJob) bool { return j.Done > 1000 })
	l.on("onebox2", "sandbox throttle 5", "sandbox slow "+target+" 300ms")
	l.on("onebox", "sandbox slow "+source+" 300ms")
	l.until("it is told of throttling", func(j labJob) bool { return j.Counts["err_capacity_exceeded"]+j.Counts["err_busy"] != "" })
	before, _ := l.show()
	t.Logf("%+v", before)
	l.until("it goes on all the same", func(j labJob) bool { return j.Done > before.Done+200 })
	l.on("onebox2", "sandbox throttle 0", "sandbox slow "+target+" 0", "set_app_envs --table "+labTable+" replica.write_throttling 200*reject*50 --yes")
	l.on("onebox", "sandbox slow "+source+" 0")
	l.until("it is told that it is too fast", func(j labJob) bool { return j.Counts["err_busy"] != "" })
	j, _ := l.show()
	t.Logf("%+v", j)
	l.on("onebox2", "del_app_envs --table "+labTable+" replica.write_throttling --yes")
	run.exit(0)
	l.equal()
}
