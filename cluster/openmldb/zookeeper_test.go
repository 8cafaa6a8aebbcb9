package openmldb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// smallZK answers as a ZooKeeper does what a driver asks.
type smallZK struct {
	endpoint string

	mu     sync.Mutex
	nodes  map[string]string
	secret string // what authentication must show, "" for none
	conns  map[*zkConn]struct{}
	// body, when not nil, changes what answers hold.
	body func(op int32, b []byte) []byte
}

type zkConn struct {
	net.Conn
	mu      sync.Mutex
	known   bool
	watches map[string]bool
}

func newSmallZK(t testing.TB, nodes map[string]string) *smallZK {
	z := &smallZK{nodes: nodes, conns: map[*zkConn]struct{}{}}
	z.endpoint = hostile(t, z.serve)
	return z
}

func (c *zkConn) send(parts ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := slices.Concat(parts...)
	_, _ = c.Write(append(be32(int32(len(b))), b...))
}

func be32(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func be64(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func zkText(s string) []byte { return append(be32(int32(len(s))), s...) }

func readPacket(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:])&(1<<20-1))
	_, err := io.ReadFull(r, b)
	return b, err
}

// zkGreeting begins a session.
func zkGreeting(timeout int32) []byte {
	return slices.Concat(be32(0), be32(timeout), be64(7), be32(16), make([]byte, 16), []byte{0})
}

func (z *smallZK) serve(socket net.Conn) {
	c := &zkConn{Conn: socket, watches: map[string]bool{}}
	if _, err := readPacket(socket); err != nil {
		return
	}
	c.send(zkGreeting(4000))
	z.mu.Lock()
	z.conns[c] = struct{}{}
	z.mu.Unlock()
	defer func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		delete(z.conns, c)
	}()
	for {
		q, err := readPacket(socket)
		if err != nil || len(q) < 8 {
			return
		}
		xid, op := q[:4], int32(binary.BigEndian.Uint32(q[4:]))
		code, body := z.answer(c, op, q[8:])
		c.send(xid, be64(1), be32(code), body)
		if op == opClose {
			return
		}
	}
}

func (z *smallZK) answer(c *zkConn, op int32, q []byte) (code int32, body []byte) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch op {
	case opGetData, opGetChildren2:
		n := binary.BigEndian.Uint32(q)
		at, watch := string(q[4:4+n]), q[4+n] == 1
		if z.secret != "" && !c.known {
			return -102, nil
		}
		if _, ok := z.nodes[at]; !ok {
			return -101, nil
		}
		c.watches[at] = c.watches[at] || watch
		body = z.content(op, at)
	case opSetAuth:
		c.known = bytes.HasSuffix(q, []byte(z.secret))
	}
	if z.body != nil {
		body = z.body(op, body)
	}
	return 0, body
}

func (z *smallZK) content(op int32, at string) []byte {
	stat := make([]byte, statSize)
	if op == opGetData {
		return slices.Concat(zkText(z.nodes[at]), stat)
	}
	var names [][]byte
	for node := range z.nodes {
		if path.Dir(node) == at {
			names = append(names, zkText(path.Base(node)))
		}
	}
	return slices.Concat(be32(int32(len(names))), slices.Concat(names...), stat)
}

func (z *smallZK) set(at, data string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.nodes[at] = data
	for c := range z.conns {
		if parent := path.Dir(at); c.watches[parent] {
			c.watches[parent] = false
			c.send(be32(xidEvent), be64(-1), be32(0), be32(int32(zk.EventNodeChildrenChanged)), be32(int32(zk.StateHasSession)), zkText(parent))
		}
	}
}

func TestZooKeeper(t *testing.T) {
	z := newSmallZK(t, map[string]string{"/r": "", "/r/leader": "", "/r/leader/b": "h:2", "/r/leader/a": "h:1"})
	k := openZooKeeper([]string{z.endpoint}, "", "")
	defer k.close()
	names, changed, err := k.children("/r/leader", true)
	slices.Sort(names)
	if err != nil || strings.Join(names, " ") != "a b" {
		t.Fatal(names, err)
	}
	if data, err := k.get("/r/leader/a"); err != nil || string(data) != "h:1" {
		t.Error(string(data), err)
	}
	if _, err := k.get("/r/x"); !errors.Is(err, errNoNode) {
		t.Error(err)
	}
	if k.server() != z.endpoint {
		t.Error(k.server())
	}
	select {
	case <-changed:
		t.Error("nothing has changed")
	default:
	}
	z.set("/r/leader/c", "h:3")
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Error("the watch did not fire")
	}
	// The connection breaks: the session goes on over another one, and keeps its watches.
	_, changed, err = k.children("/r/leader", true)
	if err != nil {
		t.Fatal(err)
	}
	z.mu.Lock()
	for c := range z.conns {
		c.Close()
	}
	z.mu.Unlock()
	eventually(t, "the session is back", func() bool {
		_, err := k.get("/r/leader/a")
		return err == nil
	})
	k.close()
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Error("the watch outlived its session")
	}
}

