package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowOpStatus lists what the cluster is doing.
func ShowOpStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "showopstatus",
		Systems: systems,
		Topic:   "failover",
		Summary: "list what the cluster is doing: learning, missing replicas, splits, compactions, backups, restores, bulk loads, duplications",
		Long: "Pegasus keeps no list of operations: what is under way is gathered from the meta server and from every live replica " +
			"server, a call each, and where backups are switched on, or for tables that are duplicated or bulk loaded, a call a table. A replica being copied is kDoing; one that is missing and not being copied yet is kInited, as " +
			"is a partition whose split is paused, and a duplication or a bulk load that is. " +
			"What the store does not tell, such as when a copy began, is a dash.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "only this table"}},
		Examples: []spec.Example{
			{Line: "showopstatus", Says: "nothing, on a cluster at rest"},
			{Line: "wait --within 30s --until 'count == 0' showopstatus", Says: "until the cluster is at rest"},
		},
		SeeAlso: []string{"doctor", "recoverendpoint"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return showOps(ctx, env, call)
		},
	}
}

// operation is a row of the seed's table.
type operation struct {
	id, kind, table string
	partition       any
	status, task    string
	started         time.Time // zero where the store does not tell
}

// operating is what is asked for them.
type operating interface {
	duplicator
	Backups(ctx context.Context, apps []driver.App) ([]driver.Backup, error)
	Restore(ctx context.Context, app driver.App) (driver.Restore, error)
	BulkLoad(ctx context.Context, table string) (driver.BulkLoad, error)
}

var _ operating = (*driver.Driver)(nil)

