//go:build unix

package term

import (
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// keyWatch reads single keys while a command runs.
type keyWatch struct {
	*Terminal
	wanted string
	press  func(key rune)
	over   atomic.Bool
	taken  bool // the modes were set by run
}

// WatchKeys has the wanted keys, which are ASCII, call press while a command runs, from a goroutine of its own and one after
// the other. A key is one only where a line would begin; whatever else is typed meanwhile is taken, in order, by the next
// ReadLine. Nothing is echoed, and Ctrl-C and Ctrl-\ are signals still, and Ctrl-Z stops the process with the terminal
// as it was found. In the background the terminal is left alone. stop puts the modes back and returns when nothing is read
// any more; ReadLine, Confirm and ReadSecret must wait for it. ok tells whether keys can be read at all.
func (t *Terminal) WatchKeys(wanted string, press func(key rune)) (stop func(), ok bool) {
	if t.closed || t.signal.Load() != nil {
		return func() {}, false
	}
	w := &keyWatch{Terminal: t, wanted: wanted, press: press}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer w.giveBack()
		w.run()
	}()
	return sync.OnceFunc(func() {
		w.over.Store(true)
		t.ring()
		<-done
	}), true
}

func (w *keyWatch) run() {
	for w.goesOn() {
		if !w.takeUp() {
			_, _ = waitReadable(w.wakeR, w.wakeR, readWait)
			w.drainWake()
			continue
		}
		if w.pressAll() {
			continue
		}
		readable, _ := w.waitInput(w.restOfKey(readWait))
		if !w.goesOn() {
			return // what there is to read is somebody else's
		}
		w.gather(readable && w.taken)
	}
}

// goesOn reports whether keys are to be read further.
func (w *keyWatch) goesOn() bool {
	if w.taken && w.continued.Swap(false) { // whoever stopped it from outside has set modes of its own
		w.taken = false
	}
	if w.taken && !w.armed.Load() {
		return false // a signal has put the terminal back, and ends the process
	}
	return !w.over.Load() && !w.hungUp.Load() && w.signal.Load() == nil
}

// takeUp gives single keys to the reader, and reports whether this process may read at all.
func (w *keyWatch) takeUp() bool {
	switch {
	case !w.foreground():
		w.taken = false
		w.armed.Store(false)
		return false
	case !w.taken:
		w.taken = true
		_ = w.arm(keyModes(w.modes), reqSetModes)
	}
	return true
}

// giveBack puts the modes back as they were found.
func (w *keyWatch) giveBack() {
	w.taken = false
	if w.foreground() {
		w.disarm()
	}
	w.armed.Store(false)
}

// foreground reports whether the terminal is this process's: from the background the kernel stops who reads from it or
// sets its modes.
func (w *keyWatch) foreground() bool {
	group, err := retry(func() (int, error) { return unix.IoctlGetInt(w.fd, unix.TIOCGPGRP) })
	return err == nil && group == unix.Getpgrp()
}

// pressAll does what was typed so far asks for. Ctrl-Z stops the process here, and may have it go on in the background.
func (w *keyWatch) pressAll() (stopped bool) {
	w.mu.Lock()
	queue, pressed, suspend := takeKeys(w.queue, w.wanted)
	w.queue = queue
	w.mu.Unlock()
	for _, key := range pressed {
		if w.over.Load() {
			return false
		}
		w.press(key)
	}
	if suspend {
		w.giveBack()
		w.suspend()
	}
	return suspend
}

// takeKeys takes the wanted keys out of what was typed: those at the beginning of a line, for a "+" within a line is part of
// it. Ctrl-Z is taken out, too.
func takeKeys(queue []event, wanted string) (left []event, pressed string, suspend bool) {
	typed := 0 // runes of the line so far
	for _, ev := range queue {
		if ev.key == keySuspend {
			suspend = true
			continue
		}
		if ev.key == keyText && !ev.pasted && typed == 0 {
			rest := strings.TrimLeft(ev.text, wanted)
			pressed += ev.text[:len(ev.text)-len(rest)]
			if ev.text = rest; rest == "" {
				continue
			}
		}
		typed = typedBy(ev, typed)
		left = append(left, ev)
	}
	return left, pressed, suspend
}

// typedBy counts on how much stands on a line; what brings a text of its own counts as one.
func typedBy(ev event, typed int) int {
	switch ev.key {
	case keyText:
		return typed + utf8.RuneCountInString(ev.text)
	case keyEnter, keyKillStart, keyInterrupt:
		return 0
	case keyBackspace:
		return max(0, typed-1)
	case keyUp, keyDown, keyYank, keyLastArg, keySearch, keyTab, keyUndo:
		return typed + 1
	}
	return typed
}
