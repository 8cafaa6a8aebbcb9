package pegasus

import (
	"context"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// HashScan scans the rows of a hash key.
func HashScan(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "hash_scan",
		Systems: systems,
		Topic:   "rows",
		Summary: "scan the rows under one hash key, or a range of them",
		Long: "Reads rows in the order of their sort keys, from start to before stop unless -a and -b say otherwise, and shows " +
			"them while they arrive, with the time they have left. The scan sees the rows as they were when it began, unless its " +
			"server loses it; then it goes on after the last row.",
		Args: rangeArgs,
		Flags: append(slices.Clone(rangeFlags),
			spec.Flag{Name: "value-filter-type", Short: "v", Kind: spec.ArgEnum, Values: filterTypes, Help: "how -z is compared with the value"},
			spec.Flag{Name: "value-filter-pattern", Short: "z", Kind: spec.ArgBytes, Help: "only rows with this in the value, which has to travel for it"},
			maxCountFlag, noValueFlag, detailFlag, timeoutFlag, fileFlag),
		Examples: []spec.Example{
			{Line: "hash_scan user_1", Says: "all rows under a hash key, and how long they live", Setup: []string{"use demo", "multi_set user_1 name alice age 7"}},
			{Line: "hash_scan log 2024-01 2024-02 -n 100", Says: "a range, at most 100 rows", Setup: []string{"use demo", "multi_set log 2024-01-05 a 2024-02-01 b"}},
			{Line: `hash_scan log "" "" -v anywhere -z error -d`, Says: "rows by their value, and who answered them", Setup: []string{"use demo", "set log 2024-01-05 'an error'"}},
		},
		SeeAlso: []string{"multi_get_range", "full_scan", "count"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return hashScan(ctx, env, call)
		},
	}
}

func hashScan(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	r := sortRange(call)
	o := driver.ScanOptions{Partition: -1, Range: &r, NoValue: call.Bool("no-value"), MaxRows: max(call.Int(maxCountFlag.Name), 0)}
	var errs [2]error
	o.SortKey, errs[0] = filter(call, "sort-key")
	o.Value, errs[1] = filter(call, "value")
	for _, err := range []error{errs[0], errs[1], noFile(call), checkNoValue(o)} {
		if err != nil {
			return nil, err
		}
	}
	ctx, err := perCall(ctx, call)
	if err != nil {
		return nil, err
	}
	c, k, err := openHash(ctx, env, call)
	if err != nil {
		return nil, err
	}
	o.HashKey = driver.Filter{Type: "exact", Pattern: []byte(k.hash)}
	return scanTable(c.Scan(ctx, k.table, o), o, call.Bool("detailed"), maxCountFlag.Name), nil
}
