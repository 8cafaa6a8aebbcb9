package sandbox

import (
	"errors"
	"slices"
	"sync"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// learner brings a node up to date while writes go on: first what it misses (the last mutations when they are enough,
// else a copy of all rows from a snapshot), then the mutations made meanwhile, and at last, between two mutations of
// the loop, it becomes a secondary.
type learner struct {
	p      *primary
	node   nodeID
	ballot int64

	mu      sync.Mutex
	change  *sync.Cond
	pending []mutation
	size    int // bytes of pending
	over    bool
}

// maxPending bounds what a learner may be behind; past it the primary's writes wait.
const maxPending = 64 << 20

// copyBytes is how much of a copy goes into one batch.
const copyBytes = 256 << 10

// addLearner starts to bring a node up to date. It answers at once; a node that learns already goes on doing so.
func (r *replica) addLearner(ballot int64, node nodeID) error {
	r.mu.Lock()
	p, known := r.loop, r.group.Ballot
	r.mu.Unlock()
	switch {
	case p == nil:
		return errInactive
	case ballot != known:
		return errStale
	case !p.enqueue(task{do: func() { p.startLearner(node) }}):
		return errInactive
	}
	return nil
}

func (p *primary) startLearner(node nodeID) {
	g, at, ok := p.state()
	if old := p.learners[node]; !ok || old != nil && !old.abandoned() || g.has(node) || !p.r.s.enter() {
		return
	}
	defer p.r.s.leave()
	l := &learner{p: p, node: node, ballot: g.Ballot}
	l.change = sync.NewCond(&l.mu)
	missing, snapshot, err := p.missing(node, g.Ballot, at)
	if err != nil {
		return // the meta server proposes it again
	}
	l.pending = missing
	p.learners[node] = l
	p.r.s.tasks.Go(func() { l.run(snapshot, at) })
}

// missing finds out what a node needs to reach at: some of the last mutations, or everything, from a snapshot.
func (p *primary) missing(id nodeID, ballot int64, at point) ([]mutation, *engine.Snapshot, error) {
	node, err := p.r.s.net.node(id)
	if err != nil {
		return nil, nil, err
	}
	has, err := node.learn(p.r.pid, ballot, false)
	if err != nil {
		return nil, nil, err
	}
	if has.At == at {
		return nil, nil, nil
	}
	from := slices.IndexFunc(p.recent, func(m mutation) bool { return m.Prev == has.At })
	if from >= 0 {
		return slices.Clone(p.recent[from:]), nil, nil
	}
	return nil, p.r.s.store.Snapshot(), nil
}

func (l *learner) run(snapshot *engine.Snapshot, at point) {
	err := l.copy(snapshot, at)
	for err == nil {
		m, ok := l.next()
		if !ok {
			break
		}
		err = l.prepare(m)
	}
	if err != nil {
		l.abandon()
		return
	}
	// The loop may be waiting for this learner to catch up, so it must not be waited for here.
	if !l.p.enqueue(task{do: l.finish}) {
		l.abandon()
	}
}

func (l *learner) copy(snapshot *engine.Snapshot, at point) error {
	if snapshot == nil {
		return nil
	}
	s := l.p.r.s
	if !s.enter() {
		// Snapshots must be gone before the store is closed, which waits for this goroutine.
		return errors.Join(errDead, snapshot.Close())
	}
	defer s.leave()
	err := l.p.copyTo(l.node, l.ballot, at, snapshot)
	return errors.Join(err, snapshot.Close())
}

// copyTo replaces the rows of a node's replica by those of a snapshot taken at a point.
func (p *primary) copyTo(id nodeID, ballot int64, at point, snapshot *engine.Snapshot) error {
	node, err := p.r.s.net.node(id)
	if err != nil {
		return err
	}
	begun, err := node.learn(p.r.pid, ballot, true)
	if err != nil {
		return err
	}
	for _, prefix := range [][]byte{p.r.prefix, p.r.deleted, logPrefix(p.r.pid)} {
		iter, err := engine.IterateSnapshot(snapshot, prefix, engine.After(prefix))
		if err != nil {
			return err
		}
		err = p.copyRows(node, ballot, begun.Copy, iter)
		if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
			return err
		}
	}
	return node.learnEnd(p.r.pid, ballot, begun.Copy, at)
}

