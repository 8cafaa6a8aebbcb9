package sandbox

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Restores as the meta server has them: a table that is CREATING until every partition has a primary, and its envs, which
// say what it is made of and stay.

// The envs of a table that was restored.
const (
	envRestoreProvider  = "restore.block_service_provider"
	envRestoreCluster   = "restore.cluster_name"
	envRestorePolicy    = "restore.policy_name"
	envRestoreApp       = "restore.app_name"
	envRestoreAppID     = "restore.app_id"
	envRestoreBackup    = "restore.backup_id"
	envRestoreSkip      = "restore.skip_bad_partition"
	envRestoreDirectory = "restore.restore_path"
)

// restorePart is how the restore of a partition stands, in the memory of the leader.
type restorePart struct {
	on       nodeID
	code     string
	progress int32
}

// restoring says that the partitions of a table come from a backup.
func (a *app) restoring() bool {
	_, is := a.Envs[envRestoreBackup]
	return is && a.Status == wire.AppCreating
}

func (m *metaServer) startRestore(_ *inbound, q *wire.StartRestoreRequest, out *wire.CreateAppResponse) string {
	service, known := m.net.provider(q.Provider)
	if !known {
		out.Err = wire.CodeInvalidParameters
		return ""
	}
	root := ""
	if q.Path != nil {
		root = *q.Path
	}
	ctx, cancel := m.context()
	defer cancel()
	meta, code := readAppMetadata(ctx, service, backupDir(root, q.Cluster, q.Policy, q.BackupID, q.AppName, q.AppID))
	if code != wire.OK {
		out.Err = code
		return ""
	}
	a := &app{
		ID: 1, Name: q.NewName, Type: meta.Type, Status: wire.AppCreating, Partitions: meta.Partitions, Init: meta.Partitions,
		Replicas: meta.Replicas, Stateful: bool(meta.Stateful), Created: time.Now().Unix(), Envs: map[string]string{
			envRestoreProvider: q.Provider, envRestoreCluster: q.Cluster, envRestorePolicy: q.Policy, envRestoreApp: q.AppName,
			envRestoreAppID: strconv.Itoa(int(q.AppID)), envRestoreBackup: strconv.FormatInt(q.BackupID, 10),
		},
	}
	if q.SkipBad {
		a.Envs[envRestoreSkip] = "true"
	}
	if root != "" {
		a.Envs[envRestoreDirectory] = root
	}
	out.AppID, out.Err = m.addRestored(a, q.AppID)
	return ""
}

// addRestored keeps a table that is to be restored.
func (m *metaServer) addRestored(a *app, from int32) (id int32, code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.apps[from]
	switch {
	case m.level <= wire.LevelFreezed:
		return 0, wire.CodeStateFreezed
	case m.named(a.Name) != nil || a.Name == "" || a.Replicas < 1:
		return 0, wire.CodeInvalidParameters
	case m.net.config().Strict && (old == nil || old.Status != wire.AppAvailable):
		return 0, wire.CodeInvalidParameters
	}
	for id := range m.apps {
		a.ID = max(a.ID, id+1)
	}
	if err := m.addApp(a); err != nil {
		m.log("restore table %s: %v", a.Name, err)
		return 0, wire.CodeFSInternal
	}
	m.kick()
	return a.ID, wire.OK
}

// queryRestore must not be asked for a table that there never was: the meta server aborts, as Pegasus's does.
func (m *metaServer) queryRestore(_ *inbound, q *wire.QueryRestoreRequest, out *wire.QueryRestoreResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.apps[q.AppID]
	switch {
	case a == nil:
		m.log("the meta server %s aborts: it was asked for the restore of table %d, which there never was", m.address, q.AppID)
		go m.net.die()
		out.Err = wire.CodeAppNotExist
		return ""
	case a.Status == wire.AppDropped:
		out.Err = wire.CodeAppDropped
		return ""
	}
	out.Err = wire.OK
	for i := range a.Partitions {
		pid := wire.GPID{App: a.ID, Partition: i}
		p := m.restores[pid]
		if p.code == "" {
			p.code = wire.OK
		}
		if g := m.groups[pid]; len(g.members()) > 0 {
			p.progress = 1000
		}
		out.Status, out.Progress = append(out.Status, p.code), append(out.Progress, p.progress)
	}
	return ""
}

