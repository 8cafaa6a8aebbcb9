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
		{Endpoint: "h:1", Alive: true, State: "kTabletHealthy", Age: &age}, {Endpoint: "h:2", Alive: true, State: "kHealthy", Age: &age},
		{Endpoint: "h:3", State: "kTabletOffline", Age: &age}, {Endpoint: "h:4", State: "kOffline", Age: &age},
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

func TestDescribe(t *testing.T) {
	b := newBox(t, 2)
	b.change(func(info *ns.TableInfo) {
		info.AddedColumnDesc = []*common.ColumnDesc{{Name: proto.String("note"), DataType: types.DataType_kVarchar.Enum(), NotNull: proto.Bool(true), DefaultValue: proto.String("x")}}
		info.SchemaVersions = []*common.VersionPair{{Id: proto.Int32(2), FieldCount: proto.Int32(5)}, {Id: proto.Int32(900), FieldCount: proto.Int32(5)}}
		info.ColumnKey[0].Flag = proto.Uint32(1)
		info.TablePartition[0], info.TablePartition[1] = info.TablePartition[1], info.TablePartition[0]
		info.TablePartition[0].PartitionMeta = info.TablePartition[0].PartitionMeta[:1]
		info.TablePartition[0].PartitionMeta[0] = &ns.PartitionMeta{Endpoint: proto.String("h:1"), IsLeader: proto.Bool(true)}
	})
	d := open(t, 20*time.Second, b.ns)
	got, err := d.Describe(t.Context(), TableName{Name: "flow"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Parts) != 2 || got.Parts[0].ID != 0 || got.Partitions != 2 || got.Replicas != 3 || got.Compress != "kNoCompress" || got.Storage != "kMemory" {
		t.Errorf("%+v", got)
	}
	wantColumns := []Column{{Name: "card", Type: "string"}, {Name: "mcc", Type: "string"}, {Name: "amount", Type: "double"}, {Name: "at", Type: "timestamp"}, {Name: "note", Type: "varchar", Default: "x", NotNull: true}}
	if diff := cmp.Diff(wantColumns, got.Columns); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[uint8]int{1: 4, 2: 5}, got.Schema.Versions); diff != "" || got.Schema.Version != 2 {
		t.Error(diff, got.Schema.Version)
	}
	if diff := cmp.Diff([]Index{{Name: "mcc", Columns: []string{"mcc"}, TTL: TTL{Type: "kAbsoluteTime"}, Place: 1}}, got.Indexes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Replica{{Endpoint: "h:1", Leader: true, Alive: true, Present: true}}, got.Parts[1].Replicas); diff != "" {
		t.Error(diff)
	}
	_, err = d.Describe(t.Context(), TableName{DB: "db", Name: "flow"})
	wantError(t, err, spec.NotFound, "db/flow", "showtable")
	b.change(func(info *ns.TableInfo) { info.TablePartition[1].Pid = proto.Uint32(9) })
	_, err = d.Describe(t.Context(), TableName{Name: "flow"})
	wantError(t, err, spec.Failed, "makes no sense", b.ns.endpoint)
}

func TestFind(t *testing.T) {
	b := newBox(t, 1)
	answering(b.ns, "ShowTable", func(q *ns.ShowTableRequest, a *ns.ShowTableResponse) {
		a.Code = proto.Int32(0)
		for i, n := range []TableName{{"", "t"}, {"a", "t"}, {"b", "only"}, {"a", "two"}, {"b", "two"}, {"", "odd/name"}} {
			a.TableInfo = append(a.TableInfo, &ns.TableInfo{Tid: proto.Uint32(uint32(20 - i)), Name: &n.Name, Db: &n.DB})
		}
	})
	d := open(t, 20*time.Second, b.ns)
	for _, tt := range []struct {
		text, db string
		want     TableName
	}{
		{"t", "", TableName{"", "t"}},
		{"t", "a", TableName{"a", "t"}},
		{"t", "b", TableName{"", "t"}},
		{"a/t", "", TableName{"a", "t"}},
		{"only", "", TableName{"b", "only"}},
		{"only", "a", TableName{"b", "only"}},
		{"two", "a", TableName{"a", "two"}},
		{"odd/name", "", TableName{"", "odd/name"}},
	} {
		if got, err := d.Find(t.Context(), tt.text, tt.db); err != nil || got != tt.want {
			t.Errorf("Find(%s, %s) = %v, %v", tt.text, tt.db, got, err)
		}
	}
	_, err := d.Find(t.Context(), "two", "")
	wantError(t, err, spec.Usage, "b/two, a/two")
	_, err = d.Find(t.Context(), "a/only", "")
	wantError(t, err, spec.NotFound, "a/only")
	tables, err := d.Tables(t.Context())
	if err != nil || tables[0].ID != 15 || tables[0].Name != "odd/name" || tables[5].FullName() != "t" || tables[4].FullName() != "a/t" {
		t.Errorf("%+v %v", tables, err)
	}
}

