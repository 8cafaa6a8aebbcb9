package pegasus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// DDDDiagnose lists partitions that lost all their replicas.
func DDDDiagnose(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "ddd_diagnose",
		Systems: systems,
		Topic:   "partitions",
		Summary: "list the partitions that lost all their replicas, and what is left of them",
		Long: "A partition is dead when every node that had it is down or was dropped, and the meta server is not sure which of " +
			"those that are back has every acknowledged row. Each row is what one node has left; start the node that left last, or, " +
			"when it is lost for good, the command in the last column makes the best of the living the primary, and rows it never got are lost.",
		Args: []spec.Arg{{Name: "app_id[.partition]", Optional: true, Help: "only this table, or this partition"}},
		Examples: []spec.Example{
			{Line: "ddd_diagnose", Says: "every dead partition"},
			{Line: "ddd_diagnose 2.0", Says: "one partition"},
		},
		SeeAlso: []string{"propose", "recover", "app", "nodes"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return dddDiagnose(ctx, env, call)
		},
	}
}

func dddDiagnose(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	app, partition, err := parseSome(call.Arg(0))
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	dead, err := c.DeadPartitions(ctx, app, partition)
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	for _, p := range dead {
		best := bestOf(p)
		for i, r := range p.Dropped {
			row := spec.Row{
				fmt.Sprintf("%d.%d", p.AppID, p.Partition.Index), p.Partition.Ballot, p.Reason,
				r.Endpoint, r.Alive, r.Dropped, nil, nil, nil, nil,
			}
			if r.Known {
				row[6], row[7], row[8] = r.Ballot, r.Committed, r.Prepared
			}
			if i == best {
				row[9] = fmt.Sprintf("propose -f -g %d.%d -p ASSIGN_PRIMARY -n %s", p.AppID, p.Partition.Index, r.Endpoint)
			}
			rows = append(rows, row)
		}
	}
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "gpid"},
			{Name: "ballot", Kind: spec.Int},
			{Name: "reason"},
			{Name: "node"},
			{Name: "is_alive", Kind: spec.Bool},
			{Name: "drop_time", Kind: spec.Time},
			{Name: "node_ballot", Kind: spec.Int},
			{Name: "last_committed_decree", Kind: spec.Int},
			{Name: "last_prepared_decree", Kind: spec.Int},
			{Name: "command"},
		},
		Rows:  spec.RowsOf(rows...),
		Notes: func() []string { return []string{commands.Plural(len(dead), "dead partition")} },
	}, nil
}

// parseSome reads "", app or app.partition; -1 stands for all.
func parseSome(text string) (app int32, partition int, err error) {
	if text == "" {
		return -1, -1, nil
	}
	if strings.Contains(text, ".") {
		return parseGPID(text)
	}
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id <= 0 {
		return 0, 0, spec.Errorf(spec.Usage, "%s is no table's id", quote(text)).WithHint("write TABLE_ID or TABLE_ID.PARTITION, as in 2.5")
	}
	return int32(id), -1, nil
}

// bestOf is the living replica that is furthest, -1 when none is known. Ballots count before decrees.
func bestOf(p driver.DeadPartition) int {
	best := -1
	for i, r := range p.Dropped {
		if !r.Alive || !r.Known {
			continue
		}
		if best < 0 || r.Ballot > p.Dropped[best].Ballot || r.Ballot == p.Dropped[best].Ballot && r.Committed >= p.Dropped[best].Committed {
			best = i
		}
	}
	return best
}
