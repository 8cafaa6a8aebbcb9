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

// decrees are the committed decrees of replicas, by the node's endpoint. (One map of all of them would be searched
// three times as slowly on a large cluster.)
type decrees map[string]map[wire.GPID]int64

// decrees asks nodes, a call each, how far their replicas have committed. A node that does not answer is left out: the
// meta server's own number, which it learns only at a reconfiguration, then stands in.
func (d *Driver) decrees(ctx context.Context, endpoints []string) decrees {
	var mu sync.Mutex
	all := decrees{}
	d.each(len(endpoints), func(i int) {
		replicas, err := d.replicasOn(ctx, endpoints[i])
		if err != nil {
			return
		}
		own := make(map[wire.GPID]int64, len(replicas))
		for _, r := range replicas {
			own[r.PID] = r.LastCommitted
		}
		mu.Lock()
		defer mu.Unlock()
		all[endpoints[i]] = own
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
