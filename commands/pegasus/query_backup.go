package pegasus

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// QueryBackup lists the backups of a table.
func QueryBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name: "query_backup", Aliases: []string{"query-backup", "query_backup_status", "query-backup-status"},
		Systems: systems,
		Topic:   "storage",
		Summary: "show the one-time backups of a table that the servers know of",
		Long: "Asks the meta server that leads, which keeps them in its memory: after another one took the lead there are none, whatever became of them; ls_backup looks at " +
			"the service itself. Servers tell no progress: of one backup, chosen by its id or as the only one that runs, the partitions are shown as far as they can be " +
			"derived from the files that are on the service, and from what the servers upload.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table, by its name or id"},
			{Name: "backup_id", Kind: spec.ArgInt, Optional: true, Help: "only this backup, and how far each partition is"},
		},
		Examples: []spec.Example{
			{Line: "query_backup TableA", Says: "its backups", Setup: []string{"backup TableA disk --yes"}},
			{Line: "query_backup 1", Says: "the same by the table's id", Setup: []string{"backup TableA disk --yes"}},
		},
		SeeAlso: []string{"backup", "ls_backup", "get_backup", "showopstatus"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return queryBackup(ctx, env, call)
		},
	}
}

var queryBackupColumns = []spec.Column{
	{Name: "backup_id", Kind: spec.Int},
	{Name: "app_name"},
	{Name: "start_time", Kind: spec.Time},
	{Name: "end_time", Kind: spec.Time},
	{Name: "status"},
	{Name: "backup_provider_type"},
	{Name: "backup_path"},
}

func queryBackup(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := commands.Driver[backer](ctx, env, call)
	if err != nil {
		return nil, err
	}
	app, err := findTable(ctx, c, call.Arg(0))
	if err != nil {
		return nil, err
	}
	list, err := c.BackupsOf(ctx, app)
	if err != nil {
		return nil, err
	}
	one, rows := chosenBackup(list, call)
	if one == nil && call.Arg(1) != "" {
		return nil, spec.Errorf(spec.NotFound, "the meta server knows of no backup %s of %s", call.Arg(1), app.Name).
			WithHint("it forgets them when another one takes the lead; ls_backup SERVICE:/ finds those on a service")
	}
	t := &spec.Table{Columns: queryBackupColumns, Rows: func(yield func(spec.Row, error) bool) {
		for _, b := range rows {
			if !yield(queryBackupRow(app, b), nil) {
				return
			}
		}
	}}
	if len(rows) == 0 {
		t.Notes = func() []string {
			return []string{"the meta server knows of none; it forgets them when another one takes the lead: ls_backup SERVICE:/ finds those on a service"}
		}
	}
	if one == nil {
		return t, nil
	}
	parts, err := backupParts(ctx, env, c, app, *one)
	if err != nil {
		return nil, err
	}
	t.Section, t.More = "backups", []*spec.Table{parts}
	return t, nil
}

// chosenBackup is the one whose partitions are shown, and all that are listed.
func chosenBackup(list []driver.Backup, call *spec.Call) (one *driver.Backup, rows []driver.Backup) {
	if call.Arg(1) != "" {
		for _, b := range list {
			if b.ID == call.ArgInt(1) {
				return &b, []driver.Backup{b}
			}
		}
		return nil, nil
	}
	for _, b := range list {
		if b.End.IsZero() && !b.Failed {
			one = &b
		}
	}
	return one, list
}

func queryBackupRow(app driver.App, b driver.Backup) spec.Row {
	status, end := "in progress", any(nil)
	switch {
	case b.Failed:
		status = "failed"
	case !b.End.IsZero():
		status, end = "completed", b.End
	}
	return spec.Row{b.ID, app.Name, b.Start, end, status, b.Provider, commands.Word(b.Path)}
}

// backupParts is how far the partitions of a backup are.
func backupParts(ctx context.Context, env commands.Env, c backer, app driver.App, b driver.Backup) (*spec.Table, error) {
	t := &spec.Table{Section: "partitions", Columns: []spec.Column{
		{Name: "pidx", Kind: spec.Int}, {Name: "derived_status"}, {Name: "files", Kind: spec.Int}, {Name: "size", Kind: spec.Size}, {Name: "of_size", Kind: spec.Size},
	}}
	s, err := openCold(ctx, env, c, b.Provider, b.Path)
	if err != nil {
		return nil, err
	}
	uploading, silent, err := uploadsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	notes := []string{"derived from what is on the service: servers tell no progress"}
	for _, u := range uploading {
		notes = append(notes, fmt.Sprintf("%s uploads a file of %s", u.endpoint, sizeText(u.largest)))
	}
	if silent > 0 {
		notes = append(notes, fmt.Sprintf("%s did not say what they upload", commands.Plural(silent, "live node")))
	}
	t.Notes = func() []string { return notes }
	if s.store == nil {
		notes = append(notes, fmt.Sprintf("nothing is known of its files: %s: %s", b.Provider, s.unseen))
		return t, nil
	}
	name, err := clusterName(ctx, c)
	if err != nil {
		return nil, err
	}
	dir, err := s.findBackupDir(ctx, name, b.ID)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		notes = append(notes, fmt.Sprintf("its folder is not on %s:/%s", b.Provider, s.place()))
		return t, nil
	}
	notes = append(notes, "it is at "+at(b.Provider, dir))
	var seen derived
	if err := seen.look(ctx, *s.store, path.Join(dir, coldbackup.TableFolder(app.Name, app.ID)), make([]bool, app.Partitions)); err != nil {
		return nil, err
	}
	var rows []spec.Row
	for i, p := range seen.parts {
		rows = append(rows, partSeenRow(i, p))
	}
	t.Rows = spec.RowsOf(rows...)
	return t, nil
}

func partSeenRow(i int, p partSeen) spec.Row {
	status, total := "nothing there", any(nil)
	switch {
	case p.done:
		status = "uploaded"
	case p.files > 0:
		status = "uploading"
	}
	if p.total > 0 {
		total = p.total
	}
	if p.checkpoints > 1 {
		status += " (" + strconv.Itoa(p.checkpoints) + " checkpoints)"
	}
	return spec.Row{i, strings.TrimSpace(status), p.files, p.bytes, total}
}
