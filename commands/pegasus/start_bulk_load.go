package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// bulkLoader is what bulk loads ask of a cluster.
type bulkLoader interface {
	client
	counting
	Split(ctx context.Context, table string) (*driver.Split, error)
	StartBulkLoad(ctx context.Context, n driver.NewBulkLoad) error
	ControlBulkLoad(ctx context.Context, table, how string) error
	BulkLoad(ctx context.Context, table string) (driver.BulkLoad, error)
	ClearBulkLoad(ctx context.Context, table string) error
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
}

var _ bulkLoader = (*driver.Driver)(nil)

// loadTable is how the old shell names the table of these words.
var loadTable = spec.Flag{Name: "app-name", Short: "a", Kind: spec.ArgTable, Help: "the table; the one in use when left out"}

// The settings that matter to a bulk load.
const (
	scenarioEnv = "rocksdb.usage_scenario"
	behindEnv   = "rocksdb.allow_ingest_behind"
	loading     = "bulk_load" // the scenario meanwhile
)

// StartBulkLoad loads files into a table.
func StartBulkLoad(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "start_bulk_load",
		Systems: systems,
		Topic:   "storage",
		Summary: "load files of rows, as split_backup makes them, into a table, and follow it to its end",
		Long: "Has the servers load what is below ROOT/CLUSTER/TABLE of a block service of their own configuration: every replica downloads the files of its partition, " +
			"then each partition ingests them, and takes no writes while it does. " +
			"The input is looked at first, as this shell's own config.ini has the service: the lists, and of every file its size, whether it can be ingested, and whether its first and last key " +
			"belong into its partition; --full-check reads all of it, compares every MD5 and looks at every key. What servers would fail on, or load wrongly without a word, is refused, and the file named. " +
			"Rows that the table has are replaced by loaded ones of the same keys; with --ingest_behind they win, and so do deletions: for a table made with rocksdb.allow_ingest_behind=true that is being written to. " +
			"Meanwhile rocksdb.usage_scenario is held at bulk_load, the meta level at steady, where servers put it and would leave it, and throttling of writes, which can hang " +
			"the ingestion, is switched off; in the end all are put back, unless --keep-settings. " +
			"It is a job: after Ctrl-C or a crash the servers go on, and job resume follows them, never starting a second one. Resumed after the servers gave up it begins anew. " +
			"With --no-wait it only starts, and what is held stays so until holds restore. " +
			"Progress is derived from what replicas tell.",
		Flags: []spec.Flag{
			loadTable,
			{Name: "cluster-name", Short: "c", Kind: spec.ArgText, Help: "the folder of the cluster below the root; the cluster's own name when left out"},
			{Name: "file-provider-type", Short: "p", Kind: spec.ArgService, Required: true, Help: "the block service, as the servers' configuration calls it"},
			{Name: "root-path", Short: "r", Kind: spec.ArgText, Required: true, Help: "the root of the input, as split_backup was told"},
			{Name: "ingest-behind", Short: "i", Kind: spec.ArgBool, Help: "rows and deletions that the table has win over loaded rows"},
			{Name: "max-rate", Kind: spec.ArgRate, Help: "hold the servers' own limit of what they send at this meanwhile, for each disk from 2.4 on, for each server before; +, - and job rate change it while it runs"},
			{Name: "full-check", Kind: spec.ArgBool, Help: "first read every file: compare its MD5, and look at every key"},
			{Name: "keep-settings", Kind: spec.ArgBool, Help: "hold no setting meanwhile"},
		},
		Examples: []spec.Example{
			{
				Line: "start_bulk_load -a TableB -c ClusterB -p hdfs_zjy -r /user/pegasus/split", Says: "followed to its end",
				Setup: []string{
					"fs put backup disk:/backup", "create TableB -p 8",
					"split_backup disk:/backup hdfs_zjy:/user/pegasus/split --table TableB --partitions 8 --cluster ClusterB --app-id 3", "ls",
				},
			},
			{
				Line: "start_bulk_load -p disk -r /split --full-check --plan", Says: "what would be done, and what is in its way",
				Setup: []string{"fs put backup disk:/backup", "create TableB -p 4", "split_backup disk:/backup disk:/split --table TableB --partitions 4", "use TableB"},
			},
		},
		SeeAlso: []string{"query_bulk_load_status", "pause_bulk_load", "cancel_bulk_load", "split_backup", "count_data", "diff_data", "manual_compact", "jobs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planBulkLoad(ctx, env, call)
		},
	}
}

