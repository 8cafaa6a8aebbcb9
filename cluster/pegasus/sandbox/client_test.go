package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// The tests' client: one call at a time, a connection per server, the configuration asked for when something fails.

// client talks to one server.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	seq  int32
}

func dial(address string) (*client, error) {
	conn, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReader(conn)}, nil
}

// rejection is a header error.
type rejection string

func (r rejection) Error() string { return string(r) }

// call carries the hash of a scan of the whole partition.
func call[Q, A any](c *client, rpc *wire.RPC[Q, A], pid wire.GPID, args Q) (A, error) {
	return callRow(c, rpc, pid, uint64(pid.Partition), args)
}

// callRow carries the hash of a hash key.
func callRow[Q, A any](c *client, rpc *wire.RPC[Q, A], pid wire.GPID, hash uint64, args Q) (A, error) {
	var result A
	c.seq++
	c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	frame := rpc.AppendRequest(nil, wire.Header{GPID: pid, TimeoutMillis: 5000, ThreadHash: pid.ThreadHash(), PartitionHash: hash}, c.seq, &args)
	if _, err := c.conn.Write(frame); err != nil {
		return result, err
	}
	if rpc.OneWay {
		return result, nil
	}
	reply, err := wire.ReadReply(c.r)
	switch {
	case err != nil:
		return result, err
	case reply.Seq != c.seq || reply.Name != rpc.Name+"_ACK":
		return result, fmt.Errorf("answer to %d is %s %d", c.seq, reply.Name, reply.Seq)
	case !reply.OK():
		return result, rejection(reply.Code)
	}
	return result, rpc.DecodeResult(reply.Body, &result)
}

// user talks to a whole cluster.
type user struct {
	t     *testing.T
	c     *cluster
	metas string // addresses
	conns map[string]*client
}

func newUser(t *testing.T, c *cluster) *user {
	u := &user{t: t, c: c, metas: c.Address(), conns: map[string]*client{}}
	t.Cleanup(u.close)
	return u
}

func (u *user) close() {
	for _, c := range u.conns {
		c.conn.Close()
	}
}

func (u *user) on(address string) (*client, error) {
	if c := u.conns[address]; c != nil {
		return c, nil
	}
	c, err := dial(address)
	if err == nil {
		u.conns[address] = c
	}
	return c, err
}

// try calls a server; its connection is given up when it broke.
func try[Q, A any](u *user, address string, rpc *wire.RPC[Q, A], pid wire.GPID, args Q) (A, error) {
	return tryRow(u, address, rpc, pid, uint64(pid.Partition), args)
}

func tryRow[Q, A any](u *user, address string, rpc *wire.RPC[Q, A], pid wire.GPID, hash uint64, args Q) (A, error) {
	var none A
	c, err := u.on(address)
	if err != nil {
		return none, err
	}
	result, err := callRow(c, rpc, pid, hash, args)
	var rejected rejection
	if err != nil && !errors.As(err, &rejected) {
		c.conn.Close()
		delete(u.conns, address)
	}
	return result, err
}

func ask[Q, A any](u *user, rpc *wire.RPC[Q, A], args Q) A {
	u.t.Helper()
	var result A
	var err error
	u.eventually(rpc.Name+" is answered by a leading meta server", func() bool {
		for _, address := range strings.Split(u.metas, ",") {
			if g := u.c.gate(address); g != nil && g.paused() {
				continue // it would be waited for
			}
			result, err = try(u, address, rpc, wire.GPID{}, args)
			if f := reflect.ValueOf(result).FieldByName("Err"); err == nil && f.String() != wire.CodeForward {
				return true
			}
		}
		return false
	})
	return result
}

func (u *user) config(table string) wire.QueryConfigResponse {
	u.t.Helper()
	return ask(u, &wire.QueryConfig, wire.QueryConfigRequest{AppName: table, Indices: []int32{}})
}

// at sends a call to the primary of a hash key's partition.
func at[Q, A any](u *user, table string, hash []byte, rpc *wire.RPC[Q, A], args Q) (A, error) {
	u.t.Helper()
	config := u.config(table)
	if config.Err != wire.OK {
		u.t.Fatalf("query config of %s: %s", table, config.Err)
	}
	p := config.Configs[wire.PartitionOf(wire.Hash(hash, nil), int(config.Partitions))]
	if p.Ballot < 0 { // its rows are with its parent
		p = config.Configs[p.PID.Partition-config.Partitions/2]
	}
	return tryRow(u, p.Primary.String(), rpc, p.PID, wire.Hash(hash, nil), args)
}

func key(hash, sort string) []byte {
	k, err := wire.EncodeKey([]byte(hash), []byte(sort))
	if err != nil {
		panic(err)
	}
	return k
}

