package port

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/sandbox/fault"
)

const service = "openmldb.nameserver.NameServer"

// nameserver answers ConfGet with what it was asked as the attachment, and waits in UseDatabase until it is let go.
type nameserver struct {
	entered, goOn chan struct{}
	calls         sync.Map
}

func (n *nameserver) service() Service {
	return Service{Name: service, Methods: map[string]Method{
		"ConfGet": On(func(_ context.Context, call *Call, _ *ns.ConfGetRequest, a *ns.ConfGetResponse) error {
			n.calls.Store(string(call.Attachment), true)
			a.Code = proto.Int32(0)
			a.Msg = proto.String("ok")
			call.Attach = append([]byte("re: "), call.Attachment...)
			return nil
		}),
		"UseDatabase": On(func(ctx context.Context, _ *Call, q *ns.UseDatabaseRequest, a *ns.GeneralResponse) error {
			n.entered <- struct{}{}
			select {
			case <-n.goOn:
			case <-ctx.Done():
				return ErrSilent
			}
			a.Code = proto.Int32(0)
			return nil
		}),
		"ShowDatabase": On(func(context.Context, *Call, *ns.GeneralRequest, *ns.ShowDatabaseResponse) error {
			return errors.New("broken")
		}),
		"OfflineEndpoint": On(func(_ context.Context, _ *Call, q *ns.OfflineEndpointRequest, a *ns.GeneralResponse) error {
			n.calls.Store(q.GetEndpoint(), true)
			a.Code = proto.Int32(0)
			return nil
		}),
	}}
}

func serve(t *testing.T, config Config) (*Port, *nameserver) {
	t.Helper()
	goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := &nameserver{entered: make(chan struct{}, 10), goOn: make(chan struct{})}
	config.Address, config.Services = "127.0.0.1:0", []Service{n.service()}
	p, err := Listen(config)
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() {
		if err := p.Abort(); err != nil {
			t.Error(err)
		}
	})
	return p, n
}

func dial(t *testing.T, p *Port, credential string) *rpc.Conn {
	t.Helper()
	c, err := rpc.Dial(t.Context(), p.Address(), rpc.Options{Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-c.Ended() })
	return c
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCalls(t *testing.T) {
	p, n := serve(t, Config{})
	c := dial(t, p, rpc.ServiceCredential)
	ctx := soon(t)
	waits := make(chan error)
	go func() {
		waits <- c.Call(ctx, service, "UseDatabase", &ns.UseDatabaseRequest{Db: proto.String("d")}, &ns.GeneralResponse{})
	}()
	<-n.entered
	var wg sync.WaitGroup
	for i := range 100 { // they overtake the one that waits
		wg.Go(func() {
			var a ns.ConfGetResponse
			text := fmt.Sprint("call ", i)
			got, err := c.CallAttached(ctx, service, "ConfGet", &ns.ConfGetRequest{}, []byte(text), &a)
			if err != nil || string(got) != "re: "+text || a.GetMsg() != "ok" {
				t.Errorf("%s: %q, %v, %v", text, got, &a, err)
			}
		})
	}
	wg.Wait()
	close(n.goOn)
	if err := <-waits; err != nil {
		t.Error(err)
	}
	if err := c.Call(ctx, "NameServer", "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); err != nil {
		t.Errorf("by its short name: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	p, _ := serve(t, Config{})
	c := dial(t, p, rpc.ServiceCredential)
	for _, tt := range []struct {
		service, method string
		request         proto.Message
		code            int32
	}{
		{"openmldb.api.TabletServer", "Put", &api.PutRequest{}, rpc.CodeNoService},
		{service, "ShowFunctions", &ns.ConfGetRequest{}, rpc.CodeNoMethod},
		{service, "ShowDatabase", &ns.GeneralRequest{}, rpc.CodeInternal},
		{service, "OfflineEndpoint", &ns.ConfGetRequest{}, rpc.CodeBadRequest}, // its endpoint is missing
	} {
		var e *rpc.Error
		err := c.Call(soon(t), tt.service, tt.method, tt.request, &ns.GeneralResponse{})
		if !errors.As(err, &e) || e.Code != tt.code {
			t.Errorf("%s/%s: %v, want code %d", tt.service, tt.method, err, tt.code)
		}
	}
	var e *rpc.CallError
	err := c.Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.AddReplicaClusterByNsResponse{})
	if !errors.As(err, &e) || !e.Sent {
		t.Errorf("an answer without a required field: %v", err)
	}
}

func TestCredential(t *testing.T) {
	p, _ := serve(t, Config{Admit: func(credential string) bool { return credential == rpc.ServiceCredential }})
	if err := dial(t, p, rpc.ServiceCredential).Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); err != nil {
		t.Error(err)
	}
	c := dial(t, p, "uroot:1")
	var e *rpc.Error
	err := c.Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{})
	if !errors.As(err, &e) || e.Code != rpc.CodeAuth {
		t.Errorf("a wrong credential: %v", err)
	}
	<-c.Ended()
}

