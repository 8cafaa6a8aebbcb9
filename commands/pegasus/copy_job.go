package pegasus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// identity tells a table from another of its name.
func (s copySide) identity() string {
	return fmt.Sprintf("%s/%s, %s", s.cluster, s.app.Name, tableIdentity(s.app))
}

func tableIdentity(a driver.App) string {
	return fmt.Sprintf("id %d, created %s", a.ID, a.Created.UTC().Format(time.RFC3339))
}

// step is the copy itself.
func (x *rowCopy) step() spec.Step {
	o := x.options
	target := x.target.identity()
	if x.create { // it may not be there yet; the journal knows which it became
		target = x.target.cluster + "/" + x.target.app.Name
	}
	return spec.Step{
		Text: x.text(), Objects: []string{x.target.app.Name}, Class: spec.Alter,
		Job: &spec.Job{
			Name: "copy",
			Identity: map[string]string{
				"source": x.source.identity(), "target": target, "partitions": x.chosen,
				"filters": fmt.Sprintf("%s %q %s %q %s %q", o.HashKey.Type, o.HashKey.Pattern, o.SortKey.Type, o.SortKey.Pattern, o.Value.Type, o.Value.Pattern),
				"options": fmt.Sprintf("no_ttl %t, no_overwrite %t, no_value %t", x.noTTL, x.keep, o.NoValue),
			},
			Rate: x.rate,
			Run:  x.run,
		},
	}
}

func (x *rowCopy) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, x.each)
	into, err := mustFind(ctx, x.target.c, x.target.cluster, x.target.app.Name)
	if err != nil {
		return err
	}
	src, err := x.source.c.RowSource(x.source.app.Name, driver.RowSourceOptions{
		ScanOptions: x.options, Partitions: x.partitions, Guesses: x.expected(),
	})
	if err != nil {
		return err
	}
	dst := x.target.c.RowSink(into.Name, driver.RowSinkOptions{
		AppID: into.ID, MaxRows: x.rows, NoTTL: x.noTTL, NoOverwrite: x.keep,
	})
	_, err = transfer.Copy(ctx, src, dst, transfer.CopyOptions{
		What: x.text(), Into: fmt.Sprintf("%s with %s", x.target, tableIdentity(into)),
		Window: 2 * x.batches, Batches: x.batches, Singles: x.rows, Patience: x.patience,
	}, w)
	return err
}

// expected are the rows there are to deal with. Of those that match only servers know how many there are, and what they
// have on disk is compressed.
func (x *rowCopy) expected() map[int]driver.Guess {
	if x.options.HashKey.Type != "" || x.options.SortKey.Type != "" {
		return nil
	}
	rows := map[int]driver.Guess{}
	for i, g := range x.guesses {
		rows[i] = driver.Guess{Rows: g.Rows}
	}
	return rows
}

// verifyStep compares what the copy was about. Rows that only the target has do not matter.
func (x *rowCopy) verifyStep() spec.Step {
	compared := func(s copySide) compared { return compared{s.c, s.cluster, s.app} }
	c := &comparison{
		source: compared(x.source), target: compared(x.target), options: x.options, chosen: x.chosen, onlySource: true,
		each: x.each,
	}
	if x.create {
		c.target.app = driver.App{Name: x.target.app.Name}
	}
	c.options.NoValue, c.options.Batch = false, maxBatch
	c.targetView = driver.DiffView{Partitions: x.partitions, Of: x.source.app.Partitions}
	c.sourceView = c.targetView
	c.sourceView.NoValue, c.sourceView.NoTTL = x.options.NoValue, x.noTTL
	step, _ := verifyStep(c)
	step.Job.Rate = x.rate
	run := step.Job.Run
	step.Job.Run = func(ctx context.Context, w spec.Work) error {
		err := run(ctx, w)
		var e *spec.Error
		if spec.KindOf(err) == spec.AnsweredNo && errors.As(err, &e) {
			return e.WithHint("diff_data -c %s -a %s lists them", shown(x.target.cluster), shown(x.target.app.Name))
		}
		return err
	}
	return step
}

// createSteps make the target unless it is there, and wait until it can be written.
func (x *rowCopy) createSteps() []spec.Step {
	w := &creation{client: x.target.c, want: driver.NewApp{
		Name: x.target.app.Name, Partitions: x.source.app.Partitions, Replicas: x.source.app.Replicas, SuccessIfExists: true,
	}}
	w.want.Envs, _ = copiedEnvs(x.source.app.Envs)
	return []spec.Step{
		{
			Text:    fmt.Sprintf("create %s with %s and the settings of %s, unless it is there", x.target, shape(w.want.Partitions, w.want.Replicas), x.source.app.Name),
			Objects: []string{w.want.Name}, Class: spec.Alter, Apply: w.apply, Undo: "drop " + w.want.Name,
			Check: func(ctx context.Context) (spec.State, error) {
				have, exists, err := findApp(ctx, w.client, w.want.Name)
				if err == nil && exists && (have.Status == "AVAILABLE" || have.Status == "CREATING") {
					return spec.State{Kind: spec.Done, Why: fmt.Sprintf("it is there, id %d, with %s", have.ID, shape(have.Partitions, have.Replicas))}, nil
				}
				return w.check(ctx)
			},
		},
		readyStep(x.target.c, w.want.Name, 0),
	}
}

// copiedEnvs are the settings that a new table gets from another one, and the names of those that are only about what
// is going on with that one.
func copiedEnvs(envs map[string]string) (copied map[string]string, left []string) {
	copied = maps.Clone(envs)
	if copied == nil {
		copied = map[string]string{}
	}
	for _, name := range sortedKeys(envs) {
		if name == denyEnv || strings.HasPrefix(name, "duplication.") || strings.HasPrefix(name, "manual_compact.once.") {
			delete(copied, name)
			left = append(left, name)
		}
	}
	return copied, left
}
