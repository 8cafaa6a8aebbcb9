package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
)

// fakePlacement is the part of the fake that moves replicas: it notes what was proposed, and onPropose may carry it out.
type fakePlacement struct {
	level     string
	proposed  []string
	onPropose func()
	heldOn    map[string][]driver.HeldReplica
	dead      []driver.DeadPartition
	black     []string
	learners  []driver.Learner
}

func (f *fake) BlackList(context.Context) ([]string, error) { return f.place.black, nil }

func (f *fake) SetBlackList(_ context.Context, nodes []string) error {
	f.place.black = nodes
	return nil
}

func (f *fake) Learners(context.Context) ([]driver.Learner, int, error) {
	return f.place.learners, 0, nil
}

func (f *fake) DeadPartitions(context.Context, int32, int) ([]driver.DeadPartition, error) {
	return f.place.dead, nil
}

func (f *fake) MetaLevel(context.Context) (string, error) {
	if f.place.level == "" {
		return "steady", nil
	}
	return f.place.level, nil
}

func (f *fake) SetMetaLevel(_ context.Context, level string) (string, error) {
	old := f.place.level
	f.place.level = level
	return old, nil
}

func (f *fake) Propose(_ context.Context, p driver.Proposal) error {
	return f.propose(fmt.Sprintf("%s %d.%d %s %s %t", p.Type, p.AppID, p.Partition, p.Target, p.Node, p.Force))
}

func (f *fake) Balance(_ context.Context, b driver.Balance) error {
	return f.propose(fmt.Sprintf("%s %d.%d %s %s", b.Kind, b.AppID, b.Partition, b.From, b.To))
}

func (f *fake) propose(what string) error {
	f.place.proposed = append(f.place.proposed, what)
	if f.place.onPropose != nil {
		f.place.onPropose()
	}
	return nil
}

func (f *fake) HeldReplicas(_ context.Context, endpoint string) ([]driver.HeldReplica, error) {
	return f.place.heldOn[endpoint], nil
}
