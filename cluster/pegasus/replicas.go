package pegasus

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Partitions asks the meta server where a table's partitions are.
func (d *Driver) Partitions(ctx context.Context, table string) (*AppPartitions, error) {
	r, err := d.resolve(ctx, "read the partitions of "+table, table)
	if err != nil {
		return nil, err
	}
	// A fresh answer serves the row calls too.
	d.routes.entry(table).set(r)
	own := r.AppPartitions
	own.Partitions = append([]Partition(nil), r.Partitions...)
	return &own, nil
}

// Replicas yields the replicas of a table, or of all available ones, with a call to the meta server for each table and
// one to each node that holds them, for the committed decrees. A partition without a primary yields a row without an
// endpoint for it, but not the child of a split that is not ready, which has no replicas to have.
func (d *Driver) Replicas(ctx context.Context, table string) iter.Seq2[cluster.Replica, error] {
	return d.placed(ctx, table, d.decrees)
}

// Placement yields the replicas without their offsets, and so asks no node.
func (d *Driver) Placement(ctx context.Context, table string) iter.Seq2[cluster.Replica, error] {
	return d.placed(ctx, table, nil)
}

// placed yields the replicas of a table, or of all; ask, when not nil, finds the committed decrees on some nodes.
func (d *Driver) placed(
	ctx context.Context, table string, ask func(context.Context, []string) decrees,
) iter.Seq2[cluster.Replica, error] {
	return func(yield func(cluster.Replica, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		apps, alive, err := d.replicaContext(ctx, table)
		if err != nil {
			yield(cluster.Replica{}, err)
			return
		}
		var known decrees
		if table == "" && ask != nil {
			known = ask(ctx, living(alive))
		}
		for result := range d.resolveAll(ctx, apps) {
			if table == "" && dropped(result.err) {
				continue
			}
			if result.err != nil {
				yield(cluster.Replica{}, result.err)
				return
			}
			if known == nil && ask != nil {
				known = ask(ctx, holders(result.parts, alive))
			}
			for i := range result.parts.Partitions {
				if !result.parts.Partitions[i].Unborn && !yieldReplicas(&result.app, &result.parts.Partitions[i], alive, known, yield) {
					return
				}
			}
		}
	}
}

func living(alive map[string]bool) []string {
	var all []string
	for endpoint, is := range alive {
		if is {
			all = append(all, endpoint)
		}
	}
	return all
}

// dropped tells that a table went away after it was listed.
func dropped(err error) bool {
	var e *spec.Error
	return errors.As(err, &e) && (e.Kind == spec.NotFound || e.Code == wire.CodeBusyDropping)
}

// replicaContext answers the tables meant and which nodes are alive.
func (d *Driver) replicaContext(ctx context.Context, table string) (apps []App, alive map[string]bool, err error) {
	if table == "" {
		apps, err = d.Apps(ctx, "available")
	} else {
		var a App
		a, err = d.app(ctx, "read the partitions of "+table, table)
		apps = []App{a}
	}
	if err != nil {
		return nil, nil, err
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	alive = map[string]bool{}
	for _, n := range nodes {
		alive[n.Endpoint] = n.Alive
	}
	return apps, alive, nil
}

type resolved struct {
	app   App
	parts *AppPartitions
	err   error
}

// resolveAll asks for the partitions of tables, several ahead, and yields them in order.
func (d *Driver) resolveAll(ctx context.Context, apps []App) iter.Seq[resolved] {
	return func(yield func(resolved) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var group sync.WaitGroup
		defer group.Wait()
		defer cancel()
		answers := make([]chan resolved, len(apps))
		start := func(i int) {
			answers[i] = make(chan resolved, 1)
			group.Go(func() {
				parts, err := d.Partitions(ctx, apps[i].Name)
				answers[i] <- resolved{apps[i], parts, err}
			})
		}
		for i := range min(fanout, len(apps)) {
			start(i)
		}
		for i := range apps {
			answer := <-answers[i]
			if next := i + fanout; next < len(apps) {
				start(next)
			}
			if !yield(answer) {
				return
			}
		}
	}
}

func yieldReplicas(
	app *App, p *Partition, alive map[string]bool, known decrees, yield func(cluster.Replica, error) bool,
) bool {
	gpid := wire.GPID{App: app.ID, Partition: int32(p.Index)}
	offset := func(endpoint string) *int64 {
		if known == nil {
			return nil
		}
		decree, ok := known[endpoint][gpid]
		if !ok && p.LastCommitted > 0 {
			decree, ok = p.LastCommitted, true
		}
		if !ok {
			return nil
		}
		return &decree
	}
	have := len(p.Secondaries)
	if p.Primary != "" {
		have++
	}
	ballot := p.Ballot
	row := cluster.Replica{
		Table: app.Name, TableID: int64(app.ID), Partition: p.Index, Role: "primary", Endpoint: p.Primary,
		Alive: p.Primary != "" && alive[p.Primary], TTL: defaultTTL(app), Ballot: &ballot,
		Wanted: p.MaxReplicas, Have: have, Needed: writeQuorum(p.MaxReplicas), Offset: offset(p.Primary),
		Leads: p.Primary != "",
	}
	if !yield(row, nil) {
		return false
	}
	for _, endpoint := range p.Secondaries {
		row.Leads = false
		row.Role, row.Endpoint, row.Alive, row.Offset = "secondary", endpoint, alive[endpoint], offset(endpoint)
		if !yield(row, nil) {
			return false
		}
	}
	return true
}

// writeQuorum is how many replicas must live for a partition to take writes: one of up to two, else a majority
// (mutation_2pc_min_replica_count's default).
func writeQuorum(wanted int) int {
	if wanted <= 2 {
		return 1
	}
	return wanted/2 + 1
}

// defaultTTL is the table env that gives rows written without a TTL one.
func defaultTTL(app *App) *time.Duration {
	seconds, err := strconv.ParseInt(app.Envs["default_ttl"], 10, 32)
	if err != nil || seconds <= 0 {
		return nil
	}
	ttl := time.Duration(seconds) * time.Second
	return &ttl
}
