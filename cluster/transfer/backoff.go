package transfer

import (
	"context"
	"time"
)

// Backoff is the pause between attempts: it doubles from a tenth of a second up to three, and varies. The zero value is
// ready.
type Backoff struct{ b backoff }

// Reset makes the next pause a short one.
func (b *Backoff) Reset() { b.b.reset() }

// Sleep reports false when the context ended.
func (b *Backoff) Sleep(ctx context.Context) bool { return b.b.sleep(ctx) }

// OutOfPatience is the error of a work that met an error again and again, and got no further for so long.
func OutOfPatience(err error, patience time.Duration) error { return outOfPatience(err, patience) }
