package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// Backoff is the pause between attempts: it doubles from a tenth of a second up to three, and varies. The zero value is
// ready.
type Backoff struct{ next time.Duration }

const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 3 * time.Second
)

// Reset makes the next pause a short one.
func (b *Backoff) Reset() { b.next = 0 }

// Sleep reports false when the context ended.
func (b *Backoff) Sleep(ctx context.Context) bool {
	b.next = min(max(2*b.next, shortestPause), longestPause)
	return cluster.Sleep(ctx, b.next/2+rand.N(b.next/2))
}

// OutOfPatience is the error of a work that met an error again and again, and got no further for so long.
func OutOfPatience(err error, patience time.Duration) error {
	e := spec.Errorf(spec.Unavailable, "nothing got any further for %s: %w", patience, err)
	var known *spec.Error
	if errors.As(err, &known) && known.Err != nil {
		e.Endpoint, e.Code = known.Endpoint, known.Code
		e.Err = fmt.Errorf("nothing got any further for %s: %w", patience, known.Err)
		if known.Kind != spec.UnknownOutcome { // what to do about that is done: it is written again
			e.Hint = known.Hint
		}
	}
	return e
}
