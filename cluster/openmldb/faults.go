package openmldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"shardsh/cluster"
)

// maxLag is how many entries a follower may be behind before it is worth a word: as much as OpenMLDB's own diagnosis
// lets pass.
const maxLag = 100

// maxSuspects bounds how many partitions are asked about once more, each with a call to its leader.
const maxSuspects = 128

// view is a cluster as the nameserver has it, beside what its tablets say.
type view struct {
	tables  []Table
	tablets map[string]Tablet
	// holds is what each tablet has loaded; a tablet that did not answer is missing, and in silent.
	holds  map[string]map[[2]uint32]TabletPartition
	silent map[string]error
}

// look gathers a view: a call for the tables, one for the tablets, and one to each healthy tablet.
func (d *Driver) look(ctx context.Context) (*view, error) {
	tables, err := d.DescribeAll(ctx)
	if err != nil {
		return nil, err
	}
	tablets, err := d.Tablets(ctx)
	if err != nil {
		return nil, err
	}
	v := &view{
		tables: tables, tablets: map[string]Tablet{}, holds: map[string]map[[2]uint32]TabletPartition{}, silent: map[string]error{},
	}
	var mu sync.Mutex
	each(ctx, tablets, func(ctx context.Context, t Tablet) {
		var held []TabletPartition
		var err error
		if t.Healthy {
			held, err = d.TabletPartitions(ctx, t.Endpoint)
		}
		mu.Lock()
		defer mu.Unlock()
		v.tablets[t.Endpoint] = t
		switch {
		case err != nil:
			v.silent[t.Endpoint] = err
		case t.Healthy:
			v.holds[t.Endpoint] = map[[2]uint32]TabletPartition{}
			for _, p := range held {
				v.holds[t.Endpoint][[2]uint32{p.TID, p.PID}] = p
			}
		}
	})
	return v, failure("look at the tablets", false, ctx.Err())
}

// Faults finds what is wrong: the nameserver's tables beside what their tablets hold. It costs a call to each healthy
// tablet, and one to the leader of each partition that seems to lag, up to a bound.
func (d *Driver) Faults(ctx context.Context) ([]Fault, error) {
	on, err := d.AutoFailover(ctx)
	if err != nil {
		return nil, err
	}
	v, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	var found []Fault
	if !on {
		found = append(found, Fault{
			Kind: AutoFailoverOff, Bad: true, What: "it is off: nothing is done about tablets that die or come back",
		})
	}
	for endpoint, why := range v.silent {
		found = append(found, Fault{
			Kind: cluster.NodeSilent, Endpoint: endpoint, Bad: true, What: "the nameserver holds it healthy, and it does not answer: " + why.Error(),
		})
	}
	var lags []Fault
	for i := range v.tables {
		t := &v.tables[i]
		for j := range t.Parts {
			f, l := v.partition(t, &t.Parts[j])
			found, lags = append(found, f...), append(lags, l...)
		}
	}
	lags, err = d.confirm(ctx, v, lags)
	if err != nil {
		return nil, err
	}
	found = append(append(found, lags...), v.strays()...)
	ops, err := d.Ops(ctx, OpFilter{Partition: -1})
	if err != nil {
		return nil, err
	}
	found = append(relate(found, ops), failedOps(ops)...)
	slices.SortStableFunc(found, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.TID, b.TID), strings.Compare(a.Table.String(), b.Table.String()), cmp.Compare(a.PID, b.PID),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Endpoint, b.Endpoint))
	})
	return found, nil
}

// partition finds what is wrong with a partition, and the followers that seem to lag.
func (v *view) partition(t *Table, p *Partition) (found, lags []Fault) {
	add := func(kind cluster.FindingKind, endpoint string, bad bool, format string, args ...any) Fault {
		return Fault{
			Kind: kind, Table: t.TableName, TID: t.ID, PID: p.ID, Endpoint: endpoint, Bad: bad, What: fmt.Sprintf(format, args...),
		}
	}
	var leaders []string
	var leads *TabletPartition
	for _, r := range p.Replicas {
		if !r.Leader || !r.Alive {
			continue
		}
		leaders = append(leaders, r.Endpoint)
		if h, ok := v.held(r.Endpoint, t.ID, p.ID); ok && leads == nil {
			leads = &h
		}
	}
	switch len(leaders) {
	case 0:
		found = append(found, add(NoLeaderAlive, "", true, "no leader is alive: neither reads nor writes"))
	case 1:
	default:
		found = append(found, add(SeveralLeaders, "", true, "several leaders are alive at once: %s", strings.Join(leaders, ", ")))
	}
	for _, r := range p.Replicas {
		tablet := v.tablets[r.Endpoint]
		held, ok := v.held(r.Endpoint, t.ID, p.ID)
		_, mute := v.silent[r.Endpoint]
		switch {
		case r.Alive && !tablet.Healthy:
			found = append(found, add(AliveOnDeadTablet, r.Endpoint, true, "clients are sent to it, and its tablet is dead"))
		case !r.Alive && tablet.Healthy:
			found = append(found, add(NotRecovered, r.Endpoint, true, "its tablet is up, and it was not recovered"))
		case !tablet.Healthy, mute:
		case !ok:
			found = append(found, add(Miss, r.Endpoint, true, "its tablet does not have it loaded"))
		case r.Leader && held.Mode != "kTableLeader":
			found = append(found, add(NotLeaderOnTablet, r.Endpoint, true, "it leads to the nameserver, and not to its tablet"))
		case !r.Leader && held.Mode != "kTableFollower":
			found = append(found, add(NotFollowerOnTablet, r.Endpoint, true, "it follows to the nameserver, and leads to its tablet"))
		case !slices.Contains(normal, held.State):
			found = append(found, add(NotNormal, r.Endpoint, r.Leader, "its state is %s", held.State))
		case !r.Leader && leads != nil && leads.Offset > held.Offset+maxLag:
			lag := add(Lag, r.Endpoint, false, "")
			lag.Gap = leads.Offset - held.Offset
			lags = append(lags, lag)
		}
	}
	return found, lags
}

