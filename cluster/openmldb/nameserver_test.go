package openmldb

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/commands/spec"
)

// Every change sends the request it stands for.
func TestChanges(t *testing.T) {
	b := newBox(t, 2)
	answering(b.ns, "GetTablePartition", func(q *ns.GetTablePartitionRequest, a *ns.GetTablePartitionResponse) {
		a.TablePartition = &ns.TablePartition{
			Pid: q.Pid, RecordCnt: proto.Uint64(7), RemotePartitionMeta: []*ns.PartitionMeta{{
				Endpoint: proto.String("far:1"), IsLeader: proto.Bool(false), Alias: proto.String("west"),
			}},
		}
	})
	d := open(t, 20*time.Second, b.ns)
	flow := TableName{DB: "db", Name: "flow"}
	db, name := proto.String("db"), proto.String("flow")
	one, two := uint32(1), []uint32{0, 1}
	for _, tt := range []struct {
		method string
		do     func(ctx context.Context) error
		want   proto.Message
	}{
		{"ConfSet", func(ctx context.Context) error { return d.SetConf(ctx, "auto_failover", "false") }, &ns.ConfSetRequest{
			Conf: &ns.Pair{Key: proto.String("auto_failover"), Value: proto.String("false")},
		}},
		{"OfflineEndpoint", func(ctx context.Context) error { return d.OfflineEndpoint(ctx, "a:1", 0) }, &ns.OfflineEndpointRequest{Endpoint: proto.String("a:1")}},
		{"OfflineEndpoint", func(ctx context.Context) error { return d.OfflineEndpoint(ctx, "a:1", 8) }, &ns.OfflineEndpointRequest{
			Endpoint: proto.String("a:1"), Concurrency: proto.Uint32(8),
		}},
		{"RecoverEndpoint", func(ctx context.Context) error { return d.RecoverEndpoint(ctx, "a:1", true, 3) }, &ns.RecoverEndpointRequest{
			Endpoint: proto.String("a:1"), NeedRestore: proto.Bool(true), Concurrency: proto.Uint32(3),
		}},
		{"RecoverTable", func(ctx context.Context) error { return d.RecoverTable(ctx, flow, 1, "a:1") }, &ns.RecoverTableRequest{
			Name: name, Db: db, Pid: &one, Endpoint: proto.String("a:1"),
		}},
		{"ChangeLeader", func(ctx context.Context) error { return d.ChangeLeader(ctx, flow, 1, "") }, &ns.ChangeLeaderRequest{Name: name, Db: db, Pid: &one}},
		{"ChangeLeader", func(ctx context.Context) error { return d.ChangeLeader(ctx, flow, 1, AnyCandidate) }, &ns.ChangeLeaderRequest{
			Name: name, Db: db, Pid: &one, CandidateLeader: proto.String("auto"),
		}},
		{"UpdateTableAliveStatus", func(ctx context.Context) error { return d.UpdateTableAlive(ctx, flow, -1, "a:1", false) }, &ns.UpdateTableAliveRequest{
			Name: name, Db: db, Endpoint: proto.String("a:1"), IsAlive: proto.Bool(false),
		}},
		{"UpdateTableAliveStatus", func(ctx context.Context) error { return d.UpdateTableAlive(ctx, flow, 0, "a:1", true) }, &ns.UpdateTableAliveRequest{
			Name: name, Db: db, Pid: proto.Uint32(0), Endpoint: proto.String("a:1"), IsAlive: proto.Bool(true),
		}},
		{"Migrate", func(ctx context.Context) error { return d.Migrate(ctx, flow, two, "a:1", "b:1") }, &ns.MigrateRequest{
			Name: name, Db: db, Pid: two, SrcEndpoint: proto.String("a:1"), DesEndpoint: proto.String("b:1"),
		}},
		{"AddReplicaNS", func(ctx context.Context) error { return d.AddReplica(ctx, flow, two, "a:1") }, &ns.AddReplicaNSRequest{
			Name: name, Db: db, Pid: proto.Uint32(0), PidGroup: two, Endpoint: proto.String("a:1"),
		}},
		{"DelReplicaNS", func(ctx context.Context) error { return d.DelReplica(ctx, flow, two[1:], "a:1") }, &ns.DelReplicaNSRequest{
			Name: name, Db: db, Pid: &one, Endpoint: proto.String("a:1"),
		}},
		{"MakeSnapshotNS", func(ctx context.Context) error { return d.MakeSnapshot(ctx, flow, 1, 99) }, &ns.MakeSnapshotNSRequest{
			Name: name, Db: db, Pid: &one, Offset: proto.Uint64(99),
		}},
		{"SetTablePartition", func(ctx context.Context) error {
			return d.SetPartition(ctx, flow, Partition{ID: 1, Replicas: []Replica{{Endpoint: "a:1", Leader: true, Alive: true}}, Terms: []TermOffset{{3, 4}}})
		}, &ns.SetTablePartitionRequest{Name: name, Db: db, TablePartition: &ns.TablePartition{
			Pid: &one, RecordCnt: proto.Uint64(7), TermOffset: []*ns.TermPair{{Term: proto.Uint64(3), Offset: proto.Uint64(4)}},
			PartitionMeta: []*ns.PartitionMeta{{
				Endpoint: proto.String("a:1"), IsLeader: proto.Bool(true), IsAlive: proto.Bool(true), TabletHasPartition: proto.Bool(false),
			}},
			RemotePartitionMeta: []*ns.PartitionMeta{{Endpoint: proto.String("far:1"), IsLeader: proto.Bool(false), Alias: proto.String("west")}},
		}}},
		{"CancelOP", func(ctx context.Context) error { return d.CancelOp(ctx, 5) }, &ns.CancelOPRequest{OpId: proto.Uint64(5)}},
		{"DeleteOP", func(ctx context.Context) error { return d.DeleteOp(ctx, 5) }, &ns.DeleteOPRequest{OpId: proto.Uint64(5)}},
		{"DeleteOP", func(ctx context.Context) error { return d.DeleteOps(ctx, "", "kFailed") }, &ns.DeleteOPRequest{Status: api.TaskStatus_kFailed.Enum()}},
		{"DropTable", func(ctx context.Context) error { return d.Drop(ctx, flow) }, &ns.DropTableRequest{Name: name, Db: db}},
		{"TruncateTable", func(ctx context.Context) error { return d.Truncate(ctx, flow) }, &ns.TruncateTableRequest{Name: name, Db: db}},
		{"UpdateTTL", func(ctx context.Context) error {
			return d.SetTTL(ctx, flow, "card", TTL{Type: "kAbsAndLat", Minutes: 5, Versions: 6})
		}, &ns.UpdateTTLRequest{Name: name, Db: db, IndexName: proto.String("card"), TtlDesc: &common.TTLSt{
			TtlType: types.TTLType_kAbsAndLat.Enum(), AbsTtl: proto.Uint64(5), LatTtl: proto.Uint64(6),
		}}},
		{"AddTableField", func(ctx context.Context) error {
			return d.AddColumn(ctx, flow, Column{Name: "c", Type: "int32", Default: "1"})
		}, &ns.AddTableFieldRequest{Name: name, Db: db, ColumnDesc: &common.ColumnDesc{
			Name: proto.String("c"), DataType: types.DataType_kInt.Enum(), NotNull: proto.Bool(false), DefaultValue: proto.String("1"),
		}}},
		{"AddIndex", func(ctx context.Context) error {
			return d.AddIndex(ctx, flow, Index{Name: "i", Columns: []string{"a", "b"}, TimeColumn: "at"})
		}, &ns.AddIndexRequest{Name: name, Db: db, ColumnKey: &common.ColumnKey{
			IndexName: proto.String("i"), ColName: []string{"a", "b"}, TsName: proto.String("at"),
			Ttl: &common.TTLSt{TtlType: types.TTLType_kAbsoluteTime.Enum(), AbsTtl: proto.Uint64(0), LatTtl: proto.Uint64(0)},
		}}},
		{"DeleteIndex", func(ctx context.Context) error { return d.DeleteIndex(ctx, flow, "i") }, &ns.DeleteIndexRequest{
			TableName: name, DbName: db, IdxName: proto.String("i"),
		}},
		{"CreateDatabase", func(ctx context.Context) error { return d.CreateDatabase(ctx, "db", true) }, &ns.CreateDatabaseRequest{Db: db, IfNotExists: proto.Bool(true)}},
		{"DropDatabase", func(ctx context.Context) error { return d.DropDatabase(ctx, "db") }, &ns.DropDatabaseRequest{Db: db}},
		{"SetSdkEndpoint", func(ctx context.Context) error { return d.SetSDKEndpoint(ctx, "tb1", "") }, &ns.SetSdkEndpointRequest{
			ServerName: proto.String("tb1"), SdkEndpoint: proto.String("null"),
		}},
		{"SwitchMode", func(ctx context.Context) error { return d.SwitchMode(ctx, "leader") }, &ns.SwitchModeRequest{Sm: ns.ServerMode_kLEADER.Enum()}},
		{"AddReplicaCluster", func(ctx context.Context) error {
			return d.AddReplicaCluster(ctx, ReplicaCluster{Alias: "west", ZK: "h:1", Root: "/r"})
		}, &ns.ClusterAddress{ZkEndpoints: proto.String("h:1"), ZkPath: proto.String("/r"), Alias: proto.String("west")}},
		{"RemoveReplicaCluster", func(ctx context.Context) error { return d.RemoveReplicaCluster(ctx, "west") }, &ns.RemoveReplicaOfRequest{Alias: proto.String("west")}},
		{"SyncTable", func(ctx context.Context) error { return d.SyncTable(ctx, flow, "west", 1) }, &ns.SyncTableRequest{
			Name: name, Db: db, ClusterAlias: proto.String("west"), Pid: &one,
		}},
		{"ConnectZK", d.ConnectZK, &ns.ConnectZKRequest{}},
		{"DisConnectZK", d.DisconnectZK, &ns.DisConnectZKRequest{}},
	} {
		before := b.ns.calls(tt.method)
		if err := tt.do(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.method, err)
			continue
		}
		if n := b.ns.calls(tt.method) - before; n != 1 {
			t.Errorf("%s: sent %d times", tt.method, n)
		}
		b.ns.mu.Lock()
		got := b.ns.last[tt.method]
		b.ns.mu.Unlock()
		if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", tt.method, diff)
		}
		// A refusal is told with its number, and what was attempted.
		b.ns.refusing(tt.method, 301, "auto_failover is enabled")
		wantError(t, tt.do(t.Context()), spec.Failed, "301 auto_failover is enabled", b.ns.endpoint)
		b.ns.refusing(tt.method, 0, "ok")
	}
}