// openBulk finds the table that -a names, or the one in use.
func openBulk(ctx context.Context, env commands.Env, call *spec.Call) (bulkLoader, driver.App, error) {
	table, err := commands.Table(call, call.String(loadTable.Name))
	if err == nil {
		err = checkTable(table)
	}
	if err != nil {
		return nil, driver.App{}, err
	}
	c, err := commands.Driver[bulkLoader](ctx, env, call)
	if err != nil {
		return nil, driver.App{}, err
	}
	app, err := mustFind(ctx, c, call.Cluster, table)
	return c, app, err
}

// bulkLoad is a bulk load that is planned.
type bulkLoad struct {
	c       bulkLoader
	cluster string
	app     driver.App
	load    driver.NewBulkLoad
	from    storage.Location // the folder of bulk_load_info
	store   *blockStore      // nil when nothing can be seen of it from here
	input   *coldbackup.Input
	rate    spec.Rate
	limit   *sendRate // nil when none is held
	keep    bool
	noWait  bool
	wait    time.Duration // 0: as long as it takes
	resumed bool
	plan    *spec.Plan
}

// checksAtOnce is how many files a full check reads beside each other.
const checksAtOnce = 8

func planBulkLoad(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	x, err := readBulkLoad(call)
	if err != nil {
		return nil, err
	}
	if x.c, x.app, err = openBulk(ctx, env, call); err != nil {
		return nil, err
	}
	x.load.Table = x.app.Name
	x.from = storage.Location{Service: x.load.Provider, Path: strings.Trim(coldbackup.LoadDir(x.load.Root, x.load.Cluster, x.app.Name), "/")}
	x.plan = &spec.Plan{Title: fmt.Sprintf("load %s into %s of %s", x.from, x.app.Name, x.cluster), Name: x.app.Name}
	if err := x.openInput(ctx, env); err != nil {
		return nil, err
	}
	class := spec.Alter // what it puts at stake was agreed to when the job began
	if x.resumed {
		x.note("it goes on from where the servers are")
	} else if class, err = x.look(ctx); err != nil {
		return nil, err
	}
	if call.Bool("full-check") && x.store != nil {
		x.plan.Steps = append(x.plan.Steps, x.checkStep())
	}
	x.plan.Steps = append(x.plan.Steps, x.step(class))
	if x.keep {
		return x.plan, nil
	}
	if x.plan.Holds, err = x.holds(ctx); err != nil {
		return nil, err
	}
	return x.plan, x.holdRate(ctx, env, call)
}

// readBulkLoad reads what needs no cluster.
func readBulkLoad(call *spec.Call) (*bulkLoad, error) {
	x := &bulkLoad{
		rate: call.Rate("max-rate"), cluster: call.Cluster, keep: call.Bool("keep-settings"), noWait: call.Wait < 0, wait: call.Wait, resumed: call.Resumed,
		load: driver.NewBulkLoad{
			Cluster: cmp.Or(call.String("cluster-name"), call.Cluster), Provider: call.String("file-provider-type"),
			Root: call.String("root-path"), Behind: call.Bool("ingest-behind"),
		},
	}
	if name := x.load.Cluster; strings.ContainsAny(name, "/\\\x00") || name == "." || name == ".." {
		return nil, spec.Errorf(spec.Usage, "%s is no name of a folder", shown(name)).WithHint("-c is the folder below -r that holds the tables: ROOT/CLUSTER/TABLE")
	}
	if x.load.Provider == "" || x.load.Root == "" {
		return nil, spec.Errorf(spec.Usage, "-p and -r say where the input is")
	}
	_, err := storage.ParseLocation(x.load.Provider + ":" + x.load.Root)
	return x, err
}

func (x *bulkLoad) note(format string, args ...any) {
	x.plan.Notes = append(x.plan.Notes, fmt.Sprintf(format, args...))
}

func (x *bulkLoad) block(object, format string, args ...any) {
	x.plan.Blockers = append(x.plan.Blockers, spec.Blocker{Object: object, Why: fmt.Sprintf(format, args...)})
}

// text says what is done.
func (x *bulkLoad) text() string {
	behind := ""
	if x.load.Behind {
		behind = ", behind the rows that it has"
	}
	return fmt.Sprintf("load %s into %s%s", x.what(), x.app.Name, behind)
}

// what is to be loaded, as far as it is known.
func (x *bulkLoad) what() string {
	if x.input == nil {
		return x.from.String()
	}
	files, size, rows := x.input.Totals()
	return fmt.Sprintf("%s, %s, %d bytes", commands.Plural(int(rows), "row"), commands.Plural(files, "file"), size)
}

func (x *bulkLoad) identity() map[string]string {
	return map[string]string{
		"table": x.cluster + "/" + x.app.Name + ", " + tableIdentity(x.app), "partitions": fmt.Sprint(x.app.Partitions), "input": x.from.String(),
		"ingest_behind": fmt.Sprint(x.load.Behind),
	}
}

