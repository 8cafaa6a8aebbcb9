package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
)

// newTable describes a small table.
func newTable(db, name string, partitions, replicas uint32) *ns.TableInfo {
	return table(db, name, partitions, replicas, []column{
		{"id", types.DataType_kBigInt}, {"text", types.DataType_kString}, {"at", types.DataType_kTimestamp},
	}, key("id", "at", "id"))
}

func create(db, name string, partitions, replicas uint32) *ns.CreateTableRequest {
	return &ns.CreateTableRequest{TableInfo: newTable(db, name, partitions, replicas)}
}

// What every call is refused with.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.autoFailover(false)
	at := func(i int) *string { return &c.tabletAt[i] }
	s, n := proto.String, proto.Uint32
	flow, none, nowhere := s("flow"), s("none"), s("127.0.0.1:1")
	leader := leaderAt(u.flow(), 0)
	conf := func(key, value string) *ns.ConfSetRequest {
		return &ns.ConfSetRequest{Conf: &ns.Pair{Key: &key, Value: &value}}
	}
	bad := func(how func(*ns.TableInfo)) *ns.CreateTableRequest {
		q := create("", "bad", 2, 2)
		how(q.TableInfo)
		return q
	}
	for i, tt := range []struct {
		code   int32
		text   string
		method string
		q      proto.Message
	}{
		{307, "invalid parameter", "ConfSet", conf("auto_failover", "maybe")},
		{307, "invalid parameter", "ConfSet", conf("other", "true")},
		{307, "invalid parameter", "ConfSet", conf("", "")},
		{302, "endpoint does not exist", "OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: nowhere}},
		{307, "concurrency", "OfflineEndpoint", &ns.OfflineEndpointRequest{Endpoint: at(0), Concurrency: n(9)}},
		{302, "endpoint does not exist", "RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: nowhere}},
		{307, "concurrency", "RecoverEndpoint", &ns.RecoverEndpointRequest{Endpoint: at(0), Concurrency: n(9)}},
		{302, "endpoint does not exist", "RecoverTable", &ns.RecoverTableRequest{Name: flow, Pid: n(0), Endpoint: nowhere}},
		{100, "table does not exist", "RecoverTable", &ns.RecoverTableRequest{Name: none, Pid: n(0), Endpoint: at(0)}},
		{308, "pid does not exist", "RecoverTable", &ns.RecoverTableRequest{Name: flow, Pid: n(2), Endpoint: at(0)}},
		{311, "table is alive, need not recover", "RecoverTable", &ns.RecoverTableRequest{Name: flow, Pid: n(0), Endpoint: at(0)}},
		{100, "table does not exist", "ChangeLeader", &ns.ChangeLeaderRequest{Name: none, Pid: n(0)}},
		{308, "pid does not exist", "ChangeLeader", &ns.ChangeLeaderRequest{Name: flow, Pid: n(2)}},
		{309, "leader is alive", "ChangeLeader", &ns.ChangeLeaderRequest{Name: flow, Pid: n(0)}},
		{305, "create op failed", "ChangeLeader", &ns.ChangeLeaderRequest{Name: flow, Pid: n(0), CandidateLeader: nowhere}},
		{305, "create op failed", "ChangeLeader", &ns.ChangeLeaderRequest{Name: flow, Pid: n(0), CandidateLeader: &leader}},
		{312, "op status is not kDoing or kInited", "CancelOP", &ns.CancelOPRequest{OpId: proto.Uint64(77)}},
		{136, "does not exist", "DeleteOP", &ns.DeleteOPRequest{OpId: proto.Uint64(77)}},
		{307, "cannot delete the Inited OP", "DeleteOP", &ns.DeleteOPRequest{Status: api.TaskStatus_kDoing.Enum()}},
		{100, "table does not exist", "MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: none, Pid: n(0)}},
		{305, "create op failed", "MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: flow, Pid: n(2)}},
		{303, "tablet is not healthy", "AddReplicaNS", &ns.AddReplicaNSRequest{Name: flow, Pid: n(0), Endpoint: nowhere}},
		{100, "table does not exist", "AddReplicaNS", &ns.AddReplicaNSRequest{Name: none, Pid: n(0), Endpoint: at(0)}},
		{307, "", "AddReplicaNS", &ns.AddReplicaNSRequest{Name: flow, Pid: n(2), Endpoint: at(0)}},
		{317, "pid 0 is exist in " + c.tabletAt[0], "AddReplicaNS", &ns.AddReplicaNSRequest{Name: flow, Pid: n(0), Endpoint: at(0)}},
		{100, "table does not exist", "DelReplicaNS", &ns.DelReplicaNSRequest{Name: none, Pid: n(0), Endpoint: at(0)}},
		{303, "tablet is not healthy", "DelReplicaNS", &ns.DelReplicaNSRequest{Name: flow, Pid: n(0), Endpoint: nowhere}},
		{307, "max pid is greater than partition size", "DelReplicaNS", &ns.DelReplicaNSRequest{Name: flow, Pid: n(0), PidGroup: []uint32{0, 2}, Endpoint: at(0)}},
		{102, "can not del leader. pid 0 endpoint " + leader, "DelReplicaNS", &ns.DelReplicaNSRequest{Name: flow, Pid: n(0), Endpoint: &leader}},
		{318, "", "Migrate", &ns.MigrateRequest{Name: flow, SrcEndpoint: nowhere, DesEndpoint: at(0), Pid: []uint32{0}}},
		{319, "", "Migrate", &ns.MigrateRequest{Name: flow, SrcEndpoint: at(0), DesEndpoint: nowhere, Pid: []uint32{0}}},
		{100, "", "Migrate", &ns.MigrateRequest{Name: none, SrcEndpoint: at(0), DesEndpoint: at(1), Pid: []uint32{0}}},
		{320, "cannot migrate leader", "Migrate", &ns.MigrateRequest{Name: flow, SrcEndpoint: &leader, DesEndpoint: at(1), Pid: []uint32{0}}},
		{320, "is already in des_endpoint", "Migrate", &ns.MigrateRequest{Name: flow, SrcEndpoint: at(0), DesEndpoint: at(2), Pid: []uint32{0}}},
		{302, "endpoint does not exist", "UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: flow, Endpoint: nowhere}},
		{100, "table does not exist", "UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: none, Endpoint: at(0)}},
		{321, "no pid has update", "UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: flow, Endpoint: at(0), Pid: n(2)}},
		{100, "table does not exist", "GetTablePartition", &ns.GetTablePartitionRequest{Name: none, Pid: n(0)}},
		{100, "table does not exist", "SetTablePartition", &ns.SetTablePartitionRequest{Name: none}},
		{802, "database not found", "CreateTable", create("nowhere", "x", 1, 1)},
		{101, "table already exists", "CreateTable", create("", "flow", 1, 1)},
		{314, "healthy endpoint num is less than replica num", "CreateTable", create("", "x", 1, 4)},
		{307, "check TableMeta failed!", "CreateTable", bad(func(x *ns.TableInfo) { x.ColumnDesc = nil })},
		{307, "check TableMeta failed!", "CreateTable", bad(func(x *ns.TableInfo) { x.ColumnKey[0].ColName = []string{"nothing"} })},
		{307, "check TableMeta failed!", "CreateTable", bad(func(x *ns.TableInfo) { x.ColumnKey[0].TsName = s("text") })},
		{307, "check TableMeta failed!", "CreateTable", bad(func(x *ns.TableInfo) { x.Name = s("a/b") })},
		{307, "check TableMeta failed!", "CreateTable", bad(func(x *ns.TableInfo) { x.PartitionNum = n(1 << 31) })},
		{100, "table does not exist!", "DropTable", &ns.DropTableRequest{Name: none}},
		{100, "table does not exist", "TruncateTable", &ns.TruncateTableRequest{Name: none}},
		{100, "table doesn't exist!", "AddTableField", &ns.AddTableFieldRequest{Name: none}},
		{325, "", "AddTableField", &ns.AddTableFieldRequest{Name: flow, ColumnDesc: &common.ColumnDesc{Name: s("card"), DataType: types.DataType_kInt.Enum()}}},
		{101, "table does not exist", "UpdateTTL", &ns.UpdateTTLRequest{Name: none}},
		{100, "", "AddIndex", &ns.AddIndexRequest{Name: none}},
		{141, "", "AddIndex", &ns.AddIndexRequest{Name: flow, ColumnKey: key("card", "", "card")}},
		{108, "", "DeleteIndex", &ns.DeleteIndexRequest{TableName: flow, IdxName: s("nothing")}},
		{142, "", "DeleteIndex", &ns.DeleteIndexRequest{TableName: flow, IdxName: s("card")}},
		{801, "database already exists", "CreateDatabase", &ns.CreateDatabaseRequest{Db: s(demoDB)}},
		{307, "", "CreateDatabase", &ns.CreateDatabaseRequest{Db: s("a/b")}},
		{802, "database not found", "UseDatabase", &ns.UseDatabaseRequest{Db: s("nowhere")}},
		{802, "database not found", "DropDatabase", &ns.DropDatabaseRequest{Db: s("nowhere")}},
		{803, "database not empty", "DropDatabase", &ns.DropDatabaseRequest{Db: s(demoDB)}},
		{155, "server_name does not exist or offline", "SetSdkEndpoint", &ns.SetSdkEndpointRequest{ServerName: nowhere, SdkEndpoint: s("x:1")}},
		{409, "unknown server status", "SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kFOLLOWER.Enum()}},
		{454, "cur nameserver is not leader mode", "AddReplicaCluster", &ns.ClusterAddress{Alias: s("other")}},
		{404, "replica name not found", "RemoveReplicaCluster", &ns.RemoveReplicaOfRequest{Alias: s("other")}},
		{454, "", "SyncTable", &ns.SyncTableRequest{Name: flow, ClusterAlias: s("other")}},
		{701, "", "DeploySQL", &ns.GeneralRequest{}},
	} {
		code, text := u.ask(tt.method, tt.q, answerOf(tt.method))
		if code != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("%d: %s %v: %d %q, want %d %q", i, tt.method, tt.q, code, text, tt.code, tt.text)
		}
	}
	if all := u.ops(); len(all) != 0 {
		t.Errorf("operations: %v", all)
	}
	if !whole(u.all()...) {
		u.describe()
		t.Error("a refused call has changed something")
	}
}

// answerOf is the answer of a method that has more than a code.
func answerOf(method string) proto.Message {
	switch method {
	case "GetTablePartition":
		return &ns.GetTablePartitionResponse{}
	case "TruncateTable":
		return &ns.TruncateTableResponse{}
	case "UpdateTTL":
		return &ns.UpdateTTLResponse{}
	}
	return &ns.GeneralResponse{}
}

// A replica is added, moved, asked to lead and removed; with the tasks that each takes.
func TestPlacement(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.autoFailover(false)
	u.must("CreateTable", create(demoDB, "small", 1, 1), &ns.GeneralResponse{})
	db, name, pid := proto.String(demoDB), proto.String("small"), proto.Uint32(0)
	small := func() *ns.TableInfo { return u.table(demoDB, "small") }
	cl := c.client()
	defer cl.close()
	for i := range 50 {
		u.do(cl.put(t.Context(), small(), []any{int64(i), "text", int64(firstRow)}))
	}
	first := leaderAt(small(), 0)
	var free []string
	for _, at := range c.tabletAt[:tablets] {
		if at != first {
			free = append(free, at)
		}
	}
	u.refused(134, "no follower", "ChangeLeader", &ns.ChangeLeaderRequest{Name: name, Db: db, Pid: pid, CandidateLeader: proto.String("auto")})

	u.order("AddReplicaNS", &ns.AddReplicaNSRequest{Name: name, Db: db, Pid: pid, Endpoint: &free[0]})
	u.over()
	u.eventually("the added replica has everything", func() bool { return whole(small()) && len(small().GetTablePartition()[0].GetPartitionMeta()) == 2 })
	if n := small().GetTablePartition()[0].GetPartitionMeta()[1]; n.GetEndpoint() != free[0] || n.GetOffset() != 50 || n.GetIsLeader() {
		t.Errorf("the added replica: %v", n)
	}
	u.order("Migrate", &ns.MigrateRequest{Name: name, Db: db, Pid: []uint32{0}, SrcEndpoint: &free[0], DesEndpoint: &free[1]})
	u.over()
	u.eventually("the replica has moved", func() bool { return whole(small()) })
	if p := small().GetTablePartition()[0]; len(p.GetPartitionMeta()) != 2 || p.GetPartitionMeta()[1].GetEndpoint() != free[1] {
		t.Errorf("after the move: %v", p)
	}
	var status api.GetTableStatusResponse
	u.onTablet(free[0], "GetTableStatus", &api.GetTableStatusRequest{Tid: small().Tid, Pid: pid}, &status)
	if len(status.GetAllTableStatus()) != 0 {
		t.Errorf("the source still has it: %v", &status)
	}
	u.order("ChangeLeader", &ns.ChangeLeaderRequest{Name: name, Db: db, Pid: pid, CandidateLeader: &free[1]})
	u.over()
	p := small().GetTablePartition()[0]
	if leaderAt(small(), 0) != free[1] || !p.GetPartitionMeta()[0].GetIsLeader() || p.GetPartitionMeta()[0].GetIsAlive() {
		t.Errorf("after the change of the leader: %v", p)
	}
	u.order("RecoverTable", &ns.RecoverTableRequest{Name: name, Db: db, Pid: pid, Endpoint: &first})
	u.over()
	u.eventually("the old leader follows", func() bool { return whole(small()) })
	u.order("DelReplicaNS", &ns.DelReplicaNSRequest{Name: name, Db: db, Pid: pid, Endpoint: &first})
	all := u.over()
	if p := small().GetTablePartition()[0]; len(p.GetPartitionMeta()) != 1 || p.GetPartitionMeta()[0].GetEndpoint() != free[1] {
		t.Errorf("after the removal: %v", p)
	}
	want := []string{
		"kAddReplicaOP 0 kDone", "kMigrateOP 0 kDone", "kChangeLeaderOP 0 kDone", "kRecoverTableOP 0 kDone",
		"kReAddReplicaWithDropOP 0 kDone", "kDelReplicaOP 0 kDone",
	}
	got := opLines(all, "small")
	got[4] = strings.ReplaceAll(got[4], "kReAddReplicaSimplifyOP", "kReAddReplicaWithDropOP") // by what the old leader had
	if !slices.Equal(got, want) {
		t.Errorf("operations: %q", got)
	}
	for i, o := range all {
		if i > 0 && o.GetOpId() <= all[i-1].GetOpId() || o.GetTaskType() != "-" {
			t.Errorf("operation %v", o)
		}
	}
}

// Tables change under their rows.
func TestTables(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("d")})
	var dbs ns.ShowDatabaseResponse
	u.must("ShowDatabase", &ns.GeneralRequest{}, &dbs)
	if !slices.Equal(dbs.GetDb(), []string{"d", demoDB}) {
		t.Errorf("databases: %v", dbs.GetDb())
	}
	defaults := newTable("d", "t", 0, 0)
	defaults.PartitionNum, defaults.ReplicaNum = nil, nil
	u.order("CreateTable", &ns.CreateTableRequest{TableInfo: defaults})
	u.order("CreateTable", &ns.CreateTableRequest{TableInfo: defaults, CreateIfNotExist: proto.Bool(true)})
	made := u.table("d", "t")
	if len(made.GetTablePartition()) != 8 || len(made.GetTablePartition()[0].GetPartitionMeta()) != 3 || made.GetTid() != u.table(demoDB, "orders").GetTid()+1 {
		t.Errorf("made: %v", made)
	}
	leads := map[string]int{}
	for pid := range uint32(8) {
		leads[leaderAt(made, pid)]++
	}
	if len(leads) != 3 {
		t.Errorf("leaders: %v", leads)
	}
	cl := c.client()
	defer cl.close()
	for i := range 100 {
		u.do(cl.put(t.Context(), made, []any{int64(i), fmt.Sprintf("text%d", i%10), int64(firstRow)}))
	}

	name, db := proto.String("t"), proto.String("d")
	u.order("AddIndex", &ns.AddIndexRequest{Name: name, Db: db, ColumnKey: key("by_text", "at", "text")})
	if got := opLines(u.over(), "t"); !slices.Equal(got, []string{"kAddIndexOP 0 kDone"}) {
		t.Errorf("operations: %q", got)
	}
	if k := u.table("d", "t").GetColumnKey(); len(k) != 2 || k[1].GetIndexName() != "by_text" {
		t.Errorf("indexes: %v", k)
	}
	text, pid := proto.String("text3"), uint32(0)
	found := uint32(0)
	for ; pid < 8; pid++ {
		var count api.CountResponse
		u.onTablet(leaderAt(made, pid), "Count", &api.CountRequest{Tid: made.Tid, Pid: &pid, Key: text, IdxName: proto.String("by_text")}, &count)
		found += count.GetCount()
	}
	if found != 10 {
		t.Errorf("%d rows are found by the new index", found)
	}
	u.order("DeleteIndex", &ns.DeleteIndexRequest{TableName: name, DbName: db, IdxName: proto.String("by_text")})
	if k := u.table("d", "t").GetColumnKey(); len(k) != 1 {
		t.Errorf("indexes: %v", k)
	}

	u.order("AddTableField", &ns.AddTableFieldRequest{Name: name, Db: db, ColumnDesc: &common.ColumnDesc{Name: proto.String("more"), DataType: types.DataType_kInt.Enum()}})
	if x := u.table("d", "t"); len(x.GetAddedColumnDesc()) != 1 || len(x.GetSchemaVersions()) != 2 || x.GetSchemaVersions()[1].GetFieldCount() != 4 {
		t.Errorf("after a column was added: %v", x)
	}
	ttl := &common.TTLSt{TtlType: types.TTLType_kAbsoluteTime.Enum(), AbsTtl: proto.Uint64(1 << 20)}
	u.must("UpdateTTL", &ns.UpdateTTLRequest{Name: name, Db: db, TtlDesc: ttl}, &ns.UpdateTTLResponse{})
	if got := u.table("d", "t").GetColumnKey()[0].GetTtl(); !proto.Equal(got, ttl) {
		t.Errorf("the TTL is %v", got)
	}
	u.eventually("offsets are even", func() bool {
		code, _ := u.ask("TruncateTable", &ns.TruncateTableRequest{Name: name, Db: db}, &ns.TruncateTableResponse{})
		return code == 0
	})
	u.eventually("the rows are gone", func() bool {
		for _, p := range u.table("d", "t").GetTablePartition() {
			if p.GetRecordCnt() != 0 {
				return false
			}
		}
		return true
	})
	u.order("DropTable", &ns.DropTableRequest{Name: name, Db: db})
	for _, at := range c.tabletAt[:tablets] {
		u.eventually("the tablets have dropped it", func() bool {
			var a api.GetTableStatusResponse
			u.onTablet(at, "GetTableStatus", &api.GetTableStatusRequest{Tid: made.Tid}, &a)
			return len(a.GetAllTableStatus()) == 0
		})
	}
	u.order("DropDatabase", &ns.DropDatabaseRequest{Db: db})
	u.refused(802, "", "UseDatabase", &ns.UseDatabaseRequest{Db: db})
}

// What SDKs read when they start is there, and changes are announced.
func TestTree(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	get := func(at string) string {
		t.Helper()
		data, _, err := c.session.Get("/openmldb" + at)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		return string(data)
	}
	names := func(at string) []string {
		t.Helper()
		all, err := c.session.Children("/openmldb" + at)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		return all
	}
	locks := names("/leader")
	if len(locks) != 2 || locks[0] != "lock_request0000000000" || get("/leader/"+locks[0]) != c.nsAt[0] || get("/leader/"+locks[1]) != c.nsAt[1] {
		t.Errorf("leader: %v", locks)
	}
	if got := names("/nodes"); !slices.Equal(got, c.tabletAt[:tablets]) || get("/nodes/"+got[0]) != "startup_"+got[0] {
		t.Errorf("nodes: %v", got)
	}
	if get("/config/auto_failover") != "true" || get("/table/term") != "1" || get("/op/op_index") != "0" || get("/table/table_index") != "8" {
		t.Error("counters or settings differ")
	}
	if got := names("/db"); !slices.Equal(got, []string{"INFORMATION_SCHEMA", "__INTERNAL_DB", "__PRE_AGG_DB", demoDB}) {
		t.Errorf("databases: %v", got)
	}
	if got := names("/table/table_data"); !slices.Equal(got, []string{"flow"}) {
		t.Errorf("tables without a database: %v", got)
	}
	if got := names("/table/db_table_data"); !slices.Equal(got, []string{"2", "3", "4", "5", "6", "8"}) {
		t.Errorf("tables: %v", got)
	}
	var stored ns.TableInfo
	if err := proto.Unmarshal([]byte(get("/table/table_data/flow")), &stored); err != nil || stored.GetTid() != 7 {
		t.Errorf("flow: %v, %v", &stored, err)
	}
	before := get("/table/notify")
	u.order("SetSdkEndpoint", &ns.SetSdkEndpointRequest{ServerName: &c.tabletAt[0], SdkEndpoint: proto.String("host:1")})
	u.refused(156, "", "SetSdkEndpoint", &ns.SetSdkEndpointRequest{ServerName: &c.tabletAt[1], SdkEndpoint: proto.String("host:1")})
	if get("/map/sdkendpoints/"+c.tabletAt[0]) != "host:1" || get("/table/notify") == before {
		t.Error("the SDK endpoint is not there, or not announced")
	}
	var sdk ns.ShowSdkEndpointResponse
	u.must("ShowSdkEndpoint", &ns.ShowSdkEndpointRequest{}, &sdk)
	if len(sdk.GetTablets()) != 1 || sdk.GetTablets()[0].GetRealEndpoint() != "host:1" {
		t.Errorf("SDK endpoints: %v", &sdk)
	}
	u.order("SetSdkEndpoint", &ns.SetSdkEndpointRequest{ServerName: &c.tabletAt[0], SdkEndpoint: proto.String("null")})
	if got := names("/map/sdkendpoints"); len(got) != 0 {
		t.Errorf("SDK endpoints: %v", got)
	}
	var catalog ns.ShowCatalogResponse
	u.must("ShowCatalog", &ns.ShowCatalogRequest{}, &catalog)
	if len(catalog.GetCatalog()) != 3 {
		t.Errorf("catalog: %v", &catalog)
	}
	u.must("ShowFunction", &ns.ShowFunctionRequest{}, &ns.ShowFunctionResponse{})
	u.must("ShowProcedure", &ns.ShowProcedureRequest{}, &ns.ShowProcedureResponse{})
}

// Partitions as they are read and written by hand, and the status that is set by hand.
func TestPartitionsByHand(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	u.autoFailover(false)
	flow := proto.String("flow")
	var got ns.GetTablePartitionResponse
	u.must("GetTablePartition", &ns.GetTablePartitionRequest{Name: flow, Pid: proto.Uint32(1)}, &got)
	p := got.GetTablePartition()
	if p.GetPid() != 1 || len(p.GetPartitionMeta()) != 3 {
		t.Fatalf("partition: %v", p)
	}
	u.must("GetTablePartition", &ns.GetTablePartitionRequest{Name: flow, Pid: proto.Uint32(9)}, &got)
	if got.TablePartition != nil {
		t.Errorf("a partition that does not exist: %v", &got)
	}
	slices.Reverse(p.PartitionMeta)
	u.order("SetTablePartition", &ns.SetTablePartitionRequest{Name: flow, TablePartition: p})
	if x := u.flow().GetTablePartition()[1].GetPartitionMeta(); x[0].GetEndpoint() != p.GetPartitionMeta()[0].GetEndpoint() {
		t.Errorf("partition: %v", x)
	}
	u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: flow, Endpoint: &c.tabletAt[0], IsAlive: proto.Bool(false)})
	dead := slices.DeleteFunc(lines(c, u.flow()), func(line string) bool { return !strings.Contains(line, "tablet1 ") })
	if len(dead) != 2 || !strings.Contains(dead[0], " no ") || !strings.Contains(dead[1], " no ") {
		t.Errorf("flow is %q", dead)
	}
	u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: flow, Endpoint: &c.tabletAt[0], Pid: proto.Uint32(0), IsAlive: proto.Bool(true)})
	if all := u.ops(); len(all) != 0 {
		t.Errorf("operations: %v", all)
	}
}

