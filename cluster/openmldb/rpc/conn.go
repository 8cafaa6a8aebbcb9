// Package rpc calls brpc services: one connection to a server, on which any number of calls are under way. Answers come
// in any order and are matched by correlation id.
//
// What a caller must know of a call that failed is whether it may have been carried out. An *Error is the server's own
// refusal. A *CallError says it with Sent: false means that the request never left.
package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/wire"
)

// Codes of brpc itself (brpc/errno.proto).
const (
	CodeNoService     = 1001
	CodeNoMethod      = 1002
	CodeBadRequest    = 1003
	CodeAuth          = 1004
	CodeInternal      = 2001
	CodeLogoff        = 2003 // the server is stopping
	CodeLimit         = 2004
	CodeOvercrowded   = 1011
	CodeRejected      = 1018
	CodeBadResponse   = 2002
	CodeTimedOut      = 1008
	CodeFailedSocket  = 1009
	CodeHostDown      = 112
	ServiceCredential = "sdefault" // what servers and their tools show each other
)

// Error is a refusal by the framework, before or in place of the service's own answer.
type Error struct {
	Code int32
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("brpc error %d: %s", e.Code, e.Text) }

// CallError is a call that got no answer that can be used.
type CallError struct {
	Sent bool // it may have been carried out
	Err  error
}

func (e *CallError) Error() string { return e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

// Why calls end that the server did not end.
var (
	ErrClosed  = errors.New("the connection is closed")
	ErrRetired = errors.New("the connection takes no more calls")
)

// MaxInFlight bounds the calls that wait for an answer on one connection.
const MaxInFlight = 4096

// Options of a connection.
type Options struct {
	// Credential goes with every request; servers look at the first one's.
	Credential string
	// Dial connects; nil is a net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Conn is one connection. Its methods may be called from any goroutine.
type Conn struct {
	peer       string
	credential []byte
	tcp        net.Conn
	slots      chan struct{} // taken by each call that waits
	ended      chan struct{} // closed when nothing is read any more
	group      sync.WaitGroup
	next       atomic.Int64 // correlation ids
	answers    atomic.Int64

	mu      sync.Mutex
	more    *sync.Cond // there is something to send, or the end
	queue   []*pending
	waiting map[int64]*pending
	retired bool
	err     error // why the connection ended
}

// pending is a request on its way, and its answer.
type pending struct {
	frame    []byte // nil once it was taken to be sent, or given up
	sent     bool   // a part of it may have left
	answered chan reply
}

type reply struct {
	frame *wire.Frame
	err   error
}

// Dial connects. The context bounds the dialling only.
func Dial(ctx context.Context, peer string, options Options) (*Conn, error) {
	dial := options.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	tcp, err := dial(ctx, "tcp", peer)
	if err != nil {
		return nil, &CallError{Err: err}
	}
	c := &Conn{
		peer: peer, credential: []byte(options.Credential), tcp: tcp, slots: make(chan struct{}, MaxInFlight),
		ended: make(chan struct{}), waiting: map[int64]*pending{},
	}
	c.more = sync.NewCond(&c.mu)
	c.group.Go(c.read)
	c.group.Go(c.write)
	return c, nil
}

// Peer is the server's host:port.
func (c *Conn) Peer() string { return c.peer }

// Ended is closed once the connection is of no use any more.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Answers is how many answers have come: a connection on which none does is worth replacing.
func (c *Conn) Answers() int64 { return c.answers.Load() }

// Usable says whether the connection takes calls.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.retired
}

// Retire has the connection take no more calls and end with the last one under way.
func (c *Conn) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.endIfIdle()
}

// Close ends the connection and every call on it, and waits for its goroutines.
func (c *Conn) Close() {
	c.fail(ErrClosed)
	c.group.Wait()
}

// Call calls a method of a service and reads its answer. The context bounds it; its deadline is told to the server. The
// error is an *Error, a *CallError, or says why there is no such request.
func (c *Conn) Call(ctx context.Context, service, method string, request, answer proto.Message) error {
	_, err := c.CallAttached(ctx, service, method, request, nil, answer)
	return err
}

