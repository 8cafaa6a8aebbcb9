package openmldb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"shardsh/cluster/openmldb/rpc"
)

// pool holds one connection a server and owns every goroutine of the driver.
type pool struct {
	timeout    func() time.Duration
	credential string
	// address finds where a server is.
	address func(ctx context.Context, endpoint string) (string, error)
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	group   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	slots  map[string]*slot
	conns  map[*rpc.Conn]struct{} // all that are open, retired ones too
}

type slot struct {
	conn    *rpc.Conn
	dialing *dialing
}

type dialing struct {
	done chan struct{}
	conn *rpc.Conn
	err  error
}

var errClosed = errors.New("the cluster is closed")

func newPool(
	timeout func() time.Duration, credential string, address func(context.Context, string) (string, error),
) *pool {
	p := &pool{
		timeout: timeout, credential: credential, address: address, slots: map[string]*slot{}, conns: map[*rpc.Conn]struct{}{},
	}
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

// get answers the server's connection, dialling it when there is none.
func (p *pool) get(ctx context.Context, endpoint string) (*rpc.Conn, error) {
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
	if s.conn != nil && s.conn.Usable() {
		p.mu.Unlock()
		return s.conn, nil
	}
	if s.dialing == nil {
		attempt := &dialing{done: make(chan struct{})}
		s.dialing, s.conn = attempt, nil
		p.spawnLocked(func() { p.dial(s, attempt, endpoint) })
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

func (p *pool) dial(s *slot, attempt *dialing, endpoint string) {
	ctx, cancel := context.WithTimeout(p.ctx, p.timeout())
	defer cancel()
	address, err := p.address(ctx, endpoint)
	var c *rpc.Conn
	if err == nil {
		c, err = rpc.Dial(ctx, address, rpc.Options{Credential: p.credential})
	}
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
		attempt.err = errClosed
		p.group.Go(c.Close)
		return
	}
	s.conn, attempt.conn = c, c
	p.conns[c] = struct{}{}
	p.group.Go(func() {
		<-c.Ended()
		c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	})
}

// close ends every connection, then whatever else is to be ended, and waits for every goroutine.
func (p *pool) close(also func()) {
	p.mu.Lock()
	p.closed = true
	var open []*rpc.Conn
	for c := range p.conns {
		open = append(open, c)
	}
	p.mu.Unlock()
	p.cancel()
	for _, c := range open {
		c.Close()
	}
	also()
	p.group.Wait()
}
