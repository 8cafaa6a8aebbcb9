package openmldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// watching finds the leader in ZooKeeper: it is the nameserver whose node comes first under <root>/leader. What was read
// holds until a watch on that list fires, or a leader turns out not to be one.
type watching struct {
	driver *Driver
	root   string
	open   func() keeper

	mu      sync.Mutex
	session keeper // nil until it is needed
	seen    *seen  // nil when it is to be read
	reading *reading
	watched bool  // a watch on the list of nameservers has not fired
	change  int64 // grows with everything that makes older readings worthless
	last    []string
	real    map[string]string
	closed  bool
}

// seen is what ZooKeeper says about the servers.
type seen struct {
	servers []string // endpoints of nameservers, the leader first, repetitions included
	// names and clients list the servers that have an address of their own, and one for clients outside the network.
	names, clients map[string]bool
}

type reading struct {
	done chan struct{}
	seen *seen
	err  error
}

func newWatching(d *Driver, root string, open func() keeper) *watching {
	return &watching{driver: d, root: root, open: open, real: map[string]string{}}
}

// use answers the session, beginning one when there is none.
func (w *watching) use() (keeper, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errClosed
	}
	if w.session == nil {
		w.session = w.open()
	}
	return w.session, nil
}

// drop ends a session that is of no use.
func (w *watching) drop(k keeper) {
	w.mu.Lock()
	was := w.session == k
	if was {
		w.session, w.watched = nil, false
		w.forgetLocked()
	}
	w.mu.Unlock()
	if was && !w.driver.pool.Spawn(k.close) {
		k.close()
	}
}

func (w *watching) close() {
	w.mu.Lock()
	w.closed = true
	k := w.session
	w.session = nil
	w.mu.Unlock()
	if k != nil {
		k.close()
	}
}

func (w *watching) forgetLocked() {
	w.seen = nil
	w.change++
}

// fromKeeper asks ZooKeeper. A session whose connection broke mends itself, and is asked again; one that does not answer
// in time is given up.
func fromKeeper[T any](ctx context.Context, w *watching, what, path string, f func(keeper) (T, error)) (T, error) {
	var none T
	for try := 0; ; try++ {
		k, err := w.use()
		if err != nil {
			return none, &spec.Error{Kind: spec.Unavailable, Err: err}
		}
		start := time.Now()
		v, err := boundedBy(ctx, w.driver.pool.Spawn, func() (T, error) { return f(k) })
		server := k.server()
		w.driver.trace(ctx, server, "zookeeper."+what+" "+path, start, err)
		switch {
		case err == nil:
			return v, nil
		case errors.Is(err, errNoNode):
			return none, err
		case errors.Is(err, errNoAccess):
			e := &spec.Error{Kind: spec.Failed, Endpoint: server, Err: fmt.Errorf("%w to %s", err, path)}
			return none, e.WithHint("set zk_user and zk_password_file in the cluster's section of config.ini")
		case errors.Is(err, context.Canceled):
			return none, &spec.Error{Kind: spec.Interrupted, Endpoint: server, Err: err}
		case errors.Is(err, errClosed):
			return none, &spec.Error{Kind: spec.Unavailable, Err: err}
		}
		if ended := ctx.Err() != nil; ended || errors.Is(err, errNoKeepers) || try == 2 {
			w.drop(k)
			if ended {
				err = fmt.Errorf("ZooKeeper did not answer in time: %w", err)
			}
			e := &spec.Error{Kind: spec.Unavailable, Endpoint: server, Err: err}
			return none, e.WithHint("check the addresses of ZooKeeper and that it runs")
		}
	}
}

func (w *watching) get(ctx context.Context, path string) ([]byte, error) {
	return fromKeeper(ctx, w, "get", path, func(k keeper) ([]byte, error) { return k.get(path) })
}

