package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// The disks of a replica server. They share its one store, so a disk is an account: which replicas are on it, kept in
// the store, and how much room that leaves. What Pegasus decides by disks is decided here in the same way.

// diskTags are the disks of every replica server; each has a directory of that name in the server's.
var diskTags = [...]string{"ssd1", "ssd2"}

const (
	// diskCapacity is what a disk is said to hold, whatever the machine has.
	diskCapacity = 10 << 30
	// leastAvailable is the percentage below which a disk takes no writes and no new replicas (Pegasus:
	// disk_min_available_space_ratio).
	leastAvailable = 10
	// groupCheck is how often a primary asks its secondaries for their disks (group_check_interval_ms, 10 s in Pegasus).
	groupCheck = 10 * time.Second / timers
	// checkpointTime is what the checkpoint costs that a migration copies.
	checkpointTime = 4 * time.Second / timers
)

var errNoSpace = errors.New("no disk has space for another replica")

// disks keeps the accounts.
type disks struct {
	s    *replicaServer
	gate *gate
	dirs [len(diskTags)]string
	used [len(diskTags)]atomic.Int64 // bytes, as last measured

	copying sync.Mutex // held while a migration is at work: they take turns

	mu     sync.Mutex
	on     map[wire.GPID]int // which disk a replica is on
	counts [len(diskTags)]int
	byApp  map[int32]*[len(diskTags)]int
	moving map[wire.GPID]bool
}

