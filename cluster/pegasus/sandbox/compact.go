package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// Manual compaction. A table's envs say when it was asked for; every node looks whether its replicas have been compacted
// since. What it does is to delete rows that have expired, and those of the other half after a split, and to have the
// store rewrite the replica's tables.

const (
	envCompactOff      = "manual_compact.disabled"
	envCompactLimit    = "manual_compact.max_concurrent_running_count"
	envCompactOnce     = "manual_compact.once.trigger_time"
	envCompactLevel    = "manual_compact.once.target_level"
	envCompactBottom   = "manual_compact.once.bottommost_level_compaction"
	envCompactPeriodic = "manual_compact.periodic.trigger_time"

	compactWorkers = 2                         // replicas of one node at a time, whatever the envs allow
	compactPeriod  = 30 * time.Second / timers // between looks at the envs (Pegasus: config sync)
	compactBatch   = 512                       // rows deleted at a time
)

// compaction is where a replica's stands. Its mutex is its own: it may be asked for while the replica is busy.
type compaction struct {
	mu       sync.Mutex
	finished int64         // Unix milliseconds of the last one's end, 0 for never
	used     time.Duration // by the last one; 0 after a start of the server
	queued   time.Time     // since when one waits
	started  time.Time     // since when one runs
}

func (c *compaction) at() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished
}

func (r *replica) setCompacted(at int64) {
	r.compact.mu.Lock()
	defer r.compact.mu.Unlock()
	r.compact.finished = at
}

func compactKeyOf(pid wire.GPID) []byte { return tagged('c', pid) }

// putCompacted keeps when a replica was compacted.
func putCompacted(b *engine.Batch, pid wire.GPID, at int64) error {
	return b.Set(compactKeyOf(pid), binary.BigEndian.AppendUint64(nil, uint64(at)), nil)
}

// compactedAt is what putCompacted kept, 0 for never.
func (s *replicaServer) compactedAt(pid wire.GPID) int64 {
	value, err := s.store.Read(compactKeyOf(pid))
	if err != nil || len(value) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(value))
}

// compactDue says whether the envs ask for a compaction that has not been made.
func (a *app) compactDue(finished int64, now time.Time) bool {
	if a.Envs[envCompactOff] == "true" || a.compactLimit() <= 0 {
		return false
	}
	if once, err := strconv.ParseInt(a.Envs[envCompactOnce], 10, 64); err == nil && once > finished/1000 && once <= now.Unix() {
		return true
	}
	for part := range strings.SplitSeq(a.Envs[envCompactPeriodic], ",") {
		at, err := time.Parse("15:04", strings.TrimSpace(part))
		if err != nil {
			continue
		}
		year, month, day := now.Date()
		today := time.Date(year, month, day, at.Hour(), at.Minute(), 0, 0, now.Location()).UnixMilli()
		if finished < today && today < now.UnixMilli() {
			return true
		}
	}
	return false
}

// compactLimit is how many replicas a node may compact at a time.
func (a *app) compactLimit() int {
	limit, err := strconv.ParseInt(a.Envs[envCompactLimit], 10, 32)
	if err != nil {
		return compactWorkers
	}
	return min(int(limit), compactWorkers)
}

// compactStatus is where the replica stands; r.mu is held.
func (r *replica) compactStatus(now time.Time) wire.CompactStatus {
	c := &r.compact
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.started.IsZero():
		return wire.CompactRunning
	case !c.queued.IsZero() || r.compacts() && r.app.compactDue(c.finished, now):
		return wire.CompactQueuing
	case c.used > 0:
		return wire.CompactFinished
	}
	return wire.CompactIdle
}

// compacts says whether the replica has rows to compact; r.mu is held.
func (r *replica) compacts() bool {
	return (r.status == wire.ReplicaPrimary || r.status == wire.ReplicaSecondary) && r.at != incomplete
}

func (s *replicaServer) kickCompactor() {
	select {
	case s.compacts <- struct{}{}:
	default:
	}
}

// compactor starts what is due until the server dies.
func (s *replicaServer) compactor() {
	tick := time.NewTicker(compactPeriod)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.compacts:
		case <-tick.C:
		}
		for _, r := range s.takeCompactions(time.Now()) {
			s.tasks.Go(func() { s.compact(r) })
		}
	}
}

// takeCompactions queues the replicas whose compaction is due and answers those that are to run now.
func (s *replicaServer) takeCompactions(now time.Time) []*replica {
	running := 0
	var waiting, taken []*replica
	for _, r := range s.all() {
		switch r.queueCompaction(now) {
		case wire.CompactRunning:
			running++
		case wire.CompactQueuing:
			waiting = append(waiting, r)
		}
	}
	for _, r := range waiting {
		r.mu.Lock()
		a := r.app
		r.mu.Unlock()
		if running >= a.compactLimit() {
			continue
		}
		running++
		r.compact.mu.Lock()
		r.compact.started = now
		r.compact.mu.Unlock()
		taken = append(taken, r)
	}
	return taken
}

