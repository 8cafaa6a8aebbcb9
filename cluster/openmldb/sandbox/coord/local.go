package coord

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/sandbox/engine"
	"shardsh/cluster/sandbox/fault"
)

// Local is a tree in this process. Its persistent nodes, their versions and the numbers of sequential nodes survive the
// process; sessions do not, and what is ephemeral goes with them.
type Local struct {
	root    string
	timeout time.Duration
	store   *engine.Store

	mu       sync.Mutex
	nodes    map[string]*node // "/" is always among them
	watchers map[string]map[chan struct{}]struct{}
	sessions map[*session]struct{} // whose ephemeral nodes are there
	closed   bool
}

type node struct {
	data     []byte
	version  int32
	made     int64 // sequential nodes made below it
	owner    *session
	children map[string]struct{}
}

// OpenLocal opens the tree that is kept in dir. A session that nobody hears of ends after timeout.
func OpenLocal(dir, root string, timeout time.Duration, log func(format string, args ...any)) (*Local, error) {
	store, err := engine.Open(dir, engine.Options{MemTable: 1 << 20, Cache: 1 << 20, Log: log})
	if err != nil {
		return nil, err
	}
	l := &Local{
		root: root, timeout: timeout, store: store, nodes: map[string]*node{"/": newNode()},
		watchers: map[string]map[chan struct{}]struct{}{}, sessions: map[*session]struct{}{},
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the coordination tree in %s: %w", dir, err), store.Close())
	}
	return l, nil
}

func newNode() *node { return &node{children: map[string]struct{}{}} }

// A node in the store: its path, and version (4 bytes), made (8) and data.
const nodeHead = 12

func (n *node) record() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(n.version))
	b = binary.BigEndian.AppendUint64(b, uint64(n.made))
	return append(b, n.data...)
}

func (l *Local) load() error {
	iter, err := l.store.Iterate([]byte("/"), []byte("0"))
	if err != nil {
		return err
	}
	for ok := iter.First(); ok && err == nil; ok = iter.Next() {
		at, b := string(iter.Key()), iter.Value()
		if len(b) < nodeHead {
			err = fmt.Errorf("the record of %s has %d bytes", at, len(b))
			break
		}
		n := newNode()
		n.version, n.made = int32(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint64(b[4:]))
		n.data = slices.Clone(b[nodeHead:])
		l.nodes[at] = n
	}
	for at := range l.nodes {
		if parent := l.nodes[path.Dir(at)]; at != "/" && parent != nil {
			parent.children[path.Base(at)] = struct{}{}
		}
	}
	return errors.Join(err, iter.Error(), iter.Close())
}

// Close ends every session and the tree.
func (l *Local) Close() error {
	l.mu.Lock()
	l.closed = true
	sessions := slices.Collect(maps.Keys(l.sessions))
	l.mu.Unlock()
	for _, s := range sessions {
		_ = s.Close()
	}
	return l.store.Close()
}

// Client is the tree as one process reaches it. While its gate is shut its sessions do nothing; Silent has them expire.
type Client struct {
	tree *Local
	gate *fault.Gate
}

var _ Tree = (*Client)(nil)

// Client makes one; a nil gate is open.
func (l *Local) Client(gate *fault.Gate) *Client {
	return &Client{tree: l, gate: cmp.Or(gate, &fault.Gate{})}
}

// Root is the path that everything of the cluster is below.
func (c *Client) Root() string { return c.tree.root }

// Open opens a session.
func (c *Client) Open(ctx context.Context) (Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &session{client: c, expired: make(chan struct{}), dead: make(chan struct{})}
	c.tree.mu.Lock()
	defer c.tree.mu.Unlock()
	if c.tree.closed {
		return nil, ErrExpired
	}
	c.tree.sessions[s] = struct{}{}
	return s, nil
}

// Silent says whether the process is silent: its sessions expire when it is for longer than the session timeout.
func (c *Client) Silent(silent bool) {
	c.tree.mu.Lock()
	defer c.tree.mu.Unlock()
	for s := range c.tree.sessions {
		if s.client == c && !s.abandoned {
			s.due(silent)
		}
	}
}

// session is a Session of a Local. Its fields are under the tree's lock.
type session struct {
	client    *Client
	expired   chan struct{} // closed when it is over for its owner
	dead      chan struct{} // closed when its owner is
	over      bool
	abandoned bool
	timer     *time.Timer // runs while nobody hears of it
}

// due starts the session's timeout, or stops it.
func (s *session) due(starts bool) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if starts {
		l := s.client.tree
		var timer *time.Timer
		timer = time.AfterFunc(l.timeout, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if s.timer == timer {
				l.end(s)
			}
		})
		s.timer = timer
	}
}

// end ends a session and its ephemeral nodes; l.mu is held.
func (l *Local) end(s *session) {
	if _, lives := l.sessions[s]; !lives {
		return
	}
	s.due(false)
	delete(l.sessions, s)
	if !s.over {
		s.over = true
		close(s.expired)
	}
	for at, n := range l.nodes {
		if n.owner == s {
			l.remove(at)
		}
	}
}

// Expired is closed when the session is over.
func (s *session) Expired() <-chan struct{} { return s.expired }

// Close ends the session and its ephemeral nodes.
func (s *session) Close() error {
	s.leave()
	s.client.tree.mu.Lock()
	defer s.client.tree.mu.Unlock()
	s.client.tree.end(s)
	return nil
}

