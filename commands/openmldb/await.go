package openmldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// pollEvery is how often the nameserver is asked how far its operations are. It looks at its tablets every 2 s.
const pollEvery = 250 * time.Millisecond

// causes does something that the nameserver answers at once and carries out later, and follows the operations it made to
// their end. wait bounds the following: 0 does not, negative does not follow at all.
func causes(
	ctx context.Context, c metadata, wait time.Duration, report spec.Report, do func(context.Context) error,
) error {
	before, err := lastOp(ctx, c)
	if err != nil {
		return err
	}
	if err := do(ctx); err != nil || wait < 0 {
		return err
	}
	_, err = follow(ctx, c, wait, report, func(op driver.Op) bool { return op.ID > before })
	return err
}

// lastOp is the largest number of an operation that the nameserver knows.
func lastOp(ctx context.Context, c metadata) (uint64, error) {
	ops, err := c.Ops(ctx, driver.OpFilter{Partition: -1})
	var last uint64
	for _, op := range ops {
		last = max(last, op.ID)
	}
	return last, err
}

// follow waits until the operations chosen are over, those they make on their way too, and answers them. One that failed
// or was cancelled makes an error that says which, and why as far as anybody knows.
func follow(
	ctx context.Context, c metadata, wait time.Duration, report spec.Report, chosen func(driver.Op) bool,
) ([]driver.Op, error) {
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wait, errWaited)
		defer cancel()
	}
	for {
		all, err := c.Ops(ctx, driver.OpFilter{Partition: -1})
		if err != nil {
			return nil, lostSight(waited(ctx, nil, err))
		}
		ops := slices.DeleteFunc(all, func(op driver.Op) bool { return !chosen(op) })
		over := 0
		for _, op := range ops {
			if op.Over() {
				over++
			}
		}
		report.Progress(int64(over), int64(len(ops)), "ops")
		if over == len(ops) {
			report.Detail("%s", strings.Join(called(ops), ", "))
			return ops, failures(ctx, c, ops)
		}
		report.Detail("%s", doing(ops))
		select {
		case <-ctx.Done():
			return ops, waited(ctx, ops, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

var errWaited = errors.New("the time to wait is over")

// waited says of what was still going on when waiting ended.
func waited(ctx context.Context, ops []driver.Op, err error) error {
	return waitedFor(ctx, doing(ops), err)
}

func waitedFor(ctx context.Context, what string, err error) error {
	if !errors.Is(context.Cause(ctx), errWaited) {
		return err
	}
	return spec.Errorf(spec.PartlyDone, "still going on when the time to wait was over: %s", what).
		WithHint("the cluster goes on; showopstatus follows it")
}

// lostSight is about a change that the nameserver took, and of which nobody can say what became of it.
func lostSight(err error) error {
	switch spec.KindOf(err) {
	case spec.PartlyDone, spec.Interrupted:
		return err
	}
	return spec.Errorf(spec.UnknownOutcome, "the nameserver took it, and cannot be asked any more: %w", err).
		WithHint("the operations go on when a nameserver leads; showopstatus follows them")
}

// called names operations, whatever they are at.
func called(ops []driver.Op) []string {
	texts := make([]string, len(ops))
	for i, op := range ops {
		texts[i] = fmt.Sprintf("op %d %s", op.ID, op.Type)
	}
	return texts
}

// doing names the operations that are not over, with the task each is at.
func doing(ops []driver.Op) string {
	var texts []string
	for _, op := range ops {
		if !op.Over() {
			texts = append(texts, describe(op))
		}
	}
	const most = 3
	if more := len(texts) - most; more > 0 {
		texts = append(texts[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}

// describe is an operation in a few words.
func describe(op driver.Op) string {
	text := fmt.Sprintf("op %d %s", op.ID, op.Type)
	if op.Table.Name != "" && op.Partition >= 0 {
		text += " of " + at(op.Table, uint32(op.Partition))
	}
	if op.Task != "" {
		text += " at " + op.Task
	}
	return text
}

// failures is an error about the operations that did not end well, nil when all did.
func failures(ctx context.Context, c metadata, ops []driver.Op) error {
	var ids []uint64
	for _, op := range ops {
		if op.Status != "kDone" {
			ids = append(ids, op.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	traces, err := c.TraceOps(ctx, ids...)
	if err != nil {
		traces = nil // the operations are known to have failed, if not why
	}
	var texts []string
	for _, op := range ops {
		if op.Status != "kDone" {
			texts = append(texts, describe(op)+" "+ended(op)+why(op, traces[op.ID]))
		}
	}
	return spec.Errorf(spec.Failed, "%s", strings.Join(texts, "; ")).WithHint("showopstatus shows them; doctor what they left")
}

func ended(op driver.Op) string {
	if op.Status == "kCanceled" {
		return "was cancelled"
	}
	return "failed"
}

// why tells what the tablets know of an operation that failed.
func why(op driver.Op, trace driver.OpTrace) string {
	for _, task := range trace.Tasks {
		if task.Status == "kFailed" {
			text := " on " + task.Tablet
			if task.Endpoint != "" && task.Endpoint != task.Tablet {
				text += " towards " + task.Endpoint
			}
			return text + ", where " + task.Type + " failed"
		}
	}
	if trace.Endpoint != "" {
		return ", it was about " + trace.Endpoint
	}
	return ""
}

// refusedByAutoFailover refuses what the nameserver would refuse while auto_failover is on.
func refusedByAutoFailover(ctx context.Context, c metadata, line *spec.Call, what string) error {
	on, err := c.AutoFailover(ctx)
	if err != nil || !on {
		return err
	}
	refused := &spec.Error{
		Kind: spec.Refused, Op: what, Code: "301", Err: errors.New("auto_failover is on, and the nameserver looks after replicas itself"),
	}
	for _, f := range line.Command.Flags {
		if f.Name == manualFlag.Name {
			return refused.WithHint("--%s switches it off meanwhile, confset auto_failover false until further notice", f.Name)
		}
	}
	return refused.WithHint("confset auto_failover false switches it off")
}

// manualFlag takes a hold on auto_failover for the time of a plan.
var manualFlag = spec.Flag{Name: "manual", Kind: spec.ArgBool, Help: "switch auto_failover off meanwhile, and back on at the end"}

// manual prepares a plan of what is refused while auto_failover is on: with --manual it holds it off, otherwise it refuses.
func manual(ctx context.Context, c metadata, line *spec.Call, p *spec.Plan) error {
	if !line.Bool(manualFlag.Name) {
		return refusedByAutoFailover(ctx, c, line, line.Command.Name)
	}
	p.Holds = append(p.Holds, autoFailoverHold(c))
	return nil
}

func autoFailoverHold(c metadata) spec.Hold {
	return spec.Hold{
		Setting: autoFailover, During: "false", Class: spec.Risky,
		Read: func(ctx context.Context) (string, error) {
			on, err := c.AutoFailover(ctx)
			return fmt.Sprint(on), err
		},
		Write:   func(ctx context.Context, value string) error { return c.SetConf(ctx, autoFailover, value) },
		Restore: func(was string) string { return "confset " + autoFailover + " " + was },
	}
}

// match finds the tablet that a person means.
func match(ctx context.Context, c metadata, name string) (string, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return "", err
	}
	return cluster.FindNode(name, nodes)
}
