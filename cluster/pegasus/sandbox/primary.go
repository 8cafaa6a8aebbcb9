package sandbox

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// primary is the loop of a partition's primary: the one place where the partition's writes are put in order. It takes
// what has queued up, makes one mutation of it, has every secondary apply it, applies it here and answers. A secondary
// that fails is taken out of the group before anything is answered, so every member of a group always has every
// acknowledged write, and any of them can become the primary.
type primary struct {
	r      *replica
	queue  chan task
	fenced chan struct{} // closed when the replica is no longer the primary
	ended  chan struct{}

	// Below belongs to the loop.
	recent   []mutation // the last ones, for learners that missed only these
	size     int        // bytes of recent
	learners map[nodeID]*learner
	split    *splitting // the last one that was begun; nil when it came to its end
	checked  time.Time  // when the secondaries' disks were asked for
	full     bool       // one of them took no writes
}

// task is a write, or something the loop does between two mutations.
type task struct {
	write *write
	do    func()
}

// write is one client request that changes rows.
type write struct {
	size int
	hash uint64 // of its hash key, as the request says
	// reads means that apply looks at rows, and so needs all writes before it to be in the store.
	reads bool
	// apply adds the changes to the batch. An error is the store's, and fails the write as a whole.
	apply func(b *engine.Batch, decree int64, now time.Time) error
	// sent is what the client sent, for followers.
	sent message
	// answer ends the request: a header error, or "" when the write is acknowledged.
	answer func(code string)
}

const (
	queueLength  = 4096
	groupBytes   = 1 << 20 // of the writes that share a mutation
	groupWrites  = 512
	recentBytes  = 1 << 20
	retryTimeout = time.Second / timers // between attempts to reach the meta server (1 s in Pegasus)
)

// startPrimary starts the loop; r.mu is held. An earlier loop of the same replica has been fenced.
func startPrimary(r *replica) *primary {
	p := &primary{
		r: r, queue: make(chan task, queueLength), fenced: make(chan struct{}), ended: make(chan struct{}),
		learners: map[nodeID]*learner{},
	}
	r.s.tasks.Go(p.run)
	return p
}

// enqueue hands the loop a task; false when it has stopped or is too far behind.
func (p *primary) enqueue(t task) bool {
	select {
	case <-p.fenced:
		return false
	case <-p.r.s.stop:
		return false
	default:
	}
	select {
	case p.queue <- t:
	default:
		return false
	}
	select {
	case <-p.ended: // the loop may have looked for the last time before the task came
		p.drain()
	default:
	}
	return true
}

func (p *primary) run() {
	defer p.end()
	p.syncSecondaries()
	for {
		select {
		case <-p.fenced:
			return
		case <-p.r.s.stop:
			return
		case t := <-p.queue:
			p.serve(t)
		}
	}
}

// end answers what is left. What is queued after that is answered by enqueue itself.
func (p *primary) end() {
	for _, l := range p.learners {
		l.abandon()
	}
	if p.split != nil {
		p.split.abandon()
	}
	close(p.ended)
	p.drain()
}

func (p *primary) drain() {
	for {
		select {
		case t := <-p.queue:
			if t.write != nil {
				t.write.answer(wire.CodeInvalidState)
			}
		default:
			return
		}
	}
}

// serve takes a task and the writes that queued up behind it.
func (p *primary) serve(t task) {
	for {
		if t.write == nil {
			t.do()
			return
		}
		group := []*write{t.write}
		size := t.write.size
		next := task{}
		for more := true; more && len(group) < groupWrites && size < groupBytes; {
			select {
			case next = <-p.queue:
				if next.write == nil || next.write.reads {
					more = false
					break
				}
				group = append(group, next.write)
				size += next.write.size
				next = task{}
			default:
				more = false
			}
		}
		p.commit(group)
		if next.write == nil && next.do == nil {
			return
		}
		t = next
	}
}

// commit makes one mutation of the writes and has it acknowledged.
func (p *primary) commit(group []*write) {
	if group = p.turnAway(group); len(group) == 0 {
		return
	}
	code := p.replicate(group)
	for _, w := range group {
		w.answer(code)
	}
}

// turnAway refuses the writes that queued up before the partition was split and are the child's now.
func (p *primary) turnAway(group []*write) []*write {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return slices.DeleteFunc(group, func(w *write) bool {
		code := p.r.misplaced(w.hash)
		if code != "" {
			w.answer(code)
		}
		return code != ""
	})
}

// replicate answers the header error for all the writes, "" when they are acknowledged.
func (p *primary) replicate(writes []*write) (code string) {
	r := p.r
	if !r.s.enter() {
		return wire.CodeInvalidState
	}
	defer r.s.leave()
	g, at, ok := p.state()
	if !ok {
		return wire.CodeInvalidState
	}
	if 1+len(g.Secondaries) < minReplicas(g.Max) {
		return wire.CodeNotEnoughMember
	}
	if p.noSpace(g.Secondaries) {
		return wire.CodeDiskInsufficient
	}
	m, batch, err := p.mutate(writes, g, at)
	if err != nil {
		r.s.log("partition %s on %s: %v", r.pid, r.s.address, err)
		return wire.CodeReplicationFailure
	}
	if !p.prepareAll(m, g.Secondaries) {
		_ = batch.Close()
		return wire.CodeTimeout // the secondaries may have it: nobody can say now whether it stays
	}
	members, err := p.apply(m, batch)
	if err != nil {
		r.s.log("partition %s on %s: %v", r.pid, r.s.address, err)
		return wire.CodeTimeout
	}
	p.remember(m)
	if members < minReplicas(g.Max) {
		return wire.CodeTimeout // it is here, but on no majority
	}
	return ""
}