func TestCreate(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	id, err := d.CreateTable(t.Context(), cluster.NewTable{Name: "flow", Partitions: 4, Replicas: 2, Settings: map[string]string{
		"columns": "card:string,at:timestamp", "index": "card:at,card|at", "ttl": "latest:3", "storage": "kSSD", "compress": "kSnappy",
	}})
	if err != nil || id != flowID {
		t.Fatal(id, err)
	}
	ttl := &common.TTLSt{TtlType: types.TTLType_kLatestTime.Enum(), AbsTtl: proto.Uint64(0), LatTtl: proto.Uint64(3)}
	want := &ns.CreateTableRequest{CreateIfNotExist: proto.Bool(false), TableInfo: &ns.TableInfo{
		Name: proto.String("flow"), Db: proto.String(""), PartitionNum: proto.Uint32(4), ReplicaNum: proto.Uint32(2),
		StorageMode: common.StorageMode_kSSD.Enum(), CompressType: types.CompressType_kSnappy.Enum(),
		ColumnDesc: []*common.ColumnDesc{
			{Name: proto.String("card"), DataType: types.DataType_kString.Enum(), NotNull: proto.Bool(false)},
			{Name: proto.String("at"), DataType: types.DataType_kTimestamp.Enum(), NotNull: proto.Bool(false)},
		},
		ColumnKey: []*common.ColumnKey{
			{IndexName: proto.String("card"), ColName: []string{"card"}, TsName: proto.String("at"), Ttl: ttl},
			{IndexName: proto.String("card|at"), ColName: []string{"card", "at"}, Ttl: ttl},
		},
	}}
	if diff := cmp.Diff(want, request[*ns.CreateTableRequest](b.ns, "CreateTable"), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for _, settings := range []map[string]string{
		nil, {"columns": "a"}, {"columns": "a:blob"}, {"columns": "a:int", "x": "y"}, {"columns": "a:int", "ttl": "soon"},
	} {
		_, err := d.CreateTable(t.Context(), cluster.NewTable{Name: "x", Settings: settings})
		wantError(t, err, spec.Usage)
	}
	b.ns.refusing("CreateTable", 101, "table already exists")
	_, err = d.CreateTable(t.Context(), cluster.NewTable{Name: "flow", Settings: map[string]string{"columns": "a:int"}})
	wantError(t, err, spec.Failed, "101 table already exists")
	if err := d.DropTable(t.Context(), "flow", 0); err != nil {
		t.Error(err)
	}
	wantError(t, d.DropTable(t.Context(), "nope", 0), spec.NotFound, "nope")
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]TTL{
		"0": {Type: "kAbsoluteTime"}, "144000": {Type: "kAbsoluteTime", Minutes: 144000}, "absolute:5": {Type: "kAbsoluteTime", Minutes: 5},
		"latest:10": {Type: "kLatestTime", Versions: 10}, "absandlat:1:2": {Type: "kAbsAndLat", Minutes: 1, Versions: 2},
		"absorlat:1:2": {Type: "kAbsOrLat", Minutes: 1, Versions: 2},
	} {
		if got, err := ParseTTL(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-1", "latest", "latest:", "latest:1:2", "absandlat:1", "never:1", "1:2"} {
		_, err := ParseTTL(bad)
		wantError(t, err, spec.Usage, "latest:VERSIONS")
	}
	for want, ttl := range map[string]TTL{"5min": {Minutes: 5}, "7": {Type: "kLatestTime", Versions: 7}, "1min&&2": {Type: "kAbsAndLat", Minutes: 1, Versions: 2}, "1min||2": {Type: "kAbsOrLat", Minutes: 1, Versions: 2}} {
		if got := ttl.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	n := uint64(12)
	p := Partition{ID: 3, Replicas: []Replica{{Endpoint: "a:1", Leader: true, Alive: true, Offset: &n, Present: true}, {Endpoint: "b:1"}}, Terms: []TermOffset{{1, 0}, {3, 55}}}
	text := FormatPartition(p)
	want := `pid: 3
partition_meta {
  endpoint: "a:1"
  is_leader: true
  is_alive: true
  offset: 12
}
partition_meta {
  endpoint: "b:1"
  is_leader: false
  is_alive: false
  tablet_has_partition: false
}
term_offset {
  term: 1
  offset: 0
}
term_offset {
  term: 3
  offset: 55
}
`
	if text != want {
		t.Error(cmp.Diff(want, text))
	}
	if got, err := ParsePartition(text); err != nil || cmp.Diff(p, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff(p, got))
	}
	for _, bad := range []string{"pid: x", "nonsense: 1", "partition_meta {}"} {
		_, err := ParsePartition(bad)
		wantError(t, err, spec.Usage, "text format")
	}
	table, err := ParseTableFile(`name: "t" db: "d" partition_num: 3 seg_cnt: 4 storage_mode: kHDD
		column_desc { name: "a" data_type: kString } column_key { index_name: "a" ttl { abs_ttl: 5 } }
		table_partition { pid: 0 partition_meta { endpoint: "a:1" is_leader: true } }`)
	wantTable := NewTable{
		TableName: TableName{"d", "t"}, Columns: []Column{{Name: "a", Type: "string"}}, Partitions: 3, Segments: 4, Storage: "kHDD",
		Indexes: []Index{{Name: "a", Columns: []string{"a"}, TTL: TTL{Type: "kAbsoluteTime", Minutes: 5}}},
		Parts:   []Partition{{Replicas: []Replica{{Endpoint: "a:1", Leader: true, Alive: true, Present: true}}}},
	}
	if diff := cmp.Diff(wantTable, table); err != nil || diff != "" {
		t.Error(err, diff)
	}
	_, err = ParseTableFile(`name: "t" schema_versions { id: 2 }`)
	wantError(t, err, spec.Usage)
}

func FuzzTableInfo(f *testing.F) {
	add := func(m *ns.TableInfo) {
		b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(flowInfo(2, "a:1", "b:1"))
	add(&ns.TableInfo{SchemaVersions: []*common.VersionPair{{Id: proto.Int32(-1), FieldCount: proto.Int32(-1)}}, PartitionNum: proto.Uint32(1<<32 - 1)})
	f.Fuzz(func(t *testing.T, b []byte) {
		info := &ns.TableInfo{}
		if proto.Unmarshal(b, info) != nil {
			return
		}
		table, err := tableOf(info)
		if err != nil {
			return
		}
		for i := range table.Parts {
			replicasOf(&table, &table.Parts[i], map[string]bool{})
		}
		_, _ = table.place("", Row{Values: make([]any, len(table.Columns))})
		_, _ = table.row("", "", 1, b)
		for range table.homes("k") {
			break
		}
	})
}

func FuzzOPInfo(f *testing.F) {
	for _, info := range []*api.OPInfo{
		opInfo(api.OPType_kMigrateOP, &ns.MigrateInfo{SrcEndpoint: proto.String("a:1"), DesEndpoint: proto.String("b:1")}),
		opInfo(api.OPType_kRecoverTableOP, &ns.RecoverTableData{Endpoint: proto.String("a:1")}),
		{OpId: proto.Uint64(1), OpType: api.OPType_kOfflineReplicaOP.Enum(), TaskIndex: proto.Uint32(0), Data: []byte("a:1")},
	} {
		b, err := proto.Marshal(info)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := traceOf(b)
		if err == nil && o.Endpoint != "" && notServer(o.Endpoint) != "" {
			t.Errorf("%q passes for a server", o.Endpoint)
		}
	})
}

func FuzzEndpoints(f *testing.F) {
	for _, text := range []string{"127.0.0.1:9527", "tb1", "[::1]:1", "", "a:0", "a b:1", "\xff:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if notEndpoint(text) == "" && notServer(text) != "" && len(text) <= maxName && text[0] != '[' {
			t.Errorf("%q is an endpoint and no server", text)
		}
		if _, err := parseAddress(schemeNS + text); err == nil && text == "" {
			t.Error("nothing is an address")
		}
		_, _ = parseAddress(schemeZK + text)
		if v := said(text); len(v) > maxText+len("…") {
			t.Errorf("%d bytes are said", len(v))
		}
	})
}

func opInfo(kind api.OPType, plan proto.Message) *api.OPInfo {
	data, err := proto.Marshal(plan)
	if err != nil {
		panic(err)
	}
	return &api.OPInfo{OpId: proto.Uint64(60), OpType: &kind, TaskIndex: proto.Uint32(2), Data: data}
}
