package openmldb

import (
	"context"

	"shardsh/cluster/openmldb/backup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// demoBackup makes a backup for examples to look at.
var demoBackup = []string{"backup demo_db.orders disk:/backup"}

// LsBackup finds backups on a block service.
func LsBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name: "ls_backup", Aliases: []string{"list_backups"},
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "find the backups of tables on a block service",
		Long: "Looks for backups in and below a folder, asking no server of the cluster: a row for each. It reads their manifests, and compares these with SHA256SUMS; whether " +
			"the files hold what they should is told by verify_backup. A backup without a manifest was not finished, and cannot be restored. rows are those of the index " +
			"that rows stay in longest; size is that of all files.",
		Args: []spec.Arg{{Name: "place", Kind: spec.ArgLocation, Help: "SERVICE:PATH"}},
		Examples: []spec.Example{
			{Line: "ls_backup disk:/", Says: "every backup on the service disk", Setup: demoBackup},
		},
		SeeAlso: []string{"backup", "verify_backup", "restore", "block_services"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			s, l, err := commands.Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			return &spec.Table{Columns: lsBackupColumns, Rows: func(yield func(spec.Row, error) bool) {
				for f, err := range backup.List(ctx, s, l.Path) {
					if err != nil {
						yield(nil, err)
						return
					}
					if !yield(lsBackupRow(l.Service, f), nil) {
						return
					}
				}
			}}, nil
		},
	}
}

var lsBackupColumns = []spec.Column{
	{Name: "table"},
	{Name: "cluster"},
	{Name: "started", Kind: spec.Time},
	{Name: "complete", Kind: spec.Bool},
	{Name: "rows", Kind: spec.Int},
	{Name: "partitions", Kind: spec.Int},
	{Name: "indexes", Kind: spec.Int},
	{Name: "size", Kind: spec.Size},
	{Name: "path"},
	{Name: "problem"},
}

func lsBackupRow(service string, f backup.Found) spec.Row {
	where := storage.Location{Service: service, Path: f.Dir}.String()
	row := spec.Row{nil, nil, nil, f.Manifest != nil, nil, nil, nil, nil, where, nil}
	if f.Why != "" {
		row[9] = f.Why
	}
	switch m := f.Manifest; {
	case m != nil:
		size, _ := m.Size()
		copy(row, spec.Row{m.TableName().String(), m.Cluster, m.Started, true, m.Rows(), m.Table.Partitions, len(m.Indexes), size})
	case f.Begun != nil:
		name := f.Begun.Table
		if f.Begun.DB != "" {
			name = f.Begun.DB + "/" + name
		}
		copy(row, spec.Row{name, f.Begun.Cluster, f.Begun.Started})
	}
	return row
}
