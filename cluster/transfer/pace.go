package transfer

import (
	"context"
	"time"

	"shardsh/commands/spec"
)

// Pace keeps work that is no Copy to a rate that may change at any time. Its methods may be called from any goroutine.
type Pace struct{ pacer *pacer }

// NewPace limits nothing yet.
func NewPace() *Pace { return &Pace{newPacer()} }

// Set puts a rate in the place of the one before.
func (p *Pace) Set(r spec.Rate) { p.pacer.set(r) }

// Wait waits until so much may be done. It reports false when the context ended.
func (p *Pace) Wait(ctx context.Context, rows int, bytes int64) bool {
	return p.pacer.wait(ctx, rows, bytes)
}

// Backoff is the pause between attempts: it doubles from a tenth of a second up to three, and varies. The zero value is
// ready.
type Backoff struct{ b backoff }

// Reset makes the next pause a short one.
func (b *Backoff) Reset() { b.b.reset() }

// Sleep reports false when the context ended.
func (b *Backoff) Sleep(ctx context.Context) bool { return b.b.sleep(ctx) }

// OutOfPatience is the error of a work that met an error again and again, and got no further for so long.
func OutOfPatience(err error, patience time.Duration) error { return outOfPatience(err, patience) }
