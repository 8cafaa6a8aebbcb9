package pegasus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// wantError checks a kind, and that the message holds each part.
func wantError(t *testing.T, err error, kind spec.ErrorKind, parts ...string) {
	t.Helper()
	var e *spec.Error
	if err == nil || !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error %v, want kind %v", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+" "+spec.HintOf(err), part) {
			t.Errorf("%q (%q) lacks %q", err, spec.HintOf(err), part)
		}
	}
}

// within fails a test that takes longer than a call may.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if took := time.Since(start); took > limit {
		t.Errorf("took %v, over %v", took, limit)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string][]string{
		"127.0.0.1:34601":             {"127.0.0.1:34601"},
		"a:1, b-2.example:34602,a:1":  {"a:1", "b-2.example:34602"},
		"[::1]:34601,localhost:34602": {"[::1]:34601", "localhost:34602"},
	} {
		got, err := parseMetas(address)
		if diff := cmp.Diff(want, got); err != nil || diff != "" || !System().Accepts(address) {
			t.Errorf("%s: %v %s", address, err, diff)
		}
	}
	for _, bad := range []string{
		"", "a", "a:", ":1", "a:0", "a:65536", "a:b", "a:1,", ",", "http://a:1", "zk://a:1,b:2/root", "a b:1", "a\x1b[2J:1", "a:1/x",
	} {
		d, err := New(bad, cluster.Options{})
		if d != nil {
			t.Errorf("%q is an address", bad)
		}
		wantError(t, err, spec.Usage, "host:port")
		if _, err := System().Open(bad, cluster.Options{}); err == nil || System().Accepts(bad) {
			t.Errorf("%q opens: %v", bad, err)
		}
	}
	if p := System().Prompt("onebox", "TableA"); p != "onebox TableA>>> " {
		t.Errorf("prompt %q", p)
	}
	if p := System().Prompt("onebox", ""); p != "onebox>>> " {
		t.Errorf("prompt %q", p)
	}
	if err := System().Zero.Close(); err != nil {
		t.Error(err)
	}
}

func TestRows(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 5*time.Second, b.meta.endpoint)
	ctx := t.Context()
	hash, sort := []byte("h\x00\xff"), []byte("s\n")
	ack, err := d.Set(ctx, boxTable, hash, sort, []byte("v\x00"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	where, err := d.Locate(ctx, boxTable, hash, sort)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Ack{AppID: 2, Partition: where.Partition, Decree: 11, Server: b.node.endpoint}); ack != want {
		t.Errorf("ack %+v, want %+v", ack, want)
	}
	want := Location{AppID: 2, Partitions: 4, Partition: int(wire.Hash(hash, nil) % 4), Hash: wire.Hash(hash, nil), Primary: b.node.endpoint}
	if diff := cmp.Diff(want, where); diff != "" {
		t.Error(diff)
	}
	value, found, ack, err := d.Get(ctx, boxTable, hash, sort)
	if err != nil || !found || string(value) != "v\x00" || ack.Decree != -1 {
		t.Errorf("get %q %v %+v %v", value, found, ack, err)
	}
	left, found, _, err := d.TTL(ctx, boxTable, hash, sort)
	if err != nil || !found || left > time.Minute || left < 55*time.Second {
		t.Errorf("ttl %v %v %v", left, found, err)
	}
	if n, _, err := d.SortKeyCount(ctx, boxTable, hash); err != nil || n != 1 {
		t.Errorf("count %d %v", n, err)
	}
	if ack, err := d.Del(ctx, boxTable, hash, sort); err != nil || ack.Decree != 12 {
		t.Errorf("del %+v %v", ack, err)
	}
	if _, found, _, err := d.Get(ctx, boxTable, hash, sort); err != nil || found {
		t.Errorf("get of a deleted row: %v %v", found, err)
	}
	if _, found, _, err := d.TTL(ctx, boxTable, hash, sort); err != nil || found {
		t.Errorf("ttl of a deleted row: %v %v", found, err)
	}
	b.put("h", "s", "", 0)
	if left, found, _, err := d.TTL(ctx, boxTable, []byte("h"), []byte("s")); err != nil || !found || left != -1 {
		t.Errorf("ttl of a row without one: %v %v %v", left, found, err)
	}
	if n := b.meta.calls(wire.QueryConfig.Name); n != 2 {
		t.Errorf("the meta server was asked %d times, want one for the rows and one to locate", n)
	}
}

