// Package pool keeps a driver's connections, one to each server, and owns the driver's goroutines.
package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is what becomes of calls when the driver is closed.
var ErrClosed = errors.New("the cluster is closed")

// Config says what the connections are.
type Config[C comparable] struct {
	// Timeout bounds a dialling.
	Timeout func() time.Duration
	// Dial connects to a server.
	Dial func(ctx context.Context, endpoint string) (C, error)
	// Usable reports whether a connection takes another request.
	Usable func(C) bool
	// Serve runs for as long as a connection lasts, and returns when nothing of it is left.
	Serve func(C)
	// End ends a connection; those who wait for an answer are told ErrClosed, or something that comes to the same.
	End func(C)
}

// Pool is safe for use by several goroutines.
type Pool[C comparable] struct {
	config Config[C]
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot[C]
	conns  map[C]struct{} // all that are open, retired ones too
}

type slot[C comparable] struct {
	conn    C // the zero C for none
	dialing *dialing[C]
}

type dialing[C comparable] struct {
	done chan struct{}
	conn C
	err  error
}

// New makes a pool that has dialled nothing.
func New[C comparable](config Config[C]) *Pool[C] {
	p := &Pool[C]{config: config, slots: map[string]*slot[C]{}, conns: map[C]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Context ends with the pool.
func (p *Pool[C]) Context() context.Context { return p.ctx }

// Spawn runs f in a goroutine that Close waits for. It reports false, and runs nothing, once the pool is closed.
func (p *Pool[C]) Spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spawnLocked(f)
}

func (p *Pool[C]) spawnLocked(f func()) bool {
	if p.closed {
		return false
	}
	p.group.Go(f)
	return true
}

// Known answers the connection there is to a server, usable or not; the zero C when there is none.
func (p *Pool[C]) Known(endpoint string) C {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.slots[endpoint]; s != nil {
		return s.conn
	}
	var none C
	return none
}

// Get answers the server's connection, dialling it when there is none. Those who ask meanwhile wait for the same one.
func (p *Pool[C]) Get(ctx context.Context, endpoint string) (C, error) {
	var none C
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return none, ErrClosed
	}
	s := p.slots[endpoint]
	if s == nil {
		s = &slot[C]{}
		p.slots[endpoint] = s
	}
	if c := s.conn; c != none && p.config.Usable(c) {
		p.mu.Unlock()
		return c, nil // s is no longer ours to look at
	}
	if s.dialing == nil {
		attempt := &dialing[C]{done: make(chan struct{})}
		s.dialing, s.conn = attempt, none
		p.spawnLocked(func() { p.dial(s, attempt, endpoint) })
	}
	attempt := s.dialing
	p.mu.Unlock()
	select {
	case <-attempt.done:
		return attempt.conn, attempt.err
	case <-ctx.Done():
		return none, fmt.Errorf("no connection yet: %w", ctx.Err())
	}
}

func (p *Pool[C]) dial(s *slot[C], attempt *dialing[C], endpoint string) {
	ctx, cancel := context.WithTimeout(p.ctx, p.config.Timeout())
	defer cancel()
	c, err := p.config.Dial(ctx, endpoint)
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
		attempt.err = ErrClosed
		p.group.Go(func() { p.config.End(c) })
		return
	}
	s.conn, attempt.conn = c, c
	p.conns[c] = struct{}{}
	p.group.Go(func() {
		p.config.Serve(c)
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	})
}

// Close ends every connection, then whatever else is to be ended, and waits for every goroutine.
func (p *Pool[C]) Close(also ...func()) {
	p.mu.Lock()
	p.closed = true
	var open []C
	for c := range p.conns {
		open = append(open, c)
	}
	p.mu.Unlock()
	p.cancel()
	for _, c := range open {
		p.config.End(c)
	}
	for _, f := range also {
		f()
	}
	p.group.Wait()
}
