package pegasus

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler answers a request; nil bytes are no answer.
type handler func(c *client, q *wire.Request) []byte

// server is one endpoint of a fake cluster. Every request has its own goroutine, so answers may overtake each other.
type server struct {
	t        testing.TB
	endpoint string
	listener net.Listener
	group    sync.WaitGroup
	done     chan struct{}

	mu       sync.Mutex
	handlers map[string]handler
	other    handler // for calls without a handler
	page     func(w io.Writer, q *http.Request)
	seen     map[string]int
	clients  map[*client]struct{}
	accepted int
}

// client is one connection to a server.
type client struct {
	server *server
	socket net.Conn
	mu     sync.Mutex
}

func (c *client) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.socket.Write(b)
}

func newServer(t testing.TB) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, endpoint: listener.Addr().String(), listener: listener, done: make(chan struct{}),
		handlers: map[string]handler{}, seen: map[string]int{}, clients: map[*client]struct{}{},
	}
	s.group.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *server) address() wire.Address {
	return wire.AddressOf(netip.MustParseAddrPort(s.endpoint))
}

func (s *server) accept() {
	for {
		socket, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &client{server: s, socket: socket}
		s.mu.Lock()
		s.clients[c] = struct{}{}
		s.accepted++
		s.mu.Unlock()
		s.group.Go(c.serve)
	}
}

func (c *client) serve() {
	defer c.socket.Close()
	s, r := c.server, bufio.NewReader(c.socket)
	for {
		if head, err := r.Peek(4); err == nil && string(head) == "GET " {
			s.browse(c.socket, r)
			return
		}
		q, err := wire.ReadRequest(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		h := s.handlers[q.Name]
		if h == nil {
			h = s.other
		}
		s.seen[q.Name]++
		s.mu.Unlock()
		s.group.Go(func() {
			if h == nil {
				c.write(wire.AppendRejection(nil, q.Name, q.Seq, wire.CodeHandlerNotFound))
				return
			}
			if b := h(c, q); b != nil {
				c.write(b)
			}
		})
	}
}

// browse answers an HTTP request as page says.
func (s *server) browse(w io.Writer, r *bufio.Reader) {
	q, err := http.ReadRequest(r)
	s.mu.Lock()
	page := s.page
	s.seen["GET"]++
	s.mu.Unlock()
	if err == nil && page != nil {
		page(w, q)
	}
}

// hangUp closes every connection that is open now.
func (s *server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.socket.Close()
	}
}

func (s *server) stop() {
	select {
	case <-s.done:
		return
	default:
	}
	close(s.done)
	s.listener.Close()
	s.hangUp()
	s.group.Wait()
}

