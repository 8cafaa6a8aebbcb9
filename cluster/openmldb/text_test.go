package openmldb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

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
	text, err := FormatPartition(p)
	if err != nil {
		t.Fatal(err)
	}
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
	for name, bad := range map[string]string{
		"nothing": "", "no number": "pid: x", "no field": "nonsense: 1", "a field missing": "partition_meta {}",
		"no leader":   `pid: 0 partition_meta { endpoint: "a:1" is_leader: true is_alive: false }`,
		"two leaders": `pid: 0 partition_meta { endpoint: "a:1" is_leader: true } partition_meta { endpoint: "b:1" is_leader: true }`,
		"one twice":   `pid: 0 partition_meta { endpoint: "a:1" is_leader: true } partition_meta { endpoint: "a:1" is_leader: false }`,
		"too long":    strings.Repeat(" ", MaxText+1),
	} {
		if p, err := ParsePartition(bad); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := FormatPartition(Partition{Replicas: []Replica{{Endpoint: "a\x1b"}}}); err == nil {
		t.Error("any text passes for a server")
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
