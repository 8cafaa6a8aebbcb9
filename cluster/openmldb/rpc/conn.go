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
	"net"
	"sync"
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

// CallError is a call that got no answer.
type CallError struct {
	Sent bool // it may have been carried out
	Err  error
}

func (e *CallError) Error() string { return e.Err.Error() }
func (e *CallError) Unwrap() error { return e.Err }

// ErrClosed is what calls on a connection that was closed end in.
var ErrClosed = errors.New("the connection is closed")

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

	mu      sync.Mutex
	more    *sync.Cond // there is something to send, or the end
	out     net.Buffers
	unsent  map[int64]struct{} // requests in out
	next    int64
	waiting map[int64]chan<- reply
	err     error // why the connection ended
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
		ended: make(chan struct{}), waiting: map[int64]chan<- reply{}, unsent: map[int64]struct{}{},
	}
	c.more = sync.NewCond(&c.mu)
	go c.read()
	go c.write()
	return c, nil
}

// Peer is the server's host:port.
func (c *Conn) Peer() string { return c.peer }

// Ended is closed once the connection is of no use any more.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Close ends the connection and every call on it.
func (c *Conn) Close() { c.fail(ErrClosed) }

// Call calls a method of a service and reads its answer. The context bounds it; its deadline is told to the server.
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
	id, answered, err := c.send(ctx, service, method, request, attachment)
	if err != nil {
		return nil, &CallError{Err: err}
	}
	select {
	case r := <-answered:
		if r.err != nil {
			return nil, r.err
		}
		return readAnswer(r.frame, method, answer)
	case <-ctx.Done():
		return nil, &CallError{Sent: c.forget(id), Err: context.Cause(ctx)}
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

func (c *Conn) send(
	ctx context.Context, service, method string, request proto.Message, attachment []byte,
) (int64, <-chan reply, error) {
	meta := &brpc.RpcMeta{
		Request:            &brpc.RpcRequestMeta{ServiceName: &service, MethodName: &method},
		AuthenticationData: c.credential,
	}
	if until, bounded := ctx.Deadline(); bounded {
		meta.Request.TimeoutMs = proto.Int32(int32(min(max(time.Until(until).Milliseconds(), 1), 1<<30)))
	}
	answered := make(chan reply, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.next++
	id := c.next
	meta.CorrelationId = &id
	meta.Request.LogId = &id
	frame, err := wire.AppendFrame(nil, meta, request, attachment)
	if err != nil {
		return 0, nil, err
	}
	c.waiting[id] = answered
	c.unsent[id] = struct{}{}
	c.out = append(c.out, frame)
	c.more.Signal()
	return id, answered, nil
}

// forget gives up waiting for an answer; it says whether the request may have left.
func (c *Conn) forget(id int64) (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	_, waits := c.unsent[id]
	return !waits
}

func (c *Conn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.err == nil {
			c.more.Wait()
		}
		out := c.out
		c.out = nil
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		clear(c.unsent) // from here on a part may have left
		c.mu.Unlock()
		if _, err := out.WriteTo(c.tcp); err != nil {
			c.fail(err)
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
			c.fail(err)
			return
		}
		id := f.Meta.GetCorrelationId()
		c.mu.Lock()
		answered := c.waiting[id]
		delete(c.waiting, id)
		c.mu.Unlock()
		if answered != nil { // else whoever asked has given up
			answered <- reply{frame: f}
		}
	}
}

// fail ends the connection: every call that waits is told why, and whether its request may have left.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.tcp.Close()
	for id, answered := range c.waiting {
		_, waits := c.unsent[id]
		answered <- reply{err: &CallError{Sent: !waits, Err: err}}
	}
	clear(c.waiting)
	c.more.Signal()
}
