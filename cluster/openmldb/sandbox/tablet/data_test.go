package tablet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/wire"
)

var tid, pid = proto.Uint32(testTID), proto.Uint32(0)

func TestPut(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	refused[api.PutResponse](n, "Put", putRequest(0, "c", "m", "", 1, 1), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableFollower))
	refused[api.PutResponse](n, "Put", putRequest(1, "c", "m", "", 1, 1), codeIsFollower, "table is follower")
	for text, tt := range map[string]struct {
		code   int32
		change func(*api.PutRequest)
	}{
		"invalid dimension parameter":   {codeBadDimension, func(q *api.PutRequest) { q.Dimensions[1].Idx = proto.Uint32(3) }},
		"invalid dimension parameter ":  {codeBadDimension, func(q *api.PutRequest) { q.Dimensions[0].Key = nil }},
		"invalid dimension parameter  ": {codeBadDimension, func(q *api.PutRequest) { q.Dimensions = nil }},
		"7.0: invalid value":            {codePutFailed, func(q *api.PutRequest) { q.Value = q.Value[:5] }},
		"7.0: invalid schema version 9": {codePutFailed, func(q *api.PutRequest) { q.Value[1] = 9 }},
		"7.0: get ts failed":            {codePutFailed, func(q *api.PutRequest) { q.Value[6] |= 1 << 4 }},
		"7.0: get ts failed ":           {codePutFailed, func(q *api.PutRequest) { q.Value = q.Value[:12] }},
		"7.0: ts is negative -1": {codePutFailed, func(q *api.PutRequest) {
			for i := range 8 {
				q.Value[7+8+i] = 0xff
			}
		}},
		"table type is not iot": {codeBadMeta, func(q *api.PutRequest) { q.CheckExists = proto.Bool(true) }},
	} {
		q := putRequest(0, "c", "m", "", 1, 1)
		tt.change(q)
		for text[len(text)-1] == ' ' {
			text = text[:len(text)-1]
		}
		refused[api.PutResponse](n, "Put", q, tt.code, text)
	}
	if n.offset() != 0 {
		t.Errorf("what was refused is in the log: offset %d", n.offset())
	}
	a := well[api.PutResponse](n, "Put", putRequest(0, "c", "m", "n", 1, 1))
	if a.Msg != nil || n.offset() != 1 {
		t.Errorf("put: %v, offset %d", a, n.offset())
	}
	absent := putRequest(0, "c", "m", "n", 1, 1)
	absent.PutIfAbsent = proto.Bool(true)
	if a := well[api.PutResponse](n, "Put", absent); a.GetMsg() != "exists but ignore" || n.offset() != 1 {
		t.Errorf("put if absent of what is there: %v, offset %d", a, n.offset())
	}
	n.put("c", "m", "n", 1, 1) // the same again is another row
	absent.Value = row("c", "m", "n", 2, 1)
	if a := well[api.PutResponse](n, "Put", absent); a.Msg != nil || n.offset() != 3 {
		t.Errorf("put if absent of what is not there: %v, offset %d", a, n.offset())
	}
	if got := n.scan("card", "c"); !slices.Equal(got, []int64{2, 1, 1}) {
		t.Errorf("rows of the same time: %v", got)
	}
}

func TestPutMemoryLimit(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.tablet.memoryUsed.Store(90)
	q := putRequest(0, "c", "m", "", 1, 1)
	q.MemoryLimit = proto.Uint32(80)
	refused[api.PutResponse](n, "Put", q, codeMemoryLimit, "system memory usage 90% exceeds the put's limit 80%")
	q.MemoryLimit = proto.Uint32(90)
	well[api.PutResponse](n, "Put", q)
}

func TestThrottle(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.gate.Writes.Set(0.001)
	var err error
	for range 3 {
		err = n.try("Put", putRequest(0, "c", "m", "", 1, 1), &api.PutResponse{})
		if err != nil {
			break
		}
	}
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != rpc.CodeLimit {
		t.Errorf("a put past the limit: %v", err)
	}
	n.gate.Writes.Set(0)
	n.put("c", "m", "", 1, 1)
}

