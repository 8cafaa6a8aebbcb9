package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// fake is a cluster in memory. What it has no answer for must not be asked: the embedded interfaces are nil.
type fake struct {
	cluster.Driver
	client

	auto    bool
	tables  []driver.Table
	tablets []driver.Tablet
	own     map[string][]driver.TabletPartition
	pairs   map[string]driver.TermPair // by tablet, for what is not loaded
	ops     []driver.Op
	lost    error // in place of ops
	traces  map[uint64]driver.OpTrace
	held    []commands.Held

	asked []string
	// does is what an asked change makes of the cluster, once.
	does func(what string)
}

var _ client = (*fake)(nil)

// small is three tablets and a table of two partitions with three replicas, as the seed has it.
func small() *fake {
	f := &fake{own: map[string][]driver.TabletPartition{}, pairs: map[string]driver.TermPair{}}
	for _, e := range []string{"t31:1", "t32:1", "t33:1"} {
		f.tablets = append(f.tablets, driver.Tablet{Endpoint: e, State: "kHealthy", Healthy: true})
	}
	t := driver.Table{
		TableName: driver.TableName{Name: "flow"}, ID: 4, Partitions: 2, Replicas: 3, Storage: "kMemory", Segments: 8,
		Indexes: []driver.Index{{Name: "card", Columns: []string{"card"}, TTL: driver.TTL{Type: "kAbsoluteTime"}}},
	}
	for pid, leader := range []string{"t32:1", "t33:1"} {
		p := driver.Partition{ID: uint32(pid), Terms: []driver.TermOffset{{Term: 2}}}
		for _, e := range []string{"t32:1", "t33:1", "t31:1"} {
			p.Replicas = append(p.Replicas, driver.Replica{Endpoint: e, Leader: e == leader, Alive: true, Present: true})
			mode := map[bool]string{true: "kTableLeader", false: "kTableFollower"}[e == leader]
			f.own[e] = append(f.own[e], driver.TabletPartition{TID: 4, PID: uint32(pid), Offset: 10, Mode: mode, State: "kTableNormal"})
		}
		t.Parts = append(t.Parts, p)
	}
	f.tables = []driver.Table{t}
	return f
}

// offset sets how far a tablet's replica is.
func (f *fake) offset(tablet string, pid int, offset uint64) {
	f.own[tablet][pid].Offset = offset
}

// down makes a tablet unhealthy; its memory is gone.
func (f *fake) down(tablet string) {
	for i := range f.tablets {
		if f.tablets[i].Endpoint == tablet {
			f.tablets[i].Healthy, f.tablets[i].State = false, "kOffline"
		}
	}
	delete(f.own, tablet)
}

func (f *fake) part(pid int) *driver.Partition { return &f.tables[0].Parts[pid] }

func (f *fake) setAlive(pid int, tablet string, alive bool) {
	p := f.part(pid)
	for i := range p.Replicas {
		if p.Replicas[i].Endpoint == tablet {
			p.Replicas[i].Alive = alive
		}
	}
}

func (f *fake) Open(context.Context, string) (cluster.Driver, error) { return f, nil }
func (*fake) Blocks() []commands.Block                               { return nil }

func (*fake) Block(context.Context, string) (storage.Service, error) {
	return nil, spec.Errorf(spec.NotFound, "there is no block service")
}

func (f *fake) Holds(string) ([]commands.Held, error) { return f.held, nil }

func (f *fake) Nodes(context.Context) ([]cluster.Node, error) {
	var all []cluster.Node
	for _, t := range f.tablets {
		all = append(all, cluster.Node{Endpoint: t.Endpoint, Alive: t.Healthy, State: t.State})
	}
	return all, nil
}

func (f *fake) Tablets(context.Context) ([]driver.Tablet, error) { return f.tablets, nil }
func (f *fake) AutoFailover(context.Context) (bool, error)       { return f.auto, nil }
func (f *fake) DescribeAll(context.Context) ([]driver.Table, error) {
	return slices.Clone(f.tables), nil
}

func (f *fake) Find(_ context.Context, text, _ string) (driver.TableName, error) {
	for _, t := range f.tables {
		if t.TableName.String() == text {
			return t.TableName, nil
		}
	}
	return driver.TableName{}, spec.Errorf(spec.NotFound, "there is no table %s", text)
}

