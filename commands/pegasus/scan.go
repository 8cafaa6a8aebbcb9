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
			noValueFlag, detailFlag, timeoutFlag,
			spec.Flag{Name: "max-rows", Short: "n", Kind: spec.ArgInt, Default: "0", Help: "stop after so many rows; 0 reads all"}),
		Examples: []spec.Example{
			{Line: "scan -n 10", Says: "what rows look like", Setup: []string{"use TableA"}},
			{Line: "scan -h prefix -x order_ -i", Says: "the keys below a prefix", Setup: []string{"use demo", "set order_7 item book"}},
			{Line: "scan -p 0 --output jsonl", Says: "one partition, a JSON object a line", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"count_data", "full_scan", "hash_scan", "get"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if n := call.Int("max-rows"); n < 0 {
				return nil, spec.Errorf(spec.Usage, "%d is no number of rows", n)
			}
			return scan(ctx, env, call, "max-rows")
		},
	}
}

// scan reads the partitions that the flags choose. most names the flag that limits the rows.
func scan(ctx context.Context, env commands.Env, call *spec.Call, most string) (*spec.Table, error) {
	o, err := scanOptions(call)
	if err != nil {
		return nil, err
	}
	o.NoValue, o.MaxRows = call.Bool("no-value"), max(call.Int(most), 0)
	if err := checkNoValue(o); err != nil {
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
	return scanTable(c.Scan(ctx, table, o), o, call.Bool("detailed"), most), nil
}

func checkNoValue(o driver.ScanOptions) error {
	if o.NoValue && o.Value.Type != "" {
		return spec.Errorf(spec.Usage, "-v looks at values, which -i leaves out")
	}
	return nil
}

// scanTable shows the rows of a scan while they arrive.
func scanTable(found iter.Seq2[driver.ScanRow, error], o driver.ScanOptions, detailed bool, most string) *spec.Table {
	columns := append(pairColumns(o.NoValue),
		spec.Column{Name: "ttl", Kind: spec.Duration}, spec.Column{Name: "partition_index", Kind: spec.Int})
	if detailed {
		columns = append(columns, spec.Column{Name: "app_id", Kind: spec.Int}, spec.Column{Name: "server"})
	}
	var count int64
	return &spec.Table{
		Columns: columns,
		Rows: func(yield func(spec.Row, error) bool) {
			for r, err := range found {
				if err != nil {
					yield(nil, err)
					return
				}
				count++
				if !yield(scanRow(r, o.NoValue, detailed, len(columns)), nil) {
					return
				}
			}
		},
		Notes: func() []string {
			if o.MaxRows > 0 && count == o.MaxRows {
				return []string{fmt.Sprintf("stopped after %d rows, as told by --%s", count, most)}
			}
			return []string{countNote(count, driver.Ack{})}
		},
	}
}

func scanRow(r driver.ScanRow, noValue, detailed bool, width int) spec.Row {
	row := make(spec.Row, 0, width)
	row = append(row, r.Hash, r.Sort)
	if !noValue {
		row = append(row, r.Value)
	}
	var left any
	if !r.Expires.IsZero() {
		left = r.TTL
	}
	row = append(row, left, r.Partition)
	if detailed {
		row = append(row, r.AppID, commands.Word(r.Server))
	}
	return row
}
