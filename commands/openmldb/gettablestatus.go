package openmldb

import (
	"context"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// GetTableStatus lists the partitions of a tablet.
func GetTableStatus(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "gettablestatus",
		Systems: systems,
		Topic:   "tablet",
		Summary: "list the partitions that a tablet has, as it has them itself",
		Long: "The tablet's own word, where showtable has the nameserver's: its role, its state (kTableLoading until a loaded table " +
			"serves) and its offset now. With tid and pid it is about one partition.",
		Args: []spec.Arg{
			{Name: "tid", Kind: spec.ArgInt, Optional: true, Help: "the table's number in showtable"},
			{Name: "pid", Kind: spec.ArgInt, Optional: true, Help: "the partition"},
		},
		Examples: []spec.Example{{Line: "on .31:8541 gettablestatus", Says: "everything that tablet has"}},
		SeeAlso:  []string{"on", "showtable", "loadtable", "gettablefollower"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if len(call.Args) == 1 {
				return nil, spec.Errorf(spec.Usage, "a partition is named by tid and pid")
			}
			if len(call.Args) == 2 {
				return statusOfOne(ctx, env, call)
			}
			c, tablet, err := openTablet(ctx, env, call, -1, -1)
			if err != nil {
				return nil, err
			}
			all, err := c.TabletPartitions(ctx, tablet)
			if err != nil {
				return nil, err
			}
			return statusTable(all), nil
		},
	}
}

func statusOfOne(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	o, err := openOn(ctx, env, call, 0)
	if err != nil {
		return nil, err
	}
	p, err := o.status(ctx)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, spec.Errorf(spec.NotFound, "%s does not have partition %d of table %d", o.tablet, o.pid, o.tid).
			WithHint("a tablet that was restarted has none until they are loaded: doctor, recoverendpoint, recoverdata")
	}
	return statusTable([]driver.TabletPartition{*p}), nil
}

func statusTable(all []driver.TabletPartition) *spec.Table {
	rows := make([]spec.Row, len(all))
	for i, p := range all {
		rows[i] = spec.Row{
			p.TID, p.PID, int64(p.Offset), p.Mode, p.State, p.Expires, int64(p.Memory), p.Compress, p.SkiplistLevel, p.Table,
			int64(p.Records), int64(p.Disk), p.Storage,
		}
	}
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "tid", Kind: spec.Int},
			{Name: "pid", Kind: spec.Int},
			{Name: "offset", Kind: spec.Int},
			{Name: "mode"},
			{Name: "state"},
			{Name: "enable_expire", Kind: spec.Bool},
			{Name: "memused", Kind: spec.Size},
			{Name: "compress_type"},
			{Name: "skiplist_height", Kind: spec.Int},
			{Name: "name"},
			{Name: "record_cnt", Kind: spec.Int},
			{Name: "diskused", Kind: spec.Size},
			{Name: "storage_mode"},
		},
		Rows: spec.RowsOf(rows...),
	}
}

// GetTableFollower lists how far a leader's followers are.
func GetTableFollower(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "gettablefollower",
		Aliases: []string{"getfollower"},
		Systems: systems,
		Topic:   "tablet",
		Summary: "list how far the followers of a leading tablet are",
		Long:    "What a follower lacks of the leader's offset is lost when the leader dies now.",
		Args:    tidPID,
		SeeAlso: []string{"gettablestatus", "on", "doctor"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			o, err := openOn(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			f, err := o.TabletFollowers(ctx, o.tablet, o.tid, o.pid)
			if err != nil {
				return nil, err
			}
			rows := make([]spec.Row, len(f.Followers))
			for i, one := range f.Followers {
				rows[i] = spec.Row{o.tid, o.pid, int64(f.Offset), one.Endpoint, int64(one.Offset)}
			}
			return &spec.Table{
				Columns: []spec.Column{
					{Name: "tid", Kind: spec.Int},
					{Name: "pid", Kind: spec.Int},
					{Name: "leader_offset", Kind: spec.Int},
					{Name: "follower"},
					{Name: "offset", Kind: spec.Int},
				},
				Rows: spec.RowsOf(rows...),
			}, nil
		},
	}
}
