// Package port is the port of a sandbox server: brpc's baidu_std protocol, and HTTP for whatever begins with other bytes.
// A frame that is not one closes its connection without an answer.
package port

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox/fault"
	"shardsh/cluster/sandbox/listen"
)

// Call is a request being worked on.
type Call struct {
	Method     string
	Attachment []byte // of the request
	Peer       string
	// Attach is sent with the answer.
	Attach []byte
}

// Method answers one kind of request.
type Method struct {
	// Request makes an empty request, Answer an empty answer.
	Request, Answer func() proto.Message
	// Run fills the answer. An *rpc.Error is answered in its place; ErrSilent answers nothing.
	Run func(ctx context.Context, call *Call, request, answer proto.Message) error
}

// ErrSilent makes a method leave its caller without an answer.
var ErrSilent = errors.New("no answer")

// On makes a method of a typed handler.
func On[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}](run func(ctx context.Context, call *Call, q PQ, a PA) error) Method {
	return Method{
		Request: func() proto.Message { return PQ(new(Q)) },
		Answer:  func() proto.Message { return PA(new(A)) },
		Run: func(ctx context.Context, call *Call, q, a proto.Message) error {
			return run(ctx, call, q.(PQ), a.(PA))
		},
	}
}

// Service is a full service name and its methods by their bare names.
type Service struct {
	Name    string
	Methods map[string]Method
}

// Config of a port.
type Config struct {
	Address  string
	Services []Service
	Gate     *fault.Gate
	// Points are asked for Role's points of each call (fault.OfCalls); calls are named by PointName.
	Points *fault.Points
	Role   string
	// Admit checks the credential of a connection's first request; nil takes every one.
	Admit func(credential string) bool
	// HTTP takes connections that do not begin as a frame; nil closes them.
	HTTP func(net.Conn)
}

// Bounds of one connection: past them it is not read from until answers have left.
const (
	maxInFlight = 1024
	maxHeld     = 64 << 20 // bytes of requests at work and of answers not yet sent
)

// Port is a listening server. Connections are served until Abort or Drain.
type Port struct {
	config Config
	tcp    net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	counts map[string]*counts // by method; not changed after Listen

	mu    sync.Mutex
	conns map[*conn]struct{} // nil once closed
}

// counts are a method's calls: those that were carried out, and those that were not.
type counts struct{ done, failed atomic.Int64 }

func (p *Port) count(method string, done bool) {
	if c := p.counts[method]; c != nil && done {
		c.done.Add(1)
	} else if c != nil {
		c.failed.Add(1)
	}
}

// status writes brpc's page of that name.
func (p *Port) status(w io.Writer, version string) {
	p.mu.Lock()
	connections := len(p.conns)
	p.mu.Unlock()
	fmt.Fprintf(w, "version: %s\nconnection_count: %d\n", version, connections)
	for _, s := range p.config.Services {
		fmt.Fprintf(w, "\n[%s]\n", s.Name)
		for _, name := range slices.Sorted(maps.Keys(s.Methods)) {
			c := p.counts[name]
			fmt.Fprintf(w, "%s\n  count: %d\n  error: %d\n", name, c.done.Load(), c.failed.Load())
		}
	}
}

