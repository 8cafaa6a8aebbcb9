package coord

import (
	"errors"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/sandbox/fault"
)

func openLocal(t *testing.T, dir string) *Local {
	t.Helper()
	l, err := OpenLocal(dir, "/openmldb", 200*time.Millisecond, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLocal(t *testing.T) {
	trees := map[string]*Local{}
	conform(t, func(t *testing.T) process {
		l := trees[t.Name()]
		if l == nil {
			l = openLocal(t, t.TempDir())
			trees[t.Name()] = l
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		gate := &fault.Gate{}
		c := l.Client(gate)
		return process{c, gate, func() { gate.Pause(); c.Silent(true) }}
	})
}

// What is persistent is there in the next run, with its version and its counters.
func TestLocalSurvives(t *testing.T) {
	dir := t.TempDir()
	l := openLocal(t, dir)
	s := must[Session](t)(l.Client(nil).Open(t.Context()))
	must[string](t)(s.Create("/openmldb/op/op_data/7", []byte("op"), Persistent))
	want(t, s.Set("/openmldb/op/op_data/7", []byte("op 2"), AnyVersion), nil)
	must[string](t)(s.Create("/openmldb/op/op_data/8", nil, Persistent))
	want(t, s.Delete("/openmldb/op/op_data/8", AnyVersion), nil)
	lock := must[string](t)(s.Create("/openmldb/leader/lock_request", nil, EphemeralSequential))
	must[string](t)(s.Create("/openmldb/nodes/x", nil, Ephemeral))
	want(t, l.Close(), nil)
	if _, err := l.Client(nil).Open(t.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("a session of a closed tree: %v", err)
	}

	l = openLocal(t, dir)
	defer l.Close()
	s = must[Session](t)(l.Client(nil).Open(t.Context()))
	data, version, err := s.Get("/openmldb/op/op_data/7")
	if err != nil || string(data) != "op 2" || version != 1 {
		t.Errorf("%q at version %d, %v", data, version, err)
	}
	if names, err := s.Children("/openmldb/op/op_data"); err != nil || strings.Join(names, " ") != "7" {
		t.Errorf("children %v, %v", names, err)
	}
	if names, err := s.Children("/openmldb/nodes"); err != nil || len(names) != 0 {
		t.Errorf("nodes %v, %v", names, err)
	}
	if next := must[string](t)(s.Create("/openmldb/leader/lock_request", nil, EphemeralSequential)); next <= lock {
		t.Errorf("%s after %s", next, lock)
	}
	for _, at := range []string{"", "/", "x", "/x/", "/x//y", "/x/../y"} {
		if _, err := s.Create(at, nil, Persistent); err == nil {
			t.Errorf("a node at %q was made", at)
		}
	}
}

// A process that is silent for less than the session timeout keeps its session.
func TestShortSilence(t *testing.T) {
	l, err := OpenLocal(t.TempDir(), "/openmldb", time.Hour, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := l.Client(nil)
	s := must[Session](t)(c.Open(t.Context()))
	must[string](t)(s.Create("/openmldb/nodes/x", nil, Ephemeral))
	c.Silent(true)
	c.Silent(false)
	if _, _, err := s.Get("/openmldb/nodes/x"); err != nil {
		t.Error(err)
	}
}
