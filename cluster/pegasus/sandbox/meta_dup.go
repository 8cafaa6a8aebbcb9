package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Duplications as the meta server has them. What they are is kept with the table, and how far they are by partition. The
// guardian tells the primaries and hears from them; what is asked of the follower's meta servers is asked beside it, one
// call at a time for each duplication.

// The envs by which a follower knows its master.
const (
	envMasterCluster  = "duplication.master_cluster"
	envMasterMetas    = "duplication.master_metas"
	envMasterApp      = "duplication.master_app_name"
	envFollowerStatus = "duplication.follower_app_status"
)

// dupState is what the meta server knows of the duplications of one partition.
type dupState struct {
	Confirmed map[int32]int64 // by duplication; kept
	at        int64           // the last decree, as its primary said; -1 before
	copied    map[int32]bool
}

func dupKey(pid wire.GPID) []byte { return tagged('u', pid) }

func (m *metaServer) dupOf(name string, id int32) (a *app, at int, code string) {
	a = m.named(name)
	if a == nil || a.Status != wire.AppAvailable {
		return nil, -1, wire.CodeAppNotExist
	}
	at = slices.IndexFunc(a.Dups, func(d duplication) bool { return d.ID == id })
	if at < 0 {
		return a, -1, wire.CodeObjectNotFound
	}
	return a, at, wire.OK
}

func (m *metaServer) onAddDup(_ *inbound, q *wire.AddDupRequest, out *wire.AddDupResponse) string {
	m.mu.Lock()
	a, d, code, hint := m.newDup(q)
	if code != wire.OK && code != wire.CodeDupExist {
		m.mu.Unlock()
		out.Err, out.Hint = code, &hint
		return ""
	}
	err := error(nil)
	if code == wire.OK && !slices.Contains(a.Dups, d) {
		next := *a
		next.Dups = append(slices.Clone(a.Dups), d)
		if err = m.setApp(&next); err == nil {
			a = &next
		}
	}
	m.mu.Unlock()
	if err != nil {
		m.log("duplicate table %s: %v", q.AppName, err)
		out.Err = "ERR_FS_INTERNAL"
		return ""
	}
	m.tell(func(n nodeLink) error { return n.updateApp(*a) })
	m.kick()
	out.Err, out.AppID, out.DupID = code, a.ID, d.ID
	if m.net.release() >= release26 {
		out.RemoteApp, out.RemoteReplicas = &d.RemoteApp, &d.Replicas
	}
	return ""
}

// newDup finds the duplication that is asked for, or makes one that is not kept yet; m.mu is held.
func (m *metaServer) newDup(q *wire.AddDupRequest) (a *app, d duplication, code, hint string) {
	newer := m.net.release() >= release26
	d = duplication{Remote: q.Remote, RemoteApp: q.AppName, Status: wire.DupPrepare, Created: time.Now().UnixMilli()}
	if q.Checkpoint != nil && !*q.Checkpoint {
		d.Status = wire.DupLog
	}
	if newer && q.RemoteApp != nil {
		d.RemoteApp = *q.RemoteApp
	}
	if newer && q.RemoteReplicas != nil {
		d.Replicas = *q.RemoteReplicas
	}
	_, known := m.net.peer(q.Remote)
	a = m.named(q.AppName)
	switch {
	case q.Remote == m.name:
		return nil, d, wire.CodeInvalidParameters, "illegal operation: adding duplication to itself"
	case !known || clusterID(q.Remote) == 0:
		return nil, d, wire.CodeInvalidParameters, fmt.Sprintf("failed to find cluster[%s] address in config [pegasus.clusters]", q.Remote)
	case d.Replicas < 0:
		return nil, d, wire.CodeInvalidParameters, fmt.Sprintf("invalid remote_replica_count(%d) which should never be negative", d.Replicas)
	case a == nil || a.Status != wire.AppAvailable:
		return nil, d, wire.CodeAppNotExist, fmt.Sprintf("app %s was not found", q.AppName)
	case m.splits[a.ID] != nil:
		return nil, d, wire.CodeSplitting, q.AppName + " is being split"
	}
	if d.Replicas == 0 {
		d.Replicas = int32(a.Replicas)
	}
	for _, old := range a.Dups {
		if old.Remote != q.Remote {
			continue
		}
		if old.Status != d.Status {
			return nil, d, wire.CodeInvalidParameters, fmt.Sprintf("start dup[%s(%d)] failed: err = ERR_INVALID_PARAMETERS", q.AppName, old.ID)
		}
		if newer {
			return a, old, wire.CodeDupExist, ""
		}
		return a, old, wire.OK, ""
	}
	if hint := m.takenBy(a, d); newer && hint != "" {
		return nil, d, wire.CodeInvalidParameters, hint
	}
	d.ID = int32(time.Now().Unix())
	for slices.ContainsFunc(a.Dups, func(other duplication) bool { return other.ID == d.ID }) {
		d.ID++
	}
	return a, d, wire.OK, ""
}

