package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/link"
)

// One server in a process of its own. It works in the cluster's directory, talks to the process that serves the cluster
// over its standard streams, and to the other servers over sockets.

// beaconLimit is for how long beacons are missed before that means anything: a slow machine does not lose live nodes.
const (
	beaconLimit  = 3 * time.Second
	beaconPeriod = beaconLimit / 20
)

// nodeProcess is the process of a server, as it has itself.
type nodeProcess struct {
	conn  *link.Conn
	ready chan struct{} // closed when conn is set
	open  BlockOpener

	mu      sync.Mutex
	lock    io.Closer // of the server's data
	net     *farNetwork
	replica *replicaServer // one of the two,
	meta    *metaProcess   // once it is begun
}

// runNode runs a server until the process that started it is gone.
func runNode(stream io.ReadWriteCloser, open BlockOpener) error {
	n := &nodeProcess{ready: make(chan struct{}), open: open}
	n.conn = link.Open(stream, link.Join(
		link.Serve(n.self, ownCalls...), link.Serve(n.node, nodeCalls...), link.Serve(n.metaLink, metaCalls...),
	), linkErrors)
	close(n.ready)
	<-n.conn.Done()
	return nil // and with that the process ends, as after kill -9
}

func (n *nodeProcess) self() (*nodeProcess, error) {
	<-n.ready
	return n, nil
}

