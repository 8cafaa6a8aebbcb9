package transfer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"shardsh/commands/spec"
)

// gate bounds the writes under way by what the store takes: half as many after each time that it asked for less, after a
// pause; one more for every round of writes that went well.
type gate struct {
	mu     sync.Mutex
	free   *sync.Cond
	most   float64
	limit  float64
	inside int
	shut   bool // a pause
	ended  bool
	pause  time.Duration // the last one
	last   time.Time     // when the store last asked for less
}

const (
	firstWrites     = 128
	shortestShut    = 50 * time.Millisecond
	longestShut     = 2 * time.Second
	lessIsShownLong = 3 * time.Second
)

func newGate(most int) *gate {
	g := &gate{most: float64(most), limit: float64(min(firstWrites, most))}
	g.free = sync.NewCond(&g.mu)
	return g
}

// enter reports false when it is over.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.ended && (g.shut || float64(g.inside) >= g.limit) {
		g.free.Wait()
	}
	if g.ended {
		return false
	}
	if g.inside++; float64(g.inside) < g.limit {
		g.free.Signal()
	}
	return true
}

func (g *gate) leave(well bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if well {
		g.limit, g.pause = min(g.most, g.limit+1/g.limit), 0
	}
	g.free.Signal()
}

// slow is told that what began at a time was too much. What had begun before the last such time says nothing new.
func (g *gate) slow(began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if began.Before(g.last) {
		return
	}
	g.limit, g.last = max(1, g.limit/2), time.Now()
	g.pause = min(max(2*g.pause, shortestShut), longestShut)
	g.shut = true
	time.AfterFunc(g.pause, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = false
		g.free.Broadcast()
	})
}

func (g *gate) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.free.Broadcast()
}

// slowed answers how many writes are let through, and whether that is because the store asked for less of late.
func (g *gate) slowed() (limit int, lately bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.limit), !g.last.IsZero() && time.Since(g.last) < lessIsShownLong
}

// pacer keeps to a rate that may change at any time.
type pacer struct {
	limited atomic.Bool
	turn    chan struct{} // who has the token waits for the limiters, the others for it
	rows    *rate.Limiter
	bytes   *rate.Limiter
}

func newPacer() *pacer {
	return &pacer{turn: make(chan struct{}, 1), rows: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, 1)}
}

func (l *pacer) set(r spec.Rate) {
	setLimit(l.rows, r.Rows)
	setLimit(l.bytes, r.Bytes)
	l.limited.Store(r.Rows > 0 || r.Bytes > 0)
}

// setLimit lets a tenth of a second's worth through at once, so that a change is felt as soon.
func setLimit(l *rate.Limiter, perSecond float64) {
	limit, burst := rate.Inf, 1
	if perSecond > 0 {
		limit, burst = rate.Limit(perSecond), int(max(1, perSecond/10))
	}
	if l.Limit() != limit {
		l.SetLimit(limit)
		l.SetBurst(burst)
	}
}

// wait reports false when the context ended.
func (l *pacer) wait(ctx context.Context, rows int, bytes int64) bool {
	if !l.limited.Load() {
		return ctx.Err() == nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return false
	}
	return pass(ctx, l.rows, rows) && pass(ctx, l.bytes, int(bytes))
}

func pass(ctx context.Context, l *rate.Limiter, n int) bool {
	for n > 0 {
		if l.Limit() == rate.Inf {
			break
		}
		some := min(n, max(1, l.Burst()))
		if l.WaitN(ctx, some) == nil { // it fails, too, where the burst has shrunk meanwhile
			n -= some
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return ctx.Err() == nil
}
