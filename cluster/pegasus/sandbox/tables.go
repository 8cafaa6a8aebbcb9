package sandbox

import (
	"fmt"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// What happens to whole tables besides being made and dropped: recalled, renamed, given more or fewer replicas.

func (m *metaServer) onRecallApp(_ *inbound, q *wire.RecallAppRequest, out *wire.RecallAppResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.apps[q.AppID]
	name := q.NewName
	switch {
	case old == nil:
		out.Err = wire.CodeAppNotExist
		return ""
	case old.Status != wire.AppDropped:
		out.Err = wire.CodeAppExist
		return ""
	case old.ExpiresAt <= time.Now().Unix():
		out.Err = wire.CodeAppNotExist
		return ""
	case name == "":
		name = old.Name
	}
	if m.named(name) != nil {
		out.Err = wire.CodeInvalidParameters
		return ""
	}
	a := *old
	a.Name, a.Status, a.Dropped, a.ExpiresAt = name, wire.AppAvailable, 0, 0
	out.Err, out.Info = wire.OK, m.net.release().info(&a)
	if err := m.recall(&a); err != nil {
		m.log("recall table %s: %v", name, err)
		out.Err = "ERR_FS_INTERNAL"
	}
	m.kick()
	return ""
}

// recall makes a dropped table available. Its partitions have no members: who led them last is the last to have left,
// and leads again once it is alive. m.mu is held.
func (m *metaServer) recall(a *app) error {
	a.Version++
	values := map[string]any{string(appKey(a.ID)): a}
	var groups []group
	for i := range a.Partitions {
		g := m.groups[wire.GPID{App: a.ID, Partition: i}].clone()
		if g.Ballot > 0 {
			g.Ballot++
			for _, id := range slices.Backward(g.members()) {
				g.drop(id)
			}
		}
		groups = append(groups, g)
		values[string(groupKey(g.PID))] = g
	}
	if err := m.save(values); err != nil {
		return err
	}
	m.apps[a.ID] = a
	for _, g := range groups {
		m.groups[g.PID] = g
		delete(m.proposals, g.PID)
	}
	return nil
}

func (m *metaServer) onRenameApp(_ *inbound, q *wire.RenameAppRequest, out *wire.HintResponse) string {
	m.mu.Lock()
	old := m.named(q.Old)
	switch {
	case old == nil:
		out.Err, out.Hint = wire.CodeAppNotExist, fmt.Sprintf("there is no table %q", q.Old)
	case m.named(q.New) != nil:
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("there is a table %q", q.New)
	}
	if out.Err != "" {
		m.mu.Unlock()
		return ""
	}
	a := *old
	a.Name = q.New
	err := m.setApp(&a)
	m.mu.Unlock()
	if err != nil {
		m.log("rename table %s: %v", q.Old, err)
		out.Err = "ERR_FS_INTERNAL"
		return ""
	}
	m.tell(func(n nodeLink) error { return n.updateApp(a) })
	out.Err = wire.OK
	return ""
}

func (m *metaServer) onGetReplicaCount(_ *inbound, q *wire.GetReplicaCountRequest, out *wire.ReplicaCountResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.named(q.AppName)
	if a == nil {
		out.Err, out.Hint = wire.CodeAppNotExist, fmt.Sprintf("there is no table %q", q.AppName)
		return ""
	}
	out.Err, out.Count = wire.OK, int32(a.Replicas)
	return ""
}

// onSetReplicaCount changes what the groups want; the guardian brings them there.
func (m *metaServer) onSetReplicaCount(_ *inbound, q *wire.SetReplicaCountRequest, out *wire.ReplicaCountResponse) string {
	m.mu.Lock()
	old := m.named(q.AppName)
	switch {
	case old == nil:
		out.Err, out.Hint = wire.CodeAppNotExist, fmt.Sprintf("there is no table %q", q.AppName)
	case m.level <= wire.LevelFreezed:
		out.Err, out.Hint = wire.CodeStateFreezed, "the meta server is freezed"
	case q.Count < 1 || q.Count > 5 || int(q.Count) > m.countAlive():
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("%d replicas on %d live nodes", q.Count, m.countAlive())
	}
	if out.Err != "" {
		m.mu.Unlock()
		return ""
	}
	out.Count = int32(old.Replicas)
	a := *old
	a.Replicas = int(q.Count)
	err := m.setApp(&a)
	m.mu.Unlock()
	if err != nil {
		m.log("set the replica count of %s: %v", q.AppName, err)
		out.Err = "ERR_FS_INTERNAL"
		return ""
	}
	out.Err = wire.OK
	m.tell(func(n nodeLink) error { return n.updateApp(a) })
	for i := range a.Partitions {
		m.want(wire.GPID{App: a.ID, Partition: i}, a.Replicas)
	}
	m.kick()
	return ""
}

// want sets how many replicas a group shall have, whatever else changes it meanwhile.
func (m *metaServer) want(pid wire.GPID, replicas int) {
	for {
		m.mu.Lock()
		g, born := m.groups[pid]
		m.mu.Unlock()
		if !born || g.Max == replicas { // an unborn child will have what its parent has
			return
		}
		if _, err := m.change(g, func(g *group) { g.Max = replicas }); err != nil && !m.available(pid) {
			return
		}
		select {
		case <-m.stop:
			return
		default:
		}
	}
}

// stored is the point that the rows of a replica in the store add up to, whether or not it is open: those of a dropped
// table are not.
func (s *replicaServer) stored(pid wire.GPID) (at point, has bool) {
	key := stateKeyOf(pid)
	value, err := s.store.Read(key)
	if err != nil {
		return point{}, false
	}
	_, at, err = parseState(key, value)
	return at, err == nil
}

// left is the point a replica starts from that is opened now: zero when the store has nothing of it.
func (s *replicaServer) left(pid wire.GPID) point {
	at, _ := s.stored(pid)
	return at
}

// reportStored is what a replica that is not open would report.
func (s *replicaServer) reportStored(pid wire.GPID) (report, error) {
	if !s.enter() {
		return report{}, errDead
	}
	defer s.leave()
	at, has := s.stored(pid)
	if !has {
		return report{}, errStale
	}
	return report{Status: wire.ReplicaInactive, At: at}, nil
}
