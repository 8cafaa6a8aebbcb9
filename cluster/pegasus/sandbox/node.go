package sandbox

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// replicaServer is a running replica server. It dies with everything it has in memory; its store is what a new one in
// the same directory starts from.
type replicaServer struct {
	id        nodeID
	address   string
	net       network
	log       func(format string, args ...any)
	started   time.Time
	store     *engine.Store
	port      *listener
	latencies *latencies
	stop      chan struct{}  // closed when it shall die
	tasks     sync.WaitGroup // primaries' loops, learning, the sweep of scans
	scanIDs   atomic.Int64   // the last scan context, see scan.go
	settings  nodeSettings
	disks     *disks
	copies    atomic.Int64  // the number of the last copy to one of its replicas
	splits    atomic.Int32  // partitions being copied to their children, see split.go
	compacts  chan struct{} // a compaction may be due, see compact.go
	rows      memory        // of the answers to scans
	stats     nodeStats
	uploads   uploads      // backups of its replicas
	downloads downloads    // restores of partitions
	bulks     bulks        // bulk loads of its replicas
	silent    atomic.Int64 // since when no meta server hears it, after started; 0 while one does, see view.go

	mu       sync.Mutex
	idle     *sync.Cond // users became 0
	users    int        // who is using the store right now
	dying    bool
	replicas map[wire.GPID]*replica
	apps     map[int32]*app
}

var _ nodeLink = (*replicaServer)(nil)

// startReplicaServer opens the store in dir and listens. Its replicas are inactive until the meta server assigns them.
func startReplicaServer(id nodeID, address, dir string, net network, log func(string, ...any)) (*replicaServer, error) {
	s := &replicaServer{
		id: id, address: address, net: net, log: log, started: time.Now(), stop: make(chan struct{}),
		replicas: map[wire.GPID]*replica{}, apps: map[int32]*app{}, latencies: newLatencies(),
		compacts: make(chan struct{}, 1), uploads: uploads{all: map[uploadKey]*upload{}},
		downloads: downloads{all: map[wire.GPID]*download{}}, bulks: bulks{all: map[wire.GPID]*bulk{}},
	}
	s.idle = sync.NewCond(&s.mu)
	s.settings.init()
	s.scanIDs.Store(int64(rand.Uint32()|1) << 31) // ids of an earlier life must not meet those of this one
	var err error
	if s.port, err = serve(address, s.methods(), net.gate(address)); err != nil {
		return nil, err
	}
	s.port.latencies = s.latencies
	s.port.browse(pages(s.pages))
	if s.store, err = openStore(dir, log); err != nil {
		return nil, errors.Join(err, s.port.abort())
	}
	if s.disks, err = newDisks(s, dir); err == nil {
		err = errors.Join(s.clearScratch(), s.loadApps(), s.load())
	}
	if err != nil {
		return nil, errors.Join(err, s.port.abort(), s.store.Close())
	}
	s.tasks.Go(s.sweepScans)
	s.tasks.Go(s.compactor)
	s.port.start()
	return s, nil
}

func openStore(dir string, log func(string, ...any)) (*engine.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return engine.Open(dir, engine.Options{Log: log})
}

// load makes an inactive replica of every partition the store knows, but of tables that were dropped.
func (s *replicaServer) load() error {
	lower, upper := stateKeys()
	iter, err := s.store.Iterate(lower, upper)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		pid, at, err := parseState(iter.Key(), iter.Value())
		if err != nil {
			return errors.Join(err, iter.Close())
		}
		if err := s.disks.load(pid); err != nil && !errors.Is(err, errNoSpace) {
			return errors.Join(err, iter.Close())
		}
		if a := s.app(pid.App); a.Status != wire.AppDropped {
			s.replicas[pid] = newReplica(s, pid, at)
		}
	}
	return errors.Join(iter.Error(), iter.Close())
}

// kill ends the server: connections are cut, what is in memory is gone, and the store is closed.
func (s *replicaServer) kill() error {
	s.mu.Lock()
	s.dying = true
	s.mu.Unlock()
	err := s.port.abort()
	close(s.stop)
	s.mu.Lock()
	for s.users > 0 {
		s.idle.Wait()
	}
	replicas := slices.Collect(maps.Values(s.replicas))
	s.mu.Unlock()
	s.tasks.Wait()
	s.port.wait()
	for _, r := range replicas {
		r.dropScans()
	}
	return errors.Join(err, s.store.Close())
}

// enter allows the use of the store until leave; false means that the server is dying. It never waits, so servers may
// ask each other while they use their own.
func (s *replicaServer) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dying {
		return false
	}
	s.users++
	return true
}

