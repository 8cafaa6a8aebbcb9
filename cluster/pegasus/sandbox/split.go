package sandbox

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// How a partition becomes two. The meta server asks the primary (split). It has an empty child made on every member of
// its group and copies all its rows there, then the mutations made meanwhile, as a learner gets them. When all children
// are level it lets clients wait, and has the meta server register the child: from then on each of the two serves the
// rows whose hash is its own. Rows of the other half stay where they are, out of sight, until a compaction removes them.
//
// Nothing of a split outlives the primary's loop: another primary, or the same one under another ballot, begins anew. So
// a child either has every acknowledged write of its parent when it is registered, or is never heard of.

// maxSplits is how many partitions a node copies to their children at a time.
const maxSplits = 4

// splitting is a split that is under way. It belongs to the loop.
type splitting struct {
	p      *primary
	child  wire.GPID
	ballot int64 // under which it began; with another one it is void
	copies []*childCopy
	level  int          // copies that have caught up
	left   atomic.Int32 // copies that have not ended
}

// split hears what the meta server wants; the loop does it.
func (r *replica) split(o splitOrder) (underWay bool, err error) {
	r.mu.Lock()
	p, ballot, underWay := r.loop, r.group.Ballot, r.splitting
	r.mu.Unlock()
	switch {
	case p == nil || r.s.alone():
		return false, errInactive
	case ballot != o.Ballot:
		return false, errStale
	}
	r.mark(p, func() {
		// Who missed the news of the split hears them here. Otherwise what it knows may be newer.
		if r.app.Partitions != o.App.Partitions || r.app.Envs[envValidateHash] != "true" {
			r.app = &o.App
		}
		r.splitting = r.splitting || !o.Stop // until the loop knows better
	})
	if !p.enqueue(task{do: func() { p.onSplitOrder(o) }}) {
		return false, errInactive
	}
	return underWay, nil
}

// mark changes what the replica knows of its loop's work, unless the loop is another one by now.
func (r *replica) mark(p *primary, how func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loop == p {
		how()
	}
}

func (p *primary) onSplitOrder(o splitOrder) {
	g, at, ok := p.state()
	if !ok {
		return // and nothing is asked of it before it is told its group again
	}
	defer func() { p.r.mark(p, func() { p.r.splitting = p.split != nil }) }()
	if sp := p.split; sp != nil {
		if o.Stop || sp.ballot != g.Ballot {
			sp.abandon()
		}
		if sp.left.Load() > 0 {
			return // what it still writes must not meet what another attempt does
		}
		p.split = nil
	}
	switch {
	case o.Ballot != g.Ballot || o.App.Partitions != 2*g.Count:
	case o.Stop:
		p.discardChildren(g)
	case !p.learnsNobody() || 1+len(g.Secondaries) < g.Max:
		// Pegasus waits for the group to be complete, too.
	default:
		p.startSplit(g, at)
	}
}

func (p *primary) learnsNobody() bool {
	for _, l := range p.learners {
		if !l.abandoned() {
			return false
		}
	}
	return true
}

// discardChildren deletes what attempts have left on the members.
func (p *primary) discardChildren(g group) {
	for _, id := range g.members() {
		if node, err := p.member(id); err == nil {
			_ = node.discard(childOf(p.r.pid, g.Count), g.Ballot)
		}
	}
}

// member is a link to a member of the group, this server too.
func (p *primary) member(id nodeID) (nodeLink, error) {
	if id == p.r.s.id {
		return p.r.s, nil
	}
	return p.r.s.net.node(id)
}

func (p *primary) startSplit(g group, at point) {
	s := p.r.s
	if !s.enter() {
		return
	}
	defer s.leave()
	if s.splits.Add(1) > maxSplits {
		s.splits.Add(-1)
		return // the meta server asks again
	}
	sp := &splitting{p: p, child: childOf(p.r.pid, g.Count), ballot: g.Ballot}
	for _, id := range g.members() {
		c := &childCopy{sp: sp, node: id, wake: make(chan struct{}, 1), done: make(chan struct{})}
		c.change = sync.NewCond(&c.mu)
		sp.copies = append(sp.copies, c)
	}
	sp.left.Store(int32(len(sp.copies)))
	p.split = sp
	for _, c := range sp.copies {
		snapshot := s.store.Snapshot()
		s.tasks.Go(func() { c.run(snapshot, at) })
	}
}

// abandon gives all copies up. Their goroutines end soon after.
func (sp *splitting) abandon() {
	for _, c := range sp.copies {
		c.abandon()
	}
}

// copied hands a mutation of the parent to the children, as one of theirs.
func (sp *splitting) copied(m mutation) {
	switch {
	case sp.left.Load() == 0:
		return
	case m.Ballot != sp.ballot:
		sp.abandon()
		return
	}
	m.PID, m.Repr = sp.child, bytes.Clone(m.Repr)
	err := engine.Rekey(m.Repr, func(key []byte) {
		binary.BigEndian.PutUint32(key[prefixSize-4:], uint32(sp.child.Partition))
	})
	if err != nil {
		sp.p.r.s.log("split of %s on %s: %v", sp.p.r.pid, sp.p.r.s.address, err)
		sp.abandon()
		return
	}
	for _, c := range sp.copies {
		c.push(m)
	}
}

// caughtUp runs in the loop when one more copy was level.
func (sp *splitting) caughtUp() {
	if sp.level++; sp.level == len(sp.copies) && sp.p.split == sp {
		sp.p.seal(sp)
	}
}

// seal runs in the loop, where no mutation is made until it returns: clients are told to wait, the children get what is
// left, and the meta server registers them. When it says that the split was stopped, or somebody else leads by then, the
// parent is what it was.
func (p *primary) seal(sp *splitting) {
	p.r.mark(p, func() { p.r.sealed = true })
	defer p.r.mark(p, func() { p.r.sealed = false })
	for _, c := range sp.copies {
		c.mu.Lock()
		c.final = true
		c.mu.Unlock()
		c.signal()
		<-c.done
	}
	if slices.ContainsFunc(sp.copies, (*childCopy).failed) {
		return // the meta server asks again
	}
	count := sp.child.Partition - p.r.pid.Partition
	for {
		g, at, ok := p.state()
		switch {
		case !ok:
			return
		case g.Count > count: // an answer was lost, and the meta server told everybody
			p.endSplit()
			return
		case g.Ballot != sp.ballot:
			return
		}
		next, err := p.ask(func(m metaLink) (group, error) { return m.register(p.r.pid, sp.ballot, p.r.s.id, at) })
		switch {
		case err == nil && next.Ballot == sp.ballot: // stopped
			return
		case err == nil:
			p.install(next)
			continue
		}
		select {
		case <-p.fenced:
			return
		case <-p.r.s.stop:
			return
		case <-time.After(retryTimeout):
		}
	}
}

func (p *primary) endSplit() {
	p.split = nil
	p.r.mark(p, func() { p.r.splitting = false })
}

// misplaced answers the header error for a request whose hash is not of this partition; clients get it only at tables
// that were split. r.mu is held.
func (r *replica) misplaced(hash uint64) (code string) {
	switch {
	case r.app.Envs[envValidateHash] != "true" || r.group.Count <= 0:
		return ""
	case r.sealed:
		return wire.CodeSplitting
	case hash&uint64(r.group.Count-1) != uint64(r.pid.Partition):
		return wire.CodeParentMisused
	}
	return ""
}

func (s *replicaServer) split(o splitOrder) (bool, error) {
	r, err := s.use(o.PID)
	if err != nil {
		return false, err
	}
	defer s.leave()
	return r.split(o)
}