// CallAttached is Call with the attachments of request and answer.
func (c *Conn) CallAttached(
	ctx context.Context, service, method string, request proto.Message, attachment []byte, answer proto.Message,
) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &CallError{Err: err}
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, &CallError{Err: context.Cause(ctx)}
	}
	id := c.next.Add(1)
	frame, err := c.encode(ctx, id, service, method, request, attachment)
	if err != nil {
		return nil, err
	}
	p := &pending{frame: frame, answered: make(chan reply, 1)}
	if err := c.send(id, p); err != nil {
		return nil, &CallError{Err: err}
	}
	select {
	case r := <-p.answered:
		if r.err != nil {
			return nil, r.err
		}
		return readAnswer(r.frame, method, answer)
	case <-ctx.Done():
		sent := c.forget(id, p)
		select {
		case r := <-p.answered: // it came while we gave up
			if r.err == nil {
				return readAnswer(r.frame, method, answer)
			}
		default:
		}
		return nil, &CallError{Sent: sent, Err: context.Cause(ctx)}
	}
}

func readAnswer(f *wire.Frame, method string, answer proto.Message) ([]byte, error) {
	if r := f.Meta.GetResponse(); r.GetErrorCode() != 0 {
		return nil, &Error{Code: r.GetErrorCode(), Text: r.GetErrorText()}
	}
	if err := proto.Unmarshal(f.Payload, answer); err != nil {
		return nil, &CallError{Sent: true, Err: fmt.Errorf("its answer to %s cannot be read: %w", method, err)}
	}
	return f.Attachment, nil
}

func (c *Conn) encode(
	ctx context.Context, id int64, service, method string, request proto.Message, attachment []byte,
) ([]byte, error) {
	meta := &brpc.RpcMeta{
		Request:            &brpc.RpcRequestMeta{ServiceName: &service, MethodName: &method, LogId: &id},
		AuthenticationData: c.credential, CorrelationId: &id,
	}
	if until, bounded := ctx.Deadline(); bounded {
		meta.Request.TimeoutMs = proto.Int32(int32(min(max(time.Until(until).Milliseconds(), 1), 1<<30)))
	}
	return wire.AppendFrame(nil, meta, request, attachment)
}

func (c *Conn) send(id int64, p *pending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.retired:
		return ErrRetired
	}
	c.waiting[id] = p
	c.queue = append(c.queue, p)
	c.more.Signal()
	return nil
}

// forget gives up waiting for an answer; it says whether the request may have left. One that has not will not.
func (c *Conn) forget(id int64, p *pending) (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	p.frame = nil
	c.endIfIdle()
	return p.sent
}

func (c *Conn) endIfIdle() {
	if c.retired && len(c.waiting) == 0 {
		c.failLocked(ErrRetired)
	}
}

func (c *Conn) write() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && c.err == nil {
			c.more.Wait()
		}
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		var out net.Buffers
		var taken []*pending
		var ends []int64 // of their frames, among all that is written now
		var size int64
		for _, p := range c.queue {
			if p.frame == nil {
				continue
			}
			size += int64(len(p.frame))
			out, taken, ends = append(out, p.frame), append(taken, p), append(ends, size)
			p.sent, p.frame = true, nil
		}
		c.queue = nil
		c.mu.Unlock()
		if left, err := out.WriteTo(c.tcp); err != nil {
			c.mu.Lock()
			for i := range taken {
				taken[i].sent = i == 0 && left > 0 || i > 0 && left > ends[i-1]
			}
			c.failLocked(fmt.Errorf("the connection broke while sending: %w", err))
			c.mu.Unlock()
			return
		}
	}
}

func (c *Conn) read() {
	defer close(c.ended)
	r := bufio.NewReaderSize(c.tcp, 64<<10)
	for {
		f, err := wire.ReadFrame(r)
		if err != nil {
			c.fail(readFailure(err))
			return
		}
		c.answers.Add(1)
		c.mu.Lock()
		id := f.Meta.GetCorrelationId()
		if p := c.waiting[id]; p != nil { // else whoever asked has given up
			delete(c.waiting, id)
			p.answered <- reply{frame: f}
			c.endIfIdle()
		}
		c.mu.Unlock()
	}
}

func readFailure(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection")
	case errors.As(err, &network):
		return fmt.Errorf("the connection broke: %w", err)
	}
	return fmt.Errorf("the answer cannot be read: %w", err)
}

// fail ends the connection: every call that waits is told why, and whether its request may have left.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *Conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.tcp.Close()
	for _, p := range c.waiting {
		p.answered <- reply{err: &CallError{Sent: p.sent, Err: err}}
	}
	clear(c.waiting)
	c.queue = nil
	c.more.Signal()
}
