package tablet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/sandbox/fault"
)

// Role is the role of the fault points of a tablet's calls: "tablet.accepted:put".
const Role = "tablet"

// Config of a tablet.
type Config struct {
	// Endpoint is the host:port it listens on and is registered as.
	Endpoint string
	// Dir holds everything it keeps.
	Dir  string
	Tree coord.Tree
	// Gate and Points outlive the tablet; nil is an open gate, and no points.
	Gate   *fault.Gate
	Points *fault.Points
	// Dial connects to another tablet, or to this one.
	Dial func(ctx context.Context, peer string) (*rpc.Conn, error)
	Log  func(format string, args ...any)
	// Timers divides the store's own intervals; 0 is 1.
	Timers int
	// Strict refuses connections whose credential is neither the service's nor that of root without a password.
	Strict bool
	// HTTP takes connections that are not baidu_std; nil closes them.
	HTTP func(net.Conn, []port.Service)
}

// tuning is what tests set otherwise.
type tuning struct {
	now       func() time.Time
	binlog    int64  // bytes of a binlog file at which the next one begins
	threshold uint64 // entries since the last snapshot below which none is made unasked
}

func standard() tuning {
	return tuning{now: time.Now, binlog: 8 << 20, threshold: 100_000} // make_snapshot_threshold_offset; shipped files are 1 GiB
}

// Tablet is a running tablet server. It dies with what it has in memory; a new one on the same directory has it back
// once it was asked to load it.
type Tablet struct {
	c      Config
	tune   tuning
	ctx    context.Context
	cancel context.CancelFunc
	port   *port.Port
	wg     sync.WaitGroup // whatever runs beside the port's own goroutines
	member member
	peers  peers
	tasks  tasks
	files  receivers

	loads, snapshots chan struct{} // places for work that the store bounds, too
	follows          atomic.Bool   // SetMode: the whole cluster follows another one
	memoryUsed       atomic.Uint32 // percent of the machine's memory
	names            atomic.Pointer[map[string]string]

	mu    sync.Mutex
	parts map[partID]*partition // in memory
}

// partID names a partition.
type partID struct{ tid, pid uint32 }

func (id partID) String() string { return fmt.Sprintf("%d.%d", id.tid, id.pid) }

func (id partID) compare(other partID) int {
	return cmp.Or(cmp.Compare(id.tid, other.tid), cmp.Compare(id.pid, other.pid))
}

// Start listens, and returns when the tablet is registered. While the node of an earlier life is still there it waits for
// its session to time out; the context bounds that and nothing later.
func Start(ctx context.Context, c Config) (*Tablet, error) { return start(ctx, c, standard()) }

func start(ctx context.Context, c Config, tune tuning) (*Tablet, error) {
	c.Timers = max(c.Timers, 1)
	if c.Gate == nil {
		c.Gate = &fault.Gate{}
	}
	if c.Points == nil {
		c.Points = fault.NewPoints()
	}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	t := &Tablet{
		c: c, tune: tune, parts: map[partID]*partition{},
		loads: make(chan struct{}, loadPool), snapshots: make(chan struct{}, snapshotPool),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if err := t.makeRoots(); err != nil {
		return nil, err
	}
	listen := port.Config{
		Address: c.Endpoint, Services: t.services(), Gate: c.Gate, Points: c.Points, Role: Role,
	}
	if c.Strict {
		listen.Admit = admits
	}
	if c.HTTP != nil {
		listen.HTTP = func(conn net.Conn) { c.HTTP(conn, listen.Services) }
	}
	var err error
	if t.port, err = port.Listen(listen); err != nil {
		return nil, err
	}
	t.port.Start()
	if err := t.register(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("register tablet %s: %w", c.Endpoint, err), t.Kill())
	}
	t.wg.Go(t.keepRegistered)
	t.wg.Go(t.housekeeping)
	return t, nil
}

// The store's pools (tablet.flags: task_pool_size, snapshot_pool_size).
const (
	loadPool     = 8
	snapshotPool = 1
)

// Kill ends the tablet as kill -9 would: its node stays until the session times out.
func (t *Tablet) Kill() error {
	t.member.abandon()
	return t.end()
}

// Stop answers what was asked and ends the tablet; its node is gone at once.
func (t *Tablet) Stop(ctx context.Context) error {
	err := t.port.Drain(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, t.member.close(), t.end())
}

func (t *Tablet) end() error {
	t.cancel()
	err := t.port.Abort()
	t.wg.Wait()
	t.peers.close()
	t.files.close()
	for _, p := range t.all() {
		err = errors.Join(err, p.close())
	}
	return err
}

// part finds a partition in memory.
func (t *Tablet) part(tid, pid uint32) *partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parts[partID{tid, pid}]
}

// all lists the partitions in memory, by table and partition.
func (t *Tablet) all() []*partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.parts), func(a, b *partition) int { return a.id.compare(b.id) })
}

// pass waits while the tablet is paused; false when it ended.
func (t *Tablet) pass() bool { return t.c.Gate.Pass(t.ctx.Done()) && t.ctx.Err() == nil }

// sleep waits for one of the store's own intervals; false when the tablet ended.
func (t *Tablet) sleep(ctx context.Context, interval time.Duration) bool {
	timer := time.NewTimer(t.scaled(interval))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return t.pass()
	}
}

// lag waits as long as the tablet is slow; false when it ended.
func (t *Tablet) lag() bool {
	const look = 20 * time.Millisecond // how soon it is noticed that the tablet is slow no more
	for since := time.Now(); ; {
		left := t.c.Gate.Delay() - time.Since(since)
		if left <= 0 {
			return t.pass()
		}
		timer := time.NewTimer(min(left, look))
		select {
		case <-t.ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

func (t *Tablet) scaled(interval time.Duration) time.Duration {
	return max(interval/time.Duration(t.c.Timers), time.Millisecond)
}

// take waits for a place in a pool; false when the tablet ended.
func (t *Tablet) take(pool chan struct{}) bool {
	select {
	case pool <- struct{}{}:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// admits is what strict mode lets in: the service credential, and root with its empty password (OpenMLDB:
// brpc_authenticator, user_access_manager).
func admits(credential string) bool {
	const root = "uroot:1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	return credential == rpc.ServiceCredential || credential == root
}
