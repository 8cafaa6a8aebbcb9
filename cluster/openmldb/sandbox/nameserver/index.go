package nameserver

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
)

// deletedIndex is the flag of an index that was deleted and keeps its place.
const deletedIndex = 1

func indexOf(t *ns.TableInfo, name string) *common.ColumnKey {
	for _, k := range t.GetColumnKey() {
		if k.GetIndexName() == name && k.GetFlag() != deletedIndex {
			return k
		}
	}
	return nil
}

// Codes of indexes among the tablets' (base/status.h).
const (
	codeIndexMissing = 108
	codeIndexExists  = 141
	codeDeleteIndex  = 142
)

func (l *lead) addIndex(_ context.Context, q *ns.AddIndexRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	if t == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	columns := map[string]types.DataType{}
	for _, c := range slices.Concat(t.GetColumnDesc(), t.GetAddedColumnDesc()) {
		columns[c.GetName()] = c.GetDataType()
	}
	keys := q.GetColumnKeys()
	if len(keys) == 0 && q.ColumnKey != nil {
		keys = []*common.ColumnKey{q.ColumnKey}
	}
	if len(keys) == 0 {
		return refuse(codeInvalid, "no column key")
	}
	for _, k := range keys {
		if indexOf(t, k.GetIndexName()) != nil {
			return refuse(codeIndexExists, "index has already exist")
		}
		if err := checkIndex(k, columns); err != nil {
			return refuse(codeInvalid, "%s", err)
		}
	}
	if l.active(name) {
		return refuse(codeActiveOp, "there is active op")
	}
	if err := l.create(&plan{kind: api.OPType_kAddIndexOP, table: name, data: q}); err != nil {
		return refuse(codeCreateOp, "create op failed")
	}
	return nil
}

// addIndex has every replica take the index, fills it with the rows that are there, and then has everybody know of it.
// In a real cluster it is the tablets that carry the rows to each other; which index entry goes where is the same.
func (y *layout) addIndex() error {
	q := &ns.AddIndexRequest{}
	if err := y.o.read(q); err != nil {
		return err
	}
	if err := y.needs(true); err != nil {
		return err
	}
	keys := q.GetColumnKeys()
	if len(keys) == 0 {
		keys = []*common.ColumnKey{q.GetColumnKey()}
	}
	for _, k := range keys {
		if len(k.GetColName()) == 0 {
			k.ColName = []string{k.GetIndexName()}
		}
	}
	y.local(api.TaskType_kAddIndexToTablet, func(ctx context.Context) error { return y.indexTablets(ctx, keys) })
	if !q.GetSkipLoadData() {
		t := y.local(api.TaskType_kExtractIndexData, func(ctx context.Context) error { return y.fillIndexes(ctx, keys) })
		t.again = false // nobody knows how far it came
		t.info.Endpoint = &y.leader
	}
	y.local(api.TaskType_kAddIndexToTableInfo, func(context.Context) error {
		y.l.mu.Lock()
		defer y.l.mu.Unlock()
		return y.l.change(y.o.table(), func(t *ns.TableInfo) error {
			for _, k := range keys {
				if indexOf(t, k.GetIndexName()) == nil {
					putIndex(t, proto.CloneOf(k))
				}
			}
			return nil
		})
	})
	return nil
}

// indexTablets adds the indexes to every replica that does not have them from an earlier leader.
func (y *layout) indexTablets(ctx context.Context, keys []*common.ColumnKey) error {
	return y.l.onReplicas(ctx, y.now(), func(ctx context.Context, endpoint string, pid uint32) error {
		var has api.GetTableSchemaResponse
		id := &api.GetTableSchemaRequest{Tid: proto.Int32(int32(y.tid)), Pid: proto.Int32(int32(pid))}
		if err := y.l.call(ctx, endpoint, "GetTableSchema", id, &has); err != nil {
			return err
		}
		known := &ns.TableInfo{ColumnKey: has.GetTableMeta().GetColumnKey()}
		missing := slices.DeleteFunc(slices.Clone(keys), func(k *common.ColumnKey) bool { return indexOf(known, k.GetIndexName()) != nil })
		if len(missing) == 0 {
			return nil
		}
		q := &api.AddIndexRequest{Tid: &y.tid, Pid: &pid, ColumnKey: missing[0], ColumnKeys: missing}
		return y.l.call(ctx, endpoint, "AddIndex", q, &api.GeneralResponse{})
	})
}

// now is the table as it is by now.
func (y *layout) now() *ns.TableInfo {
	y.l.mu.Lock()
	defer y.l.mu.Unlock()
	return y.l.tables[y.o.table()]
}

// putIndex adds an index at the end, or in the place that a deleted one of its name has.
func putIndex(t *ns.TableInfo, k *common.ColumnKey) {
	for i, old := range t.GetColumnKey() {
		if old.GetIndexName() == k.GetIndexName() {
			t.ColumnKey[i] = k
			return
		}
	}
	t.ColumnKey = append(t.ColumnKey, k)
}

func (l *lead) deleteIndex(ctx context.Context, q *ns.DeleteIndexRequest, _ *ns.GeneralResponse) error {
	name := tableName{q.GetDbName(), q.GetTableName()}
	l.mu.Lock()
	t := l.tables[name]
	l.mu.Unlock()
	switch {
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	case len(t.GetColumnKey()) == 0 || indexOf(t, q.GetIdxName()) == nil:
		return refuse(codeIndexMissing, "index does not exist")
	case t.GetColumnKey()[0].GetIndexName() == q.GetIdxName():
		return refuse(codeDeleteIndex, "index is primary key, cannot delete")
	}
	err := l.onReplicas(ctx, t, func(ctx context.Context, endpoint string, pid uint32) error {
		return l.call(ctx, endpoint, "DeleteIndex", &api.DeleteIndexRequest{Tid: t.Tid, Pid: &pid, IdxName: q.IdxName}, &api.GeneralResponse{})
	})
	if err != nil {
		return refuse(codeDeleteIndex, "delete index failed: %s", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(name, func(t *ns.TableInfo) error {
		k := indexOf(t, q.GetIdxName())
		if k == nil {
			return fmt.Errorf("index %s is gone", q.GetIdxName())
		}
		k.Flag = proto.Uint32(deletedIndex)
		return nil
	})
}
