package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

const (
	diskCounter  = "disk.storage.sst(MB)"
	filesCounter = "disk.storage.sst.count"
)

// AppDisk shows what a table takes on disks.
func AppDisk(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "app_disk",
		Systems: systems,
		Topic:   "tables",
		Summary: "show what a table takes on the disks of the replica servers",
		Long: "Reads what the replica servers count, from their perf counters or, after 2.5, from /metrics: megabytes of the primaries' files, and of all replicas'. What is only " +
			"in memory so far is not counted. Partitions and replicas for which no server had a number are counted apart.",
		Args:     []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "a table"}},
		Flags:    []spec.Flag{{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "each partition, with megabytes and files of its replicas"}},
		Examples: []spec.Example{{Line: "app_disk TableA -d", Says: "how even its partitions are"}},
		SeeAlso:  []string{"app_stat", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return appDisk(ctx, env, call)
		},
	}
}

// replicaAt names a replica of the table.
type replicaAt struct {
	partition int
	endpoint  string
}

// diskUse is what one replica takes.
type diskUse struct {
	mb, files float64
	hasFiles  bool
}

func (d diskUse) String() string {
	if !d.hasFiles {
		return fmt.Sprintf("(%.2f,-)", d.mb)
	}
	return fmt.Sprintf("(%.2f,%.0f)", d.mb, d.files)
}

func appDisk(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, id, err := statApps(ctx, c, call.Arg(0))
	if err != nil {
		return nil, err
	}
	place, err := c.Partitions(ctx, apps[0].Name)
	if err != nil {
		return nil, err
	}
	byNode, err := nodeSamples(ctx, c, driver.Wanted{Replica: []string{diskCounter, filesCounter}, App: id}, 0)
	if err != nil {
		return nil, err
	}
	use := map[replicaAt]diskUse{}
	for node, sample := range byNode {
		for replica, values := range sample.Replicas {
			mb, known := values[diskCounter]
			if !known || replica.App != id {
				continue
			}
			u := diskUse{mb: mb}
			u.files, u.hasFiles = values[filesCounter]
			use[replicaAt{replica.Partition, node}] = u
		}
	}
	return diskTables(apps[0], place, use, call.Bool("detailed")), nil
}

func diskTables(app driver.App, place *driver.AppPartitions, use map[replicaAt]diskUse, detailed bool) *spec.Table {
	var primary, all float64
	var lostPartitions, lostReplicas int64
	var rows []spec.Row
	for _, p := range place.Partitions {
		if p.Unborn {
			continue
		}
		text := func(endpoint string) string {
			if u, known := use[replicaAt{p.Index, endpoint}]; known {
				return endpoint + u.String()
			}
			return endpoint + "(-,-)"
		}
		var first any
		u, known := use[replicaAt{p.Index, p.Primary}]
		if primary, all = primary+u.mb, all+u.mb; !known {
			lostPartitions++
		}
		if p.Primary != "" {
			first = text(p.Primary)
			lostReplicas += int64(one(!known))
		}
		others := []string{}
		for _, endpoint := range p.Secondaries {
			u, known := use[replicaAt{p.Index, endpoint}]
			all += u.mb
			lostReplicas += int64(one(!known))
			others = append(others, text(endpoint))
		}
		have := len(p.Secondaries) + one(p.Primary != "")
		rows = append(rows, spec.Row{int64(p.Index), p.Ballot, fmt.Sprintf("%d/%d", have, p.MaxReplicas), first, others})
	}
	result := spec.Record([]spec.Column{
		{Name: "app_name"},
		{Name: "app_id", Kind: spec.Int},
		{Name: "partition_count", Kind: spec.Int},
		{Name: "max_replica_count", Kind: spec.Int},
		{Name: "disk_used_for_primary_replicas_mb", Kind: spec.Float},
		{Name: "disk_used_for_all_replicas_mb", Kind: spec.Float},
		{Name: "partitions_not_counted", Kind: spec.Int},
		{Name: "replicas_not_counted", Kind: spec.Int},
	}, app.Name, int64(app.ID), int64(app.Partitions), int64(app.Replicas), rounded(primary, 2), rounded(all, 2), lostPartitions, lostReplicas)
	if detailed {
		result.Section = "result"
		result.More = []*spec.Table{{
			Section: "details", Rows: spec.RowsOf(rows...),
			Columns: []spec.Column{
				{Name: "pidx", Kind: spec.Int},
				{Name: "ballot", Kind: spec.Int},
				{Name: "replica_count"},
				{Name: "primary"},
				{Name: "secondaries", Kind: spec.List},
			},
		}}
	}
	return result
}
