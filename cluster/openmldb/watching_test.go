package openmldb

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// tree is a ZooKeeper in memory. Sessions on it are keepers.
type tree struct {
	mu       sync.Mutex
	nodes    map[string]string
	watches  map[string][]chan struct{}
	sessions int
	open     int
	reads    int
	err      error         // what every call answers
	hang     chan struct{} // when not nil, calls wait for it
}

func newTree(nodes map[string]string) *tree {
	return &tree{nodes: nodes, watches: map[string][]chan struct{}{}}
}

type treeSession struct {
	tree   *tree
	closed chan struct{}
	once   sync.Once
	mine   []chan struct{}
}

func (t *tree) session() keeper {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions++
	t.open++
	return &treeSession{tree: t, closed: make(chan struct{})}
}

func (s *treeSession) wait() error {
	s.tree.mu.Lock()
	s.tree.reads++
	hang, err := s.tree.hang, s.tree.err
	s.tree.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-s.closed:
			return errors.New("closing")
		}
	}
	return err
}

func (s *treeSession) children(at string, watch bool) ([]string, <-chan struct{}, error) {
	if err := s.wait(); err != nil {
		return nil, nil, err
	}
	t := s.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.nodes[at]; !ok {
		return nil, nil, errNoNode
	}
	var names []string
	for name := range t.nodes { // unsorted, as ZooKeeper answers them
		if path.Dir(name) == at {
			names = append(names, path.Base(name))
		}
	}
	if !watch {
		return names, nil, nil
	}
	changed := make(chan struct{})
	t.watches[at] = append(t.watches[at], changed)
	s.mine = append(s.mine, changed)
	return names, changed, nil
}

func (s *treeSession) get(at string) ([]byte, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	s.tree.mu.Lock()
	defer s.tree.mu.Unlock()
	data, ok := s.tree.nodes[at]
	if !ok {
		return nil, errNoNode
	}
	return []byte(data), nil
}

func (s *treeSession) server() string { return "keeper:2181" }

func (s *treeSession) close() {
	s.once.Do(func() {
		close(s.closed)
		s.tree.mu.Lock()
		defer s.tree.mu.Unlock()
		s.tree.open--
		for at, list := range s.tree.watches {
			s.tree.watches[at] = slices.DeleteFunc(list, func(c chan struct{}) bool {
				mine := slices.Contains(s.mine, c)
				if mine {
					close(c)
				}
				return mine
			})
		}
	})
}

// set makes or changes a node; "" deletes it. Watches on the parent's children fire.
func (t *tree) set(at, data string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[at] = data; data == "" {
		delete(t.nodes, at)
	}
	parent := path.Dir(at)
	for _, c := range t.watches[parent] {
		close(c)
	}
	delete(t.watches, parent)
}

func (t *tree) counts() (sessions, reads, open int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions, t.reads, t.open
}

// fail makes every call answer an error.
func (t *tree) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *tree) watched(at string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.watches[at])
}

// openTree makes a driver that finds its servers in a tree.
func openTree(t *testing.T, o cluster.Options, z *tree) *Driver {
	t.Helper()
	d := openAt(t, o, "zk://keeper:2181/om")
	d.finder = newWatching(d, "/om", z.session)
	return d
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it never came about", what)
		}
	}
}

