//go:build unix

package term

import (
	"errors"
	"time"

	"github.com/c-bata/go-prompt"
	"golang.org/x/sys/unix"
)

const (
	pasteOn  = "\x1b[?2004h"
	pasteOff = "\x1b[?2004l"
	// readWait is how long one Read of the console may block. Whatever else there is to do rings.
	readWait = 500 * time.Millisecond
	// typingPause is how long no key must have come before Wake draws the line of its own accord: while somebody
	// types, the next key does it, and is not held up.
	typingPause = 50 * time.Millisecond
)

// dispatchKey is the only key go-prompt ever sees: F24, which it binds to nothing. It says "there are events", and
// Terminal.dispatch, bound to it, takes them all. So everything a key does happens in go-prompt's input loop, in
// order, and nothing that go-prompt has read ahead is lost when a line ends.
var dispatchKey = []byte("\x1b[\x24;2~")

var errNothing = errors.New("nothing to read")

// console is go-prompt's keyboard: it owns the modes of the terminal and cuts its bytes into events.
type console struct{ *Terminal }

var _ prompt.ConsoleParser = console{}

// Setup makes the terminal raw, for one line.
func (c console) Setup() error {
	c.left.Store(false)
	c.notReady()
	c.screen.muted = false
	err := c.arm(rawModes(c.modes), reqSetModes)
	_, _ = c.out.WriteString(pasteOn)
	return err
}

// TearDown gives the terminal back.
func (c console) TearDown() error {
	c.left.Store(true)
	c.Restore()
	return nil
}

// GetWinSize is asked once per line; when the window changes, the line is begun anew.
func (c console) GetWinSize() *prompt.WinSize {
	return &prompt.WinSize{Col: uint16(c.columns), Row: uint16(c.rows)}
}

// Read waits a while for input and answers a dispatchKey when there is something to do. The error says only that
// there is nothing: go-prompt ignores it and calls again.
func (c console) Read() ([]byte, error) {
	switch {
	case c.left.Load():
		return nil, errNothing
	case c.handOver():
		return dispatchKey, nil
	}
	c.receive(readWait)
	if c.handOver() {
		return dispatchKey, nil
	}
	return nil, errNothing
}

// handOver reports whether go-prompt is to be told that there is something to do; not again before it came.
func (c console) handOver() bool {
	if c.handed.Load() {
		return false
	}
	c.mu.Lock()
	waiting := len(c.queue) > 0
	c.mu.Unlock()
	refresh := c.refresh.Load() && time.Since(c.lastByte) >= typingPause
	if !waiting && !refresh && !c.attention.Swap(false) && !c.hungUp.Load() {
		return false
	}
	c.handed.Store(true)
	select {
	case c.ready <- struct{}{}:
	default:
	}
	return true
}

// notReady allows the next dispatchKey.
func (t *Terminal) notReady() {
	select {
	case <-t.ready:
	default:
	}
	t.handed.Store(false)
}

// idle keeps the input loop waiting in the Flush that ends a drawing until the next dispatchKey comes. go-prompt would
// look for it every ten milliseconds, which takes processor time and makes keys late.
func (t *Terminal) idle() {
	if t.settled {
		t.settled = false
		<-t.ready
	}
}

// receive waits for bytes, or for a poke, and queues the events they make.
func (t *Terminal) receive(wait time.Duration) {
	wait = t.restOfKey(wait)
	if t.refresh.Load() {
		wait = min(wait, max(typingPause-time.Since(t.lastByte), time.Millisecond))
	}
	readable, _ := t.waitInput(wait)
	t.gather(readable)
}

// restOfKey shortens a wait to how long the rest of a key may take.
func (t *Terminal) restOfKey(wait time.Duration) time.Duration {
	if rest := t.decoder.wait(); rest > 0 {
		wait = min(wait, max(time.Until(t.lastByte.Add(rest)), time.Millisecond))
	}
	return wait
}

// gather reads what there is and queues the events it makes.
func (t *Terminal) gather(readable bool) {
	var events []event
	switch rest := t.decoder.wait(); {
	case readable:
		n, err := readTTY(t.fd, t.chunk[:])
		if err == nil && n == 0 || err != nil && isEnd(err) {
			t.hungUp.Store(true)
			return
		}
		t.lastByte = time.Now()
		events = t.decoder.feed(t.chunk[:max(n, 0)])
	case rest > 0 && time.Since(t.lastByte) >= rest:
		events = t.decoder.idle()
	}
	t.enqueue(events)
}

// enqueue adds events. Ctrl-C comes before the lines that wait: it drops them.
func (t *Terminal) enqueue(events []event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ev := range events {
		if ev.key == keyInterrupt {
			for i := len(t.queue) - 1; i >= 0; i-- {
				if t.queue[i].key == keyEnter {
					t.queue = t.queue[i+1:]
					break
				}
			}
		}
		t.queue = append(t.queue, ev)
	}
}

// waitInput waits until there is something to read, or poke was called.
func (t *Terminal) waitInput(wait time.Duration) (readable, woken bool) {
	readable, woken = waitReadable(t.fd, t.wakeR, wait)
	if woken {
		t.drainWake()
	}
	return readable, woken
}

func (t *Terminal) drainWake() {
	var drained [64]byte
	_, _ = unix.Read(t.wakeR, drained[:])
}

// next takes the oldest event.
func (t *Terminal) next() (event, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return event{}, false
	}
	ev := t.queue[0]
	if t.queue = t.queue[1:]; len(t.queue) == 0 {
		t.queue = nil
	}
	return ev, true
}

// dropQueue forgets what was typed ahead or pasted.
func (t *Terminal) dropQueue() {
	t.mu.Lock()
	t.queue = nil
	t.mu.Unlock()
}