func newDisks(s *replicaServer, dir string) (*disks, error) {
	d := &disks{
		s: s, gate: s.net.gate(s.address), on: map[wire.GPID]int{}, byApp: map[int32]*[len(diskTags)]int{},
		moving: map[wire.GPID]bool{},
	}
	for i, tag := range diskTags {
		d.dirs[i] = filepath.Join(dir, tag)
		if err := os.MkdirAll(d.dirs[i], 0o700); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// put notes where a replica is; d.mu is held.
func (d *disks) put(pid wire.GPID, disk int) {
	count := d.byApp[pid.App]
	if count == nil {
		count = &[len(diskTags)]int{}
		d.byApp[pid.App] = count
	}
	if old, known := d.on[pid]; known {
		d.counts[old]--
		count[old]--
	}
	d.on[pid] = disk
	d.counts[disk]++
	count[disk]++
}

// load notes where the store says that a replica is. One that it says nothing of is placed.
func (d *disks) load(pid wire.GPID) error {
	tag, err := d.s.store.Read(diskKeyOf(pid))
	if disk := slices.Index(diskTags[:], string(tag)); err == nil && disk >= 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.put(pid, disk)
		return nil
	}
	return d.place(pid)
}

// place chooses the disk of a new replica, the one with the fewest of its table, then of all, and keeps the choice. One
// that has its place keeps it. Disks without space are passed over.
func (d *disks) place(pid wire.GPID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.on[pid]; known {
		return nil
	}
	own := d.byApp[pid.App]
	if own == nil {
		own = &[len(diskTags)]int{}
	}
	best := -1
	for i := range diskTags {
		if d.full(i) {
			continue
		}
		if best < 0 || own[i] < own[best] || own[i] == own[best] && d.counts[i] < d.counts[best] {
			best = i
		}
	}
	if best < 0 {
		return errNoSpace
	}
	return d.keep(pid, best)
}

// beside places the child of a split where its parent is: they share its rows at first.
func (d *disks) beside(parent, child wire.GPID) error {
	d.mu.Lock()
	disk, known := d.on[parent]
	_, placed := d.on[child]
	if known && !placed {
		err := d.keep(child, disk)
		d.mu.Unlock()
		return err
	}
	d.mu.Unlock()
	return d.place(child)
}

// keep moves a replica to a disk for good; d.mu is held.
func (d *disks) keep(pid wire.GPID, disk int) error {
	b := d.s.store.NewBatch()
	if err := b.Set(diskKeyOf(pid), []byte(diskTags[disk]), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := d.s.store.Apply(b); err != nil {
		return err
	}
	d.put(pid, disk)
	return nil
}

// tag names the disk of a replica.
func (d *disks) tag(pid wire.GPID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if disk, known := d.on[pid]; known {
		return diskTags[disk]
	}
	return ""
}

// available is how many bytes of a disk are free: what neither its replicas nor a fault take.
func (d *disks) available(disk int) int64 {
	filled := diskCapacity / 100 * d.gate.filled.Load()
	return max(0, diskCapacity-d.used[disk].Load()-filled)
}

// freeRatios are how much is free in per cent: of all disks, of the fullest, and of the emptiest.
func (d *disks) freeRatios() map[string]int64 {
	ratios := map[string]int64{"min": 100}
	for i := range diskTags {
		free := d.available(i) * 100 / diskCapacity
		ratios["total"] += free / int64(len(diskTags))
		ratios["min"], ratios["max"] = min(ratios["min"], free), max(ratios["max"], free)
	}
	return ratios
}

func (d *disks) full(disk int) bool {
	return d.available(disk)*100/diskCapacity < leastAvailable
}

// replicaFull says whether a replica's disk takes no writes.
func (d *disks) replicaFull(pid wire.GPID) bool {
	d.mu.Lock()
	disk, known := d.on[pid]
	d.mu.Unlock()
	return known && d.full(disk)
}

// measure finds out what the replicas take.
func (d *disks) measure() {
	d.mu.Lock()
	on := maps.Clone(d.on)
	d.mu.Unlock()
	var used [len(diskTags)]int64
	for pid, disk := range on {
		prefix := rowPrefix(pid)
		if bytes, err := d.s.store.DiskUsage(prefix, engine.After(prefix)); err == nil {
			used[disk] += int64(bytes)
		}
	}
	for i := range used {
		d.used[i].Store(used[i])
	}
}

// sweep measures once in a while, for those that only ask whether a disk is full.
func (d *disks) sweep() {
	if d.s.enter() {
		defer d.s.leave()
		d.measure()
	}
}

func (s *replicaServer) queryDisk(_ *inbound, q *wire.QueryDiskRequest, out *wire.QueryDiskResponse) string {
	if !s.enter() {
		return wire.CodeServiceNotActive
	}
	defer s.leave()
	out.Disks = []wire.DiskInfo{}
	replicas := s.all()
	if q.AppName != "" {
		replicas = slices.DeleteFunc(replicas, func(r *replica) bool { return s.app(r.pid.App).Name != q.AppName })
		if len(replicas) == 0 {
			out.Err = wire.CodeObjectNotFound
			return ""
		}
	}
	s.disks.measure()
	for i, tag := range diskTags {
		info := wire.DiskInfo{
			Tag: tag, Dir: s.disks.dirs[i], CapacityMB: diskCapacity >> 20, AvailableMB: s.disks.available(i) >> 20,
			Primaries: map[int32][]wire.GPID{}, Secondaries: map[int32][]wire.GPID{},
		}
		for _, r := range replicas {
			if s.disks.tag(r.pid) != tag {
				continue
			}
			switch r.report().Status {
			case wire.ReplicaPrimary:
				info.Primaries[r.pid.App] = append(info.Primaries[r.pid.App], r.pid)
			case wire.ReplicaSecondary:
				info.Secondaries[r.pid.App] = append(info.Secondaries[r.pid.App], r.pid)
			}
		}
		out.TotalCapacityMB += info.CapacityMB
		out.TotalAvailableMB += info.AvailableMB
		out.Disks = append(out.Disks, info)
	}
	out.Err = wire.OK
	return ""
}

// diskMigrate begins to move a replica to another disk. The checks are Pegasus's, in its order.
func (s *replicaServer) diskMigrate(_ *inbound, q *wire.DiskMigrateRequest, out *wire.DiskMigrateResponse) string {
	if !s.enter() {
		return wire.CodeServiceNotActive
	}
	defer s.leave()
	refuse := func(code, format string, args ...any) string {
		hint := fmt.Sprintf(format, args...)
		out.Err, out.Hint = code, &hint
		return ""
	}
	r := s.replica(q.PID)
	if r == nil {
		return refuse(wire.CodeObjectNotFound, "there is no replica of %s here", q.PID)
	}
	d, status := s.disks, r.report().Status
	d.mu.Lock()
	defer d.mu.Unlock()
	from, to := slices.Index(diskTags[:], q.Origin), slices.Index(diskTags[:], q.Target)
	switch {
	case d.moving[q.PID]:
		return refuse(wire.CodeBusy, "the replica of %s is being moved already", q.PID)
	case status != wire.ReplicaSecondary:
		return refuse(wire.CodeInvalidState, "only a secondary can be moved, the replica of %s is %s", q.PID, status)
	case q.Origin == q.Target:
		return refuse(wire.CodeInvalidParameters, "origin and target are the same disk, %s", q.Origin)
	case from < 0 || to < 0:
		return refuse(wire.CodeObjectNotFound, "there is no disk %s or no disk %s; the disks are %v", q.Origin, q.Target, diskTags)
	case d.on[q.PID] != from:
		return refuse(wire.CodeObjectNotFound, "the replica of %s is not on %s", q.PID, q.Origin)
	}
	d.moving[q.PID] = true
	s.tasks.Go(func() { s.migrate(r, to) })
	out.Err = wire.OK
	return ""
}

// migrate reads the replica through, at the pace at which replicas are copied, and opens it anew on the other disk: it
// leaves its group for a moment, and learns what it missed. One that is no secondary any more stays where it is.
func (s *replicaServer) migrate(r *replica, to int) {
	d := s.disks
	d.copying.Lock()
	defer d.copying.Unlock()
	err := s.readThrough(r)
	r.mu.Lock()
	still := r.status == wire.ReplicaSecondary
	r.mu.Unlock()
	if err == nil && still && s.enter() {
		d.mu.Lock()
		err = d.keep(r.pid, to)
		d.mu.Unlock()
		r.reset()
		s.leave()
	}
	if err != nil {
		s.log("move %s of %s to %s: %v", r.pid, s.address, diskTags[to], err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.moving, r.pid)
}

// readThrough reads every row of a replica.
func (s *replicaServer) readThrough(r *replica) error {
	select {
	case <-s.stop:
		return errDead
	case <-time.After(checkpointTime):
	}
	if !s.enter() {
		return errDead
	}
	defer s.leave()
	iter, err := s.store.Iterate(r.prefix, r.end)
	if err != nil {
		return err
	}
	bytes := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		if bytes += len(iter.Key()) + len(iter.Value()); bytes >= copyBytes {
			s.pace(bytes, s.settings.copyRate)
			bytes = 0
		}
		select {
		case <-s.stop:
			return errors.Join(errDead, iter.Close())
		default:
		}
	}
	return errors.Join(iter.Error(), iter.Close())
}

// noSpace says whether a member's disk takes no writes: the primary's own at this moment, the secondaries' when they
// were last asked.
func (p *primary) noSpace(secondaries []nodeID) bool {
	if p.r.s.disks.replicaFull(p.r.pid) {
		return true
	}
	if now := time.Now(); now.Sub(p.checked) >= groupCheck {
		p.checked, p.full = now, false
		for _, id := range secondaries {
			if node, err := p.r.s.net.node(id); err == nil {
				has, err := node.report(p.r.pid)
				p.full = p.full || err == nil && has.Full
			}
		}
	}
	return p.full
}
