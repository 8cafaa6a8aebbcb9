package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// maxListed bounds how many differences are listed: they are kept in memory and in the journal.
const maxListed = 10_000

// DiffData compares two tables.
func DiffData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "diff_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "compare the table in use with another one, here or in another cluster",
		Long: "Reads both tables from end to end, many partitions at a time, and sums their rows by checksums that depend neither on " +
			"partitions nor on order: the tables may have different numbers of partitions. Where sums differ, the rows behind them are " +
			"read once more and compared one by one, in bounded memory; where much differs that takes several passes. " +
			"A row is missing from the target, extra in the target, different in its value, or equal but for the time it expires " +
			"(ttl_drift). A difference is read again on both sides before it counts, up to 10,000 of them a pass, so that rows written " +
			"while it runs count only if they still differ then; to compare exactly, stop the writers. Filters choose rows on both sides. " +
			"All differences are counted, and the first ones are listed, long values shortened. Nothing is changed. It exits 0 when the " +
			"tables are equal and 7 when they are not. It is a job: its journal lets it go on after an interruption.",
		Flags: append(append([]spec.Flag{
			{Name: "target-cluster-name", Short: "c", Kind: spec.ArgCluster, Required: true, Help: "the cluster of the other table"},
			{Name: "target-app-name", Short: "a", Kind: spec.ArgTable, Required: true, Help: "the other table"},
		}, scanFlags...),
			spec.Flag{
				Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "1000",
				Help: "rows a server looks at per call, at most 1000",
			},
			timeoutFlag,
			spec.Flag{Name: "partitions", Kind: spec.ArgText, Help: "only rows of these partitions of the table in use: 0-15,20"},
			spec.Flag{Name: "limit", Kind: spec.ArgInt, Default: "100", Help: "how many differences to list, 0 to 10000"},
			spec.Flag{Name: "ttl-drift", Kind: spec.ArgDuration, Default: "2s", Help: "times of expiry that differ by no more count as equal"},
			spec.Flag{Name: "max-rate", Kind: spec.ArgRate, Help: "how much of both tables together: 50000rows/s, 20MB/s"},
			spec.Flag{Name: "no-values", Kind: spec.ArgBool, Help: "list differences without the values"}),
		Examples: []spec.Example{
			{
				Line: "diff_data -c onebox -a mirror", Says: "two tables of one cluster", Setup: []string{"create mirror -p 4", "create origin -p 8", "use origin"},
			},
			{
				Line: "diff_data -c onebox -a demo -h prefix -x user_ --limit 10", Says: "only some rows, and only ten differences listed",
				Setup: []string{"create origin -p 8", "use origin"},
			},
		},
		SeeAlso: []string{"count_data", "full_scan"},
		Reads:   func(*spec.Call) bool { return true },
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return diffData(ctx, env, call)
		},
	}
}

func diffData(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	c := &comparison{job: "diff", each: call.Duration(timeoutFlag.Name), noValues: call.Bool("no-values")}
	if err := c.readFlags(call); err != nil {
		return nil, err
	}
	there := call.String("target-app-name")
	if err := checkTable(there); err != nil {
		return nil, err
	}
	here, table, err := openTable(ctx, env, call, "")
	if err != nil {
		return nil, err
	}
	if c.source, err = comparedTable(ctx, here, call.Cluster, table); err != nil {
		return nil, err
	}
	target, err := commands.Peer[client](ctx, env, call.String("target-cluster-name"), "Pegasus")
	if err != nil {
		return nil, err
	}
	if c.target, err = comparedTable(ctx, target, call.String("target-cluster-name"), there); err != nil {
		return nil, err
	}
	if target == here && c.source.app.ID == c.target.app.ID {
		return nil, spec.Errorf(spec.Usage, "%s is the table in use itself", shown(there))
	}
	if err := c.choosePartitions(call); err != nil {
		return nil, err
	}
	return &spec.Plan{Title: c.text(), Steps: []spec.Step{c.step()}, Answers: c.answers}, nil
}

// readFlags reads what needs no cluster.
func (c *comparison) readFlags(call *spec.Call) (err error) {
	if c.options, err = scanOptions(call); err != nil {
		return err
	}
	if _, err = perCall(context.Background(), call); err != nil {
		return err
	}
	if c.drift = call.Duration("ttl-drift"); c.drift < 0 {
		return spec.Errorf(spec.Usage, "%s is no time that times may differ by", c.drift)
	}
	if c.limit = int(call.Int("limit")); c.limit < 0 || c.limit > maxListed {
		return spec.Errorf(spec.Usage, "%d differences cannot be listed", c.limit).WithHint("0 to %d", maxListed)
	}
	c.rate = call.Rate("max-rate")
	if call.Has("partitions") && c.options.Partition >= 0 {
		return spec.Errorf(spec.Usage, "-p and --partitions choose the same: give one")
	}
	_, err = diffPartitions(call.String("partitions"), maxPartitions)
	return err
}

// maxPartitions is more partitions than any table has.
const maxPartitions = 1 << 20

// choosePartitions leaves out what is not in the partitions that were named, on both sides.
func (c *comparison) choosePartitions(call *spec.Call) error {
	n := c.source.app.Partitions
	text := call.String("partitions")
	if c.options.Partition >= 0 {
		text = strconv.Itoa(c.options.Partition)
	}
	chosen, err := diffPartitions(text, n)
	if err != nil {
		return err
	}
	c.options.Partition = -1
	c.chosen = text
	c.sourceView.Partitions, c.sourceView.Of = chosen, n
	c.targetView = c.sourceView
	return nil
}

// diffPartitions reads "0-15,20" for a table of n partitions; "" is all of them, nil.
func diffPartitions(text string, n int) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 31)
		to, err2 := strconv.ParseUint(high, 10, 31)
		if err1 != nil || err2 != nil || from > to {
			return nil, spec.Errorf(spec.Usage, "%q names no partitions", part).WithHint("write 0-15,20")
		}
		if to >= uint64(n) {
			return nil, spec.Errorf(spec.Usage, "there is no partition %d", to).WithHint("they count from 0 to %d", n-1)
		}
		for p := from; p <= to; p++ {
			list = append(list, int(p))
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// compared is one side of a comparison.
type compared struct {
	c       client
	cluster string
	app     driver.App
}

func comparedTable(ctx context.Context, c client, cluster, table string) (compared, error) {
	app, err := mustFind(ctx, c, cluster, table)
	return compared{c, cluster, app}, err
}

func (s compared) String() string { return fmt.Sprintf("%s of %s", s.app.Name, s.cluster) }

// identity tells a table from another of its name.
func (s compared) identity() string {
	return fmt.Sprintf("%s/%s, id %d, created %s", s.cluster, s.app.Name, s.app.ID, s.app.Created.UTC().Format(time.RFC3339))
}
