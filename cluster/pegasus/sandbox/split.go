package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// childCopy brings the child on one member level with the parent.
type childCopy struct {
	sp   *splitting
	node nodeID
	wake chan struct{} // something is pending, or nothing more will be
	done chan struct{} // closed when it has ended

	mu      sync.Mutex
	change  *sync.Cond
	pending []mutation
	size    int  // bytes of pending
	final   bool // nothing more comes: it ends when nothing is pending
	over    bool // given up
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
	})
	if !p.enqueue(task{do: func() { p.onSplitOrder(o) }}) {
		return false, errInactive
	}
	if !o.Stop && !underWay {
		r.mark(p, func() { r.splitting = true })
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
		return
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

func (c *childCopy) run(snapshot *engine.Snapshot, at point) {
	defer c.end()
	if c.copy(snapshot, at) != nil {
		return
	}
	reported := false
	for {
		m, ok, more := c.next()
		switch {
		case ok:
			if c.prepare(m) != nil {
				c.abandon()
				return
			}
			continue
		case !more:
			return
		case !reported:
			reported = true
			if !c.sp.p.enqueue(task{do: c.sp.caughtUp}) {
				return
			}
		}
		select {
		case <-c.wake:
		case <-c.sp.p.fenced:
			return
		case <-c.sp.p.r.s.stop:
			return
		}
	}
}

// end says that nothing more is written: level when all that was pending has been, given up else.
func (c *childCopy) end() {
	c.mu.Lock()
	if !c.final || len(c.pending) > 0 {
		c.over = true
	}
	c.pending, c.size = nil, 0
	c.change.Broadcast()
	c.mu.Unlock()
	if c.sp.left.Add(-1) == 0 {
		c.sp.p.r.s.splits.Add(-1)
	}
	close(c.done)
}

// copy makes the child and fills it with the rows of a snapshot taken at a point.
func (c *childCopy) copy(snapshot *engine.Snapshot, at point) error {
	s := c.sp.p.r.s
	if !s.enter() {
		return errors.Join(errDead, snapshot.Close())
	}
	defer s.leave()
	return errors.Join(c.fill(snapshot, at), snapshot.Close())
}

func (c *childCopy) fill(snapshot *engine.Snapshot, at point) error {
	sp, p := c.sp, c.sp.p
	node, err := p.member(c.node)
	if err != nil {
		return err
	}
	if err := node.spawn(p.r.pid, sp.child, sp.ballot); err != nil {
		return err
	}
	iter, err := engine.IterateSnapshot(snapshot, p.r.prefix, p.r.end)
	if err != nil {
		return err
	}
	err = c.copyRows(node, iter)
	if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
		return err
	}
	return node.learnEnd(sp.child, sp.ballot, at)
}

func (c *childCopy) copyRows(node nodeLink, iter *engine.Iterator) error {
	sp, p := c.sp, c.sp.p
	prefix := rowPrefix(sp.child)
	for ok := iter.First(); ok; {
		if err := c.stopped(); err != nil {
			return err
		}
		b := p.r.s.store.NewBatch()
		for ; ok && b.Len() < copyBytes; ok = iter.Next() {
			if err := b.Set(append(prefix[:prefixSize:prefixSize], iter.Key()[prefixSize:]...), iter.Value(), nil); err != nil {
				return errors.Join(err, b.Close())
			}
		}
		repr := bytes.Clone(b.Repr())
		p.r.s.pace(len(repr), p.r.s.settings.sendRate)
		if err := errors.Join(b.Close(), node.learnRows(sp.child, sp.ballot, repr)); err != nil {
			return err
		}
	}
	return nil
}

func (c *childCopy) stopped() error {
	select {
	case <-c.sp.p.fenced:
		return errStale
	case <-c.sp.p.r.s.stop:
		return errDead
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return errStale
	}
	return nil
}

// next takes the oldest pending mutation. more is false when there will never be another one.
func (c *childCopy) next() (m mutation, ok, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return mutation{}, false, false
	case len(c.pending) == 0:
		return mutation{}, false, !c.final
	}
	m = c.pending[0]
	c.pending = c.pending[1:]
	c.size -= len(m.Repr)
	c.change.Broadcast()
	return m, true, true
}

// push gives the copy one more mutation; it waits when the copy is far behind.
func (c *childCopy) push(m mutation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.size > maxPending && !c.over {
		c.change.Wait()
	}
	if c.over {
		return
	}
	c.pending = append(c.pending, m)
	c.size += len(m.Repr)
	c.signal()
}

func (c *childCopy) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *childCopy) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.pending, c.size = nil, 0
	c.change.Broadcast()
	c.signal()
}

func (c *childCopy) prepare(m mutation) error {
	node, err := c.sp.p.member(c.node)
	if err != nil {
		return err
	}
	w, err := node.prepare(m)
	if err != nil {
		return err
	}
	return w.Wait()
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

func (c *childCopy) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
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

// spawn makes the replica an empty child. It inherits when its parent was compacted.
func (r *replica) spawn(ballot int64, compacted int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ballot < r.group.Ballot:
		return errStale
	case r.status != wire.ReplicaInactive && r.status != wire.ReplicaPartitionSplit || r.s.alone():
		return errInactive
	}
	b := r.s.store.NewBatch()
	err := errors.Join(
		b.DeleteRange(r.prefix, r.end, nil), putState(b, r.stateKey, incomplete), putCompacted(b, r.pid, compacted))
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := r.s.store.Apply(b); err != nil {
		return err
	}
	r.at, r.group.Ballot, r.status = incomplete, ballot, wire.ReplicaPartitionSplit
	r.setCompacted(compacted)
	return nil
}

// discard deletes the replica's rows; false when it is more than the child of a split.
func (r *replica) discard(ballot int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ballot < r.group.Ballot || r.status != wire.ReplicaInactive && r.status != wire.ReplicaPartitionSplit {
		return false, nil
	}
	r.become(wire.ReplicaInactive)
	b := r.s.store.NewBatch()
	err := errors.Join(b.DeleteRange(r.prefix, r.end, nil), b.Delete(r.stateKey, nil), b.Delete(compactKeyOf(r.pid), nil))
	if err != nil {
		return false, errors.Join(err, b.Close())
	}
	return true, r.s.store.Apply(b)
}

func (s *replicaServer) split(o splitOrder) (bool, error) {
	r, err := s.use(o.PID)
	if err != nil {
		return false, err
	}
	defer s.leave()
	return r.split(o)
}

func (s *replicaServer) spawn(parent, child wire.GPID, ballot int64) error {
	p, err := s.use(parent)
	if err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	r := s.replicas[child]
	if r == nil {
		r = newReplica(s, child, s.left(child))
		s.replicas[child] = r
	}
	s.mu.Unlock()
	return r.spawn(ballot, p.compact.at())
}

func (s *replicaServer) discard(child wire.GPID, ballot int64) error {
	r, err := s.use(child)
	if errors.Is(err, errStale) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.leave()
	gone, err := r.discard(ballot)
	if gone && err == nil {
		s.mu.Lock()
		delete(s.replicas, child)
		s.mu.Unlock()
	}
	return err
}
