package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/nameserver"
	"shardsh/cluster/openmldb/sandbox/tablet"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/fault"
	"shardsh/commands/spec"
)

// A tablet that is paused for longer than its session is offline, and taken back when it goes on.
func TestPausedTablet(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	at := c.tabletAt[0]
	u.do(c.Pause(t.Context(), at))
	if err := c.Pause(t.Context(), at); spec.KindOf(err) != spec.Refused {
		t.Errorf("paused twice: %v", err)
	}
	if n := c.Nodes()[2]; n.State != sandbox.Paused {
		t.Errorf("it is %+v", n)
	}
	u.healthy(at, false)
	u.eventually("it is failed over", func() bool { return !strings.Contains(leaders(c, u.flow()), "tablet1") })
	u.do(c.Start(t.Context(), at))
	u.healthy(at, true)
	u.becomesWhole()
	for _, o := range u.over() {
		// Its process lived on with everything in memory: nothing was sent to it.
		if o.GetStatus() != "kDone" || o.GetOpType() == "kReAddReplicaOP" || o.GetOpType() == "kReAddReplicaNoSendOP" {
			t.Errorf("operation %v", o)
		}
	}
}

// A nameserver that cannot reach a tablet which is alive: what needs that tablet fails, and is told nobody.
func TestCutOffTablet(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	at, flow := c.tabletAt[0], proto.String("flow")
	u.do(c.Partition(t.Context(), at, c.nsAt[0]))
	if n := c.Nodes()[2]; n.Faults != "cut off "+c.nsAt[0] || n.State != sandbox.Alive {
		t.Errorf("it is %+v", n)
	}
	u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: flow, Pid: proto.Uint32(0)})
	u.eventually("the operation has failed, or waits", func() bool {
		all := u.ops()
		return len(all) == 1 && all[0].GetStatus() != "kInited"
	})
	var status api.GetTableStatusResponse
	u.onTablet(at, "GetTableStatus", &api.GetTableStatusRequest{}, &status) // clients reach it
	u.do(c.Heal(t.Context()))
	if n := c.Nodes()[2]; n.Faults != "" {
		t.Errorf("it is %+v", n)
	}
	u.over()
	u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: flow, Pid: proto.Uint32(0)})
	all := u.over()
	if last := all[len(all)-1]; last.GetStatus() != "kDone" {
		t.Errorf("after it was healed: %v", last)
	}
}

// An operation whose tablet task fails stays where it failed, and the next one of the partition runs.
func TestFailedTask(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	flow, pid := proto.String("flow"), proto.Uint32(0)
	u.do(c.Break(t.Context(), "tablet.task:make-snapshot", 1))
	for range 2 {
		u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: flow, Pid: pid})
	}
	all := u.over()
	if got := opLines(all, "flow"); !slices.Equal(got, []string{"kMakeSnapshotOP 0 kFailed", "kMakeSnapshotOP 0 kDone"}) {
		t.Fatalf("operations: %q", got)
	}
	if all[0].GetTaskType() != "kMakeSnapshot" || all[1].GetTaskType() != "-" {
		t.Errorf("tasks: %q, %q", all[0].GetTaskType(), all[1].GetTaskType())
	}
	u.do(c.Stop(t.Context(), c.nsAt[0])) // a new leader remembers the failed one only
	if got := opLines(u.over(), "flow"); !slices.Equal(got, []string{"kMakeSnapshotOP 0 kFailed"}) {
		t.Errorf("operations: %q", got)
	}
	u.order("DeleteOP", &ns.DeleteOPRequest{OpId: all[0].OpId})
	if got := u.ops(); len(got) != 0 {
		t.Errorf("operations: %v", got)
	}
}

// No caller can have a sandbox connect to another machine.
func TestDialsOnlyHere(t *testing.T) {
	n := network{cuts: map[cable]chan struct{}{}}
	dial := n.dialer("127.0.0.1:1", &fault.Gate{})
	for _, peer := range []string{"10.0.0.1:80", "example.org:80", "127.0.0.1", "", "[::ffff:10.0.0.1]:80"} {
		if c, err := dial(t.Context(), peer); err == nil || !strings.Contains(err.Error(), "no address of this machine") {
			t.Errorf("%q: %v, %v", peer, c, err)
		}
	}
}

func TestFaultsAreNamed(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	ctx := t.Context()
	points := map[string]bool{}
	for _, p := range c.Points() {
		points[p.Name] = true
	}
	for _, name := range []string{
		"ns.accepted:offline-endpoint", "ns.received:show-op-status", "ns.before-answer:create-table", "ns.op:1", "ns.op:10",
		"tablet.accepted:put", "tablet.received:load-table", "tablet.task:send-snapshot",
	} {
		if !points[name] {
			t.Errorf("there is no point %s", name)
		}
	}
	for _, tt := range []struct {
		kind spec.ErrorKind
		err  error
	}{
		{spec.NotFound, c.Break(ctx, "ns.op:11", 1)},
		{spec.NotFound, c.Kill(ctx, "127.0.0.1:1")},
		{spec.NotFound, c.Slow(ctx, "127.0.0.1:1", time.Second)},
		{spec.NotFound, c.Partition(ctx, c.nsAt[0], "127.0.0.1:1")},
		{spec.Refused, c.Start(ctx, c.nsAt[0])},
		{spec.Unable, c.Lose(ctx, c.nsAt[0])},
	} {
		if spec.KindOf(tt.err) != tt.kind {
			t.Errorf("%v is %v, want %v", tt.err, spec.KindOf(tt.err), tt.kind)
		}
	}
	u := newUser(t, c)
	u.do(c.Throttle(ctx, 5))
	u.do(c.Slow(ctx, c.tabletAt[1], 30*time.Millisecond))
	if n := c.Nodes(); n[2].Faults != "throttled to 5 writes/s" || n[3].Faults != "slow 30ms, throttled to 5 writes/s" || n[2].Timers != timers {
		t.Errorf("nodes: %+v", n)
	}
	refused := false
	for i := range 50 {
		refused = u.put(fmt.Sprint("x", i), firstRow) != nil || refused
	}
	if !refused {
		t.Error("50 writes at once were all taken")
	}
	u.do(c.Throttle(ctx, 0))
	u.do(u.put("y", firstRow))
	u.do(c.Kill(ctx, c.tabletAt[2]))
	if err := c.Kill(ctx, c.tabletAt[2]); spec.KindOf(err) != spec.Refused {
		t.Errorf("killed twice: %v", err)
	}
	if err := c.Pause(ctx, c.tabletAt[2]); spec.KindOf(err) != spec.Refused {
		t.Errorf("paused while dead: %v", err)
	}
	if err := c.Stop(ctx, c.tabletAt[2]); spec.KindOf(err) != spec.Refused {
		t.Errorf("stopped while dead: %v", err)
	}
}