// The leader is the first in order. The list is read once, and again when the watch fires.
func TestWatchLeader(t *testing.T) {
	b1, b2 := newBox(t, 1), newBox(t, 1)
	z := newTree(map[string]string{
		"/om/leader": "", "/om/leader/lock_request0000000011": b2.ns.endpoint, "/om/leader/lock_request0000000009": b1.ns.endpoint,
	})
	d := openTree(t, cluster.Options{}, z)
	if sessions, _, _ := z.counts(); sessions != 0 {
		t.Error("opening began a session")
	}
	for range 3 {
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if sessions, reads, _ := z.counts(); sessions != 1 || reads != 5 || z.watched("/om/leader") != 1 {
		t.Errorf("%d sessions, %d reads, %d watches", sessions, reads, z.watched("/om/leader"))
	}
	if n := b2.ns.calls("ConfGet"); n != 0 {
		t.Error("nobody need be asked who leads")
	}
	before := b2.ns.calls("ShowTablet")
	z.set("/om/leader/lock_request0000000009", "")
	eventually(t, "the new leader", func() bool {
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b2.ns.calls("ShowTablet") > before
	})
	eventually(t, "a new watch", func() bool { return z.watched("/om/leader") == 1 })
	info, err := d.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := cluster.Info{
		System: "openmldb", Name: "om", Metadata: []string{b2.ns.endpoint}, Leader: b2.ns.endpoint,
		Settings: []cluster.Setting{{Key: "auto_failover", Value: "true"}},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
	err = d.Close()
	if _, _, open := z.counts(); err != nil || open != 0 {
		t.Errorf("%d sessions are open, %v", open, err)
	}
}

// A leader that says it does not lead is left as soon as ZooKeeper knows of another one, watch or not.
func TestDeposed(t *testing.T) {
	old, b := standby(t), newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": old.endpoint, "/om/leader/2": b.ns.endpoint})
	d := openTree(t, cluster.Options{}, z)
	done := make(chan error, 1)
	go func() { done <- d.SetConf(t.Context(), "auto_failover", "true") }()
	eventually(t, "asked twice", func() bool { return old.calls("ConfSet") > 1 })
	z.set("/om/leader/1", "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if b.ns.calls("ConfSet") != 1 {
		t.Error("it was not done once")
	}
}

// A dead leader keeps its node until its session is over. With others registered a call waits for that; alone it fails
// at once.
func TestDeadLeader(t *testing.T) {
	dead, b := newBox(t, 1), newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": dead.ns.endpoint, "/om/leader/2": b.ns.endpoint})
	dead.ns.stop()
	d := openTree(t, cluster.Options{Timeout: func() time.Duration { return time.Minute }}, z)
	done := make(chan error, 1)
	go func() {
		_, err := d.Nodes(t.Context())
		done <- err
	}()
	eventually(t, "looked again", func() bool {
		_, reads, _ := z.counts()
		return reads > 12
	})
	z.set("/om/leader/1", "")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	alone := openTree(t, cluster.Options{Timeout: func() time.Duration { return time.Minute }}, newTree(map[string]string{
		"/om/leader": "", "/om/leader/1": dead.ns.endpoint,
	}))
	within(t, 20*time.Second, func() {
		_, err := alone.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, dead.ns.endpoint, "refused")
	})
}

// Nobody is registered: a call waits until somebody is, and not for ever.
func TestNobodyRegistered(t *testing.T) {
	b := newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": ""})
	d := openTree(t, cluster.Options{Timeout: func() time.Duration { return time.Minute }}, z)
	done := make(chan error, 1)
	go func() {
		_, err := d.Nodes(t.Context())
		done <- err
	}()
	eventually(t, "a watch", func() bool { return z.watched("/om/leader") == 1 })
	z.set("/om/leader/1", b.ns.endpoint)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d = openTree(t, cluster.Options{Timeout: func() time.Duration { return 200 * time.Millisecond }}, newTree(map[string]string{"/om/leader": ""}))
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, "/om/leader", "keeper:2181")
	d = openTree(t, cluster.Options{}, newTree(map[string]string{}))
	_, err = d.Nodes(t.Context())
	wantError(t, err, spec.NotFound, "/om", "zk_root_path")
}

// Servers with names are dialled at the address for clients, else at their own.
func TestNames(t *testing.T) {
	b := newBox(t, 1)
	z := newTree(map[string]string{
		"/om/leader": "", "/om/leader/1": "ns1", "/om/leader/2": "ns2", "/om/leader/3": "ns1",
		"/om/map/names": "", "/om/map/names/ns1": "127.0.0.1:1", "/om/map/names/tb1": b.tablets[0].endpoint,
		"/om/map/sdkendpoints": "", "/om/map/sdkendpoints/ns1": b.ns.endpoint,
	})
	d := openTree(t, cluster.Options{}, z)
	servers, err := d.Nameservers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Nameserver{{"ns1", "127.0.0.1:1", "leader"}, {"ns2", "", "standby"}}
	if diff := cmp.Diff(want, servers); diff != "" {
		t.Error(diff)
	}
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.TabletPartitions(t.Context(), "tb1"); err != nil {
		t.Fatal(err)
	}
	_, err = d.TabletPartitions(t.Context(), "tb2")
	wantError(t, err, spec.Unavailable, "tb2", "no address is known")
	// It moves: the new address is read when the old one is of no use.
	b.tablets[0].stop()
	eventually(t, "the connection is lost", func() bool {
		_, err := d.TabletPartitions(t.Context(), "tb1")
		return err != nil
	})
	z.set("/om/map/names/tb1", b.tablets[1].endpoint)
	if _, err := d.TabletPartitions(t.Context(), "tb1"); err != nil {
		t.Fatal(err)
	}
	z.set("/om/map/names/tb3", "nonsense\x1b")
	d.finder.depose("")
	_, err = d.TabletPartitions(t.Context(), "tb3")
	wantError(t, err, spec.Failed, "tb3")
	z.set("/om/leader/0", "no\x00server")
	d.finder.depose("")
	_, err = d.Nodes(t.Context())
	wantError(t, err, spec.Failed, "no server's name")
}

