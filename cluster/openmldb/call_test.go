package openmldb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox/fault"
	"shardsh/commands/spec"
)

// All nameservers are asked at once who leads; the one found is asked from then on.
func TestFollow(t *testing.T) {
	b := newBox(t, 1)
	s1, s2 := standby(t), standby(t)
	d := open(t, 20*time.Second, s1, s2, b.ns)
	for range 3 {
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s1.calls("ShowTablet") + s2.calls("ShowTablet"); n != 0 {
		t.Errorf("the standbys were asked %d times", n)
	}
	if n := s1.calls("ConfGet"); n > 1 {
		t.Errorf("a standby was asked %d times whether it leads", n)
	}
}

// The leader steps down: reads and changes move on, because a refusal for not leading does nothing.
func TestLeaderChanges(t *testing.T) {
	b1, b2 := newBox(t, 1), newBox(t, 1)
	b2.ns.stepDown()
	d := open(t, 20*time.Second, b1.ns, b2.ns)
	if err := d.SetConf(t.Context(), "auto_failover", "false"); err != nil {
		t.Fatal(err)
	}
	ok := func(s *server) {
		for name := range nameserverMethods() {
			s.refusing(name, 0, "ok")
		}
	}
	b1.ns.stepDown()
	ok(b2.ns)
	if err := d.SetConf(t.Context(), "auto_failover", "false"); err != nil {
		t.Fatal(err)
	}
	if b1.ns.calls("ConfSet") != 2 || b2.ns.calls("ConfSet") != 1 {
		t.Errorf("sent %d and %d times", b1.ns.calls("ConfSet"), b2.ns.calls("ConfSet"))
	}
	// It dies: nothing is sent to it, so the change goes elsewhere.
	b2.ns.dies(d)
	ok(b1.ns)
	if err := d.SetConf(t.Context(), "auto_failover", "false"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// While nobody leads, a call waits for the election, and not for ever.
func TestElection(t *testing.T) {
	s := standby(t)
	d := open(t, 20*time.Second, s)
	done := make(chan error, 1)
	go func() {
		_, err := d.Conf(t.Context())
		done <- err
	}()
	for s.calls("ConfGet") < 3 {
		time.Sleep(time.Millisecond)
	}
	s.refusing("ConfGet", 0, "ok")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d = open(t, 300*time.Millisecond, standby(t), standby(t))
	within(t, 5*time.Second, func() {
		_, err := d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, d.place.servers[0], d.place.servers[1], "300 nameserver is not leader")
	})
	within(t, 5*time.Second, func() {
		wantError(t, d.SetConf(t.Context(), "auto_failover", "true"), spec.Unavailable, "300 nameserver is not leader")
	})
}

// A leader that says it leads and refuses all the same is asked until the time is over, and each time for nothing.
func TestRefusedForEver(t *testing.T) {
	b := newBox(t, 1)
	b.ns.refusing("OfflineEndpoint", codeNotLeader, "nameserver is not leader")
	d := open(t, 400*time.Millisecond, b.ns)
	wantError(t, d.OfflineEndpoint(t.Context(), "a:1", 0), spec.Unavailable, "300 nameserver is not leader", b.ns.endpoint)
	if b.ns.calls("OfflineEndpoint") < 2 {
		t.Error("it was asked once only")
	}
}

// What may have been carried out is never sent again, and is not called failed.
func TestUnknownOutcome(t *testing.T) {
	for _, where := range []string{fault.Answer, fault.Accepted, fault.Received} {
		b := newBox(t, 1)
		d := open(t, 700*time.Millisecond, b.ns)
		if _, err := d.Conf(t.Context()); err != nil { // the connection has worked
			t.Fatal(err)
		}
		b.ns.lose(where, "OfflineEndpoint", 1)
		within(t, 10*time.Second, func() {
			err := d.OfflineEndpoint(t.Context(), "127.0.0.1:9527", 2)
			wantError(t, err, spec.UnknownOutcome, b.ns.endpoint, "offline", "read it back")
		})
		want := 1
		if where == fault.Received {
			want = 0
		}
		if n := b.ns.calls("OfflineEndpoint"); n != want {
			t.Errorf("%s: carried out %d times", where, n)
		}
		// The next call works.
		if err := d.OfflineEndpoint(t.Context(), "127.0.0.1:9527", 2); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// A read is repeated once.
func TestReadsAgain(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ns.lose(fault.Answer, "ShowTablet", 1)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ns.lose(fault.Answer, "ShowTablet", 100)
	before := b.ns.calls("ShowTablet")
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, b.ns.endpoint, "closed the connection")
	if n := b.ns.calls("ShowTablet") - before; n > 4 {
		t.Errorf("sent %d times", n)
	}
}

// A nameserver that has stopped answering costs the timeout, and is looked for anew by the next call.
func TestStall(t *testing.T) {
	b1, b2 := newBox(t, 1), newBox(t, 1)
	b2.ns.stepDown()
	d := open(t, 600*time.Millisecond, b1.ns, b2.ns)
	if _, err := d.Conf(t.Context()); err != nil {
		t.Fatal(err)
	}
	b1.ns.gate.Pause()
	within(t, 10*time.Second, func() {
		_, err := d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, b1.ns.endpoint, "in time")
	})
	for name := range nameserverMethods() {
		b2.ns.refusing(name, 0, "ok")
	}
	if err := d.SetConf(t.Context(), "auto_failover", "true"); err != nil {
		t.Fatal(err)
	}
	if b2.ns.calls("ConfSet") != 1 {
		t.Error("the new leader was not asked")
	}
}

// hostile is a server that answers a connection with whatever it likes.
func hostile(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	group.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			group.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return listener.Addr().String()
}

// answerAll answers every request with a frame that f makes.
func answerAll(f func(q *wire.Frame) []byte) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			q, err := wire.ReadFrame(r)
			if err != nil {
				return
			}
			if _, err := c.Write(f(q)); err != nil {
				return
			}
		}
	}
}