// A clustered index has a row of a key and time once.
func TestClusteredIndex(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader, func(m *api.TableMeta) {
		m.ColumnKey[0].Type = types.IndexType_kClustered.Enum()
	}))
	check := func(ts int64) *api.PutRequest {
		q := putRequest(0, "c", "m", "", 1, ts)
		q.CheckExists = proto.Bool(true)
		return q
	}
	refused[api.PutResponse](n, "Put", check(5), codeNoKey, "NOT_FOUND: key not found")
	n.put("c", "m", "", 1, 5)
	refused[api.PutResponse](n, "Put", check(5), codeOK, "exists")
	refused[api.PutResponse](n, "Put", check(6), codeNoKey, "NOT_FOUND: key not found")
	refused[api.PutResponse](n, "Put", putRequest(0, "c", "m", "", 2, 5), codePutFailed, "data exists")
	q := check(5)
	q.Dimensions = q.Dimensions[1:]
	refused[api.PutResponse](n, "Put", q, codeError, "INVALID_ARGUMENT: 7.0: cidx not found")
	if n.offset() != 1 {
		t.Errorf("offset %d", n.offset())
	}
}

func TestGet(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	get := func(change ...func(*api.GetRequest)) *api.GetRequest {
		q := &api.GetRequest{Tid: tid, Pid: pid, Key: proto.String("c")}
		for _, do := range change {
			do(q)
		}
		return q
	}
	refused[api.GetResponse](n, "Get", get(), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.GetResponse](n, "Get", get(), codeNoKey, "key not found")
	for ts := int64(10); ts <= 50; ts += 10 {
		n.put("c", "m", "", ts, ts)
	}
	refused[api.GetResponse](n, "Get", get(func(q *api.GetRequest) { q.IdxName = proto.String("x") }), codeNoIndex, "idx name not found")
	at := func(ts uint64, how api.GetType) func(*api.GetRequest) {
		return func(q *api.GetRequest) { q.Ts, q.Type = &ts, how.Enum() }
	}
	until := func(et uint64, how api.GetType) func(*api.GetRequest) {
		return func(q *api.GetRequest) { q.Et, q.EtType = &et, how.Enum() }
	}
	const eq, lt, le, gt, ge = api.GetType_kSubKeyEq, api.GetType_kSubKeyLt, api.GetType_kSubKeyLe, api.GetType_kSubKeyGt, api.GetType_kSubKeyGe
	for _, tt := range []struct {
		q    *api.GetRequest
		want int64 // 0 is not found, -1 invalid
	}{
		{get(), 50},
		{get(at(0, le)), 50},
		{get(at(30, eq)), 30},
		{get(at(35, eq)), 0},
		{get(at(35, le)), 30},
		{get(at(30, le)), 30},
		{get(at(30, lt)), 20},
		{get(at(10, lt)), 0},
		{get(at(45, ge)), 50},
		{get(at(60, ge)), 0},
		{get(at(50, gt)), 0},
		{get(at(40, gt)), 50},
		{get(at(35, le), until(30, ge)), 30},
		{get(at(35, le), until(30, gt)), 0},
		{get(at(35, le), until(30, eq)), 30},
		{get(at(35, le), until(31, eq)), 0},
		{get(at(20, le), until(30, ge)), -1},
		{get(at(20, eq), until(10, eq)), -1},
		{get(until(60, ge)), 0},
	} {
		a := call[api.GetResponse](n, "Get", tt.q)
		got := int64(0)
		switch {
		case a.GetCode() == 0:
			if got = amountOf(t, a.GetValue()); a.GetTs() != uint64(got) {
				t.Errorf("Get(%v): time %d of row %d", tt.q, a.GetTs(), got)
			}
		case a.GetCode() == codeInvalidParameter && a.GetMsg() == "invalid args":
			got = -1
		case a.GetCode() != codeNoKey || a.GetMsg() != "key not found":
			t.Errorf("Get(%v): %v", tt.q, a)
		}
		if got != tt.want {
			t.Errorf("Get(%v) = %d, want %d", tt.q, got, tt.want)
		}
	}
	refused[api.GetResponse](n, "Get", get(at(30, le), until(10, lt)), codeInvalidParameter, "st/et sub key type is invalid")
	a := well[api.GetResponse](n, "Get", get(func(q *api.GetRequest) { q.Projection = []uint32{3, 0} }))
	s := wire.Schema{Columns: []wire.Column{testSchema.Columns[3], testSchema.Columns[0]}}
	if values, err := s.Decode(a.GetValue()); err != nil || values[0] != int64(50) || values[1] != "c" {
		t.Errorf("projection: %v, %v", values, err)
	}
	refused[api.GetResponse](n, "Get", get(func(q *api.GetRequest) { q.Projection = []uint32{5} }), codeInvalidParameter, "invalid args")
}

