package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox/fault"
)

// HTTPOptions of a server's HTTP side.
type HTTPOptions struct {
	Version string // what /version says
	// Admit checks the Authorization of a connection's first request; nil takes every one that is there.
	Admit func(credential string) bool
}

// HTTP makes what serves HTTP/1.1 on a port's connections: the methods of its services with JSON or protobuf bodies, and
// brpc's pages /status, /health and /version. As the servers have an authenticator, a connection whose first request has
// no Authorization is closed without an answer, unless it asks for a page.
func HTTP(options HTTPOptions) func(net.Conn, []Service) {
	return func(conn net.Conn, services []Service) {
		p, served := conn.(peeked)
		if !served {
			conn.Close() // of no port
			return
		}
		h := &httpConn{options: options, conn: p.conn, port: p.conn.p, services: services, peer: conn.RemoteAddr().String()}
		one := &single{conn: conn, closed: make(chan struct{})}
		server := &http.Server{
			Handler: h, ErrorLog: log.New(io.Discard, "", 0),
			BaseContext: func(net.Listener) context.Context { return p.conn.p.ctx },
		}
		_ = server.Serve(one) // until the connection is closed
	}
}

// single is a listener with one connection.
type single struct {
	conn   net.Conn
	taken  bool
	closed chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	if !s.taken {
		s.taken = true
		return &closing{Conn: s.conn, closed: s.closed}, nil
	}
	<-s.closed
	return nil, io.EOF
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

type closing struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closing) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// httpConn serves one connection, a request at a time.
type httpConn struct {
	options  HTTPOptions
	conn     *conn
	port     *Port
	services []Service
	peer     string
	known    bool
}

func (h *httpConn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := h.port
	if !p.config.Gate.Pass(r.Context().Done()) {
		panic(http.ErrAbortHandler)
	}
	h.conn.begin(0) // so that Drain waits for it
	defer h.conn.done(0, nil)
	page := h.page(r.URL.Path)
	credential := r.Header.Values("Authorization")
	if !h.known && page == nil {
		if len(credential) == 0 || h.options.Admit != nil && !h.options.Admit(credential[0]) {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
	}
	h.known = true
	if page != nil {
		w.Header().Set("Content-Type", "text/plain")
		page(w)
	} else {
		h.call(w, r)
	}
	if by := p.config.Gate.Delay(); by > 0 {
		wait(r.Context(), by)
	}
	_ = http.NewResponseController(w).Flush()
}

func wait(ctx context.Context, by time.Duration) {
	timer := time.NewTimer(by)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// page finds a built-in page.
func (h *httpConn) page(path string) func(io.Writer) {
	switch strings.TrimSuffix(path, "/") {
	case "/health":
		return func(w io.Writer) { _, _ = io.WriteString(w, "OK\n") }
	case "/version":
		return func(w io.Writer) { _, _ = io.WriteString(w, h.options.Version+"\n") }
	case "/status":
		return func(w io.Writer) { h.port.status(w, h.options.Version) }
	}
	return nil
}

// Where the bodies of a content type are read and written.
type body struct {
	contentType string
	read        func([]byte, proto.Message) error
	write       func(proto.Message) ([]byte, error)
}

func bodyOf(header string) body {
	kind, _, _ := mime.ParseMediaType(header)
	switch kind {
	case "application/proto", "application/x-protobuf":
		return body{kind, proto.Unmarshal, proto.Marshal}
	case "application/proto-text":
		return body{kind, prototext.Unmarshal, prototext.Marshal}
	}
	return body{"application/json", unmarshalJSON, marshalJSON}
}

// call carries out a method.
func (h *httpConn) call(w http.ResponseWriter, r *http.Request) {
	p := h.port
	service, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	m, e := p.Method(service, name)
	if e == nil && r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "methods are called by GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if e != nil {
		refuse(w, &rpc.Error{Code: e.Code, Text: fmt.Sprintf("Fail to find method on `%s'", r.URL.Path)})
		return
	}
	if p.lost(fault.Received, name) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	format := bodyOf(r.Header.Get("Content-Type"))
	sent, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request, answer := m.Request(), m.Answer()
	if len(sent) == 0 {
		err = proto.CheckInitialized(request)
	} else {
		err = format.read(sent, request)
	}
	if err != nil {
		p.count(name, false)
		refuse(w, &rpc.Error{Code: rpc.CodeBadRequest, Text: "Fail to parse request message: " + err.Error()})
		return
	}
	call := &Call{Method: name, Peer: h.peer}
	err = m.Run(r.Context(), call, request, answer)
	p.count(name, err == nil)
	switch {
	case errors.Is(err, ErrSilent) || err == nil && p.lost(fault.Accepted, name):
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case err == nil && p.lost(fault.Answer, name):
		panic(http.ErrAbortHandler)
	case err != nil:
		refuse(w, asError(err))
		return
	}
	back, err := format.write(answer)
	if err != nil {
		refuse(w, &rpc.Error{Code: rpc.CodeBadResponse, Text: err.Error()})
		return
	}
	w.Header().Set("Content-Type", format.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(back)))
	_, _ = w.Write(back)
}

// refuse answers a failure of the call itself, as brpc maps its codes to HTTP.
func refuse(w http.ResponseWriter, e *rpc.Error) {
	status := http.StatusInternalServerError
	switch e.Code {
	case rpc.CodeNoService, rpc.CodeNoMethod:
		status = http.StatusNotFound
	case rpc.CodeAuth:
		status = http.StatusUnauthorized
	case rpc.CodeBadRequest:
		status = http.StatusBadRequest
	case rpc.CodeLogoff, rpc.CodeLimit:
		status = http.StatusServiceUnavailable
	case rpc.CodeTimedOut:
		status = http.StatusGatewayTimeout
	case int32(syscall.EPERM):
		status = http.StatusForbidden
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("x-bd-error-code", strconv.Itoa(int(e.Code)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, e.Text)
}
