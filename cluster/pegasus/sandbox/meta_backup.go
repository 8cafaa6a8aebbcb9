package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// One-time backups as the meta server has them: in its memory only, so that one that takes over knows of none.

// backupPoll is how often the primaries are asked (1 s in Pegasus).
const backupPoll = time.Second / timers

// keptBackups is how many backups of a table the meta server remembers.
const keptBackups = 32

// backup is a one-time backup.
type backup struct {
	id             int64
	app            app
	provider, path string
	end            int64 // Unix milliseconds; 0 while it is under way, and when it failed
	failed         bool
	parts          []backupPart
}

// backupPart is how far a partition is, as its primary said last.
type backupPart struct {
	on    nodeID // who does it
	phase backupPhase
	lost  bool // whoever did it has forgotten it: it will never be complete
}

// The files of a backup that describe it. Booleans are numbers, as Pegasus writes them.
type (
	backupInfo struct {
		ID      int64  `json:"backup_id"`
		Start   int64  `json:"start_time_ms"`
		End     int64  `json:"end_time_ms"` // 0: it is written before the end is known
		AppID   int32  `json:"app_id"`
		AppName string `json:"app_name"`
	}
	appMetadata struct {
		Status           string            `json:"status"`
		Type             string            `json:"app_type"`
		Name             string            `json:"app_name"`
		ID               int32             `json:"app_id"`
		Partitions       int32             `json:"partition_count"`
		Envs             map[string]string `json:"envs"` // none, on purpose
		Stateful         numeral           `json:"is_stateful"`
		Replicas         int               `json:"max_replica_count"`
		Expire           int64             `json:"expire_second"`
		Create           int64             `json:"create_second"`
		Drop             int64             `json:"drop_second"`
		Duplicating      numeral           `json:"duplicating"`
		Init             int32             `json:"init_partition_count"`
		BulkLoading      numeral           `json:"is_bulk_loading"`
		AtomicIdempotent *numeral          `json:"atomic_idempotent,omitempty"` // of 2.6
	}
)

// numeral is a truth that is written as 0 or 1, and read from false and true as well.
type numeral bool

// MarshalJSON writes 0 or 1.
func (n numeral) MarshalJSON() ([]byte, error) { return []byte(strconv.Itoa(truth(bool(n)))), nil }

// UnmarshalJSON reads what strconv takes for a truth.
func (n *numeral) UnmarshalJSON(text []byte) error {
	b, err := strconv.ParseBool(string(text))
	*n = numeral(b)
	return err
}

func (r release) metadata(a *app) appMetadata {
	m := appMetadata{
		Status: "app_status::AS_AVAILABLE", Type: a.Type, Name: a.Name, ID: a.ID, Partitions: a.Partitions, Envs: map[string]string{},
		Stateful: numeral(a.Stateful), Replicas: a.Replicas, Expire: a.ExpiresAt, Create: a.Created, Drop: a.Dropped,
		Duplicating: len(a.Dups) > 0, Init: a.Init, BulkLoading: numeral(a.BulkLoading),
	}
	if r >= release26 {
		m.AtomicIdempotent = new(numeral(a.AtomicIdempotent))
	}
	return m
}

// backupDir is where the backup of a table is.
func backupDir(root, cluster, policy string, id int64, name string, appID int32) string {
	return path.Join(root, cluster, policy, strconv.FormatInt(id, 10), fmt.Sprintf("%s_%d", name, appID))
}

func (b *backup) dir(cluster string) string {
	return backupDir(b.path, cluster, "", b.id, b.app.Name, b.app.ID)
}

// context ends with the lead.
func (m *metaServer) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-m.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

const backupsOff = "Backup is not enabled, please check \"cold_backup_disabled\" in the configuration"

func (m *metaServer) startBackup(_ *inbound, q *wire.StartBackupRequest, out *wire.StartBackupResponse) string {
	if m.net.config().ColdBackupDisabled {
		out.Err, out.Hint = wire.CodeServiceNotActive, backupsOff
		return ""
	}
	b := &backup{provider: q.Provider}
	if q.Path != nil {
		b.path = *q.Path
	}
	service, known := m.net.provider(q.Provider)
	m.mu.Lock()
	a := m.apps[q.AppID]
	switch {
	case a == nil || a.Status != wire.AppAvailable:
		out.Err, out.Hint = wire.CodeInvalidState, fmt.Sprintf("Backup failed: invalid app id [%d].", q.AppID)
	case !known:
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("Backup failed: invalid backup_provider_type %s.", q.Provider)
	case b.path != "" && service.rooted:
		out.Err, out.Hint = wire.CodeInvalidParameters, "Backup failed: the default backup path has already configured for "+q.Provider+"."
	case slices.ContainsFunc(m.backups[q.AppID], (*backup).running):
		out.Err, out.Hint = wire.CodeInvalidState, fmt.Sprintf("Backup failed: app %s is already in backup.", a.Name)
	}
	if out.Err != "" {
		m.mu.Unlock()
		return ""
	}
	b.app, b.id = *a, time.Now().UnixMilli()
	if all := m.backups[a.ID]; len(all) > 0 {
		b.id = max(b.id, all[len(all)-1].id+1)
	}
	b.parts = make([]backupPart, a.Partitions)
	for i := range b.parts {
		b.parts[i].on = noNode
	}
	m.backups[a.ID] = append(m.backups[a.ID], b)
	m.mu.Unlock()
	ctx, cancel := m.context()
	defer cancel()
	err := writeBlockJSON(ctx, service, path.Join(b.dir(m.name), "meta", "app_metadata"), m.net.release().metadata(&b.app))
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.store == nil {
		err = errDead
	}
	if err != nil {
		m.log("back up %s: %v", b.app.Name, err)
		m.backups[q.AppID] = slices.DeleteFunc(m.backups[q.AppID], func(other *backup) bool { return other == b })
		out.Err, out.Hint = wire.CodeFSInternal, fmt.Sprintf("Backup failed: write backup metadata of %s failed.", b.app.Name)
		return ""
	}
	if all := m.backups[b.app.ID]; len(all) > keptBackups {
		m.backups[b.app.ID] = all[1:]
	}
	m.tasks.Go(func() { m.runBackup(b) })
	out.Err, out.Hint, out.BackupID = wire.OK, fmt.Sprintf("Backup succeed: metadata of app %s has been successfully backed up and backup request has been sent to replica servers.", b.app.Name), &b.id
	return ""
}

