package pegasus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shardsh/commands/spec"
)

// Polling starts eagerly, because small tables are ready within a few beacons, and ends at the old shell's leisure.
const (
	pollFirst = 50 * time.Millisecond
	pollLast  = 2 * time.Second
	// pollFailures in a row end the waiting: the meta server is gone, not busy.
	pollFailures = 5
)

// waiting is a step that waits for what an earlier one caused.
type waiting struct {
	text    string
	objects []string
	limit   time.Duration // 0: as long as it takes
	// look tells whether it has come about and where it stands. An error that is Unavailable may pass.
	look func(ctx context.Context) (done bool, stand string, err error)
	// progress, when set, tells after each look how much there is of how much.
	progress func() (done, total int, unit string)
	hint     string // when it did not come about in time
}

func (w waiting) step() spec.Step {
	return spec.Step{Text: w.text, Objects: w.objects, Class: spec.Read, Apply: w.apply}
}

func (w waiting) apply(ctx context.Context, report spec.Report) error {
	if w.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.limit)
		defer cancel()
	}
	pause, failures, last := pollFirst, 0, "nothing is known yet"
	for {
		done, stand, err := w.look(ctx)
		switch {
		case err == nil:
			failures, last = 0, stand
			report.Detail("%s", stand)
			if w.progress != nil {
				have, total, unit := w.progress()
				report.Progress(int64(have), int64(total), unit)
			}
			if done {
				return nil
			}
		case ctx.Err() == nil:
			if failures++; failures == pollFailures || spec.KindOf(err) != spec.Unavailable {
				return err
			}
		}
		select {
		case <-ctx.Done():
			e := &spec.Error{Kind: spec.KindOf(ctx.Err()), Op: w.text, Err: errors.New(last)}
			if e.Kind == spec.Unavailable {
				e.Err = fmt.Errorf("%s, and the time is over", last)
			}
			return e.WithHint("%s", w.hint)
		case <-time.After(pause):
		}
		pause = min(2*pause, pollLast)
	}
}
