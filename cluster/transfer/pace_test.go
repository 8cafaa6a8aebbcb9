package transfer

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shardsh/commands/spec"
)

func TestPacer(t *testing.T) {
	took := func(t *testing.T, p *Pacer, rows, bytes int64) time.Duration {
		began := time.Now()
		if err := p.Wait(t.Context(), rows, bytes); err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	within := func(what string, d, want time.Duration) {
		if d < want-want/8 || d > want+want/8 {
			t.Errorf("%s took %v, not about %v", what, d, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[spec.Rate]
		now.Store(&spec.Rate{Rows: 1000, Bytes: 100})
		p := NewPacer(func() spec.Rate { return *now.Load() })
		within("200 bytes at 100 a second", took(t, p, 10, 200), 1900*time.Millisecond)
		now.Store(&spec.Rate{Rows: 1000})
		p.Look()
		within("5000 rows at 1000 a second", took(t, p, 5000, 1<<40), 4900*time.Millisecond)
		go func() {
			time.Sleep(time.Second)
			now.Store(&spec.Rate{Rows: 10_000})
		}()
		within("11000 rows, a second at 1000 and the rest at 10000", took(t, p, 11_000, 0), 2*time.Second)
		now.Store(&spec.Rate{})
		p.Look()
		within("no limit", took(t, p, 1<<40, 1<<40), 0)
		p.Rest(time.Second)
		p.Rest(time.Millisecond)
		within("a rest", took(t, p, 1, 1), time.Second)
	})
}

func TestPacerEndsWithTheContext(t *testing.T) {
	for name, p := range map[string]*Pacer{
		"limited": NewPacer(func() spec.Rate { return spec.Rate{Rows: 1e-3} }),
		"resting": NewPacer(func() spec.Rate { return spec.Rate{} }),
	} {
		p.Rest(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if err := p.Wait(ctx, 10, 10); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
