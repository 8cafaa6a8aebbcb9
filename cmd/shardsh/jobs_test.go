//go:build !windows

package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// jobSecret must be in no file of a job.
const jobSecret = "hunter2planted"

// TestJobs drives a job that counts through everything that may happen to one, with processes of their own.
func TestJobs(t *testing.T) {
	program := buildWithDummy(t).path
	for name, test := range map[string]func(*testing.T, *jobBench){
		"killed again and again":      jobKilled,
		"interrupted":                 jobInterrupted,
		"steered from elsewhere":      jobSteered,
		"not what it was":             jobChanged,
		"copied to another machine":   jobCopied,
		"in the background":           jobBackground,
		"background refused":          jobBackgroundRefused,
		"two at once":                 jobsTwo,
		"a state directory far down":  jobFarDown,
		"no secret, and only for you": jobPrivate,
		"at the terminal":             jobAtTheTerminal,
		"told at the prompt":          jobTold,
		"steered by keys":             jobKeys,
		"steered by keys of lines":    jobKeysOfLines,
		"keys of an abandoned one":    jobKeysAbandoned,
	} {
		t.Run(name, func(t *testing.T) { test(t, newJobBench(t, program)) })
	}
}

func jobKilled(t *testing.T, b *jobBench) {
	line := b.line("")
	for i, stop := range []struct {
		name string
		at   int64
	}{{"count", 40}, {"count", 41}, {"count", 99}, {"recount", 1}, {"recount", 70}} {
		b.gate(fmt.Sprint(stop.name, " ", stop.at))
		r := b.start(line)
		b.saved("j1", stop.name, stop.at)
		r.cmd.Process.Kill()
		r.exit(-1)
		j := b.show("j1")
		if j.State != "interrupted" || j.Job != stop.name || j.Runs != int64(i+1) || j.Resume != "job resume j1" {
			t.Errorf("after kill %d it is %+v", i, j)
		}
		line = "job resume j1"
	}
	b.gate("count 1000000")
	out, _ := b.run(0, line)
	if !strings.Contains(out, `"already done"`) || !strings.Contains(out, "recount is over") {
		t.Errorf("the last run answers %s", out)
	}
	if want := "count 0, count 40, count 41, count 99, recount 0, recount 1, recount 70"; b.began() != want {
		t.Errorf("the runs began at %s", b.began())
	}
	if j := b.show("j1"); j.State != "done" || j.Done != 100 || *j.Progress != 100 || len(j.Finished) != 2 || j.Counts["skipped"] != "10" {
		t.Errorf("in the end it is %+v", j)
	}
	b.run(5, line)
}

func jobInterrupted(t *testing.T, b *jobBench) {
	line := b.line("")
	for i, c := range []struct {
		signal syscall.Signal
		exit   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		at := int64(10 * (i + 1))
		b.gate(fmt.Sprint("count ", at))
		r := b.start(line)
		b.saved("j1", "count", at)
		if err := r.cmd.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		r.exit(c.exit)
		if text := r.err.String(); !strings.Contains(text, "to go on: job resume j1") || !strings.Contains(text, "counting is slow") {
			t.Errorf("it says %s", text)
		}
		if j := b.show("j1"); j.State != "interrupted" || j.Done != at {
			t.Errorf("it is %+v", j)
		}
		line = "job resume j1"
	}
	b.gate("count 1000000")
	b.run(0, line)
	if want := "count 0, count 10, count 20, recount 0"; b.began() != want {
		t.Errorf("the runs began at %s", b.began())
	}
}

func jobSteered(t *testing.T, b *jobBench) {
	b.gate("count 50")
	r := b.start(b.line("--max-rate 7MB/s"))
	b.saved("j1", "count", 50)
	if j := b.show("j1"); j.State != "running" || j.Limit != "7MB/s" || j.PID != r.cmd.Process.Pid || j.Done != 50 {
		t.Errorf("it is %+v", j)
	}
	b.run(5, "job resume j1")
	b.run(5, "job remove j1 --yes")
	b.run(2, "job rate j1 fast")
	b.run(0, "job rate j1 50000rows/s,20MB/s")
	if j := b.show("j1"); j.Limit != "50000rows/s,20MB/s" {
		t.Errorf("it keeps to %s", j.Limit)
	}
	out, _ := b.run(0, "job cancel j1")
	if !strings.Contains(out, "it is cancelled") {
		t.Errorf("job cancel answers %s", out)
	}
	r.exit(130)
	if text := r.err.String(); !strings.Contains(text, "cancelled by ") || !strings.Contains(text, "job resume j1") {
		t.Errorf("it says %s", text)
	}
	b.run(5, "job cancel j1")
	b.run(5, "job rate j1 none")
	b.gate("count 60")
	r = b.start("job resume j1")
	b.saved("j1", "count", 60)
	if j := b.show("j1"); j.Limit != "50000rows/s,20MB/s" || j.State != "running" {
		t.Errorf("it is %+v", j)
	}
	b.run(0, "job rate j1 none")
	if j := b.show("j1"); j.Limit != "none" {
		t.Errorf("it keeps to %s", j.Limit)
	}
	b.gate("count 1000000")
	r.exit(0)
	b.run(0, "job remove j1")
	if out, _ := b.run(0, "jobs --all"); strings.TrimSpace(out) != "[]" {
		t.Errorf("jobs answers %s", out)
	}
}