func showOps(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := commands.Driver[operating](ctx, env, call)
	if err != nil {
		return nil, err
	}
	every, err := c.Apps(ctx, "all")
	if err != nil {
		return nil, err
	}
	apps := slices.DeleteFunc(slices.Clone(every), func(a driver.App) bool { return a.Status != "AVAILABLE" })
	all, err := allPartitions(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	activity, err := c.Activity(ctx)
	if err != nil {
		return nil, err
	}
	splits, err := splitsOf(ctx, c, apps, all)
	if err != nil {
		return nil, err
	}
	copies, err := copyOps(ctx, c, every, apps)
	if err != nil {
		return nil, err
	}
	duplications, err := dupOps(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	loads, err := bulkOps(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	ops := slices.Concat(gatherOps(apps, all, activity, splits), loads, duplications, copies)
	var rows []spec.Row
	for _, o := range ops {
		if call.Arg(0) == "" || call.Arg(0) == o.table {
			rows = append(rows, spec.Row{o.id, o.kind, o.table, o.partition, o.status, o.started, since(o.started), nil, commands.Word(o.task)})
		}
	}
	columns := spec.Columns("op_id", "op_type", "name", "pid", "status", "start_time", "execute_time", "end_time", "cur_task")
	columns[3].Kind, columns[5].Kind, columns[6].Kind, columns[7].Kind = spec.Int, spec.Time, spec.Duration, spec.Time
	t := &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}
	if activity.Silent > 0 {
		t.Notes = func() []string {
			return []string{fmt.Sprintf("%d live nodes did not answer: what they do is not listed", activity.Silent)}
		}
	}
	return t, nil
}

// copyOps are the backups that run and the tables that are being restored.
func copyOps(ctx context.Context, c operating, every, apps []driver.App) ([]operation, error) {
	backups, err := c.Backups(ctx, apps)
	if err != nil {
		return nil, err
	}
	var ops []operation
	for _, b := range backups {
		if !b.End.IsZero() || b.Failed {
			continue
		}
		i := slices.IndexFunc(apps, func(a driver.App) bool { return a.ID == b.AppID })
		ops = append(ops, operation{
			id: fmt.Sprintf("backup-%d", b.ID), kind: "backup", table: apps[i].Name, status: "kDoing",
			task: strings.TrimSpace("upload to " + b.Provider + " " + b.Path), started: b.Start,
		})
	}
	for _, app := range every {
		backup, is := app.Restoring()
		if !is {
			continue
		}
		r, err := c.Restore(ctx, app)
		if err != nil {
			return nil, err
		}
		done := 0
		for _, n := range r.Progress {
			done += n
		}
		ops = append(ops, operation{
			id: fmt.Sprintf("restore-%d", app.ID), kind: "restore", table: app.Name, status: "kDoing",
			task: fmt.Sprintf("%d%% of backup %s", done/(10*max(len(r.Progress), 1)), backup), started: app.Created,
		})
	}
	return ops, nil
}

// gatherOps puts what was seen into the seed's words, table by table.
func gatherOps(apps []driver.App, all []*driver.AppPartitions, activity driver.Activity, splits map[int32]*driver.Split) []operation {
	var ops []operation
	for i, app := range apps {
		learning := map[int]int{}
		for _, l := range activity.Learners {
			if l.AppID != app.ID {
				continue
			}
			learning[l.Partition]++
			ops = append(ops, operation{
				id: fmt.Sprintf("learn-%d.%d-%s", l.AppID, l.Partition, l.Endpoint), kind: "learn", table: app.Name,
				partition: l.Partition, status: "kDoing", task: "copy to " + l.Endpoint,
			})
		}
		if all[i] != nil {
			ops = append(ops, missingOps(app, all[i], learning)...)
		}
		ops = append(ops, splitOps(app, splits[app.ID])...)
		ops = append(ops, compactOps(app, activity.Compactions[app.ID])...)
	}
	return ops
}

// dupOps are the duplications, with how far they are.
func dupOps(ctx context.Context, c duplicator, apps []driver.App) ([]operation, error) {
	all, err := c.DuplicationsOf(ctx, apps)
	if err != nil {
		return nil, err
	}
	var ops []operation
	for _, app := range apps {
		if len(all[app.Name]) == 0 {
			continue
		}
		last, _, err := commits(ctx, c, app)
		if spec.KindOf(err) == spec.NotFound { // dropped meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range all[app.Name] {
			d := &all[app.Name][i]
			o := operation{id: fmt.Sprintf("duplication-%d-%d", app.ID, d.ID), kind: "duplication", table: app.Name, status: "kDoing", started: d.Created}
			o.task = fmt.Sprintf("to %s: %s", d.Remote, statusWords(d.Status))
			switch d.Status {
			case "DS_LOG":
				o.task = fmt.Sprintf("to %s: %s", d.Remote, standingOf(d, app, last))
			case "DS_PAUSE":
				o.status = "kInited"
			}
			ops = append(ops, o)
		}
	}
	return ops, nil
}

// missingOps are replicas that are wanted and nobody copies yet.
func missingOps(app driver.App, a *driver.AppPartitions, learning map[int]int) []operation {
	var ops []operation
	for _, p := range a.Partitions {
		if p.Unborn {
			continue
		}
		lack := p.MaxReplicas - replicasOf(p) - learning[p.Index]
		if lack <= 0 {
			continue
		}
		task := fmt.Sprintf("wait for %s", commands.Plural(lack, "replica"))
		if p.Primary == "" {
			task = "wait for a primary"
		}
		ops = append(ops, operation{
			id: fmt.Sprintf("cure-%d.%d", app.ID, p.Index), kind: "cure", table: app.Name, partition: p.Index, status: "kInited", task: task,
		})
	}
	return ops
}

// since is for how long something has been going on, nil when nobody knows.
func since(started time.Time) any {
	if started.IsZero() {
		return nil
	}
	return max(time.Since(started).Truncate(time.Second), 0)
}

// splitsOf asks how the splits stand, a call for each table that is being split.
func splitsOf(ctx context.Context, c splitter, apps []driver.App, all []*driver.AppPartitions) (map[int32]*driver.Split, error) {
	splits := map[int32]*driver.Split{}
	for i, app := range apps {
		if all[i] == nil || !slices.ContainsFunc(all[i].Partitions, func(p driver.Partition) bool { return p.Unborn }) {
			continue
		}
		s, err := c.Split(ctx, app.Name)
		switch {
		case spec.KindOf(err) == spec.NotFound: // dropped meanwhile
		case err != nil:
			return nil, err
		case s != nil:
			splits[app.ID] = s
		}
	}
	return splits, nil
}

// splitOps are the partitions that are to be split.
func splitOps(app driver.App, s *driver.Split) []operation {
	if s == nil {
		return nil
	}
	var ops []operation
	for _, parent := range slices.Sorted(maps.Keys(s.Status)) {
		o := operation{
			id: fmt.Sprintf("split-%d.%d", app.ID, parent), kind: "split", table: app.Name, partition: parent, status: "kDoing",
			task: fmt.Sprintf("make partition %d", parent+s.Partitions/2),
		}
		switch status := s.Status[parent]; status {
		case "SPLITTING":
		case "PAUSED":
			o.status, o.task = "kInited", "paused"
		default:
			o.task = strings.ToLower(status)
		}
		ops = append(ops, o)
	}
	return ops
}

// compactOps is the compaction of a table that has not come to its end.
func compactOps(app driver.App, n driver.CompactionCount) []operation {
	if n.Queued+n.Running == 0 {
		return nil
	}
	o := operation{
		id: fmt.Sprintf("compact-%d", app.ID), kind: "manual_compact", table: app.Name, status: "kDoing",
		task: fmt.Sprintf("%d running, %d queued, %d finished", n.Running, n.Queued, n.Finished),
	}
	if n.Running == 0 {
		o.status = "kInited"
	}
	if at := triggered(app.Envs); at > 0 {
		o.started = time.Unix(at, 0)
	}
	return []operation{o}
}
