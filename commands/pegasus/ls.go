package pegasus

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

var appStatuses = []string{"all", "available", "creating", "dropping", "dropped", "recalling"}

// Ls lists tables.
func Ls(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "ls",
		Systems: systems,
		Topic:   "tables",
		Summary: "list the tables, and with -d their health",
		Long: "Lists the tables that can be used; -a adds those being created or dropped and those that can still be recalled. " +
			"With -d it asks for the partitions of every table, one call each: a partition is fully healthy when it has all " +
			"its replicas, write unhealthy when it has fewer than two and should have more, read unhealthy without a primary. " +
			"-p keeps the tables whose names match. Clusters after 2.5 also tell whether incr and checked writes are made idempotent.",
		Flags: []spec.Flag{
			{Name: "all", Short: "a", Kind: spec.ArgBool, Help: "tables in every state; -s wins over it"},
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "count healthy and unhealthy partitions"},
			{Name: "status", Short: "s", Kind: spec.ArgEnum, Values: appStatuses, Help: "only tables in this state"},
			{Name: "app-name-pattern", Short: "p", Kind: spec.ArgText, Help: "only tables whose names match this"},
			{Name: "match-type", Short: "m", Kind: spec.ArgEnum, Default: "anywhere", Values: matchTypes, Help: "which part of a name it must be"},
		},
		Examples: []spec.Example{
			{Line: "ls", Says: "the tables in use"},
			{Line: "ls -p Table -m prefix", Says: "some of them"},
			{Line: "ls -d", Says: "and how they are"},
			{Line: "ls -s dropped", Says: "what can be recalled, and until when"},
		},
		SeeAlso: []string{"app", "showtable", "create", "drop"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return ls(ctx, env, call)
		},
	}
}

func ls(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	matches, err := nameMatcher(call)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	status := call.String("status")
	switch {
	case status != "":
	case call.Bool("all"):
		status = "all"
	default:
		status = "available"
	}
	apps, err := c.Apps(ctx, status)
	if err != nil {
		return nil, err
	}
	told := slices.ContainsFunc(apps, func(a driver.App) bool { return a.AtomicIdempotent != nil })
	apps = slices.DeleteFunc(apps, func(a driver.App) bool { return !matches(a.Name) })
	general := appsTable(apps, told)
	if !call.Bool("detailed") {
		general.Notes = func() []string { return []string{fmt.Sprintf("%d tables", len(apps))} }
		return general, nil
	}
	general.Section = "general_info"
	apps = slices.DeleteFunc(slices.Clone(apps), func(a driver.App) bool { return a.Status != "AVAILABLE" })
	partitions, err := allPartitions(ctx, c, apps)
	if err != nil {
		return nil, err
	}
	general.More = healthTables(apps, partitions)
	return general, nil
}

// matchTypes are the words of the store's own shell.
var matchTypes = []string{"all", "exact", "anywhere", "prefix", "postfix", "regex"}

// nameMatcher is what -p and -m ask of the names of tables.
func nameMatcher(call *spec.Call) (func(name string) bool, error) {
	pattern := call.String("app-name-pattern")
	switch how := call.String("match-type"); {
	case !call.Has("app-name-pattern") && call.Has("match-type") && how != "all":
		return nil, spec.Errorf(spec.Usage, "-m %s needs a pattern", how).WithHint("ls -p PATTERN -m %s", how)
	case !call.Has("app-name-pattern") || how == "all":
		return func(string) bool { return true }, nil
	case how == "anywhere":
		return func(name string) bool { return strings.Contains(name, pattern) }, nil
	case how == "prefix":
		return func(name string) bool { return strings.HasPrefix(name, pattern) }, nil
	case how == "postfix":
		return func(name string) bool { return strings.HasSuffix(name, pattern) }, nil
	case how == "regex":
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, spec.Errorf(spec.Usage, "%s is no regular expression: %w", quote(pattern), err)
		}
		return re.MatchString, nil
	}
	return func(name string) bool { return name == pattern }, nil
}

// appsTable is the table of tables; told says that the cluster tells which of them are atomic_idempotent.
func appsTable(apps []driver.App, told bool) *spec.Table {
	rows := make([]spec.Row, len(apps))
	for i, a := range apps {
		rows[i] = spec.Row{
			a.ID, a.Status, a.Name, a.Type, a.Partitions, a.Replicas, a.Stateful,
			a.Created, a.Dropped, a.Expires, len(a.Envs),
		}
		if told {
			rows[i] = append(rows[i], nil)
			if a.AtomicIdempotent != nil {
				rows[i][len(rows[i])-1] = *a.AtomicIdempotent
			}
		}
	}
	table := &spec.Table{
		Columns: []spec.Column{
			{Name: "app_id", Kind: spec.Int},
			{Name: "status"},
			{Name: "app_name"},
			{Name: "app_type"},
			{Name: "partition_count", Kind: spec.Int},
			{Name: "replica_count", Kind: spec.Int},
			{Name: "is_stateful", Kind: spec.Bool},
			{Name: "create_time", Kind: spec.Time},
			{Name: "drop_time", Kind: spec.Time},
			{Name: "drop_expire", Kind: spec.Time},
			{Name: "envs_count", Kind: spec.Int},
		},
		Rows: spec.RowsOf(rows...),
	}
	if told {
		table.Columns = append(table.Columns, spec.Column{Name: "atomic_idempotent", Kind: spec.Bool})
	}
	return table
}

// healthTables answers the sections healthy_info and summary.
func healthTables(apps []driver.App, partitions []*driver.AppPartitions) []*spec.Table {
	var full, unhealthy, write, read int
	var rows []spec.Row
	for i, a := range apps {
		if partitions[i] == nil {
			continue
		}
		h := healthOf(partitions[i].Partitions)
		rows = append(rows, spec.Row{a.ID, a.Name, a.Partitions, h.full, h.unhealthy, h.writeUnhealthy, h.readUnhealthy})
		full += one(h.unhealthy == 0)
		unhealthy += one(h.unhealthy > 0)
		write += one(h.writeUnhealthy > 0)
		read += one(h.readUnhealthy > 0)
	}
	columns := []spec.Column{{Name: "app_id", Kind: spec.Int}, {Name: "app_name"}}
	columns = append(columns, ints("partition_count", "fully_healthy", "unhealthy", "write_unhealthy", "read_unhealthy")...)
	summary := spec.Record(ints("total_app_count", "fully_healthy_app_count", "unhealthy_app_count",
		"write_unhealthy_app_count", "read_unhealthy_app_count"), len(rows), full, unhealthy, write, read)
	summary.Section = "summary"
	return []*spec.Table{{Section: "healthy_info", Columns: columns, Rows: spec.RowsOf(rows...)}, summary}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ints declares columns of numbers.
func ints(names ...string) []spec.Column {
	columns := spec.Columns(names...)
	for i := range columns {
		columns[i].Kind = spec.Int
	}
	return columns
}
