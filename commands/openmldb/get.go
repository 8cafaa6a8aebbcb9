package openmldb

import (
	"context"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Get reads a row.
func Get(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "get",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "read the newest row under a key, or the one of a time",
		FlagsFirst: true,
		Args: []spec.Arg{
			tableArg,
			{Name: "key", Kind: spec.ArgBytes, Help: "of the index; several columns joined by |"},
			{Name: "index|ts", Optional: true, Help: "an index, the first one when left out; or a time"},
			{Name: "ts", Optional: true, Help: "its exact time in milliseconds; 0 is the newest"},
		},
		Examples: []spec.Example{
			{Line: "get visits card1", Says: "the newest row of card1", Setup: []string{"create visits 0 4 3 card:string:index", "put visits card1"}},
		},
		SeeAlso: []string{"scan", "put", "count"},
		Query: func(ctx context.Context, line *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			t, err := findTable(ctx, c, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			name, at := line.Arg(2), line.Arg(3)
			if name != "" && at == "" && !isIndex(t, name) {
				name, at = "", name
			}
			x, err := index(t, name)
			if err != nil {
				return nil, err
			}
			key, err := keyText(t, x, line.Arg(1))
			if err != nil {
				return nil, err
			}
			q := driver.GetQuery{Index: x.Name, Key: key}
			if q.At, err = parseTime(at); err != nil {
				return nil, err
			}
			row, found, err := c.Get(ctx, t.TableName, q)
			if err != nil {
				return nil, err
			}
			if !found {
				return nil, noRow(t, x, line.Arg(1))
			}
			return spec.Record(rowColumns(t), rowCells(t, row)...), nil
		},
	}
}

// Scan reads the rows of a key.
func Scan(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "scan",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "read the rows under a key, the newest first",
		FlagsFirst: true,
		Args: []spec.Arg{
			tableArg,
			{Name: "key", Kind: spec.ArgBytes, Help: "of the index; several columns joined by |"},
			{Name: "index", Optional: true, Help: "the first one when left out"},
			{Name: "st", Optional: true, Help: "the newest time, included; 0 is no bound"},
			{Name: "et", Optional: true, Help: "the oldest time, left out; 0 is no bound"},
			{Name: "limit", Kind: spec.ArgInt, Optional: true, Help: "at most so many rows; 0 is all"},
		},
		Examples: []spec.Example{
			{Line: "scan visits card1", Says: "all rows of card1", Setup: []string{"create visits 0 4 3 card:string:index", "put visits card1"}},
			{Line: "scan visits card1 card 0 0 10", Says: "the newest ten", Setup: []string{"create visits 0 4 3 card:string:index", "put visits card1"}},
		},
		SeeAlso: []string{"get", "preview", "count"},
		Query: func(ctx context.Context, line *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			t, x, key, err := indexed(ctx, c, line, line.Arg(2))
			if err != nil {
				return nil, err
			}
			q := driver.ScanQuery{Index: x.Name, Key: key, Limit: int(line.ArgInt(5))}
			if q.Newest, err = parseTime(line.Arg(3)); err != nil {
				return nil, err
			}
			if q.Oldest, err = parseTime(line.Arg(4)); err != nil {
				return nil, err
			}
			if q.Limit < 0 || !q.Newest.IsZero() && q.Newest.Before(q.Oldest) {
				return nil, spec.Errorf(spec.Usage, "st is the newest time and may not be before et; a limit is not negative")
			}
			return rowTable(t, c.Scan(ctx, t.TableName, q)), nil
		},
	}
}

// Bounds of preview (OpenMLDB's client: FLAGS_preview_default_limit and its maximum).
const (
	previewRows    = "100"
	maxPreviewRows = 1000
)

// Preview reads some rows of a table.
func Preview(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "preview",
		Systems: systems,
		Topic:   "rows",
		Summary: "read some rows of a table, in no order",
		Args: []spec.Arg{
			tableArg,
			{Name: "limit", Kind: spec.ArgInt, Optional: true, Help: "how many, " + previewRows + " unless given, at most 1000"},
		},
		Examples: []spec.Example{{Line: "preview flow 3", Says: "three of its rows"}},
		SeeAlso:  []string{"scan", "showschema"},
		Query: func(ctx context.Context, line *spec.Call) (*spec.Table, error) {
			limit := line.ArgInt(1)
			if line.Arg(1) == "" {
				limit = 100
			}
			if limit < 1 || limit > maxPreviewRows {
				return nil, spec.Errorf(spec.Usage, "a preview has 1 to %d rows", maxPreviewRows)
			}
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			return rowTable(t, c.Traverse(ctx, t.TableName, driver.TraverseQuery{Partition: -1, Limit: int(limit)})), nil
		},
	}
}

// Count counts the rows of a key.
func Count(env commands.Env) spec.Command {
	return spec.Command{
		Name:       "count",
		Systems:    systems,
		Topic:      "rows",
		Summary:    "count the rows under a key",
		FlagsFirst: true,
		Args: []spec.Arg{
			tableArg,
			{Name: "key", Kind: spec.ArgBytes, Help: "of the index; several columns joined by |"},
			{Name: "index", Optional: true, Help: "the first one when left out"},
			{Name: "filter_expired", Kind: spec.ArgBool, Optional: true, Help: "true leaves out rows that have expired and are not yet collected"},
		},
		Examples: []spec.Example{
			{Line: "count visits card1", Says: "how many rows card1 has", Setup: []string{"create visits 0 4 3 card:string:index", "put visits card1"}},
		},
		SeeAlso: []string{"scan", "info"},
		Query: func(ctx context.Context, line *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			t, x, key, err := indexed(ctx, c, line, line.Arg(2))
			if err != nil {
				return nil, err
			}
			n, err := c.Count(ctx, t.TableName, driver.CountQuery{Index: x.Name, Key: key, Living: line.ArgBool(3)})
			if err != nil {
				return nil, err
			}
			return spec.Record([]spec.Column{{Name: "count", Kind: spec.Int}}, int64(n)), nil
		},
	}
}
