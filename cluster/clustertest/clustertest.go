// Package clustertest is what every driver is held to: the contract of package cluster, asked of a running cluster and of
// servers that are none. A system's own test file names the cluster and calls Run.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// Suite describes a system and a running cluster of it.
type Suite struct {
	System cluster.System
	// Address is that of the running cluster, which has a table at least and is left as it was. Its nodes are alive.
	Address string
	// Elsewhere writes addresses of a cluster whose only metadata server is the one given: one for each way to find it.
	Elsewhere []func(server string) string
	// Malformed are addresses that must not open.
	Malformed []string
	// NewTable is created and dropped, where the driver can.
	NewTable cluster.NewTable
	// Settings are set on a table and deleted from it, where the driver can.
	Settings map[string]string
	// Options are given to every driver; Timeout and Trace are the suite's own.
	Options cluster.Options
}

// Bounds of the suite.
const (
	short    = 500 * time.Millisecond // a call to a server that does not answer
	long     = 30 * time.Second       // a call to the running cluster
	slack    = 10 * time.Second       // what a loaded machine may add
	patience = time.Minute            // for what a cluster does in its own time
)

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Run("Addresses", s.addresses)
	t.Run("Lazy", s.lazy)
	t.Run("Unreachable", s.unreachable)
	t.Run("Hostile", s.hostile)
	t.Run("Closed", s.closed)
	t.Run("Cancelled", s.cancelled)
	t.Run("Info", s.info)
	t.Run("Nodes", s.nodes)
	t.Run("Replicas", s.replicas)
	t.Run("UnknownTable", s.unknownTable)
	t.Run("Traces", s.traces)
	t.Run("Concurrent", s.concurrent)
	t.Run("Abilities", s.abilities)
}

// open makes a driver that is closed with the test.
func (s Suite) open(t *testing.T, address string, timeout time.Duration) cluster.Driver {
	t.Helper()
	o := s.Options
	o.Timeout = func() time.Duration { return timeout }
	return s.openWith(t, address, o)
}

