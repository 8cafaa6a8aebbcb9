package pegasus

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// lookAtBackup reads the backup's documents, and refuses what the servers would fail on later.
func (x *tableRestore) lookAtBackup(ctx context.Context, call *spec.Call, plan *spec.Plan) error {
	x.dir = x.backupPlace()
	if x.from.store == nil {
		plan.Blockers = append(plan.Blockers, spec.Blocker{Object: x.from.service, Why: x.from.unseen + "; nothing of the backup can be checked from here"})
		return nil
	}
	b, err := coldbackup.Load(ctx, x.from.store, x.dir)
	if err != nil && spec.KindOf(err) == spec.NotFound {
		return x.noBackup(ctx)
	}
	if err != nil {
		return err
	}
	folder := coldbackup.TableFolder(x.want.Table, x.want.TableID)
	i := slices.IndexFunc(b.Tables, func(t *coldbackup.Table) bool { return path.Base(t.Dir) == folder })
	if i < 0 {
		return spec.Errorf(spec.NotFound, "backup %d has no table %s with the id %d", b.ID, x.want.Table, x.want.TableID).
			WithHint("it has %s: -a and -i are what stands before and after the last _", tableNames(b))
	}
	x.backup, x.table = b, b.Tables[i]
	if err := x.refuse(ctx, call, plan); err != nil {
		return err
	}
	size, files := x.table.Size()
	count := int32(0)
	if x.table.App != nil {
		count = x.table.App.PartitionCount
	}
	plan.Notes = append(plan.Notes, fmt.Sprintf("the backup has %s, %s with %s", commands.Plural(int(count), "partition"), commands.Plural(files, "file"), sizeText(size)))
	x.sideCarSettings(plan)
	return nil
}

// noBackup says what there is in the place of a backup that is not there.
func (x *tableRestore) noBackup(ctx context.Context) error {
	e := spec.Errorf(spec.NotFound, "%s is no backup", at(x.from.service, x.dir))
	const most = 3
	var found []string
	for dir, err := range coldbackup.List(ctx, x.from.store, x.from.place()) {
		if err != nil || len(found) > most {
			break
		}
		found = append(found, at(x.from.service, dir))
	}
	if len(found) == 0 || len(found) > most {
		return e.WithHint("its place is made of -r, -c, -p and -t; ls_backup %s:/%s finds backups", x.from.service, x.from.place())
	}
	return e.WithHint("its place is made of -r, -c, -p and -t; there is %s", strings.Join(found, ", "))
}

// refuse names what is wrong with the backup.
func (x *tableRestore) refuse(ctx context.Context, call *spec.Call, plan *spec.Plan) error {
	where := at(x.from.service, x.dir)
	if !x.backup.Complete() {
		plan.Blockers = append(plan.Blockers, spec.Blocker{
			Object: where, Why: fmt.Sprintf("%s is missing, which is written last: the backup runs still, or has failed (query_backup %s tells)", path.Base(coldbackup.InfoPath(x.backup)), x.want.Table),
		})
	}
	if x.table.App == nil || !x.want.SkipBad {
		if why := x.problem(); why != "" {
			return spec.Errorf(spec.Refused, "backup %d is damaged: %s", x.backup.ID, why).WithHint("verify_backup %s tells all; -s restores what is whole, with the other partitions empty", where)
		}
	}
	if bad := x.badPartitions(); len(bad) > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("partition %s will begin empty: files are missing or damaged", strings.Join(bad, ", ")))
	}
	if n := call.Int("partition-count"); call.Has("partition-count") && n != int64(x.table.App.PartitionCount) {
		return spec.Errorf(spec.Refused, "restore makes a table with %s, as many as the backup has", commands.Plural(int(x.table.App.PartitionCount), "partition")).
			WithHint("for %d: create %s -p %d, split_backup %s %s:/OUT --table %s --partitions %d, start_bulk_load -a %s -c %s -p %s -r /OUT", n, x.want.NewName, n, where,
				x.from.service, x.want.NewName, n, x.want.NewName, x.cluster, x.from.service)
	}
	version, err := dataVersion(ctx, *x.from.store, x.table)
	if err != nil {
		return err
	}
	if version == 0 {
		return spec.Errorf(spec.Refused, "the values of backup %d are of a release 1.x (data version 0): servers of 2.x crash on them", x.backup.ID).
			WithHint("split_backup %s … --data-version 1 makes the input of a bulk load of it", where)
	}
	return nil
}

