package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// healer is what failing over and back asks of a cluster.
type healer interface {
	admin
	MetaLevel(ctx context.Context) (string, error)
	SetMetaLevel(ctx context.Context, level string) (old string, err error)
	Propose(ctx context.Context, p driver.Proposal) error
	Balance(ctx context.Context, b driver.Balance) error
	BlackList(ctx context.Context) ([]string, error)
	SetBlackList(ctx context.Context, nodes []string) error
	Learners(ctx context.Context) (learners []driver.Learner, silent int, err error)
}

var _ healer = (*driver.Driver)(nil)

func openHealer(ctx context.Context, env commands.Env, call *spec.Call) (healer, error) {
	return commands.Driver[healer](ctx, env, call)
}

// Meta levels that matter here (driver.MetaLevels lists all).
const (
	levelFreezed = "freezed" // and below: nothing is cured
	levelSteady  = "steady"  // cures, does not balance
)

// holdLevel keeps the meta level at a value while a plan runs, or for longer.
func holdLevel(c healer, setting, during string, keep bool) spec.Hold {
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

// partitionAt names a partition and finds it again.
type partitionAt struct {
	table string
	appID int32
	index int
}

func (p partitionAt) String() string { return fmt.Sprintf("%s/%d", p.table, p.index) }

// look asks the meta server where the partition is now.
func (p partitionAt) look(ctx context.Context, c admin) (driver.Partition, error) {
	a, err := c.Partitions(ctx, p.table)
	if err != nil {
		return driver.Partition{}, err
	}
	for _, now := range a.Partitions {
		if now.Index == p.index {
			return now, nil
		}
	}
	return driver.Partition{}, spec.Errorf(spec.NotFound, "table %s has no partition %d", p.table, p.index)
}

// stepPatience bounds the wait for one proposal: the meta server looks at each every few seconds, and forgets those it
// cannot carry out.
const stepPatience = 2 * time.Minute

// await waits until a partition is as it should be.
func (p partitionAt) await(ctx context.Context, c admin, report spec.Report, done func(driver.Partition) bool) error {
	return waiting{
		text: "wait for " + p.String(), limit: stepPatience, hint: "showtable " + p.table + " shows where its replicas are",
		look: func(ctx context.Context) (bool, string, error) {
			now, err := p.look(ctx, c)
			return err == nil && done(now), fmt.Sprintf("primary %s, secondaries %v", or(now.Primary, "none"), now.Secondaries), err
		},
	}.apply(ctx, report)
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
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

// findNode finds a node by its endpoint or by the end of it from a dot on (".32:34801"), and tells which nodes are alive.
func findNode(ctx context.Context, c admin, name string) (endpoint string, alive map[string]bool, err error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", nil, err
	}
	alive = map[string]bool{}
	var known, meant []string
	for _, n := range nodes {
		alive[n.Endpoint] = n.Alive
		known = append(known, n.Endpoint)
		if strings.HasPrefix(name, ".") && strings.HasSuffix(n.Endpoint, name) {
			meant = append(meant, n.Endpoint)
		}
	}
	if _, ok := alive[name]; ok {
		return name, alive, nil
	}
	switch len(meant) {
	case 1:
		return meant[0], alive, nil
	case 0:
		return "", nil, spec.Errorf(spec.NotFound, "no replica server is called %s", shown(name)).WithHint("the nodes are %v", known)
	}
	return "", nil, spec.Errorf(spec.Usage, "%s may be any of %v", shown(name), meant)
}

// cures tells whether the meta server moves primaries off dead nodes and adds replicas at a level.
func cures(level string) bool {
	levels := driver.MetaLevels()
	return slices.Index(levels, level) >= slices.Index(levels, levelSteady)
}
