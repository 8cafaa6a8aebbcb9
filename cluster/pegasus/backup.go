package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	startBackup  = metaRPC[wire.StartBackupRequest, wire.StartBackupResponse]{&wire.StartBackup, func(a *wire.StartBackupResponse) string { return a.Err }, nil}
	addPolicy    = metaRPC[wire.AddPolicyRequest, wire.HintResponse]{&wire.AddPolicy, func(a *wire.HintResponse) string { return a.Err }, nil}
	queryPolicy  = metaRPC[wire.QueryPolicyRequest, wire.QueryPolicyResponse]{&wire.QueryPolicy, func(a *wire.QueryPolicyResponse) string { return a.Err }, nil}
	modifyPolicy = metaRPC[wire.ModifyPolicyRequest, wire.HintResponse]{&wire.ModifyPolicy, func(a *wire.HintResponse) string { return a.Err }, nil}
	startRestore = metaRPC[wire.StartRestoreRequest, wire.CreateAppResponse]{&wire.StartRestore, func(a *wire.CreateAppResponse) string { return a.Err }, nil}
)

// StartBackup begins a one-time backup of a table under a path of a block service, "" for the service's own root, and
// answers its id before anything is written. There is no way to stop it.
func (d *Driver) StartBackup(ctx context.Context, app App, provider, path string) (id int64, err error) {
	op := "back up table " + app.Name
	q := wire.StartBackupRequest{Provider: provider, AppID: app.ID}
	if path != "" {
		q.Path = &path
	}
	a, endpoint, err := startBackup.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return 0, err
	case a.Err != wire.OK:
		return 0, backupError(op, endpoint, a.Err, a.Hint, true)
	case a.BackupID == nil || *a.BackupID <= 0:
		return 0, malformed(op, endpoint, "a backup without an id")
	}
	return *a.BackupID, nil
}

// BackupsOf lists the one-time backups of a table that the leading meta server knows of, none after another one took the
// lead.
func (d *Driver) BackupsOf(ctx context.Context, app App) ([]Backup, error) {
	list, on, err := d.backupsOf(ctx, app)
	if err == nil && !on {
		return nil, backupError("read the backups of "+app.Name, d.metas.lead(), wire.CodeServiceNotActive, "", false)
	}
	return list, err
}

// The names of what a server tells of its uploads: a counter up to 2.5, a metric after it.
const (
	uploadCounter = "cold.backup.max.upload.file.size"
	uploadMetric  = "backup_file_upload_max_bytes"
)

// LargestUpload asks a server for the size, in bytes, of the largest file that it is uploading for a backup: 0 while it
// uploads none.
func (d *Driver) LargestUpload(ctx context.Context, endpoint string) (int64, error) {
	return either(ctx, d, endpoint, func() (int64, error) {
		list, err := d.listCounters(ctx, endpoint, "perf-counters-by-substr", []string{uploadCounter})
		most := 0.0
		for _, c := range list {
			most = max(most, c.Value)
		}
		return int64(most), err
	}, func() (int64, error) {
		page, err := d.metricsPage(ctx, endpoint, "with_metric_fields=name,value", "metrics="+uploadMetric)
		if err != nil {
			return 0, err
		}
		most := 0.0
		for _, e := range page.Entities {
			for _, m := range e.Metrics {
				if m.Name == uploadMetric && m.Value != nil {
					most = max(most, *m.Value)
				}
			}
		}
		return int64(most), nil
	})
}

// backupError is a refusal of a call about backups.
func backupError(op, endpoint, code, hint string, change bool) error {
	switch code {
	case wire.CodeServiceNotActive:
		return refusedSplit(op, endpoint, code, "backups are switched off").
			WithHint("set cold_backup_disabled = false in [meta_server] of every meta server and start them again")
	case wire.CodeInvalidParameters:
		refused := refusedSplit(op, endpoint, code, cmp.Or(hint, "the servers know no such block service or path"))
		if strings.Contains(hint, "already configured") {
			return refused.WithHint("the servers' own configuration gives that block service a directory: leave the path out")
		}
		return refused.WithHint("the servers' own configuration has the block services; hdfs_service and local_service can be one, s3_service cannot")
	case wire.CodeInvalidState:
		return refusedSplit(op, endpoint, code, cmp.Or(hint, "the table cannot be backed up now"))
	}
	return codeError(op, endpoint, code, hint, change)
}

// BackupPolicy has tables backed up again and again.
type BackupPolicy struct {
	Name, Provider string
	Tables         []int32
	Every          time.Duration // whole seconds
	Keep           int           // backups
	Start          string        // "hh:mm"
	Disabled       bool
	Backups        []PolicyBackup // the last ones
}

// PolicyBackup is one backup of a policy.
type PolicyBackup struct {
	ID         int64
	Start, End time.Time // End is zero while it runs
	Tables     []int32
}

// historyCount is a number of backups as it travels.
func historyCount(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// AddBackupPolicy adds a policy; Disabled and Backups do not matter.
func (d *Driver) AddBackupPolicy(ctx context.Context, p BackupPolicy) error {
	op := "add the backup policy " + p.Name
	q := wire.AddPolicyRequest{
		Provider: p.Provider, Policy: p.Name, AppIDs: p.Tables, IntervalSeconds: int64(p.Every / time.Second),
		Keep: historyCount(p.Keep), StartTime: p.Start,
	}
	a, endpoint, err := addPolicy.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return err
	case a.Err != wire.OK:
		return backupError(op, endpoint, a.Err, a.Hint, true)
	}
	return nil
}

