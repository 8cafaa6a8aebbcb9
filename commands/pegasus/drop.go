package pegasus

import (
	"context"
	"fmt"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// defaultReserve is how long a meta server keeps a dropped table unless told otherwise: 604800 s
// (hold_seconds_for_dropped_app).
const defaultReserve = 7 * 24 * time.Hour

// Drop drops a table.
func Drop(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "drop",
		Systems: systems,
		Topic:   "tables",
		Summary: "drop a table",
		Long: "Takes a table away from its clients at once; its name is free again. The meta server keeps the data for the " +
			"time given with -r, 7 days when it is not, and then deletes it on every node.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "always named, even when it is in use"}},
		Flags: []spec.Flag{
			{Name: "reserve-seconds", Short: "r", Kind: spec.ArgDuration, Help: "how long the data is kept; 0 means the default, 7 days"},
		},
		Examples: []spec.Example{
			{Line: "drop old_orders --yes=old_orders", Says: "without being asked", Setup: []string{"create old_orders"}},
			{
				Line: "drop old_visits -r 3600 --yes=old_visits", Says: "kept for one hour only",
				Setup: []string{"create old_visits"},
			},
		},
		SeeAlso: []string{"recall", "create", "ls"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return drop(ctx, env, call)
		},
	}
}

func drop(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	keep := call.Duration("reserve-seconds")
	if err := checkReserve(keep); err != nil {
		return nil, err
	}
	c, table, err := openTable(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	a, err := mustFind(ctx, c, call.Cluster, table)
	if err != nil {
		return nil, err
	}
	return &spec.Plan{
		Title: fmt.Sprintf("drop table %s (id %d) of %s", table, a.ID, call.Cluster),
		Name:  table,
		Notes: dropNotes(a, keep),
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("drop %s, %s", table, shape(a.Partitions, a.Replicas)),
			Objects: []string{table},
			Class:   spec.Destroy,
			Check: func(ctx context.Context) (spec.State, error) {
				return dropState(ctx, c, a)
			},
			Apply: func(ctx context.Context, report spec.Report) error {
				if err := c.DropApp(ctx, table, keep); err != nil {
					return err
				}
				report.Detail("app_id %d", a.ID)
				return nil
			},
			Undo: fmt.Sprintf("recall %d", a.ID),
		}},
	}, nil
}

// dropState looks for the table that the plan was made for: its name may belong to another one by now.
func dropState(ctx context.Context, c admin, planned driver.App) (spec.State, error) {
	a, exists, err := findApp(ctx, c, planned.Name)
	switch {
	case err != nil:
		return spec.State{}, err
	case !exists || a.Status == "DROPPING" && a.ID == planned.ID:
		return spec.State{Kind: spec.Done, Why: planned.Name + " is dropped"}, nil
	case a.ID != planned.ID:
		why := fmt.Sprintf("%s is another table now: id %d, not %d", a.Name, a.ID, planned.ID)
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func dropNotes(a driver.App, keep time.Duration) []string {
	if keep == 0 {
		keep = defaultReserve
	}
	notes := []string{fmt.Sprintf("%s lose their clients at once; the data is kept for %s, then deleted on every node",
		shape(a.Partitions, a.Replicas), span(keep))}
	if a.Duplicating {
		notes = append(notes, a.Name+" is being duplicated to another cluster")
	}
	if a.BulkLoading {
		notes = append(notes, a.Name+" is being bulk loaded: every later bulk load may be refused until the meta server restarts")
	}
	return notes
}

// span writes a time in days where it is made of days.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return commands.Plural(int(d/day), "day")
	}
	return d.String()
}
