package pegasus

import (
	"context"
	"fmt"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// dupTableArg is the table of a duplication.
var dupTableArg = spec.Arg{Name: "table", Kind: spec.ArgTable, Help: "the table that is duplicated"}

// dupSetup makes a duplication for the examples.
func dupSetup(table string) []string {
	return []string{"create " + table + " -p 2", "add_dup " + table + " onebox2 -s --yes"}
}

// StartDup goes on with a duplication.
func StartDup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "start_dup",
		Systems: systems,
		Topic:   "tables",
		Summary: "go on with a duplication that was paused",
		Long:    "Has a paused duplication (DS_PAUSE) ship again (DS_LOG), from where it stopped. It does not wait for the follower to be level: query_dup -d shows that.",
		Args:    []spec.Arg{dupTableArg, dupArg},
		Examples: []spec.Example{
			{Line: "start_dup ledger_1 onebox2", Says: "by the cluster it goes to", Setup: append(dupSetup("ledger_1"), "pause_dup ledger_1 onebox2")},
		},
		SeeAlso: []string{"pause_dup", "query_dup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return changeDup(ctx, env, call, change{how: driver.StartDup, from: "DS_PAUSE", to: "DS_LOG", class: spec.Alter, undo: "pause_dup"})
		},
	}
}

// PauseDup holds a duplication up.
func PauseDup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "pause_dup",
		Systems: systems,
		Topic:   "tables",
		Summary: "pause a duplication: ship nothing until it is started",
		Long: "Has a duplication (DS_LOG) stop shipping (DS_PAUSE). Nothing is lost: servers keep their logs as long as a follower lacks " +
			"them, so that disks fill while it is paused. Conditional writes stay refused.",
		Args: []spec.Arg{dupTableArg, dupArg},
		Examples: []spec.Example{
			{Line: "pause_dup ledger_2 onebox2", Says: "by the cluster it goes to", Setup: dupSetup("ledger_2")},
		},
		SeeAlso: []string{"start_dup", "remove_dup", "query_dup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return changeDup(ctx, env, call, change{
				how: driver.PauseDup, from: "DS_LOG", to: "DS_PAUSE", class: spec.Alter, undo: "start_dup",
				note: "servers keep what is written meanwhile: their logs grow",
			})
		},
	}
}

// RemoveDup ends a duplication.
func RemoveDup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "remove_dup",
		Systems: systems,
		Topic:   "tables",
		Summary: "end a duplication",
		Long: "Forgets a duplication, at any status, and how far it was. The follower keeps its table as it is; what it lacks by then it never gets, and a new " +
			"duplication begins anew: with -s, to a table that is not there. Once a table has no duplication, servers take conditional writes again.",
		Args: []spec.Arg{dupTableArg, dupArg},
		Examples: []spec.Example{
			{Line: "remove_dup ledger_3 onebox2 --yes", Says: "by the cluster it goes to", Setup: dupSetup("ledger_3")},
		},
		SeeAlso: []string{"pause_dup", "add_dup", "query_dup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return changeDup(ctx, env, call, change{
				how: driver.RemoveDup, class: spec.Risky, undo: "add_dup",
				note: "where it is does not come back: what is written before it is added again is never shipped",
			})
		},
	}
}

// change is one way to change a duplication.
type change struct {
	how      string
	from, to string // statuses; "" where any will do, and where it is gone afterwards
	class    spec.Class
	undo     string
	note     string
}

