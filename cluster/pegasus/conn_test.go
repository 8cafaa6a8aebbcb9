package pegasus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Requests of many callers share one connection, and answers in the opposite order find their callers.
func TestPipelining(t *testing.T) {
	const n = 50
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.meta.endpoint)
	if _, _, _, err := d.Get(t.Context(), boxTable, []byte("warm"), nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var held []*wire.Request
	b.node.handle(wire.Get.Name, func(c *client, q *wire.Request) []byte {
		mu.Lock()
		defer mu.Unlock()
		if held = append(held, q); len(held) < n {
			return nil
		}
		var out []byte
		for i := len(held) - 1; i >= 0; i-- {
			var key []byte
			if err := wire.Get.DecodeArgs(held[i].Args, &key); err != nil {
				t.Error(err)
			}
			out = wire.Get.AppendReply(out, held[i].Seq, &wire.GetResponse{Value: key[2:]})
		}
		return out
	})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			want := fmt.Sprint("key", i)
			value, _, _, err := d.Get(t.Context(), boxTable, []byte(want), nil)
			if err != nil || string(value) != want {
				t.Errorf("%s: %q %v", want, value, err)
			}
		})
	}
	group.Wait()
	b.node.mu.Lock()
	defer b.node.mu.Unlock()
	if b.node.accepted != 1 {
		t.Errorf("%d connections", b.node.accepted)
	}
}

func TestTimeouts(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 200*time.Millisecond, b.meta.endpoint)
	if _, _, _, err := d.Get(t.Context(), boxTable, []byte("warm"), nil); err != nil {
		t.Fatal(err)
	}
	b.node.silent(wire.Put.Name)
	b.node.silent(wire.Get.Name)
	within(t, 3*time.Second, func() {
		_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, nil, 0)
		wantError(t, err, spec.UnknownOutcome, b.node.endpoint, "no answer in time", "read it back")
		_, _, _, err = d.Get(t.Context(), boxTable, []byte("h"), nil)
		wantError(t, err, spec.Unavailable, b.node.endpoint, "no answer in time")
	})
	if n := b.node.calls(wire.Put.Name); n != 1 {
		t.Errorf("the write was sent %d times", n)
	}
}

// An answer that comes after its caller gave up disturbs nobody.
func TestLateAnswers(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	b.node.handle(wire.Get.Name, func(_ *client, q *wire.Request) []byte {
		out := wire.Get.AppendReply(nil, q.Seq+1000, &wire.GetResponse{Value: []byte("for nobody")})
		return wire.Get.AppendReply(out, q.Seq, &wire.GetResponse{Value: []byte("mine")})
	})
	for range 3 {
		value, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil)
		if err != nil || string(value) != "mine" {
			t.Errorf("%q %v", value, err)
		}
	}
}

// A connection that a server closed between calls costs no caller anything.
func TestReconnect(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	for i := range 5 {
		key := []byte{'k', byte(i)}
		if _, err := d.Set(t.Context(), boxTable, key, nil, key, 0); err != nil {
			// A write that met the closing connection may have been sent.
			wantError(t, err, spec.UnknownOutcome)
		}
		b.node.hangUp()
		if _, _, _, err := d.Get(t.Context(), boxTable, key, nil); err != nil {
			t.Fatalf("read after a lost connection: %v", err)
		}
		b.meta.hangUp()
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatalf("meta call after a lost connection: %v", err)
		}
	}
}

// A server that is gone: nothing was sent, so even a write is known not to have happened.
func TestServerGone(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	b.node.stop()
	within(t, 3*time.Second, func() {
		_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, nil, 0)
		wantError(t, err, spec.Unavailable, b.node.endpoint, "refused")
	})
}

// A connection that breaks under its requests: a write may have happened, a read is tried until the time is over.
func TestConnectionBreaks(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 400*time.Millisecond, b.meta.endpoint)
	hangUp := func(c *client, _ *wire.Request) []byte { c.socket.Close(); return nil }
	b.node.handle(wire.Put.Name, hangUp)
	b.node.handle(wire.Get.Name, hangUp)
	within(t, 4*time.Second, func() {
		_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, nil, 0)
		wantError(t, err, spec.UnknownOutcome, b.node.endpoint)
		if n := b.node.calls(wire.Put.Name); n != 1 {
			t.Errorf("the write was sent %d times", n)
		}
		_, _, _, err = d.Get(t.Context(), boxTable, []byte("h"), nil)
		wantError(t, err, spec.Unavailable, b.node.endpoint)
		if n := b.node.calls(wire.Get.Name); n < 2 {
			t.Errorf("the read was sent %d times", n)
		}
	})
}

