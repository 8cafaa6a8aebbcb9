package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// The tests' store: nodes that listen and say nothing.

type fakeCluster struct {
	config Config
	mu     sync.Mutex
	nodes  []NodeStatus
}

func fakeKind() Kind {
	return Kind{System: "fake", Clusters: []Cluster{{Name: "one", Aliases: []string{"ClusterOne"}}, {Name: "two"}, {Name: "broken"}}, New: newFake}
}

func newFake(_ context.Context, config Config) (ClusterServer, error) {
	if config.Name == "broken" {
		return nil, errors.New("it never works")
	}
	f := &fakeCluster{config: config}
	for host := 1; host <= 2; host++ {
		address, err := config.Net.Address(host, 34601)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, NodeStatus{Cluster: config.Name, System: "fake", Role: "node", Endpoint: address, State: Alive, PID: os.Getpid(), Timers: TimersFactor})
	}
	return f, os.WriteFile(filepath.Join(config.Dir, "was here"), nil, 0o600)
}

func (f *fakeCluster) Address() string { return "fake://" + f.nodes[0].Endpoint }

func (f *fakeCluster) Nodes() []NodeStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

func (f *fakeCluster) set(endpoint, state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, n := range f.nodes {
		if n.Endpoint == endpoint {
			if n.State == state {
				return spec.Errorf(spec.Refused, "%s is %s already", endpoint, state)
			}
			f.nodes[i].State = state
		}
	}
	return nil
}

func (f *fakeCluster) Kill(_ context.Context, endpoint string) error { return f.set(endpoint, Dead) }

func (f *fakeCluster) Start(_ context.Context, endpoint string) error { return f.set(endpoint, Alive) }

func (f *fakeCluster) Close() error { return nil }

// serveFake serves fakes until the test ends.
func serveFake(t *testing.T, config ServeConfig) Serving {
	t.Helper()
	return serveKind(t, fakeKind(), config)
}

func serveKind(t *testing.T, kind Kind, config ServeConfig) Serving {
	t.Helper()
	config.Kinds = []Kind{kind}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan Serving, 1), make(chan error, 1)
	config.Ready = func(s Serving) { ready <- s }
	go func() { done <- Serve(ctx, config) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the end of it: %v", err)
		}
	})
	select {
	case s := <-ready:
		return s
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return Serving{}
}

func TestSteering(t *testing.T) {
	s := serveFake(t, ServeConfig{Open: []string{"ClusterOne"}})
	if len(s.Open) != 1 || s.Open[0].Name != "one" || s.Open[0].System != "fake" || !strings.HasPrefix(s.Open[0].Address, "fake://127.0.") {
		t.Fatalf("served: %+v", s)
	}
	c, err := Dial(s.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if address, err := c.Open(ctx, "one"); err != nil || address != s.Open[0].Address {
		t.Errorf("the open cluster is at %s, %v", address, err)
	}
	nodes, err := c.List(ctx)
	if err != nil || len(nodes) != 2 {
		t.Fatal(nodes, err)
	}
	node, err := c.Kill(ctx, ".2:34601")
	if err != nil || node.Endpoint != nodes[1].Endpoint || node.State != Dead {
		t.Errorf("kill answers %+v, %v", node, err)
	}
	if _, err := c.Kill(ctx, nodes[1].Endpoint); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "dead already") {
		t.Errorf("a second kill: %v", err)
	}
	if node, err := c.Start(ctx, nodes[1].Endpoint); err != nil || node.State != Alive {
		t.Errorf("start answers %+v, %v", node, err)
	}
	if _, err := c.Open(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	if nodes, err = c.List(ctx); err != nil || len(nodes) != 4 || nodes[2].Cluster != "two" {
		t.Errorf("nodes: %v, %v", nodes, err)
	}
	if _, err := c.Kill(ctx, ".2"); spec.KindOf(err) != spec.Usage || !strings.Contains(err.Error(), nodes[1].Endpoint) || !strings.Contains(err.Error(), nodes[3].Endpoint) {
		t.Errorf("an ambiguous node: %v", err)
	}
	if _, err := c.Kill(ctx, ".77"); spec.KindOf(err) != spec.NotFound || !strings.Contains(spec.HintOf(err), nodes[0].Endpoint) {
		t.Errorf("an unknown node: %v", err)
	}
	if _, err := c.Open(ctx, "three"); spec.KindOf(err) != spec.NotFound || !strings.Contains(spec.HintOf(err), "two") {
		t.Errorf("an unknown cluster: %v", err)
	}
	for range 2 {
		if _, err := c.Open(ctx, "broken"); err == nil || !strings.Contains(err.Error(), "it never works") {
			t.Errorf("a cluster that does not start: %v", err)
		}
	}
}

func TestMatchNode(t *testing.T) {
	var nodes []NodeStatus
	for _, e := range []string{"127.0.1.1:34601", "127.0.1.31:34801", "127.0.1.32:34801", "127.0.11.32:34801"} {
		nodes = append(nodes, NodeStatus{Endpoint: e})
	}
	for name, want := range map[string]string{
		"127.0.1.32:34801": "127.0.1.32:34801", ".31": "127.0.1.31:34801", "31": "127.0.1.31:34801", "1.32": "127.0.1.32:34801",
		"11.32": "127.0.11.32:34801", ":34601": "127.0.1.1:34601", "34601": "127.0.1.1:34601", ".32": "", "34801": "", "2": "", "": "",
		"127.0.1.31": "127.0.1.31:34801",
	} {
		if got, err := MatchNode(nodes, name); got.Endpoint != want || (err == nil) != (want != "") {
			t.Errorf("%q means %q, %v; want %q", name, got.Endpoint, err, want)
		}
	}
}

// Clusters asked for by many at once start once.
func TestOpenTogether(t *testing.T) {
	s := serveFake(t, ServeConfig{})
	results := make(chan string, 16)
	for range cap(results) {
		go func() {
			c, err := Dial(s.Control)
			if err != nil {
				results <- err.Error()
				return
			}
			address, err := c.Open(context.Background(), "one")
			results <- fmt.Sprint(address, err)
		}()
	}
	first := <-results
	for range cap(results) - 1 {
		if next := <-results; next != first || !strings.HasSuffix(first, "<nil>") {
			t.Errorf("%s and %s", first, next)
		}
	}
}

func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	s := serveFake(t, ServeConfig{DataDir: dir})
	if info, err := os.Stat(s.Control); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&fs.ModeSocket == 0 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	err := Serve(t.Context(), ServeConfig{Kinds: []Kind{fakeKind()}, DataDir: dir})
	if spec.KindOf(err) != spec.Refused {
		t.Errorf("a second sandbox on the socket: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), ServeConfig{DataDir: dir, Control: file}); spec.KindOf(err) != spec.Usage {
		t.Errorf("a file in place of the socket: %v", err)
	}
	if err := Serve(t.Context(), ServeConfig{DataDir: dir, Control: filepath.Join(dir, strings.Repeat("x", 200))}); spec.KindOf(err) != spec.Usage {
		t.Errorf("a socket with a long path: %v", err)
	}
	for name, line := range map[string]string{
		"no JSON": "hello\n", "no operation": "{}\n", "unknown operation": `{"op":"fly"}` + "\n", "wrong type": `{"op":7}` + "\n",
		"endless": strings.Repeat("x", maxLine+10000),
	} {
		conn, err := net.Dial("unix", s.Control)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, line) // fails when the answer came before the end of an endless line
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if got := string(buf[:n]); !errors.Is(err, syscall.ECONNRESET) && !strings.Contains(got, `"kind":"usage"`) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		conn.Close()
	}
	if c, err := Dial(s.Control); err != nil {
		t.Errorf("after all that: %v", err)
	} else if _, err := c.List(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestShutdown(t *testing.T) {
	s := serveFake(t, ServeConfig{Open: []string{"one"}})
	c, err := Dial(s.Control)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(s.Control); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the socket's file stays")
		}
	}
	if _, err := Dial(s.Control); spec.KindOf(err) != spec.Unavailable || !strings.Contains(err.Error(), s.Control) {
		t.Errorf("a sandbox that is gone: %v", err)
	}
}

