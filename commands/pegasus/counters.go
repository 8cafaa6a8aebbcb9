package pegasus

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// counting is what the words about what servers count ask of a cluster.
type counting interface {
	admin
	Sample(ctx context.Context, endpoint string, want driver.Wanted) (*driver.Sample, error)
	ListCounters(ctx context.Context, endpoint string, f driver.CounterFilter) (*driver.CounterList, error)
	ServerStat(ctx context.Context, endpoint string) (string, error)
}

var _ counting = (*driver.Driver)(nil)

func openCounting(ctx context.Context, env commands.Env, call *spec.Call) (counting, error) {
	return commands.Driver[counting](ctx, env, call)
}

// usualInterval is between two samples where rates need two and nobody says how far apart they shall be.
const usualInterval = time.Second

// sampleFlag says how far apart.
func sampleFlag() spec.Flag {
	return spec.Flag{
		Name: "sample-interval", Short: "i", Kind: spec.ArgMillis,
		Help: "read twice, this far apart; where servers only add up (after 2.5) they are read twice anyway, 1s apart",
	}
}

// nodeSamples reads figures of every live replica server, twice where that is asked for or needed. One that does not
// answer ends it: sums without it would be wrong.
func nodeSamples(ctx context.Context, c counting, want driver.Wanted, interval time.Duration) (map[string]*driver.Sample, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	samples, errs, err := sampleNodes(ctx, c, nodes, want, interval)
	if err != nil {
		return nil, err
	}
	byNode := map[string]*driver.Sample{}
	for i, n := range nodes {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if samples[i] != nil {
			byNode[n.Endpoint] = samples[i]
		}
	}
	return byNode, nil
}

// sampleNodes reads figures of the live nodes, and answers for each its sample or why there is none; neither for a dead
// one.
func sampleNodes(
	ctx context.Context, c counting, nodes []cluster.Node, want driver.Wanted, interval time.Duration,
) (samples []*driver.Sample, errs []error, err error) {
	samples, errs = make([]*driver.Sample, len(nodes)), make([]error, len(nodes))
	read := func(into []*driver.Sample) {
		var group errgroup.Group
		group.SetLimit(atOnce)
		for i, n := range nodes {
			if n.Alive && errs[i] == nil {
				group.Go(func() error {
					into[i], errs[i] = c.Sample(ctx, n.Endpoint, want)
					return nil
				})
			}
		}
		_ = group.Wait() // the errors are in errs
	}
	read(samples)
	totals := slices.ContainsFunc(samples, func(s *driver.Sample) bool { return s != nil && s.Totals })
	if interval <= 0 && totals && want.Changes() {
		interval = usualInterval
	}
	before := make([]*driver.Sample, len(nodes))
	if interval > 0 {
		if err := pause(ctx, interval); err != nil {
			return nil, nil, err
		}
		copy(before, samples)
		read(samples)
	}
	for i, s := range samples {
		if s != nil {
			samples[i] = s.Since(before[i])
		}
	}
	return samples, errs, ctx.Err()
}

// pause waits between two samples.
func pause(ctx context.Context, d time.Duration) error {
	if !cluster.Sleep(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
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
	return rounded(value/per, 2)
}

// rounded keeps some decimals.
func rounded(value float64, decimals int) float64 {
	shift := math.Pow10(decimals)
	return math.Round(value*shift) / shift
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
	return rounded(a/b, 4)
}
