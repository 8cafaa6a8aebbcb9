package openmldb

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

type entry struct {
	key   string
	time  uint64
	seq   int
	value []byte
}

type box struct {
	ns      *server
	tablets []*server
	info    *ns.TableInfo

	mu   sync.Mutex
	rows map[[2]uint32][]entry // by partition and place of the index
	seq  int
	// most bounds the rows of a page of Traverse; 0 is no bound. turned has rows of one time come the other way round
	// from tablets with an odd number.
	most   uint32
	turned bool
}

const flowID = 4

func flowInfo(partitions int, endpoints ...string) *ns.TableInfo {
	info := &ns.TableInfo{
		Name: proto.String("flow"), Tid: proto.Uint32(flowID), PartitionNum: proto.Uint32(uint32(partitions)), ReplicaNum: proto.Uint32(uint32(len(endpoints))),
	}
	for i, c := range []string{"card", "mcc", "amount", "at"} {
		kind := []types.DataType{types.DataType_kString, types.DataType_kString, types.DataType_kDouble, types.DataType_kTimestamp}[i]
		info.ColumnDesc = append(info.ColumnDesc, &common.ColumnDesc{Name: &c, DataType: &kind})
	}
	info.ColumnKey = []*common.ColumnKey{
		{IndexName: proto.String("card"), ColName: []string{"card"}, TsName: proto.String("at"), Ttl: &common.TTLSt{AbsTtl: proto.Uint64(60)}},
		{IndexName: proto.String("mcc"), ColName: []string{"mcc"}},
	}
	for pid := range partitions {
		p := &ns.TablePartition{Pid: proto.Uint32(uint32(pid)), TermOffset: []*ns.TermPair{{Term: proto.Uint64(1), Offset: proto.Uint64(0)}}}
		for i, e := range endpoints {
			p.PartitionMeta = append(p.PartitionMeta, &ns.PartitionMeta{
				Endpoint: &e, IsLeader: proto.Bool(i == pid%len(endpoints)), IsAlive: proto.Bool(true), Offset: proto.Uint64(uint64(100 + pid)),
				RecordCnt: proto.Uint64(10), RecordByteSize: proto.Uint64(1000), Diskused: proto.Uint64(2000),
			})
		}
		info.TablePartition = append(info.TablePartition, p)
	}
	return info
}

func newBox(t testing.TB, partitions int) *box {
	b := &box{ns: newNameserver(t), rows: map[[2]uint32][]entry{}}
	var endpoints []string
	for range 3 {
		s := newTablet(t)
		b.tablets = append(b.tablets, s)
		endpoints = append(endpoints, s.endpoint)
	}
	b.info = flowInfo(partitions, endpoints...)
	answering(b.ns, "ShowTable", func(q *ns.ShowTableRequest, a *ns.ShowTableResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		a.Code = proto.Int32(0)
		if q.Name == nil || q.GetName() == "flow" {
			a.TableInfo = []*ns.TableInfo{proto.CloneOf(b.info)}
		}
	})
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		for _, s := range b.tablets {
			a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: &s.endpoint, State: proto.String("kHealthy"), Age: proto.Uint64(1500), RealEndpoint: proto.String("-")})
		}
	})
	for _, s := range b.tablets {
		b.serveRows(s)
		b.serveStatus(s)
	}
	return b
}

func (b *box) change(f func(*ns.TableInfo)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.info)
}

func (b *box) leads(s *server, pid uint32) bool {
	for _, m := range b.info.TablePartition[pid].PartitionMeta {
		if m.GetEndpoint() == s.endpoint {
			return m.GetIsLeader() && m.GetIsAlive()
		}
	}
	return false
}

func (b *box) serveStatus(s *server) {
	answering(s, "GetTableStatus", func(q *api.GetTableStatusRequest, a *api.GetTableStatusResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for pid := range b.info.TablePartition {
			if q.Tid != nil && (q.GetTid() != flowID || q.GetPid() != uint32(pid)) {
				continue
			}
			mode := api.TableMode_kTableFollower
			if b.leads(s, uint32(pid)) {
				mode = api.TableMode_kTableLeader
			}
			a.AllTableStatus = append(a.AllTableStatus, &api.TableStatus{
				Tid: proto.Uint32(flowID), Pid: proto.Uint32(uint32(pid)), Name: proto.String("flow"), Offset: proto.Uint64(uint64(100 + pid)),
				Mode: &mode, State: api.TableState_kTableNormal.Enum(), RecordCnt: proto.Uint64(10), RecordByteSize: proto.Uint64(600),
				RecordIdxByteSize: proto.Uint64(400), IsExpire: proto.Bool(true),
			})
		}
	})
	answering(s, "GetTableSchema", func(_ *api.GetTableSchemaRequest, a *api.GetTableSchemaResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		a.TableMeta = &api.TableMeta{
			Tid: proto.Int32(flowID), Name: proto.String("flow"), ColumnDesc: b.info.ColumnDesc, ColumnKey: b.info.ColumnKey,
			AddedColumnDesc: b.info.AddedColumnDesc, SchemaVersions: b.info.SchemaVersions,
		}
	})
}