func (s Suite) openWith(t *testing.T, address string, o cluster.Options) cluster.Driver {
	t.Helper()
	d, err := s.System.Open(address, o)
	if err != nil {
		t.Fatalf("%s does not open: %v", address, err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// call is a method that every driver has.
type call struct {
	name string
	do   func(ctx context.Context, d cluster.Driver) error
}

// calls are all of them.
func calls() []call {
	return []call{
		{"Info", func(ctx context.Context, d cluster.Driver) error { _, err := d.Info(ctx); return err }},
		{"Nodes", func(ctx context.Context, d cluster.Driver) error { _, err := d.Nodes(ctx); return err }},
		{"Tables", func(ctx context.Context, d cluster.Driver) error { _, err := d.Tables(ctx); return err }},
		{"Replicas", func(ctx context.Context, d cluster.Driver) error { _, err := collect(d.Replicas(ctx, "")); return err }},
		{"Replicas of a table", func(ctx context.Context, d cluster.Driver) error {
			_, err := collect(d.Replicas(ctx, "some_table"))
			return err
		}},
	}
}

func collect(rows iter.Seq2[cluster.Replica, error]) ([]cluster.Replica, error) {
	var all []cluster.Replica
	for r, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// wantError checks that an error is the kind that a driver answers, and says which server it is about.
func wantError(t *testing.T, name string, err error, kinds []spec.ErrorKind, says string) {
	t.Helper()
	var e *spec.Error
	switch {
	case err == nil:
		t.Errorf("%s: no error", name)
	case !errors.As(err, &e):
		t.Errorf("%s: %v is no *spec.Error", name, err)
	case !slices.Contains(kinds, e.Kind):
		t.Errorf("%s: %v is %v, want one of %v", name, err, e.Kind, kinds)
	case !strings.Contains(err.Error(), says):
		t.Errorf("%s: %v does not say %q", name, err, says)
	}
}

// within fails when a call takes longer than it may.
func within(t *testing.T, name string, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > limit {
		t.Errorf("%s: took %v, over %v", name, took, limit)
	}
}

// eventually waits for what a cluster does in its own time.
func eventually(t *testing.T, what string, ok func() (bool, error)) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		is, err := ok()
		if is {
			return
		}
		last = err
	}
	t.Fatalf("%s: it did not come about in %v; the last error: %v", what, patience, last)
}

func (s Suite) addresses(t *testing.T) {
	for _, address := range s.Malformed {
		d, err := s.System.Open(address, s.Options)
		if d != nil {
			t.Errorf("%q opens", address)
		}
		wantError(t, address, err, []spec.ErrorKind{spec.Usage}, "")
		if s.System.Accepts(address) {
			t.Errorf("%q is accepted", address)
		}
	}
	for _, of := range s.Elsewhere {
		if address := of("127.0.0.1:1"); !s.System.Accepts(address) {
			t.Errorf("%q is not accepted", address)
		}
	}
	if s.System.Prompt("name", "") == "" || !strings.Contains(s.System.Prompt("name", "table"), "table") {
		t.Error("the prompt does not show where one is")
	}
}

// nobody is a server that is none.
type nobody struct {
	endpoint string
	accepted func() (from []string)
}

// listen serves every connection by f until the test ends.
func listen(t *testing.T, f func(net.Conn)) nobody {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	group.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			group.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return nobody{listener.Addr().String(), func() (from []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			from = append(from, c.RemoteAddr().String())
		}
		return from
	}}
}

func discard(c net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// Opening dials nothing, and so does asking what a driver can.
func (s Suite) lazy(t *testing.T) {
	for _, of := range s.Elsewhere {
		p := listen(t, discard)
		d := s.open(t, of(p.endpoint), short)
		for _, a := range cluster.Abilities() {
			a.Has(d)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		// A connection that was begun is in the listener's queue by now: this one is behind it.
		c, err := net.Dial("tcp", p.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		mine := c.LocalAddr().String()
		eventually(t, "the suite's own connection", func() (bool, error) { return slices.Contains(p.accepted(), mine), nil })
		if n := len(p.accepted()); n != 1 {
			t.Errorf("%s was dialled by opening it", of(p.endpoint))
		}
	}
}

// Where nobody listens, every call says so, at once.
func (s Suite) unreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := listener.Addr().String()
	listener.Close()
	for _, of := range s.Elsewhere {
		d := s.open(t, of(endpoint), long)
		for _, c := range calls() {
			within(t, c.name, slack, func() {
				wantError(t, c.name, c.do(t.Context(), d), []spec.ErrorKind{spec.Unavailable}, endpoint)
			})
		}
	}
}

// Servers that do not answer, or answer nonsense, or hang up, cost the timeout at most, and are named.
func (s Suite) hostile(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"silence": discard,
		"hangs up": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
		},
		"nonsense": func(c net.Conn) {
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			discard(c)
		},
		"zeros": func(c net.Conn) {
			_, _ = c.Write(make([]byte, 1<<16))
			discard(c)
		},
		"ones": func(c net.Conn) {
			_, _ = c.Write([]byte(strings.Repeat("\xff", 1<<16)))
			discard(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, of := range s.Elsewhere {
				p := listen(t, serve)
				d := s.open(t, of(p.endpoint), short)
				for _, c := range calls() {
					within(t, c.name, short+slack, func() {
						wantError(t, c.name, c.do(t.Context(), d), []spec.ErrorKind{spec.Unavailable, spec.Failed}, p.endpoint)
					})
				}
			}
		})
	}
}

// After Close every call fails; closing again does not.
func (s Suite) closed(t *testing.T) {
	for _, used := range []bool{false, true} {
		d := s.open(t, s.Address, long)
		if used {
			if _, err := d.Nodes(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, c := range calls() {
			within(t, c.name, slack, func() {
				wantError(t, c.name, c.do(t.Context(), d), []spec.ErrorKind{spec.Unavailable}, "closed")
			})
		}
	}
}

// A context that has ended, or ends while a server is silent, ends the call as an interruption.
func (s Suite) cancelled(t *testing.T) {
	d := s.open(t, s.Address, long)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range calls() {
		wantError(t, c.name, c.do(over, d), []spec.ErrorKind{spec.Interrupted}, "")
	}
	for _, of := range s.Elsewhere {
		arrived := make(chan struct{}, 1000)
		p := listen(t, func(c net.Conn) {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				arrived <- struct{}{}
			}
			discard(c)
		})
		for _, c := range calls() {
			d := s.open(t, of(p.endpoint), patience)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.do(ctx, d) }()
			<-arrived
			cancel()
			within(t, c.name, slack, func() {
				wantError(t, c.name, <-done, []spec.ErrorKind{spec.Interrupted}, "")
			})
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