func TestScan(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	scan := func(change ...func(*api.ScanRequest)) *api.ScanRequest {
		q := &api.ScanRequest{Tid: tid, Pid: pid, Pk: proto.String("c"), IdxName: proto.String("card")}
		for _, do := range change {
			do(q)
		}
		return q
	}
	refused[api.ScanResponse](n, "Scan", scan(), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableLeader))
	for _, ts := range []int64{30, 10, 50, 20, 40, 40} {
		n.put("c", "m", "", ts, ts)
	}
	between := func(st, et uint64) func(*api.ScanRequest) { return func(q *api.ScanRequest) { q.St, q.Et = &st, &et } }
	refused[api.ScanResponse](n, "Scan", scan(between(0, 5)), codeBadRange, "starttime less than endtime")
	refused[api.ScanResponse](n, "Scan", scan(func(q *api.ScanRequest) { q.IdxName = proto.String("x") }), codeNoIndex, "idx name not found")
	limit := func(limit uint32) func(*api.ScanRequest) { return func(q *api.ScanRequest) { q.Limit = &limit } }
	for _, tt := range []struct {
		q      *api.ScanRequest
		want   []int64
		unread bool
	}{
		{scan(), []int64{50, 40, 40, 30, 20, 10}, false},
		{scan(between(40, 10)), []int64{40, 40, 30, 20}, false},
		{scan(between(45, 45)), nil, false},
		{scan(limit(2)), []int64{50, 40}, true},
		{scan(limit(6)), []int64{50, 40, 40, 30, 20, 10}, false},
		{scan(between(40, 0), func(q *api.ScanRequest) { q.SkipRecordNum = proto.Uint32(1) }), []int64{40, 30, 20, 10}, false},
		{scan(func(q *api.ScanRequest) { q.EnableRemoveDuplicatedRecord = proto.Bool(true) }), []int64{50, 40, 30, 20, 10}, false},
		{scan(func(q *api.ScanRequest) { q.Pk = proto.String("d") }), nil, false},
		{scan(func(q *api.ScanRequest) { q.Pk, q.IdxName = proto.String("m"), proto.String("mcc") }), []int64{50, 40, 40, 30, 20, 10}, false},
		{scan(func(q *api.ScanRequest) { q.IdxName = nil }), []int64{50, 40, 40, 30, 20, 10}, false},
	} {
		a := well[api.ScanResponse](n, "Scan", tt.q)
		pairs, err := wire.ScanPairs(a.GetPairs())
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, p := range pairs {
			got = append(got, amountOf(t, p.Row))
		}
		if !slices.Equal(got, tt.want) || int(a.GetCount()) != len(got) || a.GetIsFinish() == tt.unread {
			t.Errorf("Scan(%v) = %v, count %d, finished %t", tt.q, got, a.GetCount(), a.GetIsFinish())
		}
	}
	q := scan(func(q *api.ScanRequest) { q.UseAttachment = proto.Bool(true) })
	var a api.ScanResponse
	rows, err := n.tryAttached("Scan", q, nil, &a)
	if err != nil || len(a.GetPairs()) != 0 || int(a.GetBufSize()) != len(rows) || a.GetCount() != 6 {
		t.Fatalf("with an attachment of %d bytes: %v, %v", len(rows), &a, err)
	}
	if one := len(row("c", "m", "", 50, 50)); len(rows) != 6*one || amountOf(t, rows[:one]) != 50 {
		t.Errorf("an attachment of %d bytes", len(rows))
	}
	refused[api.ScanResponse](n, "Scan", scan(func(q *api.ScanRequest) { q.Projection = []uint32{9} }), codeInvalidParameter, "invalid args")
}

