package openmldb

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/sandbox/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is one endpoint of a fake cluster. What a method answers can be changed at any time.
type server struct {
	t        testing.TB
	endpoint string
	port     *port.Port
	gate     fault.Gate
	points   *fault.Points
	role     string

	mu       sync.Mutex
	answers  map[string]func(q, a proto.Message) error
	seen     map[string]int
	last     map[string]proto.Message
	admitted []string
	stopped  bool
}

func newServer(t testing.TB, role, service string, methods map[string]port.Method) *server {
	t.Helper()
	s := &server{
		t: t, role: role, answers: map[string]func(q, a proto.Message) error{}, seen: map[string]int{}, last: map[string]proto.Message{},
	}
	var names []string
	wrapped := map[string]port.Method{}
	for name, m := range methods {
		names = append(names, port.PointName(name))
		wrapped[name] = port.Method{Request: m.Request, Answer: m.Answer, Run: func(_ context.Context, _ *port.Call, q, a proto.Message) error {
			s.mu.Lock()
			s.seen[name]++
			s.last[name] = proto.Clone(q)
			answer := s.answers[name]
			s.mu.Unlock()
			if answer == nil {
				t.Errorf("%s: nobody answers %s", s.endpoint, name)
				return port.ErrSilent
			}
			return answer(q, a)
		}}
	}
	s.points = fault.NewPoints(fault.OfCalls(role, names)...)
	var err error
	s.port, err = port.Listen(port.Config{
		Address: "127.0.0.1:0", Services: []port.Service{{Name: service, Methods: wrapped}}, Gate: &s.gate, Points: s.points, Role: role,
		Admit: func(credential string) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.admitted = append(s.admitted, credential)
			return credential != "unobody:1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = s.port.Address()
	s.port.Start()
	t.Cleanup(s.stop)
	return s
}

// stop ends the server as its death would.
func (s *server) stop() {
	s.mu.Lock()
	stopped := s.stopped
	s.stopped = true
	s.mu.Unlock()
	if !stopped {
		s.gate.Resume()
		if err := s.port.Abort(); err != nil {
			s.t.Error(err)
		}
	}
}

// dies stops the server and returns when the driver has seen the end of its connection: before that it may still send a
// change, and cannot know what became of it.
func (s *server) dies(d *Driver) {
	s.t.Helper()
	s.stop()
	known := d.pool.Known(s.endpoint)
	if known == nil {
		s.t.Fatalf("the driver has no connection to %s", s.endpoint)
	}
	select {
	case <-known.Ended():
	case <-time.After(20 * time.Second):
		s.t.Fatalf("the connection to %s does not end", s.endpoint)
	}
}

func (s *server) calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

// lose makes the next n calls of a method fail at a point.
func (s *server) lose(where, name string, n int) {
	s.t.Helper()
	if err := s.points.Arm(fault.CallPoint(s.role, where, port.PointName(name)), n); err != nil {
		s.t.Fatal(err)
	}
}

// request is the last one of a method.
func request[Q proto.Message](s *server, name string) Q {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.last[name].(Q)
	if !ok {
		s.t.Fatalf("%s: the last request of %s is a %T", s.endpoint, name, s.last[name])
	}
	return q
}

// answering sets what a method answers.
func answering[Q, A proto.Message](s *server, name string, f func(q Q, a A)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = func(q, a proto.Message) error {
		f(q.(Q), a.(A))
		return nil
	}
}

// refusing makes a method answer a code.
func (s *server) refusing(name string, code int32, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = func(_, a proto.Message) error {
		refuse(a, code, text)
		return nil
	}
}

func (s *server) failing(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = func(_, _ proto.Message) error { return err }
}

// refuse fills in code and msg of any answer.
func refuse(a proto.Message, code int32, text string) {
	m := a.ProtoReflect()
	fields := m.Descriptor().Fields()
	for name, value := range map[string]any{"code": code, "msg": text} {
		f := fields.ByName(protoName(name))
		m.Set(f, protoValue(value))
	}
}

func on[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}]() port.Method {
	return port.Method{Request: func() proto.Message { return PQ(new(Q)) }, Answer: func() proto.Message { return PA(new(A)) }}
}

// nameserverMethods are all that a driver calls.
func nameserverMethods() map[string]port.Method {
	general := map[string]port.Method{
		"ConfSet": on[ns.ConfSetRequest, ns.GeneralResponse](), "OfflineEndpoint": on[ns.OfflineEndpointRequest, ns.GeneralResponse](),
		"RecoverEndpoint": on[ns.RecoverEndpointRequest, ns.GeneralResponse](), "RecoverTable": on[ns.RecoverTableRequest, ns.GeneralResponse](),
		"ChangeLeader": on[ns.ChangeLeaderRequest, ns.GeneralResponse](), "CancelOP": on[ns.CancelOPRequest, ns.GeneralResponse](),
		"DeleteOP": on[ns.DeleteOPRequest, ns.GeneralResponse](), "MakeSnapshotNS": on[ns.MakeSnapshotNSRequest, ns.GeneralResponse](),
		"AddReplicaNS": on[ns.AddReplicaNSRequest, ns.GeneralResponse](), "DelReplicaNS": on[ns.DelReplicaNSRequest, ns.GeneralResponse](),
		"Migrate": on[ns.MigrateRequest, ns.GeneralResponse](), "UpdateTableAliveStatus": on[ns.UpdateTableAliveRequest, ns.GeneralResponse](),
		"SetTablePartition": on[ns.SetTablePartitionRequest, ns.GeneralResponse](), "CreateTable": on[ns.CreateTableRequest, ns.GeneralResponse](),
		"DropTable": on[ns.DropTableRequest, ns.GeneralResponse](), "TruncateTable": on[ns.TruncateTableRequest, ns.TruncateTableResponse](),
		"AddTableField": on[ns.AddTableFieldRequest, ns.GeneralResponse](), "UpdateTTL": on[ns.UpdateTTLRequest, ns.UpdateTTLResponse](),
		"AddIndex": on[ns.AddIndexRequest, ns.GeneralResponse](), "DeleteIndex": on[ns.DeleteIndexRequest, ns.GeneralResponse](),
		"CreateDatabase": on[ns.CreateDatabaseRequest, ns.GeneralResponse](), "UseDatabase": on[ns.UseDatabaseRequest, ns.GeneralResponse](),
		"DropDatabase": on[ns.DropDatabaseRequest, ns.GeneralResponse](), "SetSdkEndpoint": on[ns.SetSdkEndpointRequest, ns.GeneralResponse](),
		"ConnectZK": on[ns.ConnectZKRequest, ns.GeneralResponse](), "DisConnectZK": on[ns.DisConnectZKRequest, ns.GeneralResponse](),
		"SwitchMode": on[ns.SwitchModeRequest, ns.GeneralResponse](), "AddReplicaCluster": on[ns.ClusterAddress, ns.GeneralResponse](),
		"RemoveReplicaCluster": on[ns.RemoveReplicaOfRequest, ns.GeneralResponse](), "SyncTable": on[ns.SyncTableRequest, ns.GeneralResponse](),
	}
	maps.Copy(general, map[string]port.Method{
		"ConfGet": on[ns.ConfGetRequest, ns.ConfGetResponse](), "ShowTablet": on[ns.ShowTabletRequest, ns.ShowTabletResponse](),
		"ShowTable": on[ns.ShowTableRequest, ns.ShowTableResponse](), "ShowOPStatus": on[ns.ShowOPStatusRequest, ns.ShowOPStatusResponse](),
		"GetTablePartition": on[ns.GetTablePartitionRequest, ns.GetTablePartitionResponse](),
		"ShowDatabase":      on[ns.GeneralRequest, ns.ShowDatabaseResponse](), "ShowCatalog": on[ns.ShowCatalogRequest, ns.ShowCatalogResponse](),
		"ShowSdkEndpoint":    on[ns.ShowSdkEndpointRequest, ns.ShowSdkEndpointResponse](),
		"ShowReplicaCluster": on[ns.GeneralRequest, ns.ShowReplicaClusterResponse](),
	})
	return general
}

func tabletMethods() map[string]port.Method {
	return map[string]port.Method{
		"Put": on[api.PutRequest, api.PutResponse](), "Get": on[api.GetRequest, api.GetResponse](), "Scan": on[api.ScanRequest, api.ScanResponse](),
		"Traverse": on[api.TraverseRequest, api.TraverseResponse](), "Count": on[api.CountRequest, api.CountResponse](),
		"Delete": on[api.DeleteRequest, api.GeneralResponse](), "LoadTable": on[api.LoadTableRequest, api.GeneralResponse](),
		"DropTable": on[api.DropTableRequest, api.DropTableResponse](), "GetTableStatus": on[api.GetTableStatusRequest, api.GetTableStatusResponse](),
		"GetTableSchema":   on[api.GetTableSchemaRequest, api.GetTableSchemaResponse](),
		"GetTableFollower": on[api.GetTableFollowerRequest, api.GetTableFollowerResponse](), "ChangeRole": on[api.ChangeRoleRequest, api.ChangeRoleResponse](),
		"AddReplica": on[api.ReplicaRequest, api.AddReplicaResponse](), "DelReplica": on[api.ReplicaRequest, api.GeneralResponse](),
		"MakeSnapshot": on[api.GeneralRequest, api.GeneralResponse](), "PauseSnapshot": on[api.GeneralRequest, api.GeneralResponse](),
		"RecoverSnapshot": on[api.GeneralRequest, api.GeneralResponse](), "SendSnapshot": on[api.SendSnapshotRequest, api.GeneralResponse](),
		"GetTermPair": on[api.GetTermPairRequest, api.GetTermPairResponse](), "GetManifest": on[api.GetManifestRequest, api.GetManifestResponse](),
		"GetTaskStatus": on[api.TaskStatusRequest, api.TaskStatusResponse](), "SetExpire": on[api.SetExpireRequest, api.GeneralResponse](),
		"UpdateTTL": on[api.UpdateTTLRequest, api.UpdateTTLResponse](), "DeleteIndex": on[api.DeleteIndexRequest, api.GeneralResponse](),
		"ConnectZK": on[api.EmptyRequest, api.GeneralResponse](), "DisConnectZK": on[api.EmptyRequest, api.GeneralResponse](),
	}
}

// newNameserver answers every change with "ok", and every question with nothing.
func newNameserver(t testing.TB) *server {
	s := newServer(t, "ns", nameserver.wire, nameserverMethods())
	for name := range nameserverMethods() {
		s.refusing(name, 0, "ok")
	}
	answering(s, "ConfGet", func(_ *ns.ConfGetRequest, a *ns.ConfGetResponse) {
		a.Code = proto.Int32(0)
		a.Conf = []*ns.Pair{{Key: proto.String("auto_failover"), Value: proto.String("true")}}
	})
	return s
}

// standby refuses every call.
func standby(t testing.TB) *server {
	s := newServer(t, "ns", nameserver.wire, nameserverMethods())
	s.stepDown()
	return s
}

func (s *server) stepDown() {
	for name := range nameserverMethods() {
		s.refusing(name, codeNotLeader, "nameserver is not leader")
	}
}

func newTablet(t testing.TB) *server {
	s := newServer(t, "tablet", tablet.wire, tabletMethods())
	for name := range tabletMethods() {
		s.refusing(name, 0, "")
	}
	return s
}

// entry is a row under one key of one partition.
// box is a nameserver and tablets that hold one table, flow, each partition led by another one. Rows are kept for each
// partition and index, as tablets do.
// flowInfo describes the table flow: card, mcc, amount, at; found by card in the order of at, and by mcc.
// change changes what the nameserver has of the table.
// leads says whether a tablet leads a partition, to the nameserver.
// at finds the rows of an index; the lock is held.
// under lists the rows of a key, the newest first; the lock is held.
// open makes a driver for nameservers; it is closed with the test.
func open(t testing.TB, timeout time.Duration, nameservers ...*server) *Driver {
	t.Helper()
	return openWith(t, cluster.Options{Timeout: func() time.Duration { return timeout }}, nameservers...)
}

func openWith(t testing.TB, o cluster.Options, nameservers ...*server) *Driver {
	t.Helper()
	var list []string
	for _, s := range nameservers {
		list = append(list, s.endpoint)
	}
	return openAt(t, o, schemeNS+strings.Join(list, ","))
}

func openAt(t testing.TB, o cluster.Options, address string) *Driver {
	t.Helper()
	d, err := New(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func protoName(name string) protoreflect.Name { return protoreflect.Name(name) }

func protoValue(v any) protoreflect.Value { return protoreflect.ValueOf(v) }
