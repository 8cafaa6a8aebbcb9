package pegasus

import (
	"context"
	"fmt"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// comparison is two tables compared by a job: of its own, or as the last step of a copy.
type comparison struct {
	job            string // names the journal
	source, target compared
	options        driver.ScanOptions // for both sides
	chosen         string             // the partitions of the source that it is about, "" for all
	// The source may be looked at as a copy of it would be.
	sourceView, targetView driver.DiffView
	onlySource             bool // extra rows of the target are no differences
	drift                  time.Duration
	limit                  int // differences to list
	noValues               bool
	each                   time.Duration // for a call, 0 for what the options say
	rate                   spec.Rate     // unless the job is told another

	diff commands.Differences[driver.CopyRow]
}

// verifyStep compares the rows that a copy has read, by its filters, with the target's: all that were copied must be
// there just so. With onlySource other rows of the target do not matter, which is right unless it was empty before; of
// a copy without values, or without times to live, the source is looked at as if it had none. The comparison answers
// what it found once the step has run.
func verifyStep(c *comparison) (spec.Step, func() *spec.Table) {
	c.job = "verify"
	return c.step(), c.answers
}

func (c *comparison) text() string {
	text := fmt.Sprintf("compare %s with %s", c.source, c.target)
	o := c.options
	if what := filterText("hash key", o.HashKey) + filterText("sort key", o.SortKey) + filterText("value", o.Value); what != "" {
		text += ", rows" + what
	}
	if c.chosen != "" {
		text += ", partitions " + c.chosen
	}
	return text
}

func (c *comparison) step() spec.Step {
	o := c.options
	return spec.Step{
		Text: c.text(), Objects: []string{c.source.app.Name, c.target.app.Name}, Class: spec.Read,
		Job: &spec.Job{
			Name: c.job,
			Identity: map[string]string{
				"source": c.source.identity(), "target": c.target.identity(), "partitions": c.chosen,
				"filters":     fmt.Sprintf("%s %q %s %q %s %q", o.HashKey.Type, o.HashKey.Pattern, o.SortKey.Type, o.SortKey.Pattern, o.Value.Type, o.Value.Pattern),
				"ttl_drift":   c.drift.String(),
				"only_source": fmt.Sprint(c.onlySource), "view": fmt.Sprint(c.sourceView.NoValue, c.sourceView.NoTTL),
			},
			Rate: c.rate,
			Run:  c.run,
		},
	}
}

func (c *comparison) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, c.each)
	c.diff.OnlySource, c.diff.Limit = c.onlySource, c.limit
	source := c.source.c.DiffSource(c.source.app.Name, c.options, c.sourceView)
	target := c.target.c.DiffSource(c.target.app.Name, c.options, c.targetView)
	return c.diff.Compare(ctx, c.text(), source, target, driver.CopyRows{Drift: c.drift}, w)
}

// answers makes the answer of what was found.
func (c *comparison) answers() *spec.Table {
	columns := []spec.Column{{Name: "hash_key", Kind: spec.Bytes}, {Name: "sort_key", Kind: spec.Bytes}, {Name: "difference"}}
	if !c.noValues {
		columns = append(columns, spec.Column{Name: "source_value", Kind: spec.Bytes}, spec.Column{Name: "target_value", Kind: spec.Bytes})
	}
	columns = append(columns, spec.Column{Name: "source_ttl", Kind: spec.Duration}, spec.Column{Name: "target_ttl", Kind: spec.Duration})
	now := time.Now()
	var rows []spec.Row
	for _, f := range c.diff.Found {
		if row := c.differenceRow(f, now); row != nil {
			rows = append(rows, row)
		}
	}
	t := c.diff.Totals
	summary := spec.Record(
		append(ints("source_rows", "target_rows", "equal_rows", "missing", "extra", "different", "ttl_drift"),
			spec.Column{Name: "equal", Kind: spec.Bool}),
		t.SourceRows, t.TargetRows, t.Equal(), t.Missing, t.Extra, t.Different, t.Drift, t.Differences() == 0)
	summary.Section = "summary"
	summary.Notes = func() []string { return c.diff.Notes(len(rows)) }
	return &spec.Table{Section: "differences", Columns: columns, Rows: spec.RowsOf(rows...), More: []*spec.Table{summary}}
}

// differenceRow is a line of the list, nil for what no comparison would have found (a journal is a file).
func (c *comparison) differenceRow(f transfer.Found[driver.CopyRow], now time.Time) spec.Row {
	row := f.Source
	if row == nil {
		row = f.Target
	}
	if row == nil {
		return nil
	}
	hash, sort, err := driver.CopyKey(*row)
	if err != nil || f.Difference < transfer.Same || f.Difference > transfer.Drift {
		return nil
	}
	cells := spec.Row{hash, sort, f.Difference.String()}
	if !c.noValues {
		cells = append(cells, valueCell(f.Source), valueCell(f.Target))
	}
	return append(cells, ttlCell(f.Source, now), ttlCell(f.Target, now))
}

func valueCell(row *driver.CopyRow) any {
	if row == nil {
		return nil
	}
	if row.Value == nil {
		return []byte{}
	}
	return row.Value
}

// ttlCell is what a row has left, in whole seconds.
func ttlCell(row *driver.CopyRow, now time.Time) any {
	if row == nil || row.ExpireTS == 0 {
		return nil
	}
	return max(driver.CopyExpires(*row).Sub(now).Truncate(time.Second), 0)
}
