// Package nameserver is the nameserver of an OpenMLDB sandbox: one process of several, of which one leads.
//
//	server.go     the process: its port, its session, the lock that makes it lead; methods.go its calls
//	lead.go       what it has while it leads, read from the coordination tree; paths.go where that is
//	tablets.go    who is alive; failover.go what follows when somebody is not; status.go what tablets say of partitions
//	op.go         operations, their queues and their records; machine.go how they advance
//	plan.go       which tasks an operation has; task.go those the nameserver does itself; election.go, recover.go
//	tables.go     tables: create.go, change.go, index.go; databases.go; system.go the hidden ones
//	replicas.go   the calls that place and move replicas; settings.go, multi.go the rest
//
// The only way to a tablet is a call of its service; the only memory is the coordination tree. Whoever takes the lead
// knows nothing but what stands there.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/sandbox/fault"
)

// ServiceName is the nameserver's service.
const ServiceName = "openmldb.nameserver.NameServer"

// Role is what fault points call nameservers.
const Role = "ns"

// Config of a nameserver.
type Config struct {
	Endpoint string // host:port
	Tree     coord.Tree
	Gate     *fault.Gate
	Points   *fault.Points
	// Dial connects to a tablet, or to the nameserver of another cluster.
	Dial func(ctx context.Context, peer string) (*rpc.Conn, error)
	// Reach opens a session with the tree of another cluster; nil reaches none.
	Reach func(ctx context.Context, servers, root string) (coord.Session, error)
	// Die ends this process as kill -9 would, later: it must not wait for that.
	Die func()
	Log func(format string, args ...any)
	// Timers is what the store's timers are divided by.
	Timers int
	// Strict checks credentials (skip_grant_tables=false).
	Strict bool
	// SystemTables has the leader make the hidden databases and their tables.
	SystemTables bool
	// Release2018 has the names and operations of the releases before 2019, which had no such tables.
	Release2018 bool
	// HTTP serves what is no baidu_std; nil closes it.
	HTTP func(net.Conn, []port.Service)
}

// Server is a running nameserver.
type Server struct {
	config Config
	times  times
	port   *port.Port
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wishes chan wish

	mu      sync.Mutex
	session coord.Session // nil while there is none
	lead    *lead         // nil while it does not lead
	gone    bool          // no session is opened any more
	known   []string      // tablets that it has seen while it led
}

// wish is a ConnectZK or DisConnectZK.
type wish struct {
	connect bool
	done    chan error
}

// Start starts a nameserver. It returns once the port answers; that it leads comes later.
func Start(ctx context.Context, config Config) (*Server, error) {
	s := &Server{config: config, times: timesOf(config.Timers), wishes: make(chan wish)}
	services := []port.Service{{Name: ServiceName, Methods: s.methods()}}
	ports := port.Config{
		Address: config.Endpoint, Services: services, Gate: config.Gate, Points: config.Points, Role: Role,
	}
	if config.Strict {
		ports.Admit = port.Admit
	}
	if config.HTTP != nil {
		ports.HTTP = func(c net.Conn) { config.HTTP(c, services) }
	}
	var err error
	if s.port, err = port.Listen(ports); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	session, err := config.Tree.Open(ctx)
	if err == nil {
		err = s.register(session)
	}
	if err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("nameserver %s: %w", config.Endpoint, err), s.port.Abort())
	}
	s.port.Start()
	s.work.Go(func() { s.run(session) })
	return s, nil
}

// Calls are the names that fault points have for the methods.
func (s *Server) Calls() []string {
	var all []string
	for name := range s.methods() {
		all = append(all, port.PointName(name))
	}
	slices.Sort(all)
	return all
}

// OpPoint is the point before the n-th task of an operation.
func OpPoint(n int) string { return fmt.Sprintf("ns.op:%d", n) }

// MaxTasks is the number of tasks of the longest operation.
const MaxTasks = 10

// Kill ends the process as kill -9 would: its session stays until its timeout.
func (s *Server) Kill() error {
	s.mu.Lock()
	s.gone = true
	if s.session != nil {
		s.session.Abandon() // nothing is written from here on
	}
	s.mu.Unlock()
	s.cancel()
	err := s.port.Abort()
	s.work.Wait()
	return err
}

