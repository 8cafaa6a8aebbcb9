package openmldb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// view is a cluster at a moment: what the nameserver has, and what the healthy tablets say themselves.
type view struct {
	tables  []driver.Table
	tablets map[string]driver.Tablet
	own     map[string]map[place]driver.TabletPartition // by tablet; one that did not answer is missing
}

// place is a partition on some tablet.
type place struct{ tid, pid uint32 }

// askTablets bounds how many tablets are asked at a time.
const askTablets = 16

// look asks the nameserver and every healthy tablet: three calls and one a tablet.
func lookAt(ctx context.Context, c client) (*view, error) {
	tablets, err := c.Tablets(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{tablets: map[string]driver.Tablet{}, own: map[string]map[place]driver.TabletPartition{}}
	if v.tables, err = c.DescribeAll(ctx); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askTablets)
	for _, t := range tablets {
		v.tablets[t.Endpoint] = t
		if !t.Healthy {
			continue
		}
		group.Go(func() error {
			all, err := c.TabletPartitions(ctx, t.Endpoint)
			if err != nil {
				return ctx.Err() // its silence is what the plan has to show
			}
			mu.Lock()
			defer mu.Unlock()
			v.own[t.Endpoint] = map[place]driver.TabletPartition{}
			for _, p := range all {
				v.own[t.Endpoint][place{p.TID, p.PID}] = p
			}
			return nil
		})
	}
	return v, group.Wait()
}

// tablet finds one that must be known.
func (v *view) tablet(endpoint string) (driver.Tablet, error) {
	t, known := v.tablets[endpoint]
	if !known {
		return t, &spec.Error{Kind: spec.NotFound, Code: "302", Err: fmt.Errorf("the nameserver knows no tablet %s", endpoint)}
	}
	return t, nil
}

// healthy refuses a tablet that is offline, as the nameserver would.
func (v *view) healthy(endpoint, what string) error {
	t, err := v.tablet(endpoint)
	if err == nil && !t.Healthy {
		err = (&spec.Error{
			Kind: spec.Refused, Op: what, Code: "303", Err: fmt.Errorf("tablet %s is %s", endpoint, t.State),
		}).WithHint("start it; showtablet tells when it is healthy")
	}
	return err
}

// offset is how far a replica is: by its own word, else by the nameserver's last.
func (v *view) offset(t driver.Table, p driver.Partition, r driver.Replica) (offset uint64, own bool) {
	if has, ok := v.own[r.Endpoint][place{t.ID, p.ID}]; ok {
		return has.Offset, true
	}
	return uint64(value(r.Offset)), false
}

// electable are the followers that the nameserver would elect from: alive, on healthy tablets, and not on one left out.
func (v *view) electable(p driver.Partition, without string) []driver.Replica {
	var all []driver.Replica
	for _, r := range p.Replicas {
		if !r.Leader && r.Alive && r.Endpoint != without && v.tablets[r.Endpoint].Healthy {
			all = append(all, r)
		}
	}
	return all
}

// furthest are those of them with the largest offset: the nameserver elects one, nobody knows which.
func (v *view) furthest(t driver.Table, p driver.Partition, among []driver.Replica) (best []string, offset uint64) {
	for _, r := range among {
		at, _ := v.offset(t, p, r)
		if at > offset {
			best, offset = nil, at
		}
		if at == offset {
			best = append(best, r.Endpoint)
		}
	}
	return best, offset
}

// holding yields the partitions that have a replica on a tablet.
func (v *view) holding(endpoint string, yield func(t driver.Table, p driver.Partition, r driver.Replica)) {
	for _, t := range v.tables {
		for _, p := range t.Parts {
			for _, r := range p.Replicas {
				if r.Endpoint == endpoint {
					yield(t, p, r)
				}
			}
		}
	}
}

// errNothingOffline is what recoverendpoint ends in when nobody has taken the tablet offline.
var errNothingOffline = errors.New("every replica on it counts as alive: nothing was taken offline, so there is nothing to recover")
