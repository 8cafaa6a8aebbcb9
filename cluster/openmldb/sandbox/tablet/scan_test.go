package tablet

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/wire"
)

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
