//go:build !windows

package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// console is the program on a pseudo-terminal, with an emulator that knows what a person would see.
type console struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	done chan struct{} // the program's output ended
	// before is how the terminal was before the program had it.
	before unix.Termios

	mu   sync.Mutex
	term vt10x.Terminal
	raw  []byte
}

func openConsole(t *testing.T, rows, cols int, env ...string) *console {
	t.Helper()
	return openConsoleOf(t, exec.Command(program), rows, cols, env...)
}

// openConsoleOf is openConsole for another program.
func openConsoleOf(t *testing.T, cmd *exec.Cmd, rows, cols int, env ...string) *console {
	t.Helper()
	c := &console{t: t, cmd: cmd, done: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), isolated(t.TempDir())...), env...)
	c.cmd.Dir = t.TempDir()
	c.term = vt10x.New(vt10x.WithSize(cols, rows))
	tty, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c.tty = tty
	c.before = c.modes()
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = pty.Setsize(tty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)})
	if err == nil {
		err = c.cmd.Start()
	}
	if err = errors.Join(err, slave.Close()); err != nil {
		t.Fatal(err)
	}
	go c.read()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.tty.Close()
		<-c.done
	})
	return c
}

func (c *console) read() {
	defer close(c.done)
	chunk := make([]byte, 4096)
	for {
		n, err := c.tty.Read(chunk)
		if n > 0 {
			c.mu.Lock()
			c.term.Write(chunk[:n])
			c.raw = append(c.raw, chunk[:n]...)
			c.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// screen is what a person sees now, without blank ends of lines and lines at the end.
func (c *console) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(c.term.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// output is every byte the program wrote.
func (c *console) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw)
}

func (c *console) keys(text string) {
	c.t.Helper()
	if _, err := c.tty.Write([]byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// until waits for a condition on the screen.
func (c *console) until(what string, ok func(screen string) bool) string {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		screen := c.screen()
		if ok(screen) {
			return screen
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s did not appear; the screen is:\n%s", what, screen)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *console) see(text string) string {
	c.t.Helper()
	return c.until(fmt.Sprintf("%q", text), func(s string) bool { return strings.Contains(s, text) })
}

// prompts waits until the last line is a prompt ready for typing, and n prompts are on the screen.
func (c *console) prompts(n int) string {
	c.t.Helper()
	return c.until(fmt.Sprintf("prompt %d", n), func(s string) bool {
		return strings.Count(s, ">>> ")+strings.Count(s, ">>>\n")+boolInt(strings.HasSuffix(s, ">>>")) >= n && strings.HasSuffix(s, ">>>")
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// atPrompt says that the screen ends in OpenMLDB's prompt, with nothing typed yet.
func atPrompt(screen string) bool {
	last := screen[strings.LastIndexByte(screen, '\n')+1:]
	return strings.HasPrefix(last, "[sandbox]") && strings.Contains(last, "openmldb") && strings.HasSuffix(last, ">")
}
