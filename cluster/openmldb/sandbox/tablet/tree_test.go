package tablet

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"shardsh/cluster/openmldb/sandbox/coord"
)

// memoryTree is a coord.Tree in memory. Sessions that were abandoned keep their nodes until expire is called, which stands
// for the session timeout.
type memoryTree struct {
	mu       sync.Mutex
	nodes    map[string]*memoryNode
	sessions []*memorySession
	watches  map[chan struct{}]string
	counter  int
}

type memoryNode struct {
	data    []byte
	version int32
	owner   *memorySession
}

type memorySession struct {
	tree      *memoryTree
	over      bool // under the tree's lock
	abandoned bool
	expired   chan struct{}
}

const treeRoot = "/onebox"

func newTree() *memoryTree {
	return &memoryTree{nodes: map[string]*memoryNode{}, watches: map[chan struct{}]string{}}
}

func (t *memoryTree) Root() string { return treeRoot }

func (t *memoryTree) Open(ctx context.Context) (coord.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &memorySession{tree: t, expired: make(chan struct{})}
	t.sessions = append(t.sessions, s)
	return s, nil
}

// expire ends every session that was abandoned; with all, those that live, too.
func (t *memoryTree) expire(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		if s.abandoned || all {
			s.end()
		}
	}
}

// end ends a session and its nodes; the tree's lock is held.
func (s *memorySession) end() {
	if !s.over {
		s.over = true
		close(s.expired)
	}
	for name, n := range s.tree.nodes {
		if n.owner == s {
			delete(s.tree.nodes, name)
			s.tree.signal(name)
		}
	}
}

// signal tells those who watch a node or its parent.
func (t *memoryTree) signal(name string) {
	for ch, watched := range t.watches {
		if watched == name || watched == path.Dir(name) {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}

// value reads a node from outside any session.
func (t *memoryTree) value(name string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.nodes[name]; n != nil {
		return string(n.data), true
	}
	return "", false
}

// put sets a node from outside any session.
func (t *memoryTree) put(name string, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[name] = &memoryNode{data: data}
	t.signal(name)
}

func (s *memorySession) Create(name string, data []byte, mode coord.Mode) (string, error) {
	t := s.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.over {
		return "", coord.ErrExpired
	}
	if mode == coord.EphemeralSequential {
		t.counter++
		name = fmt.Sprintf("%s%010d", name, t.counter)
	}
	if t.nodes[name] != nil {
		return "", coord.ErrExists
	}
	n := &memoryNode{data: slices.Clone(data)}
	if mode != coord.Persistent {
		n.owner = s
	}
	t.nodes[name] = n
	t.signal(name)
	return name, nil
}

func (s *memorySession) Get(name string) ([]byte, int32, error) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	n := s.tree.nodes[name]
	switch {
	case s.over:
		return nil, 0, coord.ErrExpired
	case n == nil:
		return nil, 0, coord.ErrNoNode
	}
	return slices.Clone(n.data), n.version, nil
}

func (s *memorySession) Set(name string, data []byte, version int32) error {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	n := s.tree.nodes[name]
	switch {
	case s.over:
		return coord.ErrExpired
	case n == nil:
		return coord.ErrNoNode
	case version != coord.AnyVersion && version != n.version:
		return coord.ErrVersion
	}
	n.data, n.version = slices.Clone(data), n.version+1
	s.tree.signal(name)
	return nil
}

func (s *memorySession) Delete(name string, version int32) error {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	n := s.tree.nodes[name]
	switch {
	case s.over:
		return coord.ErrExpired
	case n == nil:
		return coord.ErrNoNode
	case version != coord.AnyVersion && version != n.version:
		return coord.ErrVersion
	}
	delete(s.tree.nodes, name)
	s.tree.signal(name)
	return nil
}

func (s *memorySession) Children(name string) ([]string, error) {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if s.over {
		return nil, coord.ErrExpired
	}
	var names []string
	for _, node := range slices.Sorted(maps.Keys(s.tree.nodes)) {
		if child, below := strings.CutPrefix(node, name+"/"); below && !strings.Contains(child, "/") {
			names = append(names, child)
		}
	}
	return names, nil
}

func (s *memorySession) Watch(ctx context.Context, name string) <-chan struct{} {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	s.tree.mu.Lock()
	s.tree.watches[ch] = name
	s.tree.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.tree.mu.Lock()
		defer s.tree.mu.Unlock()
		delete(s.tree.watches, ch)
	})
	return ch
}

func (s *memorySession) Expired() <-chan struct{} { return s.expired }

func (s *memorySession) Close() error {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if s.over {
		return coord.ErrExpired
	}
	s.end()
	return nil
}

func (s *memorySession) Abandon() {
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	if !s.over {
		s.over, s.abandoned = true, true
		close(s.expired)
	}
}
