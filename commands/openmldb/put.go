package openmldb

import (
	"context"
	"fmt"
	"slices"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Put writes a row.
func Put(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "put",
		Systems: systems,
		Topic:   "rows",
		Summary: "write a row",
		Long: "Takes a value for each column, in order. Where no index has a column for the time, the time of the row in milliseconds " +
			"may stand before them. A date is 2024-05-17, a timestamp milliseconds or 2024-05-17T12:00:00Z, and null no value.",
		FlagsFirst: true,
		Flags:      []spec.Flag{{Name: "null", Kind: spec.ArgText, Default: "null", Help: "the word that means no value"}},
		Args: []spec.Arg{
			tableArg,
			{Name: "value", Kind: spec.ArgBytes, Repeated: true, Help: "[ts] and a value for each column"},
		},
		Examples: []spec.Example{
			{Line: "put visits card1 12.5 2024-05-17T12:00:00Z", Says: "a value for each column", Setup: []string{"create visits 0 4 3 card:string:index amount:double at:timestamp:ts"}},
		},
		SeeAlso: []string{"get", "scan", "showschema"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			row, err := newRow(t, line.Rest(1), line.String("null"))
			if err != nil {
				return nil, err
			}
			name := t.TableName
			return oneStep("Put ok", spec.Step{
				Text: "put a row into " + name.String(), Objects: []string{name.String()}, Class: spec.Alter, Rows: true,
				Apply: call(func(ctx context.Context) error { return c.Put(ctx, name, row) }),
			}), nil
		},
	}
}

// newRow reads the values of a row, and its time where that may be given.
func newRow(t *driver.Table, words []string, null string) (driver.Row, error) {
	var row driver.Row
	timed := slices.ContainsFunc(t.Indexes, func(x driver.Index) bool { return x.TimeColumn != "" })
	if len(words) == len(t.Columns)+1 && !timed {
		at, err := parseTime(words[0])
		if err != nil {
			return row, err
		}
		row.Time, words = at, words[1:]
	}
	if len(words) != len(t.Columns) {
		return row, spec.Errorf(spec.Usage, "%s for the %s of %s", commands.Plural(len(words), "value"), commands.Plural(len(t.Columns), "column"), t.TableName).
			WithHint("showschema %s lists them", t.TableName)
	}
	for i, column := range t.Columns {
		if words[i] == null {
			if column.NotNull {
				return row, spec.Errorf(spec.Usage, "column %s may not be NULL", column.Name)
			}
			row.Values = append(row.Values, nil)
			continue
		}
		v, err := driver.ParseValue(words[i], column.Type)
		if err != nil {
			return row, spec.Errorf(spec.Usage, "column %s: %w", column.Name, err)
		}
		row.Values = append(row.Values, v)
	}
	if row.Time.IsZero() && !timed {
		row.Time = time.Now()
	}
	return row, nil
}

// Delete takes the rows of a key away.
func Delete(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "delete",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "delete every row under a key",
		Long:       "Rows are deleted from that index; other indexes still find them.",
		FlagsFirst: true,
		Args: []spec.Arg{
			tableArg,
			{Name: "key", Kind: spec.ArgBytes, Help: "of the index; several columns joined by |"},
			{Name: "index", Optional: true, Help: "the first one when left out"},
		},
		Examples: []spec.Example{
			{Line: "delete visits card1", Says: "all rows of card1", Setup: []string{"create visits 0 4 3 card:string:index", "put visits card1"}},
		},
		SeeAlso: []string{"put", "count"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			t, x, key, err := indexed(ctx, c, line, line.Arg(2))
			if err != nil {
				return nil, err
			}
			return oneStep("delete ok", spec.Step{
				Text: fmt.Sprintf("delete the rows under a key of index %s of %s", x.Name, t.TableName), Objects: []string{t.TableName.String()},
				Class: spec.Alter, Rows: true,
				Apply: call(func(ctx context.Context) error {
					return c.Delete(ctx, t.TableName, driver.DeleteQuery{Index: x.Name, Key: key})
				}),
			}), nil
		},
	}
}
