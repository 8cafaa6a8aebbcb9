package openmldb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// keeper is a session with ZooKeeper. Its calls wait for a connection and know no context: close ends them, and the
// channels of watches.
type keeper interface {
	// children lists a node's children, unsorted. With watch, changed is closed when they may have changed.
	children(path string, watch bool) (names []string, changed <-chan struct{}, err error)
	get(path string) ([]byte, error)
	// server is the one connected to, or all of them.
	server() string
	close()
}

// Errors of a keeper. Others mean that the call may be tried again, with a new session.
var (
	errNoNode    = errors.New("there is no such node in ZooKeeper")
	errNoAccess  = errors.New("ZooKeeper denies access")
	errNoKeepers = errors.New("no ZooKeeper server can be reached")
)

// sessionTimeout is what OpenMLDB's own configuration ships with.
const sessionTimeout = 10 * time.Second

// zooKeeper is a keeper of a real ZooKeeper.
type zooKeeper struct {
	servers []string
	user    string
	secret  string
	conn    *zk.Conn
	group   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
	failed map[string]error // why servers could not be dialled, by server
	known  bool             // ZooKeeper has been told who we are
}

// openZooKeeper begins a session. It does not wait for it.
func openZooKeeper(servers []string, user, password string) keeper {
	z := &zooKeeper{
		servers: servers, user: user, secret: password, open: map[net.Conn]struct{}{}, failed: map[string]error{},
	}
	conn, events, err := zk.Connect(servers, sessionTimeout,
		zk.WithDialer(z.dial), zk.WithHostProvider(&turns{}), zk.WithLogger(silent{}), zk.WithLogInfo(false),
		zk.WithMaxBufferSize(maxPacket))
	if err != nil {
		return broken{err}
	}
	z.conn = conn
	z.group.Go(func() {
		for range events { // they end with the session's last goroutine
		}
	})
	return z
}

// dial connects to a server, and looks at all it says.
func (z *zooKeeper) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	tcp, err := net.DialTimeout(network, address, timeout)
	z.mu.Lock()
	defer z.mu.Unlock()
	if err != nil {
		z.failed[address] = err
		return nil, err
	}
	if z.closed {
		tcp.Close()
		return nil, errClosed
	}
	z.failed[address] = errors.New("it does not speak as a ZooKeeper does")
	guarded := newGuard(tcp, func(c net.Conn) {
		z.mu.Lock()
		defer z.mu.Unlock()
		delete(z.open, c)
	})
	z.open[guarded] = struct{}{}
	return guarded, nil
}

// introduce tells ZooKeeper who we are, once; the session repeats it on new connections.
func (z *zooKeeper) introduce() error {
	z.mu.Lock()
	known := z.known || z.user == ""
	z.mu.Unlock()
	if known {
		return nil
	}
	if err := z.conn.AddAuth("digest", []byte(z.user+":"+z.secret)); err != nil {
		return z.why(err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.known = true
	return nil
}

func (z *zooKeeper) children(path string, watch bool) ([]string, <-chan struct{}, error) {
	if err := z.introduce(); err != nil {
		return nil, nil, err
	}
	if !watch {
		names, _, err := z.conn.Children(path)
		return names, nil, z.why(err)
	}
	names, _, events, err := z.conn.ChildrenW(path)
	if err != nil {
		return nil, nil, z.why(err)
	}
	changed := make(chan struct{})
	z.group.Go(func() {
		<-events
		close(changed)
	})
	return names, changed, nil
}

func (z *zooKeeper) get(path string) ([]byte, error) {
	if err := z.introduce(); err != nil {
		return nil, err
	}
	data, _, err := z.conn.Get(path)
	return data, z.why(err)
}

func (z *zooKeeper) why(err error) error {
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return errNoNode
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed):
		return errNoAccess
	case errors.Is(err, zk.ErrNoServer):
		z.mu.Lock()
		defer z.mu.Unlock()
		var reasons []string
		for _, server := range z.servers {
			if why := z.failed[server]; why != nil {
				reasons = append(reasons, fmt.Sprintf("%s: %v", server, why))
			}
		}
		return fmt.Errorf("%w: %s", errNoKeepers, strings.Join(reasons, "; "))
	}
	return err
}

func (z *zooKeeper) server() string {
	if s := z.conn.Server(); s != "" {
		return s
	}
	return strings.Join(z.servers, ",")
}

// close ends the session, gracefully where there is one, and waits for what it has running.
func (z *zooKeeper) close() {
	if z.conn.State() == zk.StateHasSession {
		z.conn.Close() // waits a second at most
	}
	z.mu.Lock()
	z.closed = true
	open := make([]net.Conn, 0, len(z.open))
	for c := range z.open {
		open = append(open, c)
	}
	z.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
	z.conn.Close()
	z.group.Wait()
}

// turns hands out the servers in turn, and says when none of them could be reached. Names are resolved when they are
// dialled, so that one that is not known does not keep the others from being tried.
type turns struct {
	mu      sync.Mutex
	servers []string
	next    int
	failed  int
}

func (t *turns) Init(servers []string) error {
	t.servers = servers
	return nil
}

func (t *turns) Len() int { return len(t.servers) }

func (t *turns) Next() (server string, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	server = t.servers[t.next]
	t.next = (t.next + 1) % len(t.servers)
	again = t.failed > 0 && t.failed%len(t.servers) == 0
	t.failed++
	return server, again
}

func (t *turns) Connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = 0
}

// silent is a log that nobody reads: what matters is in the errors.
type silent struct{}

func (silent) Printf(string, ...any) {}

// broken is a session that could not even begin.
type broken struct{ err error }

func (b broken) children(string, bool) ([]string, <-chan struct{}, error) { return nil, nil, b.err }
func (b broken) get(string) ([]byte, error)                               { return nil, b.err }
func (b broken) server() string                                           { return "zookeeper" }
func (b broken) close()                                                   {}

// boundedBy runs a call that knows no context; it is over with it. The call itself goes on until the session ends.
func boundedBy[T any](ctx context.Context, spawn func(func()) bool, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	var none T
	done := make(chan outcome, 1)
	started := spawn(func() {
		v, err := f()
		done <- outcome{v, err}
	})
	if !started {
		return none, errClosed
	}
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
