package pool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// link is a connection that lasts until it is ended.
type link struct {
	endpoint string
	tired    atomic.Bool
	ended    chan struct{}
	once     sync.Once
}

func (l *link) end() { l.once.Do(func() { close(l.ended) }) }

type lab struct {
	*Pool[*link]
	dials, serving atomic.Int64
	refuse         atomic.Pointer[error]
	hold           chan struct{} // nil, or what diallings wait for
}

func newLab(t *testing.T, hold chan struct{}) *lab {
	l := &lab{hold: hold}
	l.Pool = New(Config[*link]{
		Timeout: func() time.Duration { return time.Minute },
		Dial: func(ctx context.Context, endpoint string) (*link, error) {
			l.dials.Add(1)
			if l.hold != nil {
				select {
				case <-l.hold:
				case <-ctx.Done(): // a dialling that succeeds all the same
				}
			}
			if err := l.refuse.Load(); err != nil {
				return nil, *err
			}
			return &link{endpoint: endpoint, ended: make(chan struct{})}, nil
		},
		Usable: func(c *link) bool { return !c.tired.Load() },
		Serve:  func(c *link) { l.serving.Add(1); <-c.ended; l.serving.Add(-1) },
		End:    (*link).end,
	})
	t.Cleanup(func() {
		l.Close()
		if n := l.serving.Load(); n != 0 {
			t.Errorf("%d connections are served after the end", n)
		}
	})
	return l
}

func TestPoolDialsOnce(t *testing.T) {
	hold := make(chan struct{})
	l := newLab(t, hold)
	got := make(chan *link, 20)
	for range 20 {
		go func() {
			c, err := l.Get(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
			got <- c
		}()
	}
	close(hold)
	first := <-got
	for range 19 {
		if c := <-got; c != first {
			t.Error("there are two connections")
		}
	}
	if n := l.dials.Load(); n != 1 || l.Known("a") != first || l.Known("b") != nil {
		t.Errorf("%d diallings", n)
	}
}

func TestPoolReplaces(t *testing.T) {
	l := newLab(t, nil)
	a, err := l.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	a.tired.Store(true)
	b, err := l.Get(t.Context(), "a")
	if err != nil || b == a || b.endpoint != "a" {
		t.Fatal(b, err)
	}
	why := errors.New("nobody there")
	l.refuse.Store(&why)
	if _, err := l.Get(t.Context(), "c"); !errors.Is(err, why) {
		t.Error(err)
	}
	l.refuse.Store(nil)
	if _, err := l.Get(t.Context(), "c"); err != nil {
		t.Errorf("a failure is remembered: %v", err)
	}
}

func TestPoolGivesUpWaiting(t *testing.T) {
	hold := make(chan struct{})
	l := newLab(t, hold)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hold)
	if _, err := l.Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// TestPoolCloses: what was being dialled is ended, and nothing begins any more.
func TestPoolCloses(t *testing.T) {
	l := newLab(t, make(chan struct{}))
	failed := make(chan error)
	go func() {
		_, err := l.Get(t.Context(), "a")
		failed <- err
	}()
	for l.dials.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	also := false
	l.Close(func() { also = true })
	if err := <-failed; !errors.Is(err, ErrClosed) || !also {
		t.Error(err, also)
	}
	if _, err := l.Get(t.Context(), "b"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if l.Spawn(func() { t.Error("it runs") }) || l.Context().Err() == nil {
		t.Error("it is not closed")
	}
}

// Connections that tire while many ask for them: whoever gets no error gets a connection.
func TestPoolTires(t *testing.T) {
	l := newLab(t, nil)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 500 {
				c, err := l.Get(t.Context(), "a")
				if err != nil || c == nil {
					t.Errorf("%v, %v", c, err)
					return
				}
				c.tired.Store(true)
				c.end()
			}
		})
	}
	asking.Wait()
}