func jobChanged(t *testing.T, b *jobBench) {
	b.gate("count 5")
	r := b.start(b.line(""))
	b.saved("j1", "count", 5)
	r.cmd.Process.Kill()
	r.exit(-1)
	b.write("source", "table 2")
	if _, errs := b.run(5, "job resume j1"); !strings.Contains(errs, `source was \"table 1\" and is \"table 2\"`) {
		t.Errorf("it says %s", errs)
	}
	b.write("source", "table 1")
	b.gate("count 1000000")
	b.run(0, "job resume j1")
}

// jobCopied: the folder is moved to a machine whose configuration knows nothing of the cluster.
func jobCopied(t *testing.T, b *jobBench) {
	b.gate("count 5")
	r := b.start(b.line(""))
	b.saved("j1", "count", 5)
	r.cmd.Process.Kill()
	r.exit(-1)
	old := b.path("jobs", "j1")
	b.home = t.TempDir()
	if err := errors.Join(os.Remove(filepath.Join(old, "ctl.sock")), os.CopyFS(b.path("jobs", "moved"), os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	b.gate("count 1000000")
	cmd := exec.Command(b.program, "job", "resume", "moved")
	cmd.Env = append(os.Environ(), isolated(b.home)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "count 0, count 5, recount 0"; b.began() != want {
		t.Errorf("the runs began at %s", b.began())
	}
}

func jobBackground(t *testing.T, b *jobBench) {
	b.gate("count 30")
	out, errs := b.run(0, b.line("--background"), "version --output csv")
	var answer struct {
		ID    string
		PID   int
		Watch string
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&answer); err != nil || answer.ID != "j1" || answer.Watch != "job show j1 --follow" {
		t.Fatalf("%v: it answers %s", err, out)
	}
	t.Cleanup(func() {
		if p, err := os.FindProcess(answer.PID); err == nil {
			p.Kill()
		}
	})
	if !strings.Contains(errs, "counting is slow") {
		t.Errorf("it says %s", errs)
	}
	b.saved("j1", "count", 30)
	if j := b.show("j1"); j.State != "running" || j.PID != answer.PID {
		t.Errorf("it is %+v", j)
	}
	r := b.start("job show j1 --follow")
	b.gate("count 1000000")
	if out := r.exit(0); !strings.Contains(out, `"state":"done"`) {
		t.Errorf("job show --follow answers %s", out)
	}
	b.eventually("the log has the outcome", func() bool { // written once the job has ended
		log, err := os.ReadFile(b.path("jobs", "j1", "log"))
		return err == nil && strings.Contains(string(log), "recount is over")
	})
	var answers []string
	for _, r := range auditOf(t, b.home) {
		answers = append(answers, r.Phase+" "+r.Answer+" "+r.Status)
	}
	slices.Sort(answers) // the two processes write at the same time
	want := "intent --yes , intent job j1: --yes , result --yes job j1 in the background, result job j1: --yes done"
	if got := strings.Join(answers, ", "); got != want {
		t.Errorf("the audit log has\n%s, want\n%s", got, want)
	}
}

func jobBackgroundRefused(t *testing.T, b *jobBench) {
	for _, line := range []string{"dummy_tables --background", "set_read_only --background", "job remove j1 --background"} {
		b.run(map[bool]int{true: 1, false: 2}[strings.HasPrefix(line, "job remove")], line)
	}
	b.run(5, strings.ReplaceAll(b.line("--background"), "--yes", ""))
	if _, err := os.Stat(b.path("jobs", "j1")); err == nil {
		t.Error("a job was made of what was refused")
	}
}

func jobsTwo(t *testing.T, b *jobBench) {
	b.gate("count 20")
	one, two := b.start(b.line("")), b.start(b.line(""))
	b.saved("j1", "count", 20)
	b.saved("j2", "count", 20)
	b.eventually("both are shown", func() bool {
		out, _ := b.run(0, "jobs --columns id,state,done")
		return squeezeJSON(out) == `[{"id":"j1","state":"running","done":20},{"id":"j2","state":"running","done":20}]`
	})
	b.gate("count 1000000")
	one.exit(0)
	two.exit(0)
}

func squeezeJSON(text string) string { return strings.NewReplacer(" ", "", "\n", "").Replace(text) }

// jobFarDown: the path of the control socket is longer than a socket's may be.
func jobFarDown(t *testing.T, b *jobBench) {
	b.home = filepath.Join(b.home, strings.Repeat("far/", 30))
	if err := os.MkdirAll(b.home, 0o700); err != nil {
		t.Fatal(err)
	}
	b.gate("count 20")
	r := b.start(b.line(""))
	b.saved("j1", "count", 20)
	path, err := os.ReadFile(b.path("jobs", "j1", "ctl.path"))
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimSpace(string(path))
	for path, mode := range map[string]fs.FileMode{socket: 0o600, filepath.Dir(socket): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	b.run(0, "job cancel j1")
	r.exit(130)
	if _, err := os.Stat(filepath.Dir(socket)); err == nil {
		t.Errorf("%s was left", filepath.Dir(socket))
	}
}

func jobPrivate(t *testing.T, b *jobBench) {
	b.run(5, b.line("--password "+jobSecret))
	if _, err := os.Stat(b.path("jobs")); err == nil {
		t.Error("a job was made of a line with a secret")
	}
	b.gate("count 20")
	r := b.start("let api_key "+jobSecret, b.line(""))
	b.saved("j1", "count", 20)
	n := 0
	err := filepath.WalkDir(b.path("jobs", "j1"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || strings.HasPrefix(d.Name(), ".new") {
			return nil // it has been put in its place meanwhile
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		if !d.Type().IsRegular() {
			return nil
		}
		n++
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(jobSecret)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil || n < 4 {
		t.Errorf("%d files, %v", n, err)
	}
	b.gate("count 1000000")
	r.exit(0)
}

func jobAtTheTerminal(t *testing.T, b *jobBench) {
	b.gate("count 50")
	c := b.console(140)
	c.keys(strings.ReplaceAll(b.line(""), "--yes", "") + "\r")
	c.see("Go on? [y/N]")
	c.keys("y\r")
	line := c.until("the live line", func(s string) bool { return strings.Contains(s, "[##########..........]") })
	for _, text := range []string{"2/4 partitions", "50 rows", "rows/s", "MB/s", "50%", "skipped 5", "limit none"} {
		if !strings.Contains(line, text) {
			t.Errorf("%q is not in\n%s", text, line)
		}
	}
	c.keys("\x03")
	screen := b.ready(c, 2)
	if strings.Contains(screen, "[####") || !strings.Contains(screen, "to go on: job resume j1") || !strings.Contains(screen, "count to 100: stopped at 50 rows") {
		t.Errorf("after Ctrl-C:\n%s", screen)
	}
	b.gate("count 1000000")
	c.keys("job resume \t\r") // the id is completed
	screen = b.ready(c, 3)
	if strings.Contains(screen, "[####") || !strings.Contains(screen, "recount is over") {
		t.Errorf("after resuming:\n%s", screen)
	}
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func jobTold(t *testing.T, b *jobBench) {
	b.gate("count 10")
	r := b.start(b.line(""))
	b.saved("j1", "count", 10)
	r.cmd.Process.Kill()
	r.exit(-1)
	c := b.console(140)
	if screen := c.screen(); !strings.Contains(screen, "job j1 was interrupted; to go on: job resume j1") {
		t.Errorf("a new shell says\n%s", screen)
	}
	c.keys("job resume j1 --background\r")
	b.ready(c, 2)
	b.saved("j1", "count", 10)
	if screen := c.screen(); strings.Contains(screen, "job j1 is") {
		t.Errorf("it is told of before it has ended:\n%s", screen)
	}
	b.gate("count 1000000")
	b.eventually("the job has ended", func() bool { return b.show("j1").State == "done" })
	prompts := 2
	c.until("the notice", func(s string) bool {
		if strings.Contains(s, "job j1 is done: count to 100") {
			return true
		}
		if strings.Count(s, "dummy served>") == prompts && strings.HasSuffix(s, "dummy served>") {
			prompts++
			c.keys("# \r")
		}
		return false
	})
}