func (b *box) at(pid uint32, index string) [2]uint32 {
	place := slices.IndexFunc(b.info.ColumnKey, func(k *common.ColumnKey) bool { return k.GetIndexName() == index })
	return [2]uint32{pid, uint32(max(place, 0))}
}

func (b *box) under(at [2]uint32, key string) []entry {
	var all []entry
	for _, e := range b.rows[at] {
		if e.key == key {
			all = append(all, e)
		}
	}
	return all
}

func (b *box) serveRows(s *server) {
	answering(s, "Put", func(q *api.PutRequest, a *api.PutResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.leads(s, q.GetPid()) {
			refuse(a, codeIsFollower, "table is follower")
			return
		}
		b.seq++
		for _, d := range q.Dimensions {
			at := [2]uint32{q.GetPid(), d.GetIdx()}
			b.rows[at] = append(b.rows[at], entry{d.GetKey(), uint64(q.GetTime()), b.seq, bytesOf(q.Value)})
			slices.SortStableFunc(b.rows[at], func(x, y entry) int {
				return cmp.Or(strings.Compare(x.key, y.key), cmp.Compare(y.time, x.time), cmp.Compare(x.seq, y.seq))
			})
		}
	})
	answering(s, "Get", func(q *api.GetRequest, a *api.GetResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.under(b.at(q.GetPid(), q.GetIdxName()), q.GetKey()) {
			if q.GetTs() == 0 || q.GetTs() == e.time {
				a.Code, a.Ts, a.Value = proto.Int32(0), &e.time, e.value
				return
			}
		}
		refuse(a, codeNoKey, "key not found")
	})
	answering(s, "Count", func(q *api.CountRequest, a *api.CountResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		a.Count = proto.Uint32(uint32(len(b.under(b.at(q.GetPid(), q.GetIdxName()), q.GetKey()))))
	})
	answering(s, "Delete", func(q *api.DeleteRequest, a *api.GeneralResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		at := b.at(q.GetPid(), q.GetIdxName())
		b.rows[at] = slices.DeleteFunc(b.rows[at], func(e entry) bool {
			return e.key == q.GetKey() && (q.Ts == nil || e.time <= q.GetTs()) && (q.EndTs == nil || e.time > q.GetEndTs())
		})
	})
	answering(s, "Scan", b.scan)
	answering(s, "Traverse", func(q *api.TraverseRequest, a *api.TraverseResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.leads(s, q.GetPid()) {
			refuse(a, codeIsFollower, "table is follower")
			return
		}
		rows := b.rows[b.at(q.GetPid(), q.GetIdxName())]
		if b.turned && slices.Index(b.tablets, s)%2 == 1 {
			rows = slices.Clone(rows)
			slices.SortStableFunc(rows, func(x, y entry) int {
				return cmp.Or(strings.Compare(x.key, y.key), cmp.Compare(y.time, x.time), cmp.Compare(y.seq, x.seq))
			})
		}
		if b.most > 0 && q.GetLimit() > b.most {
			q.Limit = proto.Uint32(b.most)
		}
		b.traverse(rows, q, a)
	})
}

func (b *box) scan(q *api.ScanRequest, a *api.ScanResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.GetSt() < q.GetEt() {
		refuse(a, 117, "starttime less than endtime")
		return
	}
	skip, n := q.GetSkipRecordNum(), uint32(0)
	a.IsFinish = proto.Bool(true)
	for _, e := range b.under(b.at(q.GetPid(), q.GetIdxName()), q.GetPk()) {
		switch {
		case q.GetSt() > 0 && e.time > q.GetSt():
			continue
		case q.GetLimit() > 0 && n >= q.GetLimit():
			a.IsFinish = proto.Bool(false)
		case e.time == q.GetSt() && skip > 0:
			skip--
			continue
		}
		if !a.GetIsFinish() || e.time <= q.GetEt() {
			break
		}
		a.Pairs = wire.AppendScanPair(a.Pairs, e.time, e.value)
		n++
	}
	a.Count = &n
}

func (b *box) traverse(rows []entry, q *api.TraverseRequest, a *api.TraverseResponse) {
	var pos uint32
	var before entry
	var n uint32
	started := q.GetPk() == ""
	for _, e := range rows {
		if e.key != before.key || e.time != before.time {
			pos = 0
		}
		pos++
		before = e
		after := e.key > q.GetPk() || e.key == q.GetPk() && (e.time < q.GetTs() || e.time == q.GetTs() && pos > q.GetTsPos())
		if !started && !after {
			continue
		}
		if n == q.GetLimit() {
			break
		}
		n++
		a.Pairs = wire.AppendTraversePair(a.Pairs, wire.Pair{Key: e.key, Time: e.time, Row: e.value})
		a.Pk, a.Ts, a.TsPos = proto.String(e.key), proto.Uint64(e.time), proto.Uint32(pos)
	}
	a.Count, a.IsFinish = &n, proto.Bool(n < q.GetLimit())
}

func bytesOf(b []byte) []byte { return append([]byte(nil), b...) }
