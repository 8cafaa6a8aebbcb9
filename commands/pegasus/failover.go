package pegasus

import (
	"context"
	"fmt"
	"iter"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Meta levels that matter here (driver.MetaLevels lists all).
const (
	levelFreezed = "freezed" // and below: nothing is cured
	levelSteady  = "steady"  // cures, does not balance
)

// holdLevel keeps the meta level at a value while a plan runs, or for longer.
func holdLevel(c client, setting, during string, keep bool) spec.Hold {
	return spec.Hold{
		Setting: setting, During: during, Class: spec.Risky, Keep: keep,
		Read: c.MetaLevel,
		Write: func(ctx context.Context, level string) error {
			_, err := c.SetMetaLevel(ctx, level)
			return err
		},
		Restore: func(was string) string { return "set_meta_level " + was },
	}
}

// holdsReplica tells whether a node has a replica of a partition in its configuration.
func holdsReplica(p driver.Partition, endpoint string) bool {
	return p.Primary == endpoint || slices.Contains(p.Secondaries, endpoint)
}

// everyPartition lists the partitions of all tables that can be used, but for children of splits that are not ready.
func everyPartition(ctx context.Context, c admin) ([]*driver.AppPartitions, error) {
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	all, err := allPartitions(ctx, c, apps)
	all = slices.DeleteFunc(all, func(a *driver.AppPartitions) bool { return a == nil })
	for _, a := range all {
		a.Partitions = slices.DeleteFunc(a.Partitions, func(p driver.Partition) bool { return p.Unborn })
	}
	return all, err
}

// failover is a node and what taking it out of service, or back, is planned from.
type failover struct {
	c     client
	node  string
	nodes nodeSet
	level string // the meta level
	all   []*driver.AppPartitions
}

// newFailover finds the node that the call names, and how the cluster is.
func newFailover(ctx context.Context, env commands.Env, call *spec.Call) (*failover, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	f := &failover{c: c}
	if f.nodes, err = nodeSetOf(ctx, c); err != nil {
		return nil, err
	}
	if f.node, err = f.nodes.find(call.Arg(0)); err != nil {
		return nil, err
	}
	if f.level, err = c.MetaLevel(ctx); err != nil {
		return nil, err
	}
	f.all, err = everyPartition(ctx, c)
	return f, err
}

// again looks at the nodes and partitions anew.
func (f *failover) again(ctx context.Context) (*failover, error) {
	now := *f
	var err error
	if now.nodes, err = nodeSetOf(ctx, f.c); err != nil {
		return nil, err
	}
	now.all, err = everyPartition(ctx, f.c)
	return &now, err
}

// places yields every partition of every table.
func (f *failover) places() iter.Seq[*place] {
	return func(yield func(*place) bool) {
		for _, a := range f.all {
			for _, part := range a.Partitions {
				if !yield(&place{c: f.c, table: a.Name, appID: a.AppID, index: part.Index, was: part, nodes: f.nodes}) {
					return
				}
			}
		}
	}
}

// healMeanwhile holds the meta level where the cluster heals while a plan waits for it to.
func (f *failover) healMeanwhile(p *spec.Plan) {
	if !cures(f.level) {
		p.Holds = append(p.Holds, holdLevel(f.c, "meta level", levelSteady, false))
		p.Notes = append(p.Notes, fmt.Sprintf("the meta level is %s, at which nothing is cured; it is held at steady meanwhile", f.level))
	}
}

// cures tells whether the meta server moves primaries off dead nodes and adds replicas at a level.
func cures(level string) bool {
	levels := driver.MetaLevels()
	return slices.Index(levels, level) >= slices.Index(levels, levelSteady)
}
