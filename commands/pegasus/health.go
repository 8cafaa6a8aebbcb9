package pegasus

import (
	"context"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// atOnce bounds the calls of one word that are on their way together.
const atOnce = 8

// health counts the partitions of a table by what they can still do. A partition without a primary serves nothing; one
// that is not full and has fewer than two replicas must not be written to. The two counts lie within unhealthy. The
// children of a split that are not ready are neither well nor unwell.
type health struct {
	full, unhealthy, writeUnhealthy, readUnhealthy int
}

func replicasOf(p driver.Partition) int {
	n := len(p.Secondaries)
	if p.Primary != "" {
		n++
	}
	return n
}

// verdict is the worst that is true of a partition.
func verdict(p driver.Partition) string {
	switch {
	case p.Unborn:
		return "splitting"
	case p.Primary == "":
		return "read_unhealthy"
	case replicasOf(p) >= p.MaxReplicas:
		return "fully_healthy"
	case replicasOf(p) < 2:
		return "write_unhealthy"
	}
	return "unhealthy"
}

func healthOf(partitions []driver.Partition) health {
	var h health
	unborn := 0
	for _, p := range partitions {
		switch verdict(p) {
		case "splitting":
			unborn++
		case "fully_healthy":
			h.full++
		case "read_unhealthy":
			h.readUnhealthy++
			h.writeUnhealthy++
		case "write_unhealthy":
			h.writeUnhealthy++
		}
	}
	h.unhealthy = len(partitions) - unborn - h.full
	return h
}

// allPartitions asks for every table's partitions, in the order of apps. It costs one call a table. A table dropped
// meanwhile is nil.
func allPartitions(ctx context.Context, c admin, apps []driver.App) ([]*driver.AppPartitions, error) {
	all := make([]*driver.AppPartitions, len(apps))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, app := range apps {
		group.Go(func() (err error) {
			all[i], err = c.Partitions(ctx, app.Name)
			if spec.KindOf(err) == spec.NotFound {
				all[i], err = nil, nil
			}
			return err
		})
	}
	return all, group.Wait()
}
