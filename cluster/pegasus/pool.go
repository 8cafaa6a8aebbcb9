package pegasus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// pool holds one connection per endpoint and owns every goroutine of the driver.
type pool struct {
	timeout func() time.Duration
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	group   sync.WaitGroup
	frames  frames

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot
	conns  map[*conn]struct{} // all that are open, retired ones too
	// real is the address behind a host name that the cluster told us; the name may mean nothing here.
	real map[string]string
}

type slot struct {
	conn    *conn
	dialing *dialing
}

type dialing struct {
	done chan struct{}
	conn *conn
	err  error
}

var errClosed = errors.New("the cluster is closed")

// maxNames bounds what is remembered of names: more servers than any cluster has.
const maxNames = 1 << 16

func newPool(timeout func() time.Duration) *pool {
	p := &pool{timeout: timeout, slots: map[string]*slot{}, conns: map[*conn]struct{}{}, real: map[string]string{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// spawn runs f in a goroutine that close waits for. It reports false, and runs nothing, once the pool is closed.
func (p *pool) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spawnLocked(f)
}

func (p *pool) spawnLocked(f func()) bool {
	if p.closed {
		return false
	}
	p.group.Go(f)
	return true
}

// remember notes the address behind a name.
func (p *pool) remember(name, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.real[name]; known || len(p.real) < maxNames {
		p.real[name] = address
	}
}

// address is what to dial for an endpoint.
func (p *pool) address(endpoint string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addressLocked(endpoint)
}

func (p *pool) addressLocked(endpoint string) string {
	if known, ok := p.real[endpoint]; ok {
		return known
	}
	return endpoint
}

// get answers the endpoint's connection, dialling it when there is none.
func (p *pool) get(ctx context.Context, endpoint string) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	s := p.slots[endpoint]
	if s == nil {
		s = &slot{}
		p.slots[endpoint] = s
	}
	if s.conn != nil && s.conn.usable() {
		p.mu.Unlock()
		return s.conn, nil
	}
	if s.dialing == nil {
		address := p.addressLocked(endpoint)
		attempt := &dialing{done: make(chan struct{})}
		s.dialing, s.conn = attempt, nil
		p.spawnLocked(func() { p.dial(s, attempt, endpoint, address) })
	}
	attempt := s.dialing
	p.mu.Unlock()
	select {
	case <-attempt.done:
		return attempt.conn, attempt.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no connection yet: %w", ctx.Err())
	}
}

func (p *pool) dial(s *slot, attempt *dialing, endpoint, address string) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout())
	defer cancel()
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", address)
	p.mu.Lock()
	defer p.mu.Unlock()
	s.dialing = nil
	defer close(attempt.done)
	switch {
	case err != nil:
		attempt.err = err
		delete(p.slots, endpoint)
		return
	case p.closed:
		socket.Close()
		attempt.err = errClosed
		return
	}
	c := newConn(endpoint, socket, &p.frames)
	s.conn, attempt.conn = c, c
	p.conns[c] = struct{}{}
	p.group.Go(c.writeLoop)
	p.group.Go(func() {
		c.readLoop()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	})
}

// close ends every connection and waits for every goroutine.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var open []*conn
	for c := range p.conns {
		open = append(open, c)
	}
	p.mu.Unlock()
	p.cancel()
	for _, c := range open {
		c.fail(errClosed)
	}
	p.group.Wait()
}