// bad answers, for a call answered by good.
func badAnswers(good []byte) map[string][]byte {
	text := func(s string) []byte { return []byte(s) }
	short := func(n int) []byte { // counted right, but its message ends early
		b := append([]byte(nil), good[:n]...)
		binary.BigEndian.PutUint32(b, uint32(n))
		return b
	}
	bad := map[string][]byte{
		"HTTP":          text("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
		"zeros":         make([]byte, 64),
		"ones":          bytes.Repeat([]byte{0xff}, 64),
		"oversize":      append([]byte{0x7f, 0xff, 0xff, 0xff}, good...),
		"over 64 MiB":   append([]byte{0x04, 0, 0, 1}, good...),
		"escape":        text("\x00\x00\x00\x08\x1b[2J"),
		"not a reply":   bytes.Replace(good, []byte("\x80\x01\x00\x02"), []byte("\x80\x01\x00\x01"), 1),
		"trailing byte": append(append([]byte(nil), good...), 0),
	}
	binary.BigEndian.PutUint32(bad["trailing byte"], uint32(len(good)+1))
	for n := 5; n < len(good); n += 3 {
		bad[fmt.Sprint("short ", n)] = short(n)
	}
	return bad
}

// Whatever a server sends, the call ends with an error that names it, within the timeout.
func TestBadAnswers(t *testing.T) {
	b := newBox(t, 1)
	config := b.describe()
	check := func(t *testing.T, s *server, name string, answer []byte, run func(*Driver) error) {
		s.handle(name, func(c *client, _ *wire.Request) []byte {
			c.write(answer)
			c.socket.Close()
			return nil
		})
		d := open(t, 150*time.Millisecond, b.meta.endpoint)
		defer d.Close()
		within(t, 3*time.Second, func() {
			err := run(d)
			if err == nil || !strings.Contains(err.Error(), s.endpoint) || spec.KindOf(err) != spec.Unavailable && spec.KindOf(err) != spec.UnknownOutcome {
				t.Errorf("error %v of kind %v", err, spec.KindOf(err))
			}
		})
	}
	put := wire.Put.AppendReply(nil, 1, &wire.UpdateResponse{Server: "x"})
	for name, answer := range badAnswers(put) {
		t.Run("replica "+name, func(t *testing.T) {
			check(t, b.node, wire.Put.Name, answer, func(d *Driver) error {
				_, err := d.Set(t.Context(), boxTable, []byte("h"), nil, nil, 0)
				return err
			})
		})
	}
	for name, answer := range badAnswers(wire.QueryConfig.AppendReply(nil, 1, config)) {
		t.Run("meta "+name, func(t *testing.T) {
			check(t, b.meta, wire.QueryConfig.Name, answer, func(d *Driver) error {
				_, err := d.Partitions(t.Context(), boxTable)
				return err
			})
		})
	}
}

// Answers cut at every length, on a connection that then just stays open.
func TestTruncatedAnswers(t *testing.T) {
	b := newBox(t, 1)
	full := wire.Get.AppendReply(nil, 1, &wire.GetResponse{Value: []byte("v"), Server: "s"})
	var group sync.WaitGroup
	for n := range full {
		group.Go(func() {
			s := newServer(t)
			s.handle(wire.CallCommand.Name, func(*client, *wire.Request) []byte { return full[:n] })
			d := open(t, 300*time.Millisecond, b.meta.endpoint)
			_, err := d.RemoteCommand(t.Context(), s.endpoint, "help")
			var e *spec.Error
			if !errors.As(err, &e) || e.Kind != spec.Unavailable || e.Endpoint != s.endpoint {
				t.Errorf("%d bytes: %v", n, err)
			}
		})
	}
	group.Wait()
}

func TestKerberos(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer wire.NegotiationStatus
		probed bool
		part   string
	}{
		{"demanded", wire.AuthListMechanismsResp, true, "demands Kerberos"},
		{"disabled", wire.AuthDisable, true, "no answer in time"},
		{"silent", 0, true, "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.mu.Lock()
			s.other = func(*client, *wire.Request) []byte { return nil }
			s.mu.Unlock()
			on(s, &wire.Negotiate, func(_ wire.Header, q *wire.Negotiation) *wire.Negotiation {
				if q.Status != wire.AuthListMechanisms {
					t.Errorf("the dialogue opens with %d", q.Status)
				}
				if c.answer == 0 {
					return nil
				}
				return &wire.Negotiation{Status: c.answer, Msg: []byte("GSSAPI")}
			})
			d := open(t, 600*time.Millisecond, s.endpoint)
			within(t, 3*time.Second, func() {
				_, err := d.Nodes(t.Context())
				wantError(t, err, spec.Unavailable, c.part)
				if c.part == "demands Kerberos" {
					wantError(t, err, spec.Unavailable, s.endpoint, kerberosHint)
					_, err = d.CreateApp(t.Context(), NewApp{Name: "t", Partitions: 4, Replicas: 3})
					wantError(t, err, spec.Unavailable, c.part)
				}
			})
			if n := s.calls(wire.Negotiate.Name); n == 0 || c.part != "demands Kerberos" && n > 1 {
				t.Errorf("probed %d times", n)
			}
		})
	}
	// A server that has answered before is only slow.
	b := newBox(t, 1)
	d := open(t, 300*time.Millisecond, b.meta.endpoint)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.meta.silent(wire.ListNodes.Name)
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, "no answer in time")
	if n := b.meta.calls(wire.Negotiate.Name); n != 0 {
		t.Errorf("probed %d times", n)
	}
}
