package pegasus

import (
	"context"
	"fmt"
	"slices"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// ClearData deletes the rows of a table.
func ClearData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "clear_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "delete all rows of the table in use, or those that match",
		Long: "Scans the table and deletes what it finds, a batch at a time; the table itself stays. The table's name has to be " +
			"typed, or given as --yes=NAME in scripts; -f alone confirms nothing any more. Ctrl-C stops it behind the batch it is at " +
			"and says how many rows are gone; the same line again deletes what is left, and rows written meanwhile. count_data " +
			"with the same filters tells first how many rows match. To drop a whole table, drop is quicker and can be taken back.",
		Flags: append(slices.Clone(scanFlags),
			spec.Flag{Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "500", Help: "rows read in one answer, at most 1000"},
			timeoutFlag,
			spec.Flag{Name: "force", Short: "f", Kind: spec.ArgBool, Help: "accepted for old scripts; what counts is the name"}),
		Examples: []spec.Example{
			{Line: "clear_data --yes=demo", Says: "the table is empty", Setup: []string{"use demo", "set user_1 name alice"}},
			{Line: "clear_data -h prefix -x tmp_ --yes=demo", Says: "only rows below a prefix of hash keys", Setup: []string{"use demo", "set tmp_1 a b"}},
			{Line: "clear_data -p 0 --plan", Says: "what would be done", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"count_data", "multi_del_range", "drop"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return clearData(ctx, env, call)
		},
	}
}

func clearData(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	o, err := scanOptions(call)
	if err != nil {
		return nil, err
	}
	o.NoValue = o.Value.Type == ""
	if _, err := perCall(ctx, call); err != nil {
		return nil, err
	}
	c, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	if err := checkPartition(ctx, c, table, o.Partition); err != nil {
		return nil, err
	}
	if _, err := mustFind(ctx, c, call.Cluster, table); err != nil {
		return nil, err
	}
	text := "delete all rows of " + table
	if what := filterText("hash key", o.HashKey) + filterText("sort key", o.SortKey) + filterText("value", o.Value); what != "" {
		text = "delete the rows of " + table + what
	}
	if o.Partition >= 0 {
		text += fmt.Sprintf(", partition %d", o.Partition)
	}
	return &spec.Plan{
		Title: text,
		Name:  table,
		Steps: []spec.Step{{
			Text: text, Objects: []string{table}, Class: spec.Destroy,
			Apply: func(ctx context.Context, report spec.Report) error {
				ctx, err := perCall(ctx, call)
				if err != nil {
					return err
				}
				return deleteScanned(ctx, c, text, table, c.Scan(ctx, table, o), report)
			},
		}},
		Notes: []string{"deleted rows cannot be brought back; count_data with the same filters counts them first"},
	}, nil
}
