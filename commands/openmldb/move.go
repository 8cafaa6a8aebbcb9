package openmldb

import (
	"context"
	"fmt"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// mover makes the steps that move leaders and replicas about, each planned when its turn has come.
type mover struct {
	c    client
	wait time.Duration
}

// holdOff keeps auto_failover off for the time of a plan: what it does is refused otherwise, and would be crossed.
func holdOff(ctx context.Context, c client, p *spec.Plan) error {
	on, err := c.AutoFailover(ctx)
	if err != nil || !on {
		return err
	}
	p.Holds = append(p.Holds, autoFailoverHold(c))
	p.Notes = append(p.Notes, "auto_failover is on; it is held off meanwhile")
	return nil
}

// one is the request about one partition.
func (m mover) one(t driver.TableName, pid uint32, text string, reached func(driver.Partition) (bool, string), ask func(context.Context) error) []spec.Step {
	r := &request{c: m.c, class: spec.Risky, wait: max(m.wait, 0), text: text, ask: ask}
	r.outcomes = []outcome{{t, pid, "wait until it is so: " + text, reached}}
	return r.steps()
}

// lead has another replica of a partition elected, and the old leader follow it.
func (m mover) lead(t driver.TableName, pid uint32, from, to string) []spec.Step {
	name := at(t, pid)
	candidate, who := to, to
	if to == "" {
		candidate, who = auto, "another replica"
	}
	steps := m.one(t, pid, fmt.Sprintf("have %s lead %s instead of %s", who, name, from), ledBy(to, from),
		func(ctx context.Context) error { return m.c.ChangeLeader(ctx, t, pid, candidate) })
	return append(steps, m.follow(t, pid, from)...)
}

// follow has a replica that does not count as alive catch up.
func (m mover) follow(t driver.TableName, pid uint32, endpoint string) []spec.Step {
	return m.one(t, pid, fmt.Sprintf("have %s on %s catch up", at(t, pid), endpoint), aliveAt(endpoint, true),
		func(ctx context.Context) error { return m.c.RecoverTable(ctx, t, pid, endpoint) })
}

// add adds a copy of a partition.
func (m mover) add(t driver.TableName, pid uint32, to string) []spec.Step {
	return m.one(t, pid, fmt.Sprintf("add a copy of %s on %s", at(t, pid), to), replicaAt(to, true),
		func(ctx context.Context) error { return m.c.AddReplica(ctx, t, []uint32{pid}, to) })
}

// remove takes a copy of a partition away.
func (m mover) remove(t driver.TableName, pid uint32, from string) []spec.Step {
	return m.one(t, pid, fmt.Sprintf("take the copy of %s off %s", at(t, pid), from), replicaAt(from, false),
		func(ctx context.Context) error { return m.c.DelReplica(ctx, t, []uint32{pid}, from) })
}

// move is a step that moves a replica from one tablet to another, whatever it is there when its turn has come.
func (m mover) move(t driver.TableName, pid uint32, from, to string) spec.Step {
	name := at(t, pid)
	return spec.Step{
		Text: fmt.Sprintf("move %s from %s to %s", name, from, to), Objects: []string{name}, Class: spec.Risky,
		Expand: func(ctx context.Context) ([]spec.Step, error) {
			part, err := m.c.Partition(ctx, t, pid)
			if err != nil {
				return nil, err
			}
			leader, led := part.Leader()
			switch {
			case !led:
				return nil, spec.Errorf(spec.Refused, "%s has no leader that is alive", name).WithHint("recoverdata brings it back")
			case !hasReplica(part, from):
				return nil, nil
			case len(part.Replicas) == 1: // the new copy must lead before the old one may go
				steps := append(m.add(t, pid, to), m.lead(t, pid, from, to)...)
				return append(steps, m.remove(t, pid, from)...), nil
			case hasReplica(part, to):
				return m.remove(t, pid, from), nil
			}
			var steps []spec.Step
			if leader.Endpoint == from {
				steps = m.lead(t, pid, from, "")
			}
			return append(steps, m.one(t, pid, fmt.Sprintf("move the follower of %s from %s to %s", name, from, to),
				both(replicaAt(to, true), replicaAt(from, false)),
				func(ctx context.Context) error { return m.c.Migrate(ctx, t, []uint32{pid}, from, to) })...), nil
		},
	}
}
