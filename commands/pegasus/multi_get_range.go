package pegasus

import (
	"context"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// MultiGetRange reads a range of a hash key.
func MultiGetRange(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "multi_get_range",
		Systems: systems,
		Topic:   "rows",
		Summary: "read a range of the rows under one hash key",
		Long: "Reads rows in the order of their sort keys, from start to before stop unless -a and -b say otherwise. With -r it " +
			"starts at the end and shows the last row first. While a server says that more remains it is asked for the rest, so " +
			"that rows written meanwhile may or may not be seen. hash_scan reads the same by a scan and also shows times to live.",
		Args: rangeArgs,
		Flags: append(slices.Clone(rangeFlags), maxCountFlag, noValueFlag,
			spec.Flag{Name: "reverse", Short: "r", Kind: spec.ArgBool, Help: "from the end of the range backwards"}),
		Examples: []spec.Example{
			{Line: "multi_get_range log 2024-01 2024-02", Says: "rows from one key to before another", Setup: []string{"use demo", "multi_set log 2024-01-05 a 2024-02-01 b"}},
			{Line: `multi_get_range log "" "" -r -n 1`, Says: "the last row", Setup: []string{"use demo", "multi_set log 2024-01-05 a 2024-02-01 b"}},
			{Line: "multi_get_range log -s prefix -y 2024-01", Says: "rows below a prefix", Setup: []string{"use demo", "multi_set log 2024-01-05 a 2024-02-01 b"}},
		},
		SeeAlso: []string{"multi_get", "hash_scan", "multi_del_range"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			o := driver.RangeOptions{
				SortRange: sortRange(call), NoValue: call.Bool("no-value"), MaxRows: max(call.Int("max-count"), 0), Reverse: call.Bool("reverse"),
			}
			var err error
			if o.SortKey, err = filter(call, "sort-key"); err != nil {
				return nil, err
			}
			c, k, err := openHash(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return rangeTable(k, c.MultiGetRange(ctx, k.table, []byte(k.hash), o), o.NoValue, o.MaxRows), nil
		},
	}
}