// One scan of several partitions has the rows of all of them in order.
func TestScanOfPartitions(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	var want []uint64
	for p := range uint32(3) {
		n.create(testMeta(p, api.TableMode_kTableLeader))
		for i := range int64(5) {
			ts := i*3 + int64(p) + 1
			well[api.PutResponse](n, "Put", putRequest(p, "c", "m", "", ts, ts))
		}
	}
	for ts := uint64(15); ts >= 1; ts-- {
		want = append(want, ts)
	}
	a := well[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, PidGroup: []uint32{0, 1, 2, 1}, Pk: proto.String("c")})
	pairs, err := wire.ScanPairs(a.GetPairs())
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, p := range pairs {
		got = append(got, p.Time)
	}
	if !slices.Equal(got, want) {
		t.Errorf("times %v", got)
	}
	refused[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, PidGroup: []uint32{0, 5}, Pk: proto.String("c")}, codeNoTable, noTable.text)
}

func TestCount(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	count := func(change ...func(*api.CountRequest)) *api.CountRequest {
		q := &api.CountRequest{Tid: tid, Pid: pid, Key: proto.String("c"), IdxName: proto.String("card")}
		for _, do := range change {
			do(q)
		}
		return q
	}
	filtered := func(q *api.CountRequest) { q.FilterExpiredData = proto.Bool(true) }
	refused[api.CountResponse](n, "Count", count(), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	for _, ts := range []int64{10, 20, 30, 30, 40} {
		n.put("c", "m", "", ts, ts)
	}
	refused[api.CountResponse](n, "Count", count(func(q *api.CountRequest) { q.IdxName = proto.String("x") }), codeNoIndex, "idx name not found")
	for _, tt := range []struct {
		q    *api.CountRequest
		want uint32
	}{
		{count(), 5},
		{count(func(q *api.CountRequest) { q.Key = proto.String("x") }), 0},
		{count(filtered), 5},
		{count(filtered, func(q *api.CountRequest) { q.St, q.Et = proto.Uint64(30), proto.Uint64(10) }), 3},
		{count(filtered, func(q *api.CountRequest) { q.Et, q.EtType = proto.Uint64(20), api.GetType_kSubKeyGe.Enum() }), 4},
		{count(filtered, func(q *api.CountRequest) { q.EnableRemoveDuplicatedRecord = proto.Bool(true) }), 4},
	} {
		if a := well[api.CountResponse](n, "Count", tt.q); a.GetCount() != tt.want {
			t.Errorf("Count(%v) = %d, want %d", tt.q, a.GetCount(), tt.want)
		}
	}
	refused[api.CountResponse](n, "Count", count(filtered, func(q *api.CountRequest) { q.St, q.Et = proto.Uint64(10), proto.Uint64(20) }),
		codeInvalidParameter, "invalid args")
	refused[api.CountResponse](n, "Count", count(filtered, func(q *api.CountRequest) { q.StType = api.GetType_kSubKeyGe.Enum() }),
		codeInvalidParameter, "st/et sub key type is invalid")
}

// Pages of any size show every row once, rows of equal times included.
func TestTraverse(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	refused[api.TraverseResponse](n, "Traverse", &api.TraverseRequest{Tid: tid, Pid: pid}, codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.TraverseResponse](n, "Traverse", &api.TraverseRequest{Tid: tid, Pid: pid, IdxName: proto.String("x")}, codeNoIndex, "idx name not found")
	for i := range int64(120) {
		n.put(fmt.Sprint("card", i%7), "m", "", i, 100+i/20) // 20 rows of a time
	}
	for _, limit := range []uint32{1, 2, 3, 7, 50, 119, 120, 121, 1000} {
		for _, index := range []string{"card", "mcc"} {
			seen := n.amounts(index, limit)
			if len(seen) != 120 {
				t.Errorf("%s by %d: %d rows", index, limit, len(seen))
			}
			for amount, times := range seen {
				if times != 1 {
					t.Errorf("%s by %d: row %d came %d times", index, limit, amount, times)
				}
			}
		}
	}
	exact := &api.TraverseRequest{Tid: tid, Pid: pid, Limit: proto.Uint32(120)}
	if a := well[api.TraverseResponse](n, "Traverse", exact); a.GetCount() != 120 || a.GetIsFinish() {
		t.Errorf("a full page says nothing of what is left: %d, finished %t", a.GetCount(), a.GetIsFinish())
	}
	a := well[api.TraverseResponse](n, "Traverse", &api.TraverseRequest{
		Tid: tid, Pid: pid, Pk: proto.String("card0"), Ts: proto.Uint64(100), SkipCurrentPk: proto.Bool(true), Limit: proto.Uint32(1),
	})
	if a.GetPk() != "card1" {
		t.Errorf("after card0 comes %q", a.GetPk())
	}
	a = well[api.TraverseResponse](n, "Traverse", &api.TraverseRequest{
		Tid: tid, Pid: pid, IdxName: proto.String("mcc"), EnableRemoveDuplicatedRecord: proto.Bool(true),
	})
	if a.GetCount() != 6 || !a.GetIsFinish() {
		t.Errorf("without duplicates: %d, finished %t", a.GetCount(), a.GetIsFinish())
	}
}

// Rows that were there before a traverse began, and stay, come once, whatever is written and deleted meanwhile.
func TestTraverseOverWrites(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	const rows = 600
	for i := range int64(rows) {
		n.put(fmt.Sprintf("card%02d", i%20), "m", "", i, 1_000_000+i)
	}
	stop := make(chan struct{})
	var writer sync.WaitGroup
	conn := n.conn
	writer.Go(func() {
		for i := int64(rows); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			q := putRequest(0, fmt.Sprintf("card%02d", i%25), "m", "", i, i) // older than the others under its key
			if i%2 == 0 {
				q = putRequest(0, fmt.Sprintf("card%02d", i%25), "m", "", i, 2_000_000+i) // newer
			}
			if err := conn.Call(n.soon(), ServiceName, "Put", q, &api.PutResponse{}); err != nil {
				t.Error(err)
				return
			}
			d := &api.DeleteRequest{
				Tid: tid, Pid: pid, Dimensions: q.Dimensions[:1], Ts: proto.Uint64(uint64(q.GetTime())),
				EndTs: proto.Uint64(uint64(q.GetTime()) - 1),
			}
			if err := conn.Call(n.soon(), ServiceName, "Delete", d, &api.GeneralResponse{}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		seen := n.amounts("card", 7)
		for i := range int64(rows) {
			if seen[i] != 1 {
				t.Errorf("row %d came %d times", i, seen[i])
			}
		}
	}
	close(stop)
	writer.Wait()
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	del := func(change ...func(*api.DeleteRequest)) *api.DeleteRequest {
		q := &api.DeleteRequest{Tid: tid, Pid: pid}
		for _, do := range change {
			do(q)
		}
		return q
	}
	card := func(key string) func(*api.DeleteRequest) {
		return func(q *api.DeleteRequest) { q.Dimensions = []*api.Dimension{{Key: &key, Idx: proto.Uint32(0)}} }
	}
	from := func(ts uint64) func(*api.DeleteRequest) { return func(q *api.DeleteRequest) { q.Ts = &ts } }
	until := func(ts uint64) func(*api.DeleteRequest) { return func(q *api.DeleteRequest) { q.EndTs = &ts } }
	refused[api.GeneralResponse](n, "Delete", del(card("c")), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableFollower))
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) { q.Pid = proto.Uint32(1) }), codeIsFollower, "table is follower")
	refused[api.GeneralResponse](n, "Delete", del(), codeInvalidArgs, "invalid args")
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) { q.Key = proto.String("c") }), codeInvalidArgs, "invalid args")
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) {
		q.Key, q.IdxName = proto.String("c"), proto.String("x")
	}), codeNoIndex, "index not found")
	refused[api.GeneralResponse](n, "Delete", del(card("c"), func(q *api.DeleteRequest) {
		q.Dimensions[0].Idx = proto.Uint32(8)
	}), codeNoIndex, "index not found")
	fill := func() {
		well[api.TruncateTableResponse](n, "TruncateTable", &api.TruncateTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)})
		for ts := int64(1); ts <= 5; ts++ {
			n.put("c", "m", "", ts, ts)
			n.put("d", "m", "", 10+ts, ts)
		}
	}
	for _, tt := range []struct {
		q    *api.DeleteRequest
		c, d []int64
		m    int // rows left in the other index
	}{
		{del(card("c")), []int64{}, []int64{15, 14, 13, 12, 11}, 10},
		{del(func(q *api.DeleteRequest) { q.Key, q.IdxName = proto.String("c"), proto.String("card") }), []int64{}, []int64{15, 14, 13, 12, 11}, 10},
		{del(card("c"), from(4), until(2)), []int64{5, 2, 1}, []int64{15, 14, 13, 12, 11}, 10},
		{del(card("c"), from(3)), []int64{5, 4}, []int64{15, 14, 13, 12, 11}, 10},
		{del(card("c"), until(3)), []int64{3, 2, 1}, []int64{15, 14, 13, 12, 11}, 10},
		{del(card("x")), []int64{5, 4, 3, 2, 1}, []int64{15, 14, 13, 12, 11}, 10},
		{del(from(4), until(2), func(q *api.DeleteRequest) { q.TsName = proto.String("ts") }), []int64{5, 2, 1}, []int64{15, 12, 11}, 6},
	} {
		fill()
		refused[api.GeneralResponse](n, "Delete", tt.q, codeOK, "ok")
		check := func(when string) {
			t.Helper()
			if c, d := n.scan("card", "c"), n.scan("card", "d"); !slices.Equal(c, tt.c) || !slices.Equal(d, tt.d) {
				t.Errorf("%s Delete(%v): %v and %v, want %v and %v", when, tt.q, c, d, tt.c, tt.d)
			}
			if m := n.scan("mcc", "m"); len(m) != tt.m {
				t.Errorf("%s Delete(%v): %d rows in the other index, want %d", when, tt.q, len(m), tt.m)
			}
		}
		check("after")
		n.restart()
		n.load(api.TableMode_kTableLeader)
		check("from the log, after")
		n.snapshot(1)
		n.restart()
		n.load(api.TableMode_kTableLeader)
		check("from the snapshot, after")
	}
}

