package pegasus

import (
	"context"
	"errors"
	"fmt"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// readyStep waits until every partition of a table has a primary and all its replicas, at most for limit when that is
// not 0.
func readyStep(c admin, table string, limit time.Duration) spec.Step {
	var ready, total int
	return waiting{
		text: fmt.Sprintf("wait until every partition of %s is ready", table), objects: []string{table}, limit: limit,
		hint: "app " + table + " -d shows which are not",
		look: func(ctx context.Context) (bool, string, error) {
			r, t, err := readiness(ctx, c, table)
			if err == nil {
				ready, total = r, t
			}
			return total > 0 && ready == total, fmt.Sprintf("%d of %d ready", ready, total), ignoreNotReady(err)
		},
		progress: func() (int, int, string) { return ready, total, "partitions" },
	}.step()
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
