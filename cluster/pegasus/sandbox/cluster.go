package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/engine"
	"shardsh/cluster/sandbox/link"
)

// Where servers listen: the hosts on the cluster's network, and Pegasus's usual ports.
const (
	metaHost, metaPort         = 1, 34601
	metaServers                = 2
	firstReplicaHost, nodePort = 31, 34801
	replicaServers             = 3
)

const (
	metaRole    = "meta-server"
	replicaRole = "replica-server"
)

// cluster is a running cluster. Its servers come and go; their directories and addresses stay. What Pegasus keeps in
// ZooKeeper, the state of its meta servers and who of them leads, is the cluster's own: steer.go and election.go.
type cluster struct {
	name    string
	dir     string
	log     func(format string, args ...any)
	metaAt  string   // of the first meta server, which leads at first
	metaAts []string // of all
	nodeAt  []string // by nodeID
	gates   map[string]*gate
	release release
	config  configuration
	store   *engine.Store
	closing chan struct{}
	tasks   sync.WaitGroup // elections that are due, the watch

	providers *providers
	peers     func(name string) (address string, known bool)
	spawn     *sandbox.NodeProcesses // nil: all servers are in this process
	token     link.Token             // of servers in processes of their own
	mourners  sync.WaitGroup         // for each of these
	owes      atomic.Bool            // some server was not told what it should know
	attending atomic.Bool            // attend is at work, or about to be

	steer   sync.Mutex // one change of what runs at a time
	closed  bool
	term    int       // grows with everything that makes a due election void
	session time.Time // when the session of the last leader ends

	keeping sync.Mutex // held while something is kept for a meta server in a process of its own
	reign   int64      // the lead that such a one has

	mu    sync.Mutex
	boss  leader        // the leading one, paused or not; nil while there is none
	metas []metaNode    // as metaAts; nil while dead
	nodes []replicaNode // by nodeID; nil while dead

	netMu sync.Mutex
	cut   map[cable]bool
}

var (
	_ sandbox.ClusterServer = (*cluster)(nil)
	_ sandbox.Stopper       = (*cluster)(nil)
	_ sandbox.Pauser        = (*cluster)(nil)
	_ sandbox.Slower        = (*cluster)(nil)
	_ sandbox.Partitioner   = (*cluster)(nil)
	_ sandbox.Loser         = (*cluster)(nil)
	_ sandbox.Filler        = (*cluster)(nil)
	_ sandbox.Throttler     = (*cluster)(nil)
	_ sandbox.Breaker       = (*cluster)(nil)
)

// startCluster starts a cluster in config.Dir, with its first content if it never had any.
func startCluster(ctx context.Context, config sandbox.Config, replicas int, open BlockOpener) (*cluster, error) {
	c := &cluster{
		name: config.Name, dir: config.Dir, log: config.Log, gates: map[string]*gate{}, closing: make(chan struct{}),
		metas: make([]metaNode, metaServers), nodes: make([]replicaNode, replicas), cut: map[cable]bool{},
		spawn: config.Nodes, peers: config.Peer, providers: &providers{at: config.Providers, open: open}, token: link.NewToken(),
	}
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	var err error
	if c.release, err = parseRelease(config.Compat); err != nil {
		return nil, err
	}
	if c.config, err = readConfiguration(config.Settings); err != nil {
		return nil, err
	}
	if err := c.providers.openAll(); err != nil {
		return nil, err
	}
	if err := c.place(config.Net); err != nil {
		return nil, err
	}
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.settle(ctx)
	return c, nil
}

// place gives every server its address and its gate.
func (c *cluster) place(network *sandbox.Network) error {
	metas, nodes := newPoints(metaRole), newPoints(replicaRole)
	for i := range c.metas {
		at, err := network.Address(metaHost+i, metaPort)
		if err != nil {
			return err
		}
		c.metaAts = append(c.metaAts, at)
		c.gates[at] = newGate(metas)
	}
	for i := range c.nodes {
		at, err := network.Address(firstReplicaHost+i, nodePort)
		if err != nil {
			return err
		}
		c.nodeAt = append(c.nodeAt, at)
		c.gates[at] = newGate(nodes)
	}
	c.metaAt = c.metaAts[0]
	return nil
}

func (c *cluster) startAll(ctx context.Context) error {
	if err := c.startServers(ctx); err != nil {
		return err
	}
	if err := c.lead(); err != nil {
		return err
	}
	if c.spawn != nil {
		c.tasks.Go(c.watch)
	}
	if err := c.fill(ctx); err != nil {
		return fmt.Errorf("make the first content: %w", err)
	}
	return nil
}

// lead opens the store and has a meta server lead.
func (c *cluster) lead() (err error) {
	c.steer.Lock()
	defer c.steer.Unlock()
	if c.store, err = openStore(filepath.Join(c.dir, "meta"), c.log); err != nil {
		return err
	}
	if err = c.elect(); err == nil {
		c.touch()
	}
	return err
}

func (c *cluster) startServers(ctx context.Context) error {
	if err := c.outlive(); err != nil {
		return err
	}
	var started sync.WaitGroup
	errs := make([]error, len(c.nodes)+len(c.metas))
	for i := range c.nodes {
		started.Go(func() { errs[i] = c.startNode(ctx, nodeID(i)) })
	}
	for i := range c.metas {
		started.Go(func() { errs[len(c.nodes)+i] = c.startMeta(ctx, i) })
	}
	started.Wait()
	return errors.Join(errs...)
}

