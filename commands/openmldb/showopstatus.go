package openmldb

import (
	"context"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowOpStatus lists the nameserver's operations.
func ShowOpStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "showopstatus",
		Systems: systems,
		Topic:   "failover",
		Summary: "list what the nameserver is doing and has done",
		Long: "Operations of every database in the order they were made, with the task each is at. The nameserver forgets those that " +
			"are done when it loses the lead, and keeps those that failed.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "only this table's: [db/]name"},
			{Name: "pid", Kind: spec.ArgInt, Optional: true, Help: "only this partition's"},
		},
		Examples: []spec.Example{
			{Line: "showopstatus", Says: "every operation the nameserver remembers"},
			{Line: "showopstatus --filter 'status != \"kDone\"'", Says: "those that are under way or failed"},
			{Line: "showopstatus flow 0", Says: "those of one partition"},
		},
		SeeAlso: []string{"cancelop", "deleteop", "offlineendpoint", "recoverendpoint"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			filter := driver.OpFilter{Partition: -1}
			if call.Arg(0) != "" {
				if filter.Table, err = c.Find(ctx, call.Arg(0), call.Table); err != nil {
					return nil, err
				}
			}
			if call.Arg(1) != "" {
				filter.Partition = int(call.ArgInt(1))
			}
			ops, err := c.Ops(ctx, filter)
			if err != nil {
				return nil, err
			}
			return opTable(ops, time.Now()), nil
		},
	}
}

func opTable(ops []driver.Op, now time.Time) *spec.Table {
	rows := make([]spec.Row, len(ops))
	for i, op := range ops {
		var pid any
		if op.Partition >= 0 {
			pid = op.Partition
		}
		rows[i] = spec.Row{
			op.ID, op.Type, commands.Word(op.Table.Name), pid, op.Status, when(op.Start), took(op, now), when(op.End), commands.Word(op.Task),
			op.ReplicaCluster, commands.Word(op.Table.DB),
		}
	}
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "op_id", Kind: spec.Int},
			{Name: "op_type"},
			{Name: "name"},
			{Name: "pid", Kind: spec.Int},
			{Name: "status"},
			{Name: "start_time", Kind: spec.Time},
			{Name: "execute_time", Kind: spec.Duration},
			{Name: "end_time", Kind: spec.Time},
			{Name: "cur_task"},
			{Name: "for_replica_cluster", Kind: spec.Bool},
			{Name: "db"},
		},
		Rows: spec.RowsOf(rows...),
	}
}

// took is how long an operation has been running, or ran, in the whole seconds that the nameserver tells.
func took(op driver.Op, now time.Time) any {
	switch {
	case op.Start.IsZero():
		return nil
	case op.End.IsZero():
		return max(now.Sub(op.Start), 0).Truncate(time.Second)
	}
	return op.End.Sub(op.Start)
}
