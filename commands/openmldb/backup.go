package openmldb

import (
	"context"
	"fmt"
	"math"
	"path"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/backup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

var (
	backupParallel = spec.Flag{Name: "parallel", Kind: spec.ArgInt, Default: "4", Help: "how many partitions or files are worked on at once"}
	backupPatience = spec.Flag{Name: "patience", Kind: spec.ArgDuration, Default: "10m", Help: "give up when servers were away and nothing got any further for so long"}
)

// Backup backs tables up to a block service.
func Backup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "backup",
		Systems: systems,
		Topic:   "storage",
		Summary: "back a table up to a block service, or all tables",
		Long: "OpenMLDB has no backup of its own: the rows are read by Traverse, with their times, and written as Parquet below SERVICE:PATH/DB.TABLE, beside a " +
			"manifest that has the definition of the table and the SHA-256 of every file. The files in rows have the table's own columns, so that LOAD DATA takes them, too. " +
			"Every index is read, since one may have lost rows that another has, by its TTL or a delete: what does not follow from the first one is stored besides. " +
			"What the tablets report of the table's size is compared with the room of the service before: too little of it refuses the backup. " +
			"The manifest is written last: without it nothing is taken for a backup. The folder must be empty. " +
			"Rows that are written meanwhile may be in it or not; a table at rest gives the same bytes each time. " +
			"It is a job: a change of a leader is followed, and after Ctrl-C, a crash, or an error that does not go away, job resume goes on and the files are the same as without it.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db.]name; with --all it is left out"},
			{Name: "place", Kind: spec.ArgLocation, Optional: true, Help: "SERVICE:PATH, where the folder of the table goes"},
		},
		Flags: []spec.Flag{
			{Name: "all", Kind: spec.ArgBool, Help: "every table of the cluster but the store's own"},
			backupParallel,
			{Name: "max-rate", Kind: spec.ArgRate, Help: "read no faster than this; +, - and job rate change it while it runs"},
			backupPatience, callTimeFlag,
		},
		Examples: []spec.Example{
			{Line: "backup demo_db.orders disk:/backup", Says: "one table, into /backup/demo_db.orders"},
			{Line: "backup --all disk:/nightly --max-rate 20MB/s", Says: "every table, not too fast"},
			{Line: "backup flow disk:/backup --plan", Says: "how much there is to read"},
		},
		SeeAlso: []string{"restore", "ls_backup", "verify_backup", "block_services", "jobs"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return planBackup(ctx, env, line)
		},
	}
}

// tableBackup is the backup of a table that is planned.
type tableBackup struct {
	source   copySide
	index    driver.Index
	s        storage.Service
	into     storage.Location
	each     time.Duration
	rate     spec.Rate
	parallel int
	patience time.Duration
}

func planBackup(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	all, place, err := backupPlace(line)
	if err != nil {
		return nil, err
	}
	one := tableBackup{rate: line.Rate("max-rate")}
	if one.parallel, one.patience, one.each, err = backupFlags(line); err != nil {
		return nil, err
	}
	l, err := storage.ParseLocation(place)
	if err != nil {
		return nil, err
	}
	if one.s, err = env.Block(ctx, l.Service); err != nil {
		return nil, err
	}
	sides, err := backupSides(ctx, env, line, all)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: fmt.Sprintf("back up %s to %s", sides[0], l), Name: l.String()}
	if all {
		plan.Title = fmt.Sprintf("back up %s of %s to %s", commands.Plural(len(sides), "table"), line.Cluster, l)
	}
	need := int64(0)
	for _, side := range sides {
		x := one
		x.source, x.into = side, storage.Location{Service: l.Service, Path: path.Join(l.Path, backup.FolderName(side.name))}
		if err := x.plan(ctx, line, plan); err != nil {
			return nil, err
		}
		if size := side.size(); size < 0 || need < 0 {
			need = -1
		} else {
			need += min(size, math.MaxInt64-need)
		}
	}
	return plan, commands.LookAtRoom(ctx, plan, commands.Writing{
		To: one.s, Dir: l.Path, Bytes: need, Resumed: line.Resumed, Way: "fs rm -r removes old backups",
	})
}

