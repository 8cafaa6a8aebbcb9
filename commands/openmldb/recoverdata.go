package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// RecoverData brings back partitions that nothing brings back by itself.
func RecoverData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recoverdata",
		Systems: systems,
		Topic:   "failover",
		Summary: "bring back every partition that is not whole, after tablets were restarted together",
		Long: "Tablets that come back have no partition in memory, and when all replicas of one were down nobody is left to catch up " +
			"with. For each partition that is not whole, the replica with the largest offset, loaded or on disk, leads: it is loaded " +
			"from its disk with the storage its table has, the nameserver is told, and the others catch up. auto_failover is held off " +
			"meanwhile. Run again it does what is left.",
		Flags: []spec.Flag{
			{Name: "table", Kind: spec.ArgTable, Help: "only this table: [db/]name"},
		},
		Examples: []spec.Example{
			{Line: "recoverdata --plan", Says: "which replica would lead, and why"},
			{Line: "recoverdata --table flow --yes", Says: "one table only"},
		},
		SeeAlso: []string{"doctor", "recoverendpoint", "loadtable", "updatetablealive"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return recoverData(ctx, env, line)
		},
	}
}

func recoverData(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, err
	}
	var only driver.TableName
	if line.Has("table") {
		if only, err = c.Find(ctx, line.String("table"), line.Table); err != nil {
			return nil, err
		}
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &restorer{mover: mover{c, line.Wait}, view: v, plan: &spec.Plan{Title: "bring back the partitions of " + line.Cluster, Name: line.Cluster}}
	// The store's own tables first: its clients need them.
	slices.SortStableFunc(v.tables, func(a, b driver.Table) int {
		return map[bool]int{true: 0, false: 1}[a.Internal()] - map[bool]int{true: 0, false: 1}[b.Internal()]
	})
	for _, t := range v.tables {
		if line.Has("table") && t.TableName != only {
			continue
		}
		for _, p := range t.Parts {
			if err := r.partition(ctx, t, p); err != nil {
				return nil, err
			}
		}
	}
	if len(r.plan.Steps) > 0 {
		err = holdOff(ctx, c, r.plan)
	}
	return r.plan, err
}

// restorer plans the recovery of partitions.
type restorer struct {
	mover
	view *view
	plan *spec.Plan
}

// whole says that nothing is wrong with a partition: every replica counts as alive, and has the role on its tablet that
// it has at the nameserver.
func (r *restorer) whole(t driver.Table, p driver.Partition) bool {
	if _, led := p.Leader(); !led {
		return false
	}
	for _, on := range p.Replicas {
		own, loaded := r.view.own[on.Endpoint][place{t.ID, p.ID}]
		if !on.Alive || !loaded || own.State == "kTableLoading" || (own.Mode == "kTableLeader") != on.Leader {
			return false
		}
	}
	return true
}

// reach is how far a replica is, and how that is known.
type reach struct {
	replica driver.Replica
	offset  uint64
	loaded  *driver.TabletPartition
}

func (r *restorer) partition(ctx context.Context, t driver.Table, p driver.Partition) error {
	if r.whole(t, p) {
		return nil
	}
	name := at(t.TableName, p.ID)
	reaches, down, err := r.reaches(ctx, t, p)
	if err != nil {
		return err
	}
	if len(down) > 0 {
		r.plan.Notes = append(r.plan.Notes, fmt.Sprintf("%s: %s cannot be asked and is left out", name, strings.Join(down, ", ")))
	}
	if len(reaches) == 0 {
		r.plan.Notes = append(r.plan.Notes, name+" stays down: no tablet that has it is up")
		return nil
	}
	lead := r.choose(p, reaches)
	r.plan.Notes = append(r.plan.Notes, name+": "+reasons(lead, reaches))
	r.leader(t, p, lead)
	for _, other := range reaches {
		if other.replica.Endpoint != lead.replica.Endpoint && !r.serves(t, p, other, lead) {
			r.plan.Steps = append(r.plan.Steps, r.follow(t.TableName, p.ID, other.replica.Endpoint)...)
		}
	}
	return nil
}

// reaches asks every tablet that is up how far its replica is: in memory, else on its disk.
func (r *restorer) reaches(ctx context.Context, t driver.Table, p driver.Partition) (up []reach, down []string, err error) {
	for _, on := range p.Replicas {
		all, answers := r.view.own[on.Endpoint]
		if !answers {
			down = append(down, on.Endpoint)
			continue
		}
		if own, loaded := all[place{t.ID, p.ID}]; loaded {
			up = append(up, reach{on, own.Offset, &own})
			continue
		}
		pair, err := r.c.TabletTermPair(ctx, on.Endpoint, t.ID, p.ID, t.Storage)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, err
			}
			down = append(down, on.Endpoint)
			continue
		}
		up = append(up, reach{on, pair.Offset, nil})
	}
	return up, down, nil
}

// choose takes the leader that serves, if there is one; else the replica with the largest offset, of those the
// nameserver's leader.
func (r *restorer) choose(p driver.Partition, reaches []reach) reach {
	leader, led := p.Leader()
	for _, x := range reaches {
		if led && x.replica.Endpoint == leader.Endpoint && x.loaded != nil && x.loaded.Mode == "kTableLeader" {
			return x
		}
	}
	best := reaches[0]
	for _, x := range reaches[1:] {
		if x.offset > best.offset || x.offset == best.offset && x.replica.Leader && !best.replica.Leader {
			best = x
		}
	}
	return best
}

