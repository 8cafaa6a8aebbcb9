package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// statColumn is a column of app_stat and what it is made of.
type statColumn struct {
	name    string
	counter string  // whose sum it is; "" for a ratio
	per     float64 // what the sum is divided by
	of, by  []string
	usage   bool
}

const mebi = 1 << 20

var statColumns = []statColumn{
	{name: "get", counter: "get_qps", per: 1},
	{name: "mget", counter: "multi_get_qps", per: 1},
	{name: "bget", counter: "batch_get_qps", per: 1},
	{name: "put", counter: "put_qps", per: 1},
	{name: "mput", counter: "multi_put_qps", per: 1},
	{name: "del", counter: "remove_qps", per: 1},
	{name: "mdel", counter: "multi_remove_qps", per: 1},
	{name: "incr", counter: "incr_qps", per: 1},
	{name: "cas", counter: "check_and_set_qps", per: 1},
	{name: "cam", counter: "check_and_mutate_qps", per: 1},
	{name: "scan", counter: "scan_qps", per: 1},
	{name: "rcu", counter: "recent.read.cu", per: 1},
	{name: "wcu", counter: "recent.write.cu", per: 1},
	{name: "expire", counter: "recent.expire.count", per: 1},
	{name: "filter", counter: "recent.filter.count", per: 1},
	{name: "abnormal", counter: "recent.abnormal.count", per: 1},
	{name: "delay", counter: "recent.write.throttling.delay.count", per: 1},
	{name: "reject", counter: "recent.write.throttling.reject.count", per: 1},
	{name: "file_mb", counter: "disk.storage.sst(MB)", per: 1, usage: true},
	{name: "file_num", counter: "disk.storage.sst.count", per: 1, usage: true},
	{name: "mem_tbl_mb", counter: "rdb.memtable.memory_usage", per: mebi, usage: true},
	{name: "mem_idx_mb", counter: "rdb.index_and_filter_blocks.memory_usage", per: mebi, usage: true},
	{name: "hit_rate", of: []string{"rdb.block_cache.hit_count"}, by: []string{"rdb.block_cache.total_count"}, usage: true},
	{name: "seek_n_rate", of: []string{"rdb.bf_seek_negatives"}, by: []string{"rdb.bf_seek_total"}, usage: true},
	{
		name: "point_n_rate", of: []string{"rdb.bf_point_negatives"},
		by: []string{"rdb.bf_point_negatives", "rdb.bf_point_positive_total"}, usage: true,
	},
	{
		name: "point_fp_rate", of: []string{"rdb.bf_point_positive_total", "-rdb.bf_point_positive_true"},
		by: []string{"rdb.bf_point_positive_total", "-rdb.bf_point_positive_true", "rdb.bf_point_negatives"}, usage: true,
	},
	{name: "keys", counter: "rdb.estimate_num_keys", per: 1, usage: true},
}

// AppStat shows what tables are doing.
func AppStat(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "app_stat",
		Systems: systems,
		Topic:   "tables",
		Summary: "show rates, throttling, files and memory of every table, or of one table's partitions",
		Long: "Reads what the replica servers count and sums it over primaries: calls per second, capacity units and " +
			"throttled writes, files and memory. A column is empty where the servers count no such thing. Perf counters (up to 2.5) " +
			"tell rates, and what came since somebody last looked; with -i they are read twice, so that all of it is of the time in " +
			"between. Later servers only add up at /metrics, so they are always read twice.",
		Flags: []spec.Flag{
			{Name: "app-name", Short: "a", Kind: spec.ArgTable, Help: "one table, a row for each partition"},
			{Name: "only-qps", Short: "q", Kind: spec.ArgBool, Help: "only rates and what was throttled"},
			{Name: "only-usage", Short: "u", Kind: spec.ArgBool, Help: "only files, memory and how well they serve"},
			sampleFlag(),
		},
		Examples: []spec.Example{
			{Line: "app_stat -q", Says: "who is busy"},
			{Line: "app_stat -a TableA -u", Says: "how big its partitions are"},
		},
		SeeAlso: []string{"app_disk", "metrics", "server_stat", "nodes"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return appStat(ctx, env, call)
		},
	}
}

