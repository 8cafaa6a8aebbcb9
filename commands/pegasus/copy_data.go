package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// copying is what copying rows asks of a cluster.
type copying interface {
	client
	counting
	RowSource(table string, o driver.RowSourceOptions) (*driver.RowSource, error)
	RowSink(table string, o driver.RowSinkOptions) *driver.RowSink
}

var _ copying = (*driver.Driver)(nil)

var copyFlags = slices.Concat(
	[]spec.Flag{
		{Name: "target-cluster-name", Short: "c", Kind: spec.ArgCluster, Required: true, Help: "the cluster to copy to, by name or address"},
		{Name: "target-app-name", Short: "a", Kind: spec.ArgTable, Required: true, Help: "the table to copy to"},
	},
	scanFlags,
	[]spec.Flag{
		{Name: "max-batch-count", Short: "b", Kind: spec.ArgInt, Default: "500", Help: "rows of a hash key in one write at most, and rows written one by one at a time for each partition; above 1"},
		timeoutFlag,
		{Name: "max-multi-set-concurrency", Short: "m", Kind: spec.ArgInt, Default: "20", Help: "writes of several rows at a time for each partition"},
		{Name: "scan-option-batch-size", Short: "o", Kind: spec.ArgInt, Default: "100", Help: "rows read in one answer, at most 1000; fewer where rows are large"},
		{Name: "no-ttl", Short: "e", Kind: spec.ArgBool, Help: "write rows without their times to live"},
		{Name: "no-overwrite", Short: "n", Kind: spec.ArgBool, Help: "keep rows that the target has: each row is checked and written in one step"},
		{Name: "no-value", Short: "i", Kind: spec.ArgBool, Help: "keys only, with empty values"},
		{Name: "geo-data", Short: "g", Kind: spec.ArgBool, Help: "refused: copy the table of the index by itself"},
		{Name: "use-multi-set", Short: "u", Kind: spec.ArgBool, Help: "accepted for old scripts: rows of a hash key are always written together, each with its own time to live"},
	},
	[]spec.Flag{
		{Name: "create", Kind: spec.ArgBool, Help: "create the target first, unless it is there, with the partition count and settings of the table in use"},
		{Name: "verify", Kind: spec.ArgBool, Help: "compare in the end what was copied with what the target has; exit 7 when they differ"},
		{Name: "max-rate", Kind: spec.ArgRate, Help: "copy no faster than this; +, - and job rate change it while it runs"},
		{Name: "partitions", Kind: spec.ArgText, Help: "only these partitions of the table in use: 0-15,20"},
		{Name: "patience", Kind: spec.ArgDuration, Default: "10m", Help: "give up when servers were away and nothing got any further for so long"},
	})

// CopyData copies the rows of a table.
func CopyData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "copy_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "copy the rows of the table in use to another table, here or in another cluster",
		Long: "Reads every partition and writes its rows to the target, many partitions at a time. The target may have another name and " +
			"another number of partitions. Rows of the same keys are overwritten there, unless -n keeps them; each row keeps the moment at " +
			"which it expires. Rows of one hash key that expire at the same moment are written together, which is all that -u ever meant. " +
			"A server that asks for less (write limits, write stalls, ERR_BUSY) gets less, and never ends the copy; partitions whose " +
			"servers are away wait for them while the others go on. Rows that are written to the source while it runs may come or not. " +
			"It is a job: its journal is saved every second, and after Ctrl-C, a crash or an error that does not go away, job resume goes " +
			"on from there, writing again at most what was on its way. With -n, rows that were written again after a crash count as kept. " +
			"Several machines can share one copy by --partitions.",
		Flags: copyFlags,
		Examples: []spec.Example{
			{
				Line: "copy_data -c onebox2 -a TableB --create -t 10000", Says: "a copy in another cluster, with the same settings",
				Setup: []string{"use TableA"},
			},
			{
				Line: "copy_data -c onebox -a mirror -h prefix -x user_ --max-rate 50000rows/s --verify", Says: "only some rows, not too fast, compared in the end",
				Setup: []string{"create mirror -p 4", "use demo", "set user_1 name alice"},
			},
			{
				Line: "copy_data -c onebox -a mirror --plan", Says: "how much there is to copy, and what would be in its way",
				Setup: []string{"create mirror -p 4", "use TableA"},
			},
		},
		SeeAlso: []string{"diff_data", "count_data", "jobs", "set_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return copyData(ctx, env, call)
		},
	}
}

// copySide is a table of a copy.
type copySide struct {
	c       copying
	cluster string
	app     driver.App
	there   bool // the target may have to be created
}

func (s copySide) String() string { return fmt.Sprintf("%s of %s", s.app.Name, s.cluster) }

// rowCopy is a copy that is planned.
type rowCopy struct {
	source, target copySide
	options        driver.ScanOptions
	chosen         string // the partitions, as the line has them; "" for all
	partitions     []int
	rows           int // in one write
	batches        int // under way at a time for each partition
	each           time.Duration
	patience       time.Duration
	rate           spec.Rate
	create, verify bool
	noTTL, keep    bool
	guesses        map[int]driver.Guess
}

