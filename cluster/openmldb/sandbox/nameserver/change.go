package nameserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
)

func (l *lead) showTable(_ context.Context, q *ns.ShowTableRequest, a *ns.ShowTableResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.sorted() {
		if (q.GetShowAll() || t.GetDb() == q.GetDb()) && (q.Name == nil || q.GetName() == t.GetName()) {
			t = l.withStatus(t)
			t.ColumnKey = slices.DeleteFunc(t.ColumnKey, func(k *common.ColumnKey) bool { return k.GetFlag() == deletedIndex })
			a.TableInfo = append(a.TableInfo, t)
		}
	}
	return nil
}

func (l *lead) dropTable(ctx context.Context, q *ns.DropTableRequest, _ *ns.GeneralResponse) error {
	if err := l.follows(q.GetZoneInfo()); err != nil {
		return err
	}
	l.mu.Lock()
	t := l.tables[tableName{q.GetDb(), q.GetName()}]
	l.mu.Unlock()
	if t == nil {
		return refuse(codeNoTable, "table does not exist!")
	}
	if failed := l.dropOnTablets(ctx, t); len(failed) > 0 {
		for endpoint, err := range failed {
			l.log("drop table %s on %s: %v", t.GetName(), endpoint, err)
		}
		return refuse(codeDropTable, "drop table error")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tables[nameOf(t)].GetTid() != t.GetTid() {
		return refuse(codeNoTable, "table does not exist!")
	}
	if err := l.remove(l.at.table(t)); err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	delete(l.tables, nameOf(t))
	l.forget(t.GetTid())
	l.notify()
	return nil
}

// onReplicas calls something for every replica of a table at once, leaders and followers.
func (l *lead) onReplicas(ctx context.Context, t *ns.TableInfo, run func(ctx context.Context, endpoint string, pid uint32) error) error {
	parts := map[string][]uint32{}
	var endpoints []string
	for _, p := range t.GetTablePartition() {
		for _, m := range p.GetPartitionMeta() {
			if parts[m.GetEndpoint()] == nil {
				endpoints = append(endpoints, m.GetEndpoint())
			}
			parts[m.GetEndpoint()] = append(parts[m.GetEndpoint()], p.GetPid())
		}
	}
	failed := l.onEach(ctx, endpoints, func(ctx context.Context, endpoint string) error {
		for _, pid := range parts[endpoint] {
			if err := run(ctx, endpoint, pid); err != nil {
				return fmt.Errorf("%s: %w", endpoint, err)
			}
		}
		return nil
	})
	for _, err := range failed {
		return err
	}
	return nil
}

func (l *lead) truncateTable(ctx context.Context, q *ns.TruncateTableRequest, _ *ns.TruncateTableResponse) error {
	name := tableName{q.GetDb(), q.GetName()}
	l.askStatuses()
	l.mu.Lock()
	t := l.tables[name]
	active := t != nil && l.active(name)
	even := true
	for _, p := range t.GetTablePartition() {
		var first *status
		for _, m := range p.GetPartitionMeta() {
			s := l.statuses[replica{t.GetTid(), p.GetPid(), m.GetEndpoint()}]
			if first == nil {
				first = s
			}
			even = even && s != nil && s.has && s.offset == first.offset
		}
	}
	l.mu.Unlock()
	switch {
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	case active:
		return refuse(codeActiveOp, "there is active op")
	case !even:
		return refuse(codeOffsetMismatch, "partition offset mismatch")
	}
	err := l.onReplicas(ctx, t, func(ctx context.Context, endpoint string, pid uint32) error {
		q := &api.TruncateTableRequest{Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(pid))}
		return l.call(ctx, endpoint, "TruncateTable", q, &api.TruncateTableResponse{})
	})
	if err != nil {
		return refuse(codeTruncate, "truncate table failed: %s", err)
	}
	return nil
}

// maxAdded is how many columns a table may be given after its creation.
const maxAdded = 63

