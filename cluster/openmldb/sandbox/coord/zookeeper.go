package coord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"shardsh/cluster/sandbox/fault"
)

// ZooKeeper is a tree in a real ZooKeeper, as one process reaches it.
type ZooKeeper struct {
	// Servers are host:port each.
	Servers []string
	// Path is the root of the cluster.
	Path string
	// Timeout of sessions; the server may choose another one within its bounds.
	Timeout time.Duration
	// Gate holds up everything between the process and ZooKeeper while it is shut; nil is open.
	Gate *fault.Gate
	Log  func(format string, args ...any)
}

var _ Tree = (*ZooKeeper)(nil)

// Root is the path that everything of the cluster is below.
func (z *ZooKeeper) Root() string { return z.Path }

// Open opens a session; the context bounds the wait for it.
func (z *ZooKeeper) Open(ctx context.Context) (Session, error) {
	s := &zkSession{
		gate: cmp.Or(z.Gate, &fault.Gate{}), timeout: z.Timeout, begun: make(chan struct{}), expired: make(chan struct{}),
		dead: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	conn, _, err := zk.Connect(z.Servers, z.Timeout,
		zk.WithDialer(s.dial), zk.WithEventCallback(s.event), zk.WithLogInfo(false), zk.WithLogger(quiet{}))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.zk = conn
	s.mu.Unlock()
	select {
	case <-s.begun:
		return s, nil
	case <-ctx.Done():
		s.Abandon()
		return nil, fmt.Errorf("no session with the ZooKeeper of %s: %w", strings.Join(z.Servers, ","), context.Cause(ctx))
	}
}

// quiet drops what the client library would print: a lost connection is found out by whoever uses it.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

type zkSession struct {
	zk      *zk.Conn
	gate    *fault.Gate
	timeout time.Duration
	begun   chan struct{} // closed at the first sign of the session
	expired chan struct{}
	dead    chan struct{} // closed by Close and Abandon
	watches sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil once dead
	lonely *time.Timer           // runs while there is no connection
	over   bool
}

func (s *zkSession) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	tcp, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	conn := fault.Hold(tcp, s.gate.Pass)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return nil, errors.Join(ErrExpired, conn.Close())
	}
	clear(s.conns) // the library has one at a time
	s.conns[conn] = struct{}{}
	return conn, nil
}

// event follows the state of the library's connection. A session without a connection is taken for over after its
// timeout, as the server does: whoever leads by it must not go on believing so.
func (s *zkSession) event(e zk.Event) {
	if e.Type != zk.EventSession {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.State {
	case zk.StateHasSession:
		if s.lonely != nil {
			s.lonely.Stop()
			s.lonely = nil
		}
		select {
		case <-s.begun:
		default:
			close(s.begun)
		}
	case zk.StateDisconnected:
		if s.lonely == nil && !s.over {
			s.lonely = time.AfterFunc(s.timeout, s.expire)
		}
	case zk.StateExpired:
		go s.expire() // the library waits for this callback
	}
}

// expire ends the session that the server has ended, or must have by now.
func (s *zkSession) expire() {
	s.finish()
	s.hangUp()
	s.zk.Close()
}

// finish closes expired; false when it was.
func (s *zkSession) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over = true
	if s.lonely != nil {
		s.lonely.Stop()
	}
	close(s.expired)
	close(s.dead)
	return true
}

// hangUp cuts the connection, and every later one.
func (s *zkSession) hangUp() {
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for conn := range conns {
		conn.Close()
	}
}

func (s *zkSession) Expired() <-chan struct{} { return s.expired }

func (s *zkSession) Close() error {
	if s.finish() {
		s.zk.Close()
		s.hangUp()
	}
	s.watches.Wait()
	return nil
}

func (s *zkSession) Abandon() {
	if s.finish() {
		s.hangUp()
		go s.zk.Close() // it tries to say goodbye for a second
	}
}

// within runs one call to the server, once the gate is open.
func (s *zkSession) within(call func() error) error {
	if !s.gate.Pass(s.dead) {
		return ErrExpired
	}
	select {
	case <-s.expired:
		return ErrExpired
	default:
	}
	err := call()
	select {
	case <-s.expired:
		if err != nil {
			return ErrExpired
		}
	default:
	}
	return known(err)
}

func known(err error) error {
	for theirs, ours := range map[error]error{
		zk.ErrNoNode: ErrNoNode, zk.ErrNodeExists: ErrExists, zk.ErrBadVersion: ErrVersion, zk.ErrNotEmpty: ErrNotEmpty,
		zk.ErrSessionExpired: ErrExpired,
	} {
		if errors.Is(err, theirs) {
			return ours
		}
	}
	return err
}

func (s *zkSession) Create(at string, data []byte, mode Mode) (made string, err error) {
	flags := map[Mode]int32{Persistent: 0, Ephemeral: zk.FlagEphemeral, EphemeralSequential: zk.FlagEphemeral | zk.FlagSequence}[mode]
	for {
		err = s.within(func() error {
			var err error
			made, err = s.zk.Create(at, data, flags, zk.WorldACL(zk.PermAll))
			return err
		})
		if !errors.Is(err, ErrNoNode) || path.Dir(at) == "/" {
			return made, err
		}
		if _, err := s.Create(path.Dir(at), nil, Persistent); err != nil && !errors.Is(err, ErrExists) {
			return "", err
		}
	}
}

func (s *zkSession) Get(at string) (data []byte, version int32, err error) {
	err = s.within(func() error {
		got, stat, err := s.zk.Get(at)
		if err == nil {
			data, version = got, stat.Version
		}
		return err
	})
	return data, version, err
}

func (s *zkSession) Set(at string, data []byte, version int32) error {
	return s.within(func() error {
		_, err := s.zk.Set(at, data, version)
		return err
	})
}

func (s *zkSession) Delete(at string, version int32) error {
	return s.within(func() error { return s.zk.Delete(at, version) })
}

func (s *zkSession) Children(at string) (names []string, err error) {
	err = s.within(func() error {
		var err error
		names, _, err = s.zk.Children(at)
		return err
	})
	slices.Sort(names)
	return names, err
}

func (s *zkSession) Watch(ctx context.Context, at string) <-chan struct{} {
	signals := make(chan struct{}, 1)
	signals <- struct{}{}
	s.watches.Go(func() {
		for {
			changed, children := s.arm(at)
			select {
			case signals <- struct{}{}: // whatever happened before the watches were set
			default:
			}
			var again <-chan time.Time
			if changed == nil { // the connection is lost; the library mends it or the session ends
				again = time.After(50 * time.Millisecond)
			}
			select {
			case <-changed:
			case <-children:
			case <-again:
			case <-ctx.Done():
				return
			case <-s.expired:
				return
			}
		}
	})
	return signals
}

// arm sets the server's watches on a node and, when it is there, on its children; nil when it cannot.
func (s *zkSession) arm(at string) (changed, children <-chan zk.Event) {
	exists, _, changed, err := s.zk.ExistsW(at)
	if err != nil {
		return nil, nil
	}
	if exists {
		if _, _, children, err = s.zk.ChildrenW(at); err != nil && !errors.Is(err, zk.ErrNoNode) {
			return nil, nil
		}
	}
	return changed, children
}