func (p *primary) copyRows(node nodeLink, ballot, copy int64, iter *engine.Iterator) error {
	for ok := iter.First(); ok; {
		select {
		case <-p.fenced:
			return errStale
		case <-p.r.s.stop:
			return errDead
		default:
		}
		b := p.r.s.store.NewBatch()
		for ; ok && b.Len() < copyBytes; ok = iter.Next() {
			if err := b.Set(iter.Key(), iter.Value(), nil); err != nil {
				return errors.Join(err, b.Close())
			}
		}
		repr := slices.Clone(b.Repr())
		p.r.s.pace(len(repr), p.r.s.settings.sendRate)
		if err := errors.Join(b.Close(), node.learnRows(p.r.pid, ballot, copy, repr)); err != nil {
			return err
		}
	}
	return nil
}

// push gives the learner one more mutation to catch up with; it waits when the learner is far behind.
func (l *learner) push(m mutation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size > maxPending && !l.over {
		l.change.Wait()
	}
	if l.over {
		return
	}
	l.pending = append(l.pending, m)
	l.size += len(m.Repr)
}

// next takes the oldest pending mutation; not ok when there is none.
func (l *learner) next() (mutation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 || l.over {
		return mutation{}, false
	}
	m := l.pending[0]
	l.pending = l.pending[1:]
	l.size -= len(m.Repr)
	l.change.Broadcast()
	return m, true
}

func (l *learner) prepare(m mutation) error {
	m.Ballot = max(m.Ballot, l.ballot) // it may have been made before the node was told of this ballot
	w, err := l.p.prepareOn(l.node, m)
	if err != nil {
		return err
	}
	return w.Wait()
}

// abandoned says whether it was given up.
func (l *learner) abandoned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// abandon gives up; the meta server will propose a learner again.
func (l *learner) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.pending, l.size = nil, 0
	l.change.Broadcast()
}

// finish runs in the loop, where no mutation is being made: what is left is applied and the node becomes a secondary.
func (l *learner) finish() {
	p := l.p
	for {
		m, ok := l.next()
		if !ok {
			break
		}
		if l.prepare(m) != nil {
			l.abandon()
		}
	}
	over := l.abandoned()
	if p.learners[l.node] == l {
		delete(p.learners, l.node)
	}
	if !over {
		p.admit(l.node)
	}
}

// admit has a node that has caught up made a secondary. When the meta server dies before it answers, the node may be
// one: the replica is inactive then until it is told its group, or else the others would go on without the new member.
func (p *primary) admit(node nodeID) {
	g, at, ok := p.state()
	for unsure := false; ok; {
		next, err := p.ask(func(m metaLink) (group, error) { return m.learned(p.r.pid, g.Ballot, p.r.s.id, node, at) })
		switch {
		case err == nil:
			p.install(next)
			p.setStatus(wire.ReplicaPrimary)
			return
		case !unsure && !errors.Is(err, errUnsure):
			return
		}
		if unsure = true; !p.setStatus(wire.ReplicaInactive) || !p.rest() {
			return
		}
		var now group
		if now, _, ok = p.state(); ok && now.Ballot != g.Ballot { // told, perhaps before it became inactive
			p.setStatus(wire.ReplicaPrimary)
			return
		}
	}
}

// syncSecondaries makes sure, before a new primary takes writes, that its secondaries have what it has: the last
// primary may have died when some had a mutation and some had not.
func (p *primary) syncSecondaries() {
	if !p.r.s.enter() {
		return
	}
	defer p.r.s.leave()
	g, at, ok := p.state()
	for i := 0; ok && i < len(g.Secondaries); i++ {
		id := g.Secondaries[i]
		if p.syncOne(id, g, at) != nil {
			ok = p.remove(id)
		}
	}
}

func (p *primary) syncOne(id nodeID, g group, at point) error {
	node, err := p.r.s.net.node(id)
	if err != nil {
		return err
	}
	has, err := node.report(p.r.pid)
	if err != nil {
		return err
	}
	if has.At == at && has.Status == wire.ReplicaSecondary {
		return nil
	}
	if has.At != at {
		snapshot := p.r.s.store.Snapshot()
		if err := errors.Join(p.copyTo(id, g.Ballot, at, snapshot), snapshot.Close()); err != nil {
			return err
		}
	}
	p.r.mu.Lock()
	a := assignment{*p.r.app, g}
	p.r.mu.Unlock()
	return node.assign(a)
}