// takenBy says which other table goes to the same one already; m.mu is held.
func (m *metaServer) takenBy(a *app, d duplication) (hint string) {
	for _, other := range m.apps {
		for _, o := range other.Dups {
			if other.ID != a.ID && other.Status == wire.AppAvailable && o.Remote == d.Remote && o.RemoteApp == d.RemoteApp {
				return fmt.Sprintf("illegal operation: another app(%s) is also duplicated to the same remote app(cluster=%s, app=%s)", other.Name, o.Remote, o.RemoteApp)
			}
		}
	}
	return ""
}

func (m *metaServer) onModifyDup(_ *inbound, q *wire.ModifyDupRequest, out *wire.ModifyDupResponse) string {
	m.mu.Lock()
	a, at, code := m.dupOf(q.AppName, q.DupID)
	if code != wire.OK {
		m.mu.Unlock()
		out.Err = code
		return ""
	}
	d := a.Dups[at]
	if q.Status != nil {
		if !d.mayBecome(*q.Status) {
			m.mu.Unlock()
			out.Err = wire.CodeInvalidParameters
			return ""
		}
		d.Status = *q.Status
	}
	if q.FailMode != nil {
		d.FailMode = *q.FailMode
	}
	next, err := m.replaceDup(a, at, d)
	m.mu.Unlock()
	if err != nil {
		m.log("change the duplication %d of %s: %v", q.DupID, q.AppName, err)
		out.Err = "ERR_FS_INTERNAL"
		return ""
	}
	m.tell(func(n nodeLink) error { return n.updateApp(*next) })
	m.kick()
	out.Err, out.AppID = wire.OK, a.ID
	return ""
}

// mayBecome is the table of Pegasus's transitions.
func (d *duplication) mayBecome(next wire.DupStatus) bool {
	switch next {
	case d.Status, wire.DupRemoved:
		return true
	case wire.DupPrepare:
		return d.Status == wire.DupInit
	case wire.DupApp:
		return d.Status == wire.DupPrepare
	case wire.DupLog:
		return d.Status == wire.DupPause || d.Status == wire.DupApp || d.Status == wire.DupInit
	case wire.DupPause:
		return d.Status == wire.DupLog
	}
	return false
}

// replaceDup keeps a changed duplication, or forgets one that is removed with all it had; m.mu is held.
func (m *metaServer) replaceDup(a *app, at int, d duplication) (*app, error) {
	next := *a
	next.Dups = slices.Clone(a.Dups)
	if d.Status != wire.DupRemoved {
		next.Dups[at] = d
		return &next, m.setApp(&next)
	}
	next.Dups = slices.Delete(next.Dups, at, at+1)
	if err := m.setApp(&next); err != nil {
		return nil, err
	}
	for i := range a.Partitions {
		pid := wire.GPID{App: a.ID, Partition: i}
		if s := m.dups[pid]; s != nil {
			delete(s.Confirmed, d.ID)
			delete(s.copied, d.ID)
			if err := m.save(map[string]any{string(dupKey(pid)): s}); err != nil {
				return &next, err
			}
		}
	}
	return &next, nil
}

func (m *metaServer) queryDup(_ *inbound, q *wire.QueryDupRequest, out *wire.QueryDupResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.named(q.AppName)
	if a == nil || a.Status != wire.AppAvailable {
		out.Err = wire.CodeAppNotExist
		return ""
	}
	out.Err, out.AppID, out.Entries = wire.OK, a.ID, []wire.DupEntry{}
	for _, d := range a.Dups {
		out.Entries = append(out.Entries, m.dupEntry(a, d))
	}
	return ""
}

