package openmldb

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// wantError checks a kind, and that message and hint hold each part.
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
	for address, want := range map[string]place{
		"ns://127.0.0.1:6527":                {servers: []string{"127.0.0.1:6527"}},
		"ns://a:1, b-2.example:6527,a:1":     {servers: []string{"a:1", "b-2.example:6527"}},
		"zk://[::1]:2181,h:2/openmldb":       {servers: []string{"[::1]:2181", "h:2"}, root: "/openmldb"},
		"zk://172.27.128.31:8090/a/b_c.d-1/": {servers: []string{"172.27.128.31:8090"}, root: "/a/b_c.d-1"},
	} {
		got, err := parseAddress(address)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); err != nil || diff != "" || !System().Accepts(address) {
			t.Errorf("%s: %v %s", address, err, diff)
		}
	}
	for _, bad := range []string{
		"", "a:1", "ns://", "ns://a", "ns://:1", "ns://a:0", "ns://a:65536", "ns://a:1,", "ns://a:1/x", "zk://a:1", "zk://a:1/", "zk:///r",
		"zk://a:1/x//y", "zk://a:1/../x", "zk://a:1/x y", "zk://a:1/x\x1b", "zk://a:1/\u202ex", "http://a:1", "ns://a b:1", "NS://a:1",
	} {
		d, err := New(bad, cluster.Options{})
		if d != nil {
			t.Errorf("%q is an address", bad)
		}
		wantError(t, err, spec.Usage, "zk://host:port", "ns://host:port")
		if _, err := System().Open(bad, cluster.Options{}); err == nil || System().Accepts(bad) {
			t.Errorf("%q opens: %v", bad, err)
		}
	}
	if p := System().Prompt("openmldb", "db"); p != "openmldb db> " {
		t.Errorf("prompt %q", p)
	}
	if p := System().Prompt("openmldb", ""); p != "openmldb> " {
		t.Errorf("prompt %q", p)
	}
	if err := System().Zero.Close(); err != nil {
		t.Error(err)
	}
}

func TestCredentials(t *testing.T) {
	for user, want := range map[string]string{
		"":     "sdefault",
		"root": "uroot:12bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
	} {
		b := newBox(t, 1)
		d := openWith(t, cluster.Options{Settings: map[string]string{"user": user, "password": "secret"}}, b.ns)
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.ns.mu.Lock()
		got := b.ns.admitted
		b.ns.mu.Unlock()
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Error(diff)
		}
	}
	// Without a password: its hash is the one of nothing.
	if got := credential(map[string]string{"user": "root"}); got != "uroot:1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Error(got)
	}
	b := newBox(t, 1)
	d := openWith(t, cluster.Options{Settings: map[string]string{"user": "nobody"}}, b.ns)
	_, err := d.Nodes(t.Context())
	wantError(t, err, spec.Failed, b.ns.endpoint, "1004", "password_file")
}
