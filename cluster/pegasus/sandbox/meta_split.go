package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Splits and compactions as the meta server has them. A split is kept as the table's new number of partitions and the
// groups of the children that are registered; how far the others are is in the memory of the leader only. One that
// takes over goes on splitting those, even if they were paused or canceled, as Pegasus does.

// splitState is a table's split.
type splitState struct {
	left   int                        // parents that are neither done nor have stopped being canceled
	status map[int32]wire.SplitStatus // of those
}

// findSplits finds the splits that an earlier leader left; m.mu is held, or nobody else knows of m yet.
func (m *metaServer) findSplits() {
	for pid, g := range m.groups {
		if a := m.apps[pid.App]; g.Count == 0 && a != nil {
			g.Count = a.Partitions
			m.groups[pid] = g
		}
	}
	for id, a := range m.apps {
		half := a.Partitions / 2
		for parent := range half {
			if _, born := m.groups[wire.GPID{App: id, Partition: parent + half}]; born || a.Status != wire.AppAvailable {
				continue
			}
			if m.splits[id] == nil {
				m.splits[id] = &splitState{status: map[int32]wire.SplitStatus{}}
			}
			m.splits[id].left++
			m.splits[id].status[parent] = wire.SplitSplitting
		}
	}
}

// unbornPartition is what clients see of a child that is not registered: no place, and a ballot that says so.
func unbornPartition(pid wire.GPID) wire.Partition {
	return wire.Partition{PID: pid, Ballot: -1, Secondaries: []wire.Address{}, LastDrops: []wire.Address{}}
}

// usable finds a table that can be split or compacted; m.mu is held.
func (m *metaServer) usable(name string) (a *app, code, hint string) {
	if a := m.named(name); a != nil {
		return a, wire.OK, ""
	}
	for _, a := range m.apps {
		if a.Name == name {
			return nil, wire.CodeAppDropped, fmt.Sprintf("the table %s was dropped", name)
		}
	}
	return nil, wire.CodeAppNotExist, fmt.Sprintf("there is no table %q", name)
}

func (m *metaServer) startSplit(_ *inbound, q *wire.StartSplitRequest, out *wire.HintResponse) string {
	m.mu.Lock()
	old, code, hint := m.usable(q.AppName)
	switch {
	case old == nil:
		out.Err, out.Hint = code, hint
	case int64(q.NewPartitions) != 2*int64(old.Partitions) || q.NewPartitions > maxPartitions:
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("the new number of partitions must be %d", 2*old.Partitions)
	case len(old.Dups) > 0:
		out.Err, out.Hint = wire.CodeInvalidState, q.AppName+" is being duplicated"
	case m.loading(old.ID) != nil:
		out.Err, out.Hint = wire.CodeInvalidState, q.AppName+" is being bulk loaded"
	case m.splits[old.ID] != nil:
		out.Err, out.Hint = wire.CodeBusy, fmt.Sprintf("%s is being split already", q.AppName)
	}
	if out.Err != "" {
		m.mu.Unlock()
		return ""
	}
	a := *old
	a.Partitions = q.NewPartitions
	if a.Envs = maps.Clone(old.Envs); a.Envs == nil {
		a.Envs = map[string]string{}
	}
	a.Envs[envValidateHash] = "true"
	err := m.setApp(&a)
	if err == nil {
		s := &splitState{left: int(old.Partitions), status: map[int32]wire.SplitStatus{}}
		for i := range old.Partitions {
			s.status[i] = wire.SplitSplitting
		}
		m.splits[a.ID] = s
	}
	m.mu.Unlock()
	if err != nil {
		m.log("split table %s: %v", q.AppName, err)
		out.Err = "ERR_FS_INTERNAL"
		return ""
	}
	m.tell(func(n nodeLink) error { return n.updateApp(a) })
	out.Err = wire.OK
	m.kick()
	return ""
}

func (m *metaServer) querySplit(_ *inbound, q *wire.QuerySplitRequest, out *wire.QuerySplitResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, s, code, hint := m.splitOf(q.AppName)
	if s == nil {
		out.Err, out.Hint = code, &hint
		return ""
	}
	out.Err, out.NewPartitions, out.Status = wire.OK, a.Partitions, maps.Clone(s.status)
	return ""
}

// splitOf finds the split of a table; m.mu is held.
func (m *metaServer) splitOf(name string) (a *app, s *splitState, code, hint string) {
	a, code, hint = m.usable(name)
	if a == nil {
		return nil, nil, code, hint
	}
	if s = m.splits[a.ID]; s == nil {
		return a, nil, wire.CodeInvalidState, name + " is not being split"
	}
	return a, s, wire.OK, ""
}

