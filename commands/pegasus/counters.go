package pegasus

import (
	"context"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// counting is what the words about perf counters ask of a cluster.
type counting interface {
	admin
	Counters(ctx context.Context, endpoint string, prefixes ...string) ([]driver.Counter, error)
	CountersNamed(ctx context.Context, endpoint string, parts ...string) ([]driver.Counter, error)
}

var _ counting = (*driver.Driver)(nil)

func openCounting(ctx context.Context, env commands.Env, call *spec.Call) (counting, error) {
	return commands.Driver[counting](ctx, env, call)
}

// nodeCounters reads counters of every live replica server. One that does not answer ends it: sums without it would
// be wrong.
func nodeCounters(ctx context.Context, c counting, prefixes ...string) (map[string][]driver.Counter, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	lists := make([][]driver.Counter, len(nodes))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, n := range nodes {
		if !n.Alive {
			continue
		}
		group.Go(func() (err error) {
			lists[i], err = c.Counters(inner, n.Endpoint, prefixes...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	byNode := map[string][]driver.Counter{}
	for i, n := range nodes {
		if n.Alive {
			byNode[n.Endpoint] = lists[i]
		}
	}
	return byNode, nil
}

// pause waits between two samples.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// partitionID names a partition.
type partitionID struct {
	app       int32
	partition int
}

// primaries says where each partition's primary is.
func primaries(ctx context.Context, c admin, apps []driver.App) (map[partitionID]string, error) {
	all, err := allPartitions(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	at := map[partitionID]string{}
	for _, app := range all {
		if app == nil {
			continue
		}
		for _, p := range app.Partitions {
			at[partitionID{app.AppID, p.Index}] = p.Primary
		}
	}
	return at, nil
}

// tally sums counters by their short names.
type tally map[string]float64

func (t tally) add(other tally) {
	for name, value := range other {
		t[name] += value
	}
}

// sum answers nil when no server has such a counter.
func (t tally) sum(name string, per float64) any {
	value, known := t[name]
	if !known {
		return nil
	}
	return value / per
}

// ratio answers nil when a counter is missing, or there was nothing to divide by.
func (t tally) ratio(of []string, by []string) any {
	sum := func(names []string) (total float64, known bool) {
		for _, name := range names {
			name, minus := strings.CutPrefix(name, "-")
			value, ok := t[name]
			if !ok {
				return 0, false
			}
			if minus {
				value = -value
			}
			total += value
		}
		return total, true
	}
	a, okA := sum(of)
	b, okB := sum(by)
	if !okA || !okB || b <= 0 {
		return nil
	}
	return a / b
}
