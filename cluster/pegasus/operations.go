package pegasus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	queryBackup  = metaRPC[wire.QueryBackupRequest, wire.QueryBackupResponse]{&wire.QueryBackup, func(a *wire.QueryBackupResponse) string { return a.Err }, nil}
	queryRestore = metaRPC[wire.QueryRestoreRequest, wire.QueryRestoreResponse]{&wire.QueryRestore, func(a *wire.QueryRestoreResponse) string { return a.Err }, nil}
)

// Backup is a one-time backup of a table. The meta server keeps them in memory: one that took over knows of none.
type Backup struct {
	ID             int64 // the moment it began, in Unix milliseconds
	AppID          int32
	Provider, Path string
	Start, End     time.Time // End is zero while it runs
	Failed         bool
}

// backupsAtOnce bounds how many tables are asked about at a time.
const backupsAtOnce = 8

// Backups lists the one-time backups that the meta server knows of, a call a table: none where backups are switched off,
// as they are unless a cluster's configuration says otherwise.
func (d *Driver) Backups(ctx context.Context, apps []App) ([]Backup, error) {
	if len(apps) == 0 {
		return nil, nil
	}
	first, on, err := d.backupsOf(ctx, apps[0])
	if err != nil || !on {
		return nil, err
	}
	lists := make([][]Backup, len(apps))
	lists[0] = first
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(backupsAtOnce)
	var mu sync.Mutex
	for i, app := range apps[1:] {
		group.Go(func() error {
			list, _, err := d.backupsOf(ctx, app)
			mu.Lock()
			defer mu.Unlock()
			lists[i+1] = list
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []Backup
	for _, list := range lists {
		all = append(all, list...)
	}
	return all, nil
}

// backupsOf answers a table's backups, and whether the cluster makes any.
func (d *Driver) backupsOf(ctx context.Context, app App) (list []Backup, on bool, err error) {
	op := "read the backups of " + app.Name
	a, endpoint, err := queryBackup.call(ctx, d, op, &wire.QueryBackupRequest{AppID: app.ID})
	var refused *spec.Error
	switch {
	case errors.As(err, &refused) && refused.Code == wire.CodeHandlerNotFound: // a release before 2.3
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case a.Err == wire.CodeServiceNotActive:
		return nil, false, nil
	case a.Err == wire.CodeInvalidParameters || a.Err == wire.CodeInvalidState: // it knows of none
		return nil, true, nil
	case a.Err != wire.OK:
		return nil, false, codeError(op, endpoint, a.Err, a.Hint, false)
	}
	for _, b := range a.Items {
		list = append(list, Backup{
			ID: b.BackupID, AppID: app.ID, Provider: b.Provider, Path: b.Path, Start: milliTime(b.StartMS), End: milliTime(b.EndMS),
			Failed: b.Failed,
		})
	}
	return list, true, nil
}

func milliTime(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// restoredFrom is the env that a table made by a restore has: the id of the backup (backup_restore_constant::BACKUP_ID).
const restoredFrom = "restore.backup_id"

// Restoring says that a table is being made of a backup now, and of which.
func (a App) Restoring() (backup string, is bool) {
	backup, is = a.Envs[restoredFrom]
	return backup, is && a.Status == "CREATING"
}

// Restore is how the restore of a table stands, by partition.
type Restore struct {
	// Codes are "ERR_OK" while all goes well, "ERR_IGNORE_BAD_DATA" for a partition that begins empty because its files
	// are missing or damaged, otherwise what went wrong.
	Codes    []string
	Progress []int // thousandths
	Dropped  bool  // the restore failed, and the table was dropped for it
}

// Done says that every partition has all it will get.
func (r Restore) Done() bool {
	return !r.Dropped && len(r.Progress) > 0 && !slices.ContainsFunc(r.Progress, func(n int) bool { return n < 1000 })
}

// Restore asks how far a restore is. The table must be one that is Restoring: an id that is no restore ends some meta
// servers.
func (d *Driver) Restore(ctx context.Context, app App) (Restore, error) {
	if _, is := app.Restoring(); !is {
		return Restore{}, fmt.Errorf("read the restore of %s: it is not being restored", app.Name)
	}
	return d.restoreOf(ctx, app)
}

func (d *Driver) restoreOf(ctx context.Context, app App) (Restore, error) {
	op := "read the restore of " + app.Name
	a, endpoint, err := queryRestore.call(ctx, d, op, &wire.QueryRestoreRequest{AppID: app.ID})
	switch {
	case err != nil:
		return Restore{}, err
	case a.Err == wire.CodeAppDropped:
		return Restore{Dropped: true}, nil
	case a.Err != wire.OK:
		return Restore{}, codeError(op, endpoint, a.Err, "", false)
	case len(a.Status) != len(a.Progress) || len(a.Progress) > max(app.Partitions, 0):
		return Restore{}, malformed(op, endpoint, "%d codes and %d numbers for %d partitions", len(a.Status), len(a.Progress), app.Partitions)
	}
	r := Restore{Codes: a.Status}
	for _, n := range a.Progress {
		r.Progress = append(r.Progress, int(n))
	}
	return r, nil
}
