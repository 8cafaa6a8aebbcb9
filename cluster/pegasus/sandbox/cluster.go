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
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/engine"
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
	store   *engine.Store
	closing chan struct{}
	tasks   sync.WaitGroup // elections that are due

	steer   sync.Mutex // one change of what runs at a time
	closed  bool
	term    int       // grows with everything that makes a due election void
	session time.Time // when the session of the last leader ends

	mu    sync.Mutex
	boss  *metaServer      // the leading one, paused or not; nil while there is none
	metas []*metaProcess   // as metaAts; nil while dead
	nodes []*replicaServer // by nodeID; nil while dead

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

// start starts a cluster in config.Dir, with its first content if it never had any.
func start(ctx context.Context, config sandbox.Config) (sandbox.ClusterServer, error) {
	return startCluster(ctx, config, replicaServers)
}

func startCluster(ctx context.Context, config sandbox.Config, replicas int) (*cluster, error) {
	c := &cluster{
		name: config.Name, dir: config.Dir, log: config.Log, gates: map[string]*gate{}, closing: make(chan struct{}),
		metas: make([]*metaProcess, metaServers), nodes: make([]*replicaServer, replicas), cut: map[cable]bool{},
	}
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	var err error
	if c.release, err = parseRelease(config.Compat); err != nil {
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
	metas, nodes := newPoints("meta", (&metaServer{}).methods()), newPoints("node", (&replicaServer{}).methods())
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

func (c *cluster) startAll(ctx context.Context) (err error) {
	for i := range c.nodes {
		if err := c.startNode(nodeID(i)); err != nil {
			return err
		}
	}
	for i := range c.metas {
		if err := c.startProcess(i); err != nil {
			return err
		}
	}
	if c.store, err = openStore(filepath.Join(c.dir, "meta"), c.log); err != nil {
		return err
	}
	if err := c.elect(); err != nil {
		return err
	}
	c.touch()
	if c.boss.underRecovery() {
		return nil
	}
	if err := c.fill(ctx); err != nil {
		return fmt.Errorf("make the first content: %w", err)
	}
	return nil
}

// settleTime bounds the wait for primaries at a start.
const settleTime = 10 * time.Second

// settle waits until every partition has a primary, so that who opens a cluster finds it whole. One that gets none in
// time is what the cluster has to show.
func (c *cluster) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, pid := range c.boss.partitions() {
		if !c.boss.available(pid) {
			continue
		}
		if _, _, err := c.primaryOf(ctx, pid); err != nil {
			return
		}
	}
}

func (c *cluster) startNode(id nodeID) error {
	at := c.nodeAt[id]
	s, err := startReplicaServer(id, at, c.nodeDir(id), view{c, at}, c.log)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.lose() // until touch finds out who hears it
	c.nodes[id] = s
	return nil
}

func (c *cluster) nodeDir(id nodeID) string {
	return filepath.Join(c.dir, fmt.Sprintf("replica%d", id+1))
}

func (c *cluster) servers() []*replicaServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// leader is the leading meta server, nil when there is none.
func (c *cluster) leader() *metaServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boss
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

func (c *cluster) gate(endpoint string) *gate { return c.gates[endpoint] }

// Address is the list of meta servers.
func (c *cluster) Address() string { return strings.Join(c.metaAts, ",") }

// Nodes lists the meta servers and the replica servers.
func (c *cluster) Nodes() []sandbox.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []sandbox.NodeStatus
	for i, p := range c.metas {
		all = append(all, c.status(metaRole, c.metaAts[i], p != nil))
	}
	for i, s := range c.nodes {
		all = append(all, c.status(replicaRole, c.nodeAt[i], s != nil))
	}
	return all
}

func (c *cluster) status(role, endpoint string, runs bool) sandbox.NodeStatus {
	n := sandbox.NodeStatus{
		Cluster: c.name, System: Kind().System, Role: role, Endpoint: endpoint, State: sandbox.Dead, Timers: timers,
		Faults: c.faults(endpoint),
	}
	if runs {
		n.State, n.PID = sandbox.Alive, os.Getpid()
	}
	if c.gate(endpoint).paused() {
		n.State = sandbox.Paused
	}
	return n
}

// faults says in words what was done to a server and holds.
func (c *cluster) faults(endpoint string) string {
	var all []string
	g := c.gate(endpoint)
	if by := g.delay(); by > 0 {
		all = append(all, "slow "+by.String())
	}
	if percent := g.filled.Load(); percent > 0 {
		all = append(all, fmt.Sprintf("disks filled by %d%%", percent))
	}
	if rate := g.writes.bound(); rate > 0 {
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
	return errors.Join(errs...)
}