// A pair of clusters, as far as a sandbox has one: modes and refusals.
func TestModes(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	u := newUser(t, c)
	s := proto.String
	u.order("SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kLEADER.Enum()})
	other := &ns.ClusterAddress{Alias: s("other"), ZkEndpoints: s("127.0.0.1:1"), ZkPath: s("/openmldb")}
	if code, _ := u.ask("AddReplicaCluster", other, &ns.GeneralResponse{}); code != 401 {
		t.Errorf("a cluster that is not there: %d", code)
	}
	var all ns.ShowReplicaClusterResponse
	u.must("ShowReplicaCluster", &ns.GeneralRequest{}, &all)
	if len(all.GetReplicas()) != 0 {
		t.Errorf("replica clusters: %v", &all)
	}
	u.refused(404, "", "SyncTable", &ns.SyncTableRequest{Name: s("flow"), ClusterAlias: s("other")})
	u.order("SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kNORMAL.Enum()})

	zone := &ns.ZoneInfo{ZoneName: s("zone"), ReplicaAlias: s("me"), ZoneTerm: proto.Uint64(1)}
	var joined ns.AddReplicaClusterByNsResponse
	u.must("AddReplicaClusterByNs", &ns.ReplicaClusterByNsRequest{ZoneInfo: zone}, &joined)
	if len(joined.GetTablets()) != 3 || len(joined.GetTableInfo()) != 2 {
		t.Errorf("joined: %d tablets, %d tables", len(joined.GetTablets()), len(joined.GetTableInfo()))
	}
	if code, _ := u.ask("AddReplicaClusterByNs", &ns.ReplicaClusterByNsRequest{ZoneInfo: zone}, &joined); code != 408 {
		t.Errorf("joined again: %d", code)
	}
	u.refused(453, "is follower cluster", "CreateDatabase", &ns.CreateDatabaseRequest{Db: s("d")})
	u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: s("d"), ZoneInfo: zone})
	u.do(c.Kill(t.Context(), c.nsAt[0])) // the next leader knows
	u.refused(453, "", "DropDatabase", &ns.DropDatabaseRequest{Db: s("d")})
	u.order("RemoveReplicaClusterByNs", &ns.ReplicaClusterByNsRequest{ZoneInfo: zone})
	u.order("DropDatabase", &ns.DropDatabaseRequest{Db: s("d")})
}
