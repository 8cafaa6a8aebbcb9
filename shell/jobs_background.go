package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"shardsh/commands/spec"
	"shardsh/shell/render"
)

// backgroundEnv tells a process that it was started to run this job in the background.
const backgroundEnv = "SHARDSH_BACKGROUND_JOB"

// started is a job that this shell has another process run.
type startedJob struct {
	folder jobFolder
	gone   chan struct{} // closed when the process has ended
}

// background has a process of its own run a job that this one has made and confirmed. It returns when that process has
// taken it over.
func (s *Shell) background(ctx context.Context, r *jobRun) (*spec.Table, error) {
	id, log := r.folder.id(), r.folder.path("log")
	fail := func(err error) error {
		return &spec.Error{Kind: spec.KindOf(err), Op: "run job " + id + " in the background", Err: err, Hint: "job resume " + id + " runs it here"}
	}
	cmd, err := s.backgroundCommand(r)
	if err != nil {
		return nil, fail(errors.Join(err, r.held.Unlock()))
	}
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fail(errors.Join(err, r.held.Unlock()))
	}
	defer out.Close()
	before, err := out.Seek(0, io.SeekEnd)
	if err == nil {
		err = r.held.Unlock()
	}
	if err != nil {
		return nil, fail(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fail(err)
	}
	b := &startedJob{folder: r.folder, gone: make(chan struct{})}
	go func() {
		defer close(b.gone)
		_ = cmd.Wait() // how it ended stands in status.json
	}()
	if err := s.takenOver(ctx, b, cmd.Process.Pid, before); err != nil {
		return nil, fail(err)
	}
	s.jobs.mu.Lock()
	s.jobs.started = append(s.jobs.started, b)
	s.jobs.mu.Unlock()
	if own := r.spec.sandboxes(); own != "" {
		fmt.Fprintf(s.stderr, "sandboxes of this shell, with which the job ends: %s\n", own)
	}
	return spec.Record([]spec.Column{{Name: "id"}, {Name: "pid", Kind: spec.Int}, {Name: "log"}, {Name: "watch"}},
		id, cmd.Process.Pid, log, "job show "+id+" --follow"), nil
}

// backgroundCommand is the process that resumes a job: this program, with this shell's configuration.
func (s *Shell) backgroundCommand(r *jobRun) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"--color", "never", "--timeout", s.option("timeout").Value}
	if s.flags.config != "" {
		args = append(args, "--config", s.flags.config)
	}
	cmd := exec.Command(program, append(args, "job", "resume", r.folder.id())...)
	cmd.Env = append(os.Environ(), backgroundEnv+"="+r.folder.id())
	detach(cmd)
	return cmd, nil
}

// takenOver waits until the process has the job, or is gone with it. before is where its words in the log begin.
func (s *Shell) takenOver(ctx context.Context, b *startedJob, pid int, before int64) error {
	for {
		ended := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.gone:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
		f, err := s.jobs.find(b.folder.id())
		switch {
		case err != nil:
			return err
		case f.status.PID == pid && f.status.Runs > 0:
			return nil
		case ended:
			return spec.Errorf(spec.Failed, "its process did not begin: %s", b.said(before))
		}
	}
}

// said is what the process wrote.
func (b *startedJob) said(from int64) string {
	const most = 4 << 10
	f, err := os.Open(b.folder.path("log"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// notices tells, between two lines, of jobs in the background that have ended since the last one.
func (s *Shell) notices() {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	s.jobs.started = slices.DeleteFunc(s.jobs.started, func(b *startedJob) bool {
		select {
		case <-b.gone:
		default:
			return false
		}
		f, err := s.jobs.find(b.folder.id())
		if err != nil {
			return true // it was removed
		}
		text := fmt.Sprintf("job %s is %s: %s", f.id(), f.status.State, f.spec.Title)
		if f.status.Error != "" {
			text += ": " + f.status.Error
		}
		if f.status.State != jobDone {
			text += "; to go on: job resume " + f.id()
		}
		fmt.Fprintln(s.stderr, render.Escape(text))
		return true
	})
}

// interruptedJobs tells whoever opens the prompt of jobs of theirs that a killed or ended shell left.
func (s *Shell) interruptedJobs() {
	all, _ := s.jobs.list()
	user := userName()
	var ids []string
	for _, f := range all {
		if f.status.State == jobInterrupted && f.spec.User == user {
			ids = append(ids, f.id())
		}
	}
	switch n := len(ids); {
	case n == 1:
		fmt.Fprintf(s.stderr, "job %s was interrupted; to go on: job resume %s\n", ids[0], ids[0])
	case n > 1:
		fmt.Fprintf(s.stderr, "%d jobs were interrupted: %s; to go on: job resume ID\n", n, strings.Join(ids, " "))
	}
}