func (s *replicaServer) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.idle.Broadcast()
	}
}

// replica finds a replica; nil when the server has none or is dying.
func (s *replicaServer) replica(pid wire.GPID) *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replicas[pid]
}

// use finds a replica for one use of the store, ended by leave.
func (s *replicaServer) use(pid wire.GPID) (*replica, error) {
	if !s.enter() {
		return nil, errDead
	}
	r := s.replica(pid)
	if r == nil {
		s.leave()
		return nil, errStale
	}
	return r, nil
}

func (s *replicaServer) assign(a assignment) error {
	if !s.enter() {
		return errDead
	}
	defer s.leave()
	s.mu.Lock()
	err := s.know(&a.App)
	r := s.replicas[a.Group.PID]
	if r == nil && a.Group.has(s.id) {
		if err = errors.Join(err, s.disks.place(a.Group.PID)); err == nil {
			err = s.keep(a.Group.PID)
		}
		if err != nil {
			s.mu.Unlock()
			return err
		}
		r = newReplica(s, a.Group.PID, s.left(a.Group.PID))
		s.replicas[a.Group.PID] = r
	}
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.assign(a)
}

// keep makes a new replica known to the store: an empty one is not one that was lost.
func (s *replicaServer) keep(pid wire.GPID) error {
	if _, has := s.stored(pid); has { // of a table that was dropped and recalled
		return nil
	}
	b := s.store.NewBatch()
	if err := putState(b, stateKeyOf(pid), point{}); err != nil {
		return errors.Join(err, b.Close())
	}
	return s.store.Apply(b)
}

func (s *replicaServer) updateApp(a app) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dying {
		return errDead
	}
	err := s.know(&a)
	defer s.kickCompactor()
	for pid, r := range s.replicas {
		if pid.App == a.ID {
			r.setApp(s.apps[a.ID])
		}
	}
	return err
}

func (s *replicaServer) forget(appID int32) error {
	s.forgetDownloads(appID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dying {
		return errDead
	}
	for pid, r := range s.replicas {
		if pid.App == appID {
			r.deactivate()
			delete(s.replicas, pid)
		}
	}
	return nil
}

func (s *replicaServer) report(pid wire.GPID) (report, error) {
	r, err := s.use(pid)
	if errors.Is(err, errStale) {
		return s.reportStored(pid)
	}
	if err != nil {
		return report{}, err
	}
	defer s.leave()
	return r.report(), nil
}

func (s *replicaServer) addLearner(pid wire.GPID, ballot int64, node nodeID) error {
	r, err := s.use(pid)
	if err != nil {
		return err
	}
	defer s.leave()
	return r.addLearner(ballot, node)
}

func (s *replicaServer) prepare(m mutation) (waiter, error) {
	r, err := s.use(m.PID)
	if err != nil {
		return nil, err
	}
	pending, err := r.prepare(m)
	if err != nil {
		s.leave()
		return nil, err
	}
	return inUse{s, pending}, nil
}

// inUse is a pending mutation that keeps the store open until it was waited for.
type inUse struct {
	s       *replicaServer
	pending engine.Pending
}

func (u inUse) Wait() error {
	defer u.s.leave()
	return u.pending.Wait()
}

func (s *replicaServer) learn(pid wire.GPID, ballot int64, clear bool) (report, error) {
	if !s.enter() {
		return report{}, errDead
	}
	defer s.leave()
	s.mu.Lock()
	r := s.replicas[pid]
	if r == nil {
		if err := s.disks.place(pid); err != nil {
			s.mu.Unlock()
			return report{}, err
		}
		r = newReplica(s, pid, s.left(pid))
		s.replicas[pid] = r
	}
	s.mu.Unlock()
	return r.learn(ballot, clear)
}

func (s *replicaServer) learnRows(pid wire.GPID, ballot, copy int64, repr []byte) error {
	r, err := s.use(pid)
	if err != nil {
		return err
	}
	defer s.leave()
	s.pace(len(repr), s.settings.copyRate)
	return r.learnRows(ballot, copy, repr)
}

func (s *replicaServer) learnEnd(pid wire.GPID, ballot, copy int64, at point) error {
	r, err := s.use(pid)
	if err != nil {
		return err
	}
	defer s.leave()
	return r.learnEnd(ballot, copy, at)
}

// all lists the replicas in order.
func (s *replicaServer) all() []*replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.replicas), func(a, b *replica) int {
		if a.pid.App != b.pid.App {
			return int(a.pid.App) - int(b.pid.App)
		}
		return int(a.pid.Partition) - int(b.pid.Partition)
	})
}
