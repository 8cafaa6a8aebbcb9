package nameserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/sandbox/fault"
)

// world is a nameserver among tablets that do as a test says.
type world struct {
	t       *testing.T
	tree    *coord.Local
	server  *Server
	at      string
	tablets []*fakeTablet
	points  *fault.Points
	died    chan struct{}
}

// fakeTablet is a tablet that keeps what it was told, and whose answers a test sets.
type fakeTablet struct {
	w        *world
	endpoint string
	port     *port.Port
	session  coord.Session

	mu    sync.Mutex
	calls []string // methods, in order
	tasks map[uint64][]*api.TaskInfo
	// held has tasks stay under way until they are let go; refuse answers a method with a code.
	held   bool
	refuse map[string]int32
	parts  map[string]*api.TableStatus
	polls  int // GetTaskStatus
	// What it says of every partition.
	pair     *api.GetTermPairResponse
	manifest uint64
	offset   uint64 // of AppendEntries
}

const factor = 200

func newWorld(t *testing.T, tablets int) *world {
	t.Helper()
	tree, err := coord.OpenLocal(t.TempDir(), "/openmldb", 50*time.Millisecond, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for n := range MaxTasks {
		all = append(all, OpPoint(n+1))
	}
	w := &world{t: t, tree: tree, died: make(chan struct{}, 10), points: fault.NewPoints(named(all)...)}
	for range tablets {
		w.tablets = append(w.tablets, w.tablet())
	}
	slices.SortFunc(w.tablets, func(a, b *fakeTablet) int { return strings.Compare(a.endpoint, b.endpoint) })
	w.start()
	t.Cleanup(func() {
		err := w.server.Kill()
		for _, f := range w.tablets {
			err = errors.Join(err, f.port.Abort())
		}
		if err = errors.Join(err, tree.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// start starts the nameserver and waits until it leads.
func (w *world) start() {
	w.t.Helper()
	free, err := port.Listen(port.Config{Address: "127.0.0.1:0"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.at = free.Address()
	if err := free.Abort(); err != nil {
		w.t.Fatal(err)
	}
	w.server, err = Start(w.t.Context(), Config{
		Endpoint: w.at, Tree: w.tree.Client(nil), Gate: &fault.Gate{}, Points: w.points, Log: w.t.Logf, Timers: factor,
		Dial: func(ctx context.Context, peer string) (*rpc.Conn, error) {
			return rpc.Dial(ctx, peer, rpc.Options{Credential: rpc.ServiceCredential})
		},
		Die: func() { w.died <- struct{}{} },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("it leads", w.server.Leads)
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never came true: %s; operations: %q", what, w.ops())
		}
	}
}

func (w *world) tablet() *fakeTablet {
	f := &fakeTablet{
		w: w, tasks: map[uint64][]*api.TaskInfo{}, refuse: map[string]int32{}, parts: map[string]*api.TableStatus{},
		pair: &api.GetTermPairResponse{},
	}
	var err error
	if f.port, err = port.Listen(port.Config{Address: "127.0.0.1:0", Services: []port.Service{{Name: tabletService, Methods: f.methods()}}}); err != nil {
		w.t.Fatal(err)
	}
	f.endpoint = f.port.Address()
	f.port.Start()
	f.register("startup_")
	return f
}

func (f *fakeTablet) register(prefix string) {
	var err error
	if f.session, err = f.w.tree.Client(nil).Open(f.w.t.Context()); err == nil {
		_, err = f.session.Create("/openmldb/nodes/"+f.endpoint, []byte(prefix+f.endpoint), coord.Ephemeral)
	}
	if err != nil {
		f.w.t.Fatal(err)
	}
}

// on makes a method that notes its call, and its task.
func on[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}](f *fakeTablet, run func(q PQ, a PA)) port.Method {
	return port.On(func(_ context.Context, call *port.Call, q PQ, a PA) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, call.Method)
		if code := f.refuse[call.Method]; code != 0 {
			settle(a, refuse(code, "refused by the test"))
			return nil
		}
		settle(a, nil)
		if tasked, ok := proto.Message(q).(interface{ GetTaskInfo() *api.TaskInfo }); ok && tasked.GetTaskInfo() != nil {
			task := proto.CloneOf(tasked.GetTaskInfo())
			task.Status = api.TaskStatus_kDone.Enum()
			if f.held {
				task.Status = api.TaskStatus_kDoing.Enum()
			}
			f.tasks[task.GetOpId()] = append(f.tasks[task.GetOpId()], task)
		}
		run(q, a)
		return nil
	})
}

func (f *fakeTablet) methods() map[string]port.Method {
	general := on(f, func(*api.GeneralRequest, *api.GeneralResponse) {})
	return map[string]port.Method{
		"MakeSnapshot": general, "PauseSnapshot": general, "RecoverSnapshot": general, "DeleteBinlog": general,
		"SendSnapshot": on(f, func(*api.SendSnapshotRequest, *api.GeneralResponse) {}),
		"LoadTable":    on(f, func(*api.LoadTableRequest, *api.GeneralResponse) {}),
		"AddReplica":   on(f, func(*api.ReplicaRequest, *api.AddReplicaResponse) {}),
		"DelReplica":   on(f, func(*api.ReplicaRequest, *api.GeneralResponse) {}),
		"DropTable":    on(f, func(*api.DropTableRequest, *api.DropTableResponse) {}),
		"CancelOP":     on(f, func(*api.CancelOPRequest, *api.GeneralResponse) {}),
		"ChangeRole":   on(f, func(*api.ChangeRoleRequest, *api.ChangeRoleResponse) {}),
		"CreateTable": on(f, func(q *api.CreateTableRequest, _ *api.CreateTableResponse) {
			m := q.GetTableMeta()
			f.parts[fmt.Sprint(m.GetTid(), m.GetPid())] = &api.TableStatus{
				Tid: proto.Uint32(uint32(m.GetTid())), Pid: proto.Uint32(uint32(m.GetPid())), Offset: proto.Uint64(10),
			}
		}),
		"GetTableStatus": on(f, func(_ *api.GetTableStatusRequest, a *api.GetTableStatusResponse) {
			for _, s := range f.parts {
				a.AllTableStatus = append(a.AllTableStatus, proto.CloneOf(s))
			}
		}),
		"GetTableFollower": on(f, func(_ *api.GetTableFollowerRequest, a *api.GetTableFollowerResponse) {
			for _, other := range f.w.tablets {
				a.FollowerInfo = append(a.FollowerInfo, &api.FollowerInfo{Endpoint: proto.String(other.endpoint)})
			}
		}),
		"GetTaskStatus": on(f, func(_ *api.TaskStatusRequest, a *api.TaskStatusResponse) {
			f.polls++
			for _, tasks := range f.tasks {
				for _, task := range tasks {
					a.Task = append(a.Task, proto.CloneOf(task))
				}
			}
		}),
		"DeleteOPTask": on(f, func(q *api.DeleteTaskRequest, _ *api.GeneralResponse) {
			for _, id := range q.GetOpId() {
				delete(f.tasks, id)
			}
		}),
		"AppendEntries": on(f, func(_ *api.AppendEntriesRequest, a *api.AppendEntriesResponse) { a.LogOffset = proto.Uint64(f.offset) }),
		"GetTermPair":   on(f, func(_ *api.GetTermPairRequest, a *api.GetTermPairResponse) { proto.Merge(a, f.pair) }),
		"GetManifest": on(f, func(_ *api.GetManifestRequest, a *api.GetManifestResponse) {
			a.Manifest = &api.Manifest{Offset: proto.Uint64(f.manifest)}
		}),
	}
}

// set changes what the tablet does.
func (f *fakeTablet) set(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// end ends every task that is under way, and holds no later ones.
func (f *fakeTablet) end(as api.TaskStatus) {
	f.set(func() { f.held = false })
	f.endHeld(as)
}

// endHeld ends every task that is under way.
func (f *fakeTablet) endHeld(as api.TaskStatus) {
	f.set(func() {
		for _, tasks := range f.tasks {
			for _, t := range tasks {
				if t.GetStatus() == api.TaskStatus_kDoing {
					t.Status = as.Enum()
				}
			}
		}
	})
}

// called counts the calls of a method.
func (f *fakeTablet) called(method string) (n int) {
	f.set(func() {
		for _, m := range f.calls {
			if m == method {
				n++
			}
		}
	})
	return n
}

// hasTask waits until the tablet was given a task of an operation.
func (f *fakeTablet) hasTask(id uint64) {
	f.w.t.Helper()
	f.w.eventually(fmt.Sprintf("%s has a task of operation %d", f.endpoint, id), func() (has bool) {
		f.set(func() { has = len(f.tasks[id]) > 0 })
		return has
	})
}

// ask calls the nameserver.
func (w *world) ask(method string, q, a proto.Message) (int32, string) {
	w.t.Helper()
	c, err := rpc.Dial(w.t.Context(), w.at, rpc.Options{Credential: rpc.ServiceCredential})
	if err == nil {
		defer c.Close()
		err = c.Call(w.t.Context(), ServiceName, method, q, a)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
	m := a.ProtoReflect()
	fields := m.Descriptor().Fields()
	return int32(m.Get(fields.ByName("code")).Int()), m.Get(fields.ByName("msg")).String()
}

func (w *world) order(method string, q proto.Message) {
	w.t.Helper()
	if code, text := w.ask(method, q, &ns.GeneralResponse{}); code != 0 {
		w.t.Fatalf("%s %v: %d %s", method, q, code, text)
	}
}

func (w *world) manual() {
	w.t.Helper()
	w.order("ConfSet", &ns.ConfSetRequest{Conf: &ns.Pair{Key: proto.String("auto_failover"), Value: proto.String("false")}})
}

// table makes table t: partition i is led by tablet i, and followed by all others.
func (w *world) table(partitions int) {
	w.t.Helper()
	t := &ns.TableInfo{
		Name:       proto.String("t"),
		ColumnDesc: []*common.ColumnDesc{{Name: proto.String("c"), DataType: types.DataType_kString.Enum()}},
	}
	for pid := range partitions {
		p := &ns.TablePartition{Pid: proto.Uint32(uint32(pid))}
		for i, f := range w.tablets {
			p.PartitionMeta = append(p.PartitionMeta, &ns.PartitionMeta{Endpoint: proto.String(f.endpoint), IsLeader: proto.Bool(i == pid%len(w.tablets))})
		}
		t.TablePartition = append(t.TablePartition, p)
	}
	w.order("CreateTable", &ns.CreateTableRequest{TableInfo: t})
}

func (w *world) info() *ns.TableInfo {
	w.t.Helper()
	var a ns.ShowTableResponse
	w.ask("ShowTable", &ns.ShowTableRequest{Name: proto.String("t")}, &a)
	if len(a.GetTableInfo()) != 1 {
		w.t.Fatal("there is no table t")
	}
	return a.GetTableInfo()[0]
}

// ops are the operations: "1 kMakeSnapshotOP 0 kDoing kMakeSnapshot".
func (w *world) ops() (all []string) {
	var a ns.ShowOPStatusResponse
	w.ask("ShowOPStatus", &ns.ShowOPStatusRequest{}, &a)
	for _, o := range a.GetOpStatus() {
		all = append(all, fmt.Sprintf("%d %s %d %s %s", o.GetOpId(), o.GetOpType(), o.GetPid(), o.GetStatus(), o.GetTaskType()))
	}
	return all
}

// becomes waits until the operations are these.
func (w *world) becomes(want ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("operations are %q", want), func() bool { return slices.Equal(w.ops(), want) })
}

func (w *world) snapshot(pid uint32) {
	w.t.Helper()
	w.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: proto.String("t"), Pid: &pid})
}

// records are the ids of the operations that stand in the tree.
func (w *world) records() []string {
	w.t.Helper()
	s, err := w.tree.Client(nil).Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	names, err := s.Children("/openmldb/op/op_data")
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}
