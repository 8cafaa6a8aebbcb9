package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// maxListed bounds how many differences are listed: they are kept in memory and in the journal.
const maxListed = 10_000

// DiffData compares two tables.
func DiffData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "diff_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "compare a table with another one, here or in another cluster",
		Long: "Reads both tables from end to end by the same index, many partitions at a time, and sums their rows by checksums that depend " +
			"neither on partitions nor on order. Where sums differ, the rows behind them are read once more and compared one by one, in bounded memory. " +
			"A row is missing from the target, extra in the target, or different: of the same key and time, with other values. Rows that " +
			"share key and time are paired in the order of their bytes, so that one more or less among them can make several different. " +
			"A difference is read again on both sides before it counts, so that rows written meanwhile count only if they still differ then. " +
			"Rows that have expired from the index are not there; --index chooses which it is. It exits 0 when the tables are equal and 7 " +
			"when they are not. It is a job: its journal lets it go on after an interruption.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "[db/]name, the source"}},
		Flags: slices.Concat(twoTables, []spec.Flag{
			callTimeFlag, indexFlag, fromFlag, toFlag,
			{Name: "limit", Kind: spec.ArgInt, Default: "100", Help: "how many differences to list, 0 to 10000"},
			{Name: "max-rate", Kind: spec.ArgRate, Help: "how much of both tables together: 50000rows/s, 20MB/s"},
			{Name: "no-values", Kind: spec.ArgBool, Help: "list differences without the values"},
		}),
		Examples: []spec.Example{
			{
				Line: "diff_data flow -c openmldb2 -a flow", Says: "is the copy complete?",
				Setup: []string{"copy_data flow -c openmldb2 -a flow --create"},
			},
			{
				Line: "diff_data flow -c openmldb2 -a flow --index mcc --from 2018-06-13T00:00:00Z --limit 10", Says: "by another index, newer rows only",
				Setup: []string{"copy_data flow -c openmldb2 -a flow --create"},
			},
		},
		SeeAlso: []string{"copy_data", "count_data"},
		Reads:   func(*spec.Call) bool { return true },
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return diffData(ctx, env, line)
		},
	}
}

func diffData(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	s, err := readSelection(line)
	if err != nil {
		return nil, err
	}
	c := &comparison{job: "diff", selection: s, rate: line.Rate("max-rate"), limit: int(line.Int("limit")), noValues: line.Bool("no-values")}
	if c.limit < 0 || c.limit > maxListed {
		return nil, spec.Errorf(spec.Usage, "%d differences cannot be listed", c.limit).WithHint("0 to %d", maxListed)
	}
	if c.source, err = openFirst(ctx, env, line); err != nil {
		return nil, err
	}
	if err = s.of(c.source.table, line.String(indexFlag.Name)); err != nil {
		return nil, err
	}
	if c.target, err = openSecond(ctx, env, line, c.source); err != nil {
		return nil, err
	}
	if c.target.table == nil {
		return nil, spec.Errorf(spec.NotFound, "%s has no table %s", c.target.cluster, c.target.name)
	}
	if err := driver.SameLayout(c.source.table, c.target.table); err != nil {
		return nil, err
	}
	if err := driver.SameIndex(c.target.table, s.index); err != nil {
		return nil, err
	}
	notes := append([]string{c.source.state(nil), c.target.state(nil), s.indexNote(c.source.table)}, indexNotes(c.source.table, c.target)...)
	return &spec.Plan{Title: c.title(), Notes: notes, Steps: []spec.Step{c.step()}, Answers: c.answers}, nil
}

// comparison is two tables compared by a job: of its own, or as the last step of a copy.
type comparison struct {
	*selection
	job            string // names the journal
	source, target copySide
	onlySource     bool // extra rows of the target are no differences
	limit          int
	noValues       bool
	rate           spec.Rate

	diff commands.Differences[driver.CopyRow]
}

func (c *comparison) title() string {
	return fmt.Sprintf("compare %s with %s%s", c.source, c.target, c.text())
}

func (c *comparison) step() spec.Step {
	identity := c.selection.identity()
	identity["source"], identity["target"] = c.source.identity(), c.target.identity()
	identity["only_source"] = strconv.FormatBool(c.onlySource)
	if c.onlySource { // the target may be made by the plan
		identity["target"] = c.target.cluster + ":" + c.target.name.String()
	}
	return spec.Step{
		Text: c.title(), Objects: []string{c.source.name.String(), c.target.name.String()}, Class: spec.Read,
		Job: &spec.Job{Name: c.job, Identity: identity, Rate: c.rate, Run: c.run},
	}
}

func (c *comparison) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, c.each)
	c.diff.OnlySource, c.diff.Limit = c.onlySource, c.limit
	return c.diff.Compare(ctx, c.title(), c.selection.source(c.source, true), c.selection.source(c.target, false), driver.CopyRows{}, w)
}

// answers makes the answer of what was found.
func (c *comparison) answers() *spec.Table {
	columns := []spec.Column{{Name: "key", Kind: spec.Bytes}, {Name: "ts", Kind: spec.Time}, {Name: "difference"}}
	if !c.noValues {
		columns = append(columns, spec.Column{Name: "source_row"}, spec.Column{Name: "target_row"})
	}
	var rows []spec.Row
	for _, f := range c.diff.Found {
		row := f.Source
		if row == nil {
			row = f.Target
		}
		if row == nil || f.Difference < transfer.Same || f.Difference > transfer.Drift {
			continue // a journal is a file
		}
		cells := spec.Row{row.Key, time.UnixMilli(int64(min(row.Time, 1<<62))), f.Difference.String()}
		if !c.noValues {
			cells = append(cells, c.cell(f.Source, c.source.table), c.cell(f.Target, c.source.table))
		}
		rows = append(rows, cells)
	}
	t := c.diff.Totals
	summary := spec.Record([]spec.Column{
		{Name: "index"},
		{Name: "source_rows", Kind: spec.Int},
		{Name: "target_rows", Kind: spec.Int},
		{Name: "equal_rows", Kind: spec.Int},
		{Name: "missing", Kind: spec.Int},
		{Name: "extra", Kind: spec.Int},
		{Name: "different", Kind: spec.Int},
		{Name: "equal", Kind: spec.Bool},
	}, c.index.Name, t.SourceRows, t.TargetRows, t.Equal(), t.Missing, t.Extra, t.Different, t.Differences() == 0)
	summary.Section = "summary"
	summary.Notes = func() []string { return c.diff.Notes(len(rows)) }
	return &spec.Table{Section: "differences", Columns: columns, Rows: spec.RowsOf(rows...), More: []*spec.Table{summary}}
}

// cell is a row as one text: its values by the names of their columns.
func (c *comparison) cell(row *driver.CopyRow, t *driver.Table) any {
	if row == nil {
		return nil
	}
	if row.Value == nil {
		return "(too long to be listed)"
	}
	values, err := row.Values(t)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	parts := make([]string, len(values))
	for i, v := range values {
		text := "NULL"
		switch x := v.(type) {
		case nil:
		case string:
			text = strconv.Quote(x)
		case float32:
			text = strconv.FormatFloat(driver.Widen(x), 'g', -1, 64)
		default:
			text = fmt.Sprint(x)
		}
		parts[i] = t.Columns[i].Name + "=" + text
	}
	return strings.Join(parts, " ")
}
