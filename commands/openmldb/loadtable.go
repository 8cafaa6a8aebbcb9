package openmldb

import (
	"context"
	"fmt"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// LoadTable has a tablet load a partition from its disk.
func LoadTable(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "loadtable",
		Systems: systems,
		Topic:   "tablet",
		Summary: "have a tablet load a partition from its disk, as the leader",
		Long: "The step by step recovery after all replicas of a partition were down: the tablet with the largest offset loads it as " +
			"the leader. Waits until it serves. The nameserver does not learn of it: updatetablealive tells it. recoverdata does " +
			"all of this. Tables that live on disk take their storage from the nameserver, so that they are not harmed.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgText, Help: "its name"},
			{Name: "tid", Kind: spec.ArgInt, Help: "its number in showtable"},
			{Name: "pid", Kind: spec.ArgInt, Help: "the partition"},
			{Name: "ttl", Kind: spec.ArgInt, Help: "minutes; servers take it from the disk today"},
			{Name: "seg_cnt", Kind: spec.ArgInt, Help: "segments, 8 unless the table was made otherwise"},
			{Name: "is_leader", Kind: spec.ArgBool, Optional: true, Help: "false loads it as a follower"},
		},
		SeeAlso: []string{"on", "gettablestatus", "recoverdata", "updatetablealive"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return loadTable(ctx, env, line)
		},
	}
}

func loadTable(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	if line.ArgInt(3) < 0 || line.ArgInt(4) < 1 || line.ArgInt(4) > 1<<16 {
		return nil, spec.Errorf(spec.Usage, "a table has no TTL of %d minutes or %d segments", line.ArgInt(3), line.ArgInt(4))
	}
	o, err := openOn(ctx, env, line, 1)
	if err != nil {
		return nil, err
	}
	load := driver.LoadTable{
		TID: o.tid, PID: o.pid, Segments: uint32(line.ArgInt(4)), Minutes: uint64(line.ArgInt(3)), Leader: line.Arg(5) == "" || line.ArgBool(5),
	}
	tables, err := o.DescribeAll(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if t.ID == o.tid {
			load.Table, load.Storage = t.TableName, t.Storage
		}
	}
	if load.Table.Name == "" {
		return nil, spec.Errorf(spec.NotFound, "the nameserver has no table %d", o.tid).WithHint("showtable shows the numbers")
	}
	if load.Table.Name != line.Arg(0) {
		return nil, spec.Errorf(spec.Usage, "table %d is %s, not %s", o.tid, load.Table, line.Arg(0))
	}
	return oneStep("LoadTable ok", spec.Step{
		Text:    fmt.Sprintf("load %s on %s as the %s", at(load.Table, o.pid), o.tablet, role(load.Leader)),
		Objects: []string{o.object()}, Class: spec.Risky,
		Check: func(ctx context.Context) (spec.State, error) {
			p, err := o.status(ctx)
			if err == nil && p != nil && p.State != "kTableLoading" {
				return done("it is %s there", p.State), nil
			}
			return todo, err
		},
		Apply: func(ctx context.Context, report spec.Report) error {
			p, err := o.status(ctx)
			if err != nil {
				return err
			}
			if p == nil {
				if err := o.TabletLoadTable(ctx, o.tablet, load); err != nil {
					return err
				}
			}
			return o.loaded(ctx, line.Wait, report)
		},
	}), nil
}

// loaded waits until a partition serves on its tablet.
func (o onTablet) loaded(ctx context.Context, wait time.Duration, report spec.Report) error {
	if wait < 0 {
		return nil
	}
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wait, errWaited)
		defer cancel()
	}
	for {
		p, err := o.status(ctx)
		switch {
		case err != nil:
			return waitedFor(ctx, o.object(), err)
		case p == nil:
			return spec.Errorf(spec.Failed, "%s does not have it any more: loading failed", o.tablet).WithHint("the tablet's log says why")
		case p.State != "kTableLoading" && p.State != "kTableUndefined":
			report.Detail("%s, offset %d, %s", p.State, p.Offset, commands.Plural(int(p.Records), "row"))
			return nil
		}
		report.Detail("%s, offset %d", p.State, p.Offset)
		select {
		case <-ctx.Done():
			return waitedFor(ctx, o.object(), ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}
