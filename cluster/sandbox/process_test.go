//go:build unix

package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// echoKind is a system whose nodes repeat what they are told.
func echoKind() Kind {
	k := fakeKind()
	k.System = "echo"
	k.RunNode = func(_ context.Context, link io.ReadWriteCloser) error {
		lines := bufio.NewScanner(link)
		for lines.Scan() {
			switch line := lines.Text(); line {
			case "where":
				dir, _ := os.Getwd()
				fmt.Fprintln(link, dir)
			case "complain":
				fmt.Fprintln(os.Stderr, "it hurts\nvery much")
			case "die":
				return errors.New("as told")
			default:
				fmt.Fprintln(link, line)
			}
		}
		return lines.Err()
	}
	return k
}

// logged collects what is logged.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) log(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *logged) has(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.lines, line)
}

func startEcho(t *testing.T, dir string, l *logged) (*Process, *bufio.Scanner) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := &NodeProcesses{Executable: program, System: "echo", Env: []string{roleVariable + "=" + roleNode}}
	p, err := n.Start(dir, l.log, "one", "node-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		p.Close()
	})
	return p, bufio.NewScanner(p)
}

func say(t *testing.T, p *Process, answers *bufio.Scanner, line string) string {
	t.Helper()
	if _, err := fmt.Fprintln(p, line); err != nil {
		t.Fatal(err)
	}
	if !answers.Scan() {
		t.Fatalf("no answer to %s: %v", line, answers.Err())
	}
	return answers.Text()
}

func TestNodeProcess(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var l logged
	p, answers := startEcho(t, dir, &l)
	if got := say(t, p, answers, "hello"); got != "hello" {
		t.Errorf("it says %q", got)
	}
	if got := say(t, p, answers, "where"); got != dir {
		t.Errorf("it works in %s", got)
	}
	if p.PID() == os.Getpid() || syscall.Kill(p.PID(), 0) != nil {
		t.Errorf("it is process %d", p.PID())
	}
	if _, err := fmt.Fprintln(p, "complain"); err != nil {
		t.Fatal(err)
	}
	if err := p.in.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.Death(); got != "exit status 0" {
		t.Errorf("it ended with %s", got)
	}
	for _, line := range []string{"one node-1: it hurts", "one node-1: very much"} {
		if !l.has(line) {
			t.Errorf("%q is not logged: %q", line, l.lines)
		}
	}
}

func TestNodeProcessDies(t *testing.T) {
	var l logged
	p, answers := startEcho(t, t.TempDir(), &l)
	say(t, p, answers, "hello")
	if _, err := fmt.Fprintln(p, "die"); err != nil {
		t.Fatal(err)
	}
	if got := p.Death(); got != "exit status 1" || !l.has("one node-1: as told") {
		t.Errorf("it ended with %s: %q", got, l.lines)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killing it: %v", err)
	}
	p, answers = startEcho(t, t.TempDir(), &l)
	say(t, p, answers, "hello")
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Wake(); err != nil {
		t.Fatal(err)
	}
	say(t, p, answers, "hello again")
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if got := p.Death(); got != "signal: killed" {
		t.Errorf("it ended with %s", got)
	}
}

func TestRunNodeRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"fake", "x"}, {"nothing"}} {
		if err := RunNode(t.Context(), []Kind{fakeKind(), echoKind()}, args, io.NopCloser(strings.NewReader("")), nil); spec.KindOf(err) != spec.Usage {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// A node's data has one process at a time, and a new one waits for the one before.
func TestHoldNode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "node.lock")
	first, err := HoldNode(name)
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan error, 1)
	go func() {
		second, err := HoldNode(name)
		held <- err
		if err == nil {
			second.Close()
		}
	}()
	select {
	case err := <-held:
		t.Fatalf("it was held twice: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-held; err != nil {
		t.Error(err)
	}
}

// What starts node processes is handed to systems that have them; another one says that it has not.
func TestServeProcessPerNode(t *testing.T) {
	for _, kind := range []Kind{fakeKind(), echoKind()} {
		var got *NodeProcesses
		start := kind.New
		kind.New = func(ctx context.Context, config Config) (ClusterServer, error) {
			got = config.Nodes
			return start(ctx, config)
		}
		var l logged
		serveKind(t, kind, ServeConfig{Open: []string{"one"}, ProcessPerNode: true, Log: l.log})
		said := l.has("one: a sandbox of fake keeps all its nodes in one process")
		if has := got != nil; has != (kind.RunNode != nil) || said == has {
			t.Errorf("%s: %+v, and it said %q", kind.System, got, l.lines)
		}
		if got != nil && (got.System != "echo" || !filepath.IsAbs(got.Executable)) {
			t.Errorf("%+v", got)
		}
	}
}
