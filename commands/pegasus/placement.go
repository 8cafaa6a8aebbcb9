package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// What the words that move replicas share: a place is a partition with the state its change is planned from.

// place is one partition of a table and the nodes there are.
type place struct {
	c     client
	table string
	appID int32
	index int
	was   driver.Partition
	nodes nodeSet
}

// gpid is how the store writes a partition: 2.5.
func (p *place) gpid() string { return fmt.Sprintf("%d.%d", p.appID, p.index) }

// String names it for people: TableA/5.
func (p *place) String() string { return fmt.Sprintf("%s/%d", p.table, p.index) }

// parseGPID reads app.index.
func parseGPID(text string) (app int32, partition int, err error) {
	a, b, ok := strings.Cut(text, ".")
	id, err1 := strconv.ParseInt(a, 10, 32)
	index, err2 := strconv.ParseInt(b, 10, 32)
	if !ok || err1 != nil || err2 != nil || id <= 0 || index < 0 {
		return 0, 0, spec.Errorf(spec.Usage, "%s is no partition", quote(text)).
			WithHint("write TABLE_ID.PARTITION, as in 2.5; ls shows the ids")
	}
	return int32(id), int(index), nil
}

// placeOfGPID finds a partition by app.index.
func placeOfGPID(ctx context.Context, env commands.Env, call *spec.Call, text string) (*place, error) {
	id, partition, err := parseGPID(text)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(apps, func(a driver.App) bool { return a.ID == id })
	if i < 0 {
		return nil, spec.Errorf(spec.NotFound, "no table in use has the id %d", id).WithHint("ls lists the tables and their ids")
	}
	return newPlace(ctx, c, apps[i], partition)
}

// placeOf finds a partition by the table's name.
func placeOf(ctx context.Context, env commands.Env, call *spec.Call, table, partition string) (*place, error) {
	index, err := strconv.Atoi(partition)
	if err != nil || index < 0 {
		return nil, spec.Errorf(spec.Usage, "%s is no partition", quote(partition)).WithHint("partitions count from 0")
	}
	c, table, err := openTable(ctx, env, call, table)
	if err != nil {
		return nil, err
	}
	a, err := mustFind(ctx, c, call.Cluster, table)
	if err != nil {
		return nil, err
	}
	return newPlace(ctx, c, a, index)
}

func newPlace(ctx context.Context, c client, a driver.App, index int) (*place, error) {
	p := &place{c: c, table: a.Name, appID: a.ID, index: index}
	var err error
	if p.nodes, err = nodeSetOf(ctx, c); err != nil {
		return nil, err
	}
	p.was, err = p.now(ctx)
	return p, err
}

// now reads the partition.
func (p *place) now(ctx context.Context) (driver.Partition, error) {
	a, err := p.c.Partitions(ctx, p.table)
	if err != nil {
		return driver.Partition{}, err
	}
	i := slices.IndexFunc(a.Partitions, func(q driver.Partition) bool { return q.Index == p.index })
	if i < 0 || a.AppID != p.appID {
		return driver.Partition{}, spec.Errorf(spec.NotFound, "%s has no partition %d", p.table, p.index).
			WithHint("it has %d, counted from 0", len(a.Partitions))
	}
	return a.Partitions[i], nil
}

// stepPatience bounds the wait for one proposal: the meta server looks at each every few seconds, and forgets those it
// cannot carry out.
const stepPatience = 2 * time.Minute

// await waits until the partition is as it should be.
func (p *place) await(ctx context.Context, report spec.Report, done func(driver.Partition) bool) error {
	return waiting{
		text: "wait for " + p.String(), limit: stepPatience, hint: "showtable " + p.table + " shows where its replicas are",
		look: func(ctx context.Context) (bool, string, error) {
			now, err := p.now(ctx)
			return err == nil && done(now), fmt.Sprintf("primary %s, secondaries %v", cmp.Or(now.Primary, "none"), now.Secondaries), err
		},
	}.apply(ctx, report)
}

// nodeSet is every replica server of a cluster, and whether it is alive.
type nodeSet map[string]bool

func nodeSetOf(ctx context.Context, c admin) (nodeSet, error) {
	list, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	set := nodeSet{}
	for _, n := range list {
		set[n.Endpoint] = n.Alive
	}
	return set, nil
}

// find finds a node as cluster.FindEndpoint does.
func (s nodeSet) find(text string) (string, error) {
	return cluster.FindEndpoint(text, slices.Sorted(maps.Keys(s)))
}

// findAlive finds a node that is up.
func (s nodeSet) findAlive(text string) (string, error) {
	found, err := s.find(text)
	if err == nil && !s[found] {
		err = spec.Errorf(spec.Refused, "%s is not alive", found).WithHint("nodes -s alive lists those that are")
	}
	return found, err
}