// queueCompaction answers what becomes of the replica's compaction.
func (r *replica) queueCompaction(now time.Time) wire.CompactStatus {
	r.mu.Lock()
	a, may := r.app, r.compacts()
	r.mu.Unlock()
	c := &r.compact
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.started.IsZero():
		return wire.CompactRunning
	case !may || !a.compactDue(c.finished, now):
		c.queued = time.Time{}
		return wire.CompactIdle
	case c.queued.IsZero():
		c.queued = now
	}
	return wire.CompactQueuing
}

func (s *replicaServer) compact(r *replica) {
	if !s.enter() {
		return
	}
	defer s.kickCompactor()
	defer s.leave()
	began := time.Now()
	err := s.compactRows(r)
	finished := time.Now()
	if err == nil {
		b := s.store.NewBatch()
		if err = putCompacted(b, r.pid, finished.UnixMilli()); err == nil {
			err = s.store.Apply(b)
		}
	}
	if err != nil && !errors.Is(err, errDead) {
		s.log("compaction of %s on %s: %v", r.pid, s.address, err)
	}
	c := &r.compact
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued, c.started = time.Time{}, time.Time{}
	if err == nil {
		c.finished, c.used = finished.UnixMilli(), max(finished.Sub(began), time.Millisecond)
	}
}

func (s *replicaServer) compactRows(r *replica) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := r.clean(); err != nil {
		return err
	}
	return s.store.Compact(ctx, r.prefix, r.end)
}

// clean deletes the rows that nobody can see any more.
func (r *replica) clean() error {
	iter, err := r.s.store.Iterate(r.prefix, r.end)
	if err != nil {
		return err
	}
	defer iter.Close()
	r.mu.Lock()
	unseen := r.unseen()
	r.mu.Unlock()
	var batch [][]byte
	for ok := iter.First(); ok; ok = iter.Next() {
		select {
		case <-r.s.stop:
			return errDead
		default:
		}
		if unseen(iter.Key(), iter.Value()) {
			batch = append(batch, bytes.Clone(iter.Key()))
		}
		if len(batch) == compactBatch {
			if err := r.deleteUnseen(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return errors.Join(iter.Error(), r.deleteUnseen(batch))
}

// unseen answers which rows have expired, or are the other half's after a split; r.mu is held.
func (r *replica) unseen() func(key, value []byte) bool {
	now, own := time.Now(), r.hashCheck(true)
	return func(key, value []byte) bool {
		if wire.Expired(expireOf(value), now) {
			return true
		}
		_, _, err := wire.DecodeKey(key[prefixSize:])
		return err == nil && !own(key[prefixSize:])
	}
}

// deleteUnseen deletes those of the rows that cannot be seen now, either. Mutations are applied under the same lock, so
// that a row that was written meanwhile stays.
func (r *replica) deleteUnseen(keys [][]byte) error {
	r.mu.Lock()
	b, err := r.stillUnseen(keys)
	if err != nil || b == nil {
		r.mu.Unlock()
		return err
	}
	r.counted = nil
	pending, err := r.s.store.ApplyAsync(b)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return pending.Wait()
}

// stillUnseen makes the batch that deletes the rows, whose keys are in order; nil when the replica learns by now, and its
// rows are somebody else's. r.mu is held.
func (r *replica) stillUnseen(keys [][]byte) (*engine.Batch, error) {
	if len(keys) == 0 || !r.compacts() {
		return nil, nil
	}
	last := keys[len(keys)-1]
	iter, err := r.s.store.Iterate(keys[0], append(bytes.Clone(last), 0))
	if err != nil {
		return nil, err
	}
	b, unseen := r.s.store.NewBatch(), r.unseen()
	for _, key := range keys {
		if iter.SeekGE(key) && bytes.Equal(iter.Key(), key) && unseen(key, iter.Value()) {
			err = errors.Join(err, r.deleteRow(b, r.app, key[prefixSize:]))
		}
	}
	if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// queryCompact answers in the words of 2.5.
func (s *replicaServer) queryCompact(args []string) string {
	var wanted []string
	if len(args) > 0 {
		wanted = strings.Split(args[0], ",")
	}
	var lines []string
	for _, r := range s.all() {
		if len(wanted) > 0 && !slices.Contains(wanted, r.pid.String()) && !slices.Contains(wanted, fmt.Sprint(r.pid.App)) {
			continue
		}
		status := r.report().Status
		if status == wire.ReplicaPrimary || status == wire.ReplicaSecondary {
			lines = append(lines, fmt.Sprintf("\n    %s@%s@%.1s : %s", r.pid, s.address, status, r.compact.text()))
		}
	}
	return fmt.Sprintf("%d processed, 0 not found%s", len(lines), strings.Join(lines, ""))
}

const compactTime = "2006-01-02 15:04:05.000"

func (c *compaction) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := "last finish at [-]"
	if c.finished > 0 {
		text = fmt.Sprintf("last finish at [%s]", time.UnixMilli(c.finished).Format(compactTime))
	}
	if c.used > 0 {
		text += fmt.Sprintf(", last used %d ms", c.used.Milliseconds())
	}
	if !c.queued.IsZero() {
		text += fmt.Sprintf(", recent enqueue at [%s]", c.queued.Format(compactTime))
	}
	if !c.started.IsZero() {
		text += fmt.Sprintf(", recent start at [%s]", c.started.Format(compactTime))
	}
	return text
}
