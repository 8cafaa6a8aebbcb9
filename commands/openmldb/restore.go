package openmldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/backup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Restore makes tables of their backups.
func Restore(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "restore",
		Systems: systems,
		Topic:   "storage",
		Summary: "create a table from its backup on a block service",
		Long: "Reads the manifest, makes sure that every file is there with its size, creates the table as it was, or with other numbers of partitions and replicas, and puts " +
			"the rows with their times, into each index those it had. The SHA-256 of a file is compared before a row of it is put; --check compares all of them first. " +
			"Rows that are too old for the TTL of an index expire again. A table that is there is refused, unless --add puts the rows into it that it lacks. " +
			"--verify reads the new table by each index in the end and compares it with what the backup was made of; it exits 7 when they differ. " +
			"It is a job: job resume goes on after Ctrl-C, a crash, or an error that does not go away, and no row is put twice.",
		Args: []spec.Arg{backupPlaceArg},
		Flags: []spec.Flag{
			{Name: "as", Kind: spec.ArgTable, Help: "[db.]name of the new table, instead of what it was called"},
			{Name: "all", Kind: spec.ArgBool, Help: "every backup below the place, each under its name"},
			{Name: "partitions", Kind: spec.ArgInt, Default: "0", Help: "how many it gets; 0: as many as it had"},
			{Name: "replicas", Kind: spec.ArgInt, Default: "0", Help: "copies of each partition, the leader included; 0: as many as it had"},
			{Name: "add", Kind: spec.ArgBool, Help: "put the rows into the table that is there, but those that it has; slower"},
			{Name: "check", Kind: spec.ArgBool, Help: "read and compare every file first"},
			{Name: "verify", Kind: spec.ArgBool, Help: "compare the table in the end with what the backup was made of"},
			backupParallel,
			{Name: "max-rate", Kind: spec.ArgRate, Help: "put no faster than this; +, - and job rate change it while it runs"},
			backupPatience, callTimeFlag,
		},
		Examples: []spec.Example{
			{Line: "restore disk:/backup/demo_db.orders --as demo_db.orders_2 --partitions 8 --verify", Says: "beside the old one, with more partitions", Setup: demoBackup},
			{Line: "restore disk:/backup --yes", Says: "the only backup below, under its own name", Setup: []string{demoBackup[0], "drop demo_db/orders --yes=demo_db/orders"}},
		},
		SeeAlso: []string{"backup", "ls_backup", "verify_backup", "diff_data", "jobs"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return planRestore(ctx, env, line)
		},
	}
}

// tableRestore is the restore of a table that is planned.
type tableRestore struct {
	c           copying
	cluster     string
	s           storage.Service
	from        storage.Location
	m           *backup.Manifest
	want        driver.NewTable
	number      int // among those of the plan
	add         bool
	check, look bool
	parallel    int
	rate        spec.Rate
	patience    time.Duration
	each        time.Duration
}

func planRestore(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	one := tableRestore{cluster: line.Cluster, add: line.Bool("add"), check: line.Bool("check"), look: line.Bool("verify"), rate: line.Rate("max-rate")}
	var err error
	if one.parallel, one.patience, one.each, err = backupFlags(line); err != nil {
		return nil, err
	}
	if err := restoreUsage(line); err != nil {
		return nil, err
	}
	var l storage.Location
	if one.s, l, err = commands.Locate(ctx, env, line, 0); err != nil {
		return nil, err
	}
	found, err := findBackups(ctx, one.s, l)
	if err != nil {
		return nil, err
	}
	if len(found) > 1 && !line.Bool("all") {
		e := severalBackups(l, found)
		return nil, spec.Errorf(spec.Usage, "%w", e).WithHint("%s; or --all", spec.HintOf(e))
	}
	if err := oneOfEach(l, found); err != nil {
		return nil, err
	}
	if one.c, err = commands.Driver[copying](ctx, env, line); err != nil {
		return nil, err
	}
	plan := &spec.Plan{}
	databases := map[string]bool{}
	for i, f := range found {
		x := one
		x.number = i + 1
		x.from = storage.Location{Service: l.Service, Path: f.Dir}
		if err := x.plan(ctx, line, f, plan, databases); err != nil {
			return nil, err
		}
		if plan.Title = x.title(); len(found) > 1 {
			plan.Title = fmt.Sprintf("restore %s from %s to %s", commands.Plural(len(found), "table"), l, line.Cluster)
		}
	}
	return plan, nil
}

