package coord

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"shardsh/cluster/sandbox/fault"
)

// process is one process's way to a tree that is under test.
type process struct {
	Tree
	gate  *fault.Gate
	pause func() // stops it in its tracks
}

// conform checks what holds of every tree. fresh makes a process that has the root to itself, with the others.
func conform(t *testing.T, fresh func(t *testing.T) process) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, open func() (process, Session))
	}{
		{"nodes", testNodes},
		{"ephemeral", testEphemeral},
		{"sequential", testSequential},
		{"watch", testWatch},
		{"abandoned", testAbandoned},
		{"paused", testPaused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, func() (process, Session) {
				p := fresh(t)
				s, err := p.Open(soon(t))
				if err != nil {
					t.Fatalf("a session below %s: %v", p.Root(), err)
				}
				t.Cleanup(func() { _ = s.Close() })
				return p, s
			})
		})
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want %v", got, want)
	}
}

func testNodes(t *testing.T, open func() (process, Session)) {
	p, s := open()
	at := p.Root() + "/table/db_table_data/7"
	_, _, err := s.Get(at)
	want(t, err, ErrNoNode)
	_, err = s.Children(at)
	want(t, err, ErrNoNode)
	want(t, s.Set(at, nil, AnyVersion), ErrNoNode)
	want(t, s.Delete(at, AnyVersion), ErrNoNode)
	if made := must[string](t)(s.Create(at, []byte("one"), Persistent)); made != at {
		t.Errorf("made %s", made)
	}
	_, err = s.Create(at, nil, Persistent)
	want(t, err, ErrExists)
	want(t, s.Set(at, []byte("two"), 0), nil)
	want(t, s.Set(at, []byte("three"), 0), ErrVersion)
	data, version, err := s.Get(at)
	if err != nil || string(data) != "two" || version != 1 {
		t.Errorf("%q at version %d, %v", data, version, err)
	}
	if data, version, err := s.Get(p.Root() + "/table"); err != nil || len(data) != 0 || version != 0 {
		t.Errorf("a parent: %q at version %d, %v", data, version, err)
	}
	for _, name := range []string{"10", "9"} {
		must[string](t)(s.Create(p.Root()+"/table/db_table_data/"+name, nil, Persistent))
	}
	if names := must[[]string](t)(s.Children(p.Root() + "/table/db_table_data")); !slices.Equal(names, []string{"10", "7", "9"}) {
		t.Errorf("children: %v", names)
	}
	want(t, s.Delete(p.Root()+"/table", AnyVersion), ErrNotEmpty)
	want(t, s.Delete(at, 0), ErrVersion)
	want(t, s.Delete(at, 1), nil)
	_, _, err = s.Get(at)
	want(t, err, ErrNoNode)
}

func testEphemeral(t *testing.T, open func() (process, Session)) {
	p, mine := open()
	_, theirs := open()
	at := p.Root() + "/nodes/127.0.0.1:8541"
	must[string](t)(mine.Create(at, []byte("startup_127.0.0.1:8541"), Ephemeral))
	_, err := theirs.Create(at, nil, Ephemeral)
	want(t, err, ErrExists)
	if _, err := mine.Create(at+"/below", nil, Persistent); err == nil {
		t.Error("an ephemeral node has a child")
	}
	want(t, mine.Close(), nil)
	<-mine.Expired()
	_, _, err = theirs.Get(at)
	want(t, err, ErrNoNode)
	_, err = mine.Create(at, nil, Ephemeral)
	want(t, err, ErrExpired)
	_, _, err = mine.Get(at)
	want(t, err, ErrExpired)
	must[string](t)(theirs.Create(at, nil, Ephemeral))
}

func testSequential(t *testing.T, open func() (process, Session)) {
	p, mine := open()
	_, theirs := open()
	lock := p.Root() + "/leader/lock_request"
	first := must[string](t)(mine.Create(lock, []byte("a"), EphemeralSequential))
	second := must[string](t)(theirs.Create(lock, []byte("b"), EphemeralSequential))
	if len(first) != len(lock)+10 || second <= first {
		t.Errorf("%s, then %s", first, second)
	}
	want(t, theirs.Close(), nil)
	third := must[string](t)(mine.Create(lock, []byte("a"), EphemeralSequential))
	if third <= second {
		t.Errorf("%s after %s", third, second)
	}
}

// seen waits for a signal after which the condition holds.
func seen(t *testing.T, signals <-chan struct{}, holds func() bool) {
	t.Helper()
	end := soon(t)
	for {
		select {
		case <-signals:
			if holds() {
				return
			}
		case <-end.Done():
			t.Fatal("no signal that brings what was waited for")
		}
	}
}

func testWatch(t *testing.T, open func() (process, Session)) {
	p, mine := open()
	_, theirs := open()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at := p.Root() + "/table/notify"
	signals := mine.Watch(ctx, at)
	is := func(text string) func() bool {
		return func() bool {
			data, _, err := mine.Get(at)
			if text == "" {
				return errors.Is(err, ErrNoNode)
			}
			return err == nil && bytes.Equal(data, []byte(text))
		}
	}
	seen(t, signals, is(""))
	must[string](t)(theirs.Create(at, []byte("1"), Persistent))
	seen(t, signals, is("1"))
	want(t, theirs.Set(at, []byte("2"), AnyVersion), nil)
	seen(t, signals, is("2"))
	children := func(n int) func() bool {
		return func() bool {
			names, err := mine.Children(at)
			return err == nil && len(names) == n
		}
	}
	must[string](t)(theirs.Create(at+"/child", nil, Ephemeral))
	seen(t, signals, children(1))
	want(t, theirs.Close(), nil)
	seen(t, signals, children(0))
	want(t, mine.Delete(at, AnyVersion), nil)
	seen(t, signals, is(""))
}

func testAbandoned(t *testing.T, open func() (process, Session)) {
	p, mine := open()
	_, theirs := open()
	at := p.Root() + "/nodes/x"
	must[string](t)(mine.Create(at, nil, Ephemeral))
	signals := theirs.Watch(t.Context(), at)
	<-signals
	mine.Abandon()
	_, _, err := mine.Get(at)
	want(t, err, ErrExpired)
	if _, _, err := theirs.Get(at); err != nil {
		t.Errorf("the node of a session that was abandoned just now: %v", err)
	}
	seen(t, signals, func() bool {
		_, _, err := theirs.Get(at)
		return errors.Is(err, ErrNoNode)
	})
}

func testPaused(t *testing.T, open func() (process, Session)) {
	p, mine := open()
	_, theirs := open()
	at := p.Root() + "/nodes/x"
	must[string](t)(mine.Create(at, nil, Ephemeral))
	signals := theirs.Watch(t.Context(), at)
	p.pause()
	returned := make(chan error, 1)
	go func() { returned <- mine.Set(at, []byte("while paused"), AnyVersion) }()
	seen(t, signals, func() bool {
		_, _, err := theirs.Get(at)
		return errors.Is(err, ErrNoNode)
	})
	select {
	case err := <-returned:
		t.Errorf("a paused process did something: %v", err)
	default:
	}
	p.gate.Resume()
	if err := <-returned; err == nil { // a real client may find out that it is over only after a lost connection
		t.Error("a session that is over took a change")
	}
	<-mine.Expired()
	want(t, mine.Set(at, nil, AnyVersion), ErrExpired)
}
