package sandbox

import (
	"fmt"

	"shardsh/cluster/pegasus/wire"
)

// dddDiagnose lists the partitions that have lost every member and whose last one is not back: nobody else is sure to
// have every acknowledged write, so none is chosen without being told.
func (m *metaServer) dddDiagnose(_ *inbound, q *wire.DDDRequest, out *wire.DDDResponse) string {
	out.Err, out.Partitions = wire.OK, []wire.DDDPartition{}
	for _, pid := range m.partitions() {
		if q.PID.App > 0 && q.PID.App != pid.App || q.PID.App > 0 && q.PID.Partition >= 0 && q.PID.Partition != pid.Partition {
			continue
		}
		m.mu.Lock()
		a, g := m.apps[pid.App], m.groups[pid].clone()
		p := wire.DDDPartition{Config: m.partition(pid)}
		m.mu.Unlock()
		if a == nil || a.Status != wire.AppAvailable || g.Ballot == 0 || g.Primary != noNode || len(g.Secondaries) > 0 || len(g.LastDrops) == 0 {
			continue
		}
		for _, id := range g.LastDrops {
			p.Dropped = append(p.Dropped, m.dropped(pid, id))
		}
		last := p.Dropped[len(p.Dropped)-1]
		switch {
		case !last.Alive:
			p.Reason = fmt.Sprintf("the node that left last, %s, is not alive", last.Node)
		case !last.Collected:
			p.Reason = fmt.Sprintf("the node that left last, %s, has not told what it holds", last.Node)
		default:
			continue // about to lead again
		}
		out.Partitions = append(out.Partitions, p)
	}
	return ""
}

// dropped says what a node has of a partition it is no member of.
func (m *metaServer) dropped(pid wire.GPID, id nodeID) wire.DDDNode {
	m.mu.Lock()
	n := wire.DDDNode{Node: m.wireAddress(id), HPNode: m.hostPort(id), Alive: m.alive[id], Ballot: -1, LastCommitted: -1, LastPrepared: -1}
	if died, dead := m.died[id]; dead {
		n.DropTimeMillis = died.UnixMilli()
	}
	m.mu.Unlock()
	node, err := m.net.node(id)
	if err != nil || !n.Alive {
		return n
	}
	if has, err := node.report(pid); err == nil && has.At != incomplete {
		n.Collected, n.Ballot, n.LastCommitted, n.LastPrepared = true, has.At.Ballot, has.At.Decree, has.At.Decree
	}
	return n
}