func TestZooKeeperSecret(t *testing.T) {
	z := newSmallZK(t, map[string]string{"/r": "x"})
	z.secret = "ann:s3cret"
	for password, want := range map[string]error{"s3cret": nil, "wrong": errNoAccess} {
		k := openZooKeeper([]string{z.endpoint}, "ann", password)
		if _, err := k.get("/r"); !errors.Is(err, want) {
			t.Errorf("%s: %v", password, err)
		}
		k.close()
	}
}

// None can be reached: the error says why of each, soon, and closing does not take long.
func TestZooKeeperUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	dead := listener.Addr().String()
	other := hostile(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	within(t, 30*time.Second, func() {
		d := openAt(t, cluster.Options{}, schemeZK+dead+","+other+"/om")
		_, err = d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, dead, other, "refused", "does not speak")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	silent := hostile(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	within(t, 10*time.Second, func() {
		d := openAt(t, cluster.Options{Timeout: func() time.Duration { return 300 * time.Millisecond }}, schemeZK+silent+"/om")
		_, err = d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, silent, "in time")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A ZooKeeper that lies about lengths and counts ends a session, and nothing else.
func TestGuard(t *testing.T) {
	stat := make([]byte, statSize)
	for name, lie := range map[string][]byte{
		"two billion children": slices.Concat(be32(1<<31-1), stat),
		"minus one children":   slices.Concat(be32(-1), stat),
		"a long name":          slices.Concat(be32(1), be32(1<<30), stat),
		"a name of -1":         slices.Concat(be32(1), be32(-1), stat),
		"no stat":              slices.Concat(be32(1), zkText("a")),
		"nothing":              nil,
	} {
		z := newSmallZK(t, map[string]string{"/r": ""})
		z.body = func(op int32, b []byte) []byte {
			if op == opGetChildren2 {
				return lie
			}
			return b
		}
		k := openZooKeeper([]string{z.endpoint}, "", "")
		if names, _, err := k.children("/r", false); err == nil {
			t.Errorf("%s: %q", name, names)
		}
		k.close()
	}
	for name, first := range map[string][]byte{
		"long":           append(be32(1<<30), make([]byte, 64)...),
		"short":          append(be32(3), 1, 2, 3),
		"no time":        slices.Concat(be32(37), zkGreeting(0)),
		"negative time":  slices.Concat(be32(37), zkGreeting(-5)),
		"wrong password": slices.Concat(be32(20), be32(0), be32(4000), be64(7), be32(1000)),
		"then too short": slices.Concat(be32(37), zkGreeting(4000), be32(8), make([]byte, 8)),
		"then an event":  slices.Concat(be32(37), zkGreeting(4000), be32(20), be32(xidEvent), make([]byte, 16)),
		"then a promise": slices.Concat(be32(37), zkGreeting(4000), be32(-1)),
		"then unasked":   slices.Concat(be32(37), zkGreeting(4000), be32(16), be32(99), make([]byte, 12)),
		"then numbered":  slices.Concat(be32(37), zkGreeting(4000), be32(16), be32(-9), make([]byte, 12)),
	} {
		endpoint := hostile(t, func(c net.Conn) {
			_, _ = readPacket(c)
			_, _ = c.Write(first)
			_, _ = io.Copy(io.Discard, c)
		})
		k := openZooKeeper([]string{endpoint}, "", "")
		if data, err := k.get("/r"); err == nil {
			t.Errorf("%s: %q", name, data)
		}
		k.close()
	}
}

func FuzzZooKeeper(f *testing.F) {
	z := &smallZK{nodes: map[string]string{"/r": "data", "/r/a": "", "/r/b": ""}}
	f.Add(z.content(opGetChildren2, "/r"), z.content(opGetData, "/r"))
	f.Add([]byte{}, []byte{0, 0, 0, 1})
	f.Add(slices.Concat(be32(1<<20), make([]byte, 200)), slices.Concat(be32(-1), make([]byte, 68)))
	f.Fuzz(func(t *testing.T, list, data []byte) {
		g := newGuard(nil, nil)
		for xid, op := range map[int32]int32{1: opGetChildren2, 2: opGetData} {
			g.asks[xid] = op
		}
		head := make([]byte, 12)
		okList := g.reply(slices.Concat(be32(1), head, list))
		okData := g.reply(slices.Concat(be32(2), head, data))
		if !okList && !okData {
			return
		}
		// What the guard lets pass, the client behind it reads: it would panic otherwise, or take all memory.
		small := newSmallZK(t, map[string]string{"/r": ""})
		small.body = func(op int32, b []byte) []byte {
			switch {
			case op == opGetChildren2 && okList:
				return list
			case op == opGetData && okData:
				return data
			}
			return b
		}
		k := openZooKeeper([]string{small.endpoint}, "", "")
		defer k.close()
		if _, _, err := k.children("/r", false); err != nil && okList {
			t.Errorf("children: %v", err)
		}
		if _, err := k.get("/r"); err != nil && okData {
			t.Errorf("data: %v", err)
		}
	})
}
