package pegasus

import (
	"context"
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
		Summary: "list what servers count: perf counters or metrics",
		Long: "Reads what servers count whose names contain the pattern; with * or ? in it, the whole name must match. -a keeps what " +
			"is counted of one table's replicas. Up to 2.5 these are perf counters: reading a volatile one begins it anew, and with -i " +
			"they are read twice, so that the values are those of the time in between. After it they come from /metrics and have other " +
			"names: replica*get_requests@2.0, where 2.0 is a replica, server*resident_mem_usage_mb. Those of type Counter only grow; " +
			"with -i what was added in between is shown.",
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
	filter, role := driver.CounterFilter{Contains: longestPart(pattern)}, call.String("type")
	if table := call.String("app-name"); table != "" {
		apps, _, err := statApps(ctx, c, table)
		if err != nil {
			return nil, err
		}
		filter.App, role = apps[0].ID, driver.RoleReplica
	}
	servers, err := serversOf(ctx, c, role)
	if err != nil {
		return nil, err
	}
	var before []*driver.CounterList
	if wait := call.Duration("sample-interval"); wait > 0 {
		if before, err = counterLists(ctx, c, servers, filter); err != nil {
			return nil, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
	lists, err := counterLists(ctx, c, servers, filter)
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	for i, list := range lists {
		if list == nil {
			continue
		}
		if before != nil {
			addedSince(list, before[i])
		}
		for _, counter := range list.Counters {
			if matched, _ := path.Match(pattern, counter.Name); glob && !matched {
				continue
			}
			rows = append(rows, spec.Row{servers[i].Endpoint, servers[i].Role, counter.Name, counter.Type, counter.Value})
		}
	}
	columns := append(spec.Columns("address", "role", "name", "type"), spec.Column{Name: "value", Kind: spec.Float})
	return &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, nil
}

// addedSince puts in place of totals what was added since an earlier list; what was not there then keeps what it has.
func addedSince(list, before *driver.CounterList) {
	if before == nil || !list.Totals || !before.Totals {
		return
	}
	was := map[string]float64{}
	for _, c := range before.Counters {
		was[c.Name] = c.Value
	}
	for i := range list.Counters {
		c := &list.Counters[i]
		if earlier := was[c.Name]; c.Type == "Counter" && c.Value >= earlier {
			c.Value -= earlier
		}
	}
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

// counterLists asks the live servers; nil for a dead one.
func counterLists(ctx context.Context, c counting, servers []driver.Server, f driver.CounterFilter) ([]*driver.CounterList, error) {
	lists := make([]*driver.CounterList, len(servers))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, s := range servers {
		if !s.Alive {
			continue
		}
		group.Go(func() (err error) {
			lists[i], err = c.ListCounters(inner, s.Endpoint, f)
			return err
		})
	}
	return lists, group.Wait()
}
