package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// QueryDup shows the duplications of a table.
func QueryDup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "query_dup",
		Systems: systems,
		Topic:   "tables",
		Summary: "show the duplications of a table, and how far they are",
		Long: "Asks the meta server for the duplications of a table. DS_PREPARE and DS_APP are on the way to DS_LOG, at which writes are " +
			"shipped; DS_PAUSE ships none. With -d each partition: the decree up to which the follower is known to have the " +
			"writes, the last one of the primary, the gap between them, and why there is one. A gap of a few writes comes and " +
			"goes, as servers report every few seconds. For the reasons the follower is asked, too, if it can be opened by its name.",
		Args:  []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "the table; the one in use when left out"}},
		Flags: []spec.Flag{{Name: "detail", Short: "d", Kind: spec.ArgBool, Help: "partition by partition"}},
		Examples: []spec.Example{
			{Line: "query_dup TableA", Says: "no rows, unless it is duplicated"},
			{Line: "query_dup demo -d", Says: "every partition", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"dups", "add_dup", "pause_dup", "start_dup"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			table, err := commands.Table(call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			c, a, err := openDup(ctx, env, call, table)
			if err != nil {
				return nil, err
			}
			list, err := c.Duplications(ctx, table)
			switch {
			case err != nil:
				return nil, err
			case call.Bool("detail"):
				return dupDetails(ctx, env, c, a, list)
			}
			return dupTable(a, list), nil
		},
	}
}

func dupTable(a driver.App, list []driver.Duplication) *spec.Table {
	var rows []spec.Row
	for _, d := range list {
		rows = append(rows, spec.Row{d.ID, d.Status, d.Remote, d.Created, commands.Word(d.FailMode), commands.Word(d.RemoteTable)})
	}
	t := &spec.Table{
		Columns: []spec.Column{
			{Name: "dup_id", Kind: spec.Int},
			{Name: "status"},
			{Name: "remote_cluster"},
			{Name: "create_time", Kind: spec.Time},
			{Name: "fail_mode"},
			{Name: "remote_app_name"},
		},
		Rows: spec.RowsOf(rows...),
	}
	if len(list) == 0 {
		t.Notes = func() []string { return []string{a.Name + " is not duplicated"} }
	}
	return t
}

func dupDetails(ctx context.Context, env commands.Env, c duplicator, a driver.App, list []driver.Duplication) (*spec.Table, error) {
	last, parts, err := commits(ctx, c, a)
	if err != nil {
		return nil, err
	}
	var rows []spec.Row
	for i := range list {
		d := &list[i]
		var f *followerView
		for p := range a.Partitions {
			confirmed, committed, gap, known := lagOf(d, p, last)
			why := ""
			if !known || gap > 0 || d.Status != "DS_LOG" {
				if f == nil {
					f = viewFollower(ctx, env, d, a)
				}
				why = f.reason(d, parts, p, known)
			}
			var lag any
			if known {
				lag = gap
			}
			rows = append(rows, spec.Row{d.ID, d.Status, d.Remote, p, confirmed, committed, lag, commands.Word(why)})
		}
	}
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "dup_id", Kind: spec.Int},
			{Name: "status"},
			{Name: "remote_cluster"},
			{Name: "pidx", Kind: spec.Int},
			{Name: "confirmed_decree", Kind: spec.Int},
			{Name: "last_committed_decree", Kind: spec.Int},
			{Name: "decree_gap", Kind: spec.Int},
			{Name: "reason"},
		},
		Rows: spec.RowsOf(rows...),
	}, nil
}

// followerView is what the follower says of its table, asked once.
type followerView struct {
	all      string // what is wrong with all of it
	restrain string // what slows all of it down
	parts    *driver.AppPartitions
}

func viewFollower(ctx context.Context, env commands.Env, d *driver.Duplication, a driver.App) *followerView {
	table := d.RemoteTable
	if table == "" {
		table = a.Name
	}
	opened, err := env.Open(ctx, d.Remote)
	if err != nil {
		return &followerView{}
	}
	c, is := opened.(duplicator)
	if !is {
		return &followerView{all: d.Remote + " is no Pegasus cluster"}
	}
	there, exists, err := findApp(ctx, c, table)
	switch {
	case err != nil:
		return &followerView{all: d.Remote + " does not answer"}
	case !exists:
		return &followerView{all: fmt.Sprintf("%s has no table %s", d.Remote, table)}
	case there.Partitions != a.Partitions:
		return &followerView{all: fmt.Sprintf("%s has %s there, %d here", table, commands.Plural(there.Partitions, "partition"), a.Partitions)}
	}
	f := &followerView{}
	for _, key := range slices.Sorted(maps.Keys(there.Envs)) {
		switch key {
		case "replica.deny_client_request", "replica.write_throttling", "replica.write_throttling_by_size":
			if there.Envs[key] != "" {
				f.restrain = fmt.Sprintf("%s restrains it: %s = %s", d.Remote, key, there.Envs[key])
			}
		}
	}
	f.parts, _ = c.Partitions(ctx, table)
	return f
}

