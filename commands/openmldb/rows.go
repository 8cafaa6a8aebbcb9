package openmldb

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

// kinds says how the values of a type are shown.
var kinds = map[string]spec.Kind{
	"bool": spec.Bool, "smallint": spec.Int, "int": spec.Int, "bigint": spec.Int,
	"float": spec.Float, "double": spec.Float, "timestamp": spec.Time,
	"string": spec.Bytes, "varchar": spec.Bytes,
}

// rowColumns are a table's columns behind the time of a row, which has another name where a column is called so.
func rowColumns(t *driver.Table) []spec.Column {
	name := "ts"
	if slices.ContainsFunc(t.Schema.Columns, func(c driver.RowColumn) bool { return c.Name == name }) {
		name = "row_ts"
	}
	columns := []spec.Column{{Name: name, Kind: spec.Time}}
	for _, c := range t.Schema.Columns {
		columns = append(columns, spec.Column{Name: c.Name, Kind: kinds[driver.TypeName(c.Type)]})
	}
	return columns
}

// rowTable shows rows of a table.
func rowTable(t *driver.Table, rows iter.Seq2[driver.Row, error]) *spec.Table {
	return &spec.Table{Columns: rowColumns(t), Rows: func(yield func(spec.Row, error) bool) {
		for r, err := range rows {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(rowCells(t, r), nil) {
				return
			}
		}
	}}
}

func rowCells(t *driver.Table, r driver.Row) spec.Row {
	cells := spec.Row{r.Time}
	for i, v := range r.Values {
		switch x := v.(type) {
		case int16:
			v = int64(x)
		case float32:
			v, _ = strconv.ParseFloat(driver.FormatValue(x), 64) // as short as it was written
		case driver.Date:
			v = x.String()
		case int64:
			if t.Schema.Columns[i].Type == driver.Timestamp {
				v = time.UnixMilli(x)
			}
		}
		cells = append(cells, v)
	}
	return cells
}

// index finds an index by its name; "" is the first one.
func index(t *driver.Table, name string) (driver.Index, error) {
	var names []string
	for _, x := range t.Indexes {
		if x.Name == name || name == "" {
			return x, nil
		}
		names = append(names, x.Name)
	}
	return driver.Index{}, spec.Errorf(spec.NotFound, "table %s has no index %q", t.TableName, name).
		WithHint("its indexes: %s", strings.Join(names, ", "))
}

// isIndex says whether a word names an index.
func isIndex(t *driver.Table, word string) bool {
	return slices.ContainsFunc(t.Indexes, func(x driver.Index) bool { return x.Name == word })
}

// parseTime reads a time as milliseconds or RFC 3339; 0 is no time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	v, err := driver.ParseValue(text, driver.Timestamp)
	if err != nil {
		return time.Time{}, spec.Errorf(spec.Usage, "%w", err)
	}
	if ms := v.(int64); ms > 0 {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, nil
}

// keyText is an index key as it is stored: a date is stored as the number it is.
func keyText(t *driver.Table, x driver.Index, text string) (string, error) {
	if len(x.Columns) != 1 {
		return text, nil
	}
	for _, c := range t.Schema.Columns {
		if c.Name != x.Columns[0] {
			continue
		}
		if text == "" {
			return driver.EmptyKey, nil
		}
		v, err := driver.ParseValue(text, c.Type)
		if err != nil {
			return "", spec.Errorf(spec.Usage, "column %s: %w", c.Name, err)
		}
		return driver.KeyText(v), nil
	}
	return text, nil
}

// tableArg is the first argument of the words of rows.
var tableArg = spec.Arg{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"}

// indexed answers a table, its index and a key.
func indexed(ctx context.Context, c schema, line *spec.Call, indexName string) (*driver.Table, driver.Index, string, error) {
	t, err := findTable(ctx, c, line, line.Arg(0))
	if err != nil {
		return nil, driver.Index{}, "", err
	}
	x, err := index(t, indexName)
	if err != nil {
		return nil, x, "", err
	}
	key, err := keyText(t, x, line.Arg(1))
	return t, x, key, err
}

func noRow(t *driver.Table, x driver.Index, key string) error {
	return spec.Errorf(spec.NotFound, "table %s has no row under the key %s of index %s", t.TableName, strconv.Quote(key), x.Name)
}
