package openmldb

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// The nameserver answers "ok" when it has made operations, or none, and carries them out later. A change is therefore a
// step that asks, and one step for each partition that follows its operations and then looks what became of it.

// outcome is what a change shall make of one partition.
type outcome struct {
	table driver.TableName
	pid   uint32
	text  string // of its step
	// reached says whether the nameserver has the partition so, and in a few words how it has it.
	reached func(p driver.Partition) (bool, string)
}

func (o outcome) object() string { return at(o.table, o.pid) }

// request is a change that the nameserver is asked for once, for all of its outcomes.
type request struct {
	c        client
	text     string // of the step that asks
	class    spec.Class
	undo     string
	wait     time.Duration
	ask      func(ctx context.Context) error
	outcomes []outcome

	before atomic.Uint64 // the last operation before it was asked
	asked  atomic.Bool
}

// steps are the one that asks, and those that follow.
func (r *request) steps() []spec.Step {
	var objects []string
	for _, o := range r.outcomes {
		objects = append(objects, o.object())
	}
	all := []spec.Step{{Text: r.text, Objects: objects, Class: r.class, Undo: r.undo, Check: r.check, Apply: r.apply}}
	if r.wait < 0 {
		return all
	}
	for _, o := range r.outcomes {
		all = append(all, spec.Step{
			Text: o.text, Objects: []string{o.object()}, Class: spec.Read,
			Apply: func(ctx context.Context, report spec.Report) error { return r.follow(ctx, o, report) },
		})
	}
	return all
}

// check tells whether there is anything to ask for. After an answer that never came, operations that were made since are
// the nameserver's answer.
func (r *request) check(ctx context.Context) (spec.State, error) {
	left := 0
	for _, o := range r.outcomes {
		p, err := r.c.Partition(ctx, o.table, o.pid)
		if err != nil {
			return spec.State{}, err
		}
		if is, _ := o.reached(p); !is {
			left++
		}
	}
	if left == 0 {
		return done("it is so already"), nil
	}
	if !r.asked.Load() {
		return todo, nil
	}
	ops, err := r.c.Ops(ctx, driver.OpFilter{Partition: -1})
	if err != nil {
		return spec.State{}, err
	}
	for _, op := range ops {
		if op.ID > r.before.Load() && r.concerns(op) {
			return done("the nameserver is at it: %s", describe(op)), nil
		}
	}
	return todo, nil
}

func (r *request) concerns(op driver.Op) bool {
	for _, o := range r.outcomes {
		if isOf(op, o.table, o.pid) {
			return true
		}
	}
	return false
}

// isOf says whether an operation is of a partition. Releases that do not tell the database name only the table.
func isOf(op driver.Op, t driver.TableName, pid uint32) bool {
	return op.Table.Name == t.Name && (op.Table.DB == t.DB || op.Table.DB == "") && op.Partition == int(pid)
}

func (r *request) apply(ctx context.Context, _ spec.Report) error {
	before, err := lastOp(ctx, r.c)
	if err != nil {
		return err
	}
	r.before.Store(before)
	r.asked.Store(true)
	return r.ask(ctx)
}

// follow waits for the operations of one partition, and looks what became of it.
func (r *request) follow(ctx context.Context, o outcome, report spec.Report) error {
	var ops []driver.Op
	if r.asked.Load() {
		var err error
		ops, err = follow(ctx, r.c, r.wait, report, func(op driver.Op) bool {
			return op.ID > r.before.Load() && isOf(op, o.table, o.pid)
		})
		if err != nil {
			return err
		}
	}
	p, err := r.c.Partition(ctx, o.table, o.pid)
	if err != nil && r.asked.Load() {
		err = lostSight(err)
	}
	if err != nil {
		return err
	}
	is, how := o.reached(p)
	if is {
		report.Detail("%s%s", how, byOps(ops))
		return nil
	}
	if len(ops) == 0 {
		return spec.Errorf(spec.Failed, "the nameserver answered ok and did nothing for %s: %s", o.object(), how).
			WithHint("doctor says what is wrong with it")
	}
	return spec.Errorf(spec.Failed, "%s: %s, although its operations are done%s", o.object(), how, byOps(ops))
}

// byOps names the operations that did it.
func byOps(ops []driver.Op) string {
	text := ""
	for i, op := range ops {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + fmt.Sprintf("op %d %s %s", op.ID, op.Type, op.End.Sub(op.Start))
	}
	return text
}

// aliveAt is reached when a tablet's replica counts as alive, or does not.
func aliveAt(endpoint string, want bool) func(driver.Partition) (bool, string) {
	return func(p driver.Partition) (bool, string) {
		for _, r := range p.Replicas {
			if r.Endpoint != endpoint {
				continue
			}
			if r.Alive {
				return want, fmt.Sprintf("%s is alive, as the %s", endpoint, role(r.Leader))
			}
			return !want, endpoint + " is not alive"
		}
		return !want, endpoint + " has no replica"
	}
}

// ledBy is reached when a tablet leads, or for "" any but the old one.
func ledBy(endpoint, old string) func(driver.Partition) (bool, string) {
	return func(p driver.Partition) (bool, string) {
		r, leads := p.Leader()
		if !leads {
			return false, "nobody leads"
		}
		how := "led by " + r.Endpoint
		if n := len(p.Terms); n > 0 {
			how += fmt.Sprintf(", term %d", p.Terms[n-1].Term)
		}
		return r.Endpoint == endpoint || endpoint == "" && r.Endpoint != old, how
	}
}

// replicaAt is reached when a tablet has a replica, or has none.
func replicaAt(endpoint string, want bool) func(driver.Partition) (bool, string) {
	return func(p driver.Partition) (bool, string) {
		for _, r := range p.Replicas {
			if r.Endpoint == endpoint {
				return want && r.Alive, fmt.Sprintf("%s is a %s, alive %t", endpoint, role(r.Leader), r.Alive)
			}
		}
		return !want, endpoint + " has no replica"
	}
}

// both is reached when both are.
func both(a, b func(driver.Partition) (bool, string)) func(driver.Partition) (bool, string) {
	return func(p driver.Partition) (bool, string) {
		isA, howA := a(p)
		isB, howB := b(p)
		if !isA || !isB {
			if isA {
				return false, howB
			}
			return false, howA
		}
		return true, howA
	}
}
