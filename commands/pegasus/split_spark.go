package pegasus

import (
	"context"
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// SplitBackupJob is split_backup --engine spark, which only reads.
func SplitBackupJob(env commands.Env) spec.Command {
	c := SplitBackup(env)
	c.Identify = "engine=" + sparkEngine
	c.Summary = "print a job for Spark that turns a cold backup into the input of a bulk load"
	c.Long = "Prints a program in Scala that does with Pegasus-spark what split_backup does on this machine, with the same rows and filters; how it is built and run is said " +
		"at its head. The library finds backups by their policy and reads HDFS only, so the backup has to be one of a policy, and both places have to be on an hdfs_service of " +
		"config.ini. Nothing is written, and the files of the backup are not compared with their MD5s: verify_backup does that."
	c.Examples, c.Change = nil, nil
	c.Query = func(ctx context.Context, call *spec.Call) (*spec.Table, error) { return sparkSplit(ctx, env, call) }
	return c
}

//go:embed split_spark.scala.tmpl
var sparkProgram string

// sparkJob is what the program is made of.
type sparkJob struct {
	From, To        hdfsURL
	Cluster         string // of the backup, behind the root of its service
	Policy, Table   string
	BackupID        int64  // Unix milliseconds
	Day             string // that it was begun, for people
	Root            string // of the bulk load
	Target          coldbackup.LoadInfo
	TargetCluster   string
	Tag             int // bytes between the time to live and the data of a value
	Epoch           int64
	Filters         []sparkFilter
	Library, Commit string
}

// The state of Pegasus-spark that the program was written for and tried with.
const (
	sparkLibrary = "1.1-SNAPSHOT"
	sparkCommit  = "7593542"
)

// noJob says why no program can be printed.
func noJob(format string, args ...any) error {
	return spec.Errorf(spec.Unable, "there is no job for Spark to print: "+format, args...).
		WithHint("--engine %s does it on this machine, within --memory; it goes on after a crash", nativeEngine)
}

func sparkSplit(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	for _, flag := range []string{"parallel", "memory", "max-rate", "temp"} {
		if call.Has(flag) {
			return nil, spec.Errorf(spec.Usage, "--%s is for --engine %s", flag, nativeEngine).WithHint("Spark has settings of its own for that")
		}
	}
	x, err := splitFlags(call)
	if err != nil {
		return nil, err
	}
	if err := x.openBoth(ctx, env, call); err != nil {
		return nil, err
	}
	job, err := x.sparkJob(ctx, env, call)
	if err != nil {
		return nil, err
	}
	if err := x.findTarget(ctx, env, call); err != nil {
		return nil, err
	}
	if err := x.checkEmpty(ctx); err != nil {
		return nil, err
	}
	job.Target = x.info
	var text strings.Builder
	if err := template.Must(template.New("job").Funcs(template.FuncMap{"quote": strconv.Quote}).Parse(sparkProgram)).Execute(&text, job); err != nil {
		return nil, err
	}
	return &spec.Table{Text: text.String()}, nil
}

// sparkJob looks whether the library finds the backup, and reads it right.
func (x *backupSplit) sparkJob(ctx context.Context, env commands.Env, call *spec.Call) (*sparkJob, error) {
	b, t := x.reader.backup, x.reader.table
	j := &sparkJob{
		Table: t.Name, BackupID: b.ID, Day: time.UnixMilli(b.ID).UTC().Format(time.RFC3339), Tag: 8 * x.version,
		Epoch: wire.Epoch, TargetCluster: x.cluster, Library: sparkLibrary, Commit: sparkCommit,
	}
	if err := x.checkPolicy(ctx); err != nil {
		return nil, err
	}
	from, fromRoot, err := hdfsOf(env, x.reader.store.Name())
	if err != nil {
		return nil, err
	}
	to, toRoot, err := hdfsOf(env, x.into.Name())
	if err != nil {
		return nil, err
	}
	j.From, j.To = from, to
	folder := path.Dir(path.Join("/", fromRoot, b.Dir))
	j.Policy, j.Cluster = path.Base(folder), strings.TrimPrefix(path.Dir(folder), "/")
	out := path.Join("/", toRoot, x.out.Path) // ROOT/CLUSTER/TABLE
	j.Root = strings.TrimSuffix(path.Dir(path.Dir(out)), "/")
	for _, p := range []string{folder, t.Name, out} {
		if !inURL.MatchString(p) {
			return nil, noJob("the library makes URLs of paths as they are, and %s has a character that is none of a URL", quote(p))
		}
	}
	if j.Cluster == "" {
		return nil, noJob("the library looks for CLUSTER/POLICY/%d, and the backup is at %s", b.ID, path.Join(folder, path.Base(b.Dir)))
	}
	if j.Filters, err = sparkFilters(call); err != nil {
		return nil, err
	}
	for _, p := range t.Partitions {
		if err := x.checkReadable(ctx, p); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// checkPolicy looks at what the library goes by: the table in the backup_info of a policy, and names that end in times.
func (x *backupSplit) checkPolicy(ctx context.Context) error {
	b, t := x.reader.backup, x.reader.table
	switch {
	case b.Info == nil:
		return noJob("the library finds tables by backup_info, which %s lacks", x.in)
	case len(b.Info.AppNames) == 0:
		return noJob("%s is a one-time backup, and the library reads only those of policies: it looks for the app_names of backup_info", x.in)
	case len(path.Base(b.Dir)) != 13:
		return noJob("the library takes the last 13 digits of a backup's id for the milliseconds of its start, and %d has more or less", b.ID)
	}
	for id, name := range b.Info.AppNames {
		if name == t.Name && id != strconv.Itoa(int(t.ID)) {
			return noJob("the library chooses tables by name, and the backup has two called %s", t.Name)
		}
	}
	for e, err := range x.reader.store.List(ctx, path.Dir(b.Dir)) {
		if err != nil {
			return err
		}
		if !e.Dir || len(e.Name) != 13 || strings.Trim(e.Name, "0123456789") != "" {
			return noJob("the library takes every name beside the backup for a time, and there is %s", at(x.reader.store.Name(), path.Join(path.Dir(b.Dir), e.Name)))
		}
	}
	return nil
}

// checkReadable looks at what the library takes for granted about a partition: how it stores values, and that the first
// entry, which it leaves out, is the one under the empty key.
func (x *backupSplit) checkReadable(ctx context.Context, p *coldbackup.Partition) error {
	db, err := p.Open(ctx, x.reader.store)
	if err != nil {
		return err
	}
	version, err := db.DataVersion(ctx)
	if err != nil {
		return err
	}
	if version != x.version {
		return noJob("it copies values as they are, and those of partition %d have data version %d, not %d", p.Index, version, x.version)
	}
	_, found, err := db.Get(ctx, rocksdb.DefaultFamily, nil)
	if err == nil && !found {
		err = noJob("the library leaves out the first row of each partition, where servers have one under the empty key, and partition %d has no such row", p.Index)
	}
	return err
}

// hdfsURL is how the library is told an HDFS: without its port in the URL, and with one beside it unless the URL alone
// says it.
type hdfsURL struct{ URL, Port string }

// inURL is what the library leaves as it is in a URL, and in the pattern that it makes of one.
var (
	inURL     = regexp.MustCompile(`^[A-Za-z0-9._/=~-]*$`)
	plainHost = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// hdfsOf reads where a block service is, and its root.
func hdfsOf(env commands.Env, name string) (hdfsURL, string, error) {
	b, found := commands.BlockNamed(env, name)
	switch {
	case !found || b.Type != storage.HDFSType:
		return hdfsURL{}, "", noJob("%s is no %s, and the library has nothing for others", name, storage.HDFSType)
	case b.Sandbox:
		return hdfsURL{}, "", noJob("%s is a folder of the sandbox, where Spark sees no HDFS", name)
	}
	args := strings.Fields(b.Where)
	if len(args) == 0 {
		return hdfsURL{}, "", noJob("%s has no args", name)
	}
	const defaultPort = "8020" // of Hadoop, where a URL has none
	host, port, ported := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(args[0], "hdfs://"), "/"), ":")
	switch {
	case !plainHost.MatchString(host):
		return hdfsURL{}, "", noJob("the library takes one name node or name service, by its name, and %s is %s", name, args[0])
	case ported && port != defaultPort:
		return hdfsURL{}, "", noJob("the library finds a name node at port %s only, and %s is %s", defaultPort, name, args[0])
	}
	return hdfsURL{"hdfs://" + host, port}, strings.Join(args[1:], " "), nil
}

// sparkFilter is a condition on a row.
type sparkFilter struct{ Of, Test, Bytes string }

func sparkFilters(call *spec.Call) (all []sparkFilter, err error) {
	o, err := backupFilters(call)
	tests := map[string]string{"anywhere": "containsSlice", "prefix": "startsWith", "postfix": "endsWith", "exact": "sameElements"}
	for _, f := range []struct {
		of string
		driver.Filter
	}{{"row.hashKey", o.HashKey}, {"row.sortKey", o.SortKey}, {"row.value.drop(tag)", o.Value}} {
		if f.Type == "" {
			continue
		}
		signed := make([]string, len(f.Pattern))
		for i, b := range f.Pattern {
			signed[i] = fmt.Sprint(int8(b))
		}
		all = append(all, sparkFilter{f.of, tests[f.Type], strings.Join(signed, ", ")})
	}
	return all, err
}
