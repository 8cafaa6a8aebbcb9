package pegasus

import (
	"context"
	"fmt"
	"time"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// LsBackup finds backups on a block service.
func LsBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name: "ls_backup", Aliases: []string{"list_backups"},
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "find the cold backups on a block service",
		Long: "Looks for backups in and below a folder, asking no server: a row for each table of each backup. It reads the lists that every partition has, and compares " +
			"them with the names and sizes of the files that are there. restorable says what is in the way, if anything is; whether the files hold what they should " +
			"is told by verify_backup. A backup is complete when backup_info is there, which is written last.",
		Args: []spec.Arg{{Name: "place", Kind: spec.ArgLocation, Help: "SERVICE:PATH"}},
		Examples: []spec.Example{
			{Line: "ls_backup disk:/", Says: "every backup on the service disk", Setup: backupHere},
		},
		SeeAlso: []string{"get_backup", "verify_backup", "rm_backup", "block_services"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			s, l, err := openBackups(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return &spec.Table{Columns: lsBackupColumns, Rows: func(yield func(spec.Row, error) bool) {
				for dir, err := range coldbackup.List(ctx, s, l.Path) {
					var b *coldbackup.Backup
					if err == nil {
						b, err = coldbackup.Load(ctx, s, dir)
					}
					if err != nil {
						yield(nil, err)
						return
					}
					for _, row := range lsBackupRows(l.Service, b) {
						if !yield(row, nil) {
							return
						}
					}
				}
			}}, nil
		},
	}
}

var lsBackupColumns = []spec.Column{
	{Name: "backup_id", Kind: spec.Int},
	{Name: "app_name"},
	{Name: "app_id", Kind: spec.Int},
	{Name: "partition_count", Kind: spec.Int},
	{Name: "start_time", Kind: spec.Time},
	{Name: "complete", Kind: spec.Bool},
	{Name: "size", Kind: spec.Size},
	{Name: "restorable"},
	{Name: "path"},
}

func lsBackupRows(service string, b *coldbackup.Backup) []spec.Row {
	started, where := time.UnixMilli(b.ID), at(service, b.Dir)
	if len(b.Tables) == 0 {
		return []spec.Row{{b.ID, nil, nil, nil, started, b.Complete(), int64(0), "no: it has no table", where}}
	}
	var rows []spec.Row
	for _, t := range b.Tables {
		size, _ := t.Size()
		restorable := "yes"
		if why := firstProblem(b, t); why != "" {
			restorable = "no: " + why
		}
		var partitions any
		if t.App != nil {
			partitions = t.App.PartitionCount
		}
		rows = append(rows, spec.Row{b.ID, t.Name, t.ID, partitions, started, b.Complete(), size, restorable, where})
	}
	return rows
}

// GetBackup describes a backup.
func GetBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "get_backup",
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "describe a cold backup on a block service",
		Long: "Shows each table of a backup as it was when the backup began, each partition with the checkpoint that counts, and what is wrong, from the backup's own " +
			"documents. Settings of the table (envs) are not in a backup of Pegasus. data_version is how values are stored: 0 is of releases 1.x, which servers " +
			"of 2.x do not restore.",
		Args:  []spec.Arg{backupArg},
		Flags: []spec.Flag{ofTable},
		Examples: []spec.Example{
			{Line: "get_backup " + onebackup, Says: "its tables and partitions", Setup: backupHere},
			{Line: "get_backup disk:/backup", Says: "the same, where it is the only one below", Setup: backupHere},
		},
		SeeAlso: []string{"ls_backup", "verify_backup", "backup_scan"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			s, l, b, err := openBackup(ctx, env, call)
			if err != nil {
				return nil, err
			}
			tables, err := pickTables(call, b)
			if err != nil {
				return nil, err
			}
			return describeBackup(ctx, s, l.Service, b, tables)
		},
	}
}

func describeBackup(ctx context.Context, s blockStore, service string, b *coldbackup.Backup, tables []*coldbackup.Table) (*spec.Table, error) {
	var apps, partitions, problems []spec.Row
	var notes []string
	for _, t := range tables {
		version, err := dataVersion(ctx, s, t)
		if err != nil {
			return nil, err
		}
		size, files := t.Size()
		row := spec.Row{b.ID, t.Name, t.ID, nil, nil, version, b.Complete(), files, size, b.SideCar != nil, at(service, b.Dir)}
		if t.App != nil {
			row[3], row[4] = t.App.PartitionCount, t.App.MaxReplicaCount
		}
		apps = append(apps, row)
		for _, p := range t.Partitions {
			partitions = append(partitions, partitionRow(t, p))
		}
		if others := sortedOthers(t); len(others) > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d checkpoints do not count, the first is %s", t.Name, len(others), others[0]))
		}
	}
	for _, p := range b.Problems {
		problems = append(problems, spec.Row{at(service, p.Path), p.Why})
	}
	for _, t := range tables {
		for _, p := range (&coldbackup.Backup{Tables: []*coldbackup.Table{t}}).AllProblems(t) {
			problems = append(problems, spec.Row{at(service, p.Path), p.Why})
		}
	}
	return &spec.Table{
		Section: "backup", Columns: backupColumns, Rows: spec.RowsOf(apps...),
		Notes: func() []string { return notes },
		More: []*spec.Table{
			{Section: "partitions", Columns: backupPartitionColumns, Rows: spec.RowsOf(partitions...)},
			{Section: "problems", Columns: spec.Columns("path", "why"), Rows: spec.RowsOf(problems...)},
		},
	}, nil
}

var (
	backupColumns = []spec.Column{
		{Name: "backup_id", Kind: spec.Int},
		{Name: "app_name"},
		{Name: "app_id", Kind: spec.Int},
		{Name: "partition_count", Kind: spec.Int},
		{Name: "replica_count", Kind: spec.Int},
		{Name: "data_version", Kind: spec.Int},
		{Name: "complete", Kind: spec.Bool},
		{Name: "files", Kind: spec.Int},
		{Name: "size", Kind: spec.Size},
		{Name: "side_car", Kind: spec.Bool},
		{Name: "path"},
	}
	backupPartitionColumns = []spec.Column{
		{Name: "app_name"},
		{Name: "pidx", Kind: spec.Int},
		{Name: "checkpoint"},
		{Name: "decree", Kind: spec.Int},
		{Name: "time", Kind: spec.Time},
		{Name: "files", Kind: spec.Int},
		{Name: "size", Kind: spec.Size},
		{Name: "problems", Kind: spec.Int},
	}
)

func partitionRow(t *coldbackup.Table, p *coldbackup.Partition) spec.Row {
	row := spec.Row{t.Name, p.Index, commands.Word(p.Folder), nil, nil, nil, nil, len(p.Problems)}
	if c := p.Checkpoint; c != nil {
		row[3], row[5], row[6] = c.Decree, len(c.Files), c.TotalSize
		if c.TimestampMS > 0 {
			row[4] = time.UnixMilli(c.TimestampMS)
		}
	}
	return row
}

// dataVersion is that of the first partition that can be read, nil when none can.
func dataVersion(ctx context.Context, s blockStore, t *coldbackup.Table) (any, error) {
	for _, p := range t.Partitions {
		if len(p.Problems) > 0 {
			continue
		}
		db, err := p.Open(ctx, s)
		if err == nil {
			var v int
			if v, err = db.DataVersion(ctx); err == nil {
				return v, nil
			}
		}
		if kind := spec.KindOf(err); kind == spec.Interrupted || kind == spec.Unavailable {
			return nil, err
		}
		return nil, nil // verify_backup says what is wrong
	}
	return nil, nil
}