// Nothing is sent for what cannot be meant.
func TestUsage(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, 20*time.Second, b.ns)
	ctx, flow := t.Context(), TableName{Name: "flow"}
	for name, err := range map[string]error{
		"setting without a value": d.SetConf(ctx, "auto_failover", ""),
		"no partitions to add":    d.AddReplica(ctx, flow, nil, "a:1"),
		"no partitions to delete": d.DelReplica(ctx, flow, nil, "a:1"),
		"no partitions to move":   d.Migrate(ctx, flow, nil, "a:1", "b:1"),
		"running operations":      d.DeleteOps(ctx, "", "kDoing"),
		"unknown status":          d.DeleteOps(ctx, "", "what"),
		"mode":                    d.SwitchMode(ctx, "follower"),
		"no leader":               d.SetPartition(ctx, flow, Partition{Replicas: []Replica{{Endpoint: "a:1"}}}),
		"twice":                   d.SetPartition(ctx, flow, Partition{Replicas: []Replica{{Endpoint: "a:1", Leader: true}, {Endpoint: "a:1"}}}),
		"no server":               d.SetPartition(ctx, flow, Partition{Replicas: []Replica{{Endpoint: "a b", Leader: true}}}),
		"endpoint for clients":    d.SetSDKEndpoint(ctx, "tb1", "nonsense"),
		"TTL":                     d.SetTTL(ctx, flow, "", TTL{Type: "kNever"}),
		"column type":             d.AddColumn(ctx, flow, Column{Name: "c", Type: "blob"}),
		"index TTL":               d.AddIndex(ctx, flow, Index{Name: "i", TTL: TTL{Type: "x"}}),
		"database":                d.CreateDatabase(ctx, "", false),
		"table without columns":   d.Create(ctx, NewTable{TableName: flow}),
		"table without a name":    d.Create(ctx, NewTable{}),
		"table of storage":        d.Create(ctx, NewTable{TableName: flow, Columns: []Column{{Name: "a", Type: "int"}}, Storage: "kTape"}),
		"table of compression":    d.Create(ctx, NewTable{TableName: flow, Columns: []Column{{Name: "a", Type: "int"}}, Compress: "zip"}),
		"tablet":                  d.TabletDropTable(ctx, "a b", 1, 1),
		"storage":                 d.TabletMakeSnapshot(ctx, "a:1", 1, 1, 0, "kTape"),
		"drop and keep":           d.DropTable(ctx, "flow", time.Hour),
	} {
		if spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"ConfSet", "AddReplicaNS", "SetTablePartition", "CreateTable", "GetTablePartition", "DropTable"} {
		if n := b.ns.calls(name); n != 0 {
			t.Errorf("%s was sent", name)
		}
	}
}

