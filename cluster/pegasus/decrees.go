package pegasus

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// decreePatience bounds asking one node for its decrees: a hung node must not hold up a listing.
const decreePatience = 2 * time.Second

// replicaKey is a partition's copy on a node.
type replicaKey struct {
	gpid     wire.GPID
	endpoint string
}

// decrees asks nodes, a call each, how far their replicas have committed. A node that does not answer is left out: the
// meta server's own number, which it learns only at a reconfiguration, then stands in.
func (d *Driver) decrees(ctx context.Context, endpoints []string) map[replicaKey]int64 {
	var mu sync.Mutex
	all := map[replicaKey]int64{}
	d.each(len(endpoints), func(i int) {
		replicas, err := d.replicasOn(ctx, endpoints[i])
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, r := range replicas {
			all[replicaKey{r.PID, endpoints[i]}] = r.LastCommitted
		}
	})
	return all
}

// replicasOn lists the replicas of one node as it sees them.
func (d *Driver) replicasOn(ctx context.Context, endpoint string) ([]wire.ReplicaInfo, error) {
	op := "list the replicas of a node"
	ctx, cancel := d.bound(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, decreePatience)
	defer cancel()
	var q wire.QueryNodeRequest
	if address, err := wire.ParseAddress(endpoint); err == nil {
		q.Node = address
	}
	var a wire.QueryReplicaInfoResponse
	if err := call(ctx, d, endpoint, &wire.QueryReplicaInfo, wire.GPID{}, 0, &q, &a, nil); err != nil {
		return nil, failure(op, false, err)
	}
	return a.Replicas, nil
}

// holders lists the live nodes that hold a replica of a table.
func holders(parts *AppPartitions, alive map[string]bool) []string {
	set := map[string]bool{}
	for _, p := range parts.Partitions {
		for _, endpoint := range append([]string{p.Primary}, p.Secondaries...) {
			if alive[endpoint] {
				set[endpoint] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
