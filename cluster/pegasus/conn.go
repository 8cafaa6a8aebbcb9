package pegasus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/pool"
)

// readBuffer is what one read from a socket may take; larger answers are read straight into their own memory.
const readBuffer = 64 << 10

// exchange is a request on its way and its answer.
type exchange struct {
	frame []byte
	sent  bool // the writer took it: from here on the server may have it
	reply wire.Reply
	err   error
	done  chan struct{} // closed once reply or err is set
}

// conn is one connection, shared by all calls to an endpoint. Requests queue up and are written together; answers come
// in any order and are matched by their sequence number. Two goroutines, owned by the pool, serve it.
type conn struct {
	endpoint string
	socket   net.Conn
	frames   *frames
	heard    atomic.Bool // the server has answered at least once
	probing  atomic.Bool // someone is asking why it does not answer
	wake     chan struct{}
	gone     chan struct{} // closed when the connection is lost

	mu      sync.Mutex
	seq     int32
	queue   []*exchange
	waiting map[int32]*exchange
	beat    int64 // how many answers have come
	retired bool  // takes no new requests; ends with the last answer
	err     error
}

var errRetired = errors.New("the connection takes no more requests")

func newConn(endpoint string, socket net.Conn, memory *frames) *conn {
	return &conn{
		endpoint: endpoint, socket: socket, frames: memory,
		wake: make(chan struct{}, 1), gone: make(chan struct{}),
		waiting: map[int32]*exchange{},
	}
}

// send queues a request; nothing will answer a silent one. encode appends it to what it is given, with its sequence
// number.
func (c *conn) send(silent bool, encode func(b []byte, seq int32) []byte) (x *exchange, seq int32, err error) {
	if x, seq, err = c.begin(silent); err != nil {
		return nil, 0, err
	}
	frame := encode(c.frames.get(), seq) // others send meanwhile
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		if silent {
			return nil, 0, c.err
		}
		return x, seq, nil // whoever waits for it has been told
	}
	x.frame = frame
	c.queue = append(c.queue, x)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return x, seq, nil
}

// begin takes a sequence number.
func (c *conn) begin(silent bool) (x *exchange, seq int32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, 0, c.err
	case c.retired:
		return nil, 0, errRetired
	}
	for {
		c.seq++
		if _, taken := c.waiting[c.seq]; !taken {
			break
		}
	}
	x = &exchange{done: make(chan struct{})}
	if !silent {
		c.waiting[c.seq] = x
	}
	return x, c.seq, nil
}

// frames keeps the memory of requests that were sent for those that come.
type frames struct{ pool sync.Pool }

// largestFrame bounds what is kept for one request.
const largestFrame = 256 << 10

func (f *frames) get() []byte {
	if b, ok := f.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (f *frames) put(b []byte) {
	if cap(b) <= largestFrame {
		f.pool.Put(&b)
	}
}

// abandon gives up on a request and reports whether the server may have it. A request that was not written yet never
// will be. With timedOut, a connection that has been silent since beat is retired: the next call dials anew.
func (c *conn) abandon(x *exchange, seq int32, timedOut bool, beat int64) (sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[seq] == x {
		delete(c.waiting, seq)
	}
	x.frame = nil
	if timedOut && c.beat == beat {
		c.retired = true
	}
	c.endIfIdle()
	return x.sent
}

// endIfIdle closes a retired connection that nobody waits for.
func (c *conn) endIfIdle() {
	if c.retired && len(c.waiting) == 0 {
		c.failLocked(errRetired)
	}
}

func (c *conn) beats() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.beat
}

// usable reports whether new requests are taken.
func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.retired
}

// fail ends the connection and every request on it.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.gone)
	c.socket.Close()
	for seq, x := range c.waiting {
		x.err = &lostError{endpoint: c.endpoint, sent: x.sent, err: err}
		close(x.done)
		delete(c.waiting, seq)
	}
	c.queue = nil
}

// errClosed is the error of calls that the end of the driver ended.
var errClosed = pool.ErrClosed

func (d *Driver) dial(ctx context.Context, endpoint string) (*conn, error) {
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", d.hosts.address(endpoint))
	if err != nil {
		return nil, err
	}
	return newConn(endpoint, socket, &d.frames), nil
}

// serve runs the connection's goroutines until it ends.
func (c *conn) serve() {
	var both sync.WaitGroup
	both.Go(c.writeLoop)
	c.readLoop()
	both.Wait()
}

// writeLoop writes what has queued up, all of it at a time.
func (c *conn) writeLoop() {
	var buffer []byte
	for {
		select {
		case <-c.wake:
		case <-c.gone:
			return
		}
		runtime.Gosched() // callers that are about to send do so now, and share the write
		c.mu.Lock()
		buffer = buffer[:0]
		for _, x := range c.queue {
			if x.frame != nil {
				buffer = append(buffer, x.frame...)
				c.frames.put(x.frame)
				x.sent, x.frame = true, nil
			}
		}
		c.queue = c.queue[:0]
		c.mu.Unlock()
		if _, err := c.socket.Write(buffer); err != nil {
			c.fail(fmt.Errorf("the connection broke while sending: %w", err))
			return
		}
		if cap(buffer) > 1<<20 {
			buffer = nil
		}
	}
}

// readLoop hands out answers until the connection ends.
func (c *conn) readLoop() {
	r := bufio.NewReaderSize(c.socket, readBuffer)
	for {
		reply, err := wire.ReadReply(r)
		if err != nil {
			c.fail(readFailure(err))
			return
		}
		c.heard.Store(true)
		c.mu.Lock()
		c.beat++
		// An answer that nobody waits for is one that came too late.
		if x := c.waiting[reply.Seq]; x != nil {
			delete(c.waiting, reply.Seq)
			x.reply = reply
			close(x.done)
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
