package sandbox

import (
	"time"

	"shardsh/cluster/pegasus/wire"
)

// view is the network as one server has it that is in the cluster's own process.
type view struct {
	c    *cluster
	from string // the server's endpoint
}

var _ network = view{}

func (v view) meta() (metaLink, error) {
	boss := v.c.leader()
	switch {
	case boss == nil:
		return nil, errDead
	case !v.c.reach(v.from, boss.at()):
		return nil, errSilent
	}
	return boss, nil
}

func (v view) node(id nodeID) (nodeLink, error) {
	link, err := v.c.node(id)
	if err != nil {
		return nil, err
	}
	at := v.c.address(id)
	if !v.c.reach(v.from, at) {
		return nil, errSilent
	}
	if by := v.c.gate(at).Delay(); by > 0 {
		return slowLink{link, by, v.c.closing}, nil
	}
	return link, nil
}

func (v view) address(id nodeID) string        { return v.c.address(id) }
func (v view) gate(endpoint string) *gate      { return v.c.gate(endpoint) }
func (v view) release() release                { return v.c.release }
func (v view) cluster() string                 { return v.c.name }
func (v view) leader() string                  { return v.c.leaderAt() }
func (v view) peer(name string) (string, bool) { return v.c.peerOf(name) }
func (v view) config() configuration           { return v.c.config }
func (v view) provider(name string) (provider, bool) {
	return v.c.providers.find(name)
}
func (v view) lapsed() bool { return false } // the cluster says so, see touch

// slowLink is a link to a slow server: its mutations take longer. Many can be under way at once.
type slowLink struct {
	nodeLink
	by      time.Duration
	closing <-chan struct{}
}

func (l slowLink) prepare(m mutation) (waiter, error) {
	w, err := l.nodeLink.prepare(m)
	if err != nil {
		return nil, err
	}
	return slowWaiter{w, time.Now().Add(l.by), l.closing}, nil
}

type slowWaiter struct {
	waiter
	until   time.Time
	closing <-chan struct{}
}

func (w slowWaiter) Wait() error {
	err := w.waiter.Wait()
	timer := time.NewTimer(time.Until(w.until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.closing:
	}
	return err
}

// cable is the line between two servers, whichever way round.
type cable [2]string

func cableOf(a, b string) cable { return cable{min(a, b), max(a, b)} }

// reach says whether two servers can talk to each other: both are going, and nothing is cut between them.
func (c *cluster) reach(a, b string) bool {
	if c.gate(a).paused() || c.gate(b).paused() {
		return false
	}
	c.netMu.Lock()
	defer c.netMu.Unlock()
	return !c.cut[cableOf(a, b)]
}

// leaseTime is how long a replica server goes on without hearing from a leading meta server (20 s in Pegasus): less
// than the grace time after which that one takes it for dead, so that two primaries never serve at once.
const leaseTime = 20 * time.Second / timers

// touch makes true what follows from who runs and who reaches whom: a replica server that cannot reach the leading
// meta server begins to lose its lease, and to be missed; one that can again has what it lost to be given back. c.steer
// is held.
func (c *cluster) touch() {
	c.publish()
	boss := c.leader()
	for id, s := range c.servers() {
		if s == nil {
			continue
		}
		switch near := boss != nil && c.reach(c.nodeAt[id], boss.at()); {
		case !near && s.lose() && boss != nil:
			boss.missed(nodeID(id))
		case near && s.regain():
			boss.back(nodeID(id))
		}
	}
}

// lose says that no meta server hears the server from now on; false when none did before.
func (s *replicaServer) lose() bool {
	return s.silent.CompareAndSwap(0, int64(time.Since(s.started))+1)
}

// regain says that the server is heard again; false when it was all the time. A lease that ran out leaves it with
// replicas that are inactive, as after a start.
func (s *replicaServer) regain() bool {
	if s.silent.Load() == 0 {
		return false
	}
	if s.alone() {
		s.reset()
	}
	s.silent.Store(0)
	return true
}

// alone says whether the server's lease has run out: its replicas may not serve.
func (s *replicaServer) alone() bool {
	since := s.silent.Load()
	return since != 0 && time.Since(s.started)-time.Duration(since) >= leaseTime || s.net.lapsed()
}

func (s *replicaServer) reset() {
	for _, r := range s.all() {
		r.reset()
	}
}

// reset makes the replica what it is after a start of its server: inactive, in no group that it knows of.
func (r *replica) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.become(wire.ReplicaInactive)
	r.group = group{PID: r.pid, Primary: noNode}
}