// dupEntry is a duplication as the release tells of it; m.mu is held.
func (m *metaServer) dupEntry(a *app, d duplication) wire.DupEntry {
	e := wire.DupEntry{DupID: d.ID, Status: d.Status, Remote: d.Remote, CreateMS: d.Created, FailMode: &d.FailMode}
	newer := m.net.release() >= release26
	if newer {
		e.RemoteApp, e.RemoteReplicas, e.States = &d.RemoteApp, &d.Replicas, map[int32]wire.DupPartition{}
	} else {
		e.Progress = map[int32]int64{}
	}
	for i := range a.Partitions {
		confirmed, at := int64(-1), int64(-1)
		if s := m.dups[wire.GPID{App: a.ID, Partition: i}]; s != nil {
			at = s.at
			if c, known := s.Confirmed[d.ID]; known {
				confirmed = c
			}
		}
		if newer {
			e.States[i] = wire.DupPartition{Confirmed: confirmed, LastCommitted: at}
		} else {
			e.Progress[i] = confirmed
		}
	}
	return e
}

// listDups is of 2.6; see metaProcess.run.
func (m *metaServer) listDups(_ *inbound, q *wire.ListDupsRequest, out *wire.ListDupsResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err, out.Apps = wire.OK, map[string]wire.DupTable{}
	asked := &wire.ListAppsRequest{Pattern: &q.Pattern, MatchType: &q.MatchType}
	for _, a := range m.apps {
		if a.Status != wire.AppAvailable {
			continue
		}
		wanted, hint := m.net.release().listed(asked, a.Name)
		if hint != "" {
			out.Err, out.Hint = "ERR_NOT_IMPLEMENTED", hint
			return ""
		}
		if !wanted {
			continue
		}
		t := wire.DupTable{AppID: a.ID, AppName: a.Name, Partitions: a.Partitions, Dups: map[int32]wire.DupEntry{}}
		for _, d := range a.Dups {
			t.Dups[d.ID] = m.dupEntry(a, d)
		}
		out.Apps[a.Name] = t
	}
	return ""
}

// tendDups tells the primaries of duplicated tables, hears how far they are, and brings each duplication a step further.
func (m *metaServer) tendDups() {
	m.mu.Lock()
	var all []*app
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		if a := m.apps[id]; len(a.Dups) > 0 && a.Status == wire.AppAvailable {
			all = append(all, a)
		}
	}
	m.mu.Unlock()
	for _, a := range all {
		for i := range a.Partitions {
			m.tendDup(wire.GPID{App: a.ID, Partition: i})
		}
		for _, d := range a.Dups {
			m.advance(a, d)
		}
	}
}

func (m *metaServer) tendDup(pid wire.GPID) {
	m.mu.Lock()
	g, a := m.groups[pid], m.apps[pid.App]
	s := m.dups[pid]
	if s == nil {
		s = newDupState()
		m.dups[pid] = s
	}
	o := dupOrder{*a, pid, g.Ballot, maps.Clone(s.Confirmed)}
	m.mu.Unlock()
	n, err := m.net.node(g.Primary)
	if err != nil {
		return
	}
	has, err := n.duplicate(o)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.groups[pid]; now.Ballot != g.Ballot {
		return
	}
	changed := false
	s.at = max(s.at, has.At)
	for _, d := range m.apps[pid.App].Dups {
		p, known := has.Dups[d.ID]
		if !known || p.Confirmed < 0 {
			continue
		}
		if old, had := s.Confirmed[d.ID]; !had || old < p.Confirmed {
			s.Confirmed[d.ID], changed = p.Confirmed, true
		}
		s.copied[d.ID] = p.Copied
	}
	if changed {
		if err := m.save(map[string]any{string(dupKey(pid)): s}); err != nil {
			m.log("keep how far the duplication of %s is: %v", pid, err)
		}
	}
}

func newDupState() *dupState { return &dupState{map[int32]int64{}, -1, map[int32]bool{}} }
