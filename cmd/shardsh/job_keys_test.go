//go:build !windows

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// steers waits until keys steer a job: nothing is echoed and keys come one by one.
func (c *console) steers() {
	c.t.Helper()
	c.until("keys are read", func(string) bool {
		m := c.modes()
		return m.Lflag&(unix.ICANON|unix.ECHO) == 0 && m.Lflag&unix.ISIG != 0
	})
}

// jobKeys steers a job by keys: at the prompt, at the prompt of another shell, and where it refuses.
func jobKeys(t *testing.T, b *jobBench) {
	b.gate("count 50")
	c := b.console(160)
	limited := func(want string) {
		t.Helper()
		c.until("limit "+want, func(s string) bool {
			return strings.Contains(s, "] limit "+want+" ") && strings.Contains(s, "; limit "+want) // of the shell, and of the job itself
		})
		if j := b.show("j1"); j.Limit != want || j.State != "running" {
			t.Errorf("job show says %+v, want the limit %s", j, want)
		}
	}
	c.keys(b.line("--max-rate 10MB/s") + "\r")
	c.see("the limit is 10MB/s: + raises, - lowers it")
	limited("10MB/s")
	c.steers()
	c.keys("+")
	limited("15MB/s")
	c.keys("---")
	c.see("-: the limit is 5MB/s, and keys lower it no further")
	limited("5MB/s")

	other := b.console(160)
	other.keys("job show j1 --follow\r")
	other.see("the limit is 5MB/s: + raises, - lowers it")
	other.keys("+")
	limited("10MB/s")
	other.see("] limit 10MB/s ")
	other.keys("\x03")
	b.ready(other, 2)
	other.keys("option read_only true; job show j1 --follow\r")
	other.see("the limit is 10MB/s: + raises, - lowers it")
	other.keys("+")
	other.see("+: job rate: the shell is read-only (option)")
	other.keys("\x03")

	c.keys("job rate j1 none --yes\rhalf a line +")
	limited("10MB/s") // a line that is typed ahead waits
	c.keys("\x03")
	screen := b.ready(c, 2)
	if strings.Contains(screen, "half a line") || !strings.Contains(screen, "job resume j1") {
		t.Errorf("after Ctrl-C:\n%s", screen)
	}
	b.audited("job rate j1 15MB/s", "job rate j1 10MB/s", "job rate j1 5MB/s", "job rate j1 10MB/s")

	// The limit of a key is that of later runs, too; a job that is told to have none is not given one by a key.
	c.keys("job resume j1\r")
	c.until("it goes on", func(s string) bool { return strings.Contains(s, "] limit 10MB/s ") })
	b.run(0, "job rate j1 none")
	c.until("no limit", func(s string) bool { return strings.Contains(s, "; limit none") && !strings.Contains(s, "] limit") })
	c.keys("+")
	c.see("+: no limit is set; job rate j1 20MB/s sets one")
	c.keys("version > /dev/null; # 5+5\r")
	b.gate("count 1000000")
	screen = b.ready(c, 4)
	if !strings.Contains(screen, "dummy served> version > /dev/null; # 5+5\n") || !strings.Contains(screen, "recount is over") {
		t.Errorf("the line that was typed ahead did not run after the job:\n%s", screen)
	}
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// audited demands the changes of limits that the audit log has, in their order, and that keys confirmed them.
func (b *jobBench) audited(want ...string) {
	b.t.Helper()
	text, err := os.ReadFile(b.path("audit.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		var record struct{ Phase, Line, Answer, Status string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case !strings.HasPrefix(record.Line, "job rate"):
		case !strings.HasPrefix(record.Answer, "typed ") || record.Phase == "result" && record.Status != "done":
			b.t.Errorf("the audit log has %s", line)
		case record.Phase == "result":
			lines = append(lines, record.Line)
		}
	}
	if got, all := strings.Join(lines, ", "), strings.Join(want, ", "); got != all {
		b.t.Errorf("the audit log has %s\nwant %s", got, all)
	}
}

// jobKeysOfLines steers a job that -e runs on a terminal, and leaves the terminal as it was on every way out. Where the
// result is piped on, or standard input is a script, keys are somebody else's.
func jobKeysOfLines(t *testing.T, b *jobBench) {
	open := func(args ...string) (*console, unix.Termios) {
		t.Helper()
		c := openConsoleOf(t, exec.Command(b.program, append([]string{"--config", b.config, "--cluster", "served"}, args...)...), 40, 160,
			append(isolated(b.home), "SHARDSH_TIMING=off")...)
		return c, c.before
	}
	left := func(c *console, before unix.Termios, want int) {
		t.Helper()
		if code := c.leave(); code != want {
			t.Errorf("exit %d, want %d\n%s", code, want, c.screen())
		}
		if after := c.modes(); after != before {
			t.Errorf("the terminal is not as it was:\n%+v\n%+v", before, after)
		}
	}
	line := b.line("--max-rate 10MB/s")
	b.gate("count 50")
	for n, end := range []struct {
		by   func(*console)
		exit int
	}{
		{func(c *console) { c.keys("\x03") }, 130},
		{func(c *console) { _ = c.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		{func(c *console) { _ = c.cmd.Process.Signal(syscall.SIGHUP) }, 129},
		{func(*console) { b.gate("panic") }, 1},
		{func(*console) { b.gate("count 1000000") }, 0},
	} {
		c, before := open("-e", line)
		c.steers()
		c.see(fmt.Sprintf("] limit %dMB/s ", 10+5*n)) // later runs keep to what a key has set
		c.keys("+")
		c.see(fmt.Sprintf("] limit %dMB/s ", 15+5*n))
		end.by(c)
		left(c, before, end.exit)
		line = "job resume j1"
		b.gate("count 50")
	}

	b.gate("count 50")
	c, before := open("-e", b.line("--max-rate 10MB/s"), "-i")
	c.see("] limit 10MB/s ")
	c.steers()
	c.keys("+let typed ahead+\r")
	c.see("] limit 15MB/s ")
	b.gate("count 1000000")
	b.ready(c, 2)
	c.keys("let\r")
	c.see("ahead+")
	b.ready(c, 3)
	c.keys("exit\r")
	left(c, before, 0)

	for _, args := range [][]string{{"-e", b.line("--max-rate 10MB/s") + " | cat"}, {"-f", "-"}} {
		b.gate("count 50")
		c, before := open(args...)
		if args[0] == "-f" {
			c.keys(b.line("--max-rate 10MB/s") + "\r")
		}
		s := c.see("] limit 10MB/s ")
		if now := c.modes(); now != before || strings.Contains(s, "raises") {
			t.Errorf("%q: keys are read\n%s", args, s)
		}
		if args[0] == "-f" {
			c.keys("\x04")
		}
		b.gate("count 1000000")
		left(c, before, 0)
	}
}

// jobKeysAbandoned: the second Ctrl-C leaves a job that does not end, and with it its keys.
func jobKeysAbandoned(t *testing.T, b *jobBench) {
	b.gate("count 50")
	c := b.console(160)
	c.keys(b.line("--max-rate 10MB/s --stubborn") + "\r")
	c.see("] limit 10MB/s ")
	c.steers()
	c.keys("\x03")
	c.until("the terminal is as it was", func(string) bool { return c.modes().Lflag&unix.ICANON != 0 })
	c.keys("\x03")
	c.see("stopped waiting for the command")
	c.keys("let five 5+5\r")
	c.keys("let\r")
	c.see("| five | 5+5")
	if j := b.show("j1"); j.Limit != "10MB/s" {
		t.Errorf("it is %+v", j)
	}
	b.gate("count 1000000")

	// One that panics leaves the shell, and the terminal as it was.
	b.gate("count 50")
	c.keys(b.line("--max-rate 10MB/s") + "\r")
	c.see("] limit 10MB/s ")
	c.steers()
	b.gate("panic")
	c.see("internal error: counting is broken")
	c.keys("let six 6+6\r")
	c.keys("let\r")
	c.see("| six  | 6+6")
}
