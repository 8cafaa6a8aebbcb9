package transfer

import (
	"sync"
	"time"
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