func (n *nodeProcess) node() (nodeLink, error) {
	s, err := n.replicas()
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (n *nodeProcess) replicas() (*replicaServer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.replica == nil {
		return nil, errDead
	}
	return n.replica, nil
}

// leads is the meta server that leads in this process.
func (n *nodeProcess) leads() (*metaServer, error) {
	n.mu.Lock()
	p := n.meta
	n.mu.Unlock()
	if p == nil || p.leads() == nil {
		return nil, errDead
	}
	return p.leads(), nil
}

func (n *nodeProcess) metaLink() (metaLink, error) {
	m, err := n.leads()
	if err != nil {
		return nil, err
	}
	return m, nil
}

// lockEnd ends the names of the locks that processes of servers hold.
const lockEnd = ".lock"

// identity is what a server is told first.
type identity struct {
	Cluster, Role, Address string
	Name                   string // of its files in the cluster's directory: "replica1", "meta2"
	ID                     nodeID // of a replica server
	NodeAt                 []string
	Release                release
	Config                 configuration
	Providers              map[string]string // block services by name: directories, or URLs
	Token                  link.Token
	World                  world
}

// begin starts the server and answers the address of its links.
func (n *nodeProcess) begin(who identity) (string, error) {
	lock, err := sandbox.HoldNode(who.Name + lockEnd)
	if err != nil {
		return "", err
	}
	log := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	g := newGate(newPoints(who.Role))
	g.points.Remote(n.takePoint)
	network := newFarNetwork(g, who)
	network.askPeer, network.providers = n.peer, &providers{at: who.Providers, open: n.open}
	if err := network.providers.openAll(); err != nil {
		return "", err
	}
	network.update(who.World)
	n.mu.Lock()
	n.lock, n.net = lock, network
	n.mu.Unlock()
	service, err := n.start(who, network, log)
	if err != nil {
		return "", err
	}
	listener, address, err := link.Listen(who.Name + ".link")
	if err != nil {
		return "", err
	}
	go link.Answer(listener, who.Token, service, linkErrors)
	go n.beat(network)
	return address, nil
}

func (n *nodeProcess) start(who identity, network *farNetwork, log func(string, ...any)) (link.Service, error) {
	if who.Role == metaRole {
		p, err := startMetaProcess(who.Cluster, who.Address, network, log)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		n.meta = p
		n.mu.Unlock()
		return link.Serve(n.metaLink, metaCalls...), nil
	}
	s, err := startReplicaServer(who.ID, who.Address, who.Name, network, log)
	if err != nil {
		return nil, err
	}
	s.lose() // until it is told otherwise
	n.mu.Lock()
	n.replica = s
	n.mu.Unlock()
	return link.Serve(n.node, nodeCalls...), nil
}

// takePoint asks whether a fault point acts; the points are the cluster's.
func (n *nodeProcess) takePoint(name string) (bool, int32) {
	a, err := callTake.Do(n.conn, linkWithin, name)
	return err == nil && a.Acts, a.Armed
}

// peer asks where another cluster is.
func (n *nodeProcess) peer(name string) (metas string, known bool) {
	a, err := callPeer.Do(n.conn, linkWithin, name)
	return a.Metas, err == nil && a.Known
}

// beat sends beacons. A replica server knows by them how long its lease holds, whatever it is told or not.
func (n *nodeProcess) beat(network *farNetwork) {
	tick := time.NewTicker(beaconPeriod)
	defer tick.Stop()
	for {
		sent := time.Now()
		if _, err := callBeacon.Do(n.conn, beaconLimit, false); err == nil {
			if s, err := n.replicas(); err == nil && network.lapsed() {
				s.reset() // its lease has run out
			}
			network.heard(sent)
		}
		select {
		case <-tick.C:
		case <-n.conn.Done():
			return
		}
	}
}

// What the cluster has a server do.
type (
	askLead struct {
		Reign   int64
		Running map[nodeID]bool
		Metas   []string
	}
	askCreate struct {
		Table      string
		Partitions int32
		Replicas   int32
	}
	createdTable struct {
		ID   int32
		Code string
	}
)

var (
	callBegin = link.New("begin", func(n *nodeProcess, q identity) (string, error) { return n.begin(q) })
	callWorld = link.New("world", func(n *nodeProcess, q world) (link.None, error) {
		n.mu.Lock()
		network := n.net
		n.mu.Unlock()
		if network == nil {
			return done(errDead)
		}
		network.update(q)
		return done(nil)
	}).InOrder()
	callDrain = link.New("drain", func(n *nodeProcess, _ link.None) (link.None, error) {
		n.mu.Lock()
		s, p := n.replica, n.meta
		n.mu.Unlock()
		switch {
		case s != nil:
			s.drain()
		case p != nil:
			p.drain()
		}
		return done(nil)
	})
	callLose = link.New("lose", func(n *nodeProcess, _ link.None) (link.None, error) {
		s, err := n.replicas()
		if err == nil {
			s.lose()
		}
		return done(err)
	}).InOrder()
	callRegain = link.New("regain", func(n *nodeProcess, _ link.None) (link.None, error) {
		s, err := n.replicas()
		if err == nil {
			s.regain()
		}
		return done(err)
	}).InOrder()
	callSeed = link.New("seed", func(n *nodeProcess, q seed) (link.None, error) {
		s, err := n.replicas()
		if err == nil {
			err = s.seed(q)
		}
		return done(err)
	})
	callLead = link.New("lead", func(n *nodeProcess, q askLead) (link.None, error) {
		n.mu.Lock()
		p := n.meta
		n.mu.Unlock()
		if p == nil {
			return done(errDead)
		}
		_, err := p.take(farZookeeper{n.conn, q.Reign}, q.Running, q.Metas)
		return done(err)
	})
	callMissed = link.New("missed", onLeader(func(m *metaServer, q nodeID) link.None {
		m.missed(q)
		return false
	})).InOrder()
	callBack = link.New("back", onLeader(func(m *metaServer, q nodeID) link.None {
		m.back(q)
		return false
	})).InOrder()
	callFinishRound = link.New("finishRound", onLeader(func(m *metaServer, _ link.None) link.None {
		m.finishRound()
		return false
	}))
	callRetire = link.New("retire", onLeader(func(m *metaServer, _ link.None) link.None {
		m.retire()
		return false
	}))
	callCreate = link.New("create", onLeader(func(m *metaServer, q askCreate) createdTable {
		id, code := m.create(q.Table, q.Partitions, q.Replicas)
		return createdTable{id, code}
	}))
	callUsedGroups = link.New("usedGroups", onLeader(func(m *metaServer, _ link.None) []group {
		return m.usedGroups()
	}))

	ownCalls = []link.Answerable[*nodeProcess]{
		callBegin, callWorld, callDrain, callLose, callRegain, callSeed, callLead, callMissed, callBack, callFinishRound,
		callRetire, callCreate, callUsedGroups,
	}
)

func onLeader[Q, A any](do func(*metaServer, Q) A) func(*nodeProcess, Q) (A, error) {
	return func(n *nodeProcess, q Q) (A, error) {
		m, err := n.leads()
		if err != nil {
			var none A
			return none, err
		}
		return do(m, q), nil
	}
}

// farZookeeper is the store of the process that serves the cluster, as a meta server in another one has it. Its calls
// are not given up: without that process there is no cluster.
type farZookeeper struct {
	conn  *link.Conn
	reign int64
}

var _ zookeeper = farZookeeper{}

func (z farZookeeper) load(each func(key, value []byte) error) error {
	for p := (part{More: true}); p.More; {
		var after []byte
		if len(p.Keys) > 0 {
			after = p.Keys[len(p.Keys)-1]
		}
		var err error
		if p, err = callLoad.Do(z.conn, 0, askLoad{z.reign, after}); err != nil {
			return err
		}
		for i := range p.Keys {
			if err := each(p.Keys[i], p.Values[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (z farZookeeper) save(values map[string][]byte, gone ...string) error {
	_, err := callSave.Do(z.conn, 0, askSave{z.reign, values, gone})
	if err != nil && !errors.Is(err, errDead) {
		err = fmt.Errorf("keep %d values: %w", len(values), err)
	}
	return err
}
