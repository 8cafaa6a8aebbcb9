//go:build unix

package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// What the test binary is when it is started again.
const (
	roleVariable = "SANDBOX_TEST_ROLE"
	roleSandbox  = "sandbox" // serves fakes, tied
	roleDies     = "dies"    // says why and exits
	roleShell    = "shell"   // launches a sandbox and waits to be killed
	roleNode     = "node"    // runs a node of echoKind
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleSandbox:
		os.Exit(serveTied(os.Args[1:]))
	case roleDies:
		fmt.Fprintln(os.Stderr, "the disk is made of cheese")
		os.Exit(3)
	case roleShell:
		os.Exit(shellForEver())
	case roleNode:
		if err := RunNode(context.Background(), []Kind{echoKind()}, os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveTied(args []string) int {
	if len(args) != 4 || args[0] != "sandbox" || args[1] != "--control" || args[3] != "--tied" {
		fmt.Fprintln(os.Stderr, "unexpected arguments", args)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	err := Serve(ctx, ServeConfig{Kinds: []Kind{fakeKind()}, Control: args[2], Ready: func(Serving) { fmt.Println(TiedReady) }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func shellForEver() int {
	c, err := Launch(context.Background(), launching(roleSandbox, ""))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(c.Path(), c.child.cmd.Process.Pid)
	select {}
}

func launching(role, dir string) LaunchOptions {
	return LaunchOptions{Executable: os.Args[0], StateDir: dir, Env: []string{roleVariable + "=" + role}}
}

func launch(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Launch(t.Context(), launching(roleSandbox, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLaunch(t *testing.T) {
	for _, dir := range []string{"", t.TempDir(), t.TempDir() + "/" + strings.Repeat("deep/", 30)} {
		c := launch(t, dir)
		address, err := c.Open(t.Context(), "one")
		if err != nil || !strings.HasPrefix(address, "fake://") {
			t.Errorf("open: %s, %v", address, err)
		}
		nodes, err := c.List(t.Context())
		if err != nil || len(nodes) != 2 || nodes[0].PID == os.Getpid() || nodes[0].PID != c.child.cmd.Process.Pid {
			t.Errorf("nodes: %+v, %v", nodes, err)
		}
		sid, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(nodes[0].PID), 0, 0)
		if errno != 0 || int(sid) != nodes[0].PID {
			t.Errorf("the sandbox is in session %d, not its own: %v", sid, errno)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(nodes[0].PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the sandbox still runs: %v", err)
		}
		if _, err := os.Stat(c.Path()); err == nil {
			t.Error("the socket's file stays")
		}
	}
}

func TestLaunchOfWhatDies(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, c := range map[string]struct {
		options LaunchOptions
		says    string
	}{
		"exits": {launching(roleDies, ""), "exit status 3: the disk is made of cheese"},
		"a process per node": { // the flag is passed on
			LaunchOptions{Executable: os.Args[0], ProcessPerNode: true, Env: []string{roleVariable + "=" + roleSandbox}}, "--process-per-node]",
		},
		"is no program": {LaunchOptions{Executable: t.TempDir()}, "permission denied"},
	} {
		_, err := Launch(t.Context(), c.options)
		if spec.KindOf(err) != spec.Unavailable || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Launch(ctx, launching(roleSandbox, "")); err != nil && spec.KindOf(err) != spec.Interrupted {
		t.Errorf("interrupted: %v", err)
	} else if err == nil {
		t.Error("interrupted before it began, and launched")
	}
	if left, err := filepath.Glob(filepath.Join(temp, controlPattern)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The directory of a control socket whose shell was killed goes away when the next shell launches.
func TestSweepControl(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var dirs [3]string // old and empty, old and in use, young
	for i := range dirs {
		var err error
		if dirs[i], err = os.MkdirTemp("", controlPattern); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dirs[1], "control.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Chtimes(dirs[0], old, old), os.Chtimes(dirs[1], old, old)); err != nil {
		t.Fatal(err)
	}
	sweepControl()
	for i, dir := range dirs {
		if _, err := os.Stat(dir); (err == nil) != (i > 0) {
			t.Errorf("directory %d: %v", i, err)
		}
	}
}

func TestChildDiesLater(t *testing.T) {
	c := launch(t, "")
	if err := c.child.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.child.dead
	_, err := c.List(t.Context())
	if spec.KindOf(err) != spec.Unavailable || !strings.Contains(err.Error(), "its process died: signal: killed") {
		t.Errorf("a call to a killed sandbox: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing after it: %v", err)
	}
}

// The sandbox ends with the shell that launched it, however that ends.
func TestTiedToTheShell(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+roleShell)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var pid int
	if _, err := fmt.Sscan(line, &path, &pid); err != nil {
		t.Fatal(line, err)
	}
	if _, err := Dial(path); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the sandbox outlives its shell")
		}
	}
}
