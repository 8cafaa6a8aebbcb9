package pegasus

import (
	"cmp"
	"context"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// maxBatch is how many rows a replica server looks at for one answer, however many are asked for.
const maxBatch = 1000

var (
	filterTypes = []string{"anywhere", "prefix", "postfix", "exact"}

	// scanFlags are those of every word that reads whole partitions.
	scanFlags = []spec.Flag{
		{Name: "partition", Short: "p", Kind: spec.ArgInt, Default: "-1", Help: "only this partition"},
		{Name: "hash-key-filter-type", Short: "h", Kind: spec.ArgEnum, Values: filterTypes, Help: "how -x is compared with the hash key"},
		{Name: "hash-key-filter-pattern", Short: "x", Kind: spec.ArgBytes, Help: "only rows with this in the hash key"},
		{Name: "sort-key-filter-type", Short: "s", Kind: spec.ArgEnum, Values: filterTypes, Help: "how -y is compared with the sort key"},
		{Name: "sort-key-filter-pattern", Short: "y", Kind: spec.ArgBytes, Help: "only rows with this in the sort key"},
		{Name: "value-filter-type", Short: "v", Kind: spec.ArgEnum, Values: filterTypes, Help: "how -z is compared with the value"},
		{Name: "value-filter-pattern", Short: "z", Kind: spec.ArgBytes, Help: "only rows with this in the value, which has to travel for it"},
	}
)

func scanOptions(call *spec.Call) (driver.ScanOptions, error) {
	return scanOptionsBy(call, "max-batch-count")
}

// scanOptionsBy reads the flags of which size names the one of the batch.
func scanOptionsBy(call *spec.Call, size string) (driver.ScanOptions, error) {
	partition, batch := call.Int("partition"), call.Int(size)
	switch {
	case partition < -1:
		return driver.ScanOptions{}, spec.Errorf(spec.Usage, "%d is no partition", partition).WithHint("they count from 0; -1 is all")
	case batch < 1 || batch > maxBatch:
		return driver.ScanOptions{}, spec.Errorf(spec.Usage, "%d is no size of a batch", batch).WithHint("1 to %d rows", maxBatch)
	}
	o := driver.ScanOptions{Partition: int(partition), Batch: int(batch)}
	var errs [3]error
	o.HashKey, errs[0] = filter(call, "hash-key")
	o.SortKey, errs[1] = filter(call, "sort-key")
	o.Value, errs[2] = filter(call, "value")
	return o, cmp.Or(errs[:]...)
}

func filter(call *spec.Call, of string) (driver.Filter, error) {
	kind, pattern := of+"-filter-type", of+"-filter-pattern"
	switch {
	case call.Has(kind) != call.Has(pattern):
		return driver.Filter{}, spec.Errorf(spec.Usage, "--%s and --%s go together", kind, pattern)
	case !call.Has(kind):
		return driver.Filter{}, nil
	}
	return driver.Filter{Type: call.String(kind), Pattern: []byte(call.String(pattern))}, nil
}

// checkPartition refuses a partition that the table does not have. No one is asked when none was named.
func checkPartition(ctx context.Context, c admin, table string, partition int) error {
	if partition < 0 {
		return nil
	}
	a, err := c.Partitions(ctx, table)
	if err != nil {
		return err
	}
	if partition >= len(a.Partitions) {
		return spec.Errorf(spec.Usage, "%s has no partition %d", table, partition).
			WithHint("they count from 0 to %d", len(a.Partitions)-1)
	}
	return nil
}