// normal are the states in which a partition serves.
var normal = []string{"kTableNormal", "kMakingSnapshot", "kSnapshotPaused"}

func (v *view) held(endpoint string, tid, pid uint32) (TabletPartition, bool) {
	p, ok := v.holds[endpoint][[2]uint32{tid, pid}]
	return p, ok
}

// confirm asks the leaders how far behind their followers are: what the tablets said was said at different times. Past
// the bound their words stand.
func (d *Driver) confirm(ctx context.Context, v *view, lags []Fault) ([]Fault, error) {
	type partition struct{ tid, pid uint32 }
	leaders := map[partition]string{}
	tables := map[uint32]*Table{}
	for i := range v.tables {
		tables[v.tables[i].ID] = &v.tables[i]
	}
	for _, f := range lags {
		at := partition{f.TID, f.PID}
		if _, known := leaders[at]; !known && len(leaders) < maxSuspects {
			l, _ := tables[f.TID].Parts[f.PID].Leader()
			leaders[at] = l.Endpoint
		}
	}
	suspects := make([]partition, 0, len(leaders))
	for at := range leaders {
		suspects = append(suspects, at)
	}
	var mu sync.Mutex
	known := map[partition]Followers{}
	each(ctx, suspects, func(ctx context.Context, at partition) {
		f, err := d.TabletFollowers(ctx, leaders[at], at.tid, at.pid)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			known[at] = f
		}
	})
	var kept []Fault
	for _, f := range lags {
		if answer, ok := known[partition{f.TID, f.PID}]; ok {
			f.Gap = answer.gap(f.Endpoint, f.Gap)
		}
		if f.Gap <= maxLag {
			continue
		}
		f.What = fmt.Sprintf("it is %d entries behind its leader", f.Gap)
		kept = append(kept, f)
	}
	return kept, failure("ask about followers", false, ctx.Err())
}

// gap is how far behind a follower is; what was known before holds for one that the leader does not list.
func (f Followers) gap(endpoint string, before uint64) uint64 {
	for _, follower := range f.Followers {
		if follower.Endpoint == endpoint {
			return f.Offset - min(follower.Offset, f.Offset)
		}
	}
	return before
}

// strays finds partitions that a tablet has and the nameserver does not know to be there: left by a move that broke off,
// or by a table dropped while the tablet was away.
func (v *view) strays() []Fault {
	known := map[string]map[[2]uint32]bool{}
	names := map[uint32]TableName{}
	for i := range v.tables {
		t := &v.tables[i]
		names[t.ID] = t.TableName
		for _, p := range t.Parts {
			for _, r := range p.Replicas {
				if known[r.Endpoint] == nil {
					known[r.Endpoint] = map[[2]uint32]bool{}
				}
				known[r.Endpoint][[2]uint32{t.ID, p.ID}] = true
			}
		}
	}
	var found []Fault
	for endpoint, held := range v.holds {
		for at, p := range held {
			if known[endpoint][at] {
				continue
			}
			name, exists := names[at[0]]
			if !exists {
				name = TableName{Name: p.Table}
			}
			found = append(found, Fault{
				Kind: Stray, Table: name, TID: at[0], PID: at[1], Endpoint: endpoint,
				What: "the tablet has it, and the nameserver does not know of that",
			})
		}
	}
	return found
}

// relate tells of the operations under way on partitions that are unwell.
func relate(found []Fault, ops []Op) []Fault {
	type partition struct {
		table TableName
		pid   int
	}
	running := map[partition]Op{}
	for _, o := range ops {
		if !o.Over() {
			running[partition{o.Table, o.Partition}] = o
		}
	}
	for i, f := range found {
		if o, ok := running[partition{f.Table, int(f.PID)}]; ok && f.TID != 0 {
			found[i].Op = o.ID
			found[i].What += fmt.Sprintf("; operation %d, %s, is under way", o.ID, o.Type)
		}
	}
	return found
}

// failedOps are the operations that failed and were not deleted since.
func failedOps(ops []Op) []Fault {
	var found []Fault
	for _, o := range ops {
		if o.Status != "kFailed" {
			continue
		}
		f := Fault{Kind: OpFailed, Table: o.Table, PID: uint32(max(o.Partition, 0)), Op: o.ID, What: fmt.Sprintf("operation %d, %s, failed", o.ID, o.Type)}
		if o.Task != "" {
			f.What += " at " + o.Task
		}
		found = append(found, f)
	}
	return found
}