func (f *fake) Describe(_ context.Context, name driver.TableName) (*driver.Table, error) {
	for _, t := range f.tables {
		if t.TableName == name {
			return &t, nil
		}
	}
	return nil, spec.Errorf(spec.NotFound, "there is no table %s", name)
}

func (f *fake) Partition(ctx context.Context, name driver.TableName, pid uint32) (driver.Partition, error) {
	t, err := f.Describe(ctx, name)
	if err != nil {
		return driver.Partition{}, err
	}
	return t.Parts[pid], nil
}

func (f *fake) Ops(context.Context, driver.OpFilter) ([]driver.Op, error) {
	return slices.Clone(f.ops), f.lost
}

func (f *fake) TraceOps(context.Context, ...uint64) (map[uint64]driver.OpTrace, error) {
	return f.traces, nil
}

func (f *fake) TabletPartitions(_ context.Context, tablet string) ([]driver.TabletPartition, error) {
	return f.own[tablet], nil
}

func (f *fake) TabletPartition(_ context.Context, tablet string, tid, pid uint32) (driver.TabletPartition, error) {
	for _, p := range f.own[tablet] {
		if p.TID == tid && p.PID == pid {
			return p, nil
		}
	}
	return driver.TabletPartition{}, spec.Errorf(spec.NotFound, "%s has no partition %d of table %d", tablet, pid, tid)
}

func (f *fake) TabletTermPair(_ context.Context, tablet string, _, _ uint32, _ string) (driver.TermPair, error) {
	pair, known := f.pairs[tablet]
	if !known {
		return pair, spec.Errorf(spec.Unavailable, "%s does not answer", tablet)
	}
	return pair, nil
}

func (f *fake) change(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	f.asked = append(f.asked, what)
	if f.does != nil {
		f.does(what)
	}
	return nil
}

func (f *fake) OfflineEndpoint(_ context.Context, endpoint string, _ uint32) error {
	return f.change("offline %s", endpoint)
}

func (f *fake) RecoverEndpoint(_ context.Context, endpoint string, restore bool, _ uint32) error {
	return f.change("recover %s %t", endpoint, restore)
}

func (f *fake) ChangeLeader(_ context.Context, t driver.TableName, pid uint32, candidate string) error {
	return f.change("changeleader %s/%d %s", t, pid, candidate)
}

func (f *fake) RecoverTable(_ context.Context, t driver.TableName, pid uint32, endpoint string) error {
	return f.change("recovertable %s/%d %s", t, pid, endpoint)
}

func (f *fake) TabletLoadTable(_ context.Context, tablet string, load driver.LoadTable) error {
	return f.change("load %s/%d on %s", load.Table, load.PID, tablet)
}

// callOf makes a call of a word as the shell would.
func callOf(c spec.Command, args ...string) *spec.Call {
	return &spec.Call{Command: &c, Cluster: "om", Args: args, Flags: map[string][]string{}, Line: c.Name + " " + strings.Join(args, " ")}
}

// planOf plans a line.
func planOf(t *testing.T, c spec.Command, call *spec.Call) *spec.Plan {
	t.Helper()
	p, err := c.Change(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func texts(p *spec.Plan) []string {
	var all []string
	for _, s := range p.Steps {
		all = append(all, s.Text)
	}
	return all
}

// quiet takes reports and forgets them but for the last detail.
type quiet struct{ detail string }

func (q *quiet) Progress(int64, int64, string)     {}
func (q *quiet) Detail(format string, args ...any) { q.detail = fmt.Sprintf(format, args...) }

// apply runs the steps of a plan as the shell does, and answers the detail or error of each.
func apply(t *testing.T, p *spec.Plan) (outcomes []string, err error) {
	t.Helper()
	for _, s := range p.Steps {
		if s.Check != nil {
			state, err := s.Check(t.Context())
			if err != nil {
				return outcomes, err
			}
			if state.Kind == spec.Done {
				outcomes = append(outcomes, "already: "+state.Why)
				continue
			}
		}
		q := &quiet{}
		if err := s.Apply(t.Context(), q); err != nil {
			return append(outcomes, err.Error()), err
		}
		outcomes = append(outcomes, q.detail)
	}
	return outcomes, nil
}