func TestDirectories(t *testing.T) {
	data := t.TempDir()
	t.Run("kept", func(t *testing.T) { serveFake(t, ServeConfig{DataDir: data, Open: []string{"one"}}) })
	if _, err := os.Stat(filepath.Join(data, "one", "was here")); err != nil {
		t.Error(err)
	}
	var fresh string
	t.Run("fresh", func(t *testing.T) {
		fresh = filepath.Dir(serveFake(t, ServeConfig{Open: []string{"one"}}).Control)
		if _, err := os.Stat(filepath.Join(fresh, "one", "was here")); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the fresh directory stays: %v", err)
	}
}

// What a killed sandbox left behind is cleared away by the next one; what a living one uses is not.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	used, remove, err := freshDir()
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.MkdirTemp("", freshPattern)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sweep()
	if _, err := os.Stat(used); err != nil {
		t.Errorf("a used directory: %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a left directory stays: %v", err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
}

func TestNetworks(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	a, err := TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	x, errX := a.Address(31, 34801)
	y, errY := b.Address(31, 34801)
	if errX != nil || errY != nil || x == y {
		t.Errorf("two networks have the addresses %s and %s, %v, %v", x, y, errX, errY)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.prefix != b.prefix {
		t.Errorf("%s was given back, and %s is taken", b.prefix, c.prefix)
	}
	for _, bad := range []string{"10.0.0", "127.0", "127.0.0.1", "localhost", "127.0.300"} {
		if _, err := TakeNetwork(1, bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	only := &Network{} // one loopback address, as on macOS
	if at, err := only.Address(31, 34801); err != nil || !strings.HasPrefix(at, "127.0.0.1:") {
		t.Errorf("on one address: %s, %v", at, err)
	}
}

// The network that is asked for is used, and the clusters that come after have the next ones.
func TestForcedNetwork(t *testing.T) {
	if !bindable("127.0.201") {
		t.Skip("this machine has one loopback address")
	}
	s := serveFake(t, ServeConfig{Net: "127.0.201", Open: []string{"two", "one"}})
	if s.Open[0].Address != "fake://127.0.202.1:34601" || s.Open[1].Address != "fake://127.0.201.1:34601" {
		t.Errorf("served at %+v", s.Open)
	}
}

func TestTail(t *testing.T) {
	var last tail
	for i := range 3000 {
		fmt.Fprintf(&last, "line %d\n", i)
	}
	if got := last.String(); len(got) > tailSize || !strings.HasSuffix(got, "line 2999") {
		t.Errorf("the tail has %d bytes and ends in %q", len(got), got[len(got)-20:])
	}
	if !bytes.Contains(last.buf, []byte("line 2998")) {
		t.Error("the tail is only a line")
	}
}
