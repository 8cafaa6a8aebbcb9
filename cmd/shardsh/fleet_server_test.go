package main_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// shape is a simulated cluster: how large it is, and how many of its nodes, the first ones, are down.
type shape struct {
	tables, nodes, down int
	seed                uint64
}

// sizes are the partitions of ten tables, again and again: 100 on average.
var sizes = [10]int{8, 16, 32, 64, 64, 64, 128, 128, 240, 256}

const copies = 3

func (s shape) partitions() int {
	n := 0
	for t := range s.tables {
		n += sizes[t%len(sizes)]
	}
	return n
}

// fleet answers, from this process, for the meta server and for every node of a cluster that exists in name only, and
// counts the calls. It holds no rows.
type fleet struct {
	shape
	meta      net.Listener
	nodes     []net.Listener
	addresses []wire.Address
	apps      []wire.AppInfo
	configs   [][]wire.Partition   // by table
	held      [][]wire.ReplicaInfo // by node
	group     sync.WaitGroup

	mu      sync.Mutex
	calls   map[string]int
	sockets map[net.Conn]struct{} // nil once closed
}

// newFleet builds a cluster and serves it until the test is over.
func newFleet(t testing.TB, s shape) *fleet {
	t.Helper()
	f, err := startFleet(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

// startFleet builds a cluster and serves it until close. What it holds is the same for the same shape, but for the
// ports.
func startFleet(s shape) (*fleet, error) {
	f := &fleet{
		shape: s, held: make([][]wire.ReplicaInfo, s.nodes), calls: map[string]int{}, sockets: map[net.Conn]struct{}{},
	}
	for range 1 + s.nodes {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			f.close()
			return nil, err
		}
		if f.meta == nil {
			f.meta = l
			continue
		}
		f.nodes = append(f.nodes, l)
		f.addresses = append(f.addresses, wire.AddressOf(l.Addr().(*net.TCPAddr).AddrPort()))
	}
	for _, l := range f.nodes[:s.down] {
		l.Close()
	}
	f.populate()
	f.group.Go(func() { f.accept(f.meta, -1) })
	for i, l := range f.nodes[s.down:] {
		f.group.Go(func() { f.accept(l, s.down+i) })
	}
	return f, nil
}

// fleetShape makes the test binary serve a cluster of that shape, until its standard input ends, and do nothing else: a
// process that holds a large cluster must not be the one that measures, because what a program inherits when it is
// started counts in its peak memory.
const fleetShape = "SHARDSH_TEST_FLEET"

func serveFleet(text string) int {
	var s shape
	if _, err := fmt.Sscan(text, &s.tables, &s.nodes, &s.down, &s.seed); err != nil {
		fmt.Fprintln(os.Stderr, fleetShape, err)
		return 2
	}
	f, err := startFleet(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer f.close()
	fmt.Println(f.address())
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// address is the meta server's.
func (f *fleet) address() string { return f.meta.Addr().String() }

func (f *fleet) close() {
	for _, l := range f.nodes {
		l.Close()
	}
	if f.meta != nil {
		f.meta.Close()
	}
	f.mu.Lock()
	sockets := f.sockets
	f.sockets = nil
	f.mu.Unlock()
	for socket := range sockets {
		socket.Close()
	}
	f.group.Wait()
}

// populate places three copies of every partition on different nodes. Of those on nodes that are down the others have
// taken over, as a meta server at level freezed leaves them.
func (f *fleet) populate() {
	random := rand.New(rand.NewPCG(f.seed, 0))
	for t := range f.tables {
		id, partitions := int32(t+1), sizes[t%len(sizes)]
		f.apps = append(f.apps, wire.AppInfo{
			Status: wire.AppAvailable, Type: "pegasus", Name: fmt.Sprintf("table_%04d", t), ID: id, Partitions: int32(partitions),
			Envs: map[string]string{"business.info": "fleet"}, Stateful: true, MaxReplicas: copies, CreateSecond: 1_700_000_000,
			InitPartitions: int32(partitions),
		})
		configs := make([]wire.Partition, partitions)
		for p := range configs {
			configs[p] = f.place(random, wire.GPID{App: id, Partition: int32(p)})
		}
		f.configs = append(f.configs, configs)
	}
}

func (f *fleet) place(random *rand.Rand, gpid wire.GPID) wire.Partition {
	var on []int
	for len(on) < copies {
		if n := random.IntN(f.shape.nodes); !slices.Contains(on, n) {
			on = append(on, n)
		}
	}
	c := wire.Partition{
		PID: gpid, Ballot: 3 + random.Int64N(40), MaxReplicas: copies, Secondaries: []wire.Address{}, LastDrops: []wire.Address{},
	}
	decree := random.Int64N(1 << 40)
	status := wire.ReplicaPrimary
	for _, n := range on {
		if n < f.down {
			c.LastDrops = append(c.LastDrops, f.addresses[n])
			continue
		}
		if status == wire.ReplicaPrimary {
			c.Primary = f.addresses[n]
		} else {
			c.Secondaries = append(c.Secondaries, f.addresses[n])
		}
		f.held[n] = append(f.held[n], wire.ReplicaInfo{
			PID: gpid, Ballot: c.Ballot, Status: status, LastCommitted: decree, LastPrepared: decree + 1, LastDurable: decree / 2,
			AppType: "pegasus", DiskTag: "disk0",
		})
		status = wire.ReplicaSecondary
		decree -= min(decree, random.Int64N(4))
	}
	return c
}

func (f *fleet) accept(l net.Listener, node int) {
	for {
		socket, err := l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		open := f.sockets != nil
		if open {
			f.sockets[socket] = struct{}{}
			f.group.Go(func() { f.talk(socket, node) })
		}
		f.mu.Unlock()
		if !open {
			socket.Close()
		}
	}
}

// talk answers one connection's requests in their order.
func (f *fleet) talk(socket net.Conn, node int) {
	defer func() {
		socket.Close()
		f.mu.Lock()
		delete(f.sockets, socket)
		f.mu.Unlock()
	}()
	for {
		q, err := wire.ReadRequest(socket)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.calls[q.Name]++
		f.mu.Unlock()
		if _, err := socket.Write(f.answer(q, node)); err != nil {
			return
		}
	}
}

// answer is what the meta server (node -1) or a node says.
func (f *fleet) answer(q *wire.Request, node int) []byte {
	switch {
	case node >= 0 && q.Name == wire.QueryReplicaInfo.Name:
		return reply(&wire.QueryReplicaInfo, q, func(*wire.QueryNodeRequest) wire.QueryReplicaInfoResponse {
			return wire.QueryReplicaInfoResponse{Err: wire.OK, Replicas: f.held[node]}
		})
	case node >= 0 && q.Name == wire.QueryDisk.Name:
		return reply(&wire.QueryDisk, q, func(*wire.QueryDiskRequest) wire.QueryDiskResponse { return f.disk(node) })
	case node >= 0:
	case q.Name == wire.ListApps.Name:
		return reply(&wire.ListApps, q, func(*wire.ListAppsRequest) wire.ListAppsResponse {
			return wire.ListAppsResponse{Err: wire.OK, Apps: f.apps}
		})
	case q.Name == wire.QueryConfig.Name:
		return reply(&wire.QueryConfig, q, f.config)
	case q.Name == wire.ListNodes.Name:
		return reply(&wire.ListNodes, q, f.list)
	case q.Name == wire.ClusterInfo.Name:
		return reply(&wire.ClusterInfo, q, f.info)
	case q.Name == wire.ControlMeta.Name:
		return reply(&wire.ControlMeta, q, func(a *wire.ControlMetaRequest) wire.ControlMetaResponse {
			if a.Level != wire.LevelInvalid {
				return wire.ControlMetaResponse{Err: wire.CodeInvalidParameters}
			}
			return wire.ControlMetaResponse{Err: wire.OK, OldLevel: wire.LevelSteady}
		})
	case q.Name == wire.CallCommand.Name:
		return reply(&wire.CallCommand, q, func(c *wire.Command) string {
			if c.Name == "meta.lb.assign_secondary_black_list" && len(c.Args) == 0 {
				return "get ok: "
			}
			return "unknown command '" + c.Name + "'"
		})
	}
	return wire.AppendRejection(nil, q.Name, q.Seq, wire.CodeHandlerNotFound)
}

// disk is the only disk of a node, with everything on it.
func (f *fleet) disk(node int) wire.QueryDiskResponse {
	d := wire.DiskInfo{
		Tag: "disk0", Dir: "/data/disk0", CapacityMB: 1 << 20, AvailableMB: 1 << 19,
		Primaries: map[int32][]wire.GPID{}, Secondaries: map[int32][]wire.GPID{},
	}
	for _, r := range f.held[node] {
		held := d.Secondaries
		if r.Status == wire.ReplicaPrimary {
			held = d.Primaries
		}
		held[r.PID.App] = append(held[r.PID.App], r.PID)
	}
	return wire.QueryDiskResponse{
		Err: wire.OK, TotalCapacityMB: d.CapacityMB, TotalAvailableMB: d.AvailableMB, Disks: []wire.DiskInfo{d},
	}
}

func reply[Q, A any](rpc *wire.RPC[Q, A], q *wire.Request, do func(*Q) A) []byte {
	var args Q
	if rpc.DecodeArgs(q.Args, &args) != nil {
		return wire.AppendRejection(nil, q.Name, q.Seq, wire.CodeInvalidData)
	}
	result := do(&args)
	return rpc.AppendReply(nil, q.Seq, &result)
}

func (f *fleet) config(a *wire.QueryConfigRequest) wire.QueryConfigResponse {
	i, found := slices.BinarySearchFunc(f.apps, a.AppName, func(app wire.AppInfo, name string) int {
		return strings.Compare(app.Name, name)
	})
	if !found {
		return wire.QueryConfigResponse{Err: wire.CodeObjectNotFound}
	}
	configs := f.configs[i]
	if len(a.Indices) > 0 {
		configs = nil
		for _, p := range a.Indices {
			if 0 <= p && int(p) < len(f.configs[i]) {
				configs = append(configs, f.configs[i][p])
			}
		}
	}
	return wire.QueryConfigResponse{
		Err: wire.OK, AppID: f.apps[i].ID, Partitions: f.apps[i].Partitions, Stateful: true, Configs: configs,
	}
}

func (f *fleet) list(a *wire.ListNodesRequest) wire.ListNodesResponse {
	r := wire.ListNodesResponse{Err: wire.OK}
	for i, address := range f.addresses {
		status := wire.NodeAlive
		if i < f.down {
			status = wire.NodeUnalive
		}
		if a.Status == wire.NodeInvalid || a.Status == status {
			r.Nodes = append(r.Nodes, wire.NodeInfo{Status: status, Node: address})
		}
	}
	return r
}

func (f *fleet) info(*struct{}) wire.ClusterInfoResponse {
	meta := f.address()
	return wire.ClusterInfoResponse{
		Err: wire.OK,
		Keys: []string{
			"meta_servers", "primary_meta_server", "meta_function_level", "balance_operation_count", "cluster_name",
		},
		Values: []string{meta, meta, "steady", "move_pri=0,copy_pri=0,copy_sec=0,total=0", "fleet"},
	}
}

// counted answers what was called since the last time.
func (f *fleet) counted() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counted := maps.Clone(f.calls)
	clear(f.calls)
	return counted
}

// TestFleetIsDeterministic: two clusters of a shape hold the same, on other ports.
func TestFleetIsDeterministic(t *testing.T) {
	s := shape{tables: 10, nodes: 7, seed: 5}
	a, b := newFleet(t, s), newFleet(t, s)
	for i := range a.held {
		if !slices.Equal(a.held[i], b.held[i]) {
			t.Fatalf("node %d does not hold the same in both", i)
		}
	}
	socket, err := net.Dial("tcp", a.address())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	frame := wire.DropApp.AppendRequest(nil, wire.Header{}, 7, &wire.DropAppRequest{AppName: "table_0000"})
	if _, err := socket.Write(frame); err != nil {
		t.Fatal(err)
	}
	r, err := wire.ReadReply(socket)
	if err != nil || r.Code != wire.CodeHandlerNotFound {
		t.Fatalf("a change is answered by %q, %v", r.Code, err)
	}
}
