package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// SplitBackup makes the input of a bulk load out of a backup.
func SplitBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "split_backup",
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "turn a cold backup into the input of a bulk load for another number of partitions",
		Long: "Reads a backup, and writes its rows as tables for a table of another number of partitions below OUT/CLUSTER/TABLE, with the lists that start_bulk_load " +
			"wants: OUT is its root path. It takes the latest version of each row, leaves out what is expired or does not match, and every partition gets at least one file. " +
			"Everything is done on this machine; no Spark is needed; --engine spark prints a job for one, where a policy made the backup and both places are on an HDFS. Each file of the backup is compared with its MD5 first. The id of the target table is part of the " +
			"output: it is asked of the cluster, where the table must have that many partitions, or told with --app-id. Servers find a row's partition by masking, so a " +
			"number of partitions that is no power of two is refused without --force. So is a service without room for as much as the backup has. The output is the same bytes however often the work was interrupted.",
		Args: []spec.Arg{backupArg, {Name: "out", Kind: spec.ArgLocation, Help: "SERVICE:PATH, the root of the bulk load"}},
		Flags: append(slices.Clone(scanFlags[1:]),
			spec.Flag{Name: "table", Kind: spec.ArgText, Required: true, Help: "the table that will be loaded"},
			spec.Flag{Name: "partitions", Kind: spec.ArgInt, Required: true, Help: "how many partitions it has"},
			spec.Flag{Name: "from", Kind: spec.ArgText, Help: "the table of the backup, NAME or NAME_ID, where it has several"},
			spec.Flag{Name: "cluster", Kind: spec.ArgCluster, Help: "the cluster of the target table; the current one unless given"},
			spec.Flag{Name: "app-id", Kind: spec.ArgInt, Default: "0", Help: "the id of the target table; the cluster is not asked then"},
			spec.Flag{Name: "data-version", Kind: spec.ArgInt, Default: "1", Help: "how the target stores values: 1, or 0 for tables of releases 1.x"},
			spec.Flag{Name: "parallel", Kind: spec.ArgInt, Default: "0", Help: "partitions worked on at once; 0 is one for each processor"},
			spec.Flag{Name: "memory", Kind: spec.ArgInt, Default: "256", Help: "MiB held at most, besides what open files need"},
			spec.Flag{Name: "max-rate", Kind: spec.ArgRate, Help: "read no faster than this; +, - and job rate change it while it runs"},
			spec.Flag{Name: "engine", Kind: spec.ArgEnum, Values: []string{nativeEngine, sparkEngine}, Default: nativeEngine, Help: "what does the work; spark prints a job for it"},
			spec.Flag{Name: "temp", Kind: spec.ArgFile, Help: "a folder for temporary files, which are needed when neither number of partitions divides the other"},
		),
		Examples: []spec.Example{
			{Line: "split_backup disk:/backup disk:/split --table TableB --partitions 8 --app-id 7", Says: "from 4 partitions to 8", Setup: backupHere},
		},
		SeeAlso: []string{"ls_backup", "verify_backup", "backup_scan", "partition_split start"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planSplit(ctx, env, call)
		},
	}
}

// backupSplit is a split that is planned.
type backupSplit struct {
	reader         *backupReader
	in             string // the backup's folder, SERVICE:/PATH
	into           storage.Service
	out            storage.Location // of the table: the folder of bulk_load_info
	info           coldbackup.LoadInfo
	cluster        string
	version        int
	parallel       int
	memory         int64
	temp           string
	filters        string
	sources, files int
	size           int64
	identity       map[string]string
}

func planSplit(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	x, err := splitFlags(call)
	if err != nil {
		return nil, err
	}
	if err := x.openBoth(ctx, env, call); err != nil {
		return nil, err
	}
	if err := x.findTarget(ctx, env, call); err != nil {
		return nil, err
	}
	t := x.reader.table
	x.identify()
	plan := &spec.Plan{
		Title: fmt.Sprintf("split backup %d of %s, %d partitions, for %s of cluster %s, %d partitions", x.reader.backup.ID, t.Name, x.sources,
			x.info.AppName, x.cluster, x.info.PartitionCount),
		Name: x.out.String(),
		Steps: []spec.Step{{
			Text: fmt.Sprintf("split %d files, %d bytes, into %d partitions", x.files, x.size, x.info.PartitionCount), Objects: []string{x.out.String()}, Class: spec.Alter,
			Job:  &spec.Job{Name: "split", Identity: x.identity, Rate: call.Rate("max-rate"), Run: x.run},
			Undo: "fs rm -r " + x.out.String(),
		}},
	}
	if x.info.PartitionCount&(x.info.PartitionCount-1) != 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("servers find no row by masking with %d: only tools that divide do", x.info.PartitionCount-1))
	}
	if b := x.reader.backup; b.Info == nil {
		plan.Notes = append(plan.Notes, "backup_info is missing")
	}
	return plan, x.lookAtRoom(ctx, call, plan)
}

// What may split a backup.
const (
	nativeEngine = "native"
	sparkEngine  = "spark"
)