func TestRowErrors(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 5*time.Second, b.meta.endpoint)
	ctx := t.Context()
	_, _, _, err := d.Get(ctx, "nope", []byte("h"), nil)
	wantError(t, err, spec.NotFound, "nope", "ls lists", wire.CodeObjectNotFound, b.meta.endpoint)
	_, err = d.Set(ctx, boxTable, make([]byte, 65535), nil, nil, 0)
	wantError(t, err, spec.Usage)
	_, err = d.Set(ctx, boxTable, []byte("h"), nil, nil, -time.Second)
	wantError(t, err, spec.Usage)
	_, _, err = d.SortKeyCount(ctx, boxTable, nil)
	wantError(t, err, spec.Usage)
	always(b.node, &wire.Put, wire.UpdateResponse{Error: wire.StatusIOError, Server: b.node.endpoint})
	_, err = d.Set(ctx, boxTable, []byte("h"), nil, nil, 0)
	wantError(t, err, spec.Failed, "io error", b.node.endpoint)
	for code, kind := range map[string]spec.ErrorKind{
		wire.CodeBusy: spec.Unavailable, wire.CodeDiskInsufficient: spec.Failed, wire.CodeInvalidData: spec.Failed,
		wire.CodeTimeout: spec.UnknownOutcome, wire.CodeACLDeny: spec.Failed, "ERR_OF_THE_FUTURE": spec.Failed,
	} {
		b.node.reject(wire.Put.Name, code)
		before := b.node.calls(wire.Put.Name)
		_, err = d.Set(ctx, boxTable, []byte("h"), nil, nil, 0)
		wantError(t, err, kind, code, b.node.endpoint)
		if n := b.node.calls(wire.Put.Name) - before; n != 1 {
			t.Errorf("%s: a write was sent %d times", code, n)
		}
	}
}

func TestCallsAreTraced(t *testing.T) {
	b := newBox(t, 1)
	var mu sync.Mutex
	var lines []cluster.Trace
	d := openWith(t, cluster.Options{
		Timeout: func() time.Duration { return 5 * time.Second },
		Trace: func(_ context.Context, line cluster.Trace) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		},
	}, b.meta.endpoint)
	if _, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil); err != nil {
		t.Fatal(err)
	}
	b.node.reject(wire.Get.Name, wire.CodeBusy)
	if _, _, _, err := d.Get(t.Context(), boxTable, []byte("h"), nil); err == nil {
		t.Fatal("no error")
	}
	_, _, _, _ = d.Get(t.Context(), "nope", []byte("h"), nil)
	var got []string
	for _, line := range lines {
		if line.Took <= 0 || line.Took > 5*time.Second {
			t.Errorf("took %v", line.Took)
		}
		got = append(got, line.Peer+" "+line.Method+" "+line.Code)
	}
	want := []string{
		b.meta.endpoint + " " + wire.QueryConfig.Name + " ERR_OK",
		b.node.endpoint + " " + wire.Get.Name + " ERR_OK",
		b.node.endpoint + " " + wire.Get.Name + " ERR_BUSY",
		b.meta.endpoint + " " + wire.QueryConfig.Name + " ERR_OBJECT_NOT_FOUND",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClose(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.meta.endpoint)
	arrived := make(chan struct{})
	b.node.handle(wire.Put.Name, func(*client, *wire.Request) []byte { close(arrived); return nil })
	result := make(chan error, 1)
	go func() {
		_, err := d.Set(context.Background(), boxTable, []byte("h"), nil, nil, 0)
		result <- err
	}()
	<-arrived
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-result, spec.UnknownOutcome, "closed")
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Unavailable, "closed")
	for _, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1}) {
		wantError(t, err, spec.Unavailable, "closed")
	}
}

func TestInterrupted(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.meta.endpoint)
	for name, kind := range map[string]spec.ErrorKind{wire.Put.Name: spec.UnknownOutcome, wire.Get.Name: spec.Interrupted} {
		ctx, cancel := context.WithCancel(t.Context())
		b.node.handle(name, func(*client, *wire.Request) []byte { cancel(); return nil })
		var err error
		if name == wire.Put.Name {
			_, err = d.Set(ctx, boxTable, []byte("h"), nil, nil, 0)
		} else {
			_, _, _, err = d.Get(ctx, boxTable, []byte("h"), nil)
		}
		wantError(t, err, kind)
		cancel()
	}
}
