package openmldb

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/commands/spec"
)

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
