package sandbox

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// replica is one server's copy of a partition. What it may do follows from its status:
//
//	INACTIVE              nothing; after a start, and when the group has no place for it
//	POTENTIAL_SECONDARY   a learner: takes copied rows and mutations, counts for nothing
//	PARTITION_SPLIT       the child of a partition that is being split, which is no partition yet: as a learner
//	SECONDARY             takes mutations; a write is acknowledged only when every secondary has it
//	PRIMARY               serves clients; its loop (primary.go) makes the mutations
type replica struct {
	s        *replicaServer
	pid      wire.GPID
	prefix   []byte // of its rows
	end      []byte // after its rows
	deleted  []byte // of the keys that are known to be deleted
	stateKey []byte

	copying sync.Mutex // held while a step of a copy is carried out; before mu
	copy    int64      // the last copy, a number that the server gives only once

	mu     sync.Mutex
	app    *app
	group  group // the newest this replica was told of
	status wire.ReplicaStatus
	at     point
	loop   *primary // while PRIMARY
	// splitting: the loop is making a child, or about to. sealed: it is registering it, and clients have to wait.
	splitting, sealed bool
	ingesting         bool // files are being ingested: clients may not write
	limits            limits
	stats             stats
	hot               [2]hotkeys // by wire.HotkeyType
	// keys are the rows there were at the point counted, nil while nobody has counted.
	keys    int64
	counted *point
	scans   map[int64]*scanContext
	compact compaction
	ships   map[int32]*shipper // of the loop, see dup_ship.go
	// confirmed is up to where followers have the writes, as far as the meta server keeps it.
	confirmed map[int32]int64
}

func newReplica(s *replicaServer, pid wire.GPID, at point) *replica {
	r := &replica{
		s: s, pid: pid, at: at, prefix: rowPrefix(pid), end: engine.After(rowPrefix(pid)), deleted: deletedPrefix(pid), stateKey: stateKeyOf(pid),
		app: &app{ID: pid.App}, group: group{PID: pid, Primary: noNode}, status: wire.ReplicaInactive,
		scans: map[int64]*scanContext{}, ships: map[int32]*shipper{},
	}
	r.compact.finished = s.compactedAt(pid)
	return r
}

// assign gives the replica its place in a group, unless it knows a newer one.
func (r *replica) assign(a assignment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Group.Ballot < r.group.Ballot {
		return errStale
	}
	if a.App.Version >= r.app.Version {
		r.setAppLocked(&a.App)
	}
	r.group = a.Group
	switch {
	case a.Group.Primary == r.s.id:
		if r.loop == nil {
			r.become(wire.ReplicaPrimary)
			r.loop = startPrimary(r)
		} else {
			r.status = wire.ReplicaPrimary
		}
	case a.Group.has(r.s.id):
		r.become(wire.ReplicaSecondary)
	default:
		r.become(wire.ReplicaInactive)
	}
	return nil
}

// become changes the status; r.mu is held. A primary that no longer is one stops its loop and loses its scans.
func (r *replica) become(status wire.ReplicaStatus) {
	r.status = status
	if r.loop != nil && status != wire.ReplicaPrimary {
		close(r.loop.fenced)
		r.loop, r.splitting, r.sealed = nil, false, false
		r.stopShippers()
	}
	if status != wire.ReplicaPrimary {
		r.closeScans()
	}
}

func (r *replica) deactivate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.become(wire.ReplicaInactive)
}

func (r *replica) setApp(a *app) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Version >= r.app.Version {
		r.setAppLocked(a)
	}
}

// setAppLocked takes note of what the table is now; r.mu is held. A log that nobody needs any more is deleted.
func (r *replica) setAppLocked(a *app) {
	had := len(r.app.Dups) > 0
	if r.app = a; had && len(a.Dups) == 0 {
		r.stopShippers()
		r.s.tasks.Go(r.dropLog)
	}
	for _, d := range a.Dups {
		if s := r.ships[d.ID]; s != nil {
			s.hear(d)
		}
	}
}

