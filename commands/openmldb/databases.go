package openmldb

import (
	"context"
	"slices"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowDB lists the databases.
func ShowDB(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "showdb",
		Systems:  systems,
		Topic:    "tables",
		Summary:  "list the databases",
		Long:     "Without the store's own. Tables may also be in no database.",
		Examples: []spec.Example{{Line: "showdb", Says: "their names"}},
		SeeAlso:  []string{"use", "createdb", "dropdb"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := open(ctx, env, call)
			if err != nil {
				return nil, err
			}
			all, err := c.Databases(ctx)
			if err != nil {
				return nil, err
			}
			rows := make([]spec.Row, len(all))
			for i, name := range all {
				rows[i] = spec.Row{name}
			}
			return &spec.Table{Columns: spec.Columns("name"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// CreateDB makes a database.
func CreateDB(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "createdb",
		Systems:  systems,
		Topic:    "tables",
		Summary:  "create a database",
		Long:     "Creates an empty database. One of that name that exists already is success.",
		Args:     []spec.Arg{{Name: "database", Help: "its name"}},
		Examples: []spec.Example{{Line: "createdb orders", Says: "an empty database"}},
		SeeAlso:  []string{"showdb", "use", "dropdb"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			name := line.Arg(0)
			if err := checkName(name); err != nil {
				return nil, err
			}
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			return oneStep("Create database "+name+" ok", spec.Step{
				Text: "create database " + name, Objects: []string{name}, Class: spec.Alter, Undo: "dropdb " + name,
				Check: hasDatabase(c, name, true),
				Apply: call(func(ctx context.Context) error { return c.CreateDatabase(ctx, name, true) }),
			}), nil
		},
	}
}

// DropDB drops an empty database.
func DropDB(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "dropdb",
		Systems: systems,
		Topic:   "tables",
		Summary: "drop a database that has no tables",
		Args:    []spec.Arg{{Name: "database", Kind: spec.ArgDatabase, Help: "its name"}},
		Examples: []spec.Example{
			{Line: "dropdb orders --yes=orders", Says: "without being asked", Setup: []string{"createdb orders"}},
		},
		SeeAlso: []string{"showdb", "createdb", "drop"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			name := line.Arg(0)
			c, err := open(ctx, env, line)
			if err != nil {
				return nil, err
			}
			all, err := c.Databases(ctx)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(all, name) {
				return nil, spec.Errorf(spec.NotFound, "there is no database %q", name).WithHint("showdb lists the databases")
			}
			tables, err := c.DescribeAll(ctx)
			if err != nil {
				return nil, err
			}
			p := oneStep("Drop database "+name+" ok", spec.Step{
				Text: "drop database " + name, Objects: []string{name}, Class: spec.Destroy, Undo: "createdb " + name,
				Check: hasDatabase(c, name, false),
				Apply: call(func(ctx context.Context) error { return c.DropDatabase(ctx, name) }),
			})
			for _, t := range tables {
				if t.DB == name {
					return nil, spec.Errorf(spec.Refused, "database %s is not empty: it has table %s", name, t.Name).
						WithHint("drop %s first", t.TableName)
				}
			}
			return p, nil
		},
	}
}

// hasDatabase is a Check: there is nothing to do when want is what is found.
func hasDatabase(c schema, name string, want bool) func(context.Context) (spec.State, error) {
	return func(ctx context.Context) (spec.State, error) {
		all, err := c.Databases(ctx)
		switch {
		case err != nil:
			return spec.State{}, err
		case slices.Contains(all, name) != want:
			return todo, nil
		case want:
			return done("%s exists", name), nil
		}
		return done("there is no database %s", name), nil
	}
}

// checkName refuses names that no client could write again.
func checkName(name string) error {
	ok := name != ""
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		ok = ok && (letter || i > 0 && r >= '0' && r <= '9')
	}
	if !ok {
		return spec.Errorf(spec.Usage, "%q cannot be a name", name).WithHint("letters, digits and _, a letter first")
	}
	return nil
}