// Stop ends the process as its own shutdown would: what it was asked is answered, and the lock is given up at once.
func (s *Server) Stop(ctx context.Context) error {
	err := s.port.Drain(ctx)
	s.mu.Lock()
	s.gone = true
	session := s.session
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	if session != nil {
		err = errors.Join(err, session.Close())
	}
	return errors.Join(err, s.port.Abort())
}

// Endpoint is where the process listens.
func (s *Server) Endpoint() string { return s.config.Endpoint }

// Leads says whether the process leads.
func (s *Server) Leads() bool { return s.leading() != nil }

func (s *Server) leading() *lead {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lead
}

// Healthy says whether a leading nameserver takes a tablet for alive.
func (s *Server) Healthy(endpoint string) bool {
	l := s.leading()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.healthy(endpoint)
}

// run keeps a session and, while that holds the lock, the lead.
func (s *Server) run(session coord.Session) {
	for s.ctx.Err() == nil {
		var by *wish
		if session != nil {
			by = s.hold(session)
			s.resign()
			s.adopt(nil)
			if s.ctx.Err() != nil {
				return // whoever ended the process sees to its session
			}
			err := session.Close()
			if by != nil {
				by.done <- err
			}
		}
		session = s.reconnect()
	}
}

// adopt makes a session the process's own; false when the process has ended.
func (s *Server) adopt(session coord.Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	s.session = session
	return true
}

// reconnect opens another session: when somebody wishes it, else at the next of the regular checks. It answers nil when
// the process has ended.
func (s *Server) reconnect() coord.Session {
	check := time.NewTicker(s.times.keepAlive)
	defer check.Stop()
	for {
		done := make(chan error, 1)
		select {
		case <-s.ctx.Done():
			return nil
		case <-check.C:
		case w := <-s.wishes:
			if !w.connect {
				w.done <- nil // there is nothing to close
				continue
			}
			done = w.done
		}
		session, err := s.open()
		done <- err
		if err == nil {
			return session
		}
		s.config.Log("nameserver %s: %v", s.config.Endpoint, err)
	}
}

func (s *Server) open() (coord.Session, error) {
	if !s.config.Gate.Pass(s.ctx.Done()) {
		return nil, s.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.times.rpc)
	defer cancel()
	session, err := s.config.Tree.Open(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.register(session); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return session, nil
}

// register puts the process into the line of those that want to lead.
func (s *Server) register(session coord.Session) error {
	if !s.adopt(session) {
		session.Abandon()
		return coord.ErrExpired
	}
	_, err := session.Create(s.paths().lock, []byte(s.config.Endpoint), coord.EphemeralSequential)
	return err
}

// hold leads whenever the lock is the process's own, until the session ends or somebody wishes so.
func (s *Server) hold(session coord.Session) *wish {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	changed := session.Watch(ctx, s.paths().leader)
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case <-session.Expired():
			return nil
		case w := <-s.wishes:
			if w.connect {
				w.done <- nil // it is connected
				continue
			}
			return &w
		case <-changed:
		}
		if !s.config.Gate.Pass(s.ctx.Done()) {
			return nil
		}
		first, err := s.holder(session)
		switch leads := s.leading() != nil; {
		case err != nil:
		case first == s.config.Endpoint && !leads:
			err = s.take(session)
		case first != s.config.Endpoint && leads:
			s.resign()
		}
		if err != nil && !errors.Is(err, coord.ErrExpired) {
			s.config.Log("nameserver %s: %v", s.config.Endpoint, err)
			return nil
		}
	}
}

// holder is the endpoint that the first in line gave, "" when there is none.
func (s *Server) holder(session coord.Session) (string, error) {
	names, err := session.Children(s.paths().leader)
	if err != nil || len(names) == 0 {
		return "", err
	}
	data, _, err := session.Get(s.paths().leader + "/" + names[0])
	if errors.Is(err, coord.ErrNoNode) {
		return "", nil // another signal is on its way
	}
	return string(data), err
}

// take takes the lead.
func (s *Server) take(session coord.Session) error {
	l, err := newLead(s, session)
	if err != nil {
		return fmt.Errorf("take the lead: %w", err)
	}
	s.mu.Lock()
	s.lead = l
	s.mu.Unlock()
	l.begin()
	return nil
}

// resign gives up the lead, and ends everything that was done by it.
func (s *Server) resign() {
	s.mu.Lock()
	l := s.lead
	s.lead = nil
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.end()
	l.mu.Lock()
	known := slices.Collect(maps.Keys(l.tablets))
	l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
}
