package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// When the store of the meta servers is lost, the next one to lead knows no table. It answers ERR_UNDER_RECOVERY until
// somebody names the replica servers from which to take what there was (Pegasus does so with an empty ZooKeeper and
// recover_from_replica_server = true).

// lostKey marks a store that is empty because it was lost, and not because the cluster is new.
var lostKey = []byte("~lost")

// unheardBallots is by how much recovered ballots are raised when some server was not asked: it may know of changes that
// the others have not seen, and must find no ballot that it used itself.
const unheardBallots = 1000

// inventory is what a replica server has.
type inventory struct {
	Apps     []app
	Replicas []held
}

// held is a replica in the store of a server.
type held struct {
	PID    wire.GPID
	Ballot int64 // the newest the server knows of
	At     point
	Leads  bool
}

// inventory lists what the server's store holds. With fence, its replicas leave their groups first: no write is
// acknowledged any more, so that what is listed has every acknowledged row that the server ever had.
func (s *replicaServer) inventory(fence bool) (inventory, error) {
	if !s.enter() {
		return inventory{}, errDead
	}
	defer s.leave()
	known := map[wire.GPID]report{}
	for _, r := range s.all() {
		known[r.pid] = r.report()
		if fence {
			r.reset()
		}
	}
	var all inventory
	for _, a := range s.heldApps() {
		all.Apps = append(all.Apps, *a)
	}
	lower, upper := stateKeys()
	iter, err := s.store.Iterate(lower, upper)
	if err != nil {
		return all, err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		pid, at, err := parseState(iter.Key(), iter.Value())
		if err != nil {
			return all, errors.Join(err, iter.Close())
		}
		has := known[pid]
		all.Replicas = append(all.Replicas, held{pid, max(has.Ballot, at.Ballot), at, has.Status == wire.ReplicaPrimary})
	}
	return all, errors.Join(iter.Error(), iter.Close())
}

// underRecovery says that the meta server waits to be told what there was.
func (m *metaServer) underRecovery() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recovering
}

// startRecovery takes the tables and their partitions from replica servers.
func (m *metaServer) startRecovery(_ *inbound, q *wire.RecoveryRequest, out *wire.HintResponse) string {
	m.rounds.Lock() // nobody cures what is not complete
	defer m.rounds.Unlock()
	if !m.underRecovery() {
		out.Err = wire.CodeServiceRunning
		return ""
	}
	r := &recovery{m: m, skipBad: q.SkipBadNodes, skipLost: q.SkipLostPartitions}
	slices.Sort(q.Nodes)
	for _, address := range slices.Compact(q.Nodes) {
		r.nodes = append(r.nodes, recoveryNode{id: m.nodeAt(address), address: address.String()})
	}
	out.Err = r.run()
	out.Hint = r.hints.String()
	m.kick()
	return ""
}

// recoveryNode is a server that was named, and what it has.
type recoveryNode struct {
	id      nodeID
	address string
	has     inventory
	bad     bool
}

// recovery is one attempt.
type recovery struct {
	m                 *metaServer
	nodes             []recoveryNode
	skipBad, skipLost bool
	hints             strings.Builder

	apps   map[int32]*app
	groups map[wire.GPID]group
	hollow []recoveredCopy // copies of lost partitions that were never complete
}

type recoveredCopy struct {
	id   nodeID
	pid  wire.GPID
	held held
}

// run answers an error name. Nothing is stopped before it is known that nothing is missing; then every server that can
// be heard stops serving what it served, and those that were named are asked once more.
func (r *recovery) run() string {
	for _, fence := range []bool{false, true} {
		r.hints.Reset()
		if fence {
			r.fenceOthers()
		}
		if !r.ask(fence) || !r.build() {
			return wire.CodeTryAgain
		}
	}
	if err := r.keep(); err != nil {
		r.m.log("recover: %v", err)
		return "ERR_FS_INTERNAL"
	}
	return wire.OK
}

func (r *recovery) hint(format string, args ...any) { fmt.Fprintf(&r.hints, format+"\n", args...) }

