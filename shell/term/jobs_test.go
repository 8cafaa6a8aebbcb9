//go:build unix

package term

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// jobControl is what a login shell does for one job: it runs the loop in a foreground process group of its own, takes
// the terminal back when the job stops, and on a line of input continues it; after the line "bg" in the background, until
// another line.
func jobControl() int {
	signal.Ignore(syscall.SIGTTOU) // the shell itself sets the terminal's group from the background
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=plain")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		var status unix.WaitStatus
		if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil {
			if err == unix.EINTR {
				continue
			}
			fmt.Println(err)
			return 1
		}
		if !status.Stopped() {
			return status.ExitStatus()
		}
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp()); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("job stopped")
		line, err := lines.ReadString('\n')
		if err != nil {
			return 1
		}
		if strings.TrimSpace(line) == "bg" {
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
			fmt.Println("job in the background")
			line, err := lines.ReadString('\n')
			if err != nil {
				return 1
			}
			fmt.Printf("the shell read %q\n", line)
		}
		if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, cmd.Process.Pid); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("job continued")
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
	}
}

func TestSuspendAtThePrompt(t *testing.T) {
	r := start(t, "jobs")
	for range 3 {
		r.send("kept")
		r.line("0> kept")
		r.send("\x1a")
		r.shows("job stopped")
		if now := r.modes(); now != r.before {
			t.Errorf("modes while stopped: %+v, before: %+v", now, r.before)
		}
		r.send("\r")
		r.until("the line is back", func(v view) bool { return v.has("job continued") && v.row() == "0> kept" })
		r.send("\x15\x0c") // empty the line and the screen for the next round
		r.at(0)
	}
	r.send("exit\r")
	r.exit(0)
}

func TestSuspendDuringACommand(t *testing.T) {
	r := start(t, "jobs")
	r.send("hold\r")
	r.shows("holding")
	r.send("\x1a")
	r.shows("job stopped")
	if now := r.modes(); now != r.before {
		t.Errorf("modes while stopped: %+v, before: %+v", now, r.before)
	}
	r.send("\r")
	r.shows("the command goes on")
	r.send("\x1a")
	r.until("stopped again", func(v view) bool { return strings.Count(v.raw, "job stopped") == 2 })
	r.send("\r")
	r.until("continued again", func(v view) bool { return strings.Count(v.raw, "the command goes on") == 2 })
}

// Stopped from outside, the process cannot restore the terminal; its parent does, and when it goes on it takes it
// back.
func TestContinueAfterAStopFromOutside(t *testing.T) {
	r := start(t, "plain")
	r.send("kept")
	r.line("0> kept")
	r.signal(syscall.SIGSTOP)
	r.control(func(fd int) error { return setModes(fd, r.before, reqSetModes) })
	r.signal(syscall.SIGCONT)
	r.until("the terminal is raw again", func(view) bool { return r.modes().Lflag&unix.ICANON == 0 })
	r.send(" on\r")
	r.ran(0, "kept on")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

// Nobody could continue an orphaned process group, so the kernel does not stop it: Ctrl-Z must not hang the line.
func TestSuspendWithoutJobControl(t *testing.T) {
	r := start(t, "plain")
	r.send("kept\x1a")
	r.until("the line is drawn again", func(v view) bool { return v.has("0> kept^Z") && v.row() == "0> kept" })
	r.send("\r")
	r.ran(0, "kept")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}
