package pegasus

import (
	"context"
	"errors"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// conditionFlags are those of the conditional writes.
var conditionFlags = []spec.Flag{
	{Name: "check-sort-key", Short: "c", Kind: spec.ArgBytes, Required: true, Help: "the row that is looked at"},
	{
		Name: "check-type", Short: "t", Kind: spec.ArgEnum, Values: driver.CheckTypes(), Required: true,
		Help: "what it must be like: there or not, or how its value compares with -o",
	},
	{Name: "check-operand", Short: "o", Kind: spec.ArgBytes, Help: "what the value is compared with; for match_, bytes_ and int_"},
	{Name: "return-check-value", Short: "r", Kind: spec.ArgBool, Help: "also show the value that was looked at"},
}

// checkLong ends the help of the conditional writes.
const checkLong = "A row that is not there passes only not_exist and not_exist_or_empty; int_ compares 64-bit integers, " +
	"and a value or operand that is none is an error, exit code 1. When the check does not pass nothing is written, the answer " +
	"says so and the exit code is 7. When no answer comes at all the outcome is unknown, exit code 6."

func checkOf(call *spec.Call) (driver.Check, error) {
	c := driver.Check{
		Sort: []byte(call.String("check-sort-key")), Type: call.String("check-type"), Operand: []byte(call.String("check-operand")),
		Return: call.Bool("return-check-value"),
	}
	switch needs := driver.CheckNeedsOperand(c.Type); {
	case needs && !call.Has("check-operand"):
		return c, spec.Errorf(spec.Usage, "%s compares with something", c.Type).WithHint("-o says with what; \"\" is possible")
	case !needs && call.Has("check-operand"):
		return c, spec.Errorf(spec.Usage, "%s compares with nothing", c.Type).WithHint("leave out -o")
	}
	return c, nil
}

// checkedPlan is a plan of one conditional write. wrote names the column that tells whether it was made.
func checkedPlan(text, wrote string, k key, check driver.Check, apply func(ctx context.Context) (driver.Checked, error)) *spec.Plan {
	text += ", checking " + quote(string(check.Sort)) + " for " + check.Type
	var done driver.Checked
	p := &spec.Plan{
		Title: text,
		Steps: []spec.Step{{
			Text: text, Objects: []string{k.row()}, Class: spec.Alter, Rows: true,
			Apply: func(ctx context.Context, _ spec.Report) error {
				var err error
				if done, err = apply(ctx); err == nil && !done.Passed {
					return notPassed(text, check, done)
				}
				return err
			},
		}},
	}
	p.Answers = func() *spec.Table { return checkedRecord(wrote, k, check, done) }
	return p
}

func notPassed(text string, check driver.Check, done driver.Checked) error {
	e := &spec.Error{
		Kind: spec.AnsweredNo, Op: text, Endpoint: done.Ack.Server, Err: errors.New("the check did not pass: nothing was written"),
	}
	if !check.Return {
		return e.WithHint("-r shows the value that was looked at")
	}
	return e
}

func checkedRecord(wrote string, k key, check driver.Check, done driver.Checked) *spec.Table {
	var exist, value any
	if done.Returned {
		exist = done.Exists
		if done.Exists {
			value = done.Value
		}
	}
	return spec.Record(
		[]spec.Column{
			{Name: "hash_key", Kind: spec.Bytes},
			{Name: "check_sort_key", Kind: spec.Bytes},
			{Name: wrote, Kind: spec.Bool},
			{Name: "check_value_exist", Kind: spec.Bool},
			{Name: "check_value", Kind: spec.Bytes},
			{Name: "app_id", Kind: spec.Int},
			{Name: "partition_index", Kind: spec.Int},
			{Name: "server"},
			{Name: "decree", Kind: spec.Int},
		},
		k.hash, check.Sort, done.Passed, exist, value, done.Ack.AppID, done.Ack.Partition, commands.Word(done.Ack.Server), done.Ack.Decree)
}