// reason says why the follower lacks writes of a partition.
func (f *followerView) reason(d *driver.Duplication, source *driver.AppPartitions, partition int, known bool) string {
	at := func(parts *driver.AppPartitions) (driver.Partition, bool) {
		if parts == nil || partition >= len(parts.Partitions) {
			return driver.Partition{}, false
		}
		return parts.Partitions[partition], true
	}
	if p, has := at(source); has && p.Primary == "" {
		return "the partition has no primary"
	}
	switch {
	case d.Status == "DS_PAUSE":
		return statusWords(d.Status)
	case f.all != "" && d.Status != "DS_PREPARE":
		return f.all
	case d.Status != "DS_LOG":
		return statusWords(d.Status)
	}
	if p, has := at(f.parts); has && p.Primary == "" {
		return fmt.Sprintf("the partition has no primary on %s", d.Remote)
	}
	switch {
	case f.restrain != "":
		return f.restrain
	case !known:
		return "not begun, or its primary does not answer"
	}
	return "being shipped"
}

// Dups lists all duplications of a cluster.
func Dups(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "dups",
		Systems: systems,
		Topic:   "tables",
		Summary: "list the duplications of all tables",
		Long: "Lists the duplications of every table, from 2.6 on with one call, before a call for each table that is duplicated. With -p each " +
			"partition, as query_dup -d has it for one table.",
		Flags: []spec.Flag{{Name: "list-partitions", Short: "p", Kind: spec.ArgBool, Help: "partition by partition"}},
		Examples: []spec.Example{
			{Line: "dups", Says: "none, unless tables are duplicated"},
			{Line: "dups -p --filter 'decree_gap > 1000'", Says: "partitions whose followers lack more than 1,000 writes"},
		},
		SeeAlso: []string{"query_dup", "showopstatus"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return listDups(ctx, env, call)
		},
	}
}

func listDups(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := commands.Driver[duplicator](ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	all, able, err := c.ListDuplications(ctx)
	if err == nil && !able {
		all, err = c.DuplicationsOf(ctx, apps)
	}
	if err != nil {
		return nil, err
	}
	t := &spec.Table{Columns: []spec.Column{
		{Name: "app_id", Kind: spec.Int},
		{Name: "app_name"},
		{Name: "dup_id", Kind: spec.Int},
		{Name: "create_time", Kind: spec.Time},
		{Name: "status"},
		{Name: "follower_cluster"},
		{Name: "follower_app_name"},
	}}
	parts := call.Bool("list-partitions")
	if parts {
		t.Columns = append(t.Columns, spec.Column{Name: "partition_id", Kind: spec.Int}, spec.Column{Name: "confirmed_decree", Kind: spec.Int},
			spec.Column{Name: "last_committed_decree", Kind: spec.Int}, spec.Column{Name: "decree_gap", Kind: spec.Int})
	}
	var rows []spec.Row
	for _, a := range apps {
		var last map[int]int64
		if parts && len(all[a.Name]) > 0 {
			if last, _, err = commits(ctx, c, a); err != nil {
				return nil, err
			}
		}
		for i := range all[a.Name] {
			rows = append(rows, dupRows(a, &all[a.Name][i], parts, last)...)
		}
	}
	t.Rows = spec.RowsOf(rows...)
	return t, nil
}

func dupRows(a driver.App, d *driver.Duplication, parts bool, last map[int]int64) []spec.Row {
	table := d.RemoteTable
	if table == "" {
		table = a.Name
	}
	head := spec.Row{a.ID, a.Name, d.ID, d.Created, d.Status, d.Remote, table}
	if !parts {
		return []spec.Row{head}
	}
	var rows []spec.Row
	for p := range a.Partitions {
		confirmed, committed, gap, known := lagOf(d, p, last)
		var lag any
		if known {
			lag = gap
		}
		rows = append(rows, append(slices.Clone(head), p, confirmed, committed, lag))
	}
	return rows
}
