package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"shardsh/commands/spec"
)

// ServeConfig is what Serve serves.
type ServeConfig struct {
	Kinds []Kind
	// DataDir keeps the clusters from run to run, each in a directory of its own. "" is a fresh directory, removed at
	// the end.
	DataDir string
	// Control is the path of the control socket; "" puts it into the data directory.
	Control string
	// Net forces the network of the first of all clusters ("127.0.77"); the others get its neighbours.
	Net string
	// ProcessPerNode gives every node a process of its own, which a true kill -9 can end. A system that keeps all its
	// nodes in one process says so in Log, and does.
	ProcessPerNode bool
	// Executable is the program for NodeProcesses; "" is this one.
	Executable string
	// Open names clusters to start at once; the others start when they are asked for.
	Open []string
	// Settings are what clusters of a system are started with beyond the above, by system and name: {"openmldb": {"zk":
	// "127.0.0.1:2181/root"}}. Every emulator says which it has.
	Settings map[string]map[string]string
	// Compat says which releases the emulators speak like.
	Compat Compat
	// Providers adds block services by name, or puts them in the place of the directories of that name: URLs of real ones
	// (hdfs://HOST:PORT/ROOT), which emulators of stores with block services of their own open.
	Providers map[string]string
	// Ready is called once, when the control socket answers and the clusters of Open do.
	Ready func(Serving)
	// Log takes what goes wrong in the background; nil drops it.
	Log func(format string, args ...any)
}

// Serving says where a sandbox can be reached.
type Serving struct {
	Control string
	Open    []Opened // in the order of ServeConfig.Open
	// Providers are the block services by name: directories, or URLs.
	Providers map[string]string
}

// Opened is an open cluster.
type Opened struct {
	Cluster
	Address string
}

// Serve serves sandbox clusters until the context ends or a client asks it to shut down.
func Serve(ctx context.Context, config ServeConfig) error {
	s, err := newServer(ctx, config)
	if err != nil {
		return err
	}
	serving := Serving{Control: s.control, Providers: s.providers}
	for _, name := range config.Open {
		opened, err := s.open(s.ctx, name)
		if err != nil {
			return errors.Join(err, s.close())
		}
		serving.Open = append(serving.Open, opened)
	}
	if config.Ready != nil {
		config.Ready(serving)
	}
	<-s.ctx.Done()
	return s.close()
}

// server is one running Serve.
type server struct {
	config   ServeConfig
	dir      string
	tidy     func() error // removes the data directory, when it was a fresh one
	control  string
	listener net.Listener
	// providers are the block services by name: directories, which are there, or URLs.
	providers map[string]string

	ctx    context.Context // ends when the server shall
	stop   context.CancelFunc
	served sync.WaitGroup // the accept loop and every connection

	mu       sync.Mutex
	clusters map[string]*opening // by Cluster.Name
	order    []string
}

// opening is a cluster that is open, or about to be.
type opening struct {
	done    chan struct{} // closed when the fields below are set
	cluster Opened
	server  ClusterServer
	net     *Network
	err     error
}

