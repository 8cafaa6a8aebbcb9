package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"shardsh/commands/spec"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// The keys that change the limit of a job while it is followed.
const (
	keyRaise = '+'
	keyLower = '-'
)

// keyboard is where single keys come from while a job is followed.
type keyboard struct {
	stdin *os.File

	mu   sync.Mutex
	own  *term.Terminal // of lines that no prompt has read; nil until one of their jobs is followed
	stop func()         // of the keys that are watched
}

// unwatched marks the context of lines during which the terminal belongs to somebody else: they are read from it, or the
// result is piped into a program that may ask there.
type unwatched struct{}

// steering is how a job is asked to change: within this process, or at its socket.
type steering struct {
	id  string
	ask func(context.Context, jobRequest) (jobAnswer, error)
}

// watchKeys lets + and - change the limit of a job until stop is called or the context ends. Where there are no keys it does
// nothing.
func (s *Shell) watchKeys(ctx context.Context, job steering) (stop func()) {
	k := &s.keyboard
	k.mu.Lock()
	defer k.mu.Unlock()
	t := s.keyTerminal(ctx)
	if t == nil {
		return func() {}
	}
	asking, cancel := context.WithCancel(ctx)
	end, ok := t.WatchKeys(string([]rune{keyRaise, keyLower}), func(key rune) {
		if err := s.steer(asking, job, key); err != nil && asking.Err() == nil {
			s.besides(string(key) + ": " + err.Error())
		}
	})
	if !ok {
		cancel()
		return end
	}
	stop = sync.OnceFunc(func() { cancel(); end() })
	context.AfterFunc(ctx, stop) // what ends needs no other limit, and a second Ctrl-C must find the terminal as it was
	k.stop = stop
	if a, err := job.ask(asking, jobRequest{Op: "show"}); err == nil && a.Rate != (spec.Rate{}) {
		s.besides(fmt.Sprintf("the limit is %s: %c raises, %c lowers it", a.Rate, keyRaise, keyLower))
	}
	return stop
}

// keyTerminal is the terminal whose keys steer a job, nil when there are none. The caller holds the keyboard's mu.
func (s *Shell) keyTerminal(ctx context.Context) *term.Terminal {
	k := &s.keyboard
	switch {
	case ctx.Err() != nil || ctx.Value(unwatched{}) != nil || !s.redraws() || !s.option("progress").Bool():
		return nil
	case s.terminal != nil:
		return s.terminal
	case k.own == nil:
		k.own, _ = term.NewTerminal(term.Options{In: k.stdin, Out: s.errFile, Dumb: true})
	}
	return k.own
}

// unwatchKeys returns when nobody reads keys any more, also for a command that is no longer waited for.
func (s *Shell) unwatchKeys() {
	k := &s.keyboard
	k.mu.Lock()
	stop := k.stop
	k.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// handOver closes the terminal of lines that no prompt has read; what was typed ahead there goes to the prompt, if there is one.
func (k *keyboard) handOver(prompt *term.Terminal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.own == nil:
	case prompt != nil:
		prompt.TakeOver(k.own)
	default:
		_ = k.own.Close()
	}
	k.own = nil
}

// besides says something above the line that is redrawn.
func (s *Shell) besides(text string) { fmt.Fprintf(s.stderr, "\r\x1b[K%s\n", render.Escape(text)) }

// steer does what a key asks for: the line `job rate`, with all that belongs to it, except that pressing the key has
// confirmed it.
func (s *Shell) steer(ctx context.Context, job steering, key rune) error {
	now, err := job.ask(ctx, jobRequest{Op: "show"})
	if err != nil {
		return err
	}
	move := now.Rate.Raised
	if key == keyLower {
		move = now.Rate.Lowered
	}
	rate, err := move(now.Step)
	switch {
	case now.Rate == spec.Rate{}:
		return spec.Errorf(spec.Refused, "no limit is set; job rate %s 20MB/s sets one", job.id)
	case err != nil:
		return err
	}
	words := []string{"job", "rate", job.id, rate.String()}
	call, _, err := s.resolve(words)
	if err != nil {
		return err
	}
	if err := s.discreet(call, words); err != nil {
		return err
	}
	if err := s.mayChange(call.Command.Name); err != nil {
		return err
	}
	p := ratePlan(job, rate)
	entry, err := s.audit.begin(s, call, p, typedPrefix+string(key))
	if err != nil {
		return err
	}
	st, changed := p.Steps[0], 0
	// What was sent is waited for, which jobPatience bounds: the log must not say that it failed.
	if err = st.Apply(context.WithoutCancel(ctx), s.newReport(st.Text)); err == nil {
		changed = 1
	}
	return single(errors.Join(err, entry.end(err, changed)))
}
