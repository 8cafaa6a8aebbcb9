//go:build unix

package term

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// kill sends a signal to this process, and keeps it from dying of one that comes late.
func kill(t *testing.T, sig syscall.Signal) {
	t.Helper()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, sig)
	t.Cleanup(func() { signal.Stop(heard) })
	must(t, syscall.Kill(syscall.Getpid(), sig))
	select {
	case <-heard:
	case <-time.After(patience):
		t.Fatal("the signal did not come")
	}
}

func ends(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("the context goes on")
	}
}

func TestRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("os/signal.loop"))
	abandoned := make(chan struct{})
	ctx, stop := Running(context.Background(), func() { close(abandoned) })
	if CauseOf(ctx) != nil {
		t.Errorf("cause before anything happened: %v", CauseOf(ctx))
	}
	kill(t, syscall.SIGINT)
	ends(t, ctx)
	select {
	case <-abandoned:
		t.Fatal("abandoned on the first Ctrl-C")
	default:
	}
	kill(t, syscall.SIGINT)
	select {
	case <-abandoned:
	case <-time.After(patience):
		t.Fatal("not abandoned on the second Ctrl-C")
	}
	kill(t, syscall.SIGINT) // abandon is called once
	stop()
	stop()
	if !errors.Is(CauseOf(ctx), ErrInterrupted) {
		t.Errorf("cause %v", CauseOf(ctx))
	}
}

func TestRunningEndsOnTermination(t *testing.T) {
	ctx, stop := Running(context.Background(), nil)
	kill(t, syscall.SIGTERM)
	ends(t, ctx)
	stop()
	var sig *SignalError
	if !errors.As(CauseOf(ctx), &sig) || sig.Signal != syscall.SIGTERM || !errors.Is(sig, io.EOF) {
		t.Errorf("cause %v", CauseOf(ctx))
	}
}

func TestRunningTellsOtherCauses(t *testing.T) {
	ctx, stop := Running(context.Background(), nil)
	stop()
	if ctx.Err() == nil || CauseOf(ctx) != nil {
		t.Errorf("a command that ended by itself: %v, %v", ctx.Err(), CauseOf(ctx))
	}
	parent, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	ctx, stop = Running(parent, nil)
	ends(t, ctx)
	stop()
	if !errors.Is(CauseOf(ctx), context.DeadlineExceeded) {
		t.Errorf("cause %v", CauseOf(ctx))
	}
}

func TestScript(t *testing.T) {
	lines := []string{"one", "two"}
	s := NewScript(func() (string, error) {
		if len(lines) == 0 {
			return "", io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return line, nil
	})
	if _, err := s.Confirm("sure? "); err != ErrNoTerminal {
		t.Errorf("confirm: %v", err)
	}
	if _, err := s.ReadSecret("secret? "); err != ErrNoTerminal {
		t.Errorf("secret: %v", err)
	}
	for _, want := range []string{"one", "two"} {
		if got, err := s.ReadLine(Prompt{}); got != want || err != nil {
			t.Errorf("line %q, %v", got, err)
		}
	}
	if _, err := s.ReadLine(Prompt{}); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
