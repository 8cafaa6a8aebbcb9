package pegasus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// QueryDisk lists the disks of replica servers.
func QueryDisk(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "query_disk",
		Aliases: []string{"disk_capacity", "disk-capacity", "disk_replica", "disk-replica"},
		Systems: systems,
		Topic:   "partitions",
		Summary: "list the disks of the replica servers, how full they are and what is on them",
		Long: "Asks every live replica server, a few at a time, for its data directories: capacity, what is free, and how many primaries " +
			"and secondaries are on each. Below 10 % free, unless it is configured otherwise, a server refuses writes to the partitions " +
			"on a disk. With -a only replicas of one table count, and servers without any are left out. When a server that was asked " +
			"does not answer, the exit code is 3, or 1 when none did.",
		Flags: []spec.Flag{
			{Name: "node", Short: "n", Kind: spec.ArgEndpoint, Help: "only this replica server, by its endpoint or the end of it"},
			{Name: "tag", Short: "t", Kind: spec.ArgDisk, Help: "only disks with this tag"},
			{Name: "app-name", Short: "a", Kind: spec.ArgTable, Help: "count replicas of this table only"},
			{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "also each replica with its disk and directory"},
		},
		Examples: []spec.Example{
			{Line: "query_disk", Says: "how full the disks are"},
			{Line: "query_disk -n .31 -a TableA -d", Says: "where one server has one table"},
		},
		SeeAlso: []string{"disk_migrate", "app_disk", "nodes"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return queryDisk(ctx, env, call)
		},
	}
}

// nodeDisks is what one replica server answered.
type nodeDisks struct {
	node  string
	disks []driver.Disk
	err   error
}

func queryDisk(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, err := c.Apps(ctx, "all")
	if err != nil {
		return nil, err
	}
	table := call.String("app-name")
	if table != "" && !slices.ContainsFunc(apps, func(a driver.App) bool { return a.Name == table && a.Status != "DROPPED" }) {
		return nil, spec.Errorf(spec.NotFound, "%s has no table %s", call.Cluster, shown(table)).WithHint("ls lists the tables")
	}
	nodes, err := diskNodes(ctx, c, call.String("node"))
	if err != nil {
		return nil, err
	}
	answers := askDisks(ctx, c, nodes, table)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if answers, err = withTag(answers, call.String("tag")); err != nil {
		return nil, err
	}
	return diskTable(answers, apps, len(nodes), call.Bool("detailed")), nil
}

// diskNodes are the nodes to ask: the live ones, or the one that is meant.
func diskNodes(ctx context.Context, c admin, name string) ([]string, error) {
	all, err := nodeSetOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if name != "" {
		node, err := all.findAlive(name)
		return []string{node}, err
	}
	var alive []string
	for _, endpoint := range slices.Sorted(maps.Keys(all)) {
		if all[endpoint] {
			alive = append(alive, endpoint)
		}
	}
	if len(alive) == 0 {
		return nil, spec.Errorf(spec.Unavailable, "no replica server is alive").WithHint("nodes lists them")
	}
	return alive, nil
}

func askDisks(ctx context.Context, c keeper, nodes []string, table string) []nodeDisks {
	answers := make([]nodeDisks, len(nodes))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, node := range nodes {
		group.Go(func() error {
			disks, err := c.Disks(ctx, node, table)
			if table != "" && spec.KindOf(err) == spec.NotFound {
				err = nil
			}
			answers[i] = nodeDisks{node, disks, err}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the answers
	return answers
}

// withTag keeps the disks of one tag.
func withTag(answers []nodeDisks, tag string) ([]nodeDisks, error) {
	if tag == "" {
		return answers, nil
	}
	var known []string
	found, failed := false, false
	for i, a := range answers {
		failed = failed || a.err != nil
		var some []driver.Disk
		for _, d := range a.disks {
			if d.Tag == tag {
				some = append(some, d)
			} else if !slices.Contains(known, d.Tag) {
				known = append(known, d.Tag)
			}
		}
		found = found || len(some) > 0
		answers[i].disks = some
	}
	if !found && !failed {
		return nil, spec.Errorf(spec.NotFound, "no disk has the tag %s", shown(tag)).WithHint("the tags are %v", known)
	}
	return answers, nil
}

func diskTable(answers []nodeDisks, apps []driver.App, asked int, detailed bool) *spec.Table {
	t := &spec.Table{Columns: []spec.Column{
		{Name: "node"},
		{Name: "disk"},
		{Name: "capacity", Kind: spec.Size},
		{Name: "available", Kind: spec.Size},
		{Name: "available_ratio", Kind: spec.Int, Unit: "%"},
		{Name: "primary_count", Kind: spec.Int},
		{Name: "secondary_count", Kind: spec.Int},
		{Name: "replica_count", Kind: spec.Int},
	}}
	names := map[int32]string{}
	for _, a := range apps {
		names[a.ID] = a.Name
	}
	var rows, replicas []spec.Row
	var errs []error
	for _, a := range answers {
		if a.err != nil {
			errs = append(errs, a.err)
		}
		for _, d := range a.disks {
			primaries := 0
			for _, r := range d.Replicas {
				role := "secondary"
				if r.Primary {
					role = "primary"
					primaries++
				}
				replicas = append(replicas, spec.Row{a.node, d.Tag, fmt.Sprintf("%d.%d", r.AppID, r.Partition), commands.Word(names[r.AppID]), role, d.Dir})
			}
			rows = append(rows, spec.Row{
				a.node, d.Tag, d.Capacity, d.Available, d.AvailableRatio(), primaries, len(d.Replicas) - primaries, len(d.Replicas),
			})
		}
	}
	t.Rows = func(yield func(spec.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err := diskErrors(errs, asked); err != nil {
			yield(nil, err)
		}
	}
	if detailed {
		t.Section = "disks"
		t.More = []*spec.Table{{
			Section: "replicas", Columns: spec.Columns("node", "disk", "gpid", "app_name", "role", "dir"), Rows: spec.RowsOf(replicas...),
		}}
	}
	return t
}

// diskErrors says that some servers, or all, did not answer.
func diskErrors(errs []error, asked int) error {
	switch {
	case len(errs) == 0:
		return nil
	case len(errs) == asked:
		return errs[0]
	}
	e := &spec.Error{Kind: spec.PartlyDone, Op: fmt.Sprintf("asked %s, %d did not answer", commands.Plural(asked, "server"), len(errs)), Err: errors.Join(errs...)}
	return e.WithHint("nodes shows who is alive")
}
