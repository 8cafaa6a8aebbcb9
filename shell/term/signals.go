//go:build unix

package term

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopWait is how long SIGTSTP may take to stop the process. It does not when nobody could continue it (an orphaned
// process group): then the line goes on.
const stopWait = 250 * time.Millisecond

// signals is the goroutine that hears them for a Terminal.
type signals struct {
	heard chan os.Signal
	asked chan chan struct{}
	ended chan struct{}
	left  chan struct{}
}

// settle returns when what was delivered has been heard: the Ctrl-C that ended a command must not drop the line after
// it.
func (s *signals) settle() {
	signal.Stop(make(chan os.Signal)) // waits for a delivery that is under way
	done := make(chan struct{})
	select {
	case s.asked <- done:
		<-done
	case <-s.left:
	}
}

func (s *signals) stop() {
	signal.Stop(s.heard)
	close(s.ended)
	<-s.left
}

func (t *Terminal) watchSignals() *signals {
	s := &signals{make(chan os.Signal, 16), make(chan chan struct{}), make(chan struct{}), make(chan struct{})}
	watched := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGWINCH, syscall.SIGCONT}
	if !signal.Ignored(syscall.SIGHUP) {
		watched = append(watched, syscall.SIGHUP)
	}
	signal.Notify(s.heard, watched...)
	go func() {
		defer close(s.left)
		for {
			select {
			case <-s.ended:
				return
			case sig := <-s.heard:
				t.hear(sig)
			case done := <-s.asked:
				for len(s.heard) > 0 {
					t.hear(<-s.heard)
				}
				close(done)
			}
		}
	}()
	return s
}

func (t *Terminal) hear(sig os.Signal) {
	switch sig {
	case syscall.SIGWINCH:
		t.resized.Store(true)
	case syscall.SIGCONT:
		t.continued.Store(true)
	case os.Interrupt:
		t.dropQueue()
		if t.waiting.Load() {
			t.broken.Store(true)
		}
	case syscall.SIGQUIT:
		// The goroutine dump is for people to read.
		t.Restore()
		signal.Reset(syscall.SIGQUIT)
		_ = unix.Kill(unix.Getpid(), unix.SIGQUIT)
	default:
		t.signal.Store(&SignalError{sig})
		t.Restore()
	}
	t.poke()
}

// suspend stops the process group, as the terminal does on Ctrl-Z: whoever started it (make, sudo) must stop too, or
// the login shell never gets the terminal back. The terminal has been restored.
func (t *Terminal) suspend() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	_ = unix.Kill(0, unix.SIGTSTP)
	select {
	case <-continued:
	case <-time.After(stopWait):
	}
	t.continued.Store(false)
}
