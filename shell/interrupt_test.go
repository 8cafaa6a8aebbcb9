//go:build !windows

package shell

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"shardsh/commands/spec"
)

// TestCtrlCBetweenSteps: what was done is shown, what was not is not done, the setting held is put back, and the shell
// says how to go on.
func TestCtrlCBetweenSteps(t *testing.T) {
	set := &setting{value: "lively"}
	d := newDeed(spec.Alter)
	d.plan.Holds = []spec.Hold{set.hold()}
	second := d.plan.Steps[0]
	d.plan.Steps[0].Apply = func(ctx context.Context, _ spec.Report) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return err
		}
		<-ctx.Done() // the step itself is finished all the same
		return nil
	}
	d.plan.Steps = append(d.plan.Steps, second)
	b := newBench(t, d.word())
	b.want("do x\n", ExitInterrupted)
	b.wantText("not run")
	b.wantText("1 of 2 steps done")
	b.wantText("hint: to go on: do x")
	if d.applied != 0 || set.value != "lively" {
		t.Errorf("the second step ran %d times, the setting is %s", d.applied, set.value)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "holds", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCtrlCInAStep: the step that was stopped is named as such, and the way back is one that can be typed where one is.
func TestCtrlCInAStep(t *testing.T) {
	d := newDeed(spec.Alter)
	d.plan.Steps[0].Undo = "do back 0"
	stopped := d.plan.Steps[0]
	stopped.Apply = func(ctx context.Context, report spec.Report) error {
		report.Detail("2 of 5 there")
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			return err
		}
		<-ctx.Done()
		return &spec.Error{Kind: spec.Interrupted, Op: "wait", Err: ctx.Err()}
	}
	for i := range backLines {
		next := d.plan.Steps[0]
		next.Undo = fmt.Sprint("do back ", i+1)
		d.plan.Steps = append(d.plan.Steps, next, next) // what takes two steps back is named once
	}
	d.plan.Steps = append(d.plan.Steps, stopped)
	b := newBench(t, d.word())
	b.want("do x\n", ExitInterrupted)
	b.wantText("do    victim  interrupted  2 of 5 there")
	b.wantText("9 of 10 steps done: wait: context canceled")
	b.wantText("hint: to go on: do x; to go back: do back 4; do back 3; do back 2; do back 1 and 1 more line, which --plan showed as undo")
	b.mode = "interactive"
	b.want("do x\n", ExitInterrupted)
	b.wantText("hint: to go on: do x; to go back: undo\n")
}