// look answers what ZooKeeper says, reading it when it is not known. Readers share one reading.
func (w *watching) look(ctx context.Context) (*seen, error) {
	for {
		s, r, mine := w.begin(ctx)
		if r == nil {
			return s, nil
		}
		select {
		case <-r.done:
			// One that began before has less time left.
			if !mine && ctx.Err() == nil && errors.Is(r.err, context.DeadlineExceeded) {
				continue
			}
			return r.seen, r.err
		case <-ctx.Done():
			return nil, &spec.Error{
				Kind: spec.KindOf(ctx.Err()), Endpoint: w.servers(), Err: fmt.Errorf("ZooKeeper did not answer in time: %w", ctx.Err()),
			}
		}
	}
}

// begin answers what is known, or the reading under way, which it begins when there is none: then it is the caller's.
func (w *watching) begin(ctx context.Context) (s *seen, r *reading, mine bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.seen != nil:
		return w.seen, nil, false
	case w.reading != nil:
		return nil, w.reading, false
	}
	r = &reading{done: make(chan struct{})}
	// It belongs to the driver: whoever asked first may give up while others wait.
	aside := context.WithoutCancel(ctx)
	if !w.driver.pool.Spawn(func() { w.read(aside, r) }) {
		r.err = &spec.Error{Kind: spec.Unavailable, Err: errClosed}
		close(r.done)
		return nil, r, true
	}
	w.reading = r
	return nil, r, true
}

// servers is the ZooKeeper connected to, or all that were named.
func (w *watching) servers() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.session != nil {
		return w.session.server()
	}
	return strings.Join(w.driver.place.servers, ",")
}

func (w *watching) read(ctx context.Context, r *reading) {
	ctx, cancel := context.WithTimeout(ctx, w.driver.timeout())
	defer cancel()
	defer context.AfterFunc(w.driver.pool.Context(), cancel)()
	for {
		w.mu.Lock()
		change := w.change
		w.mu.Unlock()
		s, err := w.readOnce(ctx)
		w.mu.Lock()
		if err == nil && change != w.change && ctx.Err() == nil {
			w.mu.Unlock()
			continue // it is old already
		}
		if r.seen, r.err = s, err; err == nil {
			w.seen, w.last = s, s.servers
		}
		w.reading = nil
		w.mu.Unlock()
		close(r.done)
		return
	}
}

func (w *watching) readOnce(ctx context.Context) (*seen, error) {
	nodes, err := w.registered(ctx)
	if errors.Is(err, errNoNode) {
		e := spec.Errorf(spec.NotFound, "there is no OpenMLDB at %s in ZooKeeper", w.root)
		return nil, e.WithHint("the root is the servers' zk_root_path")
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(nodes)
	s := &seen{}
	for _, node := range nodes {
		data, err := w.get(ctx, w.root+"/leader/"+node)
		switch endpoint := string(data); {
		case errors.Is(err, errNoNode): // gone in the meantime
		case err != nil:
			return nil, err
		case notServer(endpoint) != "":
			return nil, malformed("", w.servers(), "%s is called %q: %s", w.root+"/leader/"+node, said(endpoint), notServer(endpoint))
		default:
			s.servers = append(s.servers, endpoint)
		}
	}
	if s.names, err = w.listed(ctx, w.root+"/map/names"); err != nil {
		return nil, err
	}
	s.clients, err = w.listed(ctx, w.root+"/map/sdkendpoints")
	return s, err
}

// registered lists the nodes of the nameservers, and sets a watch on the list unless there is one.
func (w *watching) registered(ctx context.Context) ([]string, error) {
	path := w.root + "/leader"
	type list struct {
		names   []string
		changed <-chan struct{}
		session keeper
	}
	w.mu.Lock()
	watch := !w.watched
	w.watched = true
	w.mu.Unlock()
	l, err := fromKeeper(ctx, w, "children", path, func(k keeper) (list, error) {
		names, changed, err := k.children(path, watch)
		return list{names, changed, k}, err
	})
	if !watch {
		return l.names, err
	}
	if err != nil {
		w.fired(nil)
		return nil, err
	}
	w.driver.pool.Spawn(func() {
		select {
		case <-l.changed:
			w.fired(l.session)
		case <-w.driver.pool.Context().Done():
		}
	})
	return l.names, nil
}

// fired says that there is no watch any more; it was one of that session, nil for the present one.
func (w *watching) fired(k keeper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k == nil || k == w.session {
		w.watched = false
		w.forgetLocked()
	}
}

// listed is the set of a node's children, empty where there is no such node.
func (w *watching) listed(ctx context.Context, path string) (map[string]bool, error) {
	names, err := fromKeeper(ctx, w, "children", path, func(k keeper) ([]string, error) {
		names, _, err := k.children(path, false)
		return names, err
	})
	if errors.Is(err, errNoNode) {
		return nil, nil
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set, err
}

func (w *watching) leader(ctx context.Context) (string, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		s, err := w.look(ctx)
		if err != nil {
			return "", err
		}
		if len(s.servers) > 0 {
			return s.servers[0], nil
		}
		if !cluster.Sleep(ctx, pause) {
			e := spec.Errorf(spec.Unavailable, "no nameserver is registered at %s/leader in ZooKeeper", w.root)
			e.Endpoint = w.servers()
			return "", e.WithHint("start the nameservers")
		}
	}
}

func (w *watching) depose(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetLocked()
}

func (w *watching) electing(endpoint string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.last, func(s string) bool { return s != endpoint })
}

