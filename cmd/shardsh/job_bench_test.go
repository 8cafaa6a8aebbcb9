//go:build !windows

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// jobBench is a state directory, a served cluster, and the files that steer the job of dummy_count.
type jobBench struct {
	t             *testing.T
	program       string
	home, config  string
	files         string
	sandboxOutput strings.Builder
}

// shellRun is a shell of its own process.
type shellRun struct {
	b        *jobBench
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func newJobBench(t *testing.T, program string) *jobBench {
	t.Helper()
	b := &jobBench{t: t, program: program, home: t.TempDir(), files: t.TempDir()}
	b.config = filepath.Join(b.files, "config.ini")
	server := exec.Command(program, "sandbox", "--data-dir", filepath.Join(b.files, "data"), "dummybox")
	server.Env = append(os.Environ(), isolated(b.files)...)
	server.Stderr = &b.sandboxOutput
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if strings.HasPrefix(lines.Text(), "; ready") {
			b.write("config.ini", strings.ReplaceAll(text.String(), "dummybox", "served"))
			b.write("source", "table 1")
			b.gate("count 1000000")
			return b
		}
	}
	t.Fatalf("the sandbox ended: %s%s", text.String(), b.sandboxOutput.String())
	return nil
}

func (b *jobBench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.files, name)
	err := os.WriteFile(path+".new", []byte(text+"\n"), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// gate says how far a job of the plan may count.
func (b *jobBench) gate(text string) { b.t.Helper(); b.write("gate", text) }

// line is the command under test.
func (b *jobBench) line(extra string) string {
	return fmt.Sprintf("dummy_count 100 --gate %[1]s/gate --began %[1]s/began --source %[1]s/source --yes %[2]s", b.files, extra)
}

// began is where each run of each job began.
func (b *jobBench) began() string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.files, "began"))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", ")
}

// start starts a shell that runs lines.
func (b *jobBench) start(lines ...string) *shellRun {
	b.t.Helper()
	args := []string{"--config", b.config, "--cluster", "served", "-o", "json"}
	for _, l := range lines {
		args = append(args, "-e", l)
	}
	r := &shellRun{b: b, cmd: exec.Command(b.program, args...)}
	r.cmd.Env = append(os.Environ(), isolated(b.home)...)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	if err := r.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { r.cmd.Process.Kill(); r.cmd.Wait() })
	return r
}

// exit waits for the end of a shell and demands its code.
func (r *shellRun) exit(want int) string {
	r.b.t.Helper()
	_ = r.cmd.Wait() // the code says it
	if got := r.cmd.ProcessState.ExitCode(); got != want {
		r.b.t.Fatalf("%v: exit %d, want %d\n%s%s", r.cmd.Args, got, want, r.out.String(), r.err.String())
	}
	return r.out.String()
}

// run runs lines in a shell of its own.
func (b *jobBench) run(want int, lines ...string) (stdout, stderr string) {
	b.t.Helper()
	r := b.start(lines...)
	return r.exit(want), r.err.String()
}

// shownJob is what job show answers.
type shownJob struct {
	ID, Command, State, Job, Limit, Error, Resume, Host string
	Finished                                            []string
	Done, Total, Runs                                   int64
	Progress                                            *float64
	PID                                                 int
	Counts, Identity                                    map[string]string
}

func (b *jobBench) show(id string) shownJob {
	b.t.Helper()
	out, _ := b.run(0, "job show "+id)
	var j shownJob
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return j
}

// saved waits until the job's folder says that it was saved so often.
func (b *jobBench) saved(id, name string, n int64) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%s has saved %s %d times", id, name, n), func() bool {
		text, err := os.ReadFile(b.path("jobs", id, name+".journal"))
		var head struct{ Number int64 }
		first, _, _ := bytes.Cut(text, []byte{'\n'})
		return err == nil && json.Unmarshal(first, &head) == nil && head.Number >= n
	})
}

func (b *jobBench) path(elem ...string) string {
	return filepath.Join(append([]string{b.home, "state", "shardsh"}, elem...)...)
}

func (b *jobBench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("it never came about that %s", what)
		}
	}
}

// console opens the prompt on the served cluster.
func (b *jobBench) console(cols int) *console {
	b.t.Helper()
	c := openConsoleOf(b.t, exec.Command(b.program, "--config", b.config, "--cluster", "served"), 40, cols,
		append(isolated(b.home), "SHARDSH_TIMING=off")...)
	b.ready(c, 1)
	return c
}

// ready waits for the prompt of that number.
func (b *jobBench) ready(c *console, n int) string {
	b.t.Helper()
	const prompt = "dummy served>"
	return c.until(fmt.Sprintf("prompt %d", n), func(s string) bool {
		return strings.Count(s, prompt) >= n && strings.HasSuffix(s, prompt)
	})
}