func (r *replica) report() report {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := report{
		Status: r.status, Ballot: r.group.Ballot, At: r.at, Compact: r.compactStatus(time.Now()), Full: r.s.disks.replicaFull(r.pid),
	}
	if r.s.alone() {
		now.Status = wire.ReplicaInactive
	}
	return now
}

// readable says whether clients may read here; the code is a header error.
func (r *replica) readable(backup bool, hash uint64) (a *app, code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s.alone() {
		return nil, wire.CodeInvalidState
	}
	if r.status == wire.ReplicaPrimary || backup && r.status == wire.ReplicaSecondary {
		return r.app, r.misplaced(hash)
	}
	return nil, wire.CodeInvalidState
}

// prepare applies a mutation that follows on what the replica has.
func (r *replica) prepare(m mutation) (engine.Pending, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.status != wire.ReplicaSecondary && !r.learns() || r.s.alone():
		return engine.Pending{}, errInactive
	case m.Ballot < r.group.Ballot:
		return engine.Pending{}, errStale
	case m.Prev != r.at:
		return engine.Pending{}, errGap
	}
	batch, err := r.s.store.BatchOf(bytes.Clone(m.Repr))
	if err != nil {
		return engine.Pending{}, err
	}
	pending, err := r.s.store.ApplyAsync(batch)
	if err == nil {
		r.at = m.Last
		r.stats.written.Add(int64(len(m.Repr)))
	}
	return pending, err
}

// learn makes a learner of a replica that is not active, or starts a secondary's copy afresh.
func (r *replica) learn(ballot int64, clear bool) (report, error) {
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ballot < r.group.Ballot {
		return report{}, errStale
	}
	if r.status == wire.ReplicaPrimary {
		return report{}, errInactive
	}
	r.become(wire.ReplicaPotentialSecondary)
	if clear {
		b := r.s.store.NewBatch()
		if err := errors.Join(clearRows(b, r.pid), b.DeleteRange(logPrefix(r.pid), engine.After(logPrefix(r.pid)), nil), putState(b, r.stateKey, incomplete)); err != nil {
			return report{}, errors.Join(err, b.Close())
		}
		if err := r.s.store.Apply(b); err != nil {
			return report{}, err
		}
		r.at = incomplete
	}
	r.copy = r.s.copies.Add(1)
	return report{Status: r.status, Ballot: r.group.Ballot, At: r.at, Copy: r.copy}, nil
}

// learns says whether the replica takes what is copied to it; r.mu is held.
func (r *replica) learns() bool {
	return r.status == wire.ReplicaPotentialSecondary || r.status == wire.ReplicaPartitionSplit
}

// learnRows has the rows in the store before another copy can clear them: one that was given up must not mix with the
// next one.
func (r *replica) learnRows(ballot, copy int64, repr []byte) error {
	r.copying.Lock()
	defer r.copying.Unlock()
	batch, err := r.s.store.BatchOf(repr)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if err := r.learning(ballot, copy); err != nil {
		r.mu.Unlock()
		return errors.Join(err, batch.Close())
	}
	r.stats.written.Add(int64(len(repr)))
	pending, err := r.s.store.ApplyAsync(batch)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return pending.Wait()
}

func (r *replica) learnEnd(ballot, copy int64, at point) error {
	r.copying.Lock()
	defer r.copying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.learning(ballot, copy); err != nil {
		return err
	}
	b := r.s.store.NewBatch()
	if err := putState(b, r.stateKey, at); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := r.s.store.Apply(b); err != nil {
		return err
	}
	r.at = at
	return nil
}

// learning says whether a step of a copy may be carried out; r.copying and r.mu are held.
func (r *replica) learning(ballot, copy int64) error {
	switch {
	case ballot < r.group.Ballot || copy != r.copy:
		return errStale
	case !r.learns() || r.at != incomplete:
		return errInactive
	}
	return nil
}