func reasons(lead reach, all []reach) string {
	var texts []string
	for _, x := range all {
		text := fmt.Sprintf("%s has offset %d", x.replica.Endpoint, x.offset)
		if x.loaded == nil {
			text += " on its disk"
		}
		texts = append(texts, text)
	}
	why := "the largest offset"
	if lead.loaded != nil && lead.loaded.Mode == "kTableLeader" && lead.replica.Alive && lead.replica.Leader {
		why = "it leads and serves"
	}
	return fmt.Sprintf("%s leads (%s): %s", lead.replica.Endpoint, why, strings.Join(texts, ", "))
}

// serves says that a replica needs nothing: it counts as alive, is loaded, and follows the leader that is kept.
func (r *restorer) serves(t driver.Table, p driver.Partition, x, lead reach) bool {
	old, led := p.Leader()
	return led && old.Endpoint == lead.replica.Endpoint && lead.loaded != nil && lead.loaded.Mode == "kTableLeader" &&
		x.replica.Alive && !x.replica.Leader && x.loaded != nil && x.loaded.Mode == "kTableFollower"
}

// leader plans that a replica leads: it is loaded in its role, the nameserver told, and elected if it was a follower.
func (r *restorer) leader(t driver.Table, p driver.Partition, lead reach) {
	name, endpoint := at(t.TableName, p.ID), lead.replica.Endpoint
	old, led := p.Leader()
	if led && old.Endpoint == endpoint && lead.loaded != nil && lead.loaded.Mode == "kTableLeader" {
		return
	}
	for _, on := range p.Replicas {
		if on.Endpoint != endpoint && on.Alive {
			r.plan.Steps = append(r.plan.Steps, r.alive(t.TableName, p.ID, on.Endpoint, false))
		}
	}
	o := onTablet{r.c, endpoint, t.ID, p.ID}
	switch {
	case lead.loaded == nil:
		r.plan.Steps = append(r.plan.Steps, r.load(o, t, lead.replica.Leader))
	case lead.replica.Leader && lead.loaded.Mode != "kTableLeader":
		r.plan.Steps = append(r.plan.Steps, r.makeLeader(o, name, p))
	}
	if !lead.replica.Alive {
		r.plan.Steps = append(r.plan.Steps, r.alive(t.TableName, p.ID, endpoint, true))
	}
	if !lead.replica.Leader {
		r.plan.Steps = append(r.plan.Steps, r.one(t.TableName, p.ID, fmt.Sprintf("have %s elected to lead %s", endpoint, name), ledBy(endpoint, ""),
			func(ctx context.Context) error { return r.c.ChangeLeader(ctx, t.TableName, p.ID, endpoint) })...)
	}
}

// alive tells the nameserver that a replica counts, or does not.
func (r *restorer) alive(t driver.TableName, pid uint32, endpoint string, want bool) spec.Step {
	name := at(t, pid)
	return spec.Step{
		Text: fmt.Sprintf("have %s on %s count as alive: %t", name, endpoint, want), Objects: []string{name}, Class: spec.Risky,
		Check: func(ctx context.Context) (spec.State, error) {
			p, err := r.c.Partition(ctx, t, pid)
			if err != nil {
				return spec.State{}, err
			}
			if is, how := aliveAt(endpoint, want)(p); is {
				return done("%s", how), nil
			}
			return todo, nil
		},
		Apply: call(func(ctx context.Context) error { return r.c.UpdateTableAlive(ctx, t, int(pid), endpoint, want) }),
	}
}

// load has a tablet load the partition from its disk, and waits until it serves.
func (r *restorer) load(o onTablet, t driver.Table, leads bool) spec.Step {
	name := at(t.TableName, o.pid)
	return spec.Step{
		Text: fmt.Sprintf("load %s on %s as the %s", name, o.tablet, role(leads)), Objects: []string{name}, Class: spec.Risky,
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
				err := o.TabletLoadTable(ctx, o.tablet, driver.LoadTable{
					Table: t.TableName, TID: o.tid, PID: o.pid, Segments: t.Segments, Leader: leads, Storage: t.Storage,
				})
				if err != nil {
					return err
				}
			}
			return o.loaded(ctx, max(r.wait, 0), report)
		},
	}
}

// makeLeader gives a tablet the role that the nameserver says it has.
func (r *restorer) makeLeader(o onTablet, name string, p driver.Partition) spec.Step {
	to := driver.TabletRole{Leader: true}
	if n := len(p.Terms); n > 0 {
		to.Term = p.Terms[n-1].Term
	}
	return spec.Step{
		Text: fmt.Sprintf("make %s the leader of %s, as the nameserver has it", o.tablet, name), Objects: []string{name}, Class: spec.Risky,
		Check: func(ctx context.Context) (spec.State, error) {
			p, err := o.status(ctx)
			switch {
			case err != nil:
				return spec.State{}, err
			case p == nil:
				return blocked("%s does not have it any more", o.tablet), nil
			case p.Mode == "kTableLeader":
				return done("it leads"), nil
			}
			return todo, nil
		},
		Apply: call(func(ctx context.Context) error { return r.c.TabletChangeRole(ctx, o.tablet, o.tid, o.pid, to) }),
	}
}