func (m *metaServer) controlSplit(_ *inbound, q *wire.ControlSplitRequest, out *wire.ControlSplitResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, s, code, hint := m.splitOf(q.AppName)
	switch {
	case s == nil:
	case q.Control == wire.SplitCancel:
		code, hint = s.cancel(a.Partitions/2, q.OldPartitions)
	case q.Control != wire.SplitPause && q.Control != wire.SplitRestart:
		code, hint = wire.CodeInvalidParameters, fmt.Sprintf("there is no control %d", q.Control)
	case q.Parent >= 0:
		code, hint = s.controlOne(q.Control, q.Parent, a.Partitions/2)
	default:
		was, becomes := controlled(q.Control)
		for parent, status := range s.status {
			if status == was {
				s.status[parent] = becomes
			}
		}
	}
	if out.Err = code; hint != "" {
		out.Hint = &hint
	}
	m.kick()
	return ""
}

// controlled is which status a control applies to, and what it makes of it.
func controlled(c wire.SplitControl) (was, becomes wire.SplitStatus) {
	if c == wire.SplitPause {
		return wire.SplitSplitting, wire.SplitPausing
	}
	return wire.SplitPaused, wire.SplitSplitting
}

func (s *splitState) controlOne(c wire.SplitControl, parent, old int32) (code, hint string) {
	was, becomes := controlled(c)
	status, busy := s.status[parent]
	switch {
	case parent >= old:
		return wire.CodeInvalidParameters, fmt.Sprintf("%d is no partition that is split", parent)
	case !busy && c == wire.SplitPause:
		return wire.CodeChildRegistered, fmt.Sprintf("partition %d is split already", parent)
	case !busy:
		return wire.CodeInvalidState, fmt.Sprintf("partition %d is split already", parent)
	case status != was:
		return wire.CodeInvalidState, fmt.Sprintf("partition %d is %s", parent, status)
	}
	s.status[parent] = becomes
	return wire.OK, ""
}

func (s *splitState) cancel(old int32, given *int32) (code, hint string) {
	switch {
	case given == nil || *given != old:
		return wire.CodeInvalidParameters, fmt.Sprintf("the old number of partitions is %d", old)
	case s.left != int(old):
		return wire.CodeChildRegistered, "some partitions are split already"
	}
	for parent := range s.status {
		s.status[parent] = wire.SplitCanceling
	}
	return wire.OK, ""
}

// tendSplits tells the primaries of partitions that are being split what is wanted of them.
func (m *metaServer) tendSplits() {
	m.mu.Lock()
	var orders []splitOrder
	for id, s := range m.splits {
		for parent, status := range s.status {
			if pid := (wire.GPID{App: id, Partition: parent}); status != wire.SplitPaused {
				orders = append(orders, splitOrder{*m.apps[id], pid, m.groups[pid].Ballot, status != wire.SplitSplitting})
			}
		}
	}
	m.mu.Unlock()
	slices.SortFunc(orders, func(a, b splitOrder) int {
		if a.App.ID != b.App.ID {
			return int(a.App.ID - b.App.ID)
		}
		return int(a.PID.Partition - b.PID.Partition)
	})
	for _, o := range orders {
		m.mu.Lock()
		primary := m.groups[o.PID].Primary
		m.mu.Unlock()
		n, err := m.net.node(primary)
		if err != nil {
			continue
		}
		if underWay, err := n.split(o); err == nil && o.Stop && !underWay {
			m.splitStopped(o.PID)
		}
	}
}

// splitStopped notes that a primary has given up making a child. When the last one of a canceled split has, the table
// has as many partitions as before.
func (m *metaServer) splitStopped(parent wire.GPID) {
	m.mu.Lock()
	s := m.splits[parent.App]
	if s == nil {
		m.mu.Unlock()
		return
	}
	var back *app
	switch s.status[parent.Partition] {
	case wire.SplitPausing:
		s.status[parent.Partition] = wire.SplitPaused
	case wire.SplitCanceling:
		if s.left > 1 {
			s.left--
			delete(s.status, parent.Partition)
		} else {
			back = m.unsplit(parent.App)
		}
	}
	m.mu.Unlock()
	if back != nil {
		m.tell(func(n nodeLink) error { return n.updateApp(*back) })
	}
}

// unsplit ends a canceled split; nil when that cannot be kept, and is to be tried again. m.mu is held.
func (m *metaServer) unsplit(id int32) *app {
	a := *m.apps[id]
	a.Partitions /= 2
	if err := m.setApp(&a); err != nil {
		m.log("cancel the split of %s: %v", a.Name, err)
		return nil
	}
	delete(m.splits, id)
	return &a
}

