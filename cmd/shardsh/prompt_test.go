//go:build !windows

package main_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// modes are the terminal's settings as a line-oriented program wants them.
func (c *console) modes() unix.Termios {
	c.t.Helper()
	m, err := unix.IoctlGetTermios(int(c.tty.Fd()), ioctlGetTermios)
	if err != nil {
		c.t.Fatal(err)
	}
	return *m
}

// leave waits for the end of the program and answers its exit code.
func (c *console) leave() int {
	c.t.Helper()
	<-c.done
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

// enter types a line and waits until it is on the screen before it is sent.
func (c *console) enter(line string) {
	c.t.Helper()
	c.keys(line)
	c.see(line)
	c.keys("\r")
}

// clear empties the screen.
func (c *console) clear() {
	c.t.Helper()
	c.keys("\x0c") // Ctrl-L
	c.until("an empty screen", func(screen string) bool { return strings.HasSuffix(screen, ">>>") && !strings.Contains(screen, "\n") })
}

func TestPromptFirstMinutes(t *testing.T) {
	c := openConsole(t, 40, 120)
	before := c.before
	c.prompts(1)
	c.keys("ls --columns app_name\r")
	c.see("| TableA")
	c.keys("use de\t\r") // a live value, completed
	c.see("onebox demo>>>")
	c.keys("set k s v\r")
	c.see("| done")
	c.keys("get k s\r")
	c.see("value           : v")
	c.keys("half a line\x03") // Ctrl-C drops the line and keeps the shell
	c.see("^C")
	c.keys("lss\r")
	c.see("unknown command \"lss\"")
	c.keys("drop demo\r")
	c.see("Type demo to go on:")
	c.keys("demo\r")
	c.see("app_id 2")
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if after := c.modes(); after != before {
		t.Errorf("the terminal is not as it was:\n%+v\n%+v", before, after)
	}
}

func TestPromptCtrlCEndsTheCommandNotTheShell(t *testing.T) {
	c := openConsole(t, 30, 120)
	c.prompts(1)
	c.keys("wait --within 1h --until 'count > 100' ls\r")
	c.see("[..") // it waits, and says so
	c.keys("\x03")
	c.see("interrupted")
	c.keys("version\r")
	c.see("program : shardsh")
	c.keys("!printf 'run%s\\n' ning; sleep 1000\r")
	c.see("running") // the child has the terminal
	c.keys("\x03")
	c.prompts(4)
	c.keys("\x04") // Ctrl-D
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestPromptEndsOnSignals(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		c := openConsole(t, 30, 120)
		before := c.before
		c.prompts(1)
		if err := c.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := c.leave(); code != want {
			t.Errorf("%s: exit %d, want %d", signal, code, want)
		}
		if after := c.modes(); after != before {
			t.Errorf("%s: the terminal is not as it was", signal)
		}
	}
}

func TestDumbTerminalSeesNoEscapes(t *testing.T) {
	c := openConsole(t, 30, 120, "TERM=dumb")
	c.prompts(1)
	c.keys("clusters\r")
	c.see("onebox2")
	c.keys("\x04")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if raw := c.output(); strings.Contains(raw, "\x1b") {
		t.Errorf("%q", raw)
	}
}

func TestPromptPager(t *testing.T) {
	c := openConsole(t, 24, 120, "SHARDSH_PAGER=sed -e 's/^/paged: /'")
	c.prompts(1)
	c.keys("use TableA\r")
	c.see("TableA>>>")
	c.keys("scan -n 10 --output csv\r") // fits the screen
	c.prompts(3)
	if s := c.screen(); strings.Contains(s, "paged:") {
		t.Errorf("a short result went to the pager:\n%s", s)
	}
	c.keys("scan -n 100 --output csv\r")
	c.see("paged: ")
	c.until("the prompt", func(s string) bool { return strings.HasSuffix(s, "TableA>>>") })
	if n := strings.Count(c.output(), "paged: "); n != 101 {
		t.Errorf("%d lines in the pager, want 101", n)
	}
	c.keys("option pager off\rscan -n 30 --output csv\r")
	c.see("30 rows")
	if n := strings.Count(c.output(), "paged: "); n != 101 {
		t.Errorf("the pager ran although it is off")
	}
}

func TestPromptPagerLeftEarly(t *testing.T) {
	c := openConsole(t, 24, 120, "SHARDSH_PAGER=head -n 3")
	c.prompts(1)
	c.keys("use TableA; scan --output csv\r")
	c.see("hash_key,sort_key")
	c.prompts(2)
	if s := c.screen(); strings.Contains(s, "pipe") || strings.Contains(s, "fail") {
		t.Errorf("leaving the pager is an error:\n%s", s)
	}
}

func TestPromptWatch(t *testing.T) {
	c := openConsole(t, 24, 120)
	c.prompts(1)
	c.keys("watch -n 100ms nodes\r")
	c.see("every 100ms: nodes")
	c.see("127.0.")
	c.keys("\x03")
	c.see("onebox>>>")
	c.keys("watch -n 100ms --times 2 drop demo\r")
	c.see("only reads")
}

func TestPromptEdit(t *testing.T) {
	lines := t.TempDir() + "/lines"
	if err := os.WriteFile(lines, []byte("let a 'from the editor'\nlet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openConsole(t, 24, 120, "VISUAL=cp "+lines)
	c.prompts(1)
	c.keys("edit\r")
	c.see("from the editor")
	c.prompts(2)
}

func TestPromptContinuation(t *testing.T) {
	c := openConsole(t, 24, 120)
	c.prompts(1)
	c.keys("let a \"first\r")
	c.see("...>")
	c.keys("second\"\r")
	c.prompts(2)
	c.keys("let\r")
	c.see(`first\nsecond`)
	c.keys("let b \\\r")
	c.see("...>")
	c.keys("\x03")
	c.prompts(3)
}

func TestPromptHistoryIsSharedAndSearched(t *testing.T) {
	state := "XDG_STATE_HOME=" + t.TempDir()
	first := openConsole(t, 24, 120, state)
	first.prompts(1)
	first.keys("let marker found\r")
	first.prompts(2)
	first.keys("version\r")
	first.prompts(3)
	second := openConsole(t, 24, 120, state)
	second.prompts(1)
	second.keys("\x12mark") // Ctrl-R
	second.see("let marker found")
	second.keys("\r")
	second.prompts(2)
	second.keys("history marker\r")
	second.see("let marker found")
}

func TestPromptStepsThroughAScript(t *testing.T) {
	book := t.TempDir() + "/book"
	if err := os.WriteFile(book, []byte("# a comment\nlet a first\nlet b 'second\nhalf'\nnosuch\nlet c third\nlet d never\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := openConsole(t, 40, 120)
	c.prompts(1)
	c.keys("source --step " + book + "\r")
	for _, step := range []struct{ shows, answer string }{
		{"let a first", "y\r"}, {"let b 'second", "\r"}, {"half'", "\r"}, {"nosuch", "\r"}, {"let c third", "s\r"}, {"let d never", "q\r"},
	} {
		c.until(step.shows, func(s string) bool {
			return strings.Contains(s, step.shows+"\n") && strings.HasSuffix(s, "[q]uit:")
		})
		c.keys(step.answer)
	}
	c.prompts(2)
	c.keys("let\r")
	s := c.see(`second\nhalf`)
	for name, want := range map[string]bool{"| a    | first": true, "| c ": false, "| d ": false, "unknown command \"nosuch\"": true} {
		if strings.Contains(s, name) != want {
			t.Errorf("%q on the screen: %t\n%s", name, !want, s)
		}
	}
}
