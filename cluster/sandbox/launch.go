package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// LaunchOptions say what to launch.
type LaunchOptions struct {
	// Executable is the program that serves sandboxes: this one (os.Executable), unless a test says otherwise.
	Executable string
	// StateDir takes the control socket; "" or a path too long for a socket means a temporary directory.
	StateDir string
	DataDir  string // as ServeConfig.DataDir
	Net      string // as ServeConfig.Net
	Compat   string // as ParseCompat reads it
	// Env is added to this process's own environment.
	Env []string
}

// TiedReady is the line that a tied sandbox writes to its standard output when its control socket answers.
const TiedReady = "ready"

// Launch starts `EXECUTABLE sandbox --control PATH --tied` and returns when its control socket answers. The child
// lives as long as this process does, however that ends: it stops when its standard input is closed, and where the
// system can it is signalled too. It is out of reach of the terminal's Ctrl-C.
func Launch(ctx context.Context, options LaunchOptions) (*Client, error) {
	path, tidy, err := controlPath(options.StateDir)
	if err != nil {
		return nil, launchError(err)
	}
	args := []string{"sandbox", "--control", path, "--tied"}
	if options.DataDir != "" {
		args = append(args, "--data-dir", options.DataDir)
	}
	if options.Net != "" {
		args = append(args, "--net", options.Net)
	}
	if options.Compat != "" {
		args = append(args, "--compat", options.Compat)
	}
	ch, err := startChild(exec.Command(options.Executable, args...), options.Env, tidy)
	if err != nil {
		return nil, launchError(errors.Join(err, tidy()))
	}
	select {
	case <-ch.ready:
		return &Client{path: path, child: ch}, nil
	case <-ch.dead:
		err := ch.obituary()
		_ = ch.close() // it is dead: nothing but its directory is left
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(launchError(context.Cause(ctx)), ch.close())
	}
}

func launchError(err error) error {
	kind := spec.KindOf(err)
	if kind == spec.Failed {
		kind = spec.Unavailable
	}
	return &spec.Error{Kind: kind, Op: "launch the sandbox", Err: err}
}

// controlPath chooses where the control socket goes, and answers how to clear it away.
func controlPath(stateDir string) (path string, tidy func() error, err error) {
	if stateDir != "" {
		path = filepath.Join(stateDir, fmt.Sprintf("sandbox-%d-%x.sock", os.Getpid(), time.Now().UnixNano()&0xffffff))
		if len(path) <= maxSocketPath {
			err := os.MkdirAll(stateDir, 0o700)
			return path, func() error { return nil }, err
		}
	}
	sweepControl()
	dir, err := os.MkdirTemp("", controlPattern)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, "control.sock"), func() error { return os.RemoveAll(dir) }, nil
}

// controlPattern names the directories of control sockets that have no other place.
const controlPattern = "shardsh-control-*"

// sweepControl removes those that killed shells left. Their sandboxes took the sockets with them, so they are empty;
// a young one may be waiting for its socket.
func sweepControl() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), controlPattern))
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(dir)
		}
	}
}

// child is a launched sandbox.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr tail
	tidy   func() error

	ready chan struct{} // closed when it said so
	dead  chan struct{} // closed when it was waited for; exit is then set
	exit  error

	once sync.Once
	err  error // of close
}

func startChild(cmd *exec.Cmd, env []string, tidy func() error) (*child, error) {
	c := &child{cmd: cmd, tidy: tidy, ready: make(chan struct{}), dead: make(chan struct{})}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = &c.stderr
	detach(cmd)
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go c.attend(stdout, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// attend starts the child, reads what it says and waits for its end. The signal at the death of the parent is sent
// at the death of the thread that started the child, so that thread is kept for this.
func (c *child) attend(stdout io.Reader, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); err == nil && strings.TrimSpace(line) == TiedReady {
		close(c.ready)
	}
	_, _ = io.Copy(io.Discard, said)
	c.exit = c.cmd.Wait()
	close(c.dead)
}

// grace is how long a sandbox may take to stop after it was asked to.
const grace = 10 * time.Second

func (c *child) close() error {
	c.once.Do(func() {
		var errs []error
		if err := c.stdin.Close(); !errors.Is(err, os.ErrClosed) { // closed already when it is dead
			errs = append(errs, err)
		}
		select {
		case <-c.dead:
		case <-time.After(grace):
			errs = append(errs, fmt.Errorf("the sandbox did not stop within %s and was killed", grace), c.cmd.Process.Kill())
			<-c.dead
		}
		c.err = errors.Join(append(errs, c.tidy())...)
	})
	return c.err
}

// obituary says how the child died, nil while it lives.
func (c *child) obituary() error {
	select {
	case <-c.dead:
	case <-time.After(50 * time.Millisecond): // its socket closes a moment before it is waited for
		return nil
	}
	why := "exit status 0"
	if c.exit != nil {
		why = c.exit.Error()
	}
	if said := c.stderr.String(); said != "" {
		why += ": " + said
	}
	return &spec.Error{Kind: spec.Unavailable, Op: "reach the sandbox", Err: fmt.Errorf("its process died: %s", why)}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
