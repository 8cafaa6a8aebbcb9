package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// Where servers listen: the hosts on the cluster's network, and Pegasus's usual ports.
const (
	metaHost, metaPort         = 1, 34601
	firstReplicaHost, nodePort = 31, 34801
	replicaServers             = 3
)

const (
	metaRole    = "meta-server"
	replicaRole = "replica-server"
)

// cluster is a running cluster. Its servers come and go; their directories and addresses stay.
type cluster struct {
	name   string
	dir    string
	log    func(format string, args ...any)
	metaAt string
	nodeAt []string // by nodeID

	steer sync.Mutex // one change of what runs at a time
	mu    sync.Mutex
	boss  *metaServer      // nil while dead
	nodes []*replicaServer // by nodeID; nil while dead
}

var (
	_ sandbox.ClusterServer = (*cluster)(nil)
	_ network               = (*cluster)(nil)
)

// start starts a cluster in config.Dir, with its first content if it never had any.
func start(ctx context.Context, config sandbox.Config) (sandbox.ClusterServer, error) {
	return startCluster(ctx, config, replicaServers)
}

func startCluster(ctx context.Context, config sandbox.Config, replicas int) (*cluster, error) {
	c := &cluster{name: config.Name, dir: config.Dir, log: config.Log, nodes: make([]*replicaServer, replicas)}
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	var err error
	if c.metaAt, err = config.Net.Address(metaHost, metaPort); err != nil {
		return nil, err
	}
	for i := range replicas {
		at, err := config.Net.Address(firstReplicaHost+i, nodePort)
		if err != nil {
			return nil, err
		}
		c.nodeAt = append(c.nodeAt, at)
	}
	for i := range c.nodes {
		if err := c.startNode(nodeID(i)); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.startMeta(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.fill(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make the first content: %w", err), c.Close())
	}
	c.settle(ctx)
	return c, nil
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
	s, err := startReplicaServer(id, c.nodeAt[id], filepath.Join(c.dir, fmt.Sprintf("replica%d", id+1)), c, c.log)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.nodes[id] = s
	boss := c.boss
	c.mu.Unlock()
	if boss != nil {
		boss.back(id)
	}
	return nil
}

func (c *cluster) startMeta() error {
	running := map[nodeID]bool{}
	c.mu.Lock()
	for i, s := range c.nodes {
		running[nodeID(i)] = s != nil
	}
	c.mu.Unlock()
	m, err := startMetaServer(c.name, c.metaAt, filepath.Join(c.dir, "meta"), c, running, c.log)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boss = m
	return nil
}

// meta, node and address make the cluster the network of its servers.
func (c *cluster) meta() (metaLink, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boss == nil {
		return nil, errDead
	}
	return c.boss, nil
}

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

// Address is the list of meta servers.
func (c *cluster) Address() string { return c.metaAt }

// Nodes lists the meta server and the replica servers.
func (c *cluster) Nodes() []sandbox.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []sandbox.NodeStatus{c.status(metaRole, c.metaAt, c.boss != nil)}
	for i, s := range c.nodes {
		all = append(all, c.status(replicaRole, c.nodeAt[i], s != nil))
	}
	return all
}

func (c *cluster) status(role, endpoint string, runs bool) sandbox.NodeStatus {
	n := sandbox.NodeStatus{
		Cluster: c.name, System: Kind().System, Role: role, Endpoint: endpoint, State: sandbox.Dead, Timers: timers,
	}
	if runs {
		n.State, n.PID = sandbox.Alive, os.Getpid()
	}
	return n
}

// find answers which server has an endpoint: noNode is the meta server.
func (c *cluster) find(endpoint string) (id nodeID, err error) {
	if endpoint == c.metaAt {
		return noNode, nil
	}
	for i, at := range c.nodeAt {
		if at == endpoint {
			return nodeID(i), nil
		}
	}
	return 0, spec.Errorf(spec.NotFound, "no node of %s listens on %s", c.name, endpoint)
}

// Kill kills a server; for a replica server the meta server's grace period begins.
func (c *cluster) Kill(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	id, err := c.find(endpoint)
	if err != nil {
		return err
	}
	kill, err := c.take(id)
	if err != nil {
		return err
	}
	return kill()
}

// take takes a server off the network and answers how to end it.
func (c *cluster) take(id nodeID) (kill func() error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == noNode {
		if c.boss == nil {
			return nil, spec.Errorf(spec.Refused, "%s is dead already", c.metaAt)
		}
		kill, c.boss = c.boss.kill, nil
		return kill, nil
	}
	if c.nodes[id] == nil {
		return nil, spec.Errorf(spec.Refused, "%s is dead already", c.nodeAt[id])
	}
	kill, c.nodes[id] = c.nodes[id].kill, nil
	if boss := c.boss; boss != nil {
		boss.missed(id)
	}
	return kill, nil
}

// Start starts a dead server again.
func (c *cluster) Start(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	id, err := c.find(endpoint)
	if err != nil {
		return err
	}
	c.mu.Lock()
	runs := id == noNode && c.boss != nil || id != noNode && c.nodes[id] != nil
	c.mu.Unlock()
	switch {
	case runs:
		return spec.Errorf(spec.Refused, "%s is running", endpoint)
	case id == noNode:
		return c.startMeta()
	}
	return c.startNode(id)
}

// Close ends all servers, the meta server first so that it replaces nobody.
func (c *cluster) Close() error {
	c.steer.Lock()
	defer c.steer.Unlock()
	var errs []error
	for id := noNode; int(id) < len(c.nodes); id++ {
		if kill, err := c.take(id); err == nil {
			errs = append(errs, kill())
		}
	}
	return errors.Join(errs...)
}
