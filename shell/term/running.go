package term

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// abandonWithin is how soon a second Ctrl-C must follow to mean "stop waiting".
const abandonWithin = 2 * time.Second

// Running watches over one command. The context it returns is cancelled by Ctrl-C (cause ErrInterrupted) and by
// SIGTERM and SIGHUP (cause *SignalError); a second Ctrl-C within two seconds calls abandon, once, from a goroutine of
// its own, which must not block. stop ends the watch and the context; it returns when the goroutine has ended.
// It needs no Terminal, and works the same for a script.
func Running(ctx context.Context, abandon func()) (running context.Context, stop func()) {
	running, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	watched := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		watched = append(watched, syscall.SIGHUP)
	}
	signal.Notify(signals, watched...)
	left := make(chan struct{})
	go func() {
		defer close(left)
		watch(signals, cancel, abandon)
	}()
	return running, sync.OnceFunc(func() {
		signal.Stop(signals) // delivers what has arrived
		close(signals)
		<-left
		cancel(errDone)
	})
}

func watch(signals <-chan os.Signal, cancel context.CancelCauseFunc, abandon func()) {
	var last time.Time
	for sig := range signals {
		if sig != os.Interrupt {
			cancel(&SignalError{sig})
			continue
		}
		cancel(ErrInterrupted)
		now := time.Now()
		if !last.IsZero() && now.Sub(last) <= abandonWithin && abandon != nil {
			abandon()
			abandon = nil
		}
		last = now
	}
}

// errDone is the cause of a context whose command ended by itself.
var errDone = errors.New("the command has ended")

// CauseOf returns why a context of Running ended: ErrInterrupted, a *SignalError, or the cause of the context it was
// made from; nil while it has not, and when stop ended it. Ask after stop, which hears what has just arrived.
func CauseOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errDone) {
		return cause
	}
	return nil
}
