package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Create makes a table.
func Create(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "create",
		Systems: systems,
		Topic:   "tables",
		Summary: "create a table",
		Long: "Creates a table in the database in use, or in the one named. A column is name:type, with :index when rows are found by " +
			"it, or name:type:ts for the time of the indexes. Types: " + strings.Join(typeNames(), " ") + ". The TTL is 144000 minutes, " +
			"latest:10, absandlat:60:10 or absorlat:60:10; 0 is for ever.",
		Args: []spec.Arg{
			{Name: "table", Help: "[db/]name: letters, digits and _"},
			{Name: "ttl", Help: "when rows expire"},
			{Name: "partitions", Kind: spec.ArgInt, Help: "0 is the store's default, 8"},
			{Name: "replicas", Kind: spec.ArgInt, Help: "copies of each partition, the leader included; 0 is the store's default"},
			{Name: "column", Repeated: true, Help: "name:type[:index|:ts]"},
		},
		Flags: []spec.Flag{
			{Name: "storage", Kind: spec.ArgEnum, Values: []string{"memory", "ssd", "hdd"}, Default: "memory", Help: "where rows live"},
		},
		Examples: []spec.Example{
			{Line: "create visits 144000 4 3 card:string:index amount:double at:timestamp:ts", Says: "4 partitions of 3 replicas, found by card, newest first"},
		},
		SeeAlso: []string{"drop", "showschema", "addindex", "put"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return create(ctx, env, line)
		},
	}
}

// storable are the types that a column may have.
var storable = []string{"bool", "smallint", "int", "bigint", "float", "double", "date", "timestamp", "varchar", "string"}

func typeNames() []string { return storable }

func create(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	want, err := newTable(line)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, err
	}
	found, have, err := look(ctx, c, want.TableName)
	if err != nil {
		return nil, err
	}
	name := want.TableName
	if found && !sameColumns(have.Columns, want.Columns) {
		return nil, spec.Errorf(spec.Refused, "table %s exists already, with other columns", name).WithHint("showschema %s shows them", name)
	}
	if err := enoughTablets(ctx, c, want.Replicas); err != nil {
		return nil, err
	}
	return oneStep("Create table ok", spec.Step{
		Text: fmt.Sprintf("create table %s with %s", name, commands.Plural(len(want.Columns), "column")), Objects: []string{name.String()},
		Class: spec.Alter, Undo: "drop " + name.String(), Check: exists(c, name, true),
		Apply: call(func(ctx context.Context) error { return c.Create(ctx, want) }),
	}), nil
}

// enoughTablets refuses what the nameserver would: each copy needs a healthy tablet of its own.
func enoughTablets(ctx context.Context, c metadata, replicas int) error {
	tablets, err := c.Tablets(ctx)
	if err != nil {
		return err
	}
	healthy := 0
	for _, t := range tablets {
		if t.Healthy {
			healthy++
		}
	}
	if healthy < replicas {
		return spec.Errorf(spec.Refused, "%s need as many healthy tablets, and there are %d", commands.Plural(replicas, "replica"), healthy).
			WithHint("showtablet lists them")
	}
	return nil
}

func sameColumns(a, b []driver.Column) bool {
	return slices.EqualFunc(a, b, func(x, y driver.Column) bool { return x.Name == y.Name && x.Type == y.Type })
}

func newTable(line *spec.Call) (driver.NewTable, error) {
	want := driver.NewTable{
		TableName:  driver.TableName{DB: line.Table, Name: line.Arg(0)},
		Partitions: int(line.ArgInt(2)), Replicas: int(line.ArgInt(3)),
		Storage: map[string]string{"memory": "kMemory", "ssd": "kSSD", "hdd": "kHDD"}[line.String("storage")],
	}
	if db, name, ok := strings.Cut(line.Arg(0), "/"); ok {
		want.TableName = driver.TableName{DB: db, Name: name}
	}
	if err := checkName(want.Name); err != nil {
		return want, err
	}
	if want.Partitions < 0 || want.Replicas < 0 {
		return want, spec.Errorf(spec.Usage, "a table has no negative number of partitions or replicas")
	}
	ttl, err := parseTTLWord(line.Arg(1))
	if err != nil {
		return want, err
	}
	times := ""
	for _, text := range line.Rest(4) {
		column, role, err := parseColumn(text)
		if err != nil {
			return want, err
		}
		if slices.ContainsFunc(want.Columns, func(c driver.Column) bool { return c.Name == column.Name }) {
			return want, spec.Errorf(spec.Usage, "column %s is given twice", column.Name)
		}
		want.Columns = append(want.Columns, column)
		switch role {
		case "index":
			want.Indexes = append(want.Indexes, driver.Index{Name: column.Name, Columns: []string{column.Name}, TTL: ttl})
		case "ts":
			if times != "" {
				return want, spec.Errorf(spec.Usage, "both %s and %s are to be the time", times, column.Name)
			}
			times = column.Name
		}
	}
	if len(want.Indexes) == 0 {
		return want, spec.Errorf(spec.Usage, "no column is an index, so that no row could be found").WithHint("write name:type:index")
	}
	for i := range want.Indexes {
		want.Indexes[i].TimeColumn = times
	}
	return want, nil
}

// parseColumn reads name:type, name:type:index or name:type:ts.
func parseColumn(text string) (column driver.Column, role string, err error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return column, "", spec.Errorf(spec.Usage, "%q is no column", text).WithHint("write name:type, name:type:index or name:type:ts")
	}
	if len(parts) == 3 {
		role = parts[2]
	}
	if err := checkName(parts[0]); err != nil {
		return column, "", err
	}
	name, ok := driver.ParseType(parts[1])
	column = driver.Column{Name: parts[0], Type: name}
	switch {
	case !ok:
		return column, "", spec.Errorf(spec.Usage, "%s: %q is no type", parts[0], parts[1]).WithHint("types: %s", strings.Join(storable, ", "))
	case !slices.Contains([]string{"", "index", "ts"}, role):
		return column, "", spec.Errorf(spec.Usage, "%s: %q is neither index nor ts", parts[0], role)
	case role == "ts" && column.Type != "timestamp" && column.Type != "bigint":
		return column, "", spec.Errorf(spec.Usage, "%s is a %s: the time is a timestamp or a bigint", parts[0], column.Type)
	}
	return column, role, nil
}

// parsePIDs reads the partitions of operators: 0, 0,3,5 or 1-5, both ends included.
func parsePIDs(text string, partitions int) ([]uint32, error) {
	var all []uint32
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 31)
		to, err2 := strconv.ParseUint(last, 10, 31)
		switch {
		case err1 != nil || err2 != nil || from > to:
			return nil, spec.Errorf(spec.Usage, "%q names no partitions", text).WithHint("write 0, 0,3,5 or 1-5")
		case to >= uint64(partitions):
			return nil, spec.Errorf(spec.Usage, "there is no partition %d; they count from 0 to %d", to, partitions-1)
		}
		for pid := from; pid <= to; pid++ {
			if !slices.Contains(all, uint32(pid)) {
				all = append(all, uint32(pid))
			}
		}
	}
	return all, nil
}