func (u *user) put(table, hash, sort, value string, expire int32) error {
	u.t.Helper()
	a, err := at(u, table, []byte(hash), &wire.Put, wire.PutRequest{Key: key(hash, sort), Value: []byte(value), ExpireTS: expire})
	if err == nil && a.Error != 0 {
		err = fmt.Errorf("status %d", a.Error)
	}
	return err
}

// get answers "" and the status for a row that is not there.
func (u *user) get(table, hash, sort string) (string, int32) {
	u.t.Helper()
	var a wire.GetResponse
	var err error
	u.eventually("the primary of "+hash+" is the one the meta server names", func() bool {
		a, err = at(u, table, []byte(hash), &wire.Get, key(hash, sort))
		return err == nil || !strings.Contains(err.Error(), wire.CodeInvalidState) // its group is changing
	})
	if err != nil {
		u.t.Fatalf("get %s %s: %v", hash, sort, err)
	}
	return string(a.Value), a.Error
}

// healthy waits until every partition of a table has all its replicas.
func (u *user) healthy(table string) wire.QueryConfigResponse {
	u.t.Helper()
	var config wire.QueryConfigResponse
	u.eventually("partitions of "+table+" are complete", func() bool {
		config = u.config(table)
		for _, p := range config.Configs {
			if !p.Primary.Valid() || 1+len(p.Secondaries) < int(p.MaxReplicas) {
				return false
			}
		}
		return config.Err == wire.OK
	})
	return config
}

func (u *user) eventually(what string, holds func() bool) {
	u.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("never came true: %s", what)
		}
	}
}

// run starts a cluster of that name in dir; "" is a fresh one.
func run(t *testing.T, name, dir string) *cluster {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	return runAs(t, sandbox.Config{Name: name, Dir: dir})
}

// perNode has the servers of a cluster run in processes of their own.
func perNode(t testing.TB) *sandbox.NodeProcesses {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &sandbox.NodeProcesses{Executable: program, System: system}
}

// modes runs a test on a onebox in this process, and on one whose servers have processes of their own.
func modes(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Parallel()
	for name, nodes := range map[string]*sandbox.NodeProcesses{"one process": nil, "per node": perNode(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, runAs(t, sandbox.Config{Name: "onebox", Dir: t.TempDir(), Nodes: nodes}))
		})
	}
}

// local is a replica server of a cluster in this process, and localLeader its leading meta server.
func (c *cluster) local(id nodeID) *replicaServer { return c.nodes[id].(*replicaServer) }
func (c *cluster) localLeader() *metaServer       { return c.leader().(*metaServer) }

func runAs(t *testing.T, config sandbox.Config) *cluster {
	t.Helper()
	config.Log = func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		t.Log(text)
		if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") { // in a server's own process
			t.Error("a server has a fault")
		}
	}
	c, network := runOn(t, config)
	t.Cleanup(func() {
		if t.Failed() {
			explain(t, c)
		}
		if err := errors.Join(c.Close(), network.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// explain logs where a cluster got to: its groups as both sides have them, and what servers in processes of their own are
// doing, which it ends.
func explain(t *testing.T, c *cluster) {
	boss := c.leader()
	if boss == nil {
		t.Log("no meta server leads")
		return
	}
	for _, g := range boss.usedGroups() {
		t.Logf("%+v", g)
		for id, n := range c.servers() {
			if n != nil && g.has(nodeID(id)) {
				has, err := n.report(g.PID)
				t.Logf("	on node %d: %+v, %v", id, has, err)
			}
		}
	}
	for _, f := range c.fars() {
		p, err := os.FindProcess(f.pid())
		if err == nil && p.Signal(syscall.SIGQUIT) == nil { // the runtime prints its goroutines
			<-f.process.Dead()
		}
	}
}

// runOn starts a cluster on the first network nobody else uses, whatever that one's idea of locks is.
func runOn(t testing.TB, config sandbox.Config) (*cluster, *sandbox.Network) {
	t.Helper()
	for first := 1; ; first++ {
		network, err := sandbox.TakeNetwork(first, "")
		if err != nil {
			t.Fatal(err)
		}
		config.Net = network
		c, err := startCluster(t.Context(), config, replicaServers, openFlat)
		if err == nil {
			return c, network
		}
		if err = errors.Join(err, network.Close()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// create makes a table and waits until it is complete.
func (u *user) create(table string, partitions int32, envs map[string]string) int32 {
	u.t.Helper()
	a := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: table, Options: wire.CreateAppOptions{
		Partitions: partitions, Replicas: 3, AppType: appType, Stateful: true, Envs: envs,
	}})
	if a.Err != wire.OK {
		u.t.Fatalf("create %s: %s", table, a.Err)
	}
	u.healthy(table)
	return a.AppID
}
