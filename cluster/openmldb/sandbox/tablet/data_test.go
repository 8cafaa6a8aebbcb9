package tablet

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
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

func getRequest(change ...func(*api.GetRequest)) *api.GetRequest {
	q := &api.GetRequest{Tid: tid, Pid: pid, Key: proto.String("c")}
	for _, do := range change {
		do(q)
	}
	return q
}

func TestGet(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	refused[api.GetResponse](n, "Get", getRequest(), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	refused[api.GetResponse](n, "Get", getRequest(), codeNoKey, "key not found")
	for ts := int64(10); ts <= 50; ts += 10 {
		n.put("c", "m", "", ts, ts)
	}
	refused[api.GetResponse](n, "Get", getRequest(func(q *api.GetRequest) { q.IdxName = proto.String("x") }), codeNoIndex, "idx name not found")
	a := well[api.GetResponse](n, "Get", getRequest(func(q *api.GetRequest) { q.Projection = []uint32{3, 0} }))
	s := wire.Schema{Columns: []wire.Column{testSchema.Columns[3], testSchema.Columns[0]}}
	if values, err := s.Decode(a.GetValue()); err != nil || values[0] != int64(50) || values[1] != "c" {
		t.Errorf("projection: %v, %v", values, err)
	}
	refused[api.GetResponse](n, "Get", getRequest(func(q *api.GetRequest) { q.Projection = []uint32{5} }), codeInvalidParameter, "invalid args")
}

func TestGetByTime(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	for ts := int64(10); ts <= 50; ts += 10 {
		n.put("c", "m", "", ts, ts)
	}
	get := getRequest
	at := func(ts uint64, how api.GetType) func(*api.GetRequest) {
		return func(q *api.GetRequest) { q.Ts, q.Type = &ts, how.Enum() }
	}
	until := func(et uint64, how api.GetType) func(*api.GetRequest) {
		return func(q *api.GetRequest) { q.Et, q.EtType = &et, how.Enum() }
	}
	const eq, lt, le = api.GetType_kSubKeyEq, api.GetType_kSubKeyLt, api.GetType_kSubKeyLe
	const gt, ge = api.GetType_kSubKeyGt, api.GetType_kSubKeyGe
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
		switch a := call[api.GetResponse](n, "Get", tt.q); {
		case tt.want > 0:
			if a.GetCode() != 0 || amountOf(t, a.GetValue()) != tt.want || a.GetTs() != uint64(tt.want) {
				t.Errorf("Get(%v) = %v, want row %d", tt.q, a, tt.want)
			}
		case tt.want < 0:
			refused[api.GetResponse](n, "Get", tt.q, codeInvalidParameter, "invalid args")
		default:
			refused[api.GetResponse](n, "Get", tt.q, codeNoKey, "key not found")
		}
	}
	refused[api.GetResponse](n, "Get", get(at(30, le), until(10, lt)), codeInvalidParameter, "st/et sub key type is invalid")
}
