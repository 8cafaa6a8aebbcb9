package sandbox

import (
	"time"

	"shardsh/cluster/sandbox/listen"
)

// drainTime bounds how long a clean stop waits for what is being worked on.
const drainTime = 2 * time.Second

// drain takes no more connections and requests, and waits until what came before is answered and its answers are
// sent. abort comes after it.
func (l *listener) drain() {
	l.mu.Lock()
	if l.conns == nil || l.empty != nil {
		l.mu.Unlock()
		return
	}
	l.empty = make(chan struct{})
	empty := l.empty
	_ = listen.Close(l.tcp)
	for c := range l.conns {
		if !c.browsing.Load() {
			_ = c.tcp.SetReadDeadline(time.Unix(1, 0)) // read ends, and flushes
		}
	}
	if l.web != nil {
		l.wg.Go(l.web.drain)
	}
	if len(l.conns) == 0 {
		close(empty)
	}
	l.mu.Unlock()
	select {
	case <-empty:
	case <-time.After(drainTime):
	}
}

func (l *listener) draining() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.empty != nil
}

// flush waits, when the listener drains, until all answers of the connection are sent.
func (c *conn) flush() {
	if !c.l.draining() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.inFlight > 0 {
		c.change.Wait()
	}
}
