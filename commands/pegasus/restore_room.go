package pegasus

import (
	"context"
	"fmt"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// lookAtDisks compares what all replicas of the new table will have with what the disks of all nodes can still take. Where
// the meta server will put them is not known before. A table that is there is being restored, and takes its room already.
func (x *tableRestore) lookAtDisks(ctx context.Context, plan *spec.Plan) error {
	if x.table == nil || x.table.App == nil || x.there {
		return nil
	}
	nodes, err := diskNodes(ctx, x.c, "")
	if err != nil {
		return err
	}
	free := int64(0)
	for _, answer := range askDisks(ctx, x.c, nodes, "") {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if answer.err != nil {
			plan.Notes = append(plan.Notes, fmt.Sprintf("whether the nodes have room is not known: %v", answer.err))
			return nil
		}
		for _, d := range answer.disks {
			if d.Capacity <= 0 {
				plan.Notes = append(plan.Notes, fmt.Sprintf("whether the nodes have room is not known: %s tells no capacity of %s", answer.node, d.Tag))
				return nil
			}
			free += max(writable(d), 0)
		}
	}
	copies := max(min(int(x.table.App.MaxReplicaCount), len(nodes)), 1)
	size, _ := x.table.Size()
	text := fmt.Sprintf("%s free on the disks of %s, about %s needed by %s of each partition", spec.SizeText(free), commands.Plural(len(nodes), "node"),
		spec.SizeText(size*int64(copies)), commands.Plural(copies, "replica"))
	if size <= free/int64(copies) {
		plan.Notes = append(plan.Notes, text)
		return nil
	}
	plan.Blockers = append(plan.Blockers, spec.Blocker{
		Object: x.want.NewName, Why: fmt.Sprintf("%s: servers do not write to a disk that is over %d %% full; drop what is not needed, or add nodes", text, fullest),
	})
	return nil
}