func (b *backup) running() bool { return b.end == 0 && !b.failed }

func (m *metaServer) queryBackup(_ *inbound, q *wire.QueryBackupRequest, out *wire.QueryBackupResponse) string {
	if m.net.config().ColdBackupDisabled {
		out.Err, out.Hint = wire.CodeServiceNotActive, backupsOff
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.backups[q.AppID] {
		if q.BackupID == nil || *q.BackupID == b.id {
			out.Items = append(out.Items, wire.BackupItem{
				BackupID: b.id, AppName: b.app.Name, Provider: b.provider, Path: b.path, StartMS: b.id, EndMS: b.end, Failed: b.failed,
			})
		}
	}
	if out.Err = wire.OK; len(out.Items) == 0 {
		out.Err, out.Hint = wire.CodeInvalidParameters, "Backup not found, please check app_id and backup_id."
	}
	return ""
}

// runBackup asks the primaries until every partition is complete, and then writes backup_info. A backup that was
// forgotten by a server is asked for as long as the meta server leads.
func (m *metaServer) runBackup(b *backup) {
	ctx, cancel := m.context()
	defer cancel()
	for rest(ctx, backupPoll) == nil {
		if m.net.gate(m.address).paused() {
			continue
		}
		left := false
		for i := range b.parts {
			if b.parts[i].phase == backupCompleted {
				continue
			}
			m.pollBackup(b, wire.GPID{App: b.app.ID, Partition: int32(i)})
			left = left || b.parts[i].phase != backupCompleted
			if b.parts[i].phase == backupFailed {
				m.mu.Lock()
				b.failed = true
				m.mu.Unlock()
				return
			}
		}
		if !left && m.endBackup(ctx, b) == nil {
			return
		}
	}
}

// pollBackup asks for one partition. The primary that began it goes on with it. When it gave up because there is another
// one by now, the backup is that one's. When it was started again it has forgotten that it ever began, and nobody does it
// any more.
func (m *metaServer) pollBackup(b *backup, pid wire.GPID) {
	p := &b.parts[pid.Partition]
	m.mu.Lock()
	primary := m.groups[pid].Primary
	m.mu.Unlock()
	asked := p.on
	if asked == noNode {
		asked = primary
	}
	n, err := m.net.node(asked)
	if err != nil || p.lost {
		return
	}
	has, err := n.backup(backupOrder{pid, b.id, b.provider, b.dir(m.name), p.on == noNode})
	switch {
	case err != nil:
	case has.Phase == backupInvalid:
		p.lost = p.on != noNode
	case has.Phase == backupCanceled:
		p.on = noNode
	default:
		p.on, p.phase = asked, has.Phase
	}
}

func (m *metaServer) endBackup(ctx context.Context, b *backup) error {
	service, known := m.net.provider(b.provider)
	if !known {
		return errDead
	}
	info := backupInfo{ID: b.id, Start: b.id, AppID: b.app.ID, AppName: b.app.Name}
	if err := writeBlockJSON(ctx, service, path.Join(path.Dir(b.dir(m.name)), "backup_info"), info); err != nil {
		m.log("end the backup of %s: %v", b.app.Name, err)
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b.end = max(time.Now().UnixMilli(), b.id+1)
	return nil
}

// readAppMetadata reads what table a backup is of.
func readAppMetadata(ctx context.Context, service BlockService, dir string) (a appMetadata, code string) {
	text, err := readBlock(ctx, service, path.Join(dir, "meta", "app_metadata"))
	if err != nil {
		return a, wire.CodeObjectNotFound
	}
	if json.Unmarshal(text, &a) != nil || a.Partitions <= 0 || a.Partitions > maxPartitions {
		return a, wire.CodeCorruption
	}
	return a, wire.OK
}