// address follows what the SDKs do: the address for clients, else the server's own, else its name is one.
func (w *watching) address(ctx context.Context, endpoint string) (string, error) {
	w.mu.Lock()
	real, known := w.real[endpoint]
	w.mu.Unlock()
	if known {
		return real, nil
	}
	s, err := w.look(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range []struct {
		listed map[string]bool
		path   string
	}{{s.clients, "/map/sdkendpoints/"}, {s.names, "/map/names/"}} {
		if !m.listed[endpoint] {
			continue
		}
		data, err := w.get(ctx, w.root+m.path+endpoint)
		if errors.Is(err, errNoNode) {
			continue
		}
		if err != nil {
			return "", err
		}
		if why := notEndpoint(string(data)); why != "" {
			return "", malformed("", w.servers(), "%s is at %q: %s", endpoint, said(string(data)), why)
		}
		w.mu.Lock()
		if len(w.real) < maxNames {
			w.real[endpoint] = string(data)
		}
		w.mu.Unlock()
		return string(data), nil
	}
	if why := notEndpoint(endpoint); why != "" {
		return "", fmt.Errorf("no address is known of a server called %s: %s", endpoint, why)
	}
	return endpoint, nil
}

func (w *watching) misplaced(endpoint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, mapped := w.real[endpoint]; mapped || notEndpoint(endpoint) != "" {
		delete(w.real, endpoint)
		w.forgetLocked()
	}
}

// remember: ZooKeeper knows better, and knows of clients outside the network.
func (w *watching) remember(string, string) {}

func (w *watching) nameservers(ctx context.Context) ([]Nameserver, error) {
	w.depose("")
	s, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	var all []Nameserver
	for i, endpoint := range s.servers {
		if slices.Contains(s.servers[:i], endpoint) {
			continue // registered twice after it lost its session
		}
		n := Nameserver{Endpoint: endpoint, Role: "standby"}
		if i == 0 {
			n.Role = "leader"
		}
		if s.names[endpoint] {
			data, err := w.get(ctx, w.root+"/map/names/"+endpoint)
			if err != nil && !errors.Is(err, errNoNode) {
				return nil, err
			}
			n.RealEndpoint = said(string(data))
		}
		all = append(all, n)
	}
	return all, nil
}

func (w *watching) node(ctx context.Context, path string) ([]byte, error) {
	return w.get(ctx, w.root+path)
}
