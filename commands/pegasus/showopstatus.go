package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowOpStatus lists what the cluster is doing.
func ShowOpStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "showopstatus",
		Systems: systems,
		Topic:   "failover",
		Summary: "list what the cluster is doing: learning, missing replicas, bulk loads, duplications",
		Long: "Pegasus keeps no list of operations: what is under way is gathered from the meta server and from every live replica " +
			"server, a call each. A replica being copied is kDoing; one that is missing and not being copied yet is kInited. " +
			"What the store does not tell, such as when a copy began, is a dash.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "only this table"}},
		Examples: []spec.Example{
			{Line: "showopstatus", Says: "nothing, on a cluster at rest"},
			{Line: "wait --within 30s --until 'count == 0' showopstatus", Says: "until the cluster is at rest"},
		},
		SeeAlso: []string{"doctor", "recoverendpoint"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return showOps(ctx, env, call)
		},
	}
}

// operation is a row of the seed's table.
type operation struct {
	id, kind, table string
	partition       any
	status, task    string
}

func showOps(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	all, err := allPartitions(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	learners, silent, err := c.Learners(ctx)
	if err != nil {
		return nil, err
	}
	ops := gatherOps(apps, all, learners)
	var rows []spec.Row
	for _, o := range ops {
		if call.Arg(0) == "" || call.Arg(0) == o.table {
			rows = append(rows, spec.Row{o.id, o.kind, o.table, o.partition, o.status, nil, nil, nil, word(o.task)})
		}
	}
	columns := spec.Columns("op_id", "op_type", "name", "pid", "status", "start_time", "execute_time", "end_time", "cur_task")
	columns[3].Kind, columns[5].Kind, columns[6].Kind, columns[7].Kind = spec.Int, spec.Time, spec.Duration, spec.Time
	t := &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}
	if silent > 0 {
		t.Notes = func() []string {
			return []string{fmt.Sprintf("%d live nodes did not answer: what they learn is not listed", silent)}
		}
	}
	return t, nil
}

// gatherOps puts what was seen into the seed's words, table by table.
func gatherOps(apps []driver.App, all []*driver.AppPartitions, learners []driver.Learner) []operation {
	var ops []operation
	for i, app := range apps {
		learning := map[int]int{}
		for _, l := range learners {
			if l.AppID != app.ID {
				continue
			}
			learning[l.Partition]++
			ops = append(ops, operation{
				id: fmt.Sprintf("learn-%d.%d-%s", l.AppID, l.Partition, l.Endpoint), kind: "learn", table: app.Name,
				partition: l.Partition, status: "kDoing", task: "copy to " + l.Endpoint,
			})
		}
		if all[i] != nil {
			ops = append(ops, missingOps(app, all[i], learning)...)
		}
		if app.BulkLoading {
			ops = append(ops, operation{id: fmt.Sprintf("bulk_load-%d", app.ID), kind: "bulk_load", table: app.Name, status: "kDoing"})
		}
		if app.Duplicating {
			ops = append(ops, operation{id: fmt.Sprintf("duplication-%d", app.ID), kind: "duplication", table: app.Name, status: "kDoing"})
		}
	}
	return ops
}

// missingOps are replicas that are wanted and nobody copies yet.
func missingOps(app driver.App, a *driver.AppPartitions, learning map[int]int) []operation {
	var ops []operation
	for _, p := range a.Partitions {
		lack := p.MaxReplicas - replicasOf(p) - learning[p.Index]
		if lack <= 0 {
			continue
		}
		task := fmt.Sprintf("wait for %s", plural(lack, "replica"))
		if p.Primary == "" {
			task = "wait for a primary"
		}
		ops = append(ops, operation{
			id: fmt.Sprintf("cure-%d.%d", app.ID, p.Index), kind: "cure", table: app.Name, partition: p.Index, status: "kInited", task: task,
		})
	}
	return ops
}
