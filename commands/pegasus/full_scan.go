package pegasus

import (
	"context"
	"slices"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// FullScan reads whole partitions, with the options of the store's own shell.
func FullScan(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "full_scan",
		Systems: systems,
		Topic:   "rows",
		Summary: "read all rows of the table in use, or those that match",
		Long: "The scan of the store's own shell, with its options: partitions are read one after the other from their primary " +
			"replicas, and rows are shown while they arrive, with the time they have left. For a file end the line with > FILE.",
		Flags: append(slices.Clone(scanFlags), maxCountFlag, noValueFlag, detailFlag, timeoutFlag, fileFlag,
			spec.Flag{Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "500", Help: "rows in one answer, at most 1000"}),
		Examples: []spec.Example{
			{Line: "full_scan -n 10 -d", Says: "ten rows, and who answered them", Setup: []string{"use TableA"}},
			{Line: "full_scan -s exact -y email -i -t 20000", Says: "the keys of one sort key, with 20 s for each call", Setup: []string{"use TableA"}},
		},
		SeeAlso: []string{"scan", "hash_scan", "count_data"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if err := noFile(call); err != nil {
				return nil, err
			}
			return scan(ctx, env, call, maxCountFlag.Name)
		},
	}
}
