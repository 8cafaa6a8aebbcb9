package cluster

import (
	"context"
	"time"
)

// callTimeout is the key of a context's own timeout per call.
type callTimeout struct{}

// WithCallTimeout makes every call on the wire under the context wait that long for its answer, instead of what Options
// say. 0 leaves it to them.
func WithCallTimeout(ctx context.Context, each time.Duration) context.Context {
	if each <= 0 {
		return ctx
	}
	return context.WithValue(ctx, callTimeout{}, each)
}

// BoundCall gives a context the timeout of one call: its own, or else what the options say. Drivers call it.
func BoundCall(ctx context.Context, options time.Duration) (context.Context, context.CancelFunc) {
	if each, ok := ctx.Value(callTimeout{}).(time.Duration); ok {
		options = each
	}
	return context.WithTimeout(ctx, options)
}

// Sleep waits, and reports false when the context ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
