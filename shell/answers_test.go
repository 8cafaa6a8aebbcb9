package shell

import (
	"context"
	"testing"

	"shardsh/commands/spec"
)

// A word whose answer is data answers it when its steps succeeded or said no, and the outcomes when they failed.
func TestAnswersOfAPlan(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, ExitDone, "forty-two"},
		{spec.Errorf(spec.AnsweredNo, "it did not pass"), ExitNo, "forty-two"},
		{spec.Errorf(spec.Failed, "it broke"), ExitFailed, "failed"},
		{spec.Errorf(spec.UnknownOutcome, "no answer"), ExitUnknown, "unknown"},
	} {
		d := newDeed(spec.Alter)
		d.plan.Steps[0].Apply = func(context.Context, spec.Report) error { return c.err }
		d.plan.Answers = func() *spec.Table { return spec.Record(spec.Columns("answer"), "forty-two") }
		b := newBench(t, d.word())
		b.want("do\n", c.code)
		b.wantText(c.text)
	}
}

// A last step that looks at what the others did and says no leaves the code of a check, and the answer.
func TestAnswersOfAPlanThatVerifies(t *testing.T) {
	d := newDeed(spec.Alter)
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error { return nil }
	d.plan.Steps = append(d.plan.Steps, spec.Step{
		Text: "verify", Apply: func(context.Context, spec.Report) error { return spec.Errorf(spec.AnsweredNo, "it differs") },
	})
	d.plan.Answers = func() *spec.Table { return spec.Record(spec.Columns("answer"), "forty-two") }
	b := newBench(t, d.word())
	b.want("do\n", ExitNo)
	b.wantText("forty-two")
}