func (x *bulkLoad) step(class spec.Class) spec.Step {
	st := spec.Step{
		Text: x.text(), Objects: []string{x.app.Name}, Class: class,
		Job: &spec.Job{Name: "load", Identity: x.identity(), Run: x.run},
	}
	if x.noWait {
		st.Text = "start to " + st.Text
		st.Undo = "cancel_bulk_load -a " + x.app.Name
	}
	return st
}

// holds are what is at another value meanwhile.
func (x *bulkLoad) holds(ctx context.Context) ([]spec.Hold, error) {
	level, err := x.c.MetaLevel(ctx)
	if err != nil {
		return nil, err
	}
	var holds []spec.Hold
	if x.app.Envs[scenarioEnv] != loading || x.resumed {
		holds = append(holds, x.holdEnv(scenarioEnv, loading, spec.Alter))
	} else {
		x.note("%s is %s already, and stays so: del_app_envs --table %s %s when nothing more is to be loaded", scenarioEnv, loading, x.app.Name, scenarioEnv)
	}
	if level != levelSteady || x.resumed {
		hold := holdLevel(x.c, "meta level", levelSteady, x.noWait)
		if cures(level) || x.resumed { // servers stop to balance, and go on later
			hold.Class = spec.Alter
		}
		holds = append(holds, hold)
	}
	for _, name := range []string{"replica.write_throttling", "replica.write_throttling_by_size"} {
		if x.resumed { // so that what a killed shell has left is put back
			holds = append(holds, x.holdEnv(name, unset, spec.Alter))
		} else if x.app.Envs[name] != "" {
			holds = append(holds, x.holdEnv(name, unset, spec.Risky))
		}
	}
	return holds, nil
}

// holdRate has the plan hold what servers send, where that was asked for.
func (x *bulkLoad) holdRate(ctx context.Context, env commands.Env, call *spec.Call) (err error) {
	if x.rate.Bytes <= 0 {
		return nil
	}
	before := len(x.plan.Holds)
	if x.limit, err = planSendRate(ctx, env, call, x.c, x.plan); err != nil {
		return err
	}
	load := &x.plan.Steps[len(x.plan.Steps)-1]
	load.Job = x.limit.job(*load.Job)
	for i := before; i < len(x.plan.Holds); i++ {
		x.plan.Holds[i].Keep = x.noWait
	}
	return nil
}

// unset stands for a setting that is not there; no setting that is held here can have that value.
const unset = "unset"

// holdEnv keeps a setting of the table at a value.
func (x *bulkLoad) holdEnv(name, during string, class spec.Class) spec.Hold {
	table := x.app.Name
	return spec.Hold{
		Setting: name + " of " + table, During: during, Class: class, Keep: x.noWait,
		Read: func(ctx context.Context) (string, error) {
			now, err := x.c.GetTableSettings(ctx, table)
			return cmp.Or(now[name], unset), err
		},
		Write: func(ctx context.Context, value string) error {
			if value == unset {
				return x.c.DelEnvs(ctx, table, []string{name})
			}
			return x.c.SetEnvs(ctx, table, []string{name}, []string{value})
		},
		Restore: func(was string) string {
			if was == unset {
				return fmt.Sprintf("del_app_envs --table %s %s", table, name)
			}
			return fmt.Sprintf("set_app_envs --table %s %s %s", table, name, was)
		},
	}
}

// openInput opens the service by the name that the servers have for it. What cannot be seen from here is said.
func (x *bulkLoad) openInput(ctx context.Context, env commands.Env) error {
	name := x.load.Provider
	v, err := viewService(ctx, env, x.c, name)
	if err != nil {
		return err
	}
	switch {
	case v.block == nil:
		x.note("this shell has no block service %s: what is there was not looked at, and servers find out what is wrong with it only while they load; [block_service.%s] in config.ini makes it known", shown(name), name)
	case v.block.Type == storage.S3Type:
		return spec.Errorf(spec.Unable, "%s is an s3_service, which no server of Pegasus has", name).
			WithHint("fs copy -r what is there to an hdfs_service or a local_service of the servers")
	case v.far != "":
		x.note("%s is a local_service: every server, %s for one, reads its own disk, and not %s of this machine; the input must be in the same place on each of them, and was not looked at", name, v.far, cmp.Or(v.block.Where, "the sandbox"))
	case v.away != nil && x.resumed: // the servers have their own way to it
		x.note("the input cannot be looked at: %v", v.away)
	case v.away != nil:
		x.block(name, "the input cannot be looked at: %v", v.away)
	default:
		x.store = v.store
	}
	return nil
}
