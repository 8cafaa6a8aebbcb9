package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CancelOp cancels an operation.
func CancelOp(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "cancelop",
		Systems: systems,
		Topic:   "failover",
		Summary: "cancel an operation that is waiting or under way",
		Long:    "What it has done so far stays done. It is refused while auto_failover is on.",
		Args:    []spec.Arg{{Name: "op_id", Kind: spec.ArgInt, Help: "its number in showopstatus"}},
		Flags:   []spec.Flag{manualFlag},
		SeeAlso: []string{"showopstatus", "deleteop"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			op, err := findOp(ctx, c, uint64(line.ArgInt(0)))
			if err != nil {
				return nil, err
			}
			if op.Over() {
				return nil, spec.Errorf(spec.Refused, "%s is over: %s", describe(op), op.Status)
			}
			p := oneStep("Cancel op ok", spec.Step{
				Text: "cancel " + describe(op), Objects: []string{fmt.Sprint("op ", op.ID)}, Class: spec.Risky,
				Check: func(ctx context.Context) (spec.State, error) {
					now, err := findOp(ctx, c, op.ID)
					switch {
					case err != nil && spec.KindOf(err) == spec.NotFound:
						return done("the nameserver has forgotten it"), nil
					case err != nil:
						return spec.State{}, err
					case now.Status == "kCanceled":
						return done("it is cancelled"), nil
					case now.Over():
						return blocked("it ended meanwhile: %s", now.Status), nil
					}
					return todo, nil
				},
				Apply: call(func(ctx context.Context) error { return c.CancelOp(ctx, op.ID) }),
			})
			return p, manual(ctx, c, line, p)
		},
	}
}

func findOp(ctx context.Context, c metadata, id uint64) (driver.Op, error) {
	ops, err := c.Ops(ctx, driver.OpFilter{ID: id, Partition: -1})
	if err != nil {
		return driver.Op{}, err
	}
	i := slices.IndexFunc(ops, func(op driver.Op) bool { return op.ID == id })
	if i < 0 {
		return driver.Op{}, spec.Errorf(spec.NotFound, "the nameserver knows no operation %d", id).WithHint("showopstatus lists them")
	}
	return ops[i], nil
}

// endStatuses are the words that deleteop takes for operations that are over.
var endStatuses = map[string]string{"done": "kDone", "failed": "kFailed", "canceled": "kCanceled"}

// DeleteOp forgets operations.
func DeleteOp(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "deleteop",
		Systems: systems,
		Topic:   "failover",
		Summary: "have the nameserver forget operations",
		Long: "Takes the number of one operation, or done, failed or canceled for all of those. One that is under way is forgotten " +
			"where it is, and leaves its work half done.",
		Args:     []spec.Arg{{Name: "op_id|status", Offers: []string{"done", "failed", "canceled"}, Help: "its number, or what all of them ended as"}},
		Examples: []spec.Example{{Line: "deleteop failed", Says: "those that failed are not shown any more"}},
		SeeAlso:  []string{"showopstatus", "cancelop"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			if status, known := endStatuses[strings.ToLower(line.Arg(0))]; known {
				return deleteOps(ctx, c, line, status)
			}
			id, err := strconv.ParseUint(line.Arg(0), 10, 64)
			if err != nil {
				return nil, spec.Errorf(spec.Usage, "%q is no operation", line.Arg(0)).WithHint("its number, or done, failed or canceled")
			}
			op, err := findOp(ctx, c, id)
			if err != nil {
				return nil, err
			}
			step := spec.Step{
				Text: "forget " + describe(op), Objects: []string{fmt.Sprint("op ", id)}, Class: spec.Alter,
				Check: func(ctx context.Context) (spec.State, error) {
					if _, err := findOp(ctx, c, id); err != nil {
						if spec.KindOf(err) == spec.NotFound {
							return done("it is forgotten"), nil
						}
						return spec.State{}, err
					}
					return todo, nil
				},
				Apply: call(func(ctx context.Context) error { return c.DeleteOp(ctx, id) }),
			}
			p := oneStep("Delete op ok", step)
			if !op.Over() {
				p.Steps[0].Class = spec.Destroy
				p.Notes = []string{"it is " + op.Status + ": forgotten now, it leaves its work half done"}
			}
			return p, nil
		},
	}
}

func deleteOps(ctx context.Context, c metadata, line *spec.Call, status string) (*spec.Plan, error) {
	count := func(ctx context.Context) (int, error) {
		ops, err := c.Ops(ctx, driver.OpFilter{Partition: -1})
		n := 0
		for _, op := range ops {
			if op.Status == status && (line.Table == "" || op.Table.DB == line.Table) {
				n++
			}
		}
		return n, err
	}
	n, err := count(ctx)
	if err != nil {
		return nil, err
	}
	return oneStep("Delete op ok", spec.Step{
		Text: fmt.Sprintf("forget %s that ended as %s", commands.Plural(n, "operation"), status), Objects: []string{status}, Class: spec.Alter,
		Check: func(ctx context.Context) (spec.State, error) {
			left, err := count(ctx)
			if err == nil && left == 0 {
				return done("there is none"), nil
			}
			return todo, err
		},
		Apply: call(func(ctx context.Context) error { return c.DeleteOps(ctx, line.Table, status) }),
	}), nil
}