func newServer(ctx context.Context, config ServeConfig) (*server, error) {
	if config.Log == nil {
		config.Log = func(string, ...any) {}
	}
	s := &server{config: config, dir: config.DataDir, tidy: func() error { return nil }, clusters: map[string]*opening{}}
	var err error
	if s.dir == "" {
		s.dir, s.tidy, err = freshDir()
	} else {
		err = os.MkdirAll(s.dir, 0o700)
	}
	if err == nil {
		s.providers, err = makeProviders(s.dir)
	}
	if err == nil {
		maps.Copy(s.providers, config.Providers)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the sandbox's directory: %w", err), s.tidy())
	}
	if s.control = config.Control; s.control == "" {
		s.control = filepath.Join(s.dir, "control.sock")
	}
	if s.listener, err = listenControl(s.control); err != nil {
		return nil, errors.Join(err, s.tidy())
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	s.served.Go(s.accept)
	return s, nil
}

// makeProviders makes the directories of the block services.
func makeProviders(dir string) (map[string]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, name := range Providers() {
		all[name] = filepath.Join(dir, "block_services", name)
		if err := os.MkdirAll(all[name], 0o700); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxSocketPath is what the shortest sun_path among the systems holds (104 on the BSDs), with its final zero.
const maxSocketPath = 103

func listenControl(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, spec.Errorf(spec.Usage, "the path of the control socket %s is longer than %d bytes", path, maxSocketPath)
	}
	// A socket somebody listens on is theirs; one that nobody does was left by a killed sandbox.
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(spec.Errorf(spec.Refused, "a sandbox is already served on %s", path), conn.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, spec.Errorf(spec.Usage, "%s exists and is not a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.served.Go(func() { s.converse(conn) })
	}
}

// converse answers one connection until it closes, or the server does.
func (s *server) converse(conn net.Conn) {
	defer context.AfterFunc(s.ctx, func() { conn.SetReadDeadline(time.Now()) })()
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for s.ctx.Err() == nil {
		var req request
		if err := readLine(reader, &req); err != nil {
			if !errors.Is(err, io.EOF) && s.ctx.Err() == nil {
				_ = writeLine(conn, answer{Error: toWire(spec.Errorf(spec.Usage, "control request: %w", err))})
			}
			return
		}
		ans, err := s.answer(req)
		ans.Error = toWire(err)
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if err := writeLine(conn, ans); err != nil {
			return
		}
		if req.Op == opShutdown {
			s.stop()
		}
	}
}

func (s *server) answer(req request) (answer, error) {
	switch req.Op {
	case opPing:
		return answer{PID: os.Getpid()}, nil
	case opShutdown:
		return answer{}, nil
	case opList:
		return answer{Nodes: s.nodes()}, nil
	case opProvide:
		return answer{Providers: s.providers}, nil
	case opOpen:
		opened, err := s.open(s.ctx, req.Name)
		return answer{Address: opened.Address}, err
	case opKill:
		return s.steer(req.Name, ClusterServer.Kill)
	case opStart:
		return s.steer(req.Name, ClusterServer.Start)
	}
	return s.fault(req)
}

// steer does something to the node a person means.
func (s *server) steer(name string, do func(ClusterServer, context.Context, string) error) (answer, error) {
	node, err := MatchNode(s.nodes(), name)
	if err != nil {
		return answer{}, err
	}
	s.mu.Lock()
	o := s.clusters[node.Cluster]
	s.mu.Unlock()
	if err := do(o.server, s.ctx, node.Endpoint); err != nil {
		return answer{}, err
	}
	after, err := MatchNode(o.server.Nodes(), node.Endpoint)
	return answer{Nodes: []NodeStatus{after}}, err
}

// nodes lists the nodes of the open clusters, in the order they were opened.
func (s *server) nodes() []NodeStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []NodeStatus
	for _, name := range s.order {
		o := s.clusters[name]
		select {
		case <-o.done:
		default:
			continue
		}
		if o.err == nil {
			all = append(all, o.server.Nodes()...)
		}
	}
	return all
}

// open starts a cluster unless it is open, and waits until it is. A cluster that could not start is tried again by
// the next who asks.
func (s *server) open(ctx context.Context, name string) (Opened, error) {
	kind, cluster, place, ok := find(s.config.Kinds, name)
	if !ok {
		var names []string
		for _, c := range Clusters(s.config.Kinds) {
			names = append(names, c.Name)
		}
		return Opened{}, spec.Errorf(spec.NotFound, "there is no sandbox cluster %q", name).
			WithHint("clusters: %s", strings.Join(names, ", "))
	}
	s.mu.Lock()
	o, found := s.clusters[cluster.Name]
	if !found {
		o = &opening{done: make(chan struct{})}
		s.clusters[cluster.Name] = o
		s.order = append(s.order, cluster.Name)
	}
	s.mu.Unlock()
	if found {
		select {
		case <-o.done:
			return o.cluster, o.err
		case <-ctx.Done():
			return Opened{}, ctx.Err()
		}
	}
	o.cluster.Cluster = cluster
	if o.server, o.net, o.err = s.start(ctx, kind, cluster, place); o.err != nil {
		o.err = fmt.Errorf("start sandbox cluster %s: %w", cluster.Name, o.err)
		s.forget(cluster.Name)
	} else {
		o.cluster.Address = o.server.Address()
	}
	close(o.done)
	return o.cluster, o.err
}

func (s *server) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, name)
	for i, n := range s.order {
		if n == name {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			return
		}
	}
}

// start starts a cluster on the first network whose ports nobody else uses.
func (s *server) start(ctx context.Context, kind Kind, cluster Cluster, place int) (ClusterServer, *Network, error) {
	dir := filepath.Join(s.dir, cluster.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	forced, err := shift(s.config.Net, place)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := s.nodeProcesses(kind, cluster)
	if err != nil {
		return nil, nil, err
	}
	for first := 1; ; {
		network, err := TakeNetwork(first, forced)
		if err != nil {
			return nil, nil, err
		}
		server, err := kind.New(ctx, Config{
			Name: cluster.Name, Dir: dir, Net: network, Log: s.config.Log, Settings: s.config.Settings[kind.System],
			Compat: s.config.Compat[kind.System], Nodes: nodes, Peer: s.peer, Providers: s.providers,
		})
		if err == nil {
			return server, network, nil
		}
		err = errors.Join(err, network.Close())
		if first = network.number() + 1; forced != "" || first == 1 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// peer finds an open cluster for another one.
func (s *server) peer(name string) (address string, known bool) {
	_, cluster, _, known := find(s.config.Kinds, name)
	if !known || cluster.Name != name {
		return "", false
	}
	s.mu.Lock()
	o := s.clusters[name]
	s.mu.Unlock()
	if o == nil {
		return "", true
	}
	select {
	case <-o.done:
		return o.cluster.Address, true
	default:
		return "", true
	}
}

// nodeProcesses is what starts the processes of a cluster's nodes, nil when they are in this one.
func (s *server) nodeProcesses(kind Kind, cluster Cluster) (*NodeProcesses, error) {
	if !s.config.ProcessPerNode {
		return nil, nil
	}
	if kind.RunNode == nil {
		s.config.Log("%s: a sandbox of %s keeps all its nodes in one process", cluster.Name, kind.System)
		return nil, nil
	}
	program := s.config.Executable
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return &NodeProcesses{Executable: program, System: kind.System}, nil
}

// close stops everything and waits for it.
func (s *server) close() error {
	s.stop()
	errs := []error{s.listener.Close()}
	s.served.Wait()
	for i := len(s.order) - 1; i >= 0; i-- {
		o := s.clusters[s.order[i]]
		errs = append(errs, o.server.Close(), o.net.Close())
	}
	return errors.Join(append(errs, s.tidy())...)
}