func TestPoints(t *testing.T) {
	points := fault.NewPoints(fault.OfCalls("ns", []string{PointName("OfflineEndpoint")})...)
	p, n := serve(t, Config{Points: points, Role: "ns"})
	call := func(c *rpc.Conn, ctx context.Context, endpoint string) error {
		return c.Call(ctx, service, "OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: &endpoint}, &ns.GeneralResponse{})
	}
	for _, where := range []string{fault.Received, fault.Accepted, fault.Answer} {
		if err := points.Arm(fault.CallPoint("ns", where, "offline-endpoint"), 1); err != nil {
			t.Fatal(err)
		}
		c := dial(t, p, rpc.ServiceCredential)
		ctx, cancel := context.WithCancel(soon(t))
		if where != fault.Answer {
			time.AfterFunc(200*time.Millisecond, cancel)
		}
		var e *rpc.CallError
		if err := call(c, ctx, where); !errors.As(err, &e) || !e.Sent {
			t.Errorf("%s: %v", where, err)
		}
		cancel()
		if points.Live() {
			t.Errorf("%s is still armed", where)
		}
		_, done := n.calls.Load(where)
		if done != (where != fault.Received) {
			t.Errorf("%s: carried out: %v", where, done)
		}
	}
	if err := points.Arm("ns.accepted:offline-endpiont", 1); err == nil {
		t.Error("a point that does not exist was armed")
	}
}

func TestDrainAndAbort(t *testing.T) {
	p, n := serve(t, Config{})
	c := dial(t, p, rpc.ServiceCredential)
	answered := make(chan error)
	use := func(c *rpc.Conn) {
		answered <- c.Call(soon(t), service, "UseDatabase", &ns.UseDatabaseRequest{}, &ns.GeneralResponse{})
	}
	go use(c)
	<-n.entered
	drained := make(chan error)
	go func() { drained <- p.Drain(soon(t)) }()
	n.goOn <- struct{}{}
	if err := <-answered; err != nil {
		t.Errorf("asked before the drain: %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if _, err := rpc.Dial(soon(t), p.Address(), rpc.Options{}); err == nil {
		t.Error("a drained port takes connections")
	}

	p, n = serve(t, Config{})
	c = dial(t, p, rpc.ServiceCredential)
	go use(c)
	<-n.entered
	if err := p.Abort(); err != nil {
		t.Error(err)
	}
	var e *rpc.CallError
	if err := <-answered; !errors.As(err, &e) || !e.Sent {
		t.Errorf("after the abort: %v", err)
	}
	if err := c.Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); !errors.As(err, &e) || e.Sent {
		t.Errorf("on a dead connection: %v", err)
	}
}

func TestPause(t *testing.T) {
	gate := &fault.Gate{}
	p, _ := serve(t, Config{Gate: gate})
	c := dial(t, p, rpc.ServiceCredential)
	gate.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var e *rpc.CallError
	if err := c.Call(ctx, service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); !errors.As(err, &e) {
		t.Errorf("a paused server: %v", err)
	}
	answered := make(chan error)
	go func() {
		answered <- c.Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{})
	}()
	gate.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestOtherBytes(t *testing.T) {
	got := make(chan []byte, 1)
	p, _ := serve(t, Config{HTTP: func(c net.Conn) {
		b := make([]byte, 14)
		_, _ = io.ReadFull(c, b)
		got <- b
		_, _ = c.Write([]byte("answer"))
	}})
	tcp, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if _, err := tcp.Write([]byte("GET / HTTP/1.1")); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !bytes.Equal(b, []byte("GET / HTTP/1.1")) {
		t.Errorf("HTTP got %q", b)
	}
	if b, err := io.ReadAll(tcp); err != nil || string(b) != "answer" {
		t.Errorf("%q, %v", b, err)
	}
	p, _ = serve(t, Config{})
	if tcp, err = net.Dial("tcp", p.Address()); err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_, _ = tcp.Write([]byte("PRPC\xff\xff\xff\xff\x00\x00\x00\x00"))
	if b, _ := io.ReadAll(tcp); len(b) > 0 {
		t.Errorf("garbage was answered with %q", b)
	}
}

func TestPointName(t *testing.T) {
	for method, want := range map[string]string{
		"OfflineEndpoint": "offline-endpoint", "ShowOPStatus": "show-op-status", "AddReplicaNS": "add-replica-ns", "Put": "put",
		"ConnectZK": "connect-zk", "UpdateTTL": "update-ttl",
	} {
		if got := PointName(method); got != want {
			t.Errorf("PointName(%s) = %s, want %s", method, got, want)
		}
	}
}