func frame(t testing.TB, q *wire.Frame, code int32, body proto.Message) []byte {
	meta := &brpc.RpcMeta{Response: &brpc.RpcResponseMeta{ErrorCode: &code}, CorrelationId: q.Meta.CorrelationId}
	b, err := wire.AppendFrame(nil, meta, body, nil)
	if err != nil {
		t.Error(err)
	}
	return b
}

// rawFrame answers with any payload.
func rawFrame(t testing.TB, q *wire.Frame, payload []byte) []byte {
	meta, err := proto.Marshal(&brpc.RpcMeta{CorrelationId: q.Meta.CorrelationId})
	if err != nil {
		t.Error(err)
	}
	b := binary.BigEndian.AppendUint32([]byte(wire.Magic), uint32(len(meta)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	return slices.Concat(b, meta, payload)
}

// Whatever a server sends, the error names it and comes in time; a change whose answer is no use has an unknown outcome.
func TestHostile(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"garbage": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"half a frame": answerAll(func(q *wire.Frame) []byte {
			return frame(t, q, 0, &ns.ConfGetResponse{Code: proto.Int32(0)})[:15]
		}),
		"no message":         answerAll(func(q *wire.Frame) []byte { return rawFrame(t, q, []byte{0xff, 0xff}) }),
		"a promise of 4 GiB": answerAll(func(*wire.Frame) []byte { return []byte("PRPC\xff\xff\xff\xff\x00\x00\x00\x01") }),
		"another call's answer": answerAll(func(q *wire.Frame) []byte {
			q.Meta.CorrelationId = proto.Int64(q.Meta.GetCorrelationId() + 1000)
			return frame(t, q, 0, &ns.ConfGetResponse{Code: proto.Int32(0)})
		}),
		"nothing but frames": answerAll(func(q *wire.Frame) []byte {
			q.Meta.CorrelationId = proto.Int64(q.Meta.GetCorrelationId() + 1000)
			return bytes.Repeat(frame(t, q, 0, &ns.ConfGetResponse{Code: proto.Int32(0)}), 1<<18)
		}),
		"without a required field": answerAll(func(q *wire.Frame) []byte { return rawFrame(t, q, nil) }),
		"drop by drop": func(c net.Conn) {
			for _, b := range []byte(wire.Magic + "\x00\x00\x00\xff\x00\x00\x00\x08") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			_, _ = io.Copy(io.Discard, c)
		},
		"silence":   func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"hangs up":  func(c net.Conn) {},
		"no method": answerAll(func(q *wire.Frame) []byte { return frame(t, q, rpc.CodeNoMethod, nil) }),
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := hostile(t, serve)
			d := openAt(t, cluster.Options{Timeout: func() time.Duration { return 500 * time.Millisecond }}, schemeNS+endpoint)
			within(t, 10*time.Second, func() {
				_, err := d.Nodes(t.Context())
				wantError(t, err, spec.Unavailable, endpoint)
				_, err = d.TabletPartitions(t.Context(), endpoint)
				// No answer of a tablet has a field that it must have.
				if name != "without a required field" && (err == nil || !strings.Contains(err.Error(), endpoint)) {
					t.Errorf("a tablet: %v", err)
				}
				if name == "silence" || name == "no message" {
					wantError(t, d.TabletDropTable(t.Context(), endpoint, 1, 0), spec.UnknownOutcome, endpoint)
				}
			})
		})
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := listener.Addr().String()
	listener.Close()
	d := openAt(t, cluster.Options{}, schemeNS+endpoint)
	within(t, 5*time.Second, func() {
		_, err := d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, endpoint, "refused")
		wantError(t, d.SetConf(t.Context(), "a", "b"), spec.Unavailable, endpoint)
		wantError(t, d.TabletDropTable(t.Context(), endpoint, 1, 1), spec.Unavailable, endpoint)
	})
}