// oneOfEach refuses to make one table of two backups.
func oneOfEach(l storage.Location, found []backup.Found) error {
	dirs := map[driver.TableName]string{}
	for _, f := range found {
		if f.Manifest == nil {
			continue
		}
		name := f.Manifest.TableName()
		if other, twice := dirs[name]; twice {
			return spec.Errorf(spec.Usage, "both %s and %s are backups of %s", storage.Location{Service: l.Service, Path: other},
				storage.Location{Service: l.Service, Path: f.Dir}, name).WithHint("name the folder of one of them")
		}
		dirs[name] = f.Dir
	}
	return nil
}

func restoreUsage(line *spec.Call) error {
	const mostPartitions = 1 << 16
	partitions, replicas := line.Int("partitions"), line.Int("replicas")
	switch {
	case partitions < 0 || partitions > mostPartitions || replicas < 0 || replicas > 1<<10:
		return spec.Errorf(spec.Usage, "a table has no %d partitions of %d replicas", partitions, replicas)
	case line.Bool("all") && line.Has("as"):
		return spec.Errorf(spec.Usage, "--as names one table, and --all restores several")
	case line.Bool("add") && (partitions > 0 || replicas > 0):
		return spec.Errorf(spec.Usage, "--add takes the table as it is: --partitions and --replicas are for a new one")
	}
	return nil
}

// plan adds the table to a plan; databases are those that it creates.
func (x *tableRestore) plan(ctx context.Context, line *spec.Call, f backup.Found, plan *spec.Plan, databases map[string]bool) error {
	if f.Manifest == nil {
		return spec.Errorf(spec.Refused, "the backup in %s cannot be restored: %s", x.from, f.Why).WithHint("verify_backup %s tells more", x.from)
	}
	x.m = f.Manifest
	if err := x.m.Sizes(ctx, x.s, x.from.Path); err != nil {
		if d := backup.DamageOf(err); d != nil {
			return spec.Errorf(spec.Refused, "%w", err).WithHint("verify_backup %s tells more", x.from)
		}
		return err
	}
	if err := x.target(line); err != nil {
		return err
	}
	there, err := x.meet(ctx, line)
	if err != nil {
		return err
	}
	plan.Notes = append(plan.Notes, x.state())
	if x.check {
		plan.Steps = append(plan.Steps, x.checkStep())
	}
	if !there {
		notes, err := x.fit(ctx)
		if err != nil {
			return err
		}
		plan.Notes = append(plan.Notes, notes...)
		if err := x.database(ctx, plan, databases); err != nil {
			return err
		}
	}
	plan.Steps = append(plan.Steps, x.step())
	if x.look {
		plan.Steps = append(plan.Steps, x.verifyStep())
	}
	return nil
}

// target works out the table to be created.
func (x *tableRestore) target(line *spec.Call) error {
	x.want = x.m.New()
	if line.Has("as") {
		name := driver.ParseTableName(tableText(line.String("as")))
		if name.DB == "" {
			name.DB = x.want.DB
		}
		if err := checkName(name.Name); err != nil {
			return err
		}
		x.want.TableName = name
	}
	if x.want.Internal() {
		return spec.Errorf(spec.Refused, "%s is one of the store's own tables", x.want.TableName)
	}
	if n := line.Int("partitions"); n > 0 {
		x.want.Partitions = int(n)
	}
	if n := line.Int("replicas"); n > 0 {
		x.want.Replicas = int(n)
	}
	return nil
}

// meet looks for a table of that name.
func (x *tableRestore) meet(ctx context.Context, line *spec.Call) (there bool, err error) {
	there, t, err := look(ctx, x.c, x.want.TableName)
	switch {
	case err != nil:
		return false, err
	case there && !x.add && !line.Resumed:
		return false, backup.Taken(x.want.TableName)
	case there:
		return true, backup.Fits(x.m, t)
	case x.add:
		return false, spec.Errorf(spec.NotFound, "%s has no table %s to add rows to", x.cluster, x.want.TableName).WithHint("without --add it is created")
	}
	return false, nil
}

// fit gives the table no more replicas than there are tablets, unless so many were asked for.
func (x *tableRestore) fit(ctx context.Context) (notes []string, err error) {
	if x.want.Replicas != x.m.Table.Replicas {
		return nil, enoughTablets(ctx, x.c, x.want.Replicas)
	}
	all, err := x.c.Tablets(ctx)
	if err != nil {
		return nil, err
	}
	healthy := 0
	for _, one := range all {
		if one.Healthy {
			healthy++
		}
	}
	switch {
	case healthy == 0:
		return nil, spec.Errorf(spec.Unavailable, "%s has no healthy tablet to create a table on", x.cluster).WithHint("showtablet lists them")
	case healthy < x.want.Replicas:
		notes = append(notes, fmt.Sprintf("%s has %s: the new table gets so many replicas, not %d", x.cluster, commands.Plural(healthy, "healthy tablet"), x.want.Replicas))
		x.want.Replicas = healthy
	}
	return notes, nil
}

