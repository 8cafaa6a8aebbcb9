//go:build unix

package term

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come. Nothing waits longer than it needs.
const patience = 30 * time.Second

// rig is a child under a pty, and the screen it draws on.
type rig struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	screen vt10x.Terminal

	mu      sync.Mutex
	raw     []byte
	from    int           // where the raw bytes a view gives begin
	changed chan struct{} // closed and renewed on each output
	closed  bool          // the child's side of the pty is gone

	reader sync.WaitGroup
	before unix.Termios
	ended  *os.ProcessState
}

// start runs a child in a mode on an 80 by 24 screen and waits for its first prompt.
func start(t *testing.T, mode string) *rig {
	t.Helper()
	r := launch(t, mode, 80, 24)
	r.at(0)
	return r
}

func launch(t *testing.T, mode string, columns, rows int) *rig {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	must(t, pty.Setsize(master, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}))
	r := &rig{t: t, master: pollable(t, master), changed: make(chan struct{}), screen: vt10x.New(vt10x.WithSize(columns, rows))}
	if r.before, err = getModes(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append(os.Environ(), childEnv+"="+mode, "TERM=xterm-256color", "GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=0")
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = slave, slave, slave
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, r.cmd.Start())
	must(t, slave.Close())
	r.reader.Add(1)
	go r.read()
	t.Cleanup(r.stop)
	return r
}

// pollable takes over a file so that Close ends a Read.
func pollable(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	must(t, err)
	unix.CloseOnExec(fd)
	must(t, unix.SetNonblock(fd, true))
	must(t, f.Close())
	return os.NewFile(uintptr(fd), "pty")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) read() {
	defer r.reader.Done()
	var rest []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := r.master.Read(buf)
		r.mu.Lock()
		r.raw = append(r.raw, buf[:n]...)
		rest = append(rest, buf[:n]...)
		whole := len(rest)
		for i := 1; i <= min(utf8.UTFMax-1, len(rest)); i++ {
			if tail := rest[len(rest)-i:]; utf8.RuneStart(tail[0]) && !utf8.FullRune(tail) {
				whole = len(rest) - i
			}
		}
		_, _ = r.screen.Write(rest[:whole])
		rest = append([]byte(nil), rest[whole:]...)
		r.closed = r.closed || err != nil
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// stop ends a child that still runs.
func (r *rig) stop() {
	if r.ended == nil {
		// The foreground group too, where it is not the child's.
		r.control(func(fd int) error {
			if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group > 1 {
				_ = unix.Kill(-group, unix.SIGKILL)
			}
			return nil
		})
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
	_ = r.master.Close()
	r.reader.Wait()
	if strings.Contains(string(r.raw), "DATA RACE") {
		r.t.Errorf("the child has a data race:\n%s", r.raw)
	}
}

// send types.
func (r *rig) send(keys string) {
	r.t.Helper()
	if _, err := r.master.WriteString(keys); err != nil {
		r.t.Fatalf("type %q: %v", keys, err)
	}
}

// rows are the rows of the screen without trailing blanks.
func (r *rig) rows() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rowsLocked()
}

func (r *rig) rowsLocked() []string {
	columns, count := r.screen.Size()
	rows := make([]string, count)
	for y := range rows {
		var b strings.Builder
		for x := range columns {
			if c := r.screen.Cell(x, y).Char; c != 0 {
				b.WriteRune(c)
			} else {
				b.WriteByte(' ')
			}
		}
		rows[y] = strings.TrimRight(b.String(), " ")
	}
	return rows
}

// until waits for a condition on the screen.
func (r *rig) until(what string, holds func(s view) bool) view {
	r.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(5 * time.Millisecond) // modes change without output
	defer look.Stop()
	for {
		r.mu.Lock()
		cursor := r.screen.Cursor()
		v := view{rows: r.rowsLocked(), x: cursor.X, y: cursor.Y, raw: string(r.raw[r.from:])}
		changed, closed := r.changed, r.closed
		r.mu.Unlock()
		if holds(v) {
			return v
		}
		if closed && r.ended == nil {
			r.t.Fatalf("the child ended before: %s\n%s", what, v)
		}
		select {
		case <-changed:
		case <-look.C:
		case <-late.C:
			r.t.Fatalf("did not happen: %s\n%s", what, v)
		}
	}
}

// forget drops the raw bytes seen so far from views.
func (r *rig) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from = len(r.raw)
}

