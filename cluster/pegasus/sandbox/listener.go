package sandbox

import (
	"bufio"
	"net"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/fault"
	"shardsh/cluster/sandbox/listen"
)

// listener serves one server's port: frames in, frames out, any number in flight on a connection, and HTTP (http.go). A
// message that is neither closes its connection without an answer, as Pegasus does.
type listener struct {
	tcp       net.Listener
	methods   map[string]method
	gate      *gate
	web       *web          // what answers HTTP on the port; nil for nothing
	latencies *latencies    // of what is answered; nil for nothing kept
	ended     chan struct{} // closed by abort
	frames    memory        // of answers
	wg        sync.WaitGroup

	mu    sync.Mutex
	conns map[*conn]struct{} // nil once closed
	empty chan struct{}      // closed when the last connection is gone; nil unless the listener drains
}

// method answers one kind of request. An ordered one runs in the connection's own goroutine, in the order requests
// came, and must not wait; the others get a goroutine each.
type method struct {
	ordered bool
	run     func(*inbound)
	// refuse answers an error name in the answer itself, as meta servers do; nil where answers have no place for one.
	refuse func(in *inbound, code string)
}

// on makes a method of a call's typed handler. What do answers is a header error, "" for none.
func on[Q, A any](rpc *wire.RPC[Q, A], do func(in *inbound, args *Q, result *A) (code string)) method {
	return method{refuse: refusal(rpc), run: func(in *inbound) {
		var args Q
		var result A
		if err := rpc.DecodeArgs(in.req.Args, &args); err != nil {
			in.c.close()
			in.done(nil)
			return
		}
		code := do(in, &args, &result)
		switch {
		case rpc.OneWay || in.req.OneWay || code == codeSilence:
			in.done(nil)
		case code != "" && code != wire.OK:
			in.reject(code)
		default:
			frame := rpc.AppendAnswer(in.c.l.frames.get(), in.req, &result)
			if in.release != nil {
				in.release()
			}
			if in.charge != nil {
				in.charge(len(frame))
			}
			in.done(frame)
		}
	}}
}

// refusal fills the field Err that the answers of meta servers have.
func refusal[Q, A any](rpc *wire.RPC[Q, A]) func(*inbound, string) {
	if reflect.TypeFor[A]().Kind() != reflect.Struct {
		return nil
	}
	if f, ok := reflect.TypeFor[A]().FieldByName("Err"); !ok || f.Type.Kind() != reflect.String {
		return nil
	}
	return func(in *inbound, code string) {
		var result A
		reflect.ValueOf(&result).Elem().FieldByName("Err").SetString(code)
		in.done(rpc.AppendAnswer(nil, in.req, &result))
	}
}

// ordered is for calls that are quick, and must be over when the next request on the connection is worked on.
func ordered(m method) method {
	m.ordered = true
	return m
}

// Bounds of one connection: past them it is not read from until answers have left.
const (
	maxInFlight = 4096     // requests whose answers have not left
	maxRunning  = 16       // methods at work: what they will answer counts for nothing yet
	maxHeld     = 64 << 20 // bytes of requests being worked on and of answers not yet sent
)

// serve listens on the address; connections are served until close.
func serve(address string, methods map[string]method, g *gate) (*listener, error) {
	tcp, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, err
	}
	return &listener{tcp: tcp, methods: methods, gate: g, ended: make(chan struct{}), conns: map[*conn]struct{}{}}, nil
}

// start begins to answer.
func (l *listener) start() {
	l.wg.Go(func() { listen.Each(l.tcp, l.take) })
	if l.web != nil {
		l.wg.Go(l.web.serve)
	}
}

// take serves a connection.
func (l *listener) take(tcp net.Conn) {
	c := &conn{l: l, tcp: tcp}
	c.change = sync.NewCond(&c.mu)
	l.mu.Lock()
	open := l.conns != nil
	if open {
		l.conns[c] = struct{}{}
	}
	l.mu.Unlock()
	if !open {
		tcp.Close()
		return
	}
	l.wg.Go(c.read)
	l.wg.Go(c.write)
}

// abort ends every connection abruptly and takes no more; requests being worked on are answered into the void. wait
// returns when they all have been.
func (l *listener) abort() error {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	close(l.ended)
	err := listen.Close(l.tcp)
	if l.web != nil {
		_ = l.web.Close()
	}
	for c := range conns {
		listen.Reset(c.tcp)
		c.close()
	}
	return err
}

func (l *listener) wait() { l.wg.Wait() }

