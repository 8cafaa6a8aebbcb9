package openmldb

import (
	"context"
	"fmt"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Words of the tablets are aimed at one of them: `on ENDPOINT`.

// openTablet returns the call's cluster and the tablet that the line is aimed at. A line that is aimed at none is refused
// with the tablets that hold the partition.
func openTablet(ctx context.Context, env commands.Env, line *spec.Call, tid, pid int64) (client, string, error) {
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, "", err
	}
	if line.Node == "" {
		return nil, "", notAimed(ctx, c, line, tid, pid)
	}
	tablet, err := match(ctx, c, line.Node)
	return c, tablet, err
}

func notAimed(ctx context.Context, c client, line *spec.Call, tid, pid int64) error {
	e := spec.Errorf(spec.Usage, "%s is a word of tablets, and the line is aimed at none", line.Command.Name)
	var have []string
	if tables, err := c.DescribeAll(ctx); err == nil {
		have = holders(tables, tid, pid)
	}
	if len(have) == 0 {
		return e.WithHint("on ENDPOINT %s …; showtablet lists the tablets", line.Command.Name)
	}
	return e.WithHint("on ENDPOINT %s …, where ENDPOINT is one of those that hold partition %d of table %d: %s",
		line.Command.Name, pid, tid, strings.Join(have, ", "))
}

// holders are the tablets that hold a partition, as the nameserver has it.
func holders(tables []driver.Table, tid, pid int64) []string {
	var have []string
	for _, t := range tables {
		if int64(t.ID) != tid {
			continue
		}
		for _, p := range t.Parts {
			if int64(p.ID) != pid {
				continue
			}
			for _, r := range p.Replicas {
				have = append(have, r.Endpoint)
			}
		}
	}
	return have
}

// onTablet is a partition of a tablet, as the words of tablets name it.
type onTablet struct {
	client
	tablet   string
	tid, pid uint32
}

// tidPID are the first arguments of most words of tablets.
var tidPID = []spec.Arg{
	{Name: "tid", Kind: spec.ArgInt, Help: "the table's number in showtable"},
	{Name: "pid", Kind: spec.ArgInt, Help: "the partition"},
}

// openOn reads tid and pid from the arguments at first, and returns the tablet.
func openOn(ctx context.Context, env commands.Env, line *spec.Call, first int) (onTablet, error) {
	tid, pid := line.ArgInt(first), line.ArgInt(first+1)
	if tid < 0 || pid < 0 || tid > 1<<31-1 || pid > 1<<31-1 {
		return onTablet{}, spec.Errorf(spec.Usage, "%d and %d are no table and partition", tid, pid)
	}
	c, tablet, err := openTablet(ctx, env, line, tid, pid)
	return onTablet{c, tablet, uint32(tid), uint32(pid)}, err
}

// object names the partition and where it is.
func (o onTablet) object() string { return fmt.Sprintf("%d/%d on %s", o.tid, o.pid, o.tablet) }

// status answers the partition as the tablet has it; nil when it has none.
func (o onTablet) status(ctx context.Context) (*driver.TabletPartition, error) {
	p, err := o.TabletPartition(ctx, o.tablet, o.tid, o.pid)
	if err != nil && spec.KindOf(err) == spec.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// inState is a Check: the partition is in a state on its tablet.
func (o onTablet) inState(state string) func(context.Context) (spec.State, error) {
	return func(ctx context.Context) (spec.State, error) {
		p, err := o.status(ctx)
		switch {
		case err != nil:
			return spec.State{}, err
		case p == nil:
			return blocked("%s does not have it", o.tablet), nil
		case p.State == state:
			return done("it is %s", state), nil
		}
		return todo, nil
	}
}
