package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// How a primary ships its writes. The meta server tells it of the duplications of its table again and again (duplicate),
// and hears how far they are. For each there is a shipper, a goroutine that ends with the primary's loop; the next
// primary begins at what the meta server has kept, so a follower may get writes twice, always in order.
//
// In place of Pegasus's checkpoint files, which the nodes of the follower fetch, the primary ships the rows of a snapshot
// as puts that carry the time they were written at and yield to newer ones. A follower can be read meanwhile.

// Fault points of shipping.
const (
	pointShip    = "dup.ship"
	pointDamaged = "dup.damaged"
)

// skipAfter is how often reading the same place of a log is tried before FAIL_SKIP leaves it out, as in Pegasus.
const skipAfter = 3

// shipper ships one partition for one duplication.
type shipper struct {
	r      *replica
	p      *primary
	client *abroad
	ctx    context.Context
	cancel context.CancelFunc
	more   chan struct{} // there may be more to do

	mu        sync.Mutex
	dup       duplication
	begun     bool  // confirmed is known
	confirmed int64 // what the follower has
	copied    bool  // the snapshot is there
	why       string
	tries     int // failures at the same place
}

// duplicate hears which duplications there are and how far the meta server knows they are, and answers how far they are.
func (r *replica) duplicate(o dupOrder) (dupReport, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.loop
	switch {
	case p == nil || r.s.alone() || r.s.net.gate(r.s.address).paused():
		return dupReport{}, errInactive
	case r.group.Ballot != o.Ballot:
		return dupReport{}, errStale
	}
	if o.App.Version > r.app.Version {
		r.setAppLocked(&o.App)
	}
	r.confirmed = o.Confirmed
	out := dupReport{At: r.at.Decree, Dups: map[int32]dupProgress{}}
	for _, d := range r.app.Dups {
		s := r.ships[d.ID]
		if s == nil {
			s = r.startShipper(p, d, o.Confirmed)
		}
		out.Dups[d.ID] = s.hear(d)
	}
	for id, s := range r.ships {
		if _, known := out.Dups[id]; !known {
			s.cancel()
			delete(r.ships, id)
		}
	}
	return out, nil
}

func (s *replicaServer) duplicate(o dupOrder) (dupReport, error) {
	r, err := s.use(o.PID)
	if err != nil {
		return dupReport{}, err
	}
	defer s.leave()
	return r.duplicate(o)
}

// startShipper starts shipping; r.mu is held. One that nobody has begun yet begins at the point between two mutations
// where the loop is when it hears of it: from then on everything is logged.
func (r *replica) startShipper(p *primary, d duplication, confirmed map[int32]int64) *shipper {
	s := &shipper{r: r, p: p, client: newAbroad(r.s.net, d.Remote), more: make(chan struct{}, 1), dup: d}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if at, known := confirmed[d.ID]; known {
		s.begun, s.confirmed = true, at
	} else if !p.enqueue(task{do: s.begin}) {
		s.cancel()
	}
	r.ships[d.ID] = s
	r.s.tasks.Go(s.run)
	return s
}

func (s *shipper) begin() {
	_, at, ok := s.p.state()
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok && !s.begun {
		s.begun, s.confirmed = true, at.Decree
	}
}

// hear takes note of what the duplication is now.
func (s *shipper) hear(d duplication) dupProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dup = d
	s.kick()
	if !s.begun {
		return dupProgress{Confirmed: -1}
	}
	return dupProgress{Confirmed: s.confirmed, Copied: s.copied, Why: s.why}
}

func (s *shipper) kick() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// kickShippers says that there is more to ship; r.mu is held.
func (r *replica) kickShippers() {
	for _, s := range r.ships {
		s.kick()
	}
}

// stopShippers ends them with the loop; r.mu is held.
func (r *replica) stopShippers() {
	for id, s := range r.ships {
		s.cancel()
		delete(r.ships, id)
	}
	r.confirmed = nil
}

func (s *shipper) run() {
	defer s.client.close()
	go func() {
		defer s.cancel()
		select {
		case <-s.p.fenced:
		case <-s.r.s.stop:
		case <-s.ctx.Done():
		}
	}()
	for {
		again, err := s.step()
		if s.ctx.Err() != nil {
			return
		}
		s.note(err)
		if again && err == nil {
			continue
		}
		if !s.rest(err != nil) {
			return
		}
	}
}

// rest waits until there may be more to do, or after a failure for a while; false at the end.
func (s *shipper) rest(failed bool) bool {
	timer := time.NewTimer(abroadRest)
	defer timer.Stop()
	more := s.more
	if failed {
		more = nil
	}
	select {
	case <-s.ctx.Done():
		return false
	case <-more:
	case <-timer.C:
	}
	return true
}

func (s *shipper) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why = ""; err != nil {
		s.why = err.Error()
	}
}

// step does one thing that is to be done, if there is one, and says whether there may be another.
func (s *shipper) step() (again bool, err error) {
	s.mu.Lock()
	d, begun, copied, confirmed := s.dup, s.begun, s.copied, s.confirmed
	s.mu.Unlock()
	r := s.r
	switch {
	case !begun || r.s.alone() || r.s.net.gate(r.s.address).paused():
		return false, nil
	case d.Status == wire.DupApp && !copied:
		if !r.s.enter() {
			return false, errDead
		}
		defer r.s.leave()
		if err = s.copyRows(d); err == nil {
			s.mu.Lock()
			s.copied = true
			s.mu.Unlock()
		}
		return false, err
	case d.Status == wire.DupLog:
		return s.ship(d, confirmed)
	}
	return false, nil
}

