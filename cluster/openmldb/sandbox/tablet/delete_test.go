package tablet

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
)

func deleteRequest(change ...func(*api.DeleteRequest)) *api.DeleteRequest {
	q := &api.DeleteRequest{Tid: tid, Pid: pid}
	for _, do := range change {
		do(q)
	}
	return q
}

func ofCard(key string) func(*api.DeleteRequest) {
	return func(q *api.DeleteRequest) { q.Dimensions = []*api.Dimension{{Key: &key, Idx: proto.Uint32(0)}} }
}

func TestDeleteRefusals(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	del := deleteRequest
	refused[api.GeneralResponse](n, "Delete", del(ofCard("c")), codeNoTable, "table does not exist")
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.create(testMeta(1, api.TableMode_kTableFollower))
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) { q.Pid = proto.Uint32(1) }), codeIsFollower, "table is follower")
	refused[api.GeneralResponse](n, "Delete", del(), codeInvalidArgs, "invalid args")
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) { q.Key = proto.String("c") }), codeInvalidArgs, "invalid args")
	refused[api.GeneralResponse](n, "Delete", del(func(q *api.DeleteRequest) {
		q.Key, q.IdxName = proto.String("c"), proto.String("x")
	}), codeNoIndex, "index not found")
	refused[api.GeneralResponse](n, "Delete", del(ofCard("c"), func(q *api.DeleteRequest) {
		q.Dimensions[0].Idx = proto.Uint32(8)
	}), codeNoIndex, "index not found")
	if n.offset() != 0 {
		t.Errorf("what was refused is in the log: offset %d", n.offset())
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	del, card := deleteRequest, ofCard
	from := func(ts uint64) func(*api.DeleteRequest) { return func(q *api.DeleteRequest) { q.Ts = &ts } }
	until := func(ts uint64) func(*api.DeleteRequest) { return func(q *api.DeleteRequest) { q.EndTs = &ts } }
	all, others := []int64{5, 4, 3, 2, 1}, []int64{15, 14, 13, 12, 11}
	for _, tt := range []struct {
		q    *api.DeleteRequest
		c, d []int64
		m    int // rows left in the other index
	}{
		{del(card("c")), []int64{}, others, 10},
		{del(func(q *api.DeleteRequest) { q.Key, q.IdxName = proto.String("c"), proto.String("card") }), []int64{}, others, 10},
		{del(card("c"), from(4), until(2)), []int64{5, 2, 1}, others, 10},
		{del(card("c"), from(3)), []int64{5, 4}, others, 10},
		{del(card("c"), until(3)), []int64{3, 2, 1}, others, 10},
		{del(card("x")), all, others, 10},
		{del(from(4), until(2), func(q *api.DeleteRequest) { q.TsName = proto.String("ts") }), []int64{5, 2, 1}, []int64{15, 12, 11}, 6},
	} {
		well[api.TruncateTableResponse](n, "TruncateTable", &api.TruncateTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)})
		for ts := int64(1); ts <= 5; ts++ {
			n.put("c", "m", "", ts, ts)
			n.put("d", "m", "", 10+ts, ts)
		}
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

// spread is a table of four partitions, which are with two tablets in turn.
type spread [2]*node

const spreadOver = 4

func (s spread) home(pid uint32) *node { return s[pid%2] }

// info is what the nameserver would say of the table.
func (s spread) info() *ns.TableInfo {
	info := &ns.TableInfo{Name: proto.String("flow")}
	for p := range uint32(spreadOver) {
		info.TablePartition = append(info.TablePartition, &ns.TablePartition{Pid: &p, PartitionMeta: []*ns.PartitionMeta{
			{Endpoint: proto.String("127.0.0.1:1"), IsLeader: proto.Bool(true), IsAlive: proto.Bool(false)},
			{Endpoint: &s.home(p).endpoint, IsLeader: proto.Bool(true)},
		}})
	}
	return info
}

// put puts a row into the partitions of its keys, as clients do.
func (s spread) put(card, mcc string, ts int64) {
	byPartition := map[uint32]*api.PutRequest{}
	for idx, key := range []string{card, mcc} {
		p := wire.PartitionOf(key, spreadOver)
		if byPartition[p] == nil {
			byPartition[p] = putRequest(p, "", "", "", ts, ts)
			byPartition[p].Value = row(card, mcc, "", ts, ts)
		}
		byPartition[p].Dimensions = append(byPartition[p].Dimensions, &api.Dimension{Key: &key, Idx: proto.Uint32(uint32(idx))})
	}
	for p, q := range byPartition {
		s.home(p).t.Helper()
		well[api.PutResponse](s.home(p), "Put", q)
	}
}

// count counts a key's rows.
func (s spread) count(idx, key string) uint32 {
	p := wire.PartitionOf(key, spreadOver)
	q := &api.CountRequest{Tid: tid, Pid: &p, IdxName: &idx, Key: &key}
	return well[api.CountResponse](s.home(p), "Count", q).GetCount()
}

// A delete that decodes rows removes them from the indexes of other partitions, too.
func TestDeleteElsewhere(t *testing.T) {
	w := newWorld(t)
	s := spread{w.started(), w.started()}
	for p := range uint32(spreadOver) {
		s.home(p).create(testMeta(p, api.TableMode_kTableLeader))
	}
	for i := range int64(6) {
		s.put("card0", fmt.Sprint("mcc", i%2), 10+i)
		s.put("card1", fmt.Sprint("mcc", i%2), 20+i)
	}
	p := wire.PartitionOf("card0", spreadOver)
	q := &api.DeleteRequest{
		Tid: tid, Pid: &p, Dimensions: []*api.Dimension{{Key: proto.String("card0"), Idx: proto.Uint32(0)}},
		Ts: proto.Uint64(14), EndTs: proto.Uint64(11), EnableDecodeValue: proto.Bool(true),
	}
	refused[api.GeneralResponse](s.home(p), "Delete", q, codeDeleteFailed, "no TableHandler: there is no such node")
	data, err := proto.Marshal(s.info())
	if err != nil {
		t.Fatal(err)
	}
	w.tree.put(treeRoot+"/table/db_table_data/7", data)
	well[api.GeneralResponse](s.home(p), "Delete", q) // 12, 13 and 14: two of mcc0, one of mcc1
	counts := func() string {
		return fmt.Sprint(s.count("card", "card0"), s.count("card", "card1"), s.count("mcc", "mcc0"), s.count("mcc", "mcc1"))
	}
	if got := counts(); got != "3 6 4 5" {
		t.Errorf("after it: %s", got)
	}
	q.EnableDecodeValue = nil // as ns_client sends it
	q.Ts, q.EndTs = nil, nil
	well[api.GeneralResponse](s.home(p), "Delete", q)
	if got := counts(); got != "0 6 4 5" {
		t.Errorf("after one of its own index: %s", got)
	}
}