// Listen takes the address; Start begins to answer.
func Listen(config Config) (*Port, error) {
	tcp, err := net.Listen("tcp4", config.Address)
	if err != nil {
		return nil, err
	}
	if config.Gate == nil {
		config.Gate = &fault.Gate{}
	}
	if config.Points == nil {
		config.Points = fault.NewPoints()
	}
	p := &Port{config: config, tcp: tcp, conns: map[*conn]struct{}{}, counts: map[string]*counts{}}
	for _, s := range config.Services {
		for name := range s.Methods {
			p.counts[name] = &counts{}
		}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Address is where the port listens.
func (p *Port) Address() string { return p.tcp.Addr().String() }

// Start begins to answer.
func (p *Port) Start() { p.wg.Go(func() { listen.Each(p.tcp, p.take) }) }

// PointName is how fault points call a method: OfflineEndpoint is "offline-endpoint".
func PointName(method string) string {
	var b strings.Builder
	for i, r := range method {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			before, after := method[i-1], byte('A')
			if i+1 < len(method) {
				after = method[i+1]
			}
			if before >= 'a' && before <= 'z' || after >= 'a' && after <= 'z' {
				b.WriteByte('-')
			}
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

// take serves a connection.
func (p *Port) take(tcp net.Conn) {
	c := &conn{p: p, tcp: tcp}
	c.change = sync.NewCond(&c.mu)
	p.mu.Lock()
	open := p.conns != nil
	if open {
		p.conns[c] = struct{}{}
	}
	p.mu.Unlock()
	if !open {
		tcp.Close()
		return
	}
	p.wg.Go(c.read)
	p.wg.Go(c.write)
}

// Abort ends every connection as the death of the process would, and takes no more. It returns when every method has.
func (p *Port) Abort() error {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	p.cancel()
	err := listen.Close(p.tcp)
	for c := range conns {
		listen.Reset(c.tcp)
		c.close()
	}
	p.wg.Wait()
	return err
}

// Drain takes no more connections and returns when everything asked so far was answered, or the context ended.
func (p *Port) Drain(ctx context.Context) error {
	err := listen.Close(p.tcp)
	p.mu.Lock()
	var conns []*conn
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.drain(ctx)
	}
	return err
}

// conn is one connection.
type conn struct {
	p   *Port
	tcp net.Conn

	mu       sync.Mutex
	change   *sync.Cond
	out      net.Buffers
	held     int
	inFlight int
	draining bool
	closed   bool
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	r    io.Reader
	conn *conn
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

func (c *conn) read() {
	defer c.forget()
	r := bufio.NewReaderSize(c.tcp, 64<<10)
	first, err := r.Peek(len(wire.Magic))
	if err != nil || !c.p.config.Gate.Pass(c.p.ctx.Done()) {
		c.close()
		return
	}
	if string(first) != wire.Magic {
		if c.p.config.HTTP == nil {
			c.close()
			return
		}
		c.p.config.HTTP(peeked{c.tcp, r, c})
		c.close()
		return
	}
	defer c.close()
	work := make(chan func()) // to goroutines that have served before, and so have a stack that is large enough
	defer close(work)
	for known := false; c.admit(); known = true {
		f, err := wire.ReadFrame(r)
		if err != nil || f.Meta.Request == nil || !c.p.config.Gate.Pass(c.p.ctx.Done()) {
			c.flush()
			return
		}
		if !known && c.p.config.Admit != nil && !c.p.config.Admit(string(f.Meta.AuthenticationData)) {
			c.begin(0)
			c.refuse(f, 0, &rpc.Error{Code: rpc.CodeAuth, Text: "Fail to authenticate"})
			c.flush()
			return
		}
		size := len(f.Payload) + len(f.Attachment)
		c.begin(size)
		serve := func() { c.serve(f, size) }
		select {
		case work <- serve:
		default:
			c.p.wg.Go(func() {
				serve()
				for next := range work {
					next()
				}
			})
		}
	}
}

// serve carries out one request.
func (c *conn) serve(f *wire.Frame, size int) {
	name := f.Meta.Request.GetMethodName()
	m, err := c.p.Method(f.Meta.Request.GetServiceName(), name)
	if err != nil {
		c.refuse(f, size, err)
		return
	}
	if c.p.lost(fault.Received, name) {
		c.done(size, nil)
		return
	}
	request, answer := m.Request(), m.Answer()
	if e := proto.Unmarshal(f.Payload, request); e != nil {
		c.p.count(name, false)
		c.refuse(f, size, &rpc.Error{Code: rpc.CodeBadRequest, Text: "Fail to parse request message: " + e.Error()})
		return
	}
	call := &Call{Method: name, Attachment: f.Attachment, Peer: c.tcp.RemoteAddr().String()}
	e := m.Run(c.p.ctx, call, request, answer)
	c.p.count(name, e == nil)
	switch {
	case errors.Is(e, ErrSilent) || e == nil && c.p.lost(fault.Accepted, name):
		c.done(size, nil)
		return
	case e != nil:
		c.refuse(f, size, asError(e))
		return
	case c.p.lost(fault.Answer, name):
		c.close()
	}
	meta := &brpc.RpcMeta{Response: &brpc.RpcResponseMeta{ErrorCode: proto.Int32(0)}, CorrelationId: f.Meta.CorrelationId}
	frame, e := wire.AppendFrame(nil, meta, answer, call.Attach)
	if e != nil {
		c.refuse(f, size, &rpc.Error{Code: rpc.CodeBadResponse, Text: e.Error()})
		return
	}
	c.answer(size, frame)
}

// lost says whether a fault point swallows a call here.
func (p *Port) lost(where, method string) bool {
	return p.config.Points.Live() && p.config.Points.Take(fault.CallPoint(p.config.Role, where, PointName(method)))
}

// asError is what a method's failure is to its caller.
func asError(err error) *rpc.Error {
	var e *rpc.Error
	if !errors.As(err, &e) {
		e = &rpc.Error{Code: rpc.CodeInternal, Text: err.Error()}
	}
	return e
}

// Method finds a method by its service's full or short name.
func (p *Port) Method(service, name string) (Method, *rpc.Error) {
	for _, s := range p.config.Services {
		short := s.Name[strings.LastIndexByte(s.Name, '.')+1:]
		if s.Name != service && short != service {
			continue
		}
		if m, known := s.Methods[name]; known {
			return m, nil
		}
		return Method{}, &rpc.Error{Code: rpc.CodeNoMethod, Text: "Fail to find method=" + name}
	}
	return Method{}, &rpc.Error{Code: rpc.CodeNoService, Text: "Fail to find service=" + service}
}

func (c *conn) refuse(f *wire.Frame, size int, e *rpc.Error) {
	meta := &brpc.RpcMeta{
		Response:      &brpc.RpcResponseMeta{ErrorCode: &e.Code, ErrorText: &e.Text},
		CorrelationId: f.Meta.CorrelationId,
	}
	frame, err := wire.AppendFrame(nil, meta, nil, nil)
	if err != nil {
		c.close()
	}
	c.answer(size, frame)
}

// answer sends a frame, later when the server is slow.
func (c *conn) answer(size int, frame []byte) {
	if by := c.p.config.Gate.Delay(); by > 0 {
		time.AfterFunc(by, func() { c.done(size, frame) })
		return
	}
	c.done(size, frame)
}

// admit waits until another request may be read; false when the connection is closed.
func (c *conn) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !c.draining && (c.inFlight >= maxInFlight || c.held >= maxHeld) {
		c.change.Wait()
	}
	return !c.closed && !c.draining
}

func (c *conn) begin(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight++
	c.held += size
}

// done ends a request of that size; a nil frame answers nothing.
func (c *conn) done(size int, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held -= size
	if c.closed || frame == nil {
		c.inFlight--
	} else {
		c.out = append(c.out, frame)
		c.held += len(frame)
	}
	c.change.Broadcast()
}

func (c *conn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.change.Wait()
		}
		out, count := c.out, len(c.out)
		c.out = nil
		closed := c.closed
		c.mu.Unlock()
		if closed || !c.p.config.Gate.Pass(c.p.ctx.Done()) {
			return
		}
		sent, err := out.WriteTo(c.tcp)
		if err != nil {
			c.close()
			return
		}
		c.mu.Lock()
		c.held -= int(sent)
		c.inFlight -= count
		c.change.Broadcast()
		c.mu.Unlock()
	}
}

// flush waits until every answer has left.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && c.inFlight > 0 {
		c.change.Wait()
	}
}

// drain has the connection answer what was asked, and closes it.
func (c *conn) drain(ctx context.Context) {
	defer context.AfterFunc(ctx, c.close)()
	c.mu.Lock()
	c.draining = true
	c.change.Broadcast()
	c.mu.Unlock()
	c.flush()
	c.close()
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
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	delete(c.p.conns, c)
}