// ship sends the next piece of the log.
func (s *shipper) ship(d duplication, confirmed int64) (again bool, err error) {
	next, err := s.read(confirmed)
	if err == nil && next.count == 0 {
		return false, nil
	}
	if err == nil && len(next.entries) > 0 {
		err = s.send(d, next)
	}
	var refused *saidNo
	hopeless := errors.Is(err, errLog) || errors.As(err, &refused) &&
		(refused.code == wire.CodeInvalidData || refused.code == wire.StatusName(wire.StatusInvalidArgument))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
	case !hopeless:
		return false, err
	case d.FailMode == wire.DupFailFast:
		s.r.s.log("partition %s on %s cannot be duplicated to %s, which ends the server: %v", s.r.pid, s.r.s.address, d.Remote, err)
		s.r.s.net.die()
		return false, err
	case d.FailMode == wire.DupFailSkip && s.tries+1 >= skipAfter:
		if next.count == 0 {
			next.last, next.count = confirmed+1, 1
		}
		s.r.s.log("partition %s on %s: decrees %d to %d are not duplicated to %s: %v", s.r.pid, s.r.s.address, confirmed+1, next.last, d.Remote, err)
		s.r.stats.add(statDupLost, next.count)
	default:
		s.tries++
		return false, err
	}
	s.tries = 0
	s.confirmed = next.last
	s.r.stats.add(statDupConfirmed, next.count)
	return true, nil
}

func (s *shipper) read(confirmed int64) (piece, error) {
	r := s.r
	if !r.s.enter() {
		return piece{}, errDead
	}
	defer r.s.leave()
	next, err := r.readLog(confirmed)
	if err == nil && next.count > 0 && r.s.net.gate(r.s.address).points.Take(pointDamaged) {
		err = fmt.Errorf("%w: a fault point says so", errLog)
	}
	return next, err
}

func (s *shipper) send(d duplication, next piece) error {
	r := s.r
	err := error(nil)
	if r.s.net.gate(r.s.address).points.Take(pointShip) {
		err = errors.New("a fault point kept the writes from being sent")
	} else {
		err = s.client.duplicate(s.ctx, d.RemoteApp, next.hash, &wire.DuplicateRequest{Entries: next.entries})
	}
	if err != nil {
		r.stats.add(statDupFailed, 1)
		return err
	}
	r.stats.add(statDupShipped, 1)
	r.stats.add(statDupBytes, int64(next.bytes))
	return nil
}

// copyRows ships the rows of a snapshot. The store is in use, and stays so: who ends the server cancels the calls first.
func (s *shipper) copyRows(d duplication) error {
	r := s.r
	snapshot := r.s.store.Snapshot()
	iter, err := engine.IterateSnapshot(snapshot, r.prefix, r.end)
	if err != nil {
		return errors.Join(err, snapshot.Close())
	}
	c := &rowCopy{s: s, table: d.RemoteApp, own: int8(clusterID(r.s.net.cluster())), now: time.Now()}
	r.mu.Lock()
	c.count = r.group.Count
	r.mu.Unlock()
	for ok := iter.First(); ok && err == nil; ok = iter.Next() {
		if err = c.add(iter.Key()[prefixSize:], iter.Value()); err != nil {
			break
		}
	}
	if err == nil {
		err = c.flush()
	}
	return errors.Join(err, iter.Error(), iter.Close(), snapshot.Close())
}

// rowCopy gathers rows for requests.
type rowCopy struct {
	s     *shipper
	table string
	own   int8
	now   time.Time
	count int32 // of partitions

	q     wire.DuplicateRequest
	hash  uint64
	bytes int
}

// add leaves out what has expired, and what a split has left behind.
func (c *rowCopy) add(full, value []byte) error {
	hash, err := hashOfKey(full, nil)
	switch {
	case err != nil:
		return err
	case wire.Expired(expireOf(value), c.now), c.count > 0 && wire.PartitionOf(hash, int(c.count)) != int(c.s.r.pid.Partition):
		return nil
	}
	q := wire.PutRequest{Key: full, Value: dataOf(value), ExpireTS: expireOf(value)}
	raw := wire.Put.AppendArgs(nil, &q)
	if c.bytes > 0 && c.bytes+len(raw) > copyBytes {
		if err := c.flush(); err != nil {
			return err
		}
	}
	stamp, verify := int64(tagOf(value)>>8), true
	c.q.Entries = append(c.q.Entries, wire.DuplicateEntry{
		Timestamp: &stamp, Code: &wire.Put.Name, RawMessage: &raw, ClusterID: &c.own, VerifyTimetag: &verify,
	})
	c.hash = hash
	c.bytes += len(raw)
	return nil
}

func (c *rowCopy) flush() error {
	if len(c.q.Entries) == 0 {
		return nil
	}
	r := c.s.r
	if r.s.net.gate(r.s.address).points.Take(pointShip) {
		return errors.New("a fault point kept the rows from being sent")
	}
	if err := c.s.client.duplicate(c.s.ctx, c.table, c.hash, &c.q); err != nil {
		r.stats.add(statDupFailed, 1)
		return err
	}
	r.stats.add(statDupShipped, 1)
	r.stats.add(statDupBytes, int64(c.bytes))
	c.q.Entries, c.bytes = c.q.Entries[:0], 0
	return nil
}

// pending is how many writes the follower that lacks most does not have.
func (r *replica) pending() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var most int64
	for _, s := range r.ships {
		s.mu.Lock()
		if s.begun {
			most = max(most, r.at.Decree-s.confirmed)
		}
		s.mu.Unlock()
	}
	return most
}

// die ends a server that is in this process as kill -9 would.
func (v view) die() {
	go func() { _ = v.c.Kill(context.Background(), v.from) }()
}

// die ends the process.
func (n *farNetwork) die() { os.Exit(1) }
