package sandbox

import (
	"errors"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

const timers = sandbox.TimersFactor

// The meta server's timers, which in Pegasus are this much longer.
const (
	graceTime   = 22 * time.Second / timers // after which a node that is missed is dead
	assignDelay = 10 * time.Minute / timers // before a dropped replica is copied to another node
	guardPeriod = 2 * time.Second / timers  // between looks at all groups when nothing happens
)

// guard looks after the groups until the server is killed: whenever something changed, and regularly.
func (m *metaServer) guard() {
	tick := time.NewTicker(guardPeriod)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.kicked:
		case <-tick.C:
		}
		m.rounds.Lock()
		if gate := m.net.gate(m.address); !gate.paused() {
			m.bury(time.Now())
			m.inform()
			if !gate.points.Take(pointUncured) {
				m.cure()
			}
			m.tendSplits()
			m.tendDups()
			m.tendRestores()
			m.tendBulkLoads()
		}
		m.rounds.Unlock()
	}
}

// kick wakes the guardian.
func (m *metaServer) kick() {
	select {
	case m.kicked <- struct{}{}:
	default:
	}
}

// missed says that a node was killed: its grace period begins.
func (m *metaServer) missed(id nodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone[id] = time.Now()
}

// back says that a node runs again.
func (m *metaServer) back(id nodeID) {
	m.mu.Lock()
	delete(m.gone, id)
	delete(m.died, id)
	m.alive[id], m.returned[id] = true, true
	m.mu.Unlock()
	m.kick()
}

// bury declares nodes dead whose grace period has ended.
func (m *metaServer) bury(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, since := range m.gone {
		if now.Sub(since) >= graceTime {
			delete(m.gone, id)
			m.alive[id] = false
			m.died[id] = now
		}
	}
}

// cure brings every group a step closer to what it should be. Below the steady level it does nothing.
func (m *metaServer) cure() {
	for _, pid := range m.partitions() {
		m.mu.Lock()
		a, g, level := m.apps[pid.App], m.groups[pid], m.levelNow()
		m.mu.Unlock()
		select {
		case <-m.stop:
			return
		default:
		}
		if level <= wire.LevelFreezed {
			return
		}
		if a != nil && (a.Status == wire.AppAvailable || a.restoring() && g.Ballot > 0) {
			m.cureGroup(a, g)
		}
	}
}

func (m *metaServer) partitions() []wire.GPID {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]wire.GPID, 0, len(m.groups))
	for pid := range m.groups {
		all = append(all, pid)
	}
	slices.SortFunc(all, func(a, b wire.GPID) int {
		if a.App != b.App {
			return int(a.App - b.App)
		}
		return int(a.Partition - b.Partition)
	})
	return all
}

func (m *metaServer) cureGroup(a *app, g group) {
	if m.carryOut(g) {
		return
	}
	switch {
	case g.Ballot == 0:
		m.found(a, g)
	case g.Primary == noNode:
		m.promote(a, g)
	case !m.isAlive(g.Primary):
		m.change(g, func(g *group) { g.drop(g.Primary) })
		m.kick()
	default:
		m.curePrimary(a, g)
	}
}

func (m *metaServer) isAlive(id nodeID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.alive[id]
}

// found gives a new partition its first replicas, spread over the nodes by its index. They are told first, so that
// clients who see the group find them there.
func (m *metaServer) found(a *app, g group) {
	var alive []nodeID
	for _, id := range m.nodes {
		if _, err := m.net.node(id); err == nil && m.isAlive(id) {
			alive = append(alive, id)
		}
	}
	if len(alive) == 0 {
		return
	}
	place := func(g *group) {
		for i := range min(a.Replicas, len(alive)) {
			id := alive[(int(g.PID.Partition)+i)%len(alive)]
			if i == 0 {
				g.Primary = id
			} else {
				g.Secondaries = append(g.Secondaries, id)
				g.Ballot++ // Pegasus adds them one by one
			}
		}
	}
	next := g.clone()
	next.Ballot++
	place(&next)
	m.push(a, g, next)
	m.change(g, place)
}

// promote gives a group without a primary a new one: the secondary that is furthest, or when there is none the node
// that was the last to leave, which has every acknowledged write.
func (m *metaServer) promote(a *app, g group) {
	best, bestAt := noNode, incomplete
	for _, id := range g.Secondaries {
		if !m.isAlive(id) {
			m.change(g, func(g *group) { g.drop(id) })
			m.kick()
			return
		}
		n, err := m.net.node(id)
		if err != nil {
			continue
		}
		if has, err := n.report(g.PID); err == nil && bestAt.less(has.At) {
			best, bestAt = id, has.At
		}
	}
	if best == noNode && len(g.Secondaries) == 0 && len(g.LastDrops) > 0 {
		if last := g.LastDrops[len(g.LastDrops)-1]; m.isAlive(last) {
			if n, err := m.net.node(last); err == nil {
				if has, err := n.report(g.PID); err == nil && has.At != incomplete { // else its data is lost
					best, bestAt = last, has.At
				}
			}
		}
	}
	if best == noNode {
		return
	}
	m.change(g, func(g *group) {
		g.Primary = best
		g.Secondaries = without(g.Secondaries, best)
		g.LastDrops = without(g.LastDrops, best)
		g.Committed = max(g.Committed, bestAt.Decree)
	})
}

