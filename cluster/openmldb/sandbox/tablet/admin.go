package tablet

import (
	"context"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/sandbox/port"
)

// getTableStatus describes the partitions in memory: all, those of a table, or one. What is not there is left out.
func (t *Tablet) getTableStatus(
	_ context.Context, _ *port.Call, q *api.GetTableStatusRequest, a *api.GetTableStatusResponse,
) error {
	for _, p := range t.all() {
		if (q.Tid == nil || q.GetTid() == p.id.tid) && (q.Pid == nil || q.GetPid() == p.id.pid) {
			a.AllTableStatus = append(a.AllTableStatus, p.status())
		}
	}
	a.Code = proto.Int32(codeOK)
	return nil
}

func (p *partition) status() *api.TableStatus {
	p.mu.RLock()
	defer p.mu.RUnlock()
	mode := api.TableMode_kTableFollower
	if p.leader {
		mode = api.TableMode_kTableLeader
	}
	records := uint64(0)
	if len(p.indexes) > 0 {
		records = uint64(p.indexes[0].rows.Len())
	}
	s := &api.TableStatus{
		Tid: proto.Uint32(p.id.tid), Pid: proto.Uint32(p.id.pid), Offset: proto.Uint64(p.offset), Mode: mode.Enum(),
		State: p.state.Enum(), Name: proto.String(p.meta.GetName()), RecordCnt: &records,
		CompressType: p.meta.GetCompressType().Enum(), StorageMode: p.mode.Enum(),
		Diskused: proto.Uint64(p.log.size() + uint64(p.snapshot.size)),
	}
	if p.mode != common.StorageMode_kMemory {
		s.SnapshotPath = proto.String(filepath.Join(p.dir, snapshotDir) + "/")
		s.BinlogPath = proto.String(filepath.Join(p.dir, binlogDir) + "/")
		return s
	}
	var rows, keys, size uint64
	for _, x := range p.indexes {
		if x.state != indexReady {
			continue
		}
		rows += uint64(x.rows.Len())
		keys += uint64(len(x.keys))
		size += x.size
		s.TsIdxStatus = append(s.TsIdxStatus, &api.TsIdxStatus{
			IdxName: proto.String(x.name), SegCnts: append([]uint64{}, x.segs...),
		})
	}
	s.IsExpire, s.RecordByteSize = proto.Bool(!p.keep), proto.Uint64(p.bytes)
	s.RecordIdxByteSize, s.RecordPkCnt, s.IdxCnt = &size, &keys, &rows
	s.SkiplistHeight = proto.Uint32(p.height())
	return s
}

// height is what the store would use for the skip list of a key's rows (absolute_default_skiplist_height,
// latest_default_skiplist_height; skiplist_max_height bounds what a table may ask for).
func (p *partition) height() uint32 {
	const absolute, latest, most = 4, 1, 12
	if h := p.meta.GetKeyEntryMaxHeight(); h > 0 && h <= most {
		return h
	}
	for _, x := range p.indexes {
		if x.ttl.kind != types.TTLType_kLatestTime {
			return absolute
		}
	}
	return latest
}

func (t *Tablet) getTableSchema(
	_ context.Context, _ *port.Call, q *api.GetTableSchemaRequest, a *api.GetTableSchemaResponse,
) error {
	p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
	if p == nil {
		noTable.into(&a.Code, &a.Msg)
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	a.TableMeta = p.meta
	ok.into(&a.Code, &a.Msg)
	return nil
}

// getAllSnapshotOffset tells the offsets of the snapshots of what is in memory.
func (t *Tablet) getAllSnapshotOffset(
	_ context.Context, _ *port.Call, _ *api.EmptyRequest, a *api.TableSnapshotOffsetResponse,
) error {
	var table *api.TableSnapshotOffset
	for _, p := range t.all() {
		if table == nil || table.GetTid() != p.id.tid {
			table = &api.TableSnapshotOffset{Tid: proto.Uint32(p.id.tid)}
			a.Tables = append(a.Tables, table)
		}
		p.mu.RLock()
		table.Parts = append(table.Parts, &api.TableSnapshotOffset_Part{
			Pid: proto.Uint32(p.id.pid), Offset: proto.Uint64(p.snapshot.offset),
		})
		p.mu.RUnlock()
	}
	a.Code = proto.Int32(codeOK)
	return nil
}

func (t *Tablet) getCatalog(_ context.Context, _ *port.Call, _ *api.EmptyRequest, a *api.GetCatalogResponse) error {
	a.Catalog = &common.CatalogInfo{
		Version: proto.Uint64(t.member.catalog.Load()), Endpoint: proto.String(t.c.Endpoint),
	}
	ok.into(&a.Code, &a.Msg)
	return nil
}

// refresh looks at what the nameserver says of a table. The tablet reads that whenever it needs it, so there is nothing
// to renew; the store answers without a code, too.
func (t *Tablet) refresh(context.Context, *port.Call, *api.RefreshRequest, *api.GeneralResponse) error {
	return nil
}

// connectZK leaves the session and opens another one.
func (t *Tablet) connectZK(ctx context.Context, _ *port.Call, _ *api.EmptyRequest, a *api.GeneralResponse) error {
	if err := t.rejoin(ctx); err != nil {
		t.c.Log("tablet %s joins again: %v", t.c.Endpoint, err)
		status{codeError, "connect failed"}.general(a)
		return nil
	}
	ok.general(a)
	return nil
}

// disConnectZK leaves the session; the tablet joins again when it next looks after it.
func (t *Tablet) disConnectZK(_ context.Context, _ *port.Call, _ *api.EmptyRequest, a *api.GeneralResponse) error {
	if err := t.member.close(); err != nil {
		t.c.Log("tablet %s leaves its session: %v", t.c.Endpoint, err)
	}
	ok.general(a)
	return nil
}

// setMode makes all partitions followers of another cluster's, or ends that.
func (t *Tablet) setMode(_ context.Context, _ *port.Call, q *api.SetModeRequest, a *api.GeneralResponse) error {
	t.follows.Store(q.GetFollower())
	a.Code = proto.Int32(codeOK)
	return nil
}

// setExpire says whether rows of a partition expire.
func (t *Tablet) setExpire(_ context.Context, _ *port.Call, q *api.SetExpireRequest, a *api.GeneralResponse) error {
	p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
	if p == nil {
		noTable.general(a)
		return nil
	}
	if p.mode != common.StorageMode_kMemory {
		status{codeOperatorUnsupported, "table is not memtable"}.general(a)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = !q.GetIsExpire()
	ok.general(a)
	return nil
}

func (t *Tablet) updateRealEndpointMap(
	_ context.Context, _ *port.Call, q *api.UpdateRealEndpointMapRequest, a *api.GeneralResponse,
) error {
	names := map[string]string{}
	for _, pair := range q.GetRealEndpointMap() {
		names[pair.GetName()] = pair.GetRealEndpoint()
	}
	t.names.Store(&names)
	ok.general(a)
	return nil
}
