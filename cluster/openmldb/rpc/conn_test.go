package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the other end of one connection.
type peer struct {
	t    *testing.T
	conn *Conn
	tcp  net.Conn
	r    *bufio.Reader
}

func connect(t *testing.T) *peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := Dial(t.Context(), listener.Addr().String(), Options{Credential: ServiceCredential})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tcp.Close()
		c.Close()
	})
	return &peer{t: t, conn: c, tcp: tcp, r: bufio.NewReader(tcp)}
}

func (p *peer) read() *wire.Frame {
	p.t.Helper()
	f, err := wire.ReadFrame(p.r)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *peer) answer(q *wire.Frame, body proto.Message, attachment []byte) {
	p.t.Helper()
	b, err := wire.AppendFrame(nil, &brpc.RpcMeta{CorrelationId: q.Meta.CorrelationId}, body, attachment)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.tcp.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// call asks for a term pair; the answer's term says whose it is.
func (p *peer) call(ctx context.Context, tid uint32) (uint64, error) {
	a := &api.GetTermPairResponse{}
	err := p.conn.Call(ctx, "openmldb.api.TabletServer", "GetTermPair", &api.GetTermPairRequest{Tid: &tid}, a)
	return a.GetTerm(), err
}

func tidOf(t *testing.T, f *wire.Frame) uint32 {
	t.Helper()
	q := &api.GetTermPairRequest{}
	if err := proto.Unmarshal(f.Payload, q); err != nil {
		t.Fatal(err)
	}
	return q.GetTid()
}

// Answers come in any order, and each caller gets its own; one that nobody asked for is passed over.
func TestOrder(t *testing.T) {
	p := connect(t)
	const calls = 50
	var group sync.WaitGroup
	for tid := range uint32(calls) {
		group.Go(func() {
			term, err := p.call(t.Context(), tid)
			if err != nil || term != uint64(tid)+1000 {
				t.Errorf("%d: %d, %v", tid, term, err)
			}
		})
	}
	var asked []*wire.Frame
	for range calls {
		f := p.read()
		if string(f.Meta.AuthenticationData) != "sdefault" || f.Meta.Request.GetMethodName() != "GetTermPair" {
			t.Errorf("%v", f.Meta)
		}
		asked = append(asked, f)
	}
	p.answer(&wire.Frame{Meta: &brpc.RpcMeta{CorrelationId: proto.Int64(-1)}}, &api.GetTermPairResponse{}, nil)
	for i := range asked {
		f := asked[calls-1-i]
		p.answer(f, &api.GetTermPairResponse{Term: proto.Uint64(uint64(tidOf(t, f)) + 1000)}, nil)
	}
	group.Wait()
	if n := p.conn.Answers(); n != calls+1 {
		t.Errorf("%d answers", n)
	}
}

func TestAttachment(t *testing.T) {
	p := connect(t)
	done := make(chan error, 1)
	go func() {
		got, err := p.conn.CallAttached(t.Context(), "s", "M", &api.EmptyRequest{}, []byte("there"), &api.GeneralResponse{})
		if err == nil && string(got) != "back" {
			err = fmt.Errorf("attached %q", got)
		}
		done <- err
	}()
	f := p.read()
	if string(f.Attachment) != "there" {
		t.Errorf("attached %q", f.Attachment)
	}
	p.answer(f, &api.GeneralResponse{}, []byte("back"))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// callError checks whether a call that failed may have been carried out.
func callError(t *testing.T, err error, sent bool, says string) {
	t.Helper()
	var e *CallError
	if !errors.As(err, &e) || e.Sent != sent || !strings.Contains(err.Error(), says) {
		t.Errorf("%v (%+v), want sent %v and %q", err, e, sent, says)
	}
}

// The server hangs up: what it had may have been carried out, what comes later was not sent.
func TestHangUp(t *testing.T) {
	p := connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := p.call(t.Context(), 1)
		done <- err
	}()
	p.read()
	p.tcp.Close()
	callError(t, <-done, true, "the server closed the connection")
	<-p.conn.Ended()
	_, err := p.call(t.Context(), 2)
	callError(t, err, false, "closed the connection")
	if p.conn.Usable() {
		t.Error("the connection is usable")
	}
}

func TestGivenUp(t *testing.T) {
	p := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := p.call(ctx, 1)
		done <- err
	}()
	f := p.read()
	cancel()
	callError(t, <-done, true, "canceled")
	p.answer(f, &api.GetTermPairResponse{}, nil) // too late
	_, err := p.call(ctx, 2)
	callError(t, err, false, "canceled")
	go func() {
		_, err := p.call(t.Context(), 3)
		done <- err
	}()
	f = p.read()
	if tid := tidOf(t, f); tid != 3 {
		t.Errorf("what was given up before it was sent was sent: %d", tid)
	}
	p.answer(f, &api.GetTermPairResponse{}, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A request that waits behind one that does not get through is given up, and never leaves.
func TestGivenUpUnsent(t *testing.T) {
	p := connect(t)
	stuck := make(chan error, 1)
	go func() { // more than sockets hold
		stuck <- p.conn.Call(t.Context(), "s", "Put", &api.PutRequest{Value: bytes.Repeat([]byte{1}, 32<<20)}, &api.PutResponse{})
	}()
	for { // until the writer has it
		p.conn.mu.Lock()
		taken := len(p.conn.waiting) == 1 && len(p.conn.queue) == 0
		p.conn.mu.Unlock()
		if taken {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.call(ctx, 7)
	callError(t, err, false, "deadline")
	done := make(chan error, 1)
	go func() {
		_, err := p.call(t.Context(), 8)
		done <- err
	}()
	big := p.read()
	next := p.read()
	if tid := tidOf(t, next); tid != 8 {
		t.Errorf("what was given up before it was sent was sent: %d", tid)
	}
	p.answer(next, &api.GetTermPairResponse{}, nil)
	p.answer(big, &api.PutResponse{}, nil)
	for _, c := range []chan error{done, stuck} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
}

// A retired connection serves those who wait, and nobody else.
func TestRetire(t *testing.T) {
	p := connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := p.call(t.Context(), 1)
		done <- err
	}()
	f := p.read()
	p.conn.Retire()
	_, err := p.call(t.Context(), 2)
	callError(t, err, false, ErrRetired.Error())
	p.answer(f, &api.GetTermPairResponse{}, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-p.conn.Ended()
}

func TestRefusedAndUnreadable(t *testing.T) {
	p := connect(t)
	ask := func(answer func(*wire.Frame)) error {
		done := make(chan error, 1)
		go func() {
			done <- p.conn.Call(t.Context(), "s", "M", &ns.ConfGetRequest{}, &ns.ConfGetResponse{})
		}()
		answer(p.read())
		return <-done
	}
	var e *Error
	err := ask(func(f *wire.Frame) {
		b, err := wire.AppendFrame(nil, &brpc.RpcMeta{
			CorrelationId: f.Meta.CorrelationId, Response: &brpc.RpcResponseMeta{ErrorCode: proto.Int32(CodeLimit), ErrorText: proto.String("too much")},
		}, nil, nil)
		if err != nil {
			t.Error(err)
		}
		_, _ = p.tcp.Write(b)
	})
	if !errors.As(err, &e) || e.Code != CodeLimit || e.Text != "too much" {
		t.Errorf("%v", err)
	}
	err = ask(func(f *wire.Frame) { p.answer(f, &api.EmptyRequest{}, nil) }) // a required field is missing
	callError(t, err, true, "cannot be read")
	// Garbage ends the connection.
	err = ask(func(*wire.Frame) { fmt.Fprint(p.tcp, "HTTP/1.1 400 Bad Request\r\n") })
	callError(t, err, true, "not a baidu_std frame")
}

func TestTooLong(t *testing.T) {
	p := connect(t)
	err := p.conn.Call(t.Context(), "s", "Put", &api.PutRequest{Value: make([]byte, wire.MaxBody)}, &api.PutResponse{})
	var e *CallError
	if err == nil || errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	if !p.conn.Usable() {
		t.Error("the connection is not usable any more")
	}
}

func TestClose(t *testing.T) {
	p := connect(t)
	done := make(chan error, 1)
	go func() {
		_, err := p.call(t.Context(), 1)
		done <- err
	}()
	p.read()
	p.conn.Close()
	callError(t, <-done, true, ErrClosed.Error())
	_, err := p.call(t.Context(), 2)
	callError(t, err, false, ErrClosed.Error())
}

func TestDialFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, err = Dial(t.Context(), listener.Addr().String(), Options{})
	callError(t, err, false, "refused")
}