// view is the screen at one moment.
type view struct {
	rows []string
	x, y int
	raw  string
}

func (v view) row() string { return v.rows[v.y] }

func (v view) has(text string) bool { return strings.Contains(strings.Join(v.rows, "\n"), text) }

func (v view) String() string {
	return fmt.Sprintf("cursor at column %d, row %d of\n%s\nlast bytes %q", v.x, v.y,
		strings.TrimRight(strings.Join(v.rows, "\n"), "\n"), v.raw[max(0, len(v.raw)-400):])
}

// shows waits for text anywhere on the screen.
func (r *rig) shows(text string) view {
	r.t.Helper()
	return r.until(fmt.Sprintf("the screen shows %q", text), func(v view) bool { return v.has(text) })
}

// line waits for the row of the cursor to be exactly this.
func (r *rig) line(text string) view {
	r.t.Helper()
	return r.until(fmt.Sprintf("the line is %q", text), func(v view) bool { return v.row() == strings.TrimRight(text, " ") })
}

// at waits for the empty prompt number n.
func (r *rig) at(n int) view {
	r.t.Helper()
	want := fmt.Sprintf("%d>", n)
	return r.until("prompt "+want, func(v view) bool { return v.row() == want && v.x == len(want)+1 })
}

// ran waits until line n was run, and was this.
func (r *rig) ran(n int, text string) {
	r.t.Helper()
	r.shows(fmt.Sprintf("ran %d: %q", n, text))
}

// rawHas waits for bytes in what the child wrote.
func (r *rig) rawHas(text string) view {
	r.t.Helper()
	return r.until(fmt.Sprintf("output has %q", text), func(v view) bool { return strings.Contains(v.raw, text) })
}

// control runs a call on the master; Fd would make it blocking, and then Close waits for ever.
func (r *rig) control(call func(fd int) error) {
	r.t.Helper()
	conn, err := r.master.SyscallConn()
	must(r.t, err)
	must(r.t, conn.Control(func(fd uintptr) { err = call(int(fd)) }))
	must(r.t, err)
}

func (r *rig) modes() (modes unix.Termios) {
	r.t.Helper()
	r.control(func(fd int) (err error) {
		modes, err = getModes(fd)
		return err
	})
	return modes
}

func (r *rig) signal(sig syscall.Signal) {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(sig))
}

// resize changes the window, which sends SIGWINCH.
func (r *rig) resize(columns, rows int) {
	r.t.Helper()
	r.mu.Lock()
	r.screen.Resize(columns, rows)
	r.mu.Unlock()
	r.control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)})
	})
}

// drain waits until all of the child's output was read.
func (r *rig) drain() {
	r.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		changed, closed := r.changed, r.closed
		r.mu.Unlock()
		if closed {
			return
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatal("somebody still holds the terminal")
		}
	}
}

// exit waits for the child to end, and checks how it leaves the terminal.
func (r *rig) exit(code int) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- r.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		_ = r.cmd.Process.Signal(syscall.SIGQUIT)
		<-done
		r.ended = r.cmd.ProcessState
		r.t.Fatalf("the child did not end\n%s", r.raw)
	}
	r.ended = r.cmd.ProcessState
	r.drain()
	if got := r.ended.ExitCode(); got != code {
		r.t.Errorf("exit code %d, want %d (%v)\n%s", got, code, r.ended, strings.Join(r.rows(), "\n"))
	}
	if now := r.modes(); now != r.before {
		r.t.Errorf("the terminal was left in other modes:\n%+v\nbefore\n%+v", now, r.before)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if on, off := strings.LastIndex(string(r.raw), pasteOn), strings.LastIndex(string(r.raw), pasteOff); on > off {
		r.t.Errorf("bracketed paste was left on")
	}
}
