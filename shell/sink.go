package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"shardsh/commands/spec"
	"shardsh/shell/line"
)

// sink is where a command's result goes: standard output, a file, or a command of the operating system.
type sink struct {
	io.Writer
	terminal bool
	plain    bool // no colour, although it is for a terminal
	width    func() int
	finish   func(err error) error
	after    []string // for people, once the result is out of the way
}

// close ends the sink. err is how the command ended; a redirected file appears only when it ended well.
func (k *sink) close(err error) error {
	if k.finish == nil {
		return err
	}
	return k.finish(err)
}

func noWidth() int { return 0 }

func (s *Shell) openSink(ctx context.Context, cmd line.Command) (*sink, error) {
	switch {
	case cmd.Pipe != "":
		return s.pipeSink(ctx, cmd.Pipe)
	case cmd.FileWord != nil:
		name, err := cmd.FileWord.Expand(s.lookup)
		if err != nil {
			return nil, err
		}
		return fileSink(name, cmd.Append)
	}
	if paged := s.pagedSink(); paged != nil {
		return paged, nil
	}
	return &sink{Writer: s.stdout, terminal: s.outTerminal, width: s.width}, nil
}

// fileSink writes to a file. Without append, a regular file is written beside and put in place at the end, so that it
// never holds half a result.
func fileSink(name string, appending bool) (*sink, error) {
	fail := func(err error) error {
		return &spec.Error{Kind: spec.Failed, Op: "write the result to " + name, Err: err}
	}
	info, statErr := os.Stat(name)
	direct := appending || (statErr == nil && !info.Mode().IsRegular())
	if direct {
		mode := os.O_WRONLY | os.O_CREATE
		if appending {
			mode |= os.O_APPEND
		}
		f, err := os.OpenFile(name, mode, 0o644)
		if err != nil {
			return nil, fail(err)
		}
		return &sink{Writer: f, width: noWidth, finish: func(err error) error {
			if cerr := f.Close(); cerr != nil && err == nil {
				err = fail(cerr)
			}
			return err
		}}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, fail(err)
	}
	return &sink{Writer: f, width: noWidth, finish: func(err error) error {
		mode := os.FileMode(0o644)
		if statErr == nil {
			mode = info.Mode().Perm()
		}
		cerr := errors.Join(f.Chmod(mode), f.Close())
		if err == nil && cerr == nil {
			cerr = os.Rename(f.Name(), name)
		}
		if err != nil || cerr != nil {
			os.Remove(f.Name())
		}
		if err == nil && cerr != nil {
			err = fail(cerr)
		}
		return err
	}}, nil
}

// pipeSink feeds the result to a command of the operating system's shell, as it is produced.
func (s *Shell) pipeSink(ctx context.Context, text string) (*sink, error) {
	c := osCommand(ctx, text)
	c.Stdout, c.Stderr = s.stdout, s.stderr.w
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return nil, &spec.Error{Kind: spec.Failed, Op: "pipe into " + text, Err: err}
	}
	return &sink{Writer: in, width: noWidth, finish: func(err error) error {
		in.Close()
		werr := c.Wait()
		switch {
		case ExitCode(err) == ExitPipe: // the command read as much as it wanted (head)
			err = nil
		case err != nil:
			return err
		}
		if werr != nil {
			return &spec.Error{Kind: spec.Failed, Op: "pipe into " + text, Err: werr}
		}
		return err
	}}, nil
}

// osShell runs `!cmd` with the terminal as it is.
func (s *Shell) osShell(ctx context.Context, text string) error {
	c := osCommand(ctx, text)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, s.stdout, s.stderr.w
	if s.reader != nil && s.terminal == nil {
		c.Stdin = nil // the script is being read from standard input
	}
	if err := c.Run(); err != nil {
		return &spec.Error{Kind: spec.Failed, Op: "!" + text, Err: err}
	}
	return nil
}

// osCommand is a command line of the operating system's shell.
func osCommand(ctx context.Context, text string) *exec.Cmd {
	if shell := os.Getenv("ComSpec"); shell != "" {
		return exec.CommandContext(ctx, shell, "/c", text)
	}
	return exec.CommandContext(ctx, "/bin/sh", "-c", text)
}
