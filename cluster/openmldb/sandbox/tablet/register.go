package tablet

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/openmldb/sandbox/coord"
)

// member is the tablet's place in the cluster: a session, and the node <root>/nodes/<endpoint> that lives as long.
type member struct {
	catalog atomic.Uint64 // what <root>/table/notify was seen at

	mu      sync.Mutex
	session coord.Session // nil when there is none
	leave   context.CancelFunc
	over    bool // the tablet ends
}

const startupMark = "startup_" // of a node made by a process that has just started (OpenMLDB: zk_client)

// keepAlive is how often a lost session is looked after (zk_keep_alive_check_interval).
const keepAlive = 15 * time.Second

func (t *Tablet) nodePath() string { return t.c.Tree.Root() + "/nodes/" + t.c.Endpoint }

// register makes the node at a start, as soon as that of an earlier life is gone.
func (t *Tablet) register(ctx context.Context) error {
	for {
		s, err := t.c.Tree.Open(ctx)
		if err != nil {
			return err
		}
		if err = t.firstNode(ctx, s); err == nil {
			return t.joined(s)
		}
		if e := s.Close(); !errors.Is(err, coord.ErrExpired) {
			return errors.Join(err, e)
		}
	}
}

func (t *Tablet) firstNode(ctx context.Context, s coord.Session) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := s.Watch(watching, t.nodePath())
	for {
		_, err := s.Create(t.nodePath(), []byte(startupMark+t.c.Endpoint), coord.Ephemeral)
		if err == nil {
			break
		}
		if !errors.Is(err, coord.ErrExists) {
			return err
		}
		select {
		case <-changed:
		case <-s.Expired():
			return coord.ErrExpired
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
	for _, notify := range []string{t.notifyPath(), t.c.Tree.Root() + "/notify/global_variable"} {
		if _, err := s.Create(notify, []byte("1"), coord.Persistent); err != nil && !errors.Is(err, coord.ErrExists) {
			return err
		}
	}
	return nil
}

// rejoin makes the node again after the session was lost. It fails while the node of the lost session is there.
func (t *Tablet) rejoin(ctx context.Context) error {
	if err := t.member.close(); err != nil {
		t.c.Log("tablet %s leaves its session: %v", t.c.Endpoint, err)
	}
	s, err := t.c.Tree.Open(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Create(t.nodePath(), []byte(t.c.Endpoint), coord.Ephemeral); err != nil {
		return errors.Join(err, s.Close())
	}
	return t.joined(s)
}

// joined takes over a session that has the node.
func (t *Tablet) joined(s coord.Session) error {
	m := &t.member
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || m.session != nil {
		return errors.Join(coord.ErrExpired, s.Close())
	}
	ctx, leave := context.WithCancel(t.ctx)
	m.session, m.leave = s, leave
	t.wg.Go(func() { t.followCatalog(ctx, s) })
	return nil
}

// close ends the session and its node; one that has expired is over already.
func (m *member) close() error {
	if s := m.drop(false); s != nil {
		if err := s.Close(); !errors.Is(err, coord.ErrExpired) {
			return err
		}
	}
	return nil
}

// abandon ends the session as a death would.
func (m *member) abandon() {
	if s := m.drop(true); s != nil {
		s.Abandon()
	}
}

func (m *member) drop(forGood bool) coord.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = m.over || forGood
	s := m.session
	if s != nil {
		m.leave()
	}
	m.session = nil
	return s
}

// current is the session, nil when there is none.
func (m *member) current() coord.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session
}

// alive says whether there is a session that has not expired.
func (m *member) alive() bool {
	s := m.current()
	if s == nil {
		return false
	}
	select {
	case <-s.Expired():
		return false
	default:
		return true
	}
}

// keepRegistered joins again when the session was lost.
func (t *Tablet) keepRegistered() {
	for t.sleep(t.ctx, keepAlive) {
		if t.member.alive() {
			continue
		}
		if err := t.rejoin(t.ctx); err != nil && t.ctx.Err() == nil {
			t.c.Log("tablet %s joins again: %v", t.c.Endpoint, err)
		}
	}
}

func (t *Tablet) notifyPath() string { return t.c.Tree.Root() + "/table/notify" }

// followCatalog keeps the catalogue's version, which is the number of the last change of a table.
func (t *Tablet) followCatalog(ctx context.Context, s coord.Session) {
	changed := s.Watch(ctx, t.notifyPath())
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if ctx.Err() != nil || !t.pass() {
			return
		}
		data, _, err := s.Get(t.notifyPath())
		if err != nil {
			continue
		}
		if version, err := strconv.ParseUint(string(data), 10, 64); err == nil {
			t.member.catalog.Store(version)
		}
	}
}