// tendRestores has a server fetch each partition of tables that are restored. A table all of whose partitions have a
// primary is available.
func (m *metaServer) tendRestores() {
	m.mu.Lock()
	var all []*app
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		if a := m.apps[id]; a.restoring() {
			all = append(all, a)
		}
	}
	m.mu.Unlock()
	for _, a := range all {
		m.tendRestore(a)
	}
}

func (m *metaServer) tendRestore(a *app) {
	left := false
	for i := range a.Partitions {
		pid := wire.GPID{App: a.ID, Partition: i}
		m.mu.Lock()
		g := m.groups[pid]
		m.mu.Unlock()
		if g.Ballot > 0 {
			continue
		}
		if left = true; !m.fetchPartition(a, g) {
			m.log("the restore of %s fails: its backup is damaged or incomplete", a.Name)
			m.dropApp(a.Name, wire.DropAppOptions{ReserveSeconds: new(int64(1))})
			return
		}
	}
	if left {
		return
	}
	m.mu.Lock()
	now := *m.apps[a.ID]
	var err error
	if now.Status == wire.AppCreating {
		now.Status = wire.AppAvailable
		err = m.setApp(&now)
	}
	m.mu.Unlock()
	if err != nil {
		m.log("make %s available: %v", a.Name, err)
		return
	}
	m.tell(func(n nodeLink) error { return n.updateApp(now) })
	m.kick()
}

// fetchPartition has a server fetch a partition, and makes it its primary once it has it; false when nobody ever will.
func (m *metaServer) fetchPartition(a *app, g group) bool {
	m.mu.Lock()
	p, begun := m.restores[g.PID]
	if !begun || !m.alive[p.on] {
		var alive []nodeID
		for _, id := range m.nodes {
			if m.alive[id] {
				alive = append(alive, id)
			}
		}
		if len(alive) == 0 {
			m.mu.Unlock()
			return true
		}
		p = restorePart{on: alive[int(g.PID.Partition)%len(alive)], code: wire.OK}
		m.restores[g.PID] = p
	}
	m.mu.Unlock()
	n, err := m.net.node(p.on)
	if err != nil {
		return true
	}
	has, err := n.restore(a.restoreOrder(g.PID))
	if err != nil {
		return true
	}
	p.code, p.progress = has.Code, has.Progress
	m.mu.Lock()
	m.restores[g.PID] = p
	m.mu.Unlock()
	switch {
	case !has.Done:
		return true
	case has.Code != wire.OK && has.Code != wire.CodeIgnoreBadData:
		return false
	}
	_, err = m.change(g, func(g *group) {
		g.Primary, g.Committed = p.on, has.At.Decree
	})
	if err != nil {
		m.log("make %d the primary of %s: %v", p.on, g.PID, err)
	}
	return true
}

func (a *app) restoreOrder(pid wire.GPID) restoreOrder {
	id, _ := strconv.ParseInt(a.Envs[envRestoreBackup], 10, 64)
	from, _ := strconv.ParseInt(a.Envs[envRestoreAppID], 10, 32)
	dir := backupDir(a.Envs[envRestoreDirectory], a.Envs[envRestoreCluster], a.Envs[envRestorePolicy], id, a.Envs[envRestoreApp], int32(from))
	return restoreOrder{
		PID: pid, Provider: a.Envs[envRestoreProvider], Dir: path.Join(dir, fmt.Sprint(pid.Partition)), SkipBad: a.Envs[envRestoreSkip] == "true",
	}
}
