package sandbox

import (
	"maps"
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// catchUp tells the replica servers what the last leader may have kept but not come to tell, as it died in between:
// the envs of tables, tables dropped, numbers of replicas.
func (m *metaServer) catchUp() {
	m.mu.Lock()
	ids := slices.Sorted(maps.Keys(m.apps))
	m.mu.Unlock()
	for _, id := range ids {
		a := m.catchUpApp(id)
		if a.Status != wire.AppAvailable {
			continue
		}
		for i := range a.Partitions {
			pid := wire.GPID{App: id, Partition: i}
			m.mu.Lock()
			g, founded := m.groups[pid], m.groups[pid].Ballot > 0
			m.mu.Unlock()
			if founded && g.Max != a.Replicas {
				m.want(pid, a.Replicas)
			}
		}
	}
}

// catchUpApp tells a table, again while it changes, so that what is told last is what holds.
func (m *metaServer) catchUpApp(id int32) *app {
	for {
		m.mu.Lock()
		a := m.apps[id]
		m.mu.Unlock()
		if a.Status == wire.AppDropped {
			m.tell(func(n nodeLink) error { return n.forget(id) })
		} else {
			m.tell(func(n nodeLink) error { return n.updateApp(*a) })
		}
		m.mu.Lock()
		same := m.apps[id] == a
		m.mu.Unlock()
		if same {
			return a
		}
		select {
		case <-m.stop:
			return a
		default:
		}
	}
}
