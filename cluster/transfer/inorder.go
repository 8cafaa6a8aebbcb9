package transfer

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"
)

// InOrder does n things, atOnce beside each other, and yields what they answer in their order. After the first error,
// and when its reader stops, what is under way is cancelled and waited for.
func InOrder[T any](ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if atOnce <= 1 {
			for i := range n {
				if value, err := do(ctx, i); !yield(value, err) || err != nil {
					return
				}
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		type answer struct {
			value T
			err   error
		}
		answers := make([]chan answer, n)
		for i := range answers {
			answers[i] = make(chan answer, 1)
		}
		var starter, workers errgroup.Group
		workers.SetLimit(atOnce)
		starter.Go(func() error {
			for i := range n {
				if ctx.Err() != nil {
					answers[i] <- answer{err: ctx.Err()}
					continue
				}
				workers.Go(func() error {
					value, err := do(ctx, i)
					answers[i] <- answer{value, err}
					return nil
				})
			}
			return nil
		})
		defer func() {
			cancel()
			_ = starter.Wait()
			_ = workers.Wait()
		}()
		for i := range n {
			a := <-answers[i]
			if !yield(a.value, a.err) || a.err != nil {
				return
			}
		}
	}
}
