package pegasus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// The settings of a table that say when it is compacted.
const (
	envCompactOff  = "manual_compact.disabled"
	envCompactOnce = "manual_compact.once.trigger_time"
)

// ManualCompact rewrites the files of a table.
func ManualCompact(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "manual_compact",
		Systems: systems,
		Topic:   "tables",
		Summary: "compact a table: free the space of rows that are gone",
		Long: "Has every replica of a table rewrite its files, without the rows that were deleted, that have expired, or that left in a " +
			"partition split, and waits until all are done. It loads the disks; -c bounds how many replicas a node compacts at a " +
			"time. Files of the deepest level are left as they are without -b. Nothing takes it back, and nothing stops it " +
			"but manual_compact.disabled for replicas that have not begun. A second one within the same second as the last is none.",
		Flags: []spec.Flag{
			tableFlag,
			{Name: "target-level", Short: "l", Kind: spec.ArgInt, Default: "-1", Help: "level to which the files go; -1 is the deepest"},
			{Name: "bottommost-level-compaction", Short: "b", Kind: spec.ArgBool, Help: "rewrite the files of the deepest level, too"},
			{
				Name: "max-concurrent-running-count", Short: "c", Kind: spec.ArgInt, Default: "0",
				Help: "replicas that a node compacts at a time, kept as a setting; 0 leaves what is set",
			},
		},
		Examples: []spec.Example{
			{Line: "manual_compact -a TableA", Says: "rewrite what is not in the deepest level yet"},
			{Line: "manual_compact -a TableA -b -c 1", Says: "all of it, one replica of a node after the other"},
		},
		SeeAlso: []string{"query_compact", "partition_split start", "app_disk"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return manualCompact(ctx, env, call)
		},
	}
}

func manualCompact(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	how := driver.Compaction{Level: int(call.Int("target-level")), Bottommost: call.Bool("bottommost-level-compaction"), AtATime: int(call.Int("max-concurrent-running-count"))}
	switch {
	case how.Level < -1 || how.Level == 0 || how.Level > maxLevel:
		return nil, spec.Errorf(spec.Usage, "%d is no level to compact to", how.Level).WithHint("-1, the deepest, or 1 to %d", maxLevel)
	case how.AtATime < 0:
		return nil, spec.Errorf(spec.Usage, "%d replicas at a time cannot be", how.AtATime).WithHint("0 leaves what is set")
	}
	c, a, err := openSplit(ctx, env, call, call.String("table"))
	if err != nil {
		return nil, err
	}
	k := &compacting{client: c, app: a}
	plan := &spec.Plan{
		Title: fmt.Sprintf("compact table %s of %s: %s", a.Name, call.Cluster, shape(a.Partitions, a.Replicas)),
		Steps: []spec.Step{{
			Text: "compact " + a.Name + compactText(how), Objects: []string{a.Name}, Class: spec.Alter,
			Check: k.check,
			Apply: func(ctx context.Context, _ spec.Report) error {
				k.sent = true
				return c.StartCompaction(ctx, a.Name, how)
			},
		}},
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, k.await(call))
	}
	return plan, nil
}

// maxLevel is the deepest level that tables can have (rocksdb.num_levels).
const maxLevel = 10

func compactText(how driver.Compaction) string {
	text := ""
	if how.Level > 0 {
		text += fmt.Sprintf(" to level %d", how.Level)
	}
	if how.Bottommost {
		text += ", the deepest level too"
	}
	if how.AtATime > 0 {
		text += fmt.Sprintf(", %s of a node at a time", commands.Plural(how.AtATime, "replica"))
	}
	return text
}

// compacting is a compaction that is to happen.
type compacting struct {
	client  splitter
	app     driver.App // as it was planned for
	sent    bool
	percent int // when it was last looked
}

// check blocks where servers would do nothing. Only after it was sent does a later time of the last one mean that it
// began; an earlier compaction is no reason not to make another one.
func (k *compacting) check(ctx context.Context) (spec.State, error) {
	now, err := k.client.GetTableSettings(ctx, k.app.Name)
	switch {
	case err != nil:
		return spec.State{}, err
	case k.sent && triggered(now) > triggered(k.app.Envs):
		return spec.State{Kind: spec.Done, Why: "it has begun"}, nil
	case now[envCompactOff] == "true":
		return spec.State{Kind: spec.Blocked, Why: envCompactOff + " is true; set_app_envs " + envCompactOff + " false allows it"}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// triggered is when a compaction was last asked for, Unix seconds; 0 for never.
func triggered(envs map[string]string) int64 {
	at, err := strconv.ParseInt(envs[envCompactOnce], 10, 64)
	if err != nil || at < 0 {
		return 0
	}
	return at
}

func (k *compacting) await(call *spec.Call) spec.Step {
	return waiting{
		text: fmt.Sprintf("wait until every replica of %s is compacted", k.app.Name), objects: []string{k.app.Name}, limit: call.Wait,
		look: func(ctx context.Context) (bool, string, error) {
			percent, known, err := k.client.CompactionProgress(ctx, k.app.Name)
			if err != nil || !known {
				return false, "no replica has begun", err
			}
			k.percent = percent
			return percent == 100, fmt.Sprintf("%d %% of the replicas are done", percent), nil
		},
		progress: func() (int, int, string) { return k.percent, 100, "%" },
		hint: fmt.Sprintf("query_compact %s shows how far it is; replicas of a node that was started again since count as not done",
			k.app.Name),
	}.step()
}

// QueryCompact shows how far compactions are.
func QueryCompact(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "query_compact",
		Systems: systems,
		Topic:   "tables",
		Summary: "show how far the compaction of a table is",
		Long: "Asks the meta server how many of a table's replicas are compacted since a compaction was last started, in percent, and " +
			"the replica servers how many wait, run and are done. Servers forget what they have done when they are started again. " +
			"A table that was never compacted has no progress.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "the table; the one in use when left out"}},
		Examples: []spec.Example{
			{Line: "query_compact TableA", Says: "never, or how far"},
			{Line: "query_compact", Says: "of the table in use", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"manual_compact", "showopstatus"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return queryCompact(ctx, env, call)
		},
	}
}

func queryCompact(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, a, err := openSplit(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	percent, known, err := c.CompactionProgress(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	activity, err := c.Activity(ctx)
	if err != nil {
		return nil, err
	}
	var progress any
	if known {
		progress = percent
	}
	var started time.Time
	if at := triggered(a.Envs); at > 0 {
		started = time.Unix(at, 0)
	}
	n := activity.Compactions[a.ID]
	t := spec.Record([]spec.Column{
		{Name: "app_name"},
		{Name: "progress", Kind: spec.Int, Unit: "%"},
		{Name: "queued", Kind: spec.Int},
		{Name: "running", Kind: spec.Int},
		{Name: "finished", Kind: spec.Int},
		{Name: "start_time", Kind: spec.Time},
	}, a.Name, progress, n.Queued, n.Running, n.Finished, started)
	if activity.Silent > 0 {
		t.Notes = func() []string {
			return []string{fmt.Sprintf("%s did not answer: their replicas are not counted", commands.Plural(activity.Silent, "live node"))}
		}
	}
	return t, nil
}
