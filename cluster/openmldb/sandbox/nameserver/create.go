package nameserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
)

// Defaults of a new table (flags replica_num, partition_num, and TableInfo.seg_cnt).
const (
	defaultReplicas   = 3
	defaultPartitions = 8
	segments          = 8
)

// Bounds of what a caller may ask for: what the sandbox carries; the store has none of its own.
const (
	maxPartitions = 1024
	maxColumns    = 1000
)

func (l *lead) createTable(ctx context.Context, q *ns.CreateTableRequest, _ *ns.GeneralResponse) error {
	if err := l.follows(q.GetZoneInfo()); err != nil {
		return err
	}
	return l.make(ctx, proto.CloneOf(q.GetTableInfo()), q.GetCreateIfNotExist())
}

// make creates a table: checked, placed, made on every tablet, the followers first, and then known.
func (l *lead) make(ctx context.Context, t *ns.TableInfo, mayExist bool) error {
	l.mu.Lock()
	err := l.admit(t)
	if codeOf(err) == codeTableExists && mayExist && err != nil {
		err = nil
		l.mu.Unlock()
		return nil
	}
	if err == nil {
		err = l.place(t)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.makeOnTablets(ctx, t); err != nil {
		l.dropOnTablets(context.WithoutCancel(ctx), t)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tables[nameOf(t)] != nil { // somebody was faster
		l.work.Go(func() { l.dropOnTablets(l.ctx, t) })
		return refuse(codeTableExists, "table already exists")
	}
	if err := l.save(t); err != nil {
		return err
	}
	l.notify()
	return nil
}

// admit checks a new table and completes it; l.mu is held.
func (l *lead) admit(t *ns.TableInfo) error {
	switch {
	case t.GetDb() != "" && !l.databases[t.GetDb()]:
		return refuse(codeNoDatabase, "database not found")
	case l.tables[nameOf(t)] != nil:
		return refuse(codeTableExists, "table already exists")
	}
	if err := check(t); err != nil {
		return refuse(codeInvalid, "check TableMeta failed! %s", err)
	}
	if len(t.GetColumnKey()) == 0 {
		addDefaultIndex(t)
	}
	for _, k := range t.GetColumnKey() {
		if len(k.GetColName()) == 0 {
			k.ColName = []string{k.GetIndexName()}
		}
	}
	healthy := len(l.healthyOnes())
	if t.ReplicaNum == nil {
		t.ReplicaNum = proto.Uint32(uint32(min(defaultReplicas, max(healthy, 1))))
	}
	if t.PartitionNum == nil {
		t.PartitionNum = proto.Uint32(defaultPartitions)
	}
	if n := len(t.GetTablePartition()); n > 0 {
		t.PartitionNum = proto.Uint32(uint32(n))
		t.ReplicaNum = proto.Uint32(uint32(len(t.GetTablePartition()[0].GetPartitionMeta())))
	}
	if int(t.GetReplicaNum()) > healthy {
		return refuse(codePlacement, "healthy endpoint num is less than replica num")
	}
	t.SegCnt = proto.Uint32(t.GetSegCnt())
	if t.GetSegCnt() == 0 {
		t.SegCnt = proto.Uint32(segments)
	}
	if len(t.GetSchemaVersions()) == 0 {
		t.SchemaVersions = []*common.VersionPair{{Id: proto.Int32(1), FieldCount: proto.Int32(int32(len(t.GetColumnDesc())))}}
	}
	return nil
}

// check answers what is wrong with the description of a table.
func check(t *ns.TableInfo) error {
	columns := map[string]types.DataType{}
	for _, c := range t.GetColumnDesc() {
		if _, known := columns[c.GetName()]; known || c.GetName() == "" || c.DataType == nil {
			return fmt.Errorf("column [%s] is repeated, or has no name or type", c.GetName())
		}
		columns[c.GetName()] = c.GetDataType()
	}
	switch {
	case t.GetName() == "" || !plainName(t.GetName()):
		return fmt.Errorf("the table's name [%s] cannot be used", t.GetName())
	case len(columns) == 0:
		return fmt.Errorf("no column")
	case len(columns) > maxColumns:
		return fmt.Errorf("more than %d columns", maxColumns)
	case t.PartitionNum != nil && (t.GetPartitionNum() == 0 || t.GetPartitionNum() > maxPartitions):
		return fmt.Errorf("partition_num is not between 1 and %d", maxPartitions)
	case t.ReplicaNum != nil && t.GetReplicaNum() == 0:
		return fmt.Errorf("replica_num is 0")
	}
	names := map[string]bool{}
	for _, k := range t.GetColumnKey() {
		if names[k.GetIndexName()] {
			return fmt.Errorf("duplicate index [%s]", k.GetIndexName())
		}
		names[k.GetIndexName()] = true
		if err := checkIndex(k, columns); err != nil {
			return err
		}
	}
	for _, c := range t.GetPartitionKey() {
		if _, known := columns[c]; !known {
			return fmt.Errorf("partition_key [%s] is no column", c)
		}
	}
	return checkPlacement(t)
}

// checkIndex answers what is wrong with an index over columns of those types.
func checkIndex(k *common.ColumnKey, columns map[string]types.DataType) error {
	if k.GetIndexName() == "" {
		return fmt.Errorf("an index has no name")
	}
	cols := k.GetColName()
	if len(cols) == 0 {
		cols = []string{k.GetIndexName()}
	}
	for _, c := range cols {
		switch kind, known := columns[c]; {
		case !known:
			return fmt.Errorf("index [%s]: there is no column [%s]", k.GetIndexName(), c)
		case kind == types.DataType_kFloat || kind == types.DataType_kDouble:
			return fmt.Errorf("index [%s]: float or double column can not be index", k.GetIndexName())
		}
	}
	if ts := k.GetTsName(); ts != "" {
		if kind := columns[ts]; kind != types.DataType_kTimestamp && kind != types.DataType_kBigInt {
			return fmt.Errorf("index [%s]: ts column [%s] is no bigint or timestamp", k.GetIndexName(), ts)
		}
	}
	return nil
}

// checkPlacement checks a placement that the caller brings along.
func checkPlacement(t *ns.TableInfo) error {
	for i, p := range t.GetTablePartition() {
		leaders, at := 0, map[string]bool{}
		for _, m := range p.GetPartitionMeta() {
			if at[m.GetEndpoint()] {
				return fmt.Errorf("pid %d: endpoint [%s] is repeated", p.GetPid(), m.GetEndpoint())
			}
			if at[m.GetEndpoint()] = true; m.GetIsLeader() {
				leaders++
			}
		}
		if int(p.GetPid()) != i || leaders != 1 {
			return fmt.Errorf("partition %d has %d leaders", p.GetPid(), leaders)
		}
	}
	return nil
}

// plainName says whether a name can be that of a node in the tree.
func plainName(name string) bool {
	return len(name) < 256 && !slices.ContainsFunc([]rune(name), func(r rune) bool { return r == '/' || r <= ' ' || r == 0x7f }) &&
		name != "." && name != ".."
}

func addDefaultIndex(t *ns.TableInfo) {
	for _, c := range t.GetColumnDesc() {
		if k := c.GetDataType(); k != types.DataType_kFloat && k != types.DataType_kDouble {
			t.ColumnKey = []*common.ColumnKey{{
				IndexName: proto.String("INDEX_0_" + strconv.FormatInt(time.Now().UnixMilli(), 10)), ColName: []string{c.GetName()},
				Ttl: &common.TTLSt{TtlType: types.TTLType_kAbsoluteTime.Enum(), AbsTtl: proto.Uint64(0)},
			}}
			return
		}
	}
}

// place gives a new table its number, and its partitions their tablets: consecutive ones of a shuffled list, from the
// emptiest on; of a partition's tablets the one that leads least leads it. l.mu is held.
func (l *lead) place(t *ns.TableInfo) error {
	tid, err := l.add(l.at.tid, 1)
	term := uint64(0)
	if err == nil {
		term, err = l.counter(l.at.term)
	}
	if err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	t.Tid = proto.Uint32(uint32(tid))
	first := []*ns.TermPair{{Term: &term, Offset: proto.Uint64(0)}}
	if given := t.GetTablePartition(); len(given) > 0 {
		for _, p := range given {
			for _, m := range p.GetPartitionMeta() {
				if !l.healthy(m.GetEndpoint()) {
					return refuse(codePlacement, "endpoint %s is not healthy", m.GetEndpoint())
				}
				m.IsAlive = proto.Bool(true)
			}
			p.TermOffset = first
		}
		return nil
	}
	endpoints := l.healthyOnes()
	random := rand.New(rand.NewPCG(tid, 0))
	random.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	holds, leads := l.load()
	at := 0
	for i, endpoint := range endpoints {
		if holds[endpoint] < holds[endpoints[at]] {
			at = i
		}
	}
	for pid := range t.GetPartitionNum() {
		p := &ns.TablePartition{Pid: proto.Uint32(pid), TermOffset: first}
		var leader *ns.PartitionMeta
		for i := range int(t.GetReplicaNum()) {
			m := &ns.PartitionMeta{
				Endpoint: proto.String(endpoints[(at+i)%len(endpoints)]), IsLeader: proto.Bool(false), IsAlive: proto.Bool(true),
			}
			p.PartitionMeta = append(p.PartitionMeta, m)
			if leader == nil || leads[m.GetEndpoint()] < leads[leader.GetEndpoint()] {
				leader = m
			}
		}
		leader.IsLeader = proto.Bool(true)
		leads[leader.GetEndpoint()]++
		t.TablePartition = append(t.TablePartition, p)
		at++
	}
	return nil
}

// load counts the partitions that every tablet holds, and those it leads; l.mu is held.
func (l *lead) load() (holds, leads map[string]int) {
	holds, leads = map[string]int{}, map[string]int{}
	for _, t := range l.tables {
		for _, p := range t.GetTablePartition() {
			for _, m := range p.GetPartitionMeta() {
				if holds[m.GetEndpoint()]++; m.GetIsLeader() && m.GetIsAlive() {
					leads[m.GetEndpoint()]++
				}
			}
		}
	}
	return holds, leads
}

// metaOf is what a tablet is told of one partition of a table.
func metaOf(t *ns.TableInfo, p *ns.TablePartition, isLeader bool) *api.TableMeta {
	meta := &api.TableMeta{
		Tid: proto.Int32(int32(t.GetTid())), Name: t.Name, Pid: proto.Int32(int32(p.GetPid())), SegCnt: proto.Int32(int32(t.GetSegCnt())),
		Mode: api.TableMode_kTableFollower.Enum(), CompressType: t.CompressType, KeyEntryMaxHeight: t.KeyEntryMaxHeight,
		ColumnDesc: t.ColumnDesc, ColumnKey: t.ColumnKey, AddedColumnDesc: t.AddedColumnDesc, Db: t.Db,
		SchemaVersions: t.SchemaVersions, StorageMode: t.StorageMode, BaseTableTid: t.BaseTableTid,
	}
	if terms := p.GetTermOffset(); len(terms) > 0 {
		meta.Term = terms[len(terms)-1].Term
	}
	for _, other := range t.GetTablePartition() {
		c := &common.TablePartition{Pid: other.Pid}
		for _, m := range other.GetPartitionMeta() {
			c.PartitionMeta = append(c.PartitionMeta, &common.PartitionMeta{Endpoint: m.Endpoint, IsLeader: m.IsLeader, IsAlive: m.IsAlive})
		}
		meta.TablePartition = append(meta.TablePartition, c)
	}
	if isLeader {
		meta.Mode = api.TableMode_kTableLeader.Enum()
		for _, m := range p.GetPartitionMeta() {
			if !m.GetIsLeader() {
				meta.Replicas = append(meta.Replicas, m.GetEndpoint())
			}
		}
	}
	return meta
}

func (l *lead) makeOnTablets(ctx context.Context, t *ns.TableInfo) error {
	for _, leads := range []bool{false, true} {
		var endpoints []string
		parts := map[string][]*ns.TablePartition{}
		for _, p := range t.GetTablePartition() {
			for _, m := range p.GetPartitionMeta() {
				if m.GetIsLeader() == leads {
					parts[m.GetEndpoint()] = append(parts[m.GetEndpoint()], p)
				}
			}
		}
		for endpoint := range parts {
			endpoints = append(endpoints, endpoint)
		}
		failed := l.onEach(ctx, endpoints, func(ctx context.Context, endpoint string) error {
			for _, p := range parts[endpoint] {
				err := l.call(ctx, endpoint, "CreateTable", &api.CreateTableRequest{TableMeta: metaOf(t, p, leads)}, &api.CreateTableResponse{})
				if err != nil {
					return err
				}
			}
			return nil
		})
		for endpoint, err := range failed {
			l.log("create table %s on %s: %v", t.GetName(), endpoint, err)
			if code := codeOf(err); code != codeError {
				return refuse(code, "create table failed on tablet %s: %s", endpoint, err)
			}
			return refuse(codeCreateFailed, "create table failed")
		}
	}
	return nil
}

// dropOnTablets drops every replica of a table; who cannot be reached keeps its own.
func (l *lead) dropOnTablets(ctx context.Context, t *ns.TableInfo) (failed map[string]error) {
	parts := map[string][]uint32{}
	for _, p := range t.GetTablePartition() {
		for _, m := range p.GetPartitionMeta() {
			parts[m.GetEndpoint()] = append(parts[m.GetEndpoint()], p.GetPid())
		}
	}
	l.mu.Lock()
	var endpoints []string
	for endpoint := range parts {
		if l.healthy(endpoint) {
			endpoints = append(endpoints, endpoint)
		}
	}
	l.mu.Unlock()
	return l.onEach(ctx, endpoints, func(ctx context.Context, endpoint string) error {
		for _, pid := range parts[endpoint] {
			q := &api.DropTableRequest{Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(pid))}
			if err := l.call(ctx, endpoint, "DropTable", q, &api.DropTableResponse{}); err != nil && codeOf(err) != codeNoTable {
				return err
			}
		}
		return nil
	})
}
