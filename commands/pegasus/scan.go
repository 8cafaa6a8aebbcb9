package pegasus

import (
	"context"
	"fmt"
	"iter"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Scan reads whole partitions.
func Scan(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "scan",
		Aliases: []string{"full_scan"},
		Systems: systems,
		Topic:   "rows",
		Summary: "read all rows of the table in use, or those that match",
		Long: "Reads every partition from its primary replica and shows rows while they arrive, with the time they have left. " +
			"Rows of one partition come in the order of their keys, shorter hash keys first; partitions have no common order " +
			"and no common moment. Servers look at every row, whatever the filters: a scan of a large table is work for them.",
		Flags: append(slices.Clone(scanFlags),
			spec.Flag{
				Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "500",
				Help: "rows in one answer, at most 1000; fewer for large values",
			},
			spec.Flag{Name: "no-value", Short: "i", Kind: spec.ArgBool, Help: "keys only"},
			spec.Flag{Name: "max-rows", Short: "n", Kind: spec.ArgInt, Default: "0", Help: "stop after so many rows; 0 reads all"}),
		Examples: []spec.Example{
			{Line: "scan -n 10", Says: "what rows look like", Setup: []string{"use TableA"}},
			{Line: "scan -h prefix -x order_ -i", Says: "the keys below a prefix", Setup: []string{"use demo", "set order_7 item book"}},
			{Line: "scan -p 0 --output jsonl", Says: "one partition, a JSON object a line", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"count_data", "get"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return scan(ctx, env, call)
		},
	}
}

func scan(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	o, err := scanOptions(call)
	if err != nil {
		return nil, err
	}
	o.NoValue, o.MaxRows = call.Bool("no-value"), call.Int("max-rows")
	switch {
	case o.MaxRows < 0:
		return nil, spec.Errorf(spec.Usage, "%d is no number of rows", o.MaxRows)
	case o.NoValue && o.Value.Type != "":
		return nil, spec.Errorf(spec.Usage, "-v looks at values, which -i leaves out")
	}
	c, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	if err := checkPartition(ctx, c, table, o.Partition); err != nil {
		return nil, err
	}
	columns := []spec.Column{
		{Name: "hash_key", Kind: spec.Bytes},
		{Name: "sort_key", Kind: spec.Bytes},
		{Name: "value", Kind: spec.Bytes},
		{Name: "ttl", Kind: spec.Duration},
		{Name: "partition_index", Kind: spec.Int},
	}
	if o.NoValue {
		columns = slices.Delete(columns, 2, 3)
	}
	var count int64
	return &spec.Table{
		Columns: columns,
		Rows:    scanRows(c.Scan(ctx, table, o), o.NoValue, &count),
		Notes: func() []string {
			if o.MaxRows > 0 && count == o.MaxRows {
				return []string{fmt.Sprintf("stopped after %d rows, as told by --max-rows", count)}
			}
			return []string{fmt.Sprintf("%d rows", count)}
		},
	}, nil
}

func scanRows(rows iter.Seq2[driver.ScanRow, error], noValue bool, count *int64) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		for r, err := range rows {
			if err != nil {
				yield(nil, err)
				return
			}
			row := make(spec.Row, 0, 5)
			row = append(row, r.Hash, r.Sort)
			if !noValue {
				row = append(row, r.Value)
			}
			var left any
			if !r.Expires.IsZero() {
				left = r.TTL
			}
			*count++
			if !yield(append(row, left, r.Partition), nil) {
				return
			}
		}
	}
}