func (s *server) calls(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

func (s *server) handle(name string, h handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[name] = h
}

// on answers a call by a function; a nil answer is silence.
func on[Q, A any](s *server, r *wire.RPC[Q, A], f func(h wire.Header, q *Q) *A) {
	s.handle(r.Name, func(_ *client, q *wire.Request) []byte {
		var args Q
		if err := r.DecodeArgs(q.Args, &args); err != nil {
			s.t.Errorf("%s: %v", r.Name, err)
			return nil
		}
		a := f(q.Header, &args)
		if a == nil {
			return nil
		}
		return r.AppendReply(nil, q.Seq, a)
	})
}

// always answers a call by the same value.
func always[Q, A any](s *server, r *wire.RPC[Q, A], a A) {
	on(s, r, func(wire.Header, *Q) *A { return &a })
}

// reject refuses a call in the frame's header.
func (s *server) reject(name, code string) {
	s.handle(name, func(_ *client, q *wire.Request) []byte { return wire.AppendRejection(nil, q.Name, q.Seq, code) })
}

// silent never answers a call.
func (s *server) silent(name string) {
	s.handle(name, func(*client, *wire.Request) []byte { return nil })
}

// open makes a driver that is closed with the test.
func open(t *testing.T, timeout time.Duration, metas ...string) *Driver {
	t.Helper()
	return openWith(t, cluster.Options{Timeout: func() time.Duration { return timeout }}, metas...)
}

func openWith(t *testing.T, o cluster.Options, metas ...string) *Driver {
	t.Helper()
	address := ""
	for i, m := range metas {
		if i > 0 {
			address += ","
		}
		address += m
	}
	d, err := New(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// waitLost waits until a driver has noticed that its connection to an endpoint is gone.
func waitLost(t *testing.T, d *Driver, endpoint string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if c := d.pool.Known(endpoint); c == nil || !c.usable() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the lost connection goes unnoticed")
		}
	}
}

// box is a meta server and a replica server that holds one table in memory.
type box struct {
	meta, node *server
	partitions int

	mu   sync.Mutex
	rows map[string]wire.KeyValue // by full key
	// spread is how many partitions the rows of one are spread over; partitions when there is no entry.
	spread map[int]int
	// config may change the answer to a query config.
	config func(*wire.QueryConfigResponse)
}

const boxTable = "TableA"

func newBox(t testing.TB, partitions int) *box {
	b := &box{meta: newServer(t), node: newServer(t), partitions: partitions, rows: map[string]wire.KeyValue{}}
	on(b.meta, &wire.QueryConfig, func(_ wire.Header, q *wire.QueryConfigRequest) *wire.QueryConfigResponse {
		if q.AppName != boxTable {
			return &wire.QueryConfigResponse{Err: wire.CodeObjectNotFound}
		}
		return b.describe()
	})
	always(b.meta, &wire.ListApps, wire.ListAppsResponse{Err: wire.OK, Apps: []wire.AppInfo{
		{Status: wire.AppAvailable, Type: "pegasus", Name: boxTable, ID: 2, Partitions: int32(partitions), MaxReplicas: 3, Envs: map[string]string{"default_ttl": "60", "business.info": "x"}, CreateSecond: 1700000000},
	}})
	always(b.meta, &wire.ListNodes, wire.ListNodesResponse{Err: wire.OK, Nodes: []wire.NodeInfo{{Status: wire.NodeAlive, Node: b.node.address()}}})
	always(b.meta, &wire.ClusterInfo, wire.ClusterInfoResponse{
		Err:    wire.OK,
		Keys:   []string{"meta_servers", "primary_meta_server", "meta_function_level", "cluster_name"},
		Values: []string{b.meta.endpoint, b.meta.endpoint, "freezed", "onebox"},
	})
	b.serveRows()
	return b
}

func (b *box) describe() *wire.QueryConfigResponse {
	a := &wire.QueryConfigResponse{Err: wire.OK, AppID: 2, Partitions: int32(b.partitions), Stateful: true}
	for i := range b.partitions {
		a.Configs = append(a.Configs, wire.Partition{
			PID: wire.GPID{App: 2, Partition: int32(i)}, Ballot: 3, MaxReplicas: 3, Primary: b.node.address(),
			Secondaries: []wire.Address{}, LastDrops: []wire.Address{}, LastCommitted: 10,
		})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.config != nil {
		b.config(a)
	}
	return a
}

func (b *box) configure(f func(*wire.QueryConfigResponse)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.config = f
}

func (b *box) serveRows() {
	on(b.node, &wire.Put, func(h wire.Header, q *wire.PutRequest) *wire.UpdateResponse {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.rows[string(q.Key)] = wire.KeyValue{Key: q.Key, Value: q.Value, ExpireTS: q.ExpireTS}
		return &wire.UpdateResponse{AppID: h.GPID.App, Partition: h.GPID.Partition, Decree: 11, Server: b.node.endpoint}
	})
	on(b.node, &wire.Remove, func(h wire.Header, q *[]byte) *wire.UpdateResponse {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.rows, string(*q))
		return &wire.UpdateResponse{AppID: h.GPID.App, Partition: h.GPID.Partition, Decree: 12, Server: b.node.endpoint}
	})
	on(b.node, &wire.Get, func(h wire.Header, q *[]byte) *wire.GetResponse {
		b.mu.Lock()
		defer b.mu.Unlock()
		a := &wire.GetResponse{AppID: h.GPID.App, Partition: h.GPID.Partition, Server: b.node.endpoint}
		row, ok := b.rows[string(*q)]
		if a.Value = row.Value; !ok {
			a.Error = wire.StatusNotFound
		}
		return a
	})
	on(b.node, &wire.TTL, func(h wire.Header, q *[]byte) *wire.TTLResponse {
		b.mu.Lock()
		defer b.mu.Unlock()
		a := &wire.TTLResponse{TTL: -1, AppID: h.GPID.App, Partition: h.GPID.Partition, Server: b.node.endpoint}
		row, ok := b.rows[string(*q)]
		if row.ExpireTS != 0 {
			a.TTL = row.ExpireTS - int32(time.Now().Unix()-wire.Epoch)
		}
		if !ok {
			a.Error = wire.StatusNotFound
		}
		return a
	})
	on(b.node, &wire.SortKeyCount, func(h wire.Header, q *[]byte) *wire.CountResponse {
		prefix, _ := wire.EncodeKey(*q, nil)
		return &wire.CountResponse{Count: int64(len(b.sorted(-1, prefix))), AppID: h.GPID.App, Partition: h.GPID.Partition, Server: b.node.endpoint}
	})
}

// sorted answers the rows of a partition (-1 for all) whose key has a prefix.
func (b *box) sorted(partition int, prefix []byte) []wire.KeyValue {
	b.mu.Lock()
	defer b.mu.Unlock()
	var rows []wire.KeyValue
	for _, key := range slices.Sorted(maps.Keys(b.rows)) {
		hash, sort, _ := wire.DecodeKey([]byte(key))
		n := b.partitions
		if own := b.spread[partition]; own != 0 {
			n = own
		}
		if partition >= 0 && wire.PartitionOf(wire.Hash(hash, sort), n) != partition {
			continue
		}
		if bytes.HasPrefix([]byte(key), prefix) {
			rows = append(rows, b.rows[key])
		}
	}
	return rows
}

// put adds a row without a call.
func (b *box) put(hash, sort, value string, expires int32) {
	key, err := wire.EncodeKey([]byte(hash), []byte(sort))
	if err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[string(key)] = wire.KeyValue{Key: key, Value: []byte(value), ExpireTS: expires}
}
