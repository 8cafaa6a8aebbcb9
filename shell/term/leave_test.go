//go:build unix

package term

import (
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Every way of leaving gives the terminal back as it was; exit compares the modes.

func TestLeaveByExitWord(t *testing.T) {
	r := start(t, "plain")
	if r.modes().Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) != 0 {
		t.Error("the terminal is not raw at the prompt")
	}
	r.send("exit\r")
	r.exit(0)
}

func TestLeaveByCtrlD(t *testing.T) {
	r := start(t, "plain")
	r.send("ab\x02\x04") // on a line that is not empty it deletes
	r.line("0> a")
	r.send("\x7f\x04")
	r.exit(0)
	r.shows("end of input")
}

func TestLeaveByPanicOfACommand(t *testing.T) {
	r := start(t, "plain")
	r.send("panic\r")
	r.exit(3)
	r.shows("recovered: a command panicked")
}

func TestLeaveByPanicOfTheAssistant(t *testing.T) {
	r := start(t, "plain")
	r.send("assistant panics")
	r.exit(3)
	r.shows("recovered: the assistant is broken")
}

func TestLeaveBySignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		r := start(t, "plain")
		r.send("half a line")
		r.line("0> half a line")
		r.signal(sig)
		r.exit(128 + int(sig))
		r.shows("signal: " + sig.String())
	}
}

// A signal may come while the terminal is made raw: what the flag says is what the modes are, so that the line, which the
// signal ends, puts back what is to be put back.
func TestSignalWhileTheModesAreSet(t *testing.T) {
	master, slave, err := pty.Open()
	must(t, err)
	defer master.Close()
	defer slave.Close()
	term := &Terminal{out: slave, fd: int(slave.Fd()), dumb: true}
	term.modes, err = getModes(term.fd)
	must(t, err)
	for range 20_000 {
		var arming sync.WaitGroup
		arming.Go(func() { _ = term.arm(rawModes(term.modes), reqSetModes) })
		for !term.armed.Load() { // the modes are being set now
			runtime.Gosched()
		}
		term.Restore()
		arming.Wait()
		now, err := getModes(term.fd)
		must(t, err)
		if raw := now != term.modes; raw != term.armed.Load() {
			t.Fatalf("the terminal is raw: %t; it is said to be: %t", raw, !raw)
		}
		term.Restore()
	}
}

func TestSignalDuringACommandLeavesAfterIt(t *testing.T) {
	r := start(t, "plain")
	r.send("child echo begun; sleep 1000\r")
	r.shows("\nbegun")
	r.signal(syscall.SIGTERM)
	r.exit(128 + int(syscall.SIGTERM))
	r.shows("child ended, cause ended by signal: terminated")
}

func TestQuitDumpsOnASaneTerminal(t *testing.T) {
	r := start(t, "plain")
	r.signal(syscall.SIGQUIT)
	r.exit(2)
	r.rawHas("SIGQUIT: quit")
}

func TestExternalInterruptDropsTheLine(t *testing.T) {
	r := start(t, "plain")
	r.send("half a line")
	r.line("0> half a line")
	r.signal(syscall.SIGINT)
	r.shows("dropped 0")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestHangupEndsTheInput(t *testing.T) {
	r := start(t, "plain")
	r.send("half a line")
	r.line("0> half a line")
	must(t, r.master.Close())
	r.reader.Wait()
	_ = r.cmd.Wait()
	r.ended = r.cmd.ProcessState
	// SIGHUP comes with the hang-up: either may be seen first.
	if code := r.ended.ExitCode(); code != 0 && code != 128+int(syscall.SIGHUP) {
		t.Errorf("exit code %d", code)
	}
}

func TestHangupWithoutASignalEndsTheInput(t *testing.T) {
	r := launch(t, "nohup", 80, 24)
	r.at(0)
	must(t, r.master.Close())
	r.reader.Wait()
	_ = r.cmd.Wait()
	r.ended = r.cmd.ProcessState
	if code := r.ended.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// cooked waits until the terminal is as the child found it: a command runs.
func (r *rig) cooked() {
	r.t.Helper()
	r.until("the terminal is cooked", func(view) bool { return r.modes() == r.before })
}

func TestModesDuringACommand(t *testing.T) {
	r := start(t, "plain")
	r.send("hold\r")
	r.shows("holding")
	if now := r.modes(); now != r.before {
		t.Errorf("modes while a command runs:\n%+v\nbefore\n%+v", now, r.before)
	}
	r.signal(syscall.SIGUSR1)
	r.ran(0, "hold")
	r.at(1)
	if v := r.at(1); strings.Contains(v.raw, "\x1b]") {
		t.Error("the window's title was touched")
	}
	r.send("exit\r")
	r.exit(0)
}

func TestInterruptCancelsTheCommandAndItsChild(t *testing.T) {
	r := start(t, "plain")
	r.send("child echo begun; sleep 1000; echo survived\r")
	r.shows("\nbegun")
	r.send("\x03")
	r.shows("child ended, cause interrupted")
	r.at(1)
	if r.at(1).has("\nsurvived") {
		t.Error("the child survived Ctrl-C")
	}
	r.send("exit\r")
	r.exit(0)
}

func TestSecondInterruptAbandons(t *testing.T) {
	r := start(t, "plain")
	r.send("stubborn\r")
	r.shows("stubborn begins")
	r.send("\x03")
	r.shows("cancelled once")
	r.send("\x03")
	r.shows("abandoned")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestChildReadsLines(t *testing.T) {
	r := start(t, "plain")
	r.send("child read x; echo got $x\r")
	r.cooked()
	r.send("word\r")
	r.shows("got word")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}
