package tablet

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// clock is the time of the tests' tablets, in minutes after a beginning.
type clock struct{ minutes atomic.Int64 }

var clockStart = time.Date(2024, 5, 17, 12, 0, 0, 0, time.UTC)

func (c *clock) now() time.Time { return clockStart.Add(time.Duration(c.minutes.Load()) * time.Minute) }

// minute is the time of a row, in milliseconds.
func minute(n int64) int64 { return clockStart.Add(time.Duration(n) * time.Minute).UnixMilli() }

func ttlKey(kind types.TTLType, minutes, versions uint64) *common.ColumnKey {
	return &common.ColumnKey{
		IndexName: proto.String("card"), ColName: []string{"card"}, TsName: proto.String("ts"),
		Ttl: &common.TTLSt{TtlType: kind.Enum(), AbsTtl: &minutes, LatTtl: &versions},
	}
}

func (n *node) putAt(card string, amount, at int64) {
	n.t.Helper()
	q := putRequest(0, card, "", "", amount, minute(at))
	well[api.PutResponse](n, "Put", q)
}

// collect has the partition collected.
func (n *node) collect() {
	n.t.Helper()
	n.tablet.part(testTID, 0).collect()
}

func TestTTL(t *testing.T) {
	for _, tt := range []struct {
		name    string
		key     *common.ColumnKey
		want    []int64 // of rows 0, 1 … 5, put at those minutes, read at minute 6
		cleared int     // rows left by a collection at minute 6: it waits a minute longer
	}{
		{"absolute", ttlKey(types.TTLType_kAbsoluteTime, 3, 0), []int64{5, 4}, 3},
		{"absolute, never", ttlKey(types.TTLType_kAbsoluteTime, 0, 0), []int64{5, 4, 3, 2, 1, 0}, 6},
		{"latest", ttlKey(types.TTLType_kLatestTime, 0, 2), []int64{5, 4}, 2},
		{"latest, all", ttlKey(types.TTLType_kLatestTime, 0, 0), []int64{5, 4, 3, 2, 1, 0}, 6},
		{"both, by time", ttlKey(types.TTLType_kAbsAndLat, 3, 1), []int64{5, 4}, 3},
		{"both, by number", ttlKey(types.TTLType_kAbsAndLat, 1, 4), []int64{5, 4, 3, 2}, 4},
		{"both, never", ttlKey(types.TTLType_kAbsAndLat, 0, 1), []int64{5, 4, 3, 2, 1, 0}, 6},
		{"either, by time", ttlKey(types.TTLType_kAbsOrLat, 3, 5), []int64{5, 4}, 3},
		{"either, by number", ttlKey(types.TTLType_kAbsOrLat, 5, 1), []int64{5}, 1},
		{"either, by time alone", ttlKey(types.TTLType_kAbsOrLat, 3, 0), []int64{5, 4}, 3},
		{"relative of long ago", ttlKey(types.TTLType_kRelativeTime, 3, 0), []int64{5, 4}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			c := &clock{}
			w.tune.now = c.now
			n := w.started()
			n.create(testMeta(0, api.TableMode_kTableLeader, indexed(tt.key)))
			for i := range int64(6) {
				n.putAt("c", i, i)
			}
			c.minutes.Store(6)
			n.expectTTL(t, tt.want)
			if s := n.status(); s.GetRecordCnt() != 6 {
				t.Errorf("before a collection %d rows are there", s.GetRecordCnt())
			}
			n.collect()
			if s := n.status(); int(s.GetRecordCnt()) != tt.cleared {
				t.Errorf("after a collection %d rows are there, want %d", s.GetRecordCnt(), tt.cleared)
			}
			n.expectTTL(t, tt.want)
			n.snapshot(1)
			n.restart()
			n.load(api.TableMode_kTableLeader)
			n.expectTTL(t, tt.want)
			if s := n.status(); int(s.GetRecordCnt()) != len(tt.want) {
				t.Errorf("the snapshot has %d rows, want %d", s.GetRecordCnt(), len(tt.want))
			}
		})
	}
}

// expectTTL reads a key's rows in every way there is.
func (n *node) expectTTL(t *testing.T, want []int64) {
	t.Helper()
	if got := n.scan("card", "c"); !slices.Equal(got, want) {
		t.Errorf("scan: %v, want %v", got, want)
	}
	if got := n.amounts("card", 2); len(got) != len(want) {
		t.Errorf("traverse by 2: %v, want %v", got, want)
	}
	q := &api.CountRequest{Tid: tid, Pid: pid, Key: proto.String("c"), FilterExpiredData: proto.Bool(true)}
	if got := well[api.CountResponse](n, "Count", q).GetCount(); int(got) != len(want) {
		t.Errorf("count: %d, want %d", got, len(want))
	}
	for i := range int64(6) {
		q := &api.GetRequest{Tid: tid, Pid: pid, Key: proto.String("c"), Ts: proto.Uint64(uint64(minute(i)))}
		if found := call[api.GetResponse](n, "Get", q).GetCode() == 0; found != slices.Contains(want, i) {
			t.Errorf("get of row %d: %t", i, found)
		}
	}
}