// database sees to the database of the table.
func (x *tableRestore) database(ctx context.Context, plan *spec.Plan, made map[string]bool) error {
	db := x.want.DB
	if db == "" || made[db] {
		return nil
	}
	have, err := x.c.Databases(ctx)
	if err != nil || slices.Contains(have, db) {
		return err
	}
	made[db] = true
	plan.Steps = append(plan.Steps, spec.Step{
		Text: "create database " + db, Objects: []string{db}, Class: spec.Alter,
		Apply: call(func(ctx context.Context) error { return x.c.CreateDatabase(ctx, db, true) }),
	})
	return nil
}

// state says what the backup is.
func (x *tableRestore) state() string {
	size, files := x.m.Size()
	return fmt.Sprintf("%s has %s of %s of %s, begun at %s: %s, %d bytes", x.from, commands.Rows(x.m.Rows()), x.m.TableName(), x.m.Cluster,
		x.m.Started.UTC().Format(time.RFC3339), commands.Plural(files, "file"), size)
}

func (x *tableRestore) title() string {
	what := "restore"
	if x.add {
		what = "add the rows of"
	}
	return fmt.Sprintf("%s %s to %s of %s", what, x.from, x.want.TableName, x.cluster)
}

func (x *tableRestore) identity() map[string]string {
	return map[string]string{
		"backup": x.from.String(), "manifest": x.m.SHA256(), "target": x.cluster + ":" + x.want.TableName.String(), "add": fmt.Sprint(x.add),
	}
}

func (x *tableRestore) job(name string) string {
	if x.number == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, x.number)
}

func (x *tableRestore) step() spec.Step {
	text := fmt.Sprintf("%s, with %s and %s", x.title(), commands.Plural(x.want.Partitions, "partition"), commands.Plural(x.want.Replicas, "replica"))
	undo := "drop " + x.want.TableName.String()
	if x.add {
		text, undo = x.title(), ""
	}
	return spec.Step{
		Text: text, Objects: []string{x.want.TableName.String()}, Class: spec.Alter, Undo: undo,
		Job: &spec.Job{Name: x.job("restore"), Identity: x.identity(), Rate: x.rate, Run: x.run},
	}
}

func (x *tableRestore) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, x.each)
	_, err := backup.Restore(ctx, x.c, x.s, x.from.Path, x.m, backup.RestoreOptions{
		What: x.title(), Target: x.want, Add: x.add, Parallel: x.parallel, Patience: x.patience,
	}, w)
	return err
}

// checkStep reads every file before anything is changed.
func (x *tableRestore) checkStep() spec.Step {
	return spec.Step{
		Text: "check every file of " + x.from.String(), Objects: []string{x.from.String()}, Class: spec.Read,
		Job: &spec.Job{Name: x.job("check"), Identity: x.identity(), Run: x.runCheck},
	}
}

func (x *tableRestore) runCheck(ctx context.Context, w spec.Work) error {
	files, rows := 0, int64(0)
	total, _ := x.m.Stored()
	err := backup.Verify(ctx, x.s, x.from.Path, x.m, x.parallel, func(c backup.Checked) error {
		if c.Why != "" && !c.Stray {
			place := storage.Location{Service: x.from.Service, Path: c.Path}
			return spec.Errorf(spec.Refused, "the backup is damaged: %s: %s", place, c.Why).WithHint("verify_backup %s tells all; nothing was changed", x.from)
		}
		if files++; files%2 == 1 { // each file of rows has one of their times, which comes next
			rows += max(c.Rows, 0)
		}
		w.Progress(rows, total, "rows")
		return nil
	})
	if err == nil {
		w.Detail("%s ok", commands.Plural(files, "file"))
	}
	return err
}

// verifyStep compares the table with what the backup was made of.
func (x *tableRestore) verifyStep() spec.Step {
	what := fmt.Sprintf("compare %s of %s with what %s was made of", x.want.TableName, x.cluster, x.from)
	return spec.Step{
		Text: what, Objects: []string{x.want.TableName.String()}, Class: spec.Read,
		Job: &spec.Job{Name: x.job("verify"), Identity: x.identity(), Rate: x.rate, Run: func(ctx context.Context, w spec.Work) error {
			ctx = cluster.WithCallTimeout(ctx, x.each)
			t, err := x.c.Describe(ctx, x.want.TableName)
			if err != nil {
				return err
			}
			return backup.Compare(ctx, x.c, t, x.m, backup.Options{What: what, Parallel: x.parallel, Patience: x.patience}, w)
		}},
	}
}

var _ backup.Writer = copying(nil)
