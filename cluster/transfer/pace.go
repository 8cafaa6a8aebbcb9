package transfer

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// Pacer keeps all who share it together to a rate that may change at any time (`job rate`).
type Pacer struct {
	rate    func() spec.Rate
	limited atomic.Bool
	resting atomic.Int64  // until then, in Unix nanoseconds
	turn    chan struct{} // who has the token waits for the limiters, the others for it
	rows    *rate.Limiter
	bytes   *rate.Limiter
}

// NewPacer makes one that keeps to what now answers, which is spec.Work's Rate as a rule.
func NewPacer(now func() spec.Rate) *Pacer {
	p := &Pacer{rate: now, turn: make(chan struct{}, 1), rows: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, 1)}
	p.Look()
	return p
}

// Look takes up the rate as it is now. Wait does so while it waits; somebody calls it now and then besides.
func (p *Pacer) Look() {
	r := p.rate()
	setLimit(p.rows, r.Rows)
	setLimit(p.bytes, r.Bytes)
	p.limited.Store(r.Rows > 0 || r.Bytes > 0)
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

// Rest stops everybody for a while: the store asked for less.
func (p *Pacer) Rest(d time.Duration) {
	until := time.Now().Add(d).UnixNano()
	for was := p.resting.Load(); was < until && !p.resting.CompareAndSwap(was, until); was = p.resting.Load() {
	}
}

// Wait blocks for as long as rows and bytes take at the rate. Its error is the context's.
func (p *Pacer) Wait(ctx context.Context, rows, bytes int64) error {
	for left := p.rest(); left > 0; left = p.rest() {
		if !cluster.Sleep(ctx, left) {
			return ctx.Err()
		}
	}
	if !p.limited.Load() {
		return ctx.Err()
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := p.pass(ctx, p.rows, rows); err != nil {
		return err
	}
	return p.pass(ctx, p.bytes, bytes)
}

func (p *Pacer) rest() time.Duration {
	if until := p.resting.Load(); until != 0 {
		return time.Until(time.Unix(0, until))
	}
	return 0
}

func (p *Pacer) pass(ctx context.Context, l *rate.Limiter, n int64) error {
	for n > 0 {
		p.Look()
		if l.Limit() == rate.Inf {
			break
		}
		some := min(n, int64(max(1, l.Burst())))
		if l.WaitN(ctx, int(some)) == nil { // it fails, too, where the burst has shrunk meanwhile
			n -= some
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return ctx.Err()
}
