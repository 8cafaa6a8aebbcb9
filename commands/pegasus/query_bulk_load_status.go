package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// QueryBulkLoadStatus shows how a bulk load stands.
func QueryBulkLoadStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "query_bulk_load_status",
		Systems: systems,
		Topic:   "storage",
		Summary: "show how the bulk load of a table stands, or how the last one ended",
		Long: "Asks the meta server for the status of the table and of its partitions, and for what replicas tell: the share of the files that each has downloaded, " +
			"whether it ingests them, whether it is paused or cleaned up; what a state has no use for is a dash. The totals are derived: the download is the mean over replicas and " +
			"partitions, the ingestion the share of partitions that are through. BLS_INVALID means that no bulk load is known. Once one is over this is what it came to, until " +
			"clear_bulk_load or the next one.",
		Flags: []spec.Flag{
			loadTable,
			{Name: "partition-index", Short: "i", Kind: spec.ArgInt, Default: "-1", Help: "also the replicas of this partition"},
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "also every partition"},
		},
		Examples: []spec.Example{
			{Line: "query_bulk_load_status -a TableA -d", Says: "every partition"},
			{Line: "wait --within 30s --until 'is_bulk_loading == false' query_bulk_load_status", Says: "until none runs", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"start_bulk_load", "clear_bulk_load", "showopstatus"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, app, err := openBulk(ctx, env, call)
			if err != nil {
				return nil, err
			}
			one := call.Int("partition-index")
			if one < -1 || one >= int64(app.Partitions) {
				return nil, spec.Errorf(spec.Usage, "%s has no partition %d", app.Name, one).WithHint("they count from 0 to %d", app.Partitions-1)
			}
			b, err := c.BulkLoad(ctx, app.Name)
			if err != nil {
				return nil, err
			}
			t := bulkSummary(app, b)
			if call.Bool("detailed") {
				t.More = append(t.More, bulkPartitions(b))
			}
			if one >= 0 {
				t.More = append(t.More, bulkReplicas(b, int(one)))
			}
			return t, nil
		},
	}
}

func bulkSummary(app driver.App, b driver.BulkLoad) *spec.Table {
	columns := []spec.Column{
		{Name: "app_name"},
		{Name: "is_bulk_loading", Kind: spec.Bool},
		{Name: "app_bulk_load_status"},
		{Name: "bulk_load_err"},
		{Name: "app_total_download_progress", Kind: spec.Int, Unit: "%"},
		{Name: "app_total_ingestion_progress", Kind: spec.Int, Unit: "%"},
		{Name: "partitions_ingested", Kind: spec.Int},
		{Name: "partition_count", Kind: spec.Int},
	}
	p := progressOf(b, nil)
	var download, ingestion any
	if len(b.Partitions) > 0 && b.Status != "BLS_FAILED" && b.Status != "BLS_CANCELED" {
		download, ingestion = p.download, 100*p.ingested/p.partitions
	}
	var ingested any
	if ingestion != nil {
		ingested = p.ingested
	}
	t := spec.Record(columns, app.Name, b.Loading, b.Status, b.Code, download, ingestion, ingested, app.Partitions)
	t.Section = "summary"
	t.Notes = func() []string {
		switch {
		case b.Loading && ingestion != nil:
			return []string{"the progress is derived from what replicas tell"}
		case b.Status == bulkNone:
			return []string{app.Name + " is not being bulk loaded, and no earlier bulk load is known"}
		case !b.Loading:
			return []string{app.Name + " is not being bulk loaded; this is what the last bulk load came to"}
		}
		return nil
	}
	return t
}

func bulkPartitions(b driver.BulkLoad) *spec.Table {
	columns := []spec.Column{
		{Name: "partition_index", Kind: spec.Int},
		{Name: "partition_status"},
		{Name: "download_progress", Kind: spec.Int, Unit: "%"},
		{Name: "replicas", Kind: spec.Int},
		{Name: "is_paused", Kind: spec.Bool},
		{Name: "is_cleaned_up", Kind: spec.Bool},
	}
	var rows []spec.Row
	for i, p := range b.Partitions {
		var download any
		for _, r := range p.Replicas {
			if r.Progress >= 0 {
				download = downloadOf(p)
			}
		}
		rows = append(rows, spec.Row{
			i, p.Status, download, len(p.Replicas),
			every(p, func(r driver.BulkReplica) *bool { return r.Paused }), every(p, func(r driver.BulkReplica) *bool { return r.CleanedUp }),
		})
	}
	return &spec.Table{Section: "all_partitions", Columns: columns, Rows: spec.RowsOf(rows...)}
}

// every is true when all replicas of a partition say so, and nil when none says anything.
func every(p driver.BulkPartition, of func(driver.BulkReplica) *bool) any {
	var all any
	for _, r := range p.Replicas {
		if said := of(r); said != nil {
			all = *said && all != false
		}
	}
	return all
}

func bulkReplicas(b driver.BulkLoad, partition int) *spec.Table {
	columns := []spec.Column{
		{Name: "partition_index", Kind: spec.Int},
		{Name: "node_address"},
		{Name: "download_progress", Kind: spec.Int, Unit: "%"},
		{Name: "download_status"},
		{Name: "ingestion_status"},
		{Name: "is_paused", Kind: spec.Bool},
		{Name: "is_cleaned_up", Kind: spec.Bool},
	}
	t := &spec.Table{Section: "single_partition", Columns: columns}
	if partition >= len(b.Partitions) {
		return t
	}
	replicas := b.Partitions[partition].Replicas
	var rows []spec.Row
	for _, node := range slices.Sorted(maps.Keys(replicas)) {
		r := replicas[node]
		var progress any
		if r.Progress >= 0 {
			progress = r.Progress
		}
		rows = append(rows, spec.Row{partition, node, progress, commands.Word(r.Download), commands.Word(r.Ingest), told(r.Paused), told(r.CleanedUp)})
	}
	t.Rows = spec.RowsOf(rows...)
	t.Notes = func() []string {
		if len(rows) == 0 {
			return []string{fmt.Sprintf("no replica of partition %d has told anything", partition)}
		}
		return nil
	}
	return t
}

func told(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}
