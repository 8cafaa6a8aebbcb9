//go:build !windows

package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fsLab is a folder of files to copy, a block service, and a state directory.
type fsLab struct {
	t    *testing.T
	dir  string // holds in, the source, and disk, the block service of that name
	env  []string
	want map[string]string // what in holds
}

const (
	fsFiles = 40
	fsSize  = 300_000 // bytes of each, about
)

// newFSLab adds sections to its config.ini.
func newFSLab(t *testing.T, sections string) *fsLab {
	t.Helper()
	l := &fsLab{t: t, dir: t.TempDir(), want: map[string]string{}}
	r := rand.NewChaCha8([32]byte{1})
	for i := range fsFiles {
		data := make([]byte, fsSize+i*1000)
		if i == 7 {
			data = nil
		}
		_, _ = r.Read(data)
		l.write(fmt.Sprintf("in/%d/f%02d", i%3, i), data)
	}
	l.write("config.ini", fmt.Appendf(nil, "[block_service.disk]\ntype = local_service\nargs = %q\n%s", l.path("disk"), sections))
	l.env = append(os.Environ(), isolated(l.dir)...)
	l.want = l.tree("in")
	return l
}

func (l *fsLab) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l *fsLab) write(name string, data []byte) {
	l.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(l.path(name)), 0o755), os.WriteFile(l.path(name), data, 0o600)); err != nil {
		l.t.Fatal(err)
	}
}

// tree is what the files of a folder hold, hidden ones too.
func (l *fsLab) tree(name string) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	top := l.path(name)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rest, _ := filepath.Rel(top, path)
		all[rest] = fmt.Sprintf("%d %x", len(data), sha256.Sum256(data))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.t.Fatal(err)
	}
	return all
}

func (l *fsLab) same(what string, got, want map[string]string) {
	l.t.Helper()
	for name := range got {
		if got[name] != want[name] {
			l.t.Errorf("%s: %s is %q, want %q", what, name, got[name], want[name])
		}
	}
	for name := range want {
		if got[name] == "" {
			l.t.Errorf("%s: %s is missing", what, name)
		}
	}
}

// inodes tells files apart that were written anew.
func (l *fsLab) inodes(name string) map[string]uint64 {
	l.t.Helper()
	all := map[string]uint64{}
	for file := range l.tree(name) {
		if strings.HasSuffix(file, ".shardsh-tmp") {
			continue
		}
		info, err := os.Stat(l.path(name, file))
		if err != nil {
			l.t.Fatal(err)
		}
		all[file] = uint64(info.Sys().(*syscall.Stat_t).Ino)
	}
	return all
}

// fsRun is a shell that copies.
type fsRun struct {
	l        *fsLab
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func (l *fsLab) start(lines ...string) *fsRun { return l.startIn(l.dir, lines...) }

func (l *fsLab) startIn(dir string, lines ...string) *fsRun {
	l.t.Helper()
	args := []string{"--config", l.path("config.ini"), "-o", "json"}
	for _, line := range lines {
		args = append(args, "-e", line)
	}
	r := &fsRun{l: l, cmd: exec.Command(program, args...)}
	r.cmd.Dir, r.cmd.Env = dir, l.env
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { r.cmd.Process.Kill(); r.cmd.Wait() })
	return r
}

func (r *fsRun) exit(want int) (out, errs string) {
	r.l.t.Helper()
	_ = r.cmd.Wait() // the code says it
	if got := r.cmd.ProcessState.ExitCode(); got != want {
		r.l.t.Fatalf("%v: exit %d, want %d\n%s%s", r.cmd.Args, got, want, r.out.String(), r.err.String())
	}
	return r.out.String(), r.err.String()
}

func (l *fsLab) run(want int, lines ...string) (out, errs string) {
	l.t.Helper()
	return l.start(lines...).exit(want)
}

// fsJob is what job show answers.
type fsJob struct {
	State, Limit       string
	Done, Bytes, Total int64
	Runs               int
	PID                int
}

func (l *fsLab) show(id string) (j fsJob) {
	l.t.Helper()
	out, _ := l.run(0, "job show "+id)
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	return j
}

// journaled is how many files the journal of a job has, -1 when there is none.
func (l *fsLab) journaled(id string) int {
	l.t.Helper()
	path := l.path("state", "shardsh", "jobs", id, "copy.journal")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = os.ReadFile(path + ".old"); errors.Is(err, fs.ErrNotExist) {
			return -1
		}
	}
	_, body, _ := bytes.Cut(text, []byte{'\n'})
	var j struct{ Done [][2]int }
	if err != nil || json.Unmarshal(body, &j) != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	files := 0
	for _, r := range j.Done {
		files += r[1] - r[0]
	}
	return files
}

// killedAt runs a line, which makes or resumes job j1, and kills its process when the journal has so many files.
func (l *fsLab) killedAt(files int, dir, line string) {
	l.t.Helper()
	r := l.startIn(dir, line)
	comesAbout(l.t, fmt.Sprintf("the journal has %d files", files), func() bool { return l.journaled("j1") >= files })
	if err := r.cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
	r.exit(-1)
}