// problem is what keeps the table from being restored whole, "" when nothing does. That the backup is not complete is told
// elsewhere.
func (x *tableRestore) problem() string {
	b := *x.backup
	if !b.Complete() {
		b.Problems = slices.DeleteFunc(slices.Clone(b.Problems), func(p coldbackup.Problem) bool { return p.Path == coldbackup.InfoPath(x.backup) })
	}
	return firstProblem(&b, x.table)
}

// badPartitions are those whose files are missing or have another size.
func (x *tableRestore) badPartitions() []string {
	var bad []string
	for _, p := range x.table.Partitions {
		if len(p.Problems) > 0 {
			bad = append(bad, strconv.Itoa(p.Index))
		}
	}
	return bad
}

// splitEnv makes rows be left out of scans that a split left in the wrong partition; backups have them still.
const splitEnv = "replica.split.validate_partition_hash"

// sideCarSettings finds what the old table's settings were.
func (x *tableRestore) sideCarSettings(plan *spec.Plan) {
	if x.backup.SideCar == nil {
		plan.Notes = append(plan.Notes, fmt.Sprintf("the backup has no side-car: the settings of %s are lost with it; a table that was split once needs %s true", x.want.Table, splitEnv))
		return
	}
	all := maps.Clone(x.backup.SideCar.Settings[path.Base(x.table.Dir)])
	for k := range all {
		if strings.HasPrefix(k, "restore.") {
			delete(all, k)
		}
	}
	var left []string
	if x.settings, left = copiedEnvs(all); len(left) > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("the new table does not get %s", strings.Join(left, ", ")))
	}
}

// lookAtCluster looks whether the new table can be made.
func (x *tableRestore) lookAtCluster(ctx context.Context, plan *spec.Plan) error {
	apps, err := x.c.Apps(ctx, "all")
	if err != nil {
		return err
	}
	x.gone = true
	for _, a := range apps {
		if a.Status == "DROPPED" {
			continue
		}
		x.there = x.there || a.Name == x.want.NewName
		x.gone = x.gone && (a.ID != x.want.TableID || a.Status != "AVAILABLE")
		if a.Name == x.want.NewName && !x.made(a.Envs) {
			return spec.Errorf(spec.Refused, "%s has a table %s", x.cluster, x.want.NewName).WithHint("give the new one another name: -n %s", freeName(x.want.NewName, apps))
		}
	}
	if x.there {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s is there, made of this backup: only the job that began it goes on with it", x.want.NewName))
	}
	if x.gone {
		plan.Notes = append(plan.Notes, fmt.Sprintf("the table %s with the id %d is gone here: the documentation says that a restore needs it, and no known server asks for it; "+
			"should it be refused, split_backup and start_bulk_load do without", x.want.Table, x.want.TableID))
	}
	level, err := x.c.MetaLevel(ctx)
	if err != nil {
		return err
	}
	if !cures(level) {
		plan.Blockers = append(plan.Blockers, spec.Blocker{Object: "meta level", Why: fmt.Sprintf("it is %s: the meta server makes no table (set_meta_level steady)", level)})
	}
	nodes, err := x.c.Nodes(ctx)
	if err != nil {
		return err
	}
	alive := 0
	for _, n := range nodes {
		alive += one(n.Alive)
	}
	if x.table != nil && x.table.App != nil && int(x.table.App.MaxReplicaCount) > alive {
		plan.Notes = append(plan.Notes, fmt.Sprintf("the table wants %d replicas of each partition, and %d nodes are alive", x.table.App.MaxReplicaCount, alive))
	}
	return nil
}

// freeName is a name that no table has.
func freeName(name string, apps []driver.App) string {
	taken := func(free string) bool {
		return slices.ContainsFunc(apps, func(a driver.App) bool { return a.Name == free && a.Status != "DROPPED" })
	}
	free := name + "_restored"
	for n := 2; taken(free); n++ {
		free = fmt.Sprintf("%s_restored%d", name, n)
	}
	return free
}

// made says that a table with these settings was made of this backup of this table.
func (x *tableRestore) made(envs map[string]string) bool {
	return envs["restore.backup_id"] == strconv.FormatInt(x.want.BackupID, 10) && envs["restore.app_id"] == strconv.Itoa(int(x.want.TableID)) &&
		envs["restore.app_name"] == x.want.Table
}