// conn is one connection.
type conn struct {
	l        *listener
	tcp      net.Conn
	browsing atomic.Bool // HTTP is spoken from now on

	mu       sync.Mutex
	change   *sync.Cond
	out      net.Buffers // answers to be sent
	held     int         // bytes held, see maxHeld
	inFlight int
	running  int
	closed   bool
}

func (c *conn) read() {
	defer c.forget()
	defer c.close()
	r := bufio.NewReaderSize(c.tcp, 64<<10)
	for c.admit() {
		if c.l.web != nil && speaksHTTP(r) {
			c.browsing.Store(true)
			c.l.web.take(c, r)
			return
		}
		req, err := wire.ReadRequest(r)
		if err != nil {
			c.flush()
			return
		}
		if !c.l.gate.Pass(c.l.ended) {
			return
		}
		if req.RDSN != nil {
			req.RDSN.To = addressOf(c.l.tcp.Addr().String())
		}
		in := &inbound{c: c, req: req, size: len(req.Args), came: time.Now()}
		c.mu.Lock()
		c.inFlight++
		c.held += in.size
		c.mu.Unlock()
		m, known := c.l.methods[req.Name]
		switch {
		case known && c.l.gate.points.take(fault.Received, req.Name):
			in.done(nil)
		case !known:
			in.reject(wire.CodeHandlerNotFound)
		case m.ordered:
			m.run(in)
		default:
			c.run(1)
			c.l.wg.Go(func() {
				defer c.run(-1)
				m.run(in)
			})
		}
	}
}

// admit waits until another request may be read; false when the connection is closed.
func (c *conn) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && (c.inFlight >= maxInFlight || c.running >= maxRunning || c.held >= maxHeld) {
		c.change.Wait()
	}
	return !c.closed
}

// run counts methods at work.
func (c *conn) run(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running += by
	c.change.Broadcast()
}

func (c *conn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.change.Wait()
		}
		c.mu.Unlock()
		runtime.Gosched() // answers that are about to be ready share the write
		c.mu.Lock()
		out, count := c.out, len(c.out)
		c.out = nil
		closed := c.closed
		c.mu.Unlock()
		if closed || !c.l.gate.Pass(c.l.ended) {
			return
		}
		frames := slices.Clone(out) // WriteTo forgets them
		sent, err := out.WriteTo(c.tcp)
		if err != nil {
			c.close()
			return
		}
		for _, frame := range frames {
			c.l.frames.put(frame)
		}
		c.mu.Lock()
		c.held -= int(sent)
		c.inFlight -= count
		c.change.Broadcast()
		c.mu.Unlock()
	}
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.out = nil
		c.tcp.Close()
		c.change.Broadcast()
	}
}

func (c *conn) forget() {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	delete(c.l.conns, c)
	if c.l.empty != nil && len(c.l.conns) == 0 {
		close(c.l.empty)
	}
}

// inbound is a request being worked on. It ends with exactly one call of done or reject.
type inbound struct {
	c    *conn
	req  *wire.Request
	size int
	came time.Time
	// charge, when set, is told how many bytes the answer has.
	charge func(bytes int)
	// release, when set, is called once the answer has been written down: what it was made of is not needed any more.
	release func()
}

// bodySize is the length of the request's body on the wire.
func (in *inbound) bodySize() int {
	if in.req.RDSN != nil {
		return len(in.req.Args)
	}
	return 12 + len(in.req.Name) + len(in.req.Args)
}

// done sends the answer; nil sends none. A fault point may keep it.
func (in *inbound) done(frame []byte) {
	if frame != nil {
		switch points := in.c.l.gate.points; {
		case points.take(fault.Accepted, in.req.Name):
			frame = nil
		case points.take(fault.Answer, in.req.Name):
			in.c.close()
		}
	}
	in.send(frame)
}

// send sends what done or reject decided on, later when the server is slow.
func (in *inbound) send(frame []byte) {
	if by := in.c.l.gate.Delay(); by > 0 && frame != nil {
		time.AfterFunc(by, func() { in.queue(frame) })
		return
	}
	in.queue(frame)
}

func (in *inbound) queue(frame []byte) {
	c := in.c
	if frame != nil {
		c.l.latencies.add(in.req.Name, time.Since(in.came))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= in.size
	if c.closed || frame == nil {
		c.inFlight--
	} else {
		c.out = append(c.out, frame)
		c.held += len(frame)
	}
	c.change.Broadcast()
}

// reject answers a header error.
func (in *inbound) reject(code string) {
	in.send(wire.AppendRefusal(nil, in.req, code))
}
