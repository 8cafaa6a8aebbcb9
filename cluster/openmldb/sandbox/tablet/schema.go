package tablet

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// updateTTL sets the TTL of an index, or of all. The description has it at once; it is in force after the collection that
// comes next, and what it lets expire is collected by the one after.
func (t *Tablet) updateTTL(_ context.Context, _ *port.Call, q *api.UpdateTTLRequest, a *api.UpdateTTLResponse) error {
	p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
	if p == nil {
		noTable.into(&a.Code, &a.Msg)
		return nil
	}
	p.setTTL(q.GetIndexName(), ttlOf(q.GetTtl())).into(&a.Code, &a.Msg)
	return nil
}

func (p *partition) setTTL(name string, to ttl) status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return noTable
	}
	if name != "" && !slices.ContainsFunc(p.indexes, func(x *index) bool { return x.name == name }) {
		return noIndex
	}
	err := p.setMeta(func(m *api.TableMeta) {
		for _, k := range m.GetColumnKey() {
			if name == "" || k.GetIndexName() == name {
				k.Ttl = to.message()
			}
		}
	})
	if err != nil {
		return p.metaNotWritten(err, "write meta data failed")
	}
	p.waiting = append(p.waiting, newTTL{name, to})
	return ok
}

func (p *partition) metaNotWritten(err error, text string) status {
	p.t.c.Log("tablet %s: description of %s: %v", p.t.c.Endpoint, p.id, err)
	return status{codeWriteFailed, text}
}

// updateTableMetaForAddField adds columns to every partition of a table.
func (t *Tablet) updateTableMetaForAddField(
	_ context.Context, _ *port.Call, q *api.UpdateTableMetaForAddFieldRequest, a *api.GeneralResponse,
) error {
	found := false
	for _, p := range t.all() {
		if p.id.tid != q.GetTid() {
			continue
		}
		found = true
		if s := p.addFields(q); !s.good() {
			s.general(a)
			return nil
		}
	}
	if !found {
		status{codeNoTable, "table doesn`t exist"}.general(a)
		return nil
	}
	ok.general(a)
	return nil
}

func (p *partition) addFields(q *api.UpdateTableMetaForAddFieldRequest) status {
	columns := q.GetColumnDescs()
	if q.ColumnDesc != nil {
		columns = []*common.ColumnDesc{q.ColumnDesc}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range slices.Concat(p.meta.GetColumnDesc(), p.meta.GetAddedColumnDesc()) {
		if slices.ContainsFunc(columns, func(n *common.ColumnDesc) bool { return n.GetName() == c.GetName() }) {
			return ok // it has been told before
		}
	}
	err := p.setMeta(func(m *api.TableMeta) {
		m.AddedColumnDesc = append(m.AddedColumnDesc, columns...)
		if q.VersionPair != nil {
			m.SchemaVersions = append(m.SchemaVersions, q.VersionPair)
		}
	})
	if err != nil {
		return p.metaNotWritten(err, "write data failed")
	}
	p.schemas = schemasOf(p.meta)
	return ok
}

// addIndex adds empty indexes, which rows put from now on are in. An index of a name that was deleted takes its place.
func (t *Tablet) addIndex(_ context.Context, _ *port.Call, q *api.AddIndexRequest, a *api.GeneralResponse) error {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		noTable.general(a)
		return nil
	}
	keys := q.GetColumnKeys()
	if len(keys) == 0 {
		keys = []*common.ColumnKey{q.GetColumnKey()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range keys {
		if s := p.addIndex(k); !s.good() {
			s.general(a)
			return nil
		}
	}
	ok.general(a)
	return nil
}

func (p *partition) addIndex(k *common.ColumnKey) status {
	refused := status{codeAddIndexFailed, "add index failed"}
	at := slices.IndexFunc(p.indexes, func(x *index) bool { return x.name == k.GetIndexName() })
	if at >= 0 && p.indexes[at].state != indexDeleted || k.GetIndexName() == "" {
		return refused
	}
	for _, name := range append(slices.Clone(k.GetColName()), k.GetTsName()) {
		if name != "" && !p.hasColumn(name) {
			return refused
		}
	}
	k = proto.CloneOf(k)
	if k.Ttl == nil {
		k.Ttl = p.indexes[0].ttl.message()
	}
	err := p.setMeta(func(m *api.TableMeta) {
		if at >= 0 {
			m.ColumnKey[at] = k
		} else {
			m.ColumnKey = append(m.ColumnKey, k)
		}
	})
	if err != nil {
		return p.metaNotWritten(err, "write meta data failed")
	}
	x := newIndex(k, len(p.indexes[0].segs))
	if at >= 0 {
		p.indexes[at] = x
	} else {
		p.indexes = append(p.indexes, x)
	}
	return ok
}

func (p *partition) hasColumn(name string) bool {
	return slices.ContainsFunc(slices.Concat(p.meta.GetColumnDesc(), p.meta.GetAddedColumnDesc()),
		func(c *common.ColumnDesc) bool { return c.GetName() == name })
}

// deleteIndex takes an index out of use. Its rows go with the second collection after; until then its name is taken.
func (t *Tablet) deleteIndex(_ context.Context, _ *port.Call, q *api.DeleteIndexRequest, a *api.GeneralResponse) error {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		noTable.general(a)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.indexes, func(x *index) bool { return x.name == q.GetIdxName() })
	if at <= 0 || p.indexes[at].state != indexReady { // the first one is what the partition's rows are counted by
		status{codeDeleteIndexFailed, "delete index failed"}.general(a)
		return nil
	}
	err := p.setMeta(func(m *api.TableMeta) { m.ColumnKey[at].Flag = proto.Uint32(1) })
	if err != nil {
		p.metaNotWritten(err, "write meta data failed").general(a)
		return nil
	}
	p.indexes[at].state = indexWaiting
	ok.general(a)
	return nil
}