// A set mode makes a tablet refuse clients, and take entries for what it leads.
func TestSetMode(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	well[api.GeneralResponse](n, "SetMode", &api.SetModeRequest{Follower: proto.Bool(true)})
	refused[api.PutResponse](n, "Put", putRequest(0, "c", "m", "", 1, 1), codeFollowerCluster, "is follower cluster")
	refused[api.GeneralResponse](n, "Delete", &api.DeleteRequest{Tid: tid, Pid: pid, Ts: proto.Uint64(1)}, codeFollowerCluster, "is follower cluster")
	q := &api.AppendEntriesRequest{Tid: tid, Pid: pid, PreLogIndex: proto.Uint64(0), Entries: []*api.LogEntry{logEntry(1, 0)}}
	if a := well[api.AppendEntriesResponse](n, "AppendEntries", q); a.GetLogOffset() != 1 {
		t.Errorf("AppendEntries: %v", a)
	}
	well[api.GeneralResponse](n, "SetMode", &api.SetModeRequest{Follower: proto.Bool(false)})
	refused[api.AppendEntriesResponse](n, "AppendEntries", q, codeIsLeader, "table is leader")
	n.put("c", "m", "", 1, 1)
}

// logEntry is a row as a leader sends it; its amount is the entry's index.
func logEntry(index, term uint64) *api.LogEntry {
	ts := int64(1000 + index)
	q := putRequest(0, "card", "mcc", "", int64(index), ts)
	return &api.LogEntry{
		LogIndex: &index, Term: &term, Value: q.Value, Dimensions: q.Dimensions, Ts: proto.Uint64(uint64(ts)),
	}
}

// Answers are bounded, so that they fit a frame: what is left is read on.
func TestAnswersAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("40 MiB of rows")
	}
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	big := make([]byte, 4<<20)
	for i := range int64(10) {
		n.put("c", string(big), "", i, i+1)
	}
	key := "c"
	a := well[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, Pid: pid, Pk: &key})
	if a.GetIsFinish() || a.GetCount() < 5 || a.GetCount() == 10 {
		t.Errorf("scan: %d rows, finished %t", a.GetCount(), a.GetIsFinish())
	}
	if seen := n.amounts("card", math.MaxUint32); len(seen) != 10 {
		t.Errorf("traverse: %d rows", len(seen))
	}
}

func TestTTLMessage(t *testing.T) {
	m := &common.TTLSt{TtlType: types.TTLType_kAbsOrLat.Enum(), AbsTtl: proto.Uint64(3), LatTtl: proto.Uint64(2)}
	if back := ttlOf(m).message(); !proto.Equal(m, back) {
		t.Errorf("%v became %v", m, back)
	}
}