// BackupPolicies lists policies by name, all when no names are given, each with at most so many of its backups.
func (d *Driver) BackupPolicies(ctx context.Context, names []string, backups int) ([]BackupPolicy, error) {
	op := "read backup policies"
	q := wire.QueryPolicyRequest{Names: names, Count: historyCount(backups)}
	a, endpoint, err := queryPolicy.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return nil, err
	case a.Err != wire.OK:
		return nil, backupError(op, endpoint, a.Err, optional(a.Hint), false)
	case len(a.Backups) != 0 && len(a.Backups) != len(a.Policies):
		return nil, malformed(op, endpoint, "%d lists of backups for %d policies", len(a.Backups), len(a.Policies))
	}
	list := make([]BackupPolicy, len(a.Policies))
	for i, p := range a.Policies {
		seconds, err := strconv.ParseInt(p.IntervalSeconds, 10, 64)
		if err != nil || seconds < 0 || seconds > math.MaxInt64/int64(time.Second) {
			return nil, malformed(op, endpoint, "policy %s runs every %q seconds", p.Name, p.IntervalSeconds)
		}
		list[i] = BackupPolicy{
			Name: p.Name, Provider: p.Provider, Tables: slices.Sorted(slices.Values(p.AppIDs)), Every: time.Duration(seconds) * time.Second,
			Keep: int(p.Keep), Start: p.StartTime, Disabled: p.Disabled,
		}
		if len(a.Backups) == 0 {
			continue
		}
		for _, b := range a.Backups[i] {
			list[i].Backups = append(list[i].Backups, PolicyBackup{
				ID: b.BackupID, Start: milliTime(b.StartMS), End: milliTime(b.EndMS), Tables: slices.Sorted(slices.Values(b.AppIDs)),
			})
		}
	}
	slices.SortFunc(list, func(a, b BackupPolicy) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// PolicyChange is what ChangeBackupPolicy changes: what is not nil or empty.
type PolicyChange struct {
	Add, Remove []int32 // tables
	Every       *time.Duration
	Keep        *int
	Start       *string
	Disable     *bool
	// Force disables a policy whose backup runs; of 2.6, older servers pass over it.
	Force bool
}

// ChangeBackupPolicy changes a policy.
func (d *Driver) ChangeBackupPolicy(ctx context.Context, name string, c PolicyChange) error {
	op := "change the backup policy " + name
	q := wire.ModifyPolicyRequest{Policy: name, StartTime: c.Start, Disable: c.Disable}
	if len(c.Add) > 0 {
		q.Add = c.Add
	}
	if len(c.Remove) > 0 {
		q.Remove = c.Remove
	}
	if c.Every != nil {
		q.IntervalSeconds = new(int64(*c.Every / time.Second))
	}
	if c.Keep != nil {
		q.Keep = new(historyCount(*c.Keep))
	}
	if c.Force {
		q.ForceDisable = &c.Force
	}
	a, endpoint, err := modifyPolicy.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return err
	case a.Err != wire.OK:
		return backupError(op, endpoint, a.Err, a.Hint, true)
	}
	return nil
}

// NewRestore is what StartRestore makes a table of: the backup at Path/Cluster[/Policy]/BackupID/Table_TableID of a block
// service.
type NewRestore struct {
	Provider string
	Path     string // "" is the service's own root
	Cluster  string // the first directory (cold_backup_root)
	Policy   string // "" but for backups of releases before 2.2
	BackupID int64
	Table    string // as it was called
	TableID  int32
	NewName  string // "" is Table
	// SkipBad has partitions whose files are missing or damaged begin empty, instead of the new table being dropped.
	SkipBad bool
}

// StartRestore begins to make a table of a backup and answers the new table's id.
func (d *Driver) StartRestore(ctx context.Context, r NewRestore) (id int32, err error) {
	op := fmt.Sprintf("restore %s_%d of the backup %d", r.Table, r.TableID, r.BackupID)
	q := wire.StartRestoreRequest{
		Cluster: r.Cluster, Policy: r.Policy, BackupID: r.BackupID, AppName: r.Table, AppID: r.TableID, NewName: cmp.Or(r.NewName, r.Table),
		Provider: r.Provider, SkipBad: r.SkipBad,
	}
	if r.Path != "" {
		q.Path = &r.Path
	}
	a, endpoint, err := startRestore.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return 0, err
	case a.Err == wire.CodeObjectNotFound:
		return 0, refusedSplit(op, endpoint, a.Err, "there is no such backup, or its app_metadata is missing").
			WithHint("the cluster, the path, the backup id, the name and the id are all parts of its place")
	case a.Err == wire.CodeCorruption:
		return 0, refusedSplit(op, endpoint, a.Err, "the app_metadata of the backup is damaged")
	case a.Err == wire.CodeInvalidParameters:
		return 0, refusedSplit(op, endpoint, a.Err, fmt.Sprintf("a table %s exists, or the servers have no block service %s", q.NewName, r.Provider)).
			WithHint("give the new table another name")
	case a.Err != wire.OK:
		return 0, codeError(op, endpoint, a.Err, "", true)
	}
	return a.AppID, nil
}

// RestoreStatus asks how the restore of a table stands, by the id of the new table. An id that no table has is refused
// without being sent: it ends some meta servers.
func (d *Driver) RestoreStatus(ctx context.Context, id int32) (App, Restore, error) {
	apps, err := d.Apps(ctx, "all")
	if err != nil {
		return App{}, Restore{}, err
	}
	at := slices.IndexFunc(apps, func(a App) bool { return a.ID == id })
	if at < 0 {
		return App{}, Restore{}, spec.Errorf(spec.NotFound, "there is no table with the id %d", id).
			WithHint("ls -a lists the tables; the question is not sent, because it would end a meta server")
	}
	r, err := d.restoreOf(ctx, apps[at])
	return apps[at], r, err
}