// curePrimary looks after a group whose primary is alive.
func (m *metaServer) curePrimary(a *app, g group) {
	n, err := m.net.node(g.Primary)
	if err != nil {
		return // killed, and in its grace period
	}
	has, err := n.report(g.PID)
	if errors.Is(err, errUnsure) {
		return // it has just died, or is about to be missed
	}
	if errors.Is(err, errStale) { // it has lost the replica since
		m.change(g, func(g *group) { g.drop(g.Primary) })
		m.kick()
		return
	}
	if err != nil || has.Ballot != g.Ballot {
		// It was started again since, or told of a group that was never kept: it gets a new ballot, and its secondaries
		// with it.
		m.change(g, func(next *group) { next.Ballot = max(next.Ballot, has.Ballot+1) })
		return
	}
	for _, id := range g.Secondaries {
		if m.lostSecondary(g, id) {
			m.change(g, func(g *group) { g.drop(id) })
			m.kick()
			return
		}
	}
	switch have := 1 + len(g.Secondaries); {
	case have < g.Max:
		if id := m.candidate(g); id != noNode {
			_ = n.addLearner(g.PID, g.Ballot, id)
		}
	case have > g.Max:
		m.trim(g)
	}
}

// lostSecondary says whether a secondary is dead, or was started again and so is not a secondary any more.
func (m *metaServer) lostSecondary(g group, id nodeID) bool {
	if !m.isAlive(id) {
		return true
	}
	n, err := m.net.node(id)
	if err != nil {
		return false // in its grace period
	}
	has, err := n.report(g.PID)
	if errors.Is(err, errUnsure) {
		return false // as above
	}
	return err != nil || has.Status == wire.ReplicaInactive && has.Ballot < g.Ballot
}

// candidate chooses a node to become the group's next secondary: one that had the replica before, or any other once
// the dropped one has been missed for long.
func (m *metaServer) candidate(g group) nodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(g.LastDrops) - 1; i >= 0; i-- {
		id := g.LastDrops[i]
		if _, missed := m.gone[id]; m.alive[id] && !missed && !g.has(id) && !m.black[id] {
			return id
		}
	}
	for _, id := range g.LastDrops {
		if since, dead := m.died[id]; dead && time.Since(since) < m.dropoutDelay() {
			return noNode
		}
	}
	load := map[nodeID]int{}
	for _, other := range m.groups {
		for _, id := range other.members() {
			load[id]++
		}
	}
	best := noNode
	for _, id := range m.nodes {
		if _, missed := m.gone[id]; m.alive[id] && !missed && !g.has(id) && !m.black[id] && (best == noNode || load[id] < load[best]) {
			best = id
		}
	}
	return best
}

// change changes a group unless it is another one by now, keeps it and tells its servers. The ballot grows by one.
func (m *metaServer) change(g group, how func(*group)) (group, error) {
	m.mu.Lock()
	next, err := m.swap(g, how)
	a := m.apps[g.PID.App]
	m.mu.Unlock()
	if err != nil {
		return group{}, err
	}
	m.push(a, g, next)
	return next, nil
}

func (m *metaServer) swap(g group, how func(*group)) (group, error) {
	if now, born := m.groups[g.PID]; !born || now.Ballot != g.Ballot || m.apps[g.PID.App].Status != wire.AppAvailable && !m.apps[g.PID.App].restoring() {
		return group{}, errStale
	}
	next := g.clone()
	next.Ballot++
	how(&next)
	if err := m.save(map[string]any{string(groupKey(g.PID)): next}); err != nil {
		return group{}, err
	}
	m.groups[g.PID] = next
	return next, nil
}

// push tells a group to its members and to those that no longer are; the primary last, who then finds its secondaries
// prepared.
func (m *metaServer) push(a *app, old, next group) {
	told := []nodeID{}
	for _, id := range append(old.members(), next.members()...) {
		if id != next.Primary && !slices.Contains(told, id) {
			told = append(told, id)
		}
	}
	if next.Primary != noNode {
		told = append(told, next.Primary)
	}
	for _, id := range told {
		if n, err := m.net.node(id); err == nil {
			_ = n.assign(assignment{*a, next})
		}
	}
	m.mu.Lock()
	dropped := m.apps[a.ID].Status == wire.AppDropped
	m.mu.Unlock()
	if dropped { // meanwhile: whoever was told after that must forget it again
		m.tell(func(n nodeLink) error { return n.forget(a.ID) })
	}
}

func (m *metaServer) lost(pid wire.GPID, ballot int64, primary, node nodeID) (group, error) {
	return m.reconfigure(pid, ballot, primary, func(g *group) { g.drop(node) })
}

func (m *metaServer) learned(pid wire.GPID, ballot int64, primary, node nodeID, at point) (group, error) {
	return m.reconfigure(pid, ballot, primary, func(g *group) {
		g.Secondaries = append(g.Secondaries, node)
		g.LastDrops = without(g.LastDrops, node)
		g.Committed = max(g.Committed, at.Decree)
	})
}

// reconfigure changes a group as its primary asks.
func (m *metaServer) reconfigure(pid wire.GPID, ballot int64, primary nodeID, how func(*group)) (group, error) {
	m.mu.Lock()
	g, level := m.groups[pid], m.levelNow()
	m.mu.Unlock()
	switch {
	case level <= wire.LevelFreezed:
		return group{}, errFreezed
	case g.Ballot != ballot || g.Primary != primary:
		return group{}, errStale
	}
	next, err := m.change(g, how)
	if err == nil {
		m.kick()
	}
	return next, err
}
