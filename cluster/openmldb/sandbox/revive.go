package sandbox

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
)

// revive has the tablets load what they had in memory in an earlier run. In a real cluster all tablets that start at once
// are a disaster, after which somebody recovers the data; a sandbox that was closed and is opened again had none.
// Replicas that were not alive stay as they are.
func (c *cluster) revive(ctx context.Context) error {
	u := c.client()
	defer u.close()
	tables, err := u.tables(ctx)
	if err != nil {
		return err
	}
	loads := map[string]map[string]bool{} // partitions to wait for, by tablet
	has := map[string]map[string]bool{}
	for i, at := range c.tabletAt {
		if !c.runs(-1, i) {
			continue // a spare one
		}
		statuses, err := u.statuses(ctx, at)
		if err != nil {
			return err
		}
		loads[at], has[at] = map[string]bool{}, map[string]bool{}
		for _, s := range statuses {
			has[at][idOf(s.GetTid(), s.GetPid())] = true
		}
	}
	for _, leads := range []bool{false, true} { // followers first, so that leaders find them
		for _, t := range tables {
			for _, p := range t.GetTablePartition() {
				for _, m := range p.GetPartitionMeta() {
					id, at := idOf(t.GetTid(), p.GetPid()), m.GetEndpoint()
					if !m.GetIsAlive() || m.GetIsLeader() != leads || loads[at] == nil || has[at][id] {
						continue
					}
					q := &api.LoadTableRequest{TableMeta: loadMeta(t, p, m)}
					if err := u.tablet(ctx, at, "LoadTable", q, &api.GeneralResponse{}); err != nil {
						return fmt.Errorf("%s/%d: %w", t.GetName(), p.GetPid(), err)
					}
					loads[at][id] = true
				}
			}
		}
	}
	for at, ids := range loads {
		if err := u.loaded(ctx, at, ids); err != nil {
			return err
		}
	}
	return nil
}

func idOf(tid, pid uint32) string { return fmt.Sprintf("%d_%d", tid, pid) }

// loadMeta describes a replica to the tablet that shall load it.
func loadMeta(t *ns.TableInfo, p *ns.TablePartition, m *ns.PartitionMeta) *api.TableMeta {
	meta := &api.TableMeta{
		Tid: proto.Int32(int32(t.GetTid())), Pid: proto.Int32(int32(p.GetPid())), Name: t.Name, Db: t.Db,
		SegCnt: proto.Int32(int32(t.GetSegCnt())), StorageMode: t.StorageMode, Mode: api.TableMode_kTableFollower.Enum(),
	}
	if terms := p.GetTermOffset(); len(terms) > 0 {
		meta.Term = terms[len(terms)-1].Term
	}
	for _, other := range t.GetTablePartition() {
		part := &common.TablePartition{Pid: other.Pid}
		for _, m := range other.GetPartitionMeta() {
			part.PartitionMeta = append(part.PartitionMeta, &common.PartitionMeta{Endpoint: m.Endpoint, IsLeader: m.IsLeader, IsAlive: m.IsAlive})
		}
		meta.TablePartition = append(meta.TablePartition, part)
	}
	if m.GetIsLeader() {
		meta.Mode = api.TableMode_kTableLeader.Enum()
		for _, other := range p.GetPartitionMeta() {
			if other.GetIsAlive() && other != m {
				meta.Replicas = append(meta.Replicas, other.GetEndpoint())
			}
		}
	}
	return meta
}

// loaded waits until a tablet has loaded partitions.
func (u *client) loaded(ctx context.Context, at string, ids map[string]bool) error {
	for len(ids) > 0 {
		statuses, err := u.statuses(ctx, at)
		if err != nil {
			return err
		}
		there := 0
		for _, s := range statuses {
			id := idOf(s.GetTid(), s.GetPid())
			if ids[id] {
				there++
				if s.GetState() == api.TableState_kTableNormal {
					delete(ids, id)
					there--
				}
			}
		}
		if there < len(ids) {
			return fmt.Errorf("tablet %s could not load %d partitions", at, len(ids)-there)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