func splitFlags(call *spec.Call) (*backupSplit, error) {
	n, id, version := call.Int("partitions"), call.Int("app-id"), call.Int("data-version")
	parallel, memory := call.Int("parallel"), call.Int("memory")
	x := &backupSplit{version: int(version), parallel: int(parallel), memory: memory << 20, temp: call.String("temp"), cluster: cmp.Or(call.String("cluster"), call.Cluster)}
	x.info = coldbackup.LoadInfo{AppID: int32(id), AppName: call.String("table"), PartitionCount: int32(n)}
	const mostPartitions = 1 << 15
	switch {
	case n < 1 || n > mostPartitions:
		return nil, spec.Errorf(spec.Usage, "--partitions must be between 1 and %d", mostPartitions)
	case n&(n-1) != 0 && !call.Force:
		return nil, spec.Errorf(spec.Usage, "%d is no power of two, and servers find no row in such a table", n).WithHint("--force does it all the same")
	case id < 0 || id > 1<<31-1:
		return nil, spec.Errorf(spec.Usage, "%d is no id of a table", id)
	case version != 0 && version != 1:
		return nil, spec.Errorf(spec.Usage, "--data-version is 0 or 1")
	case parallel < 0 || parallel > 256 || memory < 1 || memory > 1<<20:
		return nil, spec.Errorf(spec.Usage, "--parallel must be between 0 and 256, and --memory between 1 and %d", 1<<20)
	case x.cluster == "" || strings.ContainsAny(x.cluster, "/\\") || x.cluster == "." || x.cluster == "..":
		return nil, spec.Errorf(spec.Usage, "the cluster of the target table is part of the output's path").WithHint("name it with --cluster")
	}
	for _, f := range scanFlags[1:] {
		if call.Has(f.Key()) {
			x.filters += f.Key() + "=" + quote(call.String(f.Key())) + " "
		}
	}
	return x, checkTable(x.info.AppName)
}

// openBoth looks at the backup, which has to be whole, and at the place of the output.
func (x *backupSplit) openBoth(ctx context.Context, env commands.Env, call *spec.Call) error {
	into, l, err := commands.Locate(ctx, env, call, 1)
	if err != nil {
		return err
	}
	x.into = into
	x.out = storage.Location{Service: l.Service, Path: coldbackup.LoadDir(l.Path, x.cluster, x.info.AppName)}
	if x.reader, err = openReader(ctx, env, call, "from"); err != nil {
		return err
	}
	in := storage.Location{Service: x.reader.store.Name(), Path: x.reader.backup.Dir}
	x.in = in.String()
	if in.Service == x.out.Service && strings.HasPrefix(x.out.Path+"/", in.Path+"/") {
		return spec.Errorf(spec.Usage, "%s is inside of the backup", x.out)
	}
	t := x.reader.table
	for _, p := range x.reader.backup.AllProblems(t) {
		if p.Path != coldbackup.InfoPath(x.reader.backup) { // which says nothing about the rows
			return spec.Errorf(spec.Refused, "the backup is damaged: %s", p).WithHint("verify_backup %s tells all", x.in)
		}
	}
	x.sources = len(t.Partitions) // all: none is missing
	x.size, x.files = t.Size()
	return nil
}

// findTarget asks the cluster about the table, unless its id was told.
func (x *backupSplit) findTarget(ctx context.Context, env commands.Env, call *spec.Call) error {
	if x.info.AppID != 0 {
		return nil
	}
	other := *call
	other.Cluster = x.cluster
	c, err := open(ctx, env, &other)
	if err != nil {
		return err
	}
	app, err := mustFind(ctx, c, x.cluster, x.info.AppName)
	if err != nil {
		return err
	}
	if app.Partitions != int(x.info.PartitionCount) {
		return spec.Errorf(spec.Refused, "%s of %s has %d partitions, and not %d", app.Name, x.cluster, app.Partitions, x.info.PartitionCount).
			WithHint("create it with that many, or split for %d", app.Partitions)
	}
	x.info.AppID = app.ID
	return nil
}

// lookAtRoom compares what there is to write with the room there is: on the service, and for the temporary files that are
// needed when rows of several partitions go to several.
func (x *backupSplit) lookAtRoom(ctx context.Context, call *spec.Call, plan *spec.Plan) error {
	writing := commands.Writing{To: x.into, Dir: x.out.Path, Bytes: x.size, Resumed: call.Resumed, Small: true, Way: "rm_backup removes old backups"}
	if err := commands.LookAtRoom(ctx, plan, writing); err != nil {
		return err
	}
	if n := int(x.info.PartitionCount); n%x.sources == 0 || x.sources%n == 0 {
		return nil
	}
	temp, err := storage.Directory("the folder for temporary files", x.tempDir())
	if err != nil {
		return err
	}
	return commands.LookAtRoom(ctx, plan, commands.Writing{To: temp, Bytes: x.size, Resumed: call.Resumed, Small: true, Way: "--temp names another folder"})
}

// identify says what a journal is true of.
func (x *backupSplit) identify() {
	t := x.reader.table
	var decrees []string
	for _, p := range t.Partitions {
		decrees = append(decrees, fmt.Sprint(p.Checkpoint.Decree))
	}
	x.identity = map[string]string{
		"backup": x.in, "from": coldbackup.TableFolder(t.Name, t.ID), "checkpoints": fmt.Sprintf("%016x", wire.Hash([]byte(strings.Join(decrees, ",")), nil)), "to": x.out.String(),
		"app_id": fmt.Sprint(x.info.AppID), "partitions": fmt.Sprint(x.info.PartitionCount), "data_version": fmt.Sprint(x.version),
		"filters": strings.TrimSpace(x.filters),
	}
}
