package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"shardsh/commands/spec"
)

// NodeCommand is the first argument of a program that runs one node: `EXECUTABLE sandbox-node SYSTEM WORD…`. The
// words are for people who look for a process; what the node needs to know comes over standard input.
const NodeCommand = "sandbox-node"

// NodeProcesses starts processes for the nodes of a cluster. They end with this process, however that ends.
type NodeProcesses struct {
	Executable string // a program that calls RunNode when its first argument is NodeCommand
	System     string // Kind.System
	// Env is added to this process's own environment.
	Env []string
}

// Process is the process of a node. It reads what the node writes to its standard output and writes to its standard
// input: this is how the two talk.
type Process struct {
	child *child
	out   *os.File // of the node
	in    *os.File
}

var _ io.ReadWriteCloser = (*Process)(nil)

// Start starts a process that works in a directory. What it writes to standard error is logged, line by line.
func (n *NodeProcesses) Start(dir string, log func(format string, args ...any), words ...string) (*Process, error) {
	cmd := exec.Command(n.Executable, append([]string{NodeCommand, n.System}, words...)...)
	cmd.Env = append(os.Environ(), n.Env...)
	cmd.Dir = dir
	detach(cmd, true)
	in, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	said, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), ours.Close())
	}
	p := &Process{out: said, in: ours}
	p.child = &child{cmd: cmd, stdin: ours, dead: make(chan struct{})}
	cmd.Stdin, cmd.Stdout = in, out
	cmd.Stderr = io.MultiWriter(&p.child.stderr, &lines{log: func(line string) { log("%s: %s", strings.Join(words, " "), line) }})
	cmd.WaitDelay = time.Second
	err = p.child.begin(func() {})
	err = errors.Join(err, in.Close(), out.Close()) // the child has its own
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a node's process: %w", err), p.Close())
	}
	return p, nil
}

// Read, Write and Close are on the node's standard streams. A node ends when they are closed.
func (p *Process) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *Process) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *Process) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }

// SetWriteDeadline bounds Write: a node that was stopped reads nothing.
func (p *Process) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }

// PID is its process id.
func (p *Process) PID() int { return p.child.cmd.Process.Pid }

// Dead is closed when the process is gone.
func (p *Process) Dead() <-chan struct{} { return p.child.dead }

// Death says how it died: "signal: killed". It waits for that.
func (p *Process) Death() string {
	<-p.child.dead
	if p.child.exit == nil {
		return "exit status 0"
	}
	return p.child.exit.Error()
}

// Kill ends the process, with SIGKILL where there is such a thing, and waits until it is gone.
func (p *Process) Kill() error {
	err := p.child.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.child.dead
	return err
}

// Wake has the process go on if somebody has stopped it (SIGCONT).
func (p *Process) Wake() error { return wake(p.child.cmd.Process) }

// lines cuts what is written to it into lines.
type lines struct {
	log  func(line string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		at := bytes.IndexByte(l.rest, '\n')
		if at < 0 && len(l.rest) < tailSize {
			return len(p), nil
		}
		if at < 0 {
			at = len(l.rest) - 1
		}
		l.log(strings.TrimRight(string(l.rest[:at+1]), "\r\n"))
		l.rest = l.rest[at+1:]
	}
}

// RunNode runs a node in this process until whoever started it is gone. args are those after NodeCommand.
func RunNode(ctx context.Context, kinds []Kind, args []string, in io.ReadCloser, out io.WriteCloser) error {
	i := -1
	if len(args) > 0 {
		i = slices.IndexFunc(kinds, func(k Kind) bool { return k.System == args[0] && k.RunNode != nil })
	}
	if i < 0 {
		return spec.Errorf(spec.Usage, "%s %q is run by a sandbox, not by people", NodeCommand, args)
	}
	return kinds[i].RunNode(ctx, stdio{in, out})
}

type stdio struct {
	io.ReadCloser
	w io.WriteCloser
}

func (s stdio) Write(p []byte) (int, error) { return s.w.Write(p) }
func (s stdio) Close() error                { return errors.Join(s.ReadCloser.Close(), s.w.Close()) }

// HoldNode takes the lock of a node's data, a file that is made. A process of the same node that was killed a moment
// ago may still have it, so it is waited for a while. It is held until it is closed, or this process ends.
func HoldNode(name string) (io.Closer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	lock := flock.New(name)
	held, err := lock.TryLockContext(ctx, 5*time.Millisecond)
	if err == nil && !held || errors.Is(err, context.DeadlineExceeded) {
		err = spec.Errorf(spec.Refused, "another process has %s", name)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}