// outlive waits for the end of processes that servers of this cluster had a moment ago, when the process that served it
// was killed: they still have ports and stores. Servers with processes of their own wait for themselves.
func (c *cluster) outlive() error {
	if c.spawn != nil {
		return nil
	}
	files, err := os.ReadDir(c.dir)
	for _, f := range files {
		if filepath.Ext(f.Name()) != lockEnd {
			continue
		}
		lock, held := sandbox.HoldNode(filepath.Join(c.dir, f.Name()))
		if held == nil {
			held = lock.Close()
		}
		err = errors.Join(err, held)
	}
	return err
}

// settleTime bounds the wait for primaries at a start.
const settleTime = 10 * time.Second

// settle waits until every partition has a primary, so that who opens a cluster finds it whole. One that gets none in
// time is what the cluster has to show.
func (c *cluster) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for boss := c.leader(); boss != nil && !c.settled(boss); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// settled looks at both sides: a node is told that it leads a new group before the meta server keeps that.
func (c *cluster) settled(boss leader) bool {
	nodes := c.servers()
	for _, g := range boss.usedGroups() {
		if g.Primary == noNode || nodes[g.Primary] == nil {
			return false
		}
		if r, err := nodes[g.Primary].report(g.PID); err != nil || r.Status != wire.ReplicaPrimary {
			return false
		}
	}
	return true
}

// startNode starts a replica server, in this process or in one of its own.
func (c *cluster) startNode(ctx context.Context, id nodeID) error {
	at := c.nodeAt[id]
	var n replicaNode
	if c.spawn != nil {
		f, err := c.startFar(ctx, c.identity(replicaRole, filepath.Base(c.nodeDir(id)), at, id))
		if err != nil {
			return err
		}
		n = newFarReplica(f)
	} else {
		s, err := startReplicaServer(id, at, c.nodeDir(id), view{c, at}, c.log)
		if err != nil {
			return err
		}
		s.lose() // until touch finds out who hears it
		n = s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[id] = n
	return nil
}

func (c *cluster) nodeDir(id nodeID) string {
	return filepath.Join(c.dir, fmt.Sprintf("replica%d", id+1))
}

func (c *cluster) servers() []replicaNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// leader is the leading meta server, nil when there is none.
func (c *cluster) leader() leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boss
}

func (c *cluster) leaderAt() string {
	if boss := c.leader(); boss != nil {
		return boss.at()
	}
	return ""
}

// node is a link to a server that runs, whoever can reach it.
func (c *cluster) node(id nodeID) (nodeLink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(id) < 0 || int(id) >= len(c.nodes) || c.nodes[id] == nil {
		return nil, errDead
	}
	return c.nodes[id], nil
}

func (c *cluster) address(id nodeID) string {
	if int(id) < 0 || int(id) >= len(c.nodeAt) {
		return ""
	}
	return c.nodeAt[id]
}

// peerOf is where another cluster is, "" while it is not open.
func (c *cluster) peerOf(name string) (metas string, known bool) {
	if c.peers == nil {
		return "", false
	}
	return c.peers(name)
}

func (c *cluster) gate(endpoint string) *gate { return c.gates[endpoint] }

// Address is the list of meta servers.
func (c *cluster) Address() string { return strings.Join(c.metaAts, ",") }

// Nodes lists the meta servers and the replica servers.
func (c *cluster) Nodes() []sandbox.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []sandbox.NodeStatus
	for i, p := range c.metas {
		n := c.status(metaRole, c.metaAts[i])
		if p != nil {
			c.runsAs(&n, p)
		}
		all = append(all, n)
	}
	for i, s := range c.nodes {
		n := c.status(replicaRole, c.nodeAt[i])
		if s != nil {
			c.runsAs(&n, s)
		}
		all = append(all, n)
	}
	return all
}

func (c *cluster) status(role, endpoint string) sandbox.NodeStatus {
	return sandbox.NodeStatus{
		Cluster: c.name, System: system, Role: role, Endpoint: endpoint, State: sandbox.Dead, Timers: timers,
		Faults: c.faults(endpoint),
	}
}

func (c *cluster) runsAs(n *sandbox.NodeStatus, s server) {
	n.State, n.PID = sandbox.Alive, s.pid()
	if c.gate(n.Endpoint).paused() {
		n.State = sandbox.Paused
	}
}

// faults says in words what was done to a server and holds.
func (c *cluster) faults(endpoint string) string {
	var all []string
	g := c.gate(endpoint)
	if g.deaf.Load() {
		all = append(all, "sends no beacons")
	}
	if by := g.Delay(); by > 0 {
		all = append(all, "slow "+by.String())
	}
	if percent := g.filled.Load(); percent > 0 {
		all = append(all, fmt.Sprintf("disks filled by %d%%", percent))
	}
	if rate := g.Writes.Rate(); rate > 0 {
		all = append(all, fmt.Sprintf("throttled to %g writes/s", rate))
	}
	c.netMu.Lock()
	defer c.netMu.Unlock()
	for other := range c.gates {
		if c.cut[cableOf(endpoint, other)] {
			all = append(all, "cut off "+other)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Close ends all servers, once, the meta servers first so that they replace nobody.
func (c *cluster) Close() error {
	c.steer.Lock()
	again := c.closed
	c.closed = true
	c.term++
	c.steer.Unlock()
	if again {
		return nil
	}
	close(c.closing)
	c.tasks.Wait()
	err := c.endAll()
	c.mourners.Wait()
	return err
}

func (c *cluster) endAll() error {
	c.steer.Lock()
	defer c.steer.Unlock()
	var errs []error
	for _, endpoint := range slices.Concat(c.metaAts, c.nodeAt) {
		if end, err := c.take(endpoint); err == nil {
			errs = append(errs, end())
		}
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	return errors.Join(append(errs, c.providers.Close())...)
}