// comesAbout waits until something is so.
func comesAbout(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// TestFSJobKilled kills the shell with -9 in the middle, again and again. What is there is whole, what was there is not
// written again, and in the end all is as if nothing had happened.
func TestFSJobKilled(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.run(0, "fs put in disk:/whole")
	l.run(0, "job remove j1")
	if err := os.Remove(l.path("state", "shardsh", "jobs", ".last")); err != nil {
		t.Fatal(err)
	}
	line := "fs put in disk:/x --max-rate 4MB/s"
	whole := l.tree("disk/whole")
	kept := map[string]uint64{}
	for _, files := range []int{0, 5, 12, 20} {
		l.killedAt(files, l.dir, line)
		line = "job resume j1"
		for file, data := range l.tree("disk/x") {
			if !strings.HasSuffix(file, ".shardsh-tmp") && data != whole[file] {
				t.Errorf("after a kill %s is %s, want %s", file, data, whole[file])
			}
		}
		now := l.inodes("disk/x")
		for file, inode := range kept {
			if now[file] != inode {
				t.Errorf("%s was there, and was written again", file)
			}
		}
		kept = now
	}
	if len(kept) == 0 || len(kept) >= len(whole) {
		t.Fatalf("%d files of %d were there at the last kill", len(kept), len(whole))
	}
	l.run(0, line)
	l.same("in the end", l.tree("disk/x"), whole)
	now := l.inodes("disk/x")
	for file, inode := range kept {
		// A file whose .meta was not there yet is none, and is written again.
		if now[file] != inode && kept[metaOf(file)] != 0 {
			t.Errorf("%s was there, and was written again", file)
		}
	}
	if j := l.show("j1"); j.State != "done" || j.Done != fsFiles || j.Runs < 4 {
		t.Errorf("in the end it is %+v", j)
	}
	l.run(5, "job resume j1")
	l.run(0, "fs rm -r disk:/x --yes=disk:/x")
}

func metaOf(file string) string {
	dir, base := filepath.Split(file)
	return dir + "." + base + ".meta"
}

// TestFSJobElsewhere: a job is about the files that its line meant where it was typed.
func TestFSJobElsewhere(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.killedAt(3, l.dir, "fs put in disk:/x --max-rate 4MB/s")
	l.startIn(t.TempDir(), "job resume j1").exit(0)
	l.run(0, "job remove j1")
	if err := os.Remove(l.path("state", "shardsh", "jobs", ".last")); err != nil {
		t.Fatal(err)
	}
	work := l.path("work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	l.killedAt(3, work, "fs get disk:/x back --max-rate 4MB/s")
	l.startIn(t.TempDir(), "job resume j1").exit(0)
	l.same("what came back", l.tree("work/back"), l.want)
}

// TestFSJobChanged: what is copied has changed since.
func TestFSJobChanged(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.killedAt(3, l.dir, "fs put in disk:/x --max-rate 4MB/s")
	l.write("in/0/f00", []byte("another"))
	if _, errs := l.run(5, "job resume j1"); !strings.Contains(errs, "is not what it was: copy: files was") || !strings.Contains(errs, "run the command again") {
		t.Errorf("it says %s", errs)
	}
	// Run again it goes on after what is there, and asks about what is another file now.
	if _, errs := l.run(5, "fs put in disk:/x"); !strings.Contains(errs, "not confirmed") {
		t.Errorf("it says %s", errs)
	}
	l.run(0, "fs put in disk:/x --yes", "fs get disk:/x back")
	l.same("what came back", l.tree("back"), l.tree("in"))
}

// TestFSJobLost: somebody has removed what was copied already.
func TestFSJobLost(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.killedAt(6, l.dir, "fs put in disk:/x --max-rate 4MB/s")
	l.run(0, "fs rm disk:/x/0/f00 --yes=disk:/x/0/f00")
	l.run(0, "job resume j1 > /dev/null", "fs get disk:/x back")
	l.same("what came back", l.tree("back"), l.want)
}

// TestFSJobNothingLeft: another copy has done what was left.
func TestFSJobNothingLeft(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.run(0, "fs put in disk:/in", "job remove j1")
	if err := os.Remove(l.path("state", "shardsh", "jobs", ".last")); err != nil {
		t.Fatal(err)
	}
	l.killedAt(2, l.dir, "fs copy disk:/in disk:/x --max-rate 2MB/s")
	l.run(0, "fs copy disk:/in disk:/x")
	if _, errs := l.run(0, "job resume j1"); !strings.Contains(errs, "nothing to do") {
		t.Errorf("it says %s", errs)
	}
	if j := l.show("j1"); j.State != "done" {
		t.Errorf("it is %+v", j)
	}
}

// TestFSJobRate changes the limit of a copy that would take two minutes.
func TestFSJobRate(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	r := l.start("fs put in disk:/x --max-rate 100KB/s")
	comesAbout(t, "it has begun", func() bool { return l.journaled("j1") == 0 })
	started := time.Now()
	comesAbout(t, "bytes have moved", func() bool { return l.show("j1").Bytes > 0 })
	time.Sleep(time.Second)
	// Each of the four files holds one piece that it has not been let through with.
	j, took := l.show("j1"), time.Since(started)
	if most := int64(100_000*(took.Seconds()+1)) + 5*256<<10; j.State != "running" || j.Limit != "100KB/s" || j.Bytes > most {
		t.Errorf("after %s it is %+v, at most %d bytes were allowed", took, j, most)
	}
	l.run(0, "job rate j1 200KB/s")
	comesAbout(t, "it keeps to the other rate", func() bool { return l.show("j1").Limit == "200KB/s" })
	l.run(0, "job rate j1 none")
	lifted := time.Now()
	r.exit(0)
	if took := time.Since(lifted); took > 15*time.Second {
		t.Errorf("without a limit it took %s more", took)
	}
	if j := l.show("j1"); j.State != "done" || j.Bytes != sumOf(l.want) || j.Limit != "none" {
		t.Errorf("in the end it is %+v", j)
	}
}

var sizeOf = regexp.MustCompile(`^\d+`)

func sumOf(tree map[string]string) (bytes int64) {
	for _, text := range tree {
		var n int64
		fmt.Sscan(sizeOf.FindString(text), &n)
		bytes += n
	}
	return bytes
}

// TestFSJobInterrupted: Ctrl-C ends it at once, leaves nothing half-written, and says how to go on.
func TestFSJobInterrupted(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	r := l.start("fs put in disk:/x --max-rate 2MB/s")
	comesAbout(t, "files are copied", func() bool { return l.journaled("j1") >= 2 })
	pressed := time.Now()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, errs := r.exit(130)
	if took := time.Since(pressed); took > 5*time.Second || !strings.Contains(errs, "to go on: job resume j1") {
		t.Errorf("after %s it says %s", took, errs)
	}
	for file := range l.tree("disk") {
		if strings.HasSuffix(file, ".shardsh-tmp") {
			t.Errorf("%s is left", file)
		}
	}
	saved := l.journaled("j1")
	if j := l.show("j1"); j.State != "interrupted" || int(j.Done) != saved {
		t.Errorf("%d files in the journal, and it is %+v", saved, j)
	}
	l.run(0, "job resume j1", "fs get disk:/x back")
	l.same("what came back", l.tree("back"), l.want)
}

// TestFSJobBackground runs copies in other processes, also into the sandbox of the shell that asked for them.
func TestFSJobBackground(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.run(0, "fs put in disk:/x --background > /dev/null", "job show j1 --follow > /dev/null", "fs get disk:/x back")
	l.same("what came back", l.tree("back"), l.want)

	out, errs := l.run(0, "fs put in hdfs_zjy:/x --background > /dev/null", "job show j3 --follow > /dev/null", "fs get hdfs_zjy:/x own > /dev/null", "job show j3 --columns state")
	if !strings.Contains(errs, "sandboxes of this shell, with which the job ends: hdfs_zjy") || !strings.Contains(out, `"done"`) {
		t.Errorf("it says %s%s", out, errs)
	}
	l.same("what came back of the sandbox", l.tree("own"), l.want)
}

// TestFSJobOtherSandboxGone: the shell had looked at a sandbox that the job is not about.
func TestFSJobOtherSandboxGone(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	r := l.start("fs ls hdfs_zjy:/", "fs put in disk:/x --max-rate 2MB/s")
	comesAbout(t, "files are copied", func() bool { return l.journaled("j1") >= 2 })
	r.cmd.Process.Kill()
	r.exit(-1)
	place := l.place("hdfs_zjy")
	comesAbout(t, "the sandbox is gone", func() bool {
		_, err := os.Stat(place)
		return errors.Is(err, fs.ErrNotExist)
	})
	l.run(0, "job resume j1")
}

// place is where a block service of the sandbox was when the job began.
func (l *fsLab) place(name string) string {
	l.t.Helper()
	text, err := os.ReadFile(l.path("state", "shardsh", "jobs", "j1", "spec.json"))
	var j struct{ Blocks map[string]string }
	if err != nil || json.Unmarshal(text, &j) != nil || j.Blocks[name] == "" {
		l.t.Fatalf("%v: no place in %s", err, text)
	}
	return j.Blocks[name]
}

// TestFSJobSandboxGone: the block service was one of a sandbox that is gone.
func TestFSJobSandboxGone(t *testing.T) {
	t.Parallel()
	l := newFSLab(t, "")
	l.killedAt(2, l.dir, "fs put in hdfs_zjy:/x --max-rate 2MB/s")
	place := l.place("hdfs_zjy")
	comesAbout(t, "the sandbox is gone", func() bool {
		_, err := os.Stat(place)
		return errors.Is(err, fs.ErrNotExist)
	})
	if _, errs := l.run(1, "job resume j1"); !strings.Contains(errs, "the sandbox whose hdfs_zjy it was about is gone") {
		t.Errorf("it says %s", errs)
	}
}