// ask takes the inventories; false when one is missing that may not be.
func (r *recovery) ask(fence bool) bool {
	good := true
	for i := range r.nodes {
		n := &r.nodes[i]
		link, err := r.m.net.node(n.id)
		if err == nil {
			n.has, err = link.inventory(fence)
		}
		switch n.bad = err != nil; {
		case n.bad && r.skipBad:
			r.hint("WARNING: node %s did not tell what it has and is left out: %v", n.address, err)
		case n.bad:
			r.hint("ERROR: node %s did not tell what it has: %v; with skip_bad_nodes it is left out", n.address, err)
			good = false
		}
	}
	return good
}

// fenceOthers has the servers that were not named stop serving what they served before.
func (r *recovery) fenceOthers() {
	for _, id := range r.m.nodes {
		if slices.ContainsFunc(r.nodes, func(n recoveryNode) bool { return n.id == id }) {
			continue
		}
		if link, err := r.m.net.node(id); err == nil {
			_, _ = link.inventory(true)
		}
	}
}

// build makes tables and groups of the inventories; false when a partition is lost that may not be.
func (r *recovery) build() bool {
	r.apps, r.groups, r.hollow = map[int32]*app{}, map[wire.GPID]group{}, nil
	copies := map[wire.GPID][]recoveredCopy{}
	for _, n := range r.nodes {
		if n.bad {
			continue
		}
		for _, a := range n.has.Apps {
			a.Dups = nil // they were the meta server's
			if old := r.apps[a.ID]; old == nil || old.Version < a.Version {
				r.apps[a.ID] = &a
			}
		}
		for _, h := range n.has.Replicas {
			copies[h.PID] = append(copies[h.PID], recoveredCopy{n.id, h.PID, h})
		}
	}
	r.settleNames()
	good := true
	for _, id := range slices.Sorted(maps.Keys(r.apps)) {
		a := r.apps[id]
		for i := range a.Partitions {
			pid := wire.GPID{App: id, Partition: i}
			g, found := r.group(a, pid, copies[pid])
			r.groups[pid] = g
			switch {
			case found && a.Status == wire.AppAvailable && len(g.LastDrops) < a.Replicas:
				r.hint("WARNING: partition %s has %d of %d replicas; rows may be lost", pid, len(g.LastDrops), a.Replicas)
			case found || a.Status != wire.AppAvailable:
			case r.skipLost:
				r.hint("WARNING: partition %s has no replica and begins empty", pid)
			default:
				r.hint("ERROR: partition %s has no replica; with skip_lost_partitions it begins empty", pid)
				good = false
			}
		}
	}
	return good
}

// settleNames makes placeholders of dropped tables for ids that nobody knows, which are not given out again, and gives
// tables that share a name others: the newest keeps it.
func (r *recovery) settleNames() {
	ids := slices.Sorted(maps.Keys(r.apps))
	taken := map[string]bool{}
	for _, id := range slices.Backward(ids) {
		a := *r.apps[id]
		if a.Status != wire.AppAvailable {
			continue
		}
		for taken[a.Name] {
			a.Name = fmt.Sprintf("%s__%d", a.Name, id)
		}
		taken[a.Name] = true
		if a.Name != r.apps[id].Name {
			r.hint("WARNING: the name %s of table %d belongs to a newer table; it is called %s now", r.apps[id].Name, id, a.Name)
			a.Version++
			r.apps[id] = &a
		}
	}
	if len(ids) == 0 {
		return
	}
	for id := int32(1); id < ids[len(ids)-1]; id++ {
		if r.apps[id] == nil {
			now := time.Now().Unix()
			r.apps[id] = &app{
				ID: id, Name: fmt.Sprintf("__drop_holder__%d", id), Type: appType, Status: wire.AppDropped, Partitions: 1,
				Init: 1, Replicas: 3, Stateful: true, Dropped: now, ExpiresAt: now,
			}
		}
	}
}

