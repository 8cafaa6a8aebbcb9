package pegasus

import (
	"context"
	"iter"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CountData counts rows.
func CountData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "count_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "count the rows of the table in use, or those that match",
		Long: "Counts exactly: every partition is read on its server and only the count travels, except with a filter on values. " +
			"Expired rows are not counted. Several partitions are counted at a time and shown in their order; on a large table this takes " +
			"long and is work for the servers. With -d, -a, -n and -r rows travel: without their values when only hash keys are counted. " +
			"Percentiles of sizes are at most 1/16 too large; those of rows are the sums of keys and value. With -e nothing is read: the answer is what each partition's primary takes its number of rows for, expired and " +
			"overwritten ones too, from its perf counters or /metrics.",
		Flags: append(slices.Concat(scanFlags, surveyFlags),
			spec.Flag{
				Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "1000",
				Help: "rows a server looks at per call, at most 1000",
			},
			timeoutFlag,
			spec.Flag{Name: "precise", Short: "c", Kind: spec.ArgBool, Help: "count exactly, which it does unless told otherwise"},
			spec.Flag{Name: "estimate", Short: "e", Kind: spec.ArgBool, Help: "ask for estimates instead of counting; not with other flags"}),
		Examples: []spec.Example{
			{Line: "count_data", Says: "rows of every partition, and their sum", Setup: []string{"use TableA"}},
			{Line: "count_data -e", Says: "about how many, at no cost", Setup: []string{"use TableA"}},
			{Line: "count_data -p 0", Says: "one partition", Setup: []string{"use TableA"}},
			{Line: "count_data -h prefix -x user_", Says: "only some hash keys", Setup: []string{"use TableA"}},
			{Line: "count_data -d -a -n 3", Says: "hash keys, sizes, and the three largest rows", Setup: []string{"use TableA"}},
			{Line: "count_data -r 10", Says: "what ten seconds suffice to count", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"count", "scan", "app_stat", "ls"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if call.Bool("estimate") {
				return estimateData(ctx, env, call)
			}
			return countData(ctx, env, call)
		},
	}
}

func countData(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	o, err := scanOptions(call)
	if err != nil {
		return nil, err
	}
	if ctx, err = perCall(ctx, call); err != nil {
		return nil, err
	}
	more, err := newSurvey(call)
	if err != nil {
		return nil, err
	}
	c, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	if err := checkPartition(ctx, c, table, o.Partition); err != nil {
		return nil, err
	}
	if more != nil {
		return more.table(ctx, c, table, o)
	}
	var total int64
	return &spec.Table{
		Section: "partitions",
		Columns: ints("pidx", "count"),
		Rows:    countRows(c.Count(ctx, table, o), &total),
		More: []*spec.Table{{
			Section: "summary",
			Columns: ints("total_count"),
			Single:  true,
			// Read only after the partitions were.
			Rows: func(yield func(spec.Row, error) bool) { yield(spec.Row{total}, nil) },
		}},
	}, nil
}

func countRows(counts iter.Seq2[driver.PartitionCount, error], total *int64) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		for p, err := range counts {
			if err != nil {
				yield(nil, err)
				return
			}
			*total += p.Rows
			if !yield(spec.Row{p.Partition, p.Rows}, nil) {
				return
			}
		}
	}
}

// keysFigure is what a replica takes its number of rows for.
const keysFigure = "rdb.estimate_num_keys"

// estimateData asks the primaries of the table in use how many rows they think they have.
func estimateData(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	if len(call.Flags) > 1 {
		return nil, spec.Errorf(spec.Usage, "an estimate is of the whole table: -e goes with no other flag")
	}
	table, err := commands.Table(call, "")
	if err != nil {
		return nil, err
	}
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, id, err := statApps(ctx, c, table)
	if err != nil {
		return nil, err
	}
	at, err := primaries(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	byNode, err := nodeSamples(ctx, c, driver.Wanted{Replica: []string{keysFigure}, App: id}, 0)
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	var total, missing int64
	for i := range apps[0].Partitions {
		row := spec.Row{i, nil}
		if s := byNode[at[partitionID{id, i}]]; s != nil {
			if keys, known := s.Replicas[driver.ReplicaID{App: id, Partition: i}][keysFigure]; known {
				row[1] = int64(keys)
				total += int64(keys)
			}
		}
		missing += int64(one(row[1] == nil))
		rows = append(rows, row)
	}
	summary := spec.Record(ints("total_estimate_count", "partitions_not_counted"), total, missing)
	summary.Section = "summary"
	return &spec.Table{
		Section: "partitions", Columns: ints("pidx", "estimate_count"), Rows: spec.RowsOf(rows...), More: []*spec.Table{summary},
	}, nil
}
