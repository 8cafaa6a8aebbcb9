package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/openmldb/sandbox/nameserver"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/openmldb/sandbox/tablet"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/fault"
	"shardsh/cluster/sandbox/listen"
)

// Where servers listen: the hosts on the cluster's network, and ports that OpenMLDB's documents use.
const (
	nsHost, nsPort         = 1, 6527
	nameservers            = 2
	tabletHost, tabletPort = 31, 8541
	tablets                = 3
	spares                 = 1 // tablets that do not run until they are started, for drills of growth
)

const (
	nsRole     = "nameserver"
	tabletRole = "tablet"
)

const timers = sandbox.TimersFactor

// How long a session outlives its process (zk_session_timeout, shipped with 10 s). Sessions of a real ZooKeeper end when
// beacons are missed, which a slow machine must not do by itself.
const (
	sessionTime   = 10 * time.Second / timers
	zkSessionTime = 3 * time.Second
)

// version is what the servers' /version says.
const version = "OpenMLDB sandbox of shardsh"

// cluster is a running cluster. Its servers come and go; their directories, addresses and gates stay, and so does the
// coordination tree.
type cluster struct {
	name     string
	dir      string
	log      func(format string, args ...any)
	settings settings
	nsAt     []string
	tabletAt []string
	gates    map[string]*fault.Gate
	points   *fault.Points // of both roles
	network  network
	local    *coord.Local // nil on a real ZooKeeper
	trees    map[string]coord.Tree
	session  coord.Session // the cluster's own
	adapted  bool          // what stands in the tree is this cluster's
	ctx      context.Context
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // deaths at fault points

	steer  sync.Mutex // one change of what runs at a time
	closed bool

	mu  sync.Mutex
	ns  []*nameserver.Server // as nsAt; nil while dead
	tab []*tablet.Tablet     // as tabletAt; nil while dead
}

var (
	_ sandbox.ClusterServer = (*cluster)(nil)
	_ sandbox.Stopper       = (*cluster)(nil)
	_ sandbox.Pauser        = (*cluster)(nil)
	_ sandbox.Slower        = (*cluster)(nil)
	_ sandbox.Partitioner   = (*cluster)(nil)
	_ sandbox.Loser         = (*cluster)(nil)
	_ sandbox.Throttler     = (*cluster)(nil)
	_ sandbox.Breaker       = (*cluster)(nil)
)

