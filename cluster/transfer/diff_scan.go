package transfer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// partReader deals with a part's batches, in order.
type partReader[R any] struct {
	after Position // nil for the part's start
	batch func(Batch[R]) error
	end   func() error // nil when there is nothing to do
}

// scan reads all parts of a side but those that are done, some beside each other.
func (x *differ[R]) scan(ctx context.Context, s *diffSide[R], done []int, reader func(part int) partReader[R]) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(x.options.Beside)
	for _, part := range s.parts {
		if slices.Contains(done, part.Number) {
			continue
		}
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return x.readPart(ctx, s, part, reader(part.Number))
		})
	}
	return g.Wait()
}

// readPart reads a part to its end, over whatever errors may go away.
func (x *differ[R]) readPart(ctx context.Context, s *diffSide[R], part Part, r partReader[R]) error {
	after := r.after
	if after == nil {
		after = part.Start
	}
	name := fmt.Sprintf("%s partition %d", s.name, part.Number)
	err := x.patiently(ctx, s, name, func() (further bool, err error) {
		for b, err := range s.source.Read(ctx, part.Number, after) {
			if err != nil {
				return further, err
			}
			if err := r.batch(b); err != nil {
				return further, ownError{err}
			}
			after, further = b.After, true
			x.came(name, &b)
			x.pace.Look()
			if err := x.pace.Wait(ctx, int64(len(b.Rows))+b.Filtered, b.Bytes); err != nil {
				return further, ownError{err}
			}
		}
		return further, ctx.Err()
	})
	if err == nil && r.end != nil {
		err = r.end()
	}
	if err == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.seen.PartsDone++
	}
	return err
}

// ownError is an error of our own, which no store's Judge is asked about.
type ownError struct{ error }

// patiently does something until it succeeds, its error is fatal, or ctx ends. It reports whether it got further.
func (x *differ[R]) patiently(ctx context.Context, s *diffSide[R], name string, do func() (bool, error)) error {
	for pause := diffFirstPause; ; pause = min(2*pause, diffLongestPause) {
		further, err := do()
		if err == nil {
			x.waiting(name, nil)
			return nil
		}
		if own, ok := err.(ownError); ok {
			return own.error
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if further {
			pause = diffFirstPause
		}
		switch s.source.Judge(err) {
		case Fatal:
			return err
		case Slow:
			x.pace.Rest(pause)
		case Again:
		}
		x.waiting(name, err)
		if !cluster.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// A part that fails waits that long before it is tried again, at first and at most: long enough not to be a burden to a
// server in trouble, short against the 22 s and more after which a dead node's partitions are served by others.
const (
	diffFirstPause   = 20 * time.Millisecond
	diffLongestPause = 2 * time.Second
)

// waiting notes why a part waits, or with nil that it does not.
func (x *differ[R]) waiting(name string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		delete(x.stuck, name)
	} else {
		x.stuck[name] = err.Error()
		x.seen.Counts = []spec.Count{{Name: "retried", N: retried(x.seen.Counts) + 1}}
	}
	x.showLocked(false)
}

func retried(counts []spec.Count) int64 {
	for _, c := range counts {
		if c.Name == "retried" {
			return c.N
		}
	}
	return 0
}

// came counts a batch.
func (x *differ[R]) came(name string, b *Batch[R]) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen.Done += int64(len(b.Rows))
	x.seen.Bytes += b.Bytes
	delete(x.stuck, name)
	x.showLocked(false)
}

func (x *differ[R]) show(last bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.showLocked(last)
}

// showLocked shows the figures, several times a second at most.
func (x *differ[R]) showLocked(last bool) {
	if now := x.now(); last || now.Sub(x.shown) >= 200*time.Millisecond {
		x.shown = now
		f := x.seen
		if f.Total > 0 {
			f.Total = max(f.Total, f.Done)
		}
		if f.TotalBytes > 0 {
			f.TotalBytes = max(f.TotalBytes, f.Bytes)
		}
		t := x.state.Totals
		f.Counts = []spec.Count{
			{Name: "missing", N: t.Missing},
			{Name: "extra", N: t.Extra},
			{Name: "different", N: t.Different},
			{Name: "ttl_drift", N: t.Drift},
			{Name: "retried", N: retried(x.seen.Counts)},
		}
		f.Held = x.held()
		x.work.Show(f)
	}
}

// held says what keeps it back.
func (x *differ[R]) held() string {
	if len(x.stuck) == 0 {
		return ""
	}
	first := slices.Sorted(maps.Keys(x.stuck))[0]
	if n := len(x.stuck) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more wait: %s", first, n, x.stuck[first])
	}
	return fmt.Sprintf("%s waits: %s", first, x.stuck[first])
}