func TestCallsAreTraced(t *testing.T) {
	b := newBox(t, 1)
	var mu sync.Mutex
	var lines []cluster.Trace
	d := openWith(t, cluster.Options{Trace: func(_ context.Context, line cluster.Trace) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}}, b.ns)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ns.refusing("RecoverEndpoint", 301, "auto_failover is enabled")
	err := d.RecoverEndpoint(t.Context(), "a:1", false, 0)
	wantError(t, err, spec.Failed, "301 auto_failover is enabled", "confset auto_failover false", b.ns.endpoint)
	b.ns.failing("Migrate", &rpc.Error{Code: rpc.CodeLimit, Text: "Reached server's limit"})
	err = d.Migrate(t.Context(), TableName{Name: "flow"}, []uint32{0}, "a:1", "b:1")
	wantError(t, err, spec.Unavailable, "brpc 2004 Reached server's limit")
	if _, err := d.TabletPartitions(t.Context(), b.tablets[0].endpoint); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, line := range lines {
		if line.Took <= 0 || line.Took > 10*time.Second {
			t.Errorf("took %v", line.Took)
		}
		got = append(got, line.Peer+" "+line.Method+" "+line.Code)
	}
	want := []string{
		b.ns.endpoint + " nameserver.ConfGet 0",
		b.ns.endpoint + " nameserver.ShowTablet 0",
		b.ns.endpoint + " nameserver.RecoverEndpoint 301 auto_failover is enabled",
		b.ns.endpoint + " nameserver.Migrate 2004 Reached server's limit",
		b.tablets[0].endpoint + " tablet.GetTableStatus 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClose(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.ns)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	b.ns.mu.Lock()
	b.ns.answers["ConfSet"] = func(_, _ proto.Message) error { close(arrived); return port.ErrSilent }
	b.ns.mu.Unlock()
	result := make(chan error, 1)
	go func() { result <- d.SetConf(context.Background(), "auto_failover", "true") }()
	<-arrived
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-result, spec.UnknownOutcome, "closed")
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, "closed")
	_, _, err = d.Get(t.Context(), TableName{Name: "flow"}, GetQuery{Key: "k"})
	wantError(t, err, spec.Unavailable, "closed")
	for _, err := range d.Replicas(t.Context(), "") {
		wantError(t, err, spec.Unavailable, "closed")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInterrupted(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.ns)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]spec.ErrorKind{"ConfSet": spec.UnknownOutcome, "ShowTablet": spec.Interrupted} {
		ctx, cancel := context.WithCancel(t.Context())
		b.ns.mu.Lock()
		b.ns.answers[name] = func(_, _ proto.Message) error { cancel(); return port.ErrSilent }
		b.ns.mu.Unlock()
		var err error
		if name == "ConfSet" {
			err = d.SetConf(ctx, "auto_failover", "true")
		} else {
			_, err = d.Nodes(ctx)
		}
		wantError(t, err, kind)
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Nodes(ctx)
	wantError(t, err, spec.Interrupted)
	wantError(t, d.SetConf(ctx, "auto_failover", "true"), spec.Interrupted)
}

