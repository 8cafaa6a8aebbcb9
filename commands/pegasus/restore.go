package pegasus

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// restorer is what restores ask of a cluster.
type restorer interface {
	client
	counting
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
	StartRestore(ctx context.Context, r driver.NewRestore) (id int32, err error)
	RestoreStatus(ctx context.Context, id int32) (driver.App, driver.Restore, error)
}

var _ restorer = (*driver.Driver)(nil)

var restoreFlags = []spec.Flag{
	{Name: "old-cluster-name", Short: "c", Kind: spec.ArgText, Required: true, Help: "the cluster that was backed up: the first folder of the backup's place"},
	{Name: "old-app-name", Short: "a", Kind: spec.ArgText, Required: true, Help: "the table that was backed up"},
	{Name: "old-app-id", Short: "i", Kind: spec.ArgInt, Required: true, Help: "its id then"},
	{Name: "timestamp", Short: "t", Kind: spec.ArgInt, Required: true, Help: "the id of the backup"},
	{Name: "backup-provider-type", Short: "b", Kind: spec.ArgService, Required: true, Help: "the block service, as the servers' configuration and this shell's call it"},
	{Name: "new-app-name", Short: "n", Kind: spec.ArgText, Help: "what the new table is called; as the old one when left out"},
	{Name: "restore-path", Short: "r", Kind: spec.ArgText, Help: "the folder above that of the cluster; none for a service whose configuration has a root"},
	{Name: "old-policy-name", Short: "p", Kind: spec.ArgText, Help: "the backup policy, for backups of releases before 2.2"},
	{Name: "skip-bad-partition", Short: "s", Kind: spec.ArgBool, Help: "partitions whose files are missing or damaged begin empty"},
	{Name: "partition-count", Kind: spec.ArgInt, Help: "the number of partitions one wishes for; restore keeps that of the backup, and says what does not"},
	sendRateFlag,
	{Name: "no-verify", Kind: spec.ArgBool, Help: "do not read the files before; servers compare them while they fetch them, and drop the new table when one is damaged"},
	{Name: "no-count", Kind: spec.ArgBool, Help: "do not compare the number of rows in the end"},
	{Name: "no-settings", Kind: spec.ArgBool, Help: "do not set what the side-car has of the old table's settings"},
	{Name: "patience", Kind: spec.ArgDuration, Default: "10m", Help: "end when nothing got any further, or nobody answered, for so long; job resume goes on"},
}

const restoreLong = "Makes a new table of a backup, with as many partitions as it had. Before anything is sent the backup is looked at on the service as this shell's own config.ini has " +
	"it: it must be complete, of that table and id, its files as they are listed; each is read and compared with its MD5, unless --no-verify says not to. " +
	"What all replicas will have is compared with what the disks of the nodes still take: too little of it refuses the restore. " +
	"The servers then fetch it; their limit of what they send is held at --max-rate meanwhile. " +
	"What Pegasus leaves out of backups, the settings of the table, is set again where the backup has shardsh's side-car. In the end the rows of the table are counted " +
	"by the servers, and those of the backup by reading it once more; --no-count spares that. " +
	"It is a job: what was killed is followed again with job resume, and never begun a second time. A restore cannot be cancelled; the new table can be dropped."

// Restore makes a table of a backup.
func Restore(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "restore",
		Aliases: []string{"restore_app", "restore-app"},
		Systems: systems,
		Topic:   "storage",
		Summary: "make a new table of a cold backup, and check what became of it",
		Long:    restoreLong,
		Flags:   restoreFlags,
		Examples: []spec.Example{
			{Line: "restore -c onebox -a single -i 4 -t 1742888751127 -b disk -r /backup -n single_again", Says: "a new table, with its rows counted in the end", Setup: backupHere},
			{
				Line: "restore_app -c onebox -a single -i 4 -t 1742888751127 -b disk -r /old -n single_again --plan", Says: "what would be done, under the name that other shells have for it",
				Setup: []string{"fs put backup disk:/old"},
			},
			{Line: "restore -c onebox -a single -i 4 -t 1742888751127 -b disk -r /backup --no-verify --no-count", Says: "without reading the backup itself", Setup: backupHere},
		},
		SeeAlso: []string{"backup", "query_restore_status", "ls_backup", "verify_backup", "split_backup", "start_bulk_load", "diff_data"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planRestore(ctx, env, call)
		},
	}
}

// tableRestore is a restore that is planned.
type tableRestore struct {
	c        restorer
	cluster  string
	want     driver.NewRestore
	from     *coldCopy
	dir      string // of the backup, on the service
	backup   *coldbackup.Backup
	table    *coldbackup.Table // nil when nothing of it can be seen from here
	limit    *sendRate
	patience time.Duration
	gone     bool // the original table is
	there    bool // the new one is
	noWait   bool
	verify   bool
	settings map[string]string // of the side-car
	result   restoreResult
}

func (x *tableRestore) text() string {
	return fmt.Sprintf("restore %s of backup %d as %s of %s", x.want.Table, x.want.BackupID, x.want.NewName, x.cluster)
}