// carries blocks a change that nobody would carry out: below steady the meta server leaves proposals lying.
func (p *place) carries(ctx context.Context) (spec.State, error) {
	level, err := p.c.MetaLevel(ctx)
	if err != nil {
		return spec.State{}, err
	}
	if !cures(level) {
		why := fmt.Sprintf("the meta level is %s, so proposals are not carried out; set_meta_level steady first", level)
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func members(q driver.Partition) []string {
	if q.Primary == "" {
		return q.Secondaries
	}
	return append([]string{q.Primary}, q.Secondaries...)
}

// stand says in a few words how a partition is.
func stand(q driver.Partition) string {
	return fmt.Sprintf("ballot %d, primary %s, secondaries [%s]", q.Ballot, cmp.Or(q.Primary, "none"), strings.Join(q.Secondaries, ","))
}

// movePatience is how long a change that copies nothing may take before it is taken to be lost: the meta server looks at
// a group at least every 10 s, and a change costs it a write to ZooKeeper.
const movePatience = time.Minute

// move is a replica that goes from a node to another one.
type move struct {
	*place
	kind     string // driver.MovePrimary, …
	from, to string
}

// newMove chooses the kind of balancing that takes a replica from one node to another.
func (p *place) newMove(from, to string) (*move, error) {
	from, err := p.nodes.findAlive(from)
	if err != nil {
		return nil, err
	}
	if to, err = p.nodes.findAlive(to); err != nil {
		return nil, err
	}
	m := &move{place: p, from: from, to: to}
	switch {
	case from == to:
		return nil, spec.Errorf(spec.Usage, "from and to are the same node, %s", from)
	case m.arrived(p.was):
	case p.was.Primary == from && slices.Contains(p.was.Secondaries, to):
		m.kind = driver.MovePrimary
	case p.was.Primary == from:
		m.kind = driver.CopyPrimary
	case slices.Contains(p.was.Secondaries, from):
		m.kind = driver.CopySecondary
	default:
		return nil, spec.Errorf(spec.NotFound, "%s has no replica on %s", p.String(), from).WithHint("%s", stand(p.was))
	}
	return m, nil
}

// arrived tells that a copy is where it should be, whichever kind it was.
func (m *move) arrived(q driver.Partition) bool {
	have := members(q)
	switch m.kind {
	case driver.MovePrimary:
		return q.Primary == m.to && slices.Contains(q.Secondaries, m.from)
	case driver.ReplacePrimary:
		return q.Primary == m.to && !slices.Contains(have, m.from)
	case driver.CopyPrimary:
		return q.Primary == m.to && len(have) <= max(q.MaxReplicas, len(members(m.was)))
	}
	return slices.Contains(have, m.to) && !slices.Contains(have, m.from)
}

func (m *move) check(ctx context.Context) (spec.State, error) {
	now, err := m.now(ctx)
	switch {
	case err != nil:
		return spec.State{}, err
	case m.arrived(now):
		return spec.State{Kind: spec.Done, Why: stand(now)}, nil
	case m.kind == driver.MovePrimary && (now.Primary != m.from || !slices.Contains(now.Secondaries, m.to)),
		(m.kind == driver.CopyPrimary || m.kind == driver.ReplacePrimary) && now.Primary != m.from,
		m.kind == driver.CopySecondary && !slices.Contains(now.Secondaries, m.from):
		return spec.State{Kind: spec.Blocked, Why: "the partition has changed: " + stand(now)}, nil
	}
	return m.carries(ctx)
}

// plan is the move as steps: to propose it, and to wait for it.
func (m *move) plan(call *spec.Call, title, undo string) *spec.Plan {
	plan := &spec.Plan{Title: fmt.Sprintf("%s on %s", title, call.Cluster), Notes: []string{stand(m.was)}}
	if m.arrived(m.was) {
		return plan
	}
	what := map[string]string{
		driver.MovePrimary:    "make %[2]s the primary of %[3]s instead of %[1]s",
		driver.CopyPrimary:    "copy %[3]s from %[1]s to %[2]s and make that the primary",
		driver.ReplacePrimary: "copy %[3]s from %[1]s to %[2]s, make that the primary and drop the old one",
		driver.CopySecondary:  "copy %[3]s to %[2]s and drop the secondary on %[1]s",
	}[m.kind]
	plan.Steps = []spec.Step{{
		Text:    fmt.Sprintf(what, m.from, m.to, m.String()),
		Objects: []string{m.String()},
		Class:   spec.Alter,
		Check:   m.check,
		Apply: func(ctx context.Context, _ spec.Report) error {
			return m.c.Balance(ctx, driver.Balance{AppID: m.appID, Partition: m.index, Kind: m.kind, From: m.from, To: m.to})
		},
		Undo: undo,
	}}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until it has happened", objects: []string{m.String()}, limit: m.patience(call), look: m.look,
			hint: fmt.Sprintf("app %s -d shows the partition; the meta server may have forgotten the proposal, so the same line again is safe", m.table),
		}.step())
	}
	return plan
}

func (m *move) patience(call *spec.Call) time.Duration {
	if call.Wait == 0 && m.kind == driver.MovePrimary {
		return movePatience
	}
	return call.Wait
}

// look waits for the move; a copy is going on as long as its node says so.
func (m *move) look(ctx context.Context) (bool, string, error) {
	now, err := m.now(ctx)
	if err != nil {
		return false, "", err
	}
	text := stand(now)
	if m.arrived(now) {
		return true, text, nil
	}
	if m.kind != driver.MovePrimary && !slices.Contains(members(now), m.to) {
		held, err := m.c.HeldReplicas(ctx, m.to)
		if err != nil {
			return false, "", err
		}
		for _, r := range held {
			if r.AppID == m.appID && r.Partition == m.index && r.Status == "POTENTIAL_SECONDARY" {
				text += fmt.Sprintf("; %s is learning, at decree %d", m.to, r.Committed)
			}
		}
	}
	return false, text, nil
}

// lightest chooses the live secondary that leads the fewest partitions of the table.
func (p *place) lightest(ctx context.Context) (string, error) {
	a, err := p.c.Partitions(ctx, p.table)
	if err != nil {
		return "", err
	}
	leads := map[string]int{}
	for _, q := range a.Partitions {
		leads[q.Primary]++
	}
	able := slices.DeleteFunc(slices.Clone(p.was.Secondaries), func(e string) bool { return !p.nodes[e] })
	if len(able) == 0 {
		return "", spec.Errorf(spec.Refused, "%s has no live secondary to lead it", p.String()).WithHint("%s", stand(p.was))
	}
	return slices.MinFunc(able, func(a, b string) int { return cmp.Or(leads[a]-leads[b], strings.Compare(a, b)) }), nil
}