// Many callers share one connection, and each gets its own answer.
func TestConcurrent(t *testing.T) {
	b := newBox(t, 1)
	answering(b.ns, "GetTablePartition", func(q *ns.GetTablePartitionRequest, a *ns.GetTablePartitionResponse) {
		a.TablePartition = &ns.TablePartition{Pid: q.Pid}
	})
	d := open(t, time.Minute, b.ns)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			p, err := d.Partition(t.Context(), TableName{Name: "flow"}, uint32(i))
			if err != nil || p.ID != uint32(i) {
				t.Errorf("partition %d: %v %v", i, p, err)
			}
		})
	}
	group.Wait()
	b.ns.mu.Lock()
	defer b.ns.mu.Unlock()
	if len(b.ns.admitted) != 1 {
		t.Errorf("%d connections", len(b.ns.admitted))
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		code   int32
		text   string
		change bool
		kind   spec.ErrorKind
		says   string
	}{
		{100, "table does not exist", true, spec.NotFound, "100 table does not exist"},
		{100, "", true, spec.NotFound, "100 the table does not exist"},
		{101, "table already exists", true, spec.Failed, "101 table already exists"},
		{101, "table does not exist", true, spec.NotFound, "101 table does not exist"},
		{136, "op id does not exist", true, spec.NotFound, "showopstatus"},
		{136, "delete failed", true, spec.Failed, "136 delete failed"},
		{304, "set zk failed", true, spec.UnknownOutcome, "304 set zk failed"},
		{304, "set zk failed", false, spec.Failed, "304 set zk failed"},
		{309, "leader is alive", true, spec.Failed, "auto"},
		{999, "what\x00 is\xff this", true, spec.Failed, "999"},
		{-1, "", true, spec.Failed, "-1"},
		{999, strings.Repeat("x", 1000), true, spec.Failed, "…"},
	} {
		e := refused("op", tt.change, &refusal{endpoint: "h:1", code: tt.code, text: said(tt.text)})
		wantError(t, e, tt.kind, tt.says, "h:1")
	}
	for code, kind := range map[int32]spec.ErrorKind{
		rpc.CodeInternal: spec.UnknownOutcome, rpc.CodeTimedOut: spec.UnknownOutcome, rpc.CodeNoMethod: spec.Failed,
		rpc.CodeLogoff: spec.Unavailable, rpc.CodeAuth: spec.Failed, 4711: spec.UnknownOutcome,
	} {
		wantError(t, refused("op", true, &refusal{endpoint: "h:1", code: code, framework: true}), kind, "brpc ")
	}
	if err := failure("op", false, errors.New("x")); spec.KindOf(err) != spec.Failed {
		t.Error(err)
	}
	if failure("op", false, nil) != nil {
		t.Error("nothing failed")
	}
}