func (l *lead) addTableField(ctx context.Context, q *ns.AddTableFieldRequest, _ *ns.GeneralResponse) error {
	name := tableName{q.GetDb(), q.GetName()}
	l.mu.Lock()
	t := l.tables[name]
	l.mu.Unlock()
	if t == nil {
		return refuse(codeNoTable, "table doesn't exist!")
	}
	column := q.GetColumnDesc()
	all := slices.Concat(t.GetColumnDesc(), t.GetAddedColumnDesc())
	switch {
	case column.GetName() == "" || column.DataType == nil:
		return refuse(codeInvalid, "invalid parameter")
	case slices.ContainsFunc(all, func(c *common.ColumnDesc) bool { return c.GetName() == column.GetName() }):
		return refuse(codeFieldExists, "field name repeated in table!")
	case len(t.GetAddedColumnDesc()) >= maxAdded:
		return refuse(codeFieldsFull, "the count of adding field is more than %d", maxAdded)
	}
	version := &common.VersionPair{Id: proto.Int32(2), FieldCount: proto.Int32(int32(len(all) + 1))}
	if known := t.GetSchemaVersions(); len(known) > 0 {
		version.Id = proto.Int32(known[len(known)-1].GetId() + 1)
	}
	told := map[string]bool{}
	err := l.onReplicas(ctx, t, func(ctx context.Context, endpoint string, _ uint32) error {
		l.mu.Lock()
		again := told[endpoint]
		told[endpoint] = true
		l.mu.Unlock()
		if again {
			return nil
		}
		return l.call(ctx, endpoint, "UpdateTableMetaForAddField", &api.UpdateTableMetaForAddFieldRequest{
			Tid: t.Tid, ColumnDesc: column, ColumnDescs: append(slices.Clone(t.GetAddedColumnDesc()), column), VersionPair: version,
		}, &api.GeneralResponse{})
	})
	if err != nil {
		return refuse(codeFieldTablet, "fail to update tableMeta for adding field: %s", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(name, func(t *ns.TableInfo) error {
		t.AddedColumnDesc = append(t.AddedColumnDesc, column)
		t.SchemaVersions = append(t.SchemaVersions, version)
		return nil
	})
}

func (l *lead) updateTTL(ctx context.Context, q *ns.UpdateTTLRequest, _ *ns.UpdateTTLResponse) error {
	name := tableName{q.GetDb(), q.GetName()}
	l.mu.Lock()
	t := l.tables[name]
	l.mu.Unlock()
	if t == nil {
		return refuse(codeTableExists, "table does not exist") // with this code, whatever that means
	}
	ttl := q.GetTtlDesc()
	if ttl == nil || q.GetIndexName() != "" && indexOf(t, q.GetIndexName()) == nil {
		return refuse(codeInvalid, "ttl or index is missing")
	}
	err := l.onReplicas(ctx, t, func(ctx context.Context, endpoint string, pid uint32) error {
		return l.call(ctx, endpoint, "UpdateTTL", &api.UpdateTTLRequest{
			Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(pid)), Ttl: ttl, IndexName: q.IndexName,
		}, &api.UpdateTTLResponse{})
	})
	if err != nil {
		return refuse(codeTTL, "fail to update ttl from tablet: %s", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(name, func(t *ns.TableInfo) error {
		for _, k := range t.GetColumnKey() {
			if q.GetIndexName() == "" || k.GetIndexName() == q.GetIndexName() {
				k.Ttl = proto.CloneOf(ttl)
			}
		}
		return nil
	})
}

// loadTable is what the leader of a pair of clusters asks the other one's nameserver for.
func (l *lead) loadTable(ctx context.Context, q *ns.LoadTableRequest, _ *ns.GeneralResponse) error {
	if err := l.ofLeader(q.GetZoneInfo()); err != nil {
		return err
	}
	l.mu.Lock()
	t := l.tables[tableName{q.GetDb(), q.GetName()}]
	l.mu.Unlock()
	p := partition(t, q.GetPid())
	if p == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	err := l.call(ctx, q.GetEndpoint(), "LoadTable", &api.LoadTableRequest{TableMeta: metaOf(t, p, false), TaskInfo: q.TaskInfo}, &api.GeneralResponse{})
	var refused *refusal
	if err != nil && !errors.As(err, &refused) {
		return refuse(codeTabletFailed, "request tablet failed: %s", q.GetEndpoint())
	}
	return err
}

func (l *lead) getTablePartition(_ context.Context, q *ns.GetTablePartitionRequest, a *ns.GetTablePartitionResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tables[tableName{q.GetDb(), q.GetName()}]
	if t == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	if p := partition(t, q.GetPid()); p != nil {
		a.TablePartition = proto.CloneOf(p)
	}
	return nil
}

func (l *lead) setTablePartition(_ context.Context, q *ns.SetTablePartitionRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(tableName{q.GetDb(), q.GetName()}, func(t *ns.TableInfo) error {
		for i, p := range t.GetTablePartition() {
			if p.GetPid() == q.GetTablePartition().GetPid() && q.TablePartition != nil {
				t.TablePartition[i] = proto.CloneOf(q.GetTablePartition())
			}
		}
		return nil
	})
}

func (l *lead) updateTableAlive(_ context.Context, q *ns.UpdateTableAliveRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	switch {
	case l.tablets[q.GetEndpoint()] == nil:
		return refuse(codeNoEndpoint, "endpoint does not exist")
	case l.tables[name] == nil:
		return refuse(codeNoTable, "table does not exist")
	}
	if l.s.config.Release2018 {
		return l.updateAliveByOp(name, q)
	}
	return l.change(name, func(t *ns.TableInfo) error {
		found := false
		for _, p := range t.GetTablePartition() {
			if m := member(p, q.GetEndpoint()); m != nil && (q.Pid == nil || p.GetPid() == q.GetPid()) {
				m.IsAlive = proto.Bool(q.GetIsAlive())
				found = true
			}
		}
		if !found {
			return refuse(codeNoPidUpdated, "no pid has update")
		}
		return nil
	})
}

// updateAliveByOp does it as the releases of 2018 did; l.mu is held.
func (l *lead) updateAliveByOp(name tableName, q *ns.UpdateTableAliveRequest) error {
	found := false
	for _, p := range l.tables[name].GetTablePartition() {
		if member(p, q.GetEndpoint()) == nil || q.Pid != nil && p.GetPid() != q.GetPid() {
			continue
		}
		found = true
		err := l.create(&plan{
			kind: api.OPType_kUpdateTableAliveOP, table: name, pid: p.GetPid(), concurrency: defaultConcurrency,
			data: &ns.EndpointStatusData{Endpoint: q.Endpoint, IsAlive: proto.Bool(q.GetIsAlive())},
		})
		if err != nil {
			return refuse(codeCreateOp, "create op failed")
		}
	}
	if !found {
		return refuse(codeNoPidUpdated, "no pid has update")
	}
	return nil
}
