package openmldb

import (
	"context"
	"iter"
	"math"
	"time"

	"shardsh/cluster"
)

// Replicas yields the replicas of a table, or of all tables, with two calls to the nameserver. A name without a database
// is looked for as Find does. The leader that is alive comes first; a leader that is not keeps its role and comes first
// where no other leads; a partition without any yields a row without an endpoint for it.
//
// A replica is alive when the nameserver holds it to be, and its tablet is healthy.
func (d *Driver) Replicas(ctx context.Context, table string) iter.Seq2[cluster.Replica, error] {
	return func(yield func(cluster.Replica, error) bool) {
		tables, err := d.replicated(ctx, table)
		if err != nil {
			yield(cluster.Replica{}, err)
			return
		}
		tablets, err := d.Tablets(ctx)
		if err != nil {
			yield(cluster.Replica{}, err)
			return
		}
		healthy := map[string]bool{}
		for _, t := range tablets {
			healthy[t.Endpoint] = t.Healthy
		}
		for i := range tables {
			for j := range tables[i].Parts {
				for _, r := range replicasOf(&tables[i], &tables[i].Parts[j], healthy) {
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

func (d *Driver) replicated(ctx context.Context, table string) ([]Table, error) {
	if table == "" {
		return d.DescribeAll(ctx)
	}
	t, err := d.find(ctx, "read the partitions of "+table, table, "")
	if err != nil {
		return nil, err
	}
	return []Table{*t}, nil
}

// replicasOf answers the rows of a partition.
func replicasOf(t *Table, p *Partition, healthy map[string]bool) []cluster.Replica {
	base := cluster.Replica{
		DB: t.DB, Table: t.Name, TableID: int64(t.ID), Partition: int(p.ID), TTL: t.ttl(), Compression: &t.Compress,
		Wanted: t.Replicas, Have: len(p.Replicas), Needed: 1, Ballot: p.term(),
	}
	var rows []cluster.Replica
	first := leaderPlace(p, healthy)
	if first < 0 {
		row := base
		row.Role = "leader"
		rows = append(rows, row)
	}
	add := func(r Replica, leads bool) {
		row := base
		row.Endpoint, row.Role, row.Alive = r.Endpoint, "follower", r.Alive && healthy[r.Endpoint]
		if r.Leader {
			row.Role = "leader"
		}
		row.Leads = leads
		row.Offset, row.Records, row.Memory, row.Disk = signed(r.Offset), signed(r.Records), signed(r.Memory), signed(r.Disk)
		rows = append(rows, row)
	}
	if first >= 0 {
		add(p.Replicas[first], true)
	}
	for i, r := range p.Replicas {
		if i != first {
			add(r, false)
		}
	}
	return rows
}

// leaderPlace finds the leader: the living one, else any; -1 when there is none.
func leaderPlace(p *Partition, healthy map[string]bool) int {
	found, rank := -1, 0
	for i, r := range p.Replicas {
		if !r.Leader {
			continue
		}
		mine := 1
		if r.Alive {
			mine++
			if healthy[r.Endpoint] {
				mine++
			}
		}
		if mine > rank {
			found, rank = i, mine
		}
	}
	return found
}

// ttl is that of the first index; nil when it is not a time.
func (t *Table) ttl() *time.Duration {
	if len(t.Indexes) == 0 || t.Indexes[0].TTL.Type == "kLatestTime" {
		return nil
	}
	const longest = uint64(math.MaxInt64 / int64(time.Minute))
	ttl := time.Duration(min(t.Indexes[0].TTL.Minutes, longest)) * time.Minute
	return &ttl
}

// term is the last one a leader began.
func (p *Partition) term() *int64 {
	if len(p.Terms) == 0 {
		return nil
	}
	return signed(&p.Terms[len(p.Terms)-1].Term)
}

// signed is a number of the wire; what no int64 holds is the largest.
func signed(n *uint64) *int64 {
	if n == nil {
		return nil
	}
	out := int64(min(*n, math.MaxInt64))
	return &out
}
