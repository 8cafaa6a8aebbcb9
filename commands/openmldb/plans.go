package openmldb

import (
	"context"
	"fmt"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// todo is the state of a step that is still to be done.
var todo = spec.State{Kind: spec.Todo}

func done(format string, args ...any) spec.State {
	return spec.State{Kind: spec.Done, Why: fmt.Sprintf(format, args...)}
}

func blocked(format string, args ...any) spec.State {
	return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf(format, args...)}
}

// oneStep is the plan of a single call, whose success the store's own client would call `says`.
func oneStep(says string, step spec.Step) *spec.Plan {
	return &spec.Plan{Title: step.Text, Name: strings.Join(step.Objects, ","), Success: says, Steps: []spec.Step{step}}
}

// call makes a step's Apply of something that needs no report.
func call(do func(context.Context) error) func(context.Context, spec.Report) error {
	return func(ctx context.Context, _ spec.Report) error { return do(ctx) }
}

// exists is a Check: a table that is there. There is nothing to do when want is what is found.
func exists(c schema, table driver.TableName, want bool) func(context.Context) (spec.State, error) {
	return func(ctx context.Context) (spec.State, error) {
		found, _, err := look(ctx, c, table)
		switch {
		case err != nil:
			return spec.State{}, err
		case found != want:
			return todo, nil
		case want:
			return done("%s exists", table), nil
		}
		return done("there is no table %s", table), nil
	}
}

// look answers a table, or that there is none.
func look(ctx context.Context, c schema, table driver.TableName) (bool, *driver.Table, error) {
	t, err := c.Describe(ctx, table)
	if err != nil && spec.KindOf(err) == spec.NotFound {
		return false, nil, nil
	}
	return err == nil, t, err
}

// at is how people write a partition: `db/flow/0`.
func at(table driver.TableName, pid uint32) string { return fmt.Sprintf("%s/%d", table, pid) }

// flip is the other one of two words.
func flip(value, one, other string) string {
	if value == one {
		return other
	}
	return one
}
