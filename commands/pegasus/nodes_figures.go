package pegasus

import (
	"context"
	"slices"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// nodeColumn is a column of `nodes` that servers have to be asked for.
type nodeColumn struct {
	name    string
	server  string // the figure of the server it is, "" for a sum over its replicas
	replica string
	per     float64 // what the figure is divided by
	qps     bool    // shown by -q, else by -u
	later   bool    // servers have it after 2.5 only
	float   bool
}

const nanosPerMilli = 1e6

var nodeColumns = []nodeColumn{
	{name: "memused_res_mb", server: driver.FigureResident, per: 1},
	{name: "block_cache_mb", server: driver.FigureBlockCache, per: mebi, float: true},
	{name: "wbm_total_mb", server: driver.FigureWriteBuffers, per: mebi, later: true, float: true},
	{name: "wbm_mutable_mb", server: driver.FigureMutable, per: mebi, later: true, float: true},
	{name: "mem_tbl_mb", replica: "rdb.memtable.memory_usage", per: mebi, float: true},
	{name: "mem_idx_mb", replica: "rdb.index_and_filter_blocks.memory_usage", per: mebi, float: true},
	{name: "disk_avl_total_ratio", server: driver.FigureDiskTotal, per: 1},
	{name: "disk_avl_min_ratio", server: driver.FigureDiskLeast, per: 1},
	{name: "get_qps", replica: "get_qps", per: 1, qps: true, float: true},
	{name: "mget_qps", replica: "multi_get_qps", per: 1, qps: true, float: true},
	{name: "bget_qps", replica: "batch_get_qps", per: 1, qps: true, float: true},
	{name: "read_cu", replica: "recent.read.cu", per: 1, qps: true},
	{name: "put_qps", replica: "put_qps", per: 1, qps: true, float: true},
	{name: "mput_qps", replica: "multi_put_qps", per: 1, qps: true, float: true},
	{name: "write_cu", replica: "recent.write.cu", per: 1, qps: true},
	{name: "get_p99_ms", server: driver.FigureGetP99, per: nanosPerMilli, qps: true, float: true},
	{name: "mget_p99_ms", server: driver.FigureMultiGetP99, per: nanosPerMilli, qps: true, float: true},
	{name: "bget_p99_ms", server: driver.FigureBatchGetP99, per: nanosPerMilli, qps: true, float: true},
	{name: "put_p99_ms", server: driver.FigurePutP99, per: nanosPerMilli, qps: true, float: true},
	{name: "mput_p99_ms", server: driver.FigureMultiPutP99, per: nanosPerMilli, qps: true, float: true},
}

// nodeFigures adds the columns that -u and -q ask for to a table of nodes. What is silent of the nodes is an error to be
// told after the rows.
func nodeFigures(
	ctx context.Context, env commands.Env, call *spec.Call, nodes []cluster.Node, table *spec.Table, rows []spec.Row,
) (silent, err error) {
	columns := slices.DeleteFunc(slices.Clone(nodeColumns), func(c nodeColumn) bool {
		return c.qps && !call.Bool("qps") || !c.qps && !call.Bool("resource-usage")
	})
	if len(columns) == 0 {
		return nil, nil
	}
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	var want driver.Wanted
	for _, column := range columns {
		if column.server != "" {
			want.Server = append(want.Server, column.server)
		} else {
			want.Replica = append(want.Replica, column.replica)
		}
	}
	samples, errs, err := sampleNodes(ctx, c, nodes, want, call.Duration("sample-interval"))
	if err != nil {
		return nil, err
	}
	for _, column := range columns {
		cells, some := column.cells(samples)
		if column.later && !some {
			continue
		}
		kind := spec.Int
		if column.float {
			kind = spec.Float
		}
		table.Columns = append(table.Columns, spec.Column{Name: column.name, Kind: kind})
		for i := range rows {
			rows[i] = append(rows[i], cells[i])
		}
	}
	answers := make([]answer, len(nodes))
	for i, n := range nodes {
		answers[i] = answer{asked: n.Alive, err: errs[i]}
	}
	return answersError(answers), nil
}

// cells are one for each node, nil where it is not known; some says whether any is.
func (c nodeColumn) cells(samples []*driver.Sample) (cells []any, some bool) {
	cells = make([]any, len(samples))
	for i, s := range samples {
		if s == nil {
			continue
		}
		value, known := s.Server[c.server]
		if c.server == "" {
			value, known = 0, len(s.Replicas) == 0 // nothing, of a server without replicas
			for _, values := range s.Replicas {
				of, has := values[c.replica]
				value, known = value+of, known || has
			}
		}
		switch {
		case !known:
		case c.float:
			cells[i], some = rounded(value/c.per, 3), true
		default:
			cells[i], some = int64(value/c.per), true
		}
	}
	return cells, some
}