// readRestore reads what needs no cluster.
func readRestore(call *spec.Call) (*tableRestore, error) {
	x := &tableRestore{cluster: call.Cluster, patience: call.Duration("patience"), noWait: call.Wait < 0}
	id, backup := call.Int("old-app-id"), call.Int("timestamp")
	x.want = driver.NewRestore{
		Provider: call.String("backup-provider-type"), Path: call.String("restore-path"), Cluster: call.String("old-cluster-name"),
		Policy: call.String("old-policy-name"), BackupID: backup, Table: call.String("old-app-name"), TableID: int32(id),
		NewName: call.String("new-app-name"), SkipBad: call.Bool("skip-bad-partition"),
	}
	if x.want.NewName == "" {
		x.want.NewName = x.want.Table
	}
	for _, part := range []string{x.want.Cluster, x.want.Policy} {
		if strings.ContainsAny(part, "/\\") || part == ".." || part == "." {
			return nil, spec.Errorf(spec.Usage, "%q is the name of one folder, and -r has those above it", part)
		}
	}
	switch {
	case id < 1 || id > 1<<31-1:
		return nil, spec.Errorf(spec.Usage, "%d is no id of a table", id)
	case backup < 1:
		return nil, spec.Errorf(spec.Usage, "%d is no id of a backup", backup).WithHint("it is the folder's name: 1742888751127")
	case x.patience <= 0:
		return nil, spec.Errorf(spec.Usage, "--patience must be above 0")
	}
	if err := checkTable(x.want.Table); err != nil {
		return nil, err
	}
	return x, checkTable(x.want.NewName)
}

func planRestore(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	x, err := readRestore(call)
	if err != nil {
		return nil, err
	}
	if x.c, err = commands.Driver[restorer](ctx, env, call); err != nil {
		return nil, err
	}
	if x.from, err = openCold(ctx, env, x.c, x.want.Provider, x.want.Path); err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: x.text()}
	if err := x.lookAtBackup(ctx, call, plan); err != nil {
		return nil, err
	}
	if err := x.lookAtCluster(ctx, plan); err != nil {
		return nil, err
	}
	if err := x.lookAtDisks(ctx, plan); err != nil {
		return nil, err
	}
	if x.limit, err = planSendRate(ctx, env, call, x.c, plan); err != nil {
		return nil, err
	}
	x.steps(call, plan)
	return plan, nil
}

// steps are: read the backup and have it fetched, set what it leaves out, wait for the replicas, count.
func (x *tableRestore) steps(call *spec.Call, plan *spec.Plan) {
	x.verify = x.table != nil && !call.Bool("no-verify") && !x.want.SkipBad
	count := x.table != nil && !call.Bool("no-count") && !x.noWait
	if call.Bool("no-settings") {
		x.settings = nil
	}
	identity := x.identity()
	text := x.text()
	if x.verify {
		text = "compare the files with their MD5, and " + text
	}
	plan.Steps = append(plan.Steps, spec.Step{
		Text: text, Objects: []string{x.want.NewName}, Class: spec.Alter, Undo: "drop " + x.want.NewName,
		Job: x.limit.job(spec.Job{Name: "restore", Identity: identity, Run: x.run}),
	})
	if len(x.settings) > 0 && !x.noWait {
		plan.Steps = append(plan.Steps, x.settingsStep())
	}
	if !x.noWait {
		plan.Steps = append(plan.Steps, readyStep(x.c, x.want.NewName, 0))
	}
	if count {
		plan.Steps = append(plan.Steps, spec.Step{
			Text: "compare the number of rows with the backup", Objects: []string{x.want.NewName}, Class: spec.Read,
			Job: &spec.Job{Name: "count", Identity: identity, Run: x.runCount},
		})
	}
	if times := one(x.verify) + one(count); times > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("this shell reads the backup %s besides: %s each; --no-verify and --no-count spare it", [...]string{"", "once", "twice"}[times], sizeText(x.size())))
	}
}

func (x *tableRestore) size() int64 {
	if x.table == nil {
		return 0
	}
	size, _ := x.table.Size()
	return size
}

// identity says what a journal is true of.
func (x *tableRestore) identity() map[string]string {
	return map[string]string{
		"cluster": x.cluster, "into": x.want.NewName, "backup": strings.TrimSpace(x.from.service + " " + x.dir),
		"from": coldbackup.TableFolder(x.want.Table, x.want.TableID), "skip_bad_partition": strconv.FormatBool(x.want.SkipBad),
	}
}

// settingsStep sets what the old table had, and the backup has not.
func (x *tableRestore) settingsStep() spec.Step {
	keys := sortedKeys(x.settings)
	var values []string
	for _, k := range keys {
		values = append(values, x.settings[k])
	}
	return spec.Step{
		Text: "set " + strings.Join(keys, ", ") + " of " + x.want.NewName + " as the side-car has it", Objects: []string{x.want.NewName}, Class: spec.Alter,
		Apply: func(ctx context.Context, _ spec.Report) error { return x.c.SetEnvs(ctx, x.want.NewName, keys, values) },
	}
}

// backupPlace is where the backup is, by the flags.
func (x *tableRestore) backupPlace() string {
	return x.from.place(path.Join(x.want.Cluster, x.want.Policy, strconv.FormatInt(x.want.BackupID, 10)))
}
