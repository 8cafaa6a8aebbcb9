package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// bulkOps are the bulk loads that run, with how far they are.
func bulkOps(ctx context.Context, c operating, apps []driver.App) ([]operation, error) {
	var ops []operation
	for _, app := range apps {
		if !app.BulkLoading {
			continue
		}
		b, err := c.BulkLoad(ctx, app.Name)
		switch {
		case spec.KindOf(err) == spec.NotFound: // dropped meanwhile
			continue
		case err != nil:
			return nil, err
		}
		o := operation{id: fmt.Sprintf("bulk_load-%d", app.ID), kind: "bulk_load", table: app.Name, status: "kDoing"}
		o.task = fmt.Sprintf("%s: %s", statusWord(b.Status), progressOf(b, nil))
		if b.Status == "BLS_PAUSED" {
			o.status, o.task = "kInited", "paused"
		}
		ops = append(ops, o)
	}
	return ops, nil
}
