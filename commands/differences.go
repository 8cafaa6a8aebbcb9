package commands

import (
	"context"
	"fmt"
	"strings"

	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// Differences is what a comparison of two tables found. Its zero value compares everything and keeps no difference.
type Differences[R any] struct {
	Limit      int  // differences to keep
	OnlySource bool // extra rows of the target are no differences
	Totals     transfer.DiffTotals
	Found      []transfer.Found[R]
}

// Compare is the work of a job that compares tables. It ends in spec.AnsweredNo where they differ; what says which they are.
func (d *Differences[R]) Compare(
	ctx context.Context, what string, source, target transfer.Source[R], rows transfer.Rows[R], w spec.Work,
) error {
	o := transfer.DiffOptions{OnlySource: d.OnlySource, Limit: d.Limit}
	if d.Limit == 0 {
		o.Limit = -1
	}
	d.Found = nil
	var err error
	d.Totals, err = transfer.Diff(ctx, source, target, rows, o, w, func(f transfer.Found[R]) error {
		d.Found = append(d.Found, f)
		return nil
	})
	if err != nil {
		return err
	}
	w.Detail("%s", d.Verdict())
	if d.Totals.Differences() > 0 {
		e := spec.Errorf(spec.AnsweredNo, "%s", d.Verdict())
		e.Op = what
		return e
	}
	return nil
}

// Verdict says in words how the tables differ.
func (d *Differences[R]) Verdict() string {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{
		{d.Totals.Missing, "missing"},
		{d.Totals.Extra, "extra"},
		{d.Totals.Different, "different"},
		{d.Totals.Drift, "with another ttl"},
	} {
		if p.n > 0 {
			parts = append(parts, Rows(p.n)+" "+p.what)
		}
	}
	if parts == nil {
		return "equal: " + Rows(d.Totals.SourceRows)
	}
	return strings.Join(parts, ", ")
}

// Notes are said below a list of so many of the differences.
func (d *Differences[R]) Notes(listed int) []string {
	var notes []string
	if more := d.Totals.Differences() - int64(listed); more > 0 {
		notes = append(notes, fmt.Sprintf("%d of %s listed; --limit lists more", listed, Plural(d.Totals.Differences(), "difference")))
	}
	if n := d.Totals.Settled; n > 0 {
		notes = append(notes, fmt.Sprintf("%s that differed at first had become equal when read again: something writes to these tables", Rows(n)))
	}
	return notes
}
