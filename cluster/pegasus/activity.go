package pegasus

import (
	"context"
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// Learner is a replica that is being copied to a node.
type Learner struct {
	AppID     int32
	Partition int
	Endpoint  string
}

// Activity is what the replica servers say that they are doing.
type Activity struct {
	Learners []Learner // by table and partition
	Children []Learner // the same of partitions that are being split: those that are to be
	// Compactions are the manual ones of each table that has any.
	Compactions map[int32]CompactionCount
	Silent      int // live servers that did not answer: what they do is missing
}

// CompactionCount counts the replicas of a table by where their manual compaction stands.
type CompactionCount struct{ Queued, Running, Finished int }

// Activity asks every live node, a call each, for its replicas.
func (d *Driver) Activity(ctx context.Context) (Activity, error) {
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return Activity{}, err
	}
	lists := make([][]wire.ReplicaInfo, len(nodes))
	failed := make([]bool, len(nodes))
	d.each(len(nodes), func(i int) {
		if !nodes[i].Alive {
			return
		}
		list, err := d.replicasOn(ctx, nodes[i].Endpoint)
		lists[i], failed[i] = list, err != nil
	})
	a := Activity{Compactions: map[int32]CompactionCount{}}
	for i, list := range lists {
		if failed[i] {
			a.Silent++
		}
		for _, r := range list {
			a.add(&r, nodes[i].Endpoint)
		}
	}
	for _, list := range [][]Learner{a.Learners, a.Children} {
		slices.SortFunc(list, func(a, b Learner) int {
			if a.AppID != b.AppID {
				return int(a.AppID - b.AppID)
			}
			return a.Partition - b.Partition
		})
	}
	return a, ctx.Err()
}

func (a *Activity) add(r *wire.ReplicaInfo, endpoint string) {
	l := Learner{AppID: r.PID.App, Partition: int(r.PID.Partition), Endpoint: endpoint}
	switch r.Status {
	case wire.ReplicaPotentialSecondary:
		a.Learners = append(a.Learners, l)
	case wire.ReplicaPartitionSplit:
		a.Children = append(a.Children, l)
	}
	if r.ManualCompact == nil {
		return
	}
	c := a.Compactions[r.PID.App]
	switch wire.CompactStatus(*r.ManualCompact) {
	case wire.CompactQueuing:
		c.Queued++
	case wire.CompactRunning:
		c.Running++
	case wire.CompactFinished:
		c.Finished++
	default:
		return
	}
	a.Compactions[r.PID.App] = c
}

// Learners are those of Activity, and how many servers did not answer.
func (d *Driver) Learners(ctx context.Context) (learners []Learner, silent int, err error) {
	a, err := d.Activity(ctx)
	return a.Learners, a.Silent, err
}
