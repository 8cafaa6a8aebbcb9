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
			"Expired rows are not counted. Partitions are shown as they finish; on a large table this takes long and is work for the servers.",
		Flags: append(slices.Clone(scanFlags),
			spec.Flag{
				Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "1000",
				Help: "rows a server looks at per call, at most 1000",
			},
			timeoutFlag,
			spec.Flag{Name: "precise", Short: "c", Kind: spec.ArgBool, Help: "count exactly, which it always does"}),
		Examples: []spec.Example{
			{Line: "count_data", Says: "rows of every partition, and their sum", Setup: []string{"use TableA"}},
			{Line: "count_data -p 0", Says: "one partition", Setup: []string{"use TableA"}},
			{Line: "count_data -h prefix -x user_", Says: "only some hash keys", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"count", "scan", "ls"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
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
	c, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	if err := checkPartition(ctx, c, table, o.Partition); err != nil {
		return nil, err
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
