package pegasus

import (
	"context"
	"fmt"
	"math"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// QueryRestoreStatus shows how a restore stands.
func QueryRestoreStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "query_restore_status",
		Aliases: []string{"query-restore-status"},
		Systems: systems,
		Topic:   "storage",
		Summary: "show how far the restore of a table is",
		Long: "Asks the meta server by the id of the new table. An id that no table has ends the process of a meta server: the list of tables is read first, and such " +
			"an id is never sent. A partition counts as fetched as soon as it has a replica; skip is one that begins empty, because its files are missing or damaged. " +
			"Of a table that was not made by a restore the answer means nothing, and it is not asked.",
		Args:  []spec.Arg{{Name: "new_app_id", Kind: spec.ArgInt, Help: "the id of the new table: restore tells it, ls lists it"}},
		Flags: []spec.Flag{{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "every partition"}},
		Examples: []spec.Example{
			{
				Line: "query_restore_status 3 -d", Says: "how far each partition is",
				Setup: []string{"fs put backup disk:/backup", "restore -c onebox -a single -i 4 -t 1742888751127 -b disk -r /backup"},
			},
		},
		SeeAlso: []string{"restore", "showopstatus", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return queryRestore(ctx, env, call)
		},
	}
}

func queryRestore(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	id := call.ArgInt(0)
	if id < 1 || id > math.MaxInt32 {
		return nil, spec.Errorf(spec.Usage, "%d is no id of a table", id)
	}
	c, err := commands.Driver[restorer](ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, err := c.Apps(ctx, "all")
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		if int64(a.ID) == id && a.Envs["restore.backup_id"] == "" {
			return nil, spec.Errorf(spec.Refused, "the table %s was not made by a restore", a.Name).WithHint("ls -a lists the tables; the question was not sent")
		}
	}
	app, now, err := c.RestoreStatus(ctx, int32(id))
	if err != nil {
		return nil, err
	}
	t := spec.Record([]spec.Column{
		{Name: "app_id", Kind: spec.Int}, {Name: "app_name"}, {Name: "backup_id"}, {Name: "status"}, {Name: "progress", Kind: spec.Int, Unit: "%"},
	}, app.ID, app.Name, app.Envs["restore.backup_id"], restoreWord(app, now), restorePercent(now))
	if !call.Bool("detailed") {
		return t, nil
	}
	parts := &spec.Table{Section: "partitions", Columns: []spec.Column{{Name: "pid", Kind: spec.Int}, {Name: "progress", Kind: spec.Int, Unit: "%"}, {Name: "restore_status"}}}
	var rows []spec.Row
	for i, n := range now.Progress {
		rows = append(rows, spec.Row{i, n / 10, partitionWord(now.Codes[i], n)})
	}
	parts.Rows = spec.RowsOf(rows...)
	t.Section, t.More = "restore", []*spec.Table{parts}
	return t, nil
}

func restorePercent(now driver.Restore) any {
	if now.Dropped || len(now.Progress) == 0 {
		return nil
	}
	sum := 0
	for _, n := range now.Progress {
		sum += min(max(n, 0), 1000)
	}
	return sum / (10 * len(now.Progress))
}

func restoreWord(app driver.App, now driver.Restore) string {
	skipped := len(skippedPartitions(now))
	switch {
	case now.Dropped:
		return "failed: the table was dropped again"
	case !now.Done() || app.Status != "AVAILABLE":
		return "ongoing"
	case skipped > 0:
		return fmt.Sprintf("ok, but %s empty", commands.Plural(skipped, "partition")+" began")
	}
	return "ok"
}

// partitionWord is the old shell's word for a partition.
func partitionWord(code string, progress int) string {
	switch {
	case code == "ERR_IGNORE_BAD_DATA":
		return "skip"
	case code != "ERR_OK":
		return "unknown (" + code + ")"
	case progress >= 1000:
		return "ok"
	}
	return "ongoing"
}
