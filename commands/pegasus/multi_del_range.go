package pegasus

import (
	"context"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// MultiDelRange deletes a range of a hash key.
func MultiDelRange(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "multi_del_range",
		Systems: systems,
		Topic:   "rows",
		Summary: "delete a range of the rows under one hash key",
		Long: "Finds the rows by a scan and deletes them a batch at a time, so it is not one step: readers may see it half done. It " +
			"cannot be taken back and is confirmed as risky (--yes in scripts). Ctrl-C stops it behind the batch it is at and says " +
			"how many rows are gone; the same line again deletes what is left. --plan and multi_get_range -i show the range first.",
		Args: rangeArgs,
		Flags: append(slices.Clone(rangeFlags), fileFlag,
			spec.Flag{Name: "silent", Short: "i", Kind: spec.ArgBool, Help: "do not list the rows, which it never does"}),
		Examples: []spec.Example{
			{Line: "multi_del_range log 2024-01 2024-02 --yes", Says: "rows from one key to before another are gone", Setup: []string{"use demo", "multi_set log 2024-01-05 a 2024-02-01 b"}},
			{Line: "multi_del_range log -s prefix -y 2024- --plan", Says: "what would be done", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"multi_del", "multi_get_range", "clear_data"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return multiDelRange(ctx, env, call)
		},
	}
}

func multiDelRange(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	if err := noFile(call); err != nil {
		return nil, err
	}
	r := sortRange(call)
	only, err := filter(call, "sort-key")
	if err != nil {
		return nil, err
	}
	c, k, err := openHash(ctx, env, call)
	if err != nil {
		return nil, err
	}
	o := driver.ScanOptions{
		Partition: -1, NoValue: true, HashKey: driver.Filter{Type: "exact", Pattern: []byte(k.hash)}, SortKey: only, Range: &r,
	}
	text := "delete the rows under " + k.under() + rangeText(r) + filterText("sort key", only)
	return &spec.Plan{
		Title: text,
		Name:  k.table,
		Steps: []spec.Step{{
			Text: text, Objects: []string{quote(k.hash)}, Class: spec.Risky,
			Apply: func(ctx context.Context, report spec.Report) error {
				return deleteScanned(ctx, c, text, k.table, c.Scan(ctx, k.table, o), report)
			},
		}},
		Notes: []string{"deleted rows cannot be brought back"},
	}, nil
}

// filterText says a filter in words, "" for none.
func filterText(of string, f driver.Filter) string {
	how, ok := map[string]string{"anywhere": "in", "prefix": "at the start of", "postfix": "at the end of", "exact": "as"}[f.Type]
	if !ok {
		return ""
	}
	return ", " + quote(string(f.Pattern)) + " " + how + " the " + of
}