// start starts a cluster in config.Dir: with its first content if it never had any, else with what it had.
func start(ctx context.Context, config sandbox.Config) (*cluster, error) {
	s, err := readSettings(config.Settings, config.Compat)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		name: config.Name, dir: config.Dir, log: config.Log, settings: s, gates: map[string]*fault.Gate{},
		points: points(), network: network{cuts: map[cable]chan struct{}{}}, trees: map[string]coord.Tree{},
		ns: make([]*nameserver.Server, nameservers), tab: make([]*tablet.Tablet, tablets+spares),
	}
	if s.zk != nil && c.name == second {
		c.settings.root += "2" // they share the ZooKeeper
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if c.log == nil {
		c.log = func(string, ...any) {}
	}
	if err := c.place(config.Net); err != nil {
		return nil, err
	}
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// points are the fault points of the calls of both roles, of operations and of tasks.
func points() *fault.Points {
	all := fault.OfCalls(nameserver.Role, (&nameserver.Server{}).Calls())
	for n := range nameserver.MaxTasks {
		all = append(all, sandbox.Point{
			Name: nameserver.OpPoint(n + 1), Says: fmt.Sprintf("the leading nameserver dies before task %d of an operation", n+1),
		})
	}
	all = append(all, fault.OfCalls(tablet.Role, (&tablet.Tablet{}).Calls())...)
	return fault.NewPoints(slices.Concat(all, tablet.TaskPoints(), tablet.HoldPoints())...)
}

// place gives every server its address and its gate. An address that is taken is found here, before anything is kept.
func (c *cluster) place(network *sandbox.Network) error {
	for i := range nameservers + tablets + spares {
		role, host, number := &c.nsAt, nsHost+i, nsPort
		if i >= nameservers {
			role, host, number = &c.tabletAt, tabletHost+i-nameservers, tabletPort
		}
		at, err := network.Address(host, number)
		if err != nil {
			return err
		}
		probe, err := net.Listen("tcp4", at)
		if err != nil {
			return err
		}
		if err := listen.Close(probe); err != nil {
			return err
		}
		*role = append(*role, at)
		c.gates[at] = &fault.Gate{}
	}
	return nil
}

func (c *cluster) all() []string { return slices.Concat(c.nsAt, c.tabletAt) }

// startTime bounds the start of a cluster and of a server.
const startTime = 60 * time.Second

func (c *cluster) startAll(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := c.openTree(ctx); err != nil {
		return err
	}
	if err := c.adapt(); err != nil {
		return fmt.Errorf("move the cluster to its addresses: %w", err)
	}
	c.adapted = true
	for i := range c.tab {
		if !c.joined(i) {
			continue
		}
		if err := c.startTablet(ctx, i); err != nil {
			return err
		}
	}
	for i := range c.ns {
		if err := c.startNameserver(ctx, i); err != nil {
			return err
		}
		if err := c.await(ctx, "a leading nameserver", func() bool { return c.leader() != nil && c.leader().Settled() }); err != nil {
			return err
		}
	}
	if err := c.revive(ctx); err != nil {
		return fmt.Errorf("load what there was: %w", err)
	}
	if err := c.fill(ctx); err != nil {
		return fmt.Errorf("make the first content: %w", err)
	}
	return nil
}

// joinedFile says in a cluster's directory that a spare tablet was started once; the %d is its number.
const joinedFile = "joined%d"

// joined says whether a tablet runs from the start: a spare one does when it ran before.
func (c *cluster) joined(i int) bool {
	_, err := os.Stat(filepath.Join(c.dir, fmt.Sprintf(joinedFile, i+1)))
	return i < tablets || err == nil
}

// openTree opens the coordination tree, for the cluster itself and for each server.
func (c *cluster) openTree(ctx context.Context) (err error) {
	own := coord.Tree(nil)
	if c.settings.zk == nil {
		if c.local, err = coord.OpenLocal(filepath.Join(c.dir, "coord"), c.settings.root, sessionTime, c.log); err != nil {
			return err
		}
		own = c.local.Client(nil)
	} else {
		own = c.zooKeeper(nil)
	}
	for at, gate := range c.gates {
		if c.trees[at] = c.zooKeeper(gate); c.local != nil {
			c.trees[at] = c.local.Client(gate)
		}
	}
	c.session, err = own.Open(ctx)
	return err
}

func (c *cluster) zooKeeper(gate *fault.Gate) coord.Tree {
	return &coord.ZooKeeper{Servers: c.settings.zk, Path: c.settings.root, Timeout: zkSessionTime, Gate: gate, Log: c.log}
}

// await waits until something holds.
func (c *cluster) await(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		timer := time.NewTimer(2 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

func (c *cluster) startTablet(ctx context.Context, i int) error {
	at := c.tabletAt[i]
	t, err := tablet.Start(ctx, tablet.Config{
		Endpoint: at, Dir: c.tabletDir(i), Tree: c.trees[at], Gate: c.gates[at], Points: c.points, Dial: c.network.dialer(at, c.gates[at]),
		Log: c.log, Timers: timers, Strict: c.settings.strict, HTTP: c.http(),
	})
	if err != nil {
		return fmt.Errorf("start tablet %s: %w", at, err)
	}
	c.mu.Lock()
	c.tab[i] = t
	c.mu.Unlock()
	return nil
}

func (c *cluster) startNameserver(ctx context.Context, i int) error {
	at := c.nsAt[i]
	s, err := nameserver.Start(ctx, nameserver.Config{
		Endpoint: at, Tree: c.trees[at], Gate: c.gates[at], Points: c.points, Dial: c.network.dialer(at, c.gates[at]), Reach: c.reach,
		Die: func() { c.die(at) }, Log: c.log, Timers: timers, Strict: c.settings.strict,
		SystemTables: !c.settings.old, Release2018: c.settings.old, HTTP: c.http(),
	})
	if err != nil {
		return fmt.Errorf("start nameserver %s: %w", at, err)
	}
	c.mu.Lock()
	c.ns[i] = s
	c.mu.Unlock()
	return nil
}

func (c *cluster) http() func(net.Conn, []port.Service) {
	options := port.HTTPOptions{Version: version}
	if c.settings.strict {
		options.Admit = port.Admit
	}
	return port.HTTP(options)
}

// reach opens another cluster's ZooKeeper for a nameserver; a tree in another process cannot be reached.
func (c *cluster) reach(ctx context.Context, servers, root string) (coord.Session, error) {
	s := settings{}
	if err := s.readZK(servers + root); err != nil {
		return nil, err
	}
	return (&coord.ZooKeeper{Servers: s.zk, Path: root, Timeout: zkSessionTime, Log: c.log}).Open(ctx)
}

func (c *cluster) tabletDir(i int) string { return filepath.Join(c.dir, fmt.Sprintf("tablet%d", i+1)) }

// leader is the leading nameserver, nil when there is none.
func (c *cluster) leader() *nameserver.Server {
	c.mu.Lock()
	servers := slices.Clone(c.ns)
	c.mu.Unlock()
	for i, s := range servers {
		if s != nil && !c.gates[c.nsAt[i]].Paused() && s.Leads() {
			return s
		}
	}
	return nil
}

// Address is the list of nameservers, or ZooKeeper.
func (c *cluster) Address() string {
	if c.settings.zk != nil {
		return "zk://" + strings.Join(c.settings.zk, ",") + c.settings.root
	}
	return "ns://" + strings.Join(c.nsAt, ",")
}

// Nodes lists the nameservers and the tablets.
func (c *cluster) Nodes() []sandbox.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []sandbox.NodeStatus
	for i, s := range c.ns {
		all = append(all, c.status(nsRole, c.nsAt[i], s != nil))
	}
	for i, t := range c.tab {
		all = append(all, c.status(tabletRole, c.tabletAt[i], t != nil))
	}
	return all
}

func (c *cluster) status(role, endpoint string, runs bool) sandbox.NodeStatus {
	gate := c.gates[endpoint]
	n := sandbox.NodeStatus{
		Cluster: c.name, System: System, Role: role, Endpoint: endpoint, State: sandbox.Dead, Timers: timers,
	}
	if runs {
		n.State, n.PID = sandbox.Alive, os.Getpid()
	}
	if gate.Paused() {
		n.State = sandbox.Paused
	}
	var faults []string
	if by := gate.Delay(); by > 0 {
		faults = append(faults, "slow "+by.String())
	}
	if rate := gate.Writes.Rate(); rate > 0 {
		faults = append(faults, fmt.Sprintf("throttled to %g writes/s", rate))
	}
	for _, other := range c.network.off(endpoint, c.all()) {
		faults = append(faults, "cut off "+other)
	}
	slices.Sort(faults)
	n.Faults = strings.Join(faults, ", ")
	return n
}

// sweep removes from a real ZooKeeper what the sessions of this cluster's servers left there for a while.
func (c *cluster) sweep() {
	if c.settings.zk == nil || !c.adapted {
		return
	}
	for _, folder := range []string{"/nodes", "/leader"} {
		names, _ := c.session.Children(c.settings.root + folder)
		for _, name := range names {
			at := c.settings.root + folder + "/" + name
			data, version, err := c.session.Get(at)
			if err == nil && (slices.Contains(c.tabletAt, name) || slices.Contains(c.nsAt, string(data))) {
				_ = c.session.Delete(at, version)
			}
		}
	}
}

// Close ends all servers, once, the nameservers first so that they fail nobody over.
func (c *cluster) Close() error {
	c.steer.Lock()
	again := c.closed
	c.closed = true
	c.steer.Unlock()
	if again {
		return nil
	}
	c.mu.Lock()
	c.cancel() // nobody dies at a fault point from here on
	c.mu.Unlock()
	c.tasks.Wait()
	c.steer.Lock()
	defer c.steer.Unlock()
	var errs []error
	for _, endpoint := range c.all() {
		if end, err := c.take(endpoint); err == nil {
			errs = append(errs, end())
		}
	}
	c.sweep()
	if c.session != nil {
		errs = append(errs, c.session.Close())
	}
	if c.local != nil {
		errs = append(errs, c.local.Close())
	}
	return errors.Join(errs...)
}
