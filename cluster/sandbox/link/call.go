// Package link carries calls between the processes of one sandbox. A connection is symmetric: both ends ask and
// answer, any number of calls is under way at once, and an answer may overtake an earlier one.
//
//	var assign = link.New("assign", func(s server, q assignment) (link.None, error) { return false, s.assign(q) })
//
//	one process      link.Open(rw, link.Serve(get, assign, …), errs)
//	the other        assign.Do(conn, within, q)
//
// What is asked and answered are plain values, written by encoding/gob: both ends are the same program, so a value has
// one meaning. A call that got no answer has an unknown outcome, and may even be carried out later.
package link

import (
	"encoding/gob"
	"errors"
	"fmt"
	"time"
)

// None is what is asked or answered where there is nothing to say.
type None bool

var (
	// ErrLost is a call whose connection ended before its answer came.
	ErrLost = errors.New("the connection ended")
	// ErrTimeout is a call that was not answered in time.
	ErrTimeout = errors.New("no answer in time")
)

// Call is one kind of call: its name, and how a server of type S answers it.
type Call[S, Q, A any] struct {
	name    string
	inOrder bool
	serve   func(S, Q) (A, error)
}

// New makes a kind of call. serve runs in a goroutine of its own.
func New[S, Q, A any](name string, serve func(S, Q) (A, error)) *Call[S, Q, A] {
	return &Call[S, Q, A]{name: name, serve: serve}
}

// InOrder has the calls of a connection that are marked so carried out one after the other, as they came, even when
// whoever asked has given up waiting. They must be quick, and not ask the connection anything themselves.
func (c *Call[S, Q, A]) InOrder() *Call[S, Q, A] {
	c.inOrder = true
	return c
}

// Name is the call's name.
func (c *Call[S, Q, A]) Name() string { return c.name }

// Do asks and waits for the answer.
func (c *Call[S, Q, A]) Do(conn *Conn, within time.Duration, q Q) (A, error) {
	return c.Start(conn, q).Wait(within)
}

// Start asks without waiting.
func (c *Call[S, Q, A]) Start(conn *Conn, q Q) *Pending[A] {
	p := &Pending[A]{conn: conn}
	p.wait, p.id = conn.ask(c.name, &q, &p.answer)
	return p
}

// Pending is a call under way.
type Pending[A any] struct {
	conn   *Conn
	id     uint64
	wait   chan error
	answer A
}

// Wait waits for the answer, 0 for as long as it takes. It is called once.
func (p *Pending[A]) Wait(within time.Duration) (A, error) {
	var none A
	if within <= 0 {
		if err := <-p.wait; err != nil {
			return none, err
		}
		return p.answer, nil
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case err := <-p.wait:
		if err != nil {
			return none, err
		}
		return p.answer, nil
	case <-timer.C:
		p.conn.giveUp(p.id)
		return none, ErrTimeout // the answer may still be being written to p
	}
}

// handler reads what is asked and returns what answers it.
type handler struct {
	inOrder bool
	read    func(*gob.Decoder) (func() (any, error), error)
}

// Service is what one end of a connection answers.
type Service map[string]handler

// Answerable is any Call of servers of type S.
type Answerable[S any] interface {
	handle(get func() (S, error)) (string, handler)
}

// Serve makes a service of the calls given. get answers the server they are for, each time.
func Serve[S any](get func() (S, error), calls ...Answerable[S]) Service {
	s := Service{}
	for _, c := range calls {
		name, h := c.handle(get)
		s[name] = h
	}
	return s
}

// Join makes one service of several; their calls have different names.
func Join(services ...Service) Service {
	all := Service{}
	for _, s := range services {
		for name, h := range s {
			if _, twice := all[name]; twice {
				panic(fmt.Sprintf("link: two calls are named %q", name))
			}
			all[name] = h
		}
	}
	return all
}

func (c *Call[S, Q, A]) handle(get func() (S, error)) (string, handler) {
	return c.name, handler{c.inOrder, func(d *gob.Decoder) (func() (any, error), error) {
		q := new(Q)
		if err := d.Decode(q); err != nil {
			return nil, err
		}
		return func() (any, error) {
			s, err := get()
			if err != nil {
				return nil, err
			}
			a, err := c.serve(s, *q)
			if err != nil {
				return nil, err
			}
			return &a, nil
		}, nil
	}}
}
