package sandbox

import (
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/sandbox/link"
)

// world is what a server in a process of its own is told by the cluster whenever something changes: what its gate does,
// who runs, where, and whom it can reach.
type world struct {
	Paused bool
	Slow   time.Duration
	Writes float64 // per second, of clients; 0 is no bound
	Filled int64   // percent of each disk that something else takes
	Armed  int32   // fault points of its role that shall act

	Leader peer // without an endpoint while no meta server leads
	Nodes  []peer
}

// peer is another server as one server has it.
type peer struct {
	Endpoint string
	Link     string // the address of its links
	Runs     bool
	Near     bool // it can be reached
	Slow     time.Duration
}

// farNetwork is the network of a server in a process of its own.
type farNetwork struct {
	own     *gate
	who     identity
	started time.Time
	last    atomic.Int64 // when the last beacon was sent that was answered, after started

	mu    sync.Mutex
	world world
	lines map[string]*link.Line // by endpoint

	askPeer   func(name string) (metas string, known bool)
	providers *providers
}

var _ network = (*farNetwork)(nil)

func newFarNetwork(own *gate, who identity) *farNetwork {
	return &farNetwork{own: own, who: who, started: time.Now(), lines: map[string]*link.Line{}}
}

// update makes the world what the server was told. Calls under way to who is dead or out of reach are given up.
func (n *farNetwork) update(w world) {
	if w.Paused {
		n.own.Pause()
	} else {
		n.own.Resume()
	}
	n.own.Slow(w.Slow)
	if w.Writes != n.own.Writes.Rate() {
		n.own.Writes.Set(w.Writes)
	}
	n.own.filled.Store(w.Filled)
	n.own.points.SetCount(w.Armed)
	n.mu.Lock()
	n.world = w
	cut := map[*link.Line]error{}
	for endpoint, line := range n.lines {
		p := w.peer(endpoint)
		switch {
		case !p.Runs || p.Link != line.Address():
			cut[line] = errDead
		case !p.Near:
			cut[line] = errSilent
		default:
			continue
		}
		delete(n.lines, endpoint)
	}
	n.mu.Unlock()
	for line, why := range cut {
		line.Cut(why)
	}
}

func (w *world) peer(endpoint string) peer {
	if w.Leader.Endpoint == endpoint {
		return w.Leader
	}
	for _, p := range w.Nodes {
		if p.Endpoint == endpoint {
			return p
		}
	}
	return peer{}
}

// way is the line to a server; n.mu is held.
func (n *farNetwork) way(p peer) (way, error) {
	switch {
	case !p.Runs:
		return nil, errDead
	case !p.Near:
		return nil, errSilent
	}
	line := n.lines[p.Endpoint]
	if line == nil {
		line = link.NewLine(p.Link, n.who.Token, linkErrors)
		n.lines[p.Endpoint] = line
	}
	return line, nil
}

func (n *farNetwork) meta() (metaLink, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w, err := n.way(n.world.Leader)
	if err != nil {
		return nil, err
	}
	return farMetaLink{w}, nil
}

func (n *farNetwork) node(id nodeID) (nodeLink, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if int(id) < 0 || int(id) >= len(n.world.Nodes) {
		return nil, errDead
	}
	p := n.world.Nodes[id]
	w, err := n.way(p)
	if err != nil {
		return nil, err
	}
	if p.Slow > 0 {
		return slowLink{farNodeLink{w}, p.Slow, nil}, nil
	}
	return farNodeLink{w}, nil
}

func (n *farNetwork) address(id nodeID) string {
	if int(id) < 0 || int(id) >= len(n.who.NodeAt) {
		return ""
	}
	return n.who.NodeAt[id]
}

func (n *farNetwork) leader() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.world.Leader.Endpoint
}

func (n *farNetwork) gate(string) *gate { return n.own }
func (n *farNetwork) release() release  { return n.who.Release }
func (n *farNetwork) cluster() string   { return n.who.Cluster }

func (n *farNetwork) config() configuration { return n.who.Config }

func (n *farNetwork) provider(name string) (provider, bool) { return n.providers.find(name) }

func (n *farNetwork) peer(name string) (string, bool) { return n.askPeer(name) }

// heard says that a beacon was answered.
func (n *farNetwork) heard(sent time.Time) { n.last.Store(int64(sent.Sub(n.started))) }

// lapsed says that the beacons of a while were not answered: whoever misses them for as long began to later.
func (n *farNetwork) lapsed() bool {
	return time.Since(n.started)-time.Duration(n.last.Load()) >= beaconLimit
}