// Abandon ends the session for its owner only.
func (s *session) Abandon() {
	s.leave()
	s.client.tree.mu.Lock()
	defer s.client.tree.mu.Unlock()
	if _, lives := s.client.tree.sessions[s]; lives && !s.abandoned {
		s.abandoned = true
		s.due(true)
	}
}

// leave makes every operation fail from now on, those that wait at the gate too.
func (s *session) leave() {
	s.client.tree.mu.Lock()
	defer s.client.tree.mu.Unlock()
	if !s.over {
		s.over = true
		close(s.expired)
	}
	select {
	case <-s.dead:
	default:
		close(s.dead)
	}
}

// within runs what needs the tree, once the gate is open and while the session lasts.
func (s *session) within(what func(l *Local) error) error {
	if !s.client.gate.Pass(s.dead) {
		return ErrExpired
	}
	l := s.client.tree
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.over {
		return ErrExpired
	}
	return what(l)
}

// Create makes a node.
func (s *session) Create(at string, data []byte, mode Mode) (string, error) {
	err := s.within(func(l *Local) (err error) {
		at, err = l.create(s, at, data, mode)
		return err
	})
	return at, err
}

// Get answers the data of a node and its version.
func (s *session) Get(at string) (data []byte, version int32, err error) {
	err = s.within(func(l *Local) error {
		n := l.nodes[at]
		if n == nil {
			return ErrNoNode
		}
		data, version = slices.Clone(n.data), n.version
		return nil
	})
	return data, version, err
}

// Set changes the data of a node.
func (s *session) Set(at string, data []byte, version int32) error {
	return s.within(func(l *Local) error {
		n := l.nodes[at]
		switch {
		case n == nil:
			return ErrNoNode
		case version != AnyVersion && version != n.version:
			return ErrVersion
		}
		next := *n
		next.data, next.version = slices.Clone(data), n.version+1
		if err := l.save(map[string]*node{at: &next}); err != nil {
			return err
		}
		*n = next
		l.signal(at)
		return nil
	})
}

// Delete deletes a node.
func (s *session) Delete(at string, version int32) error {
	return s.within(func(l *Local) error {
		n := l.nodes[at]
		switch {
		case n == nil || at == "/":
			return ErrNoNode
		case version != AnyVersion && version != n.version:
			return ErrVersion
		case len(n.children) > 0:
			return ErrNotEmpty
		}
		if n.owner == nil {
			b := l.store.NewBatch()
			if err := b.Delete([]byte(at), nil); err != nil {
				return errors.Join(err, b.Close())
			}
			if err := l.store.Apply(b); err != nil {
				return err
			}
		}
		l.remove(at)
		return nil
	})
}

// Children answers the names of a node's children.
func (s *session) Children(at string) (names []string, err error) {
	err = s.within(func(l *Local) error {
		n := l.nodes[at]
		if n == nil {
			return ErrNoNode
		}
		names = slices.Sorted(maps.Keys(n.children))
		return nil
	})
	return names, err
}

// Watch signals changes of a node and of its list of children.
func (s *session) Watch(ctx context.Context, at string) <-chan struct{} {
	l := s.client.tree
	signals := make(chan struct{}, 1)
	signals <- struct{}{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers[at] == nil {
		l.watchers[at] = map[chan struct{}]struct{}{}
	}
	l.watchers[at][signals] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.watchers[at], signals); len(l.watchers[at]) == 0 {
			delete(l.watchers, at)
		}
	})
	return signals
}

func (l *Local) create(s *session, at string, data []byte, mode Mode) (string, error) {
	if at == "/" || !strings.HasPrefix(at, "/") || path.Clean(at) != at {
		return "", fmt.Errorf("%q is no path of a node", at)
	}
	changed := map[string]*node{} // persistent ones
	made := []string{}            // in order, parents first
	parents := []string{}
	for p := path.Dir(at); l.nodes[p] == nil; p = path.Dir(p) {
		parents = append(parents, p)
	}
	for _, p := range slices.Backward(parents) {
		changed[p] = newNode()
		made = append(made, p)
	}
	above := path.Dir(at)
	parent := cmp.Or(changed[above], l.nodes[above])
	if parent.owner != nil {
		return "", errors.New("an ephemeral node has no children")
	}
	n := newNode()
	n.data = slices.Clone(data)
	if mode == EphemeralSequential {
		at += fmt.Sprintf("%010d", parent.made)
		counted := *parent
		counted.made++
		changed[above] = &counted
	}
	if l.nodes[at] != nil {
		return "", ErrExists
	}
	if made = append(made, at); mode == Persistent {
		changed[at] = n
	} else {
		n.owner = s
	}
	if err := l.save(changed); err != nil {
		return "", err
	}
	maps.Copy(l.nodes, changed)
	l.nodes[at] = n
	for _, at := range made {
		up := path.Dir(at)
		l.nodes[up].children[path.Base(at)] = struct{}{}
		l.signal(at)
		l.signal(up)
	}
	return at, nil
}

// save writes persistent nodes at once; ephemeral ones among them are left out.
func (l *Local) save(nodes map[string]*node) error {
	b := l.store.NewBatch()
	for at, n := range nodes {
		if n.owner != nil {
			continue
		}
		if err := b.Set([]byte(at), n.record(), nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return l.store.Apply(b)
}

// remove takes a node out of the tree.
func (l *Local) remove(at string) {
	delete(l.nodes, at)
	up := path.Dir(at)
	delete(l.nodes[up].children, path.Base(at))
	l.signal(at)
	l.signal(up)
}

func (l *Local) signal(at string) {
	for signals := range l.watchers[at] {
		select {
		case signals <- struct{}{}:
		default:
		}
	}
}