func TestQuestions(t *testing.T) {
	b := newBox(t, 2)
	answering(b.ns, "ShowDatabase", func(_ *ns.GeneralRequest, a *ns.ShowDatabaseResponse) { a.Db = []string{"a", "b"} })
	answering(b.ns, "ShowCatalog", func(_ *ns.ShowCatalogRequest, a *ns.ShowCatalogResponse) {
		a.Catalog = []*common.CatalogInfo{{Version: proto.Uint64(3), Endpoint: proto.String("a:1")}}
	})
	answering(b.ns, "ShowSdkEndpoint", func(_ *ns.ShowSdkEndpointRequest, a *ns.ShowSdkEndpointResponse) {
		a.Tablets = []*ns.TabletStatus{{Endpoint: proto.String("tb1"), RealEndpoint: proto.String("1.2.3.4:5")}}
	})
	answering(b.ns, "ShowReplicaCluster", func(_ *ns.GeneralRequest, a *ns.ShowReplicaClusterResponse) {
		a.Replicas = []*ns.ClusterAddAge{{
			Replica: &ns.ClusterAddress{ZkEndpoints: proto.String("h:1"), ZkPath: proto.String("/r"), Alias: proto.String("west")},
			Age:     proto.Uint64(1000), State: proto.String("kClusterHealthy"),
		}}
	})
	b.ns.refusing("UseDatabase", 802, "database not found")
	other := standby(t)
	d := open(t, 20*time.Second, other, b.ns)
	ctx := t.Context()
	check := func(what string, got, want any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", what, err, diff)
		}
	}
	dbs, err := d.Databases(ctx)
	check("databases", dbs, []string{"a", "b"}, err)
	versions, err := d.CatalogVersions(ctx)
	check("catalogue", versions, []CatalogVersion{{"a:1", 3}}, err)
	clients, err := d.SDKEndpoints(ctx)
	check("clients", clients, []SDKEndpoint{{"tb1", "1.2.3.4:5"}}, err)
	clusters, err := d.ReplicaClusters(ctx)
	check("clusters", clusters, []ReplicaCluster{{Alias: "west", ZK: "h:1", Root: "/r", State: "kClusterHealthy", Age: time.Second}}, err)
	servers, err := d.Nameservers(ctx)
	check("nameservers", servers, []Nameserver{{other.endpoint, "", "standby"}, {b.ns.endpoint, "", "leader"}}, err)
	on, err := d.AutoFailover(ctx)
	check("auto_failover", on, true, err)
	wantError(t, d.UseDatabase(ctx, "x"), spec.NotFound, "802 database not found", "showdb")
	other.stop()
	servers, err = d.Nameservers(ctx)
	check("nameservers", servers, []Nameserver{{other.endpoint, "", "unreachable"}, {b.ns.endpoint, "", "leader"}}, err)

	answering(b.ns, "ConfGet", func(_ *ns.ConfGetRequest, a *ns.ConfGetResponse) {
		a.Code, a.Conf = proto.Int32(0), []*ns.Pair{{Key: proto.String("auto_failover"), Value: proto.String("FALSE")}}
	})
	info, err := d.Info(ctx)
	check("info", info, cluster.Info{
		System: "openmldb", Leader: b.ns.endpoint, Metadata: []string{other.endpoint, b.ns.endpoint},
		Settings: []cluster.Setting{{Key: "auto_failover", Value: "FALSE"}}, State: []string{"auto_failover off"},
	}, err)
	b.ns.refusing("ConfGet", 0, "ok")
	_, err = d.AutoFailover(ctx)
	wantError(t, err, spec.Failed, "makes no sense", b.ns.endpoint)
}

// States are read in the words of every release; a name that cannot be one is refused.
func TestTablets(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		for endpoint, state := range map[string]string{"h:3": "kTabletOffline", "h:1": "kTabletHealthy", "h:2": "kHealthy", "h:4": "kOffline"} {
			a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: &endpoint, State: &state, Age: proto.Uint64(1<<64 - 1), RealEndpoint: proto.String("-")})
		}
	})
	nodes, err := d.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	age := time.Duration(1<<63-1) / time.Millisecond * time.Millisecond
	want := []cluster.Node{
		{Endpoint: "h:1", Alive: true, State: "kTabletHealthy", Age: &age},
		{Endpoint: "h:2", Alive: true, State: "kHealthy", Age: &age},
		{Endpoint: "h:3", State: "kTabletOffline", Age: &age},
		{Endpoint: "h:4", State: "kOffline", Age: &age},
	}
	if diff := cmp.Diff(want, nodes); diff != "" {
		t.Error(diff)
	}
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		a.Tablets = []*ns.TabletStatus{{Endpoint: proto.String("h\x1b:1")}}
	})
	_, err = d.Nodes(t.Context())
	wantError(t, err, spec.Failed, "makes no sense", b.ns.endpoint)
}