// backupPlace reads the arguments: with --all there is a place only.
func backupPlace(line *spec.Call) (all bool, place string, err error) {
	all, place = line.Bool("all"), line.Arg(1)
	switch {
	case all && place != "":
		return all, "", spec.Errorf(spec.Usage, "--all backs up every table, and %s is one", line.Arg(0)).WithHint("backup --all SERVICE:PATH")
	case all:
		place = line.Arg(0)
	case place == "":
		return all, "", spec.Errorf(spec.Usage, "where to is missing").WithHint("backup TABLE SERVICE:PATH, or backup --all SERVICE:PATH; block_services lists the services")
	}
	return all, place, nil
}

// backupFlags reads what backup and restore share.
func backupFlags(line *spec.Call) (parallel int, patience, each time.Duration, err error) {
	parallel, err = commands.Parallel(line, backupParallel.Name)
	patience, each = line.Duration(backupPatience.Name), line.Duration(callTimeFlag.Name)
	switch {
	case err != nil:
	case patience <= 0:
		err = spec.Errorf(spec.Usage, "%s is no time to wait", patience)
	case each < 0 || each == 0 && line.Has(callTimeFlag.Name):
		err = spec.Errorf(spec.Usage, "%s is no time to wait for an answer", each)
	}
	return parallel, patience, each, err
}

// tableText is a table as backups call it, db.name, as the other words do.
func tableText(text string) string {
	if strings.Contains(text, "/") {
		return text
	}
	return strings.Replace(text, ".", "/", 1)
}

// backupSides opens what is to be backed up.
func backupSides(ctx context.Context, env commands.Env, line *spec.Call, all bool) ([]copySide, error) {
	c, err := commands.Driver[copying](ctx, env, line)
	if err != nil {
		return nil, err
	}
	if !all {
		t, err := findTable(ctx, c, line, tableText(line.Arg(0)))
		if err != nil {
			return nil, err
		}
		return []copySide{{c: c, cluster: line.Cluster, name: t.TableName, table: t}}, nil
	}
	tables, err := c.DescribeAll(ctx)
	if err != nil {
		return nil, err
	}
	var sides []copySide
	for i := range tables {
		if t := &tables[i]; !t.Internal() {
			sides = append(sides, copySide{c: c, cluster: line.Cluster, name: t.TableName, table: t})
		}
	}
	if sides == nil {
		return nil, spec.Errorf(spec.NotFound, "%s has no table", line.Cluster)
	}
	return sides, nil
}

// plan adds the table to a plan.
func (x *tableBackup) plan(ctx context.Context, line *spec.Call, plan *spec.Plan) (err error) {
	t := x.source.table
	if err := backup.Refused(t); err != nil {
		return err
	}
	if x.index, err = backup.ReadBy(t); err != nil {
		return err
	}
	if !line.Resumed {
		if err := backup.Empty(ctx, x.s, x.into.Path); err != nil {
			return err
		}
	}
	plan.Notes = append(plan.Notes, x.source.state(nil))
	if n := len(t.Indexes); n > 1 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("each of its %d indexes is read; %s comes first, and what others have besides is stored too", n, x.index.Name))
	}
	plan.Steps = append(plan.Steps, x.step())
	return nil
}

func (x *tableBackup) title() string { return fmt.Sprintf("back up %s to %s", x.source, x.into) }

func (x *tableBackup) step() spec.Step {
	return spec.Step{
		Text: x.title(), Objects: []string{x.into.String()}, Class: spec.Alter, Undo: "fs rm -r " + x.into.String(),
		Job: &spec.Job{
			Name: fmt.Sprintf("table-%d", x.source.table.ID), Rate: x.rate, Run: x.run,
			Identity: map[string]string{"table": x.source.identity(), "to": x.into.String(), "index": x.index.Name},
		},
	}
}

func (x *tableBackup) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, x.each)
	m, err := backup.Make(ctx, x.source.c, x.source.table, x.s, x.into.Path, backup.Options{
		What: x.title(), Cluster: x.source.cluster, Parallel: x.parallel, Patience: x.patience,
	}, w)
	if err != nil {
		return err
	}
	size, files := m.Size()
	text := fmt.Sprintf("%s in %s, %d bytes", commands.Rows(m.Rows()), commands.Plural(files, "file"), size)
	for _, i := range m.Indexes {
		if len(i.Own) > 0 {
			text += fmt.Sprintf("; %s of index %s stored besides", commands.Plural(len(i.Own), "partition"), i.Name)
		}
	}
	w.Detail("%s", text)
	return nil
}
