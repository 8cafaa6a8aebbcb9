package transfer

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

func TestInOrder(t *testing.T) {
	var at, most atomic.Int64
	full := make(chan struct{})
	var got []int
	for v, err := range InOrder(t.Context(), 20, 3, func(_ context.Context, i int) (int, error) {
		n := at.Add(1)
		defer at.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 3 && i < 3 {
			close(full) // the first three are all there at a time
		}
		<-full
		return i, nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	if len(got) != 20 || !slices.IsSorted(got) || most.Load() != 3 {
		t.Errorf("%v, %d at once", got, most.Load())
	}
}

func TestInOrderEnds(t *testing.T) {
	broken := errors.New("broken")
	var got []int
	var last error
	for v, err := range InOrder(t.Context(), 10, 4, func(ctx context.Context, i int) (int, error) {
		switch {
		case i == 2:
			return i, broken
		case i > 2:
			<-ctx.Done() // nobody else ends it
			return i, ctx.Err()
		}
		return i, nil
	}) {
		got, last = append(got, v), err
	}
	if !slices.Equal(got, []int{0, 1, 2}) || !errors.Is(last, broken) {
		t.Errorf("%v, %v", got, last)
	}
	for range InOrder(t.Context(), 10, 4, func(ctx context.Context, i int) (int, error) {
		if i > 0 {
			<-ctx.Done()
		}
		return i, nil
	}) {
		break
	}
}
