//go:build !windows

package shell

import (
	"context"
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
	b.wantText("the same line again does what is left: do x")
	if d.applied != 0 || set.value != "lively" {
		t.Errorf("the second step ran %d times, the setting is %s", d.applied, set.value)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "holds", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
