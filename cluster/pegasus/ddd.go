package pegasus

import (
	"cmp"
	"context"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
)

var dddDiagnose = metaRPC[wire.DDDRequest, wire.DDDResponse]{&wire.DDDDiagnose, func(a *wire.DDDResponse) string { return a.Err }, nil}

// DeadPartition is a partition without any replica in its configuration: the meta server chose no primary by itself.
type DeadPartition struct {
	AppID     int32
	Partition Partition
	Dropped   []DroppedReplica // who left first, first
	Reason    string           // the meta server's own words
}

// DroppedReplica is what a node that left a partition has of it.
type DroppedReplica struct {
	Endpoint string
	Dropped  time.Time // zero when nobody knows
	Alive    bool
	// Known says that the node has told what it has: the ballot and decrees below.
	Known                       bool
	Ballot, Committed, Prepared int64
}

// DeadPartitions lists the dead partitions of a table, of all for app -1; partition -1 means every one.
func (d *Driver) DeadPartitions(ctx context.Context, app int32, partition int) ([]DeadPartition, error) {
	q := wire.DDDRequest{PID: wire.GPID{App: app, Partition: int32(partition)}}
	a, err := dddDiagnose.ok(ctx, d, "diagnose dead partitions", &q)
	if err != nil {
		return nil, err
	}
	dead := make([]DeadPartition, len(a.Partitions))
	for i := range a.Partitions {
		p := &a.Partitions[i]
		c := &p.Config
		dead[i] = DeadPartition{AppID: c.PID.App, Reason: p.Reason, Partition: Partition{
			Index: int(c.PID.Partition), Ballot: c.Ballot, MaxReplicas: int(c.MaxReplicas), LastCommitted: c.LastCommitted,
		}}
		for j := range p.Dropped {
			n := &p.Dropped[j]
			r := DroppedReplica{
				Endpoint: d.name(n.Node, n.HPNode), Alive: n.Alive, Known: n.Collected,
				Ballot: n.Ballot, Committed: n.LastCommitted, Prepared: n.LastPrepared,
			}
			if n.DropTimeMillis > 0 {
				r.Dropped = time.UnixMilli(n.DropTimeMillis)
			}
			dead[i].Dropped = append(dead[i].Dropped, r)
		}
	}
	slices.SortFunc(dead, func(x, y DeadPartition) int {
		return cmp.Or(cmp.Compare(x.AppID, y.AppID), cmp.Compare(x.Partition.Index, y.Partition.Index))
	})
	return dead, nil
}