func appStat(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	if call.Bool("only-qps") && call.Bool("only-usage") {
		return nil, spec.Errorf(spec.Usage, "-q and -u exclude each other")
	}
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, id, err := statApps(ctx, c, call.String("app-name"))
	if err != nil {
		return nil, err
	}
	at, err := primaries(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	columns := shownStats(call)
	want := driver.Wanted{Replica: statFigures(columns), App: id}
	byNode, err := nodeSamples(ctx, c, want, call.Duration("sample-interval"))
	if err != nil {
		return nil, err
	}
	sums := map[partitionID]tally{}
	for node, sample := range byNode {
		for replica, values := range sample.Replicas {
			if pid := (partitionID{replica.App, replica.Partition}); at[pid] == node {
				sums[pid] = tally(values)
			}
		}
	}
	if id != 0 {
		return partitionStats(columns, apps[0], sums), nil
	}
	return tableStats(columns, apps, sums), nil
}

// statApps are the tables to show, and the id of the only one.
func statApps(ctx context.Context, c admin, table string) ([]driver.App, int32, error) {
	if table == "" {
		apps, err := c.Apps(ctx, "available")
		return apps, 0, err
	}
	app, exists, err := findApp(ctx, c, table)
	if err == nil && !exists {
		err = spec.Errorf(spec.NotFound, "there is no table %s", quote(table))
	}
	return []driver.App{app}, app.ID, err
}

func shownStats(call *spec.Call) []statColumn {
	return slices.DeleteFunc(slices.Clone(statColumns), func(c statColumn) bool {
		return c.usage && call.Bool("only-qps") || !c.usage && call.Bool("only-usage")
	})
}

// statFigures are what columns need, and no others: reading some of them begins them anew.
func statFigures(columns []statColumn) []string {
	var names []string
	for _, c := range columns {
		for _, name := range slices.Concat([]string{c.counter}, c.of, c.by) {
			if name = strings.TrimPrefix(name, "-"); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func statCells(columns []statColumn, sums tally) []any {
	var cells []any
	for _, c := range columns {
		if c.counter != "" {
			cells = append(cells, sums.sum(c.counter, c.per))
		} else {
			cells = append(cells, sums.ratio(c.of, c.by))
		}
	}
	return cells
}

func statTable(first []spec.Column, columns []statColumn, rows []spec.Row) *spec.Table {
	for _, c := range columns {
		first = append(first, spec.Column{Name: c.name, Kind: spec.Float})
	}
	return &spec.Table{Columns: first, Rows: spec.RowsOf(rows...)}
}

func tableStats(columns []statColumn, apps []driver.App, sums map[partitionID]tally) *spec.Table {
	var rows []spec.Row
	total, partitions := tally{}, 0
	for _, app := range apps {
		sum := tally{}
		for i := range app.Partitions {
			sum.add(sums[partitionID{app.ID, i}])
		}
		total.add(sum)
		partitions += app.Partitions
		rows = append(rows, append(spec.Row{app.Name, int64(app.ID), int64(app.Partitions)}, statCells(columns, sum)...))
	}
	rows = append(rows, append(spec.Row{fmt.Sprintf("(total:%d)", len(apps)), nil, int64(partitions)}, statCells(columns, total)...))
	first := []spec.Column{{Name: "app_name"}, {Name: "app_id", Kind: spec.Int}, {Name: "pcount", Kind: spec.Int}}
	return statTable(first, columns, rows)
}

func partitionStats(columns []statColumn, app driver.App, sums map[partitionID]tally) *spec.Table {
	var rows []spec.Row
	total := tally{}
	for i := range app.Partitions {
		sum := sums[partitionID{app.ID, i}]
		total.add(sum)
		rows = append(rows, append(spec.Row{fmt.Sprint(i)}, statCells(columns, sum)...))
	}
	rows = append(rows, append(spec.Row{fmt.Sprintf("(total:%d)", app.Partitions)}, statCells(columns, total)...))
	return statTable(spec.Columns("pidx"), columns, rows)
}