// Without ZooKeeper the nameserver tells the addresses of names.
func TestNamesAsked(t *testing.T) {
	b := newBox(t, 1)
	answering(b.ns, "ShowTablet", func(_ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) {
		a.Tablets = []*ns.TabletStatus{{Endpoint: proto.String("tb1"), State: proto.String("kTabletHealthy"), RealEndpoint: &b.tablets[0].endpoint}}
	})
	d := open(t, 10*time.Second, b.ns)
	if _, err := d.TabletPartitions(t.Context(), "tb1"); err != nil {
		t.Fatal(err)
	}
	_, err := d.TabletPartitions(t.Context(), "tb9")
	wantError(t, err, spec.Unavailable, "tb9")
}

func TestKeeperTrouble(t *testing.T) {
	b := newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": b.ns.endpoint})
	var timeout atomic.Int64
	timeout.Store(int64(time.Minute))
	d := openTree(t, cluster.Options{Timeout: func() time.Duration { return time.Duration(timeout.Load()) }}, z)

	// A session that breaks mends itself: it is asked again, and in the end replaced.
	z.fail(errors.New("zk: connection closed"))
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, "keeper:2181", "connection closed")
	eventually(t, "the session is dropped", func() bool { _, _, open := z.counts(); return open == 0 })
	z.fail(errNoAccess)
	_, err = d.Nodes(t.Context())
	wantError(t, err, spec.Failed, "keeper:2181", "denies access", "zk_user")
	z.fail(nil)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}

	// One that hangs costs the timeout.
	z.mu.Lock()
	z.hang = make(chan struct{})
	z.mu.Unlock()
	d.finder.depose("")
	timeout.Store(int64(200 * time.Millisecond))
	within(t, 10*time.Second, func() {
		_, err = d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, "in time", "keeper:2181")
	})
	z.mu.Lock()
	close(z.hang)
	z.hang = nil
	z.mu.Unlock()
	timeout.Store(int64(time.Minute))
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Callers that need the leader at the same time share one look, and one that gives up takes it from nobody.
func TestSharedLook(t *testing.T) {
	b := newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": b.ns.endpoint})
	z.hang = make(chan struct{})
	d := openTree(t, cluster.Options{Timeout: func() time.Duration { return time.Minute }}, z)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := d.Nodes(ctx)
		first <- err
	}()
	eventually(t, "the first look", func() bool { _, reads, _ := z.counts(); return reads == 1 })
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := d.Nodes(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	wantError(t, <-first, spec.Interrupted)
	close(z.hang)
	group.Wait()
	if sessions, reads, _ := z.counts(); reads != 4 || sessions != 1 {
		t.Errorf("%d reads in %d sessions", reads, sessions)
	}
}

func TestTraceOfKeeper(t *testing.T) {
	b := newBox(t, 1)
	z := newTree(map[string]string{"/om/leader": "", "/om/leader/1": b.ns.endpoint})
	var mu sync.Mutex
	var got []string
	d := openTree(t, cluster.Options{Trace: func(_ context.Context, line cluster.Trace) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, strings.Join([]string{line.Peer, line.Method, line.Code}, " | "))
	}}, z)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"keeper:2181 | zookeeper.children /om/leader | 0",
		"keeper:2181 | zookeeper.get /om/leader/1 | 0",
		"keeper:2181 | zookeeper.children /om/map/names | there is no such node in ZooKeeper",
		"keeper:2181 | zookeeper.children /om/map/sdkendpoints | there is no such node in ZooKeeper",
		b.ns.endpoint + " | nameserver.ShowTablet | 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
