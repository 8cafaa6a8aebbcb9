package sandbox

import (
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// Proposals: changes of a partition's configuration that somebody asks for. The meta server notes them and carries them
// out one after the other when it looks after the group; the first that does not fit what the group is by then ends
// them all.

// proposal is one change. A target of noNode is the primary at the time it was proposed.
type proposal struct {
	Type         wire.ConfigType
	Target, Node nodeID
}

// unknownNode is an address that no replica server of the cluster has.
const unknownNode nodeID = -2

func (m *metaServer) proposeBalancer(_ *inbound, q *wire.BalancerRequest, out *wire.ErrResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err = wire.CodeInvalidParameters
	a := m.apps[q.PID.App]
	if _, born := m.groups[q.PID]; !born || a == nil || a.Status != wire.AppAvailable {
		return ""
	}
	force := q.Force != nil && *q.Force
	if !force && len(m.proposals[q.PID]) > 0 {
		return ""
	}
	actions := make([]proposal, len(q.Actions))
	for i, action := range q.Actions {
		actions[i] = proposal{action.Type, m.nodeOf(action.Target, action.HPTarget), m.nodeOf(action.Node, action.HPNode)}
		if actions[i].Target != noNode {
			continue
		}
		if actions[i].Target = m.groups[q.PID].Primary; actions[i].Target == noNode && !force {
			return ""
		}
	}
	out.Err = wire.OK
	switch {
	case !force:
		m.proposals[q.PID] = actions
	case m.level > wire.LevelFreezed: // else the target's own request to change the configuration is refused
		m.proposals[q.PID] = append(actions, m.proposals[q.PID]...)
	}
	m.kick()
	return ""
}

// nodeOf finds the node of a host, where one is named and the release goes by it, else of an address.
func (m *metaServer) nodeOf(address wire.Address, host *wire.HostPort) nodeID {
	if m.net.release() < release26 || host == nil || !host.Valid() {
		return m.nodeAt(address)
	}
	for _, id := range m.nodes {
		if known := m.hostPort(id); known != nil && *known == *host {
			return id
		}
	}
	return unknownNode
}

// nodeAt finds the node of an address: noNode for none.
func (m *metaServer) nodeAt(address wire.Address) nodeID {
	if !address.Valid() {
		return noNode
	}
	for _, id := range m.nodes {
		if m.wireAddress(id) == address {
			return id
		}
	}
	return unknownNode
}

// carryOut works on the group's next proposal; false when there is none that can be carried out.
func (m *metaServer) carryOut(g group) bool {
	m.mu.Lock()
	p, ok := m.next(g)
	m.mu.Unlock()
	if !ok {
		return false
	}
	n, err := m.net.node(p.Target)
	if err != nil {
		return true // killed, and in its grace period
	}
	if p.adds() {
		// The group changes once the node has learned; until then this is asked again and again.
		return n.addLearner(g.PID, g.Ballot, p.Node) == nil
	}
	if _, err := m.change(g, p.change()); err == nil {
		m.done(g.PID)
		m.kick()
	}
	return true
}

// next answers the proposal to carry out, forgetting those that are done and, with the first that does not fit, all;
// m.mu is held.
func (m *metaServer) next(g group) (proposal, bool) {
	for len(m.proposals[g.PID]) > 0 {
		p := m.proposals[g.PID][0]
		switch {
		case p.adds() && slices.Contains(g.Secondaries, p.Node):
			m.proposals[g.PID] = m.proposals[g.PID][1:]
		case !m.fits(g, p):
			delete(m.proposals, g.PID)
		default:
			return p, true
		}
	}
	return proposal{}, false
}

// adds says that the proposal makes a node learn.
func (p proposal) adds() bool {
	return p.Type == wire.ConfigAddSecondary || p.Type == wire.ConfigAddSecondaryForLB
}

func (m *metaServer) done(pid wire.GPID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rest := m.proposals[pid]; len(rest) > 1 {
		m.proposals[pid] = rest[1:]
		return
	}
	delete(m.proposals, pid)
}

// fits says whether a proposal makes sense for the group as it is; m.mu is held.
func (m *metaServer) fits(g group, p proposal) bool {
	if !m.alive[p.Target] || !m.alive[p.Node] {
		return false
	}
	secondary := slices.Contains(g.Secondaries, p.Node)
	switch p.Type {
	case wire.ConfigAssignPrimary:
		return p.Node == p.Target && g.Primary == noNode && !secondary
	case wire.ConfigUpgradeToPrimary:
		return p.Node == p.Target && g.Primary == noNode && secondary
	case wire.ConfigAddSecondary, wire.ConfigAddSecondaryForLB:
		return g.Primary == p.Target && !g.has(p.Node)
	case wire.ConfigDowngradeToInactive, wire.ConfigRemove:
		return g.Primary == p.Target && g.has(p.Node)
	case wire.ConfigDowngradeToSecondary:
		return p.Node == p.Target && g.Primary == p.Target
	}
	return false
}

// change is what a proposal that fits makes of the group.
func (p proposal) change() func(*group) {
	return func(g *group) {
		switch p.Type {
		case wire.ConfigAssignPrimary, wire.ConfigUpgradeToPrimary:
			g.Primary = p.Node
			g.Secondaries = without(g.Secondaries, p.Node)
			g.LastDrops = without(g.LastDrops, p.Node)
		case wire.ConfigDowngradeToInactive, wire.ConfigRemove:
			g.drop(p.Node)
		case wire.ConfigDowngradeToSecondary:
			g.Primary = noNode
			g.Secondaries = append(g.Secondaries, p.Node)
		}
	}
}

// trim removes a secondary of a group that has more members than it wants: the one whose node holds most replicas.
func (m *metaServer) trim(g group) {
	m.mu.Lock()
	load := map[nodeID]int{}
	for pid, other := range m.groups {
		if a := m.apps[pid.App]; a != nil && a.Status == wire.AppAvailable {
			for _, id := range other.members() {
				load[id]++
			}
		}
	}
	m.mu.Unlock()
	most := g.Secondaries[0]
	for _, id := range g.Secondaries {
		if load[id] > load[most] {
			most = id
		}
	}
	m.change(g, func(g *group) { g.drop(most) })
	m.kick()
}