func (m *metaServer) register(pid wire.GPID, ballot int64, primary nodeID, at point) (group, error) {
	m.mu.Lock()
	parent, child, err := m.bear(pid, ballot, primary, at)
	a := m.apps[pid.App]
	m.mu.Unlock()
	if err != nil || parent.Ballot == ballot {
		return parent, err
	}
	m.push(a, child, child)
	m.push(a, parent, parent)
	m.kick()
	return parent, nil
}

// bear makes a partition of a child, keeping both groups at once; m.mu is held. A parent that is not to be split any
// more is answered as it is.
func (m *metaServer) bear(pid wire.GPID, ballot int64, primary nodeID, at point) (parent, child group, err error) {
	g, born := m.groups[pid]
	a, s := m.apps[pid.App], m.splits[pid.App]
	switch {
	case !born || a == nil || g.Ballot != ballot || g.Primary != primary:
		return group{}, group{}, errStale
	case s == nil || s.status[pid.Partition] != wire.SplitSplitting || 1+len(g.Secondaries) < g.Max:
		return g, group{}, nil
	}
	parent = g.clone()
	parent.Ballot++
	parent.Committed = max(g.Committed, at.Decree)
	parent.Count = a.Partitions
	child = parent.clone()
	child.PID, child.LastDrops = childOf(pid, g.Count), nil
	err = m.save(map[string]any{string(groupKey(pid)): parent, string(groupKey(child.PID)): child})
	if err != nil {
		return group{}, group{}, err
	}
	m.groups[pid], m.groups[child.PID] = parent, child
	delete(s.status, pid.Partition)
	if s.left--; s.left == 0 {
		delete(m.splits, pid.App)
	}
	return parent, child, nil
}

func (m *metaServer) startCompact(_ *inbound, q *wire.StartCompactRequest, out *wire.HintResponse) string {
	m.mu.Lock()
	a, code, hint := m.usable(q.AppName)
	m.mu.Unlock()
	level, most := int32(-1), int32(0)
	if q.TargetLevel != nil {
		level = *q.TargetLevel
	}
	if q.MaxRunning != nil {
		most = *q.MaxRunning
	}
	switch {
	case a == nil:
		out.Err, out.Hint = code, hint
	case a.Envs[envCompactOff] == "true":
		out.Err, out.Hint = wire.CodeOperationDisabled, fmt.Sprintf("%s is set for %s", envCompactOff, q.AppName)
	case level < -1:
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("%d is no level", level)
	case most < 0:
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("%d replicas at a time cannot be", most)
	}
	if out.Err != "" {
		return ""
	}
	at := time.Now().Unix()
	if q.TriggerTime != nil {
		at = *q.TriggerTime
	}
	out.Err, out.Hint = m.updateEnvs(q.AppName, func(envs map[string]string) string {
		envs[envCompactOnce], envs[envCompactLevel] = strconv.FormatInt(at, 10), strconv.Itoa(int(level))
		if envs[envCompactBottom] = "skip"; isTrue(q.Bottommost) {
			envs[envCompactBottom] = "force"
		}
		if most > 0 {
			envs[envCompactLimit] = strconv.Itoa(int(most))
		}
		return ""
	})
	return ""
}

// queryCompact asks the members of all groups. A member that does not answer is not done.
func (m *metaServer) queryCompact(_ *inbound, q *wire.QueryCompactRequest, out *wire.QueryCompactResponse) string {
	m.mu.Lock()
	a, code, hint := m.usable(q.AppName)
	var groups []group
	for pid, g := range m.groups {
		if a != nil && pid.App == a.ID {
			groups = append(groups, g)
		}
	}
	m.mu.Unlock()
	if a == nil {
		out.Err, out.Hint = code, hint
		return ""
	}
	all, idle, done := int(a.Partitions)*a.Replicas, 0, 0
	for _, g := range groups {
		for _, id := range g.members() {
			n, err := m.net.node(id)
			if err != nil {
				continue
			}
			has, err := n.report(g.PID)
			switch {
			case err != nil:
			case has.Compact == wire.CompactFinished:
				done++
			case has.Compact == wire.CompactIdle:
				idle++
			}
		}
	}
	if idle >= all {
		out.Err, out.Hint = wire.CodeInvalidState, q.AppName+" is not being compacted"
		return ""
	}
	out.Err, out.Hint, out.Progress = wire.OK, "", new(int32(min(100, done*100/all)))
	return ""
}