// group is a partition whose members are all gone, the best of them last: whoever left last leads again. found is false
// when nobody has it.
func (r *recovery) group(a *app, pid wire.GPID, copies []recoveredCopy) (g group, found bool) {
	g = group{PID: pid, Max: a.Replicas, Count: a.Partitions, Primary: noNode}
	ballot := int64(0)
	for _, c := range copies {
		ballot = max(ballot, c.held.Ballot)
		if c.held.At == incomplete {
			r.hollow = append(r.hollow, c)
		}
	}
	copies = slices.DeleteFunc(slices.Clone(copies), func(c recoveredCopy) bool { return c.held.At == incomplete })
	if len(copies) == 0 {
		return g, false
	}
	r.hollow = slices.DeleteFunc(r.hollow, func(c recoveredCopy) bool { return c.pid == pid })
	// Of those that have the same rows the one that led goes on, else they take turns, as in a new table.
	turn := func(c recoveredCopy) int {
		n := len(r.m.nodes)
		return (int(pid.Partition) - int(c.id) + n) % n
	}
	slices.SortFunc(copies, func(x, y recoveredCopy) int {
		return cmp.Or(
			cmp.Compare(x.held.At.Ballot, y.held.At.Ballot), cmp.Compare(x.held.At.Decree, y.held.At.Decree),
			cmp.Compare(truth(x.held.Leads), truth(y.held.Leads)), cmp.Compare(turn(y), turn(x)),
		)
	})
	for _, c := range copies {
		g.LastDrops = append(g.LastDrops, c.id)
	}
	if over := len(g.LastDrops) - maxLastDrops; over > 0 {
		g.LastDrops = g.LastDrops[over:]
	}
	g.Ballot, g.Committed = ballot+1, copies[len(copies)-1].held.At.Decree
	if len(copies) > 0 && r.leftOut() {
		g.Ballot += unheardBallots
	}
	return g, true
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// leftOut says whether some server of the cluster was not asked, or did not answer.
func (r *recovery) leftOut() bool {
	return slices.ContainsFunc(r.m.nodes, func(id nodeID) bool {
		return !slices.ContainsFunc(r.nodes, func(n recoveryNode) bool { return n.id == id && !n.bad })
	})
}

// keep stores what was found, and has the meta server go on with it.
func (r *recovery) keep() error {
	m := r.m
	values := map[string]any{}
	for id, a := range r.apps {
		values[string(appKey(id))] = a
	}
	for pid, g := range r.groups {
		values[string(groupKey(pid))] = g
	}
	for _, c := range r.hollow { // their rows are part of what is lost
		if link, err := m.net.node(c.id); err == nil {
			begun, err := link.learn(c.pid, c.held.Ballot, true)
			if err == nil {
				err = link.learnEnd(c.pid, c.held.Ballot, begun.Copy, point{})
			}
			if err != nil {
				return fmt.Errorf("empty %s: %w", c.pid, err)
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	values[string(filledKey)] = nil
	if err := m.save(values, string(lostKey)); err != nil {
		return err
	}
	m.apps, m.groups, m.recovering = r.apps, r.groups, false
	for _, id := range m.nodes {
		m.returned[id] = true
	}
	return nil
}

// markLost makes an empty store one that was lost.
func markLost(store *engine.Store) error {
	b := store.NewBatch()
	if err := b.Set(lostKey, nil, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return store.Apply(b)
}

// inform tells servers that are heard again which tables there are, and which were dropped.
func (m *metaServer) inform() {
	m.mu.Lock()
	returned := slices.Sorted(maps.Keys(m.returned))
	apps := slices.Collect(maps.Values(m.apps))
	m.mu.Unlock()
	for _, id := range returned {
		n, err := m.net.node(id)
		for _, a := range apps {
			if err == nil {
				err = n.updateApp(*a)
			}
			if err == nil && a.Status == wire.AppDropped {
				err = n.forget(a.ID)
			}
		}
		if err == nil {
			m.mu.Lock()
			delete(m.returned, id)
			m.mu.Unlock()
		}
	}
}
