package pegasus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"shardsh/cluster"
)

// maxPage bounds what an HTTP answer may have, with its header: what a server tells of about a thousand replicas when
// asked for everything.
const maxPage = 32 << 20

// httpError is an HTTP answer that is not 200.
type httpError struct {
	status int
	text   string // the beginning of what it says
}

func (e *httpError) Error() string {
	return fmt.Sprintf("HTTP status %d %s: %s", e.status, http.StatusText(e.status), e.text)
}

// errPageTooLong ends the reading of an answer.
var errPageTooLong = fmt.Errorf("the answer is over %d MiB", maxPage>>20)

// page reads one page of a server, over a connection of its own. read is given the body; its error is the answer's. An
// error is a *lostError or a *httpError, or what read answers.
func (d *Driver) page(ctx context.Context, endpoint, path, query string, read func(io.Reader) error) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	start := time.Now()
	err := d.pageOnce(ctx, endpoint, path, query, read)
	if d.options.Trace != nil {
		code := "200"
		var refused *httpError
		switch {
		case errors.As(err, &refused):
			code = fmt.Sprint(refused.status)
		case err != nil:
			code = "ERR_NETWORK_FAILURE"
		}
		d.options.Trace(ctx, cluster.Trace{Peer: endpoint, Method: "GET " + path, Took: time.Since(start), Code: code})
	}
	return err
}

func (d *Driver) pageOnce(ctx context.Context, endpoint, path, query string, read func(io.Reader) error) error {
	lost := func(err error) error {
		switch {
		case d.pool.Context().Err() != nil:
			err = errClosed
		case ctx.Err() != nil:
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
		}
		return &lostError{endpoint: endpoint, err: err}
	}
	if d.pool.Context().Err() != nil {
		return lost(errClosed)
	}
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", d.hosts.address(endpoint))
	if err != nil {
		return lost(err)
	}
	defer socket.Close()
	for _, over := range []context.Context{ctx, d.pool.Context()} {
		stop := context.AfterFunc(over, func() { socket.Close() })
		defer stop()
	}
	q := (&http.Request{
		Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: endpoint, Path: path, RawQuery: query}, Host: endpoint,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"User-Agent": {"shardsh"}}, Close: true,
	}).WithContext(ctx)
	if err := q.Write(socket); err != nil {
		return lost(err)
	}
	bounded := &io.LimitedReader{R: socket, N: maxPage}
	answer, err := http.ReadResponse(bufio.NewReader(bounded), q)
	if err != nil {
		return lost(fmt.Errorf("the answer cannot be read: %w", err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return &httpError{answer.StatusCode, string(text)}
	}
	body := &watchedReader{r: answer.Body}
	switch err = read(body); {
	case err == nil:
		return nil
	case bounded.N <= 0:
		return errPageTooLong
	case body.err != nil || ctx.Err() != nil || d.pool.Context().Err() != nil:
		return lost(fmt.Errorf("the connection broke: %w", err))
	}
	return err
}

// fullReader reads until the buffer is full. A decoder of JSON looks at blanks from their beginning again after every
// read: a server that dribbles them would keep it busy for minutes.
type fullReader struct{ r io.Reader }

func (f fullReader) Read(b []byte) (int, error) {
	n, err := io.ReadFull(f.r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF // an answer that was cut is known to watchedReader
	}
	return n, err
}

// watchedReader remembers the error that reading ended with, unless that was the end.
type watchedReader struct {
	r   io.Reader
	err error
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}