// A tablet whose disk is gone gets everything again.
func TestLostTablet(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	at := c.tabletAt[1]
	u.do(c.Lose(t.Context(), at))
	u.do(c.Start(t.Context(), at))
	u.eventually("the failover shows", func() bool { return len(u.ops()) > 0 })
	u.becomesWhole()
	if n := u.count(at, 0, "card0") + u.count(at, 1, "card0"); n != 10 {
		t.Errorf("it has %d rows of card0", n)
	}
}

// A call that was accepted and not answered is carried out once.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.do(c.Break(t.Context(), "ns.accepted:create-database", 1))
	conn, err := rpc.Dial(t.Context(), c.nsAt[0], rpc.Options{Credential: rpc.ServiceCredential})
	u.do(err)
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	returned := make(chan error, 1)
	go func() {
		returned <- conn.Call(ctx, nameserver.ServiceName, "CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("d")}, &ns.GeneralResponse{})
	}()
	u.eventually("the database is there", func() bool {
		code, _ := u.ask("UseDatabase", &ns.UseDatabaseRequest{Db: proto.String("d")}, &ns.GeneralResponse{})
		return code == 0
	})
	select {
	case err := <-returned:
		t.Errorf("it was answered: %v", err)
	default:
	}
	cancel()
	if err := <-returned; err == nil {
		t.Error("it was answered")
	}
}

// frames are requests to either role, good ones.
func frames(t *testing.T) [][]byte {
	var all [][]byte
	for _, r := range []struct {
		service, method string
		q               proto.Message
	}{
		{nameserver.ServiceName, "ShowTable", &ns.ShowTableRequest{ShowAll: proto.Bool(true)}},
		{nameserver.ServiceName, "OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: proto.String("nobody")}},
		{nameserver.ServiceName, "CreateTable", create("", "x", 1, 9)},
		{nameserver.ServiceName, "SetTablePartition", &ns.SetTablePartitionRequest{Name: proto.String("none")}},
		{tablet.ServiceName, "Put", &api.PutRequest{Tid: proto.Uint32(99), Value: []byte{1, 1, 6, 0, 0, 0}}},
		{tablet.ServiceName, "LoadTable", &api.LoadTableRequest{}},
		{tablet.ServiceName, "AppendEntries", &api.AppendEntriesRequest{Entries: []*api.LogEntry{{}}}},
	} {
		meta := &brpc.RpcMeta{
			Request:       &brpc.RpcRequestMeta{ServiceName: &r.service, MethodName: &r.method},
			CorrelationId: proto.Int64(1), AuthenticationData: []byte(rpc.ServiceCredential),
		}
		frame, err := wire.AppendFrame(nil, meta, r.q, []byte("attached"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, frame)
	}
	return all
}

// Frames cut short, changed at random and mixed with garbage cost their connection at most.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.autoFailover(false)
	send := func(at string, b []byte) {
		t.Helper()
		conn, err := net.Dial("tcp4", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = conn.Write(b)
		_ = conn.(*net.TCPConn).CloseWrite()
		var late net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &late) && late.Timeout() {
			t.Fatalf("%x: the connection stays open", b)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, frame := range frames(t) {
		for _, at := range []string{c.nsAt[0], c.nsAt[1], c.tabletAt[0]} {
			for n := 0; n < len(frame); n += 1 + len(frame)/20 {
				send(at, frame[:n])
			}
			for range 20 {
				b := slices.Clone(frame)
				for range 1 + random.IntN(4) {
					b[random.IntN(len(b))] ^= byte(1 << random.IntN(8))
				}
				send(at, b)
			}
		}
	}
	send(c.nsAt[0], []byte("GET / HTTP/1.1\r\n\r\n"))
	send(c.tabletAt[0], []byte("PRPC\xff\xff\xff\xff\xff\xff\xff\xff"))
	u.becomesWhole()
	if all := u.ops(); len(all) != 0 {
		t.Errorf("operations: %v", all)
	}
}

// With strict credentials nobody is let in without one.
func TestStrict(t *testing.T) {
	t.Parallel()
	c := run(t, "", map[string]string{"strict": "true"})
	u := newUser(t, c)
	u.becomesWhole()
	for _, at := range []string{c.nsAt[0], c.tabletAt[0]} {
		conn, err := rpc.Dial(t.Context(), at, rpc.Options{Credential: "uroot:1"})
		u.do(err)
		var refused *rpc.Error
		if err := conn.Call(t.Context(), nameserver.ServiceName, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); !errors.As(err, &refused) || refused.Code != rpc.CodeAuth {
			t.Errorf("%s: a wrong credential: %v", at, err)
		}
		conn.Close()
	}
}