func copyData(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	x, err := readCopy(call)
	if err != nil {
		return nil, err
	}
	if err := x.open(ctx, env, call); err != nil {
		return nil, err
	}
	notes, err := x.look(ctx)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: x.text(), Notes: notes}
	if x.create {
		plan.Steps = x.createSteps()
	}
	plan.Steps = append(plan.Steps, x.step())
	if x.verify {
		plan.Steps = append(plan.Steps, x.verifyStep())
	}
	return plan, nil
}

// readCopy reads what needs no cluster.
func readCopy(call *spec.Call) (*rowCopy, error) {
	usage := func(format string, args ...any) *spec.Error { return spec.Errorf(spec.Usage, format, args...) }
	x := &rowCopy{
		rows: int(call.Int("max-batch-count")), batches: int(call.Int("max-multi-set-concurrency")),
		patience: call.Duration("patience"), rate: call.Rate("max-rate"), each: call.Duration(timeoutFlag.Name),
		create: call.Bool("create"), verify: call.Bool("verify"), noTTL: call.Bool("no-ttl"), keep: call.Bool("no-overwrite"),
	}
	const most = 100_000
	switch {
	case call.Bool("geo-data"):
		return nil, spec.Errorf(spec.Unable, "-g would have to make the index of places anew from the values, by rules that only the geo client's own configuration has").
			WithHint("the index is a table like any other: copy TABLE and TABLE_geo, each by a copy_data of its own")
	case call.Bool("use-multi-set") && x.keep:
		return nil, usage("-u writes rows together, -n must check each by itself: give one")
	case x.verify && x.keep:
		return nil, usage("--verify would take the rows that -n kept for differences").WithHint("diff_data tells what differs")
	case x.rows <= 1 || x.rows > most:
		return nil, usage("-b must be from 2 to %d rows", most)
	case x.batches < 1 || x.batches > most:
		return nil, usage("-m must be from 1 to %d writes", most)
	case x.patience <= 0:
		return nil, usage("%s is no time to wait", x.patience)
	case call.Has("partitions") && call.Int("partition") >= 0:
		return nil, usage("-p and --partitions choose the same: give one")
	}
	if _, err := diffPartitions(call.String("partitions"), maxPartitions); err != nil {
		return nil, err
	}
	if _, err := perCall(context.Background(), call); err != nil {
		return nil, err
	}
	var err error
	if x.options, err = scanOptionsBy(call, "scan-option-batch-size"); err != nil {
		return nil, err
	}
	x.options.NoValue = call.Bool("no-value")
	if err := checkNoValue(x.options); err != nil {
		return nil, err
	}
	x.chosen = call.String("partitions")
	if x.options.Partition >= 0 {
		x.chosen = strconv.Itoa(x.options.Partition)
	}
	x.options.Partition = -1
	return x, checkTable(call.String("target-app-name"))
}

// open finds both tables.
func (x *rowCopy) open(ctx context.Context, env commands.Env, call *spec.Call) error {
	table, err := commands.Table(call, "")
	if err != nil {
		return err
	}
	if x.source.c, err = commands.Driver[copying](ctx, env, call); err != nil {
		return err
	}
	x.source.cluster, x.source.there = call.Cluster, true
	if x.source.app, err = mustFind(ctx, x.source.c, call.Cluster, table); err != nil {
		return err
	}
	name := call.String("target-cluster-name")
	if x.target.c, err = commands.Peer[copying](ctx, env, name, "Pegasus"); err != nil {
		return err
	}
	x.target.cluster = name
	wanted := call.String("target-app-name")
	if x.target.app, x.target.there, err = findApp(ctx, x.target.c, wanted); err != nil {
		return err
	}
	switch {
	case !x.target.there && !x.create:
		return spec.Errorf(spec.NotFound, "%s has no table %s", name, shown(wanted)).
			WithHint("--create makes it like %s; or create it there with another partition count", shown(table))
	case !x.target.there:
		x.target.app = driver.App{Name: wanted}
	default:
		same, err := x.itself(ctx)
		if err != nil {
			return err
		}
		if same {
			return spec.Errorf(spec.Usage, "%s is the table in use itself", shown(wanted))
		}
	}
	x.partitions, err = diffPartitions(x.chosen, x.source.app.Partitions)
	return err
}

// itself tells whether both tables are one, maybe in a cluster that goes by two names.
func (x *rowCopy) itself(ctx context.Context) (bool, error) {
	a, b := x.source.app, x.target.app
	if a.ID != b.ID || a.Name != b.Name || !a.Created.Equal(b.Created) {
		return false, nil
	}
	here, err := x.source.c.Partitions(ctx, a.Name)
	if err != nil {
		return false, err
	}
	there, err := x.target.c.Partitions(ctx, b.Name)
	if err != nil {
		return false, err
	}
	return slices.EqualFunc(here.Partitions, there.Partitions, func(p, q driver.Partition) bool {
		return p.Primary == q.Primary && slices.Equal(p.Secondaries, q.Secondaries)
	}), nil
}

func (x *rowCopy) text() string {
	text := fmt.Sprintf("copy %s to %s", x.source, x.target)
	o := x.options
	if what := filterText("hash key", o.HashKey) + filterText("sort key", o.SortKey) + filterText("value", o.Value); what != "" {
		text += ", rows" + what
	}
	if x.chosen != "" {
		text += ", partitions " + x.chosen
	}
	return text
}
