package sandbox

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A server's port speaks HTTP too: a connection whose next message begins with GET or POST belongs to a web from then
// on. Its requests pass the same gate as frames do.

// Bounds of the HTTP side of one port.
const (
	maxWebConns    = 64
	maxWebHeader   = 16 << 10
	maxWebBody     = 1 << 20
	maxWebAnswer   = 16 << 20
	webHeaderTime  = 10 * time.Second
	webIdleTime    = 2 * time.Minute
	webAnswerTime  = 30 * time.Second // to read a body, and to take an answer
	webMagicLength = 4
)

// web serves the HTTP requests of one port. It is the http.Server's listener: connections come from the port's own.
type web struct {
	l      *listener
	server *http.Server
	taken  chan net.Conn
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

var _ net.Listener = (*web)(nil)

// browse has the port answer HTTP as well; before start.
func (l *listener) browse(handler http.Handler) {
	w := &web{l: l, taken: make(chan net.Conn), slots: make(chan struct{}, maxWebConns), closed: make(chan struct{})}
	w.server = &http.Server{
		Handler: w.gated(handler), ReadHeaderTimeout: webHeaderTime, IdleTimeout: webIdleTime,
		MaxHeaderBytes: maxWebHeader, ErrorLog: log.New(io.Discard, "", 0),
	}
	l.web = w
}

// serve runs until Close.
func (w *web) serve() { _ = w.server.Serve(w) }

// drain closes connections once what was asked on them is answered.
func (w *web) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	_ = w.server.Shutdown(ctx)
}

// Accept answers the next connection that turned out to speak HTTP.
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.taken:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (w *web) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr is the port's address.
func (w *web) Addr() net.Addr { return w.l.tcp.Addr() }

// speaksHTTP looks at the first bytes of a message; it waits for them.
func speaksHTTP(r *bufio.Reader) bool {
	head, err := r.Peek(webMagicLength)
	return err == nil && (string(head) == "GET " || string(head) == "POST")
}

// take hands a connection over and returns when the web is done with it. One too many is closed instead.
func (w *web) take(c *conn, r *bufio.Reader) {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	default:
		return
	}
	handed := &webConn{Conn: c.tcp, r: r, done: make(chan struct{})}
	select {
	case w.taken <- handed:
		<-handed.done
	case <-w.closed:
	}
}

// webConn is a connection of which something was read already.
type webConn struct {
	net.Conn
	r    *bufio.Reader
	once sync.Once
	done chan struct{}
}

func (c *webConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *webConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.done) })
	return err
}

// gated lets requests pass when the server goes, and answers later when it is slow.
func (w *web) gated(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if !w.l.gate.Pass(w.l.ended) {
			panic(http.ErrAbortHandler)
		}
		control := http.NewResponseController(out)
		_ = control.SetReadDeadline(time.Now().Add(webAnswerTime))
		r.Body = http.MaxBytesReader(out, r.Body, maxWebBody)
		kept := &answerBuffer{header: http.Header{}}
		handler.ServeHTTP(kept, r)
		w.l.rest(w.l.gate.Delay())
		if !w.l.gate.Pass(w.l.ended) {
			panic(http.ErrAbortHandler)
		}
		_ = control.SetWriteDeadline(time.Now().Add(webAnswerTime))
		kept.send(out)
	})
}

// answerBuffer keeps an answer until it may leave.
type answerBuffer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answerBuffer) Header() http.Header { return a.header }

func (a *answerBuffer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

var errAnswerTooLong = errors.New("the answer is too long")

func (a *answerBuffer) Write(b []byte) (int, error) {
	if len(a.body)+len(b) > maxWebAnswer {
		return 0, errAnswerTooLong
	}
	a.body = append(a.body, b...)
	return len(b), nil
}

func (a *answerBuffer) send(out http.ResponseWriter) {
	for name, values := range a.header {
		out.Header()[name] = values
	}
	if a.status != 0 {
		out.WriteHeader(a.status)
	}
	_, _ = out.Write(a.body)
}
