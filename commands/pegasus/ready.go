package pegasus

import (
	"context"
	"errors"
	"fmt"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// Polling starts eagerly, because small tables are ready within a few beacons, and ends at the old shell's leisure.
const (
	pollFirst = 50 * time.Millisecond
	pollLast  = 2 * time.Second
	// pollFailures in a row end the waiting: the meta server is gone, not busy.
	pollFailures = 5
)

// readyStep waits until every partition of a table has a primary and all its replicas, at most for limit when that is
// not 0.
func readyStep(c admin, table string, limit time.Duration) spec.Step {
	return spec.Step{
		Text:    fmt.Sprintf("wait until every partition of %s is ready", table),
		Objects: []string{table},
		Class:   spec.Read,
		Apply: func(ctx context.Context, report spec.Report) error {
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			return waitReady(ctx, c, table, report)
		},
	}
}

func waitReady(ctx context.Context, c admin, table string, report spec.Report) error {
	pause := pollFirst
	ready, total, failures := 0, 0, 0
	for {
		r, t, err := readiness(ctx, c, table)
		switch {
		case err == nil:
			ready, total, failures = r, t, 0
			report.Progress(int64(ready), int64(total), "partitions")
			report.Detail("%d of %d ready", ready, total)
			if ready == total && total > 0 {
				return nil
			}
		case ctx.Err() == nil && ignoreNotReady(err) != nil:
			if failures++; failures == pollFailures || spec.KindOf(err) != spec.Unavailable {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return (&spec.Error{
				Kind: spec.KindOf(ctx.Err()), Op: "wait for " + table,
				Err: fmt.Errorf("%d of %d partitions are ready: %w", ready, total, ctx.Err()),
			}).WithHint("app %s -d shows which are not", table)
		case <-time.After(pause):
		}
		pause = min(2*pause, pollLast)
	}
}

// readiness counts the partitions that have a primary and as many replicas as they want.
func readiness(ctx context.Context, c admin, table string) (ready, total int, err error) {
	a, err := c.Partitions(ctx, table)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range a.Partitions {
		ready += one(isReady(p))
	}
	return ready, len(a.Partitions), nil
}

func isReady(p driver.Partition) bool { return p.Primary != "" && replicasOf(p) >= p.MaxReplicas }

// ignoreNotReady drops the error that a meta server answers while it still stores the table.
func ignoreNotReady(err error) error {
	var e *spec.Error
	if errors.As(err, &e) && (e.Code == "ERR_BUSY_CREATING" || e.Code == "ERR_INVALID_STATE") {
		return nil
	}
	return err
}
