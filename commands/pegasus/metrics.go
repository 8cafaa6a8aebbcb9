package pegasus

import (
	"context"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Metrics lists what servers count.
func Metrics(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "metrics",
		Systems: systems,
		Topic:   "cluster",
		Summary: "list the perf counters of servers",
		Long: "Reads the perf counters, whose names contain the pattern; with * or ? in it, the whole name must match. -a keeps those " +
			"of one table's replicas. Reading a volatile counter begins it anew. With -i they are read twice, and the values are those " +
			"of the time in between. Servers after 2.5 have no perf counters.",
		Args: []spec.Arg{{Name: "pattern", Optional: true, Help: "a part of the names, or a pattern: *get_qps*"}},
		Flags: []spec.Flag{
			{
				Name: "type", Short: "t", Kind: spec.ArgEnum, Default: "all",
				Values: []string{"all", driver.RoleMeta, driver.RoleReplica}, Help: "only servers of this role",
			},
			{Name: "app-name", Short: "a", Kind: spec.ArgTable, Help: "only counters of one table's replicas"},
			{Name: "sample-interval", Short: "i", Kind: spec.ArgMillis, Help: "read twice, this far apart"},
		},
		Examples: []spec.Example{
			{Line: "metrics put_qps -a TableA", Says: "writes per second of each of its replicas"},
			{Line: "metrics 'replica*server*'", Says: "what replica servers count of themselves"},
		},
		SeeAlso: []string{"app_stat", "server_stat"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return listMetrics(ctx, env, call)
		},
	}
}

func listMetrics(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	pattern := call.Arg(0)
	glob := strings.ContainsAny(pattern, "*?")
	if _, err := path.Match(pattern, ""); glob && err != nil {
		return nil, spec.Errorf(spec.Usage, "%s is no pattern: %w", quote(pattern), err)
	}
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	suffix, role := "", call.String("type")
	if table := call.String("app-name"); table != "" {
		apps, _, err := statApps(ctx, c, table)
		if err != nil {
			return nil, err
		}
		suffix, role = fmt.Sprintf("@%d.", apps[0].ID), driver.RoleReplica
	}
	servers, err := serversOf(ctx, c, role)
	if err != nil {
		return nil, err
	}
	part := longestPart(pattern)
	if part == "" {
		part = suffix
	}
	if wait := call.Duration("sample-interval"); wait > 0 {
		if _, err := counterLists(ctx, c, servers, part); err != nil {
			return nil, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
	lists, err := counterLists(ctx, c, servers, part)
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	for i, list := range lists {
		for _, counter := range list {
			if matched, _ := path.Match(pattern, counter.Name); glob && !matched || !strings.Contains(counter.Name, suffix) {
				continue
			}
			rows = append(rows, spec.Row{servers[i].Endpoint, servers[i].Role, counter.Name, counter.Type, counter.Value})
		}
	}
	columns := append(spec.Columns("address", "role", "name", "type"), spec.Column{Name: "value", Kind: spec.Float})
	return &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, nil
}

// longestPart is the longest run of a pattern without * and ?, which the servers look for.
func longestPart(pattern string) string {
	longest := ""
	for _, part := range strings.FieldsFunc(pattern, func(r rune) bool { return strings.ContainsRune(`*?[]\`, r) }) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

func counterLists(ctx context.Context, c counting, servers []driver.Server, part string) ([][]driver.Counter, error) {
	lists := make([][]driver.Counter, len(servers))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, s := range servers {
		if !s.Alive {
			continue
		}
		group.Go(func() (err error) {
			lists[i], err = c.CountersNamed(inner, s.Endpoint, part)
			return err
		})
	}
	return lists, group.Wait()
}
