package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// maxAdded is how many columns can be added to a table (OpenMLDB: MAX_ADD_TABLE_FIELD_COUNT).
const maxAdded = 63

// AddTableField adds a column.
func AddTableField(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "addtablefield",
		Systems: systems,
		Topic:   "tables",
		Summary: "add a column to a table",
		Long:    fmt.Sprintf("Rows that are there have NULL in it. At most %d columns can be added, and none taken away.", maxAdded),
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "column", Help: "letters, digits and _"},
			{Name: "type", Kind: spec.ArgEnum, Values: storable, Help: "of its values"},
		},
		Examples: []spec.Example{{Line: "addtablefield flow note string", Says: "a column more, NULL so far"}},
		SeeAlso:  []string{"showschema", "addindex"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			column := driver.Column{Name: line.Arg(1), Type: line.Arg(2)}
			if err := checkName(column.Name); err != nil {
				return nil, err
			}
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			name := t.TableName
			return oneStep("add table field ok", spec.Step{
				Text: fmt.Sprintf("add column %s of type %s to %s", column.Name, column.Type, name), Objects: []string{name.String()},
				Class: spec.Alter,
				Check: func(ctx context.Context) (spec.State, error) {
					now, err := c.Describe(ctx, name)
					if err != nil {
						return spec.State{}, err
					}
					for _, has := range now.Columns {
						switch {
						case has.Name == column.Name && has.Type == column.Type:
							return done("it is there"), nil
						case has.Name == column.Name:
							return blocked("%s is there, as a %s", has.Name, has.Type), nil
						}
					}
					return todo, nil
				},
				Apply: call(func(ctx context.Context) error { return c.AddColumn(ctx, name, column) }),
			}), nil
		},
	}
}

// AddIndex adds an index.
func AddIndex(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "addindex",
		Systems: systems,
		Topic:   "tables",
		Summary: "add an index to a table, filled with the rows that are there",
		Long:    "The nameserver does it by an operation, which showopstatus shows; the index serves once that is done.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "index", Help: "its name"},
			{Name: "columns", Optional: true, Help: "its columns, joined by commas; the one of its name when left out"},
			{Name: "ts", Optional: true, Help: "the column that orders rows under a key"},
		},
		Flags:    []spec.Flag{{Name: "ttl", Kind: spec.ArgText, Default: "0", Help: "when rows expire: 144000, latest:10, absandlat:60:10"}},
		Examples: []spec.Example{{Line: "addindex demo_db/orders item", Says: "orders are found by item, too"}},
		SeeAlso:  []string{"deleteindex", "showschema", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return addIndex(ctx, env, line)
		},
	}
}

func addIndex(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	ttl, err := parseTTLWord(line.String("ttl"))
	if err != nil {
		return nil, err
	}
	index := driver.Index{Name: line.Arg(1), TimeColumn: line.Arg(3), TTL: ttl, Columns: []string{line.Arg(1)}}
	if line.Arg(2) != "" {
		index.Columns = strings.Split(line.Arg(2), ",")
	}
	if err := checkName(index.Name); err != nil {
		return nil, err
	}
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	for _, column := range append(slices.Clone(index.Columns), index.TimeColumn) {
		if column != "" && !slices.ContainsFunc(t.Columns, func(has driver.Column) bool { return has.Name == column }) {
			return nil, spec.Errorf(spec.NotFound, "table %s has no column %q", t.TableName, column).WithHint("showschema %s lists them", t.TableName)
		}
	}
	name := t.TableName
	return oneStep("addindex ok", spec.Step{
		Text: fmt.Sprintf("add index %s on %s to %s", index.Name, strings.Join(index.Columns, ", "), name), Objects: []string{name.String()},
		Class: spec.Alter, Undo: fmt.Sprintf("deleteindex %s %s", name, index.Name),
		Check: hasIndex(c, name, index.Name, true),
		Apply: func(ctx context.Context, report spec.Report) error {
			return causes(ctx, c, line.Wait, report, func(ctx context.Context) error { return c.AddIndex(ctx, name, index) })
		},
	}), nil
}

// DeleteIndex takes an index away.
func DeleteIndex(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "deleteindex",
		Systems: systems,
		Topic:   "tables",
		Summary: "take an index off a table",
		Long:    "Rows that only this index finds are gone with it. The first index cannot be taken away.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "index", Help: "its name"},
		},
		SeeAlso: []string{"addindex", "showschema"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			index := line.Arg(1)
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			name := t.TableName
			if !slices.ContainsFunc(t.Indexes, func(x driver.Index) bool { return x.Name == index }) {
				return nil, spec.Errorf(spec.NotFound, "table %s has no index %q", name, index).WithHint("showschema %s lists them", name)
			}
			p := oneStep("delete index ok", spec.Step{
				Text: fmt.Sprintf("take index %s off %s", index, name), Objects: []string{name.String()}, Class: spec.Destroy,
				Check: hasIndex(c, name, index, false),
				Apply: call(func(ctx context.Context) error { return c.DeleteIndex(ctx, name, index) }),
			})
			p.Name = index
			return p, nil
		},
	}
}

func hasIndex(c schema, table driver.TableName, index string, want bool) func(context.Context) (spec.State, error) {
	return func(ctx context.Context) (spec.State, error) {
		t, err := c.Describe(ctx, table)
		if err != nil {
			return spec.State{}, err
		}
		found := slices.ContainsFunc(t.Indexes, func(x driver.Index) bool { return x.Name == index })
		switch {
		case found != want:
			return todo, nil
		case want:
			return done("%s has it", table), nil
		}
		return done("%s has no index %s", table, index), nil
	}
}
