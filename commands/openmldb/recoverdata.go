package openmldb

import (
	"cmp"
	"context"
	"errors"
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
			"with. For each partition that is not whole, the replica that got furthest leads, by its memory or by what the nameserver " +
			"and its snapshot last knew: it is loaded from its disk with the storage its table has, the nameserver is told, and the " +
			"others catch up. One that comes up with less than that stops the plan, before others follow it. auto_failover is held " +
			"off meanwhile. Run again it does what is left.",
		Flags: []spec.Flag{
			{Name: "without", Kind: spec.ArgEndpoint, Repeated: true, Help: "a tablet whose disk is lost: it shall not lead"},
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
	var without []string
	for _, name := range line.Strings("without") {
		endpoint, err := match(ctx, c, name)
		if err != nil {
			return nil, err
		}
		without = append(without, endpoint)
	}
	r := &restorer{without: without, mover: mover{c, line.Wait}, view: v, plan: &spec.Plan{Title: "bring back the partitions of " + line.Cluster, Name: line.Cluster}}
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
	view    *view
	plan    *spec.Plan
	without []string
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

// reach is how far a replica is, and how that is known. A tablet knows of a partition that it has not loaded no more than
// its snapshot; what came after is in its log, which only loading reads. The nameserver has the offset it last heard.
type reach struct {
	replica  driver.Replica
	offset   uint64 // in memory, else the larger of what is known
	snapshot uint64
	loaded   *driver.TabletPartition
}

// known says whether offset is more than a lower bound.
func (x reach) known() bool { return x.loaded != nil || x.replica.Offset != nil }

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
			up = append(up, reach{replica: on, offset: own.Offset, loaded: &own})
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
		up = append(up, reach{replica: on, offset: max(pair.Offset, uint64(value(on.Offset))), snapshot: pair.Offset})
	}
	return up, down, nil
}

// choose takes the leader that serves, if there is one; else the replica that got furthest, of those the nameserver's
// leader. Where it is not known of all how far they got, the nameserver's leader is the one that had most.
func (r *restorer) choose(p driver.Partition, reaches []reach) reach {
	leader, led := p.Leader()
	for _, x := range reaches {
		if led && x.replica.Endpoint == leader.Endpoint && x.loaded != nil && x.loaded.Mode == "kTableLeader" {
			return x
		}
	}
	known := !slices.ContainsFunc(reaches, func(x reach) bool { return !x.known() })
	rank := func(x reach) int {
		switch {
		case slices.Contains(r.without, x.replica.Endpoint):
			return -1
		case led && x.replica.Endpoint == leader.Endpoint:
			return 2
		case x.replica.Leader:
			return 1
		}
		return 0
	}
	return slices.MaxFunc(reaches, func(a, b reach) int {
		leads, far := cmp.Compare(rank(a), rank(b)), cmp.Compare(a.offset, b.offset)
		if known && min(rank(a), rank(b)) >= 0 {
			return cmp.Or(far, leads)
		}
		return cmp.Or(leads, far)
	})
}

func reasons(lead reach, all []reach) string {
	var texts []string
	known := true
	for _, x := range all {
		text := fmt.Sprintf("%s is at offset %d", x.replica.Endpoint, x.offset)
		switch {
		case x.loaded != nil:
		case x.replica.Offset != nil:
			text = fmt.Sprintf("%s was last at offset %d, its snapshot at %d", x.replica.Endpoint, x.offset, x.snapshot)
		default:
			text = fmt.Sprintf("%s has a snapshot at offset %d, and maybe more", x.replica.Endpoint, x.snapshot)
			known = false
		}
		texts = append(texts, text)
	}
	furthest := !slices.ContainsFunc(all, func(x reach) bool { return x.offset > lead.offset })
	why := "chosen"
	switch {
	case lead.loaded != nil && lead.loaded.Mode == "kTableLeader" && lead.replica.Alive && lead.replica.Leader:
		why = "it leads and serves"
	case known && furthest:
		why = "the largest offset"
	case lead.replica.Leader:
		why = "it led"
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
		r.plan.Steps = append(r.plan.Steps, r.load(o, t, lead))
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
func (r *restorer) load(o onTablet, t driver.Table, lead reach) spec.Step {
	name, leads := at(t.TableName, o.pid), lead.replica.Leader
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
					return withoutIt(err, o.tablet)
				}
			}
			if err := o.loaded(ctx, max(r.wait, 0), report); err != nil {
				return err
			}
			if p, err = o.status(ctx); err == nil && p != nil && p.Offset < lead.offset {
				return spec.Errorf(spec.Failed, "%s on %s came up at offset %d, and was at %d before", name, o.tablet, p.Offset, lead.offset).
					WithHint("recoverdata --without %s has another one lead", o.tablet)
			}
			return err
		},
	}
}

// withoutIt helps where a tablet refuses to load: its disk may be lost.
func withoutIt(err error, tablet string) error {
	var refused *spec.Error
	if !errors.As(err, &refused) || refused.Code == "" {
		return err
	}
	return refused.WithHint("recoverdata --without %s has another one lead, if the disk of that one is lost", tablet)
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
