//go:build integration

package openmldb

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// realKeeper is the ZooKeeper that the run has started, and a place of one's own in it.
type realKeeper struct {
	t      *testing.T
	server string
	root   string
	acl    []zk.ACL
	conn   *zk.Conn
}

func newRealKeeper(t *testing.T, acl []zk.ACL) *realKeeper {
	t.Helper()
	server := os.Getenv("SHARDSH_TEST_ZOOKEEPER")
	if server == "" {
		t.Fatal("SHARDSH_TEST_ZOOKEEPER does not say where ZooKeeper is: run .ci/integration")
	}
	k := &realKeeper{t: t, server: server, root: fmt.Sprintf("/%s_%d", t.Name(), time.Now().UnixNano()), acl: acl}
	k.conn = k.session(nil)
	return k
}

// session begins a session that may be cut off from the server.
func (k *realKeeper) session(cut *cutter) *zk.Conn {
	k.t.Helper()
	dial := net.DialTimeout
	if cut != nil {
		dial = cut.dial
	}
	conn, events, err := zk.Connect([]string{k.server}, time.Second, zk.WithLogger(silent{}), zk.WithDialer(dial))
	if err != nil {
		k.t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		for range events {
		}
		close(over)
	}()
	k.t.Cleanup(func() {
		if cut != nil {
			cut.mend()
		}
		conn.Close()
		<-over
	})
	return conn
}

// create makes a node below the root, and those above it.
func (k *realKeeper) create(at, data string) {
	k.t.Helper()
	full := k.root + at
	for i := 1; i < len(full); i++ {
		if full[i] == '/' {
			if _, err := k.conn.Create(full[:i], nil, 0, k.acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				k.t.Fatal(full[:i], err)
			}
		}
	}
	if _, err := k.conn.Create(full, []byte(data), 0, k.acl); err != nil {
		k.t.Fatal(full, err)
	}
}

// register stands for a leader as a nameserver does.
func (k *realKeeper) register(conn *zk.Conn, endpoint string) {
	k.t.Helper()
	if _, err := conn.Create(k.root+"/leader/lock_request", []byte(endpoint), zk.FlagEphemeral|zk.FlagSequence, k.acl); err != nil {
		k.t.Fatal(err)
	}
}

func (k *realKeeper) open(settings map[string]string) *Driver {
	return openAt(k.t, cluster.Options{Settings: settings}, schemeZK+k.server+k.root)
}

// cutter loses the connection of a session for good, as the death of its process does.
type cutter struct {
	mu  sync.Mutex
	cut bool
	tcp net.Conn
}

func (c *cutter) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, net.ErrClosed
	}
	var err error
	c.tcp, err = net.DialTimeout(network, address, timeout)
	return c.tcp, err
}

func (c *cutter) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	c.tcp.Close()
}

func (c *cutter) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// leads waits until calls go to a nameserver.
func leads(t *testing.T, d *Driver, s *server) {
	t.Helper()
	eventually(t, "the leader is followed", func() bool {
		before := s.calls("ShowTablet")
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s.calls("ShowTablet") > before
	})
}

// The leader ends its session, then the next one dies: each time the watch tells, and nobody has to be refused.
func TestRealLeaders(t *testing.T) {
	k := newRealKeeper(t, zk.WorldACL(zk.PermAll))
	k.create("/leader", "")
	first, second, third := newBox(t, 1), newBox(t, 1), newBox(t, 1)
	ends := k.session(nil)
	k.register(ends, first.ns.endpoint)
	dies := &cutter{}
	k.register(k.session(dies), second.ns.endpoint)
	k.register(k.conn, third.ns.endpoint)
	d := k.open(nil)
	leads(t, d, first.ns)
	servers, err := d.Nameservers(t.Context())
	want := []Nameserver{{first.ns.endpoint, "", "leader"}, {second.ns.endpoint, "", "standby"}, {third.ns.endpoint, "", "standby"}}
	if diff := cmp.Diff(want, servers); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	ends.Close()
	leads(t, d, second.ns)
	dies.lose()
	leads(t, d, third.ns)
	for _, b := range []*box{first, second, third} {
		if n := b.ns.calls("ConfGet"); n != 0 {
			t.Errorf("%d were asked whether they lead", n)
		}
	}
}

// A refused call looks again, watch or not; names stand for addresses; operations are kept below op/op_data.
func TestRealNodes(t *testing.T) {
	k := newRealKeeper(t, zk.WorldACL(zk.PermAll))
	b := newBox(t, 1)
	k.create("/leader", "")
	k.create("/map/names/ns1", b.ns.endpoint)
	k.create("/map/names/tb1", "127.0.0.1:1")
	k.create("/map/sdkendpoints/tb1", b.tablets[0].endpoint)
	k.create("/op/op_data/60", string(mustMarshal(t, &api.OPInfo{
		OpId: proto.Uint64(60), OpType: api.OPType_kReAddReplicaOP.Enum(), TaskIndex: proto.Uint32(1), ParentId: proto.Uint64(58),
		Data: mustMarshal(t, &ns.RecoverTableData{Endpoint: proto.String("tb1")}),
	})))
	k.register(k.conn, "ns1")
	d := k.open(nil)
	info, err := d.Info(t.Context())
	if err != nil || info.Leader != "ns1" || info.Name != path.Base(k.root) || len(info.Metadata) != 1 {
		t.Errorf("%+v %v", info, err)
	}
	if _, err := d.TabletPartitions(t.Context(), "tb1"); err != nil {
		t.Error(err)
	}
	traces, err := d.TraceOps(t.Context(), 59, 60)
	want := map[uint64]OpTrace{59: {Step: -1, Queue: -1}, 60: {Parent: 58, Endpoint: "tb1", Step: 1, Queue: -1}}
	if diff := cmp.Diff(want, traces); err != nil || diff != "" {
		t.Error(err, diff)
	}
	lost := openAt(t, cluster.Options{}, schemeZK+k.server+k.root+"/elsewhere")
	_, err = lost.Nodes(t.Context())
	wantError(t, err, spec.NotFound, "elsewhere", "zk_root_path")
}

// Nodes that only one user may read.
func TestRealSecret(t *testing.T) {
	k := newRealKeeper(t, zk.DigestACL(zk.PermAll, "ann", "s3cret"))
	if err := k.conn.AddAuth("digest", []byte("ann:s3cret")); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, 1)
	k.create("/leader", "")
	k.register(k.conn, b.ns.endpoint)
	for _, settings := range []map[string]string{nil, {"zk_user": "ann", "zk_password": "wrong"}} {
		_, err := k.open(settings).Nodes(t.Context())
		wantError(t, err, spec.Failed, "denies access", "zk_user", k.server)
	}
	if _, err := k.open(map[string]string{"zk_user": "ann", "zk_password": "s3cret"}).Nodes(t.Context()); err != nil {
		t.Error(err)
	}
}
