package pegasus

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Apps lists the tables of a status ("all", "available", "creating", "dropped", …) by ID.
func (d *Driver) Apps(ctx context.Context, status string) ([]App, error) {
	op := "list tables"
	want, ok := wire.ParseAppStatus(status)
	if !ok {
		return nil, spec.Errorf(spec.Usage, "%q is not a status of a table", status).
			WithHint("all, available, creating, create_failed, dropping, drop_failed, dropped or recalling")
	}
	a, err := listApps.ok(ctx, d, op, &wire.ListAppsRequest{Status: want})
	if err != nil {
		return nil, err
	}
	apps := make([]App, len(a.Apps))
	for i := range a.Apps {
		apps[i] = appOf(&a.Apps[i])
	}
	slices.SortStableFunc(apps, func(x, y App) int { return cmp.Compare(x.ID, y.ID) })
	return apps, nil
}

func appOf(a *wire.AppInfo) App {
	yes := func(b *bool) bool { return b != nil && *b }
	return App{
		ID: a.ID, Name: a.Name, Type: a.Type, Status: a.Status.String(),
		Partitions: int(a.Partitions), Replicas: int(a.MaxReplicas), Envs: a.Envs, Stateful: a.Stateful,
		Created: unixTime(a.CreateSecond), Dropped: unixTime(a.DropSecond), Expires: unixTime(a.ExpireSecond),
		Duplicating: yes(a.Duplicating), BulkLoading: yes(a.BulkLoading), AtomicIdempotent: a.AtomicIdempotent,
	}
}

func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// app finds an available table.
func (d *Driver) app(ctx context.Context, op, table string) (App, error) {
	apps, err := d.Apps(ctx, "available")
	if err != nil {
		return App{}, err
	}
	for _, a := range apps {
		if a.Name == table {
			return a, nil
		}
	}
	return App{}, noTable(op, "", table, "")
}

// Tables lists the available tables by ID.
func (d *Driver) Tables(ctx context.Context) ([]cluster.Table, error) {
	apps, err := d.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	tables := make([]cluster.Table, len(apps))
	for i, a := range apps {
		tables[i] = cluster.Table{
			ID: int64(a.ID), Name: a.Name, Partitions: a.Partitions, Replicas: a.Replicas, State: a.Status,
			Created: a.Created,
		}
	}
	return tables, nil
}

// CreateApp creates a table and answers its ID; its partitions get their primaries afterwards.
func (d *Driver) CreateApp(ctx context.Context, a NewApp) (int32, error) {
	op := "create table " + a.Name
	if a.Name == "" || a.Partitions <= 0 || a.Replicas <= 0 {
		return 0, &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("a table needs a name, partitions and replicas")}
	}
	envs := a.Envs
	if envs == nil {
		envs = map[string]string{}
	}
	answer, err := createApp.ok(ctx, d, op, &wire.CreateAppRequest{
		AppName: a.Name,
		Options: wire.CreateAppOptions{
			Partitions: int32(min(a.Partitions, 1<<30)), Replicas: int32(min(a.Replicas, 1<<30)),
			SuccessIfExist: a.SuccessIfExists, AppType: "pegasus", Stateful: true, Envs: envs,
		},
	})
	if err != nil {
		return 0, err
	}
	return answer.AppID, nil
}

// DropApp drops a table; it can be recalled for the time reserved, 0 being the meta's default (7 days).
func (d *Driver) DropApp(ctx context.Context, table string, reserve time.Duration) error {
	op := "drop table " + table
	if reserve < 0 {
		return &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("the time to keep it is negative")}
	}
	q := wire.DropAppRequest{AppName: table}
	if reserve > 0 {
		seconds := int64((reserve + time.Second - 1) / time.Second)
		q.Options.ReserveSeconds = &seconds
	}
	_, err := dropApp.ok(ctx, d, op, &q)
	var e *spec.Error
	if errors.As(err, &e) && e.Code == wire.CodeSplitting {
		return e.WithHint("partition_split query -a %s shows how far it is", table)
	}
	return err
}

// CreateTable is CreateApp for the commands that all systems share.
func (d *Driver) CreateTable(ctx context.Context, t cluster.NewTable) (int64, error) {
	id, err := d.CreateApp(ctx, NewApp{Name: t.Name, Partitions: t.Partitions, Replicas: t.Replicas, Envs: t.Settings})
	return int64(id), err
}

// DropTable is DropApp for the commands that all systems share.
func (d *Driver) DropTable(ctx context.Context, table string, keep time.Duration) error {
	return d.DropApp(ctx, table, keep)
}
