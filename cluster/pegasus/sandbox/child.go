package sandbox

import (
	"bytes"
	"errors"
	"sync"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

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
	number, err := node.spawn(p.r.pid, sp.child, sp.ballot)
	if err != nil {
		return err
	}
	for _, prefix := range [][]byte{p.r.prefix, p.r.deleted} {
		iter, err := engine.IterateSnapshot(snapshot, prefix, engine.After(prefix))
		if err != nil {
			return err
		}
		err = c.copyRows(node, number, tagged(prefix[0], sp.child), iter)
		if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
			return err
		}
	}
	return node.learnEnd(sp.child, sp.ballot, number, at)
}

func (c *childCopy) copyRows(node nodeLink, number int64, prefix []byte, iter *engine.Iterator) error {
	sp, p := c.sp, c.sp.p
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
		if err := errors.Join(b.Close(), node.learnRows(sp.child, sp.ballot, number, repr)); err != nil {
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

func (c *childCopy) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// spawn makes the replica an empty child, and begins a copy. It inherits when its parent was compacted.
func (r *replica) spawn(ballot, compacted int64) (copy int64, err error) {
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ballot < r.group.Ballot:
		return 0, errStale
	case r.status != wire.ReplicaInactive && r.status != wire.ReplicaPartitionSplit || r.s.alone():
		return 0, errInactive
	}
	b := r.s.store.NewBatch()
	err = errors.Join(
		clearRows(b, r.pid), putState(b, r.stateKey, incomplete), putCompacted(b, r.pid, compacted))
	if err != nil {
		return 0, errors.Join(err, b.Close())
	}
	if err := r.s.store.Apply(b); err != nil {
		return 0, err
	}
	r.at, r.group.Ballot, r.status = incomplete, ballot, wire.ReplicaPartitionSplit
	r.setCompacted(compacted)
	r.copy = r.s.copies.Add(1)
	return r.copy, nil
}

// discard deletes the replica's rows; false when it is more than the child of a split.
func (r *replica) discard(ballot int64) (bool, error) {
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ballot < r.group.Ballot || r.status != wire.ReplicaInactive && r.status != wire.ReplicaPartitionSplit {
		return false, nil
	}
	r.become(wire.ReplicaInactive)
	b := r.s.store.NewBatch()
	err := errors.Join(clearRows(b, r.pid), b.Delete(r.stateKey, nil), b.Delete(compactKeyOf(r.pid), nil))
	if err != nil {
		return false, errors.Join(err, b.Close())
	}
	return true, r.s.store.Apply(b)
}

func (s *replicaServer) spawn(parent, child wire.GPID, ballot int64) (copy int64, err error) {
	p, err := s.use(parent)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	s.mu.Lock()
	r := s.replicas[child]
	if r == nil {
		if err := s.disks.beside(parent, child); err != nil {
			s.mu.Unlock()
			return 0, err
		}
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