// minReplicas is how many members a group needs to take writes.
func minReplicas(most int) int {
	if most <= 2 {
		return 1
	}
	return most/2 + 1
}

// state answers the group and point to go on from; not ok when this loop has been fenced, or may be by now.
func (p *primary) state() (group, point, bool) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return p.r.group, p.r.at, p.r.loop == p && !p.r.s.alone()
}

func (p *primary) mutate(writes []*write, g group, at point) (mutation, *engine.Batch, error) {
	batch := p.r.s.store.NewBatch()
	m := mutation{PID: p.r.pid, Ballot: g.Ballot, Prev: at, Last: point{g.Ballot, at.Decree}}
	now := time.Now()
	p.r.mu.Lock()
	logged, confirmed := p.r.logged()
	p.r.mu.Unlock()
	for _, w := range writes {
		m.Last.Decree++
		first := batch.Count()
		err := w.apply(batch, m.Last.Decree, now)
		if err == nil && logged {
			err = logWrite(batch, p.r, w, first, m.Last.Decree, now)
		}
		if err != nil {
			return m, nil, errors.Join(err, batch.Close())
		}
	}
	if logged {
		if err := trimLog(batch, p.r.pid, confirmed); err != nil {
			return m, nil, errors.Join(err, batch.Close())
		}
	}
	if err := putState(batch, p.r.stateKey, m.Last); err != nil {
		return m, nil, errors.Join(err, batch.Close())
	}
	m.Repr = bytes.Clone(batch.Repr())
	return m, batch, nil
}

// prepareAll has the secondaries apply the mutation, and those that do not taken out of the group. It answers false
// when this replica turns out not to be the primary any more.
func (p *primary) prepareAll(m mutation, secondaries []nodeID) bool {
	waiters := make([]waiter, len(secondaries))
	var failed []nodeID
	for i, id := range secondaries {
		w, err := p.prepareOn(id, m)
		if err != nil {
			failed = append(failed, id)
			continue
		}
		waiters[i] = w
	}
	for i, w := range waiters {
		if w != nil && w.Wait() != nil {
			failed = append(failed, secondaries[i])
		}
	}
	for _, id := range failed {
		if !p.remove(id) {
			return false
		}
	}
	return true
}

func (p *primary) prepareOn(id nodeID, m mutation) (waiter, error) {
	node, err := p.r.s.net.node(id)
	if err != nil {
		return nil, err
	}
	return node.prepare(m)
}

// apply applies the mutation here and answers how many members the group has now.
func (p *primary) apply(m mutation, batch *engine.Batch) (members int, err error) {
	r := p.r
	r.mu.Lock()
	if r.loop != p {
		r.mu.Unlock()
		return 0, errors.Join(errStale, batch.Close())
	}
	pending, err := r.s.store.ApplyAsync(batch)
	if err == nil {
		r.at = m.Last
		r.stats.written.Add(int64(len(m.Repr)))
	}
	members = 1 + len(r.group.Secondaries)
	r.kickShippers()
	r.mu.Unlock()
	if err != nil {
		return members, err
	}
	return members, pending.Wait()
}

// remember keeps the mutation for learners.
func (p *primary) remember(m mutation) {
	p.recent = append(p.recent, m)
	p.size += len(m.Repr)
	drop := 0
	for p.size > recentBytes && drop < len(p.recent) {
		p.size -= len(p.recent[drop].Repr)
		drop++
	}
	p.recent = slices.Delete(p.recent, 0, drop)
	for _, l := range p.learners {
		l.push(m)
	}
	if p.split != nil {
		p.split.copied(m)
	}
}

// remove takes a secondary out of the group. Until the meta server has agreed the replica is inactive, as nobody knows
// what the group is; at a freezed meta server that lasts until it is freezed no more. It answers false when this
// replica is not the primary any more, or its server dies.
func (p *primary) remove(id nodeID) bool {
	for {
		g, _, ok := p.state()
		if !ok {
			return false
		}
		if !slices.Contains(g.Secondaries, id) {
			return p.setStatus(wire.ReplicaPrimary)
		}
		next, err := p.ask(func(m metaLink) (group, error) { return m.lost(p.r.pid, g.Ballot, p.r.s.id, id) })
		if err == nil {
			p.install(next)
			continue
		}
		p.setStatus(wire.ReplicaInactive)
		if !p.rest() {
			return false
		}
	}
}

// rest waits before the meta server is asked again; false when this replica is not the primary any more, or its
// server dies.
func (p *primary) rest() bool {
	timer := time.NewTimer(retryTimeout)
	defer timer.Stop()
	select {
	case <-p.fenced:
		return false
	case <-p.r.s.stop:
		return false
	case <-timer.C:
		return true
	}
}

func (p *primary) ask(what func(metaLink) (group, error)) (group, error) {
	m, err := p.r.s.net.meta()
	if err != nil {
		return group{}, err
	}
	return what(m)
}

// install takes over a group of which the replica is still the primary.
func (p *primary) install(g group) {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.r.loop == p && g.Ballot > p.r.group.Ballot {
		p.r.group = g
	}
}

func (p *primary) setStatus(status wire.ReplicaStatus) bool {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.r.loop != p {
		return false
	}
	p.r.status = status
	return true
}