// With expiry off nothing is collected, and a traverse shows all.
func TestSetExpire(t *testing.T) {
	w := newWorld(t)
	c := &clock{}
	w.tune.now = c.now
	n := w.started()
	q := &api.SetExpireRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0), IsExpire: proto.Bool(false)}
	refused[api.GeneralResponse](n, "SetExpire", q, codeNoTable, noTable.text)
	n.create(testMeta(0, api.TableMode_kTableLeader, indexed(ttlKey(types.TTLType_kAbsoluteTime, 1, 0))))
	n.putAt("c", 1, 0)
	c.minutes.Store(60)
	if got := n.amounts("card", 10); len(got) != 0 || !n.status().GetIsExpire() {
		t.Fatalf("an expired row: %v", got)
	}
	well[api.GeneralResponse](n, "SetExpire", q)
	n.collect()
	if got := n.amounts("card", 10); len(got) != 1 || n.status().GetIsExpire() {
		t.Errorf("with expiry off: %v", got)
	}
	if got := n.scan("card", "c"); len(got) != 1 {
		t.Errorf("with expiry off, a scan: %v", got)
	}
	q.IsExpire = proto.Bool(true)
	well[api.GeneralResponse](n, "SetExpire", q)
	well[api.GeneralResponse](n, "ExecuteGc", &api.ExecuteGcRequest{Tid: tid, Pid: pid})
	n.eventually("it was collected", func() bool { return n.status().GetRecordCnt() == 0 })
	refused[api.GeneralResponse](n, "ExecuteGc", &api.ExecuteGcRequest{Tid: tid, Pid: proto.Uint32(9)}, codeError, "table not found")
	disk := proto.Int32(1)
	n.create(testMeta(1, api.TableMode_kTableLeader, stored(common.StorageMode_kSSD)))
	refused[api.GeneralResponse](n, "SetExpire", &api.SetExpireRequest{Tid: proto.Int32(testTID), Pid: disk},
		codeOperatorUnsupported, "table is not memtable")
}

// A new TTL is described at once, in force after a collection, and collected by the next.
func TestUpdateTTL(t *testing.T) {
	w := newWorld(t)
	c := &clock{}
	w.tune.now = c.now
	n := w.started()
	q := &api.UpdateTTLRequest{
		Tid: proto.Int32(testTID), Pid: proto.Int32(0), IndexName: proto.String("card"),
		Ttl: &common.TTLSt{TtlType: types.TTLType_kLatestTime.Enum(), LatTtl: proto.Uint64(1)},
	}
	refused[api.UpdateTTLResponse](n, "UpdateTTL", q, codeNoTable, noTable.text)
	n.create(testMeta(0, api.TableMode_kTableLeader, indexed(ttlKey(types.TTLType_kAbsoluteTime, 0, 0))))
	q.IndexName = proto.String("x")
	refused[api.UpdateTTLResponse](n, "UpdateTTL", q, codeNoIndex, "idx name not found")
	q.IndexName = proto.String("card")
	n.putAt("c", 1, 0)
	n.putAt("c", 2, 1)
	well[api.UpdateTTLResponse](n, "UpdateTTL", q)
	described := func() uint64 {
		a := well[api.GetTableSchemaResponse](n, "GetTableSchema", &api.GetTableSchemaRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)})
		return a.GetTableMeta().GetColumnKey()[0].GetTtl().GetLatTtl()
	}
	if described() != 1 || len(n.scan("card", "c")) != 2 {
		t.Errorf("described as %d, rows %v", described(), n.scan("card", "c"))
	}
	n.collect()
	if got := n.scan("card", "c"); !slices.Equal(got, []int64{2}) || n.status().GetRecordCnt() != 2 {
		t.Errorf("after a collection: %v of %d", got, n.status().GetRecordCnt())
	}
	n.collect()
	if n.status().GetRecordCnt() != 1 {
		t.Errorf("after two: %d rows", n.status().GetRecordCnt())
	}
	n.restart()
	n.load(api.TableMode_kTableLeader)
	if described() != 1 || len(n.scan("card", "c")) != 1 {
		t.Errorf("after a restart: described as %d, rows %v", described(), n.scan("card", "c"))
	}
}

// Pages of an index that counts versions begin where the last one ended, also within a key.
func TestTraverseLatest(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader, indexed(ttlKey(types.TTLType_kLatestTime, 0, 3))))
	for _, card := range []string{"a", "b", "c"} {
		for i := range int64(10) {
			n.putAt(card, i, i)
		}
	}
	for _, limit := range []uint32{1, 2, 5} {
		if got := n.amounts("card", limit); len(got) != 3 || got[9] != 3 || got[7] != 3 {
			t.Errorf("by %d: %v", limit, got)
		}
	}
}

func TestExpiryArithmetic(t *testing.T) {
	now := clockStart
	huge := ttl{kind: types.TTLType_kAbsoluteTime, minutes: 1 << 63}
	if e := huge.at(now, false); e.oldest != 0 {
		t.Errorf("a life longer than time: %d", e.oldest)
	}
	if e := (ttl{kind: types.TTLType_kAbsoluteTime, minutes: 1}).at(time.UnixMilli(5), false); e.oldest != 0 {
		t.Errorf("before time began: %d", e.oldest)
	}
}

// Scans of several partitions count versions in each.
func TestLatestOfPartitions(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	for p := range uint32(2) {
		n.create(testMeta(p, api.TableMode_kTableLeader, indexed(ttlKey(types.TTLType_kLatestTime, 0, 2))))
		for i := range int64(4) {
			q := putRequest(p, "c", "", "", i, minute(i*2+int64(p)))
			well[api.PutResponse](n, "Put", q)
		}
	}
	a := well[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, PidGroup: []uint32{0, 1}, Pk: proto.String("c")})
	pairs, err := wire.ScanPairs(a.GetPairs())
	if err != nil || len(pairs) != 4 {
		t.Errorf("%d rows, %v", len(pairs), err)
	}
}

func TestTTLMessage(t *testing.T) {
	m := &common.TTLSt{TtlType: types.TTLType_kAbsOrLat.Enum(), AbsTtl: proto.Uint64(3), LatTtl: proto.Uint64(2)}
	if back := ttlOf(m).message(); !proto.Equal(m, back) {
		t.Errorf("%v became %v", m, back)
	}
}