func changeDup(ctx context.Context, env commands.Env, call *spec.Call, k change) (*spec.Plan, error) {
	c, a, err := openDup(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	d, err := findDup(ctx, c, a.Name, call.Arg(1))
	if err != nil {
		return nil, err
	}
	undo := fmt.Sprintf("%s %s %d", k.undo, a.Name, d.ID)
	if k.to == "" {
		undo = fmt.Sprintf("%s %s %s", k.undo, a.Name, d.Remote)
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("%s duplication %d of %s, to %s", k.how, d.ID, a.Name, d.Remote),
		Name:  a.Name,
		Steps: []spec.Step{{
			Text: fmt.Sprintf("%s the duplication of %s to %s", k.how, a.Name, d.Remote), Objects: []string{a.Name}, Class: k.class, Undo: undo,
			Check: func(ctx context.Context) (spec.State, error) { return k.check(ctx, c, a.Name, d.ID) },
			Apply: func(ctx context.Context, report spec.Report) error {
				if err := c.ChangeDuplication(ctx, a.Name, d.ID, k.how); err != nil {
					return err
				}
				return readBack(ctx, c, a.Name, d.ID, report)
			},
		}},
	}
	if k.note != "" {
		plan.Notes = []string{k.note}
	}
	return plan, nil
}

// readBack reports what the meta server says of a duplication after a change.
func readBack(ctx context.Context, c duplicator, table string, id int32, report spec.Report) error {
	now, err := stillDup(ctx, c, table, id)
	switch {
	case err != nil:
		report.Detail("it was done; reading it back failed: %v", err)
	case now == nil:
		report.Detail("it is gone")
	default:
		report.Detail("%s", strings.TrimSpace(now.Status+" "+now.FailMode))
	}
	return nil
}

func (k change) check(ctx context.Context, c duplicator, table string, id int32) (spec.State, error) {
	now, err := stillDup(ctx, c, table, id)
	switch {
	case err != nil:
		return spec.State{}, err
	case now == nil && k.to == "":
		return spec.State{Kind: spec.Done, Why: "it is gone"}, nil
	case now == nil:
		return spec.State{Kind: spec.Blocked, Why: "it is gone"}, nil
	case k.to != "" && now.Status == k.to:
		return spec.State{Kind: spec.Done, Why: "it is at " + k.to}, nil
	case k.from != "" && now.Status != k.from:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is at %s, and can be changed so only from %s", now.Status, k.from)}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// SetDupFailMode says what becomes of writes that cannot be shipped.
func SetDupFailMode(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "set_dup_fail_mode",
		Systems: systems,
		Topic:   "tables",
		Summary: "say what a duplication does about what it cannot ship",
		Long: "slow, which duplications begin with, tries again for ever: nothing is lost, and nothing after it is shipped meanwhile. skip leaves out what " +
			"cannot be shipped, so that the follower lacks it. fast ends the server process, with all the replicas on it: for tests.",
		Args: []spec.Arg{dupTableArg, dupArg, {Name: "mode", Kind: spec.ArgEnum, Values: []string{"slow", "skip", "fast"}, Help: "what to do"}},
		Examples: []spec.Example{
			{Line: "set_dup_fail_mode ledger_4 onebox2 skip --yes", Says: "rather lose writes than stop", Setup: dupSetup("ledger_4")},
		},
		SeeAlso: []string{"query_dup", "add_dup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return setFailMode(ctx, env, call)
		},
	}
}

func setFailMode(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	mode := call.Arg(2)
	c, a, err := openDup(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	d, err := findDup(ctx, c, a.Name, call.Arg(1))
	if err != nil {
		return nil, err
	}
	want := "FAIL_" + strings.ToUpper(mode)
	step := spec.Step{
		Text: fmt.Sprintf("set the fail mode of the duplication of %s to %s to %s", a.Name, d.Remote, mode), Objects: []string{a.Name}, Class: spec.Risky,
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := stillDup(ctx, c, a.Name, d.ID)
			switch {
			case err != nil:
				return spec.State{}, err
			case now == nil:
				return spec.State{Kind: spec.Blocked, Why: "it is gone"}, nil
			case now.FailMode == want:
				return spec.State{Kind: spec.Done, Why: "it is " + want}, nil
			}
			return spec.State{Kind: spec.Todo}, nil
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			if err := c.SetDupFailMode(ctx, a.Name, d.ID, mode); err != nil {
				return err
			}
			return readBack(ctx, c, a.Name, d.ID, report)
		},
	}
	if old, known := strings.CutPrefix(d.FailMode, "FAIL_"); known {
		step.Undo = fmt.Sprintf("set_dup_fail_mode %s %d %s", a.Name, d.ID, strings.ToLower(old))
	}
	plan := &spec.Plan{Title: fmt.Sprintf("fail mode %s for duplication %d of %s", mode, d.ID, a.Name), Name: a.Name}
	switch mode {
	case "slow":
		step.Class = spec.Alter
	case "skip":
		plan.Notes = []string{"the follower will lack what is left out"}
	case "fast":
		plan.Notes = []string{"a server that cannot ship ends, with every replica on it"}
	}
	plan.Steps = []spec.Step{step}
	return plan, nil
}
