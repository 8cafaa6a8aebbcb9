package sandbox

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Backup policies: tables that are backed up again and again. Unlike one-time backups they are kept, so that a meta server
// that takes over goes on with a backup that runs.

// policy is a backup policy as it is kept.
type policy struct {
	Name, Provider string
	Apps           []int32
	Interval       int64 // seconds of Pegasus's time, which passes timers times as fast here
	Keep           int32
	Start          string // "hh:mm"
	Disabled       bool
	Runs           []policyRun // the oldest first; the last one may be running
}

// policyRun is a backup of a policy.
type policyRun struct {
	ID    int64 // when it began, Unix milliseconds
	End   int64 // 0 while it runs
	Apps  []int32
	Names map[string]string // of the tables, by their ids in decimal
}

// policyInfo is the backup_info of a policy's backup.
type policyInfo struct {
	ID       int64             `json:"backup_id"`
	Start    int64             `json:"start_time_ms"`
	End      int64             `json:"end_time_ms"`
	AppIDs   []int32           `json:"app_ids"`
	AppNames map[string]string `json:"app_names"`
	Status   string            `json:"info_status"`
}

func policyKey(name string) string { return "p" + name }

// running is the backup that a policy is making, nil when it makes none.
func (p *policy) running() *policyRun {
	if n := len(p.Runs); n > 0 && p.Runs[n-1].End == 0 {
		return &p.Runs[n-1]
	}
	return nil
}

const secondsPerDay = 24 * 60 * 60

// due says whether the next backup is to begin. The first one of a policy that runs every so many days waits for its time of
// day; others begin at once.
func (p *policy) due(now time.Time) bool {
	n := len(p.Runs)
	switch {
	case p.Disabled || len(p.Apps) == 0:
		return false
	case n > 0:
		return now.UnixMilli()-p.Runs[n-1].ID >= p.Interval*1000/timers
	case p.Interval%secondsPerDay == 0:
		return now.Format("15:04") == p.Start
	}
	return true
}

// clone is a copy that can be changed.
func (p *policy) clone() *policy {
	other := *p
	other.Apps, other.Runs = slices.Clone(p.Apps), slices.Clone(p.Runs)
	return &other
}

// keepPolicy keeps a policy; m.mu is held.
func (m *metaServer) keepPolicy(p *policy) error {
	if err := m.save(map[string]any{policyKey(p.Name): p}); err != nil {
		return err
	}
	m.policies[p.Name] = p
	return nil
}

func validStart(text string) bool {
	_, err := time.Parse("15:04", text)
	return err == nil && len(text) == len("15:04")
}

func (m *metaServer) addPolicy(_ *inbound, q *wire.AddPolicyRequest, out *wire.HintResponse) string {
	if m.net.config().ColdBackupDisabled {
		out.Err, out.Hint = wire.CodeServiceNotActive, backupsOff
		return ""
	}
	_, known := m.net.provider(q.Provider)
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &policy{Name: q.Policy, Provider: q.Provider, Interval: q.IntervalSeconds, Keep: q.Keep, Start: q.StartTime}
	p.Apps, out.Hint = m.backable(q.AppIDs)
	switch {
	case !known:
		out.Hint = fmt.Sprintf("invalid backup_provider_type %s", q.Provider)
	case m.policies[q.Policy] != nil:
		out.Hint = fmt.Sprintf("policy %s is already exist", q.Policy)
	case q.Policy == "" || q.IntervalSeconds <= 0 || q.Keep <= 0 || !validStart(q.StartTime):
		out.Hint = "invalid policy_name, interval, count or start_time"
	case len(p.Apps) == 0:
		out.Hint += "all app_id is invalid"
	default:
		out.Err = m.codeOf("add the policy "+p.Name, m.keepPolicy(p))
		return ""
	}
	out.Err = wire.CodeInvalidParameters
	return ""
}

// backable are the tables that can be backed up, and a hint that names the others; m.mu is held.
func (m *metaServer) backable(ids []int32) (apps []int32, hint string) {
	for _, id := range ids {
		if a := m.apps[id]; a == nil || a.Status != wire.AppAvailable {
			hint += fmt.Sprintf("invalid app_id(%d)\n", id)
			continue
		}
		if !slices.Contains(apps, id) {
			apps = append(apps, id)
		}
	}
	return apps, hint
}

func (m *metaServer) codeOf(what string, err error) string {
	if err != nil {
		m.log("%s: %v", what, err)
		return wire.CodeFSInternal
	}
	return wire.OK
}

func (m *metaServer) queryPolicy(_ *inbound, q *wire.QueryPolicyRequest, out *wire.QueryPolicyResponse) string {
	if m.net.config().ColdBackupDisabled {
		out.Err, out.Hint = wire.CodeServiceNotActive, new(backupsOff)
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err = wire.OK
	names, hint := q.Names, ""
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(m.policies))
	}
	for _, name := range names {
		p := m.policies[name]
		if p == nil {
			hint += fmt.Sprintf("invalid policy_name %s ", name)
			continue
		}
		out.Policies = append(out.Policies, wire.Policy{
			Name: p.Name, Provider: p.Provider, IntervalSeconds: strconv.FormatInt(p.Interval, 10), AppIDs: p.Apps, Keep: p.Keep,
			StartTime: p.Start, Disabled: p.Disabled,
		})
		var runs []wire.PolicyBackup
		for _, r := range slices.Backward(p.Runs) { // the latest first
			if len(runs) == int(max(q.Count, 0)) {
				break
			}
			runs = append(runs, wire.PolicyBackup{BackupID: r.ID, StartMS: r.ID, EndMS: r.End, AppIDs: r.Apps})
		}
		out.Backups = append(out.Backups, runs)
	}
	if hint != "" {
		out.Hint = &hint
	}
	return ""
}

func (m *metaServer) modifyPolicy(_ *inbound, q *wire.ModifyPolicyRequest, out *wire.HintResponse) string {
	if m.net.config().ColdBackupDisabled {
		out.Err, out.Hint = wire.CodeServiceNotActive, backupsOff
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.policies[q.Policy]
	if old == nil {
		out.Err, out.Hint = wire.CodeInvalidParameters, fmt.Sprintf("policy %s not exist", q.Policy)
		return ""
	}
	p := old.clone()
	if q.Disable != nil {
		force := m.net.release() >= release26 && q.ForceDisable != nil && *q.ForceDisable
		if *q.Disable && p.running() != nil && !force {
			out.Err, out.Hint = wire.CodeBusy, fmt.Sprintf("policy %s is under backup, try disable it later", p.Name)
			return ""
		}
		p.Disabled = *q.Disable
		if p.Disabled && p.running() != nil {
			p.Runs = p.Runs[:len(p.Runs)-1] // what is on the service stays
		}
	}
	var add []int32
	add, out.Hint = m.backable(q.Add)
	for _, id := range add {
		if !slices.Contains(p.Apps, id) {
			p.Apps = append(p.Apps, id)
		}
	}
	p.Apps = slices.DeleteFunc(p.Apps, func(id int32) bool { return slices.Contains(q.Remove, id) })
	if q.IntervalSeconds != nil && *q.IntervalSeconds > 0 {
		p.Interval = *q.IntervalSeconds
	}
	if q.Keep != nil && *q.Keep > 0 {
		p.Keep = *q.Keep
	}
	if q.StartTime != nil && validStart(*q.StartTime) {
		p.Start = *q.StartTime
	}
	out.Err = m.codeOf("change the policy "+p.Name, m.keepPolicy(p))
	return ""
}

// runPolicies begins what is due, and goes on with what another meta server had begun, as long as this one leads.
func (m *metaServer) runPolicies() {
	ctx, cancel := m.context()
	defer cancel()
	busy := map[string]int64{} // the backups that this one is making
	for rest(ctx, backupPoll) == nil {
		if m.net.gate(m.address).paused() {
			continue
		}
		m.mu.Lock()
		for _, name := range slices.Sorted(maps.Keys(m.policies)) {
			p := m.policies[name]
			run := p.running()
			if run == nil && p.due(time.Now()) {
				run = m.beginRun(p)
			}
			if run != nil && busy[name] != run.ID {
				busy[name] = run.ID
				id := run.ID
				m.tasks.Go(func() { m.runPolicy(ctx, name, id) })
			}
		}
		m.mu.Unlock()
	}
}

// beginRun keeps a new backup of a policy; m.mu is held.
func (m *metaServer) beginRun(old *policy) *policyRun {
	run := policyRun{ID: time.Now().UnixMilli(), Names: map[string]string{}}
	run.Apps, _ = m.backable(old.Apps)
	if len(run.Apps) == 0 {
		return nil
	}
	for _, id := range run.Apps {
		run.Names[strconv.Itoa(int(id))] = m.apps[id].Name
	}
	p := old.clone()
	p.Runs = append(p.Runs, run)
	if m.codeOf("begin a backup of the policy "+p.Name, m.keepPolicy(p)) != wire.OK {
		return nil
	}
	return p.running()
}

// ours says whether a backup of a policy is still to be made, and what the policy is.
func (m *metaServer) ours(name string, id int64) (*policy, *policyRun) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.policies[name]
	if p == nil || p.running() == nil || p.running().ID != id {
		return nil, nil
	}
	return p, p.running()
}

// runPolicy makes a backup of a policy, whatever it takes.
func (m *metaServer) runPolicy(ctx context.Context, name string, id int64) {
	p, run := m.ours(name, id)
	if p == nil {
		return
	}
	for _, app := range run.Apps {
		for m.backUpFor(ctx, p, run, app) != nil {
			if again, _ := m.ours(name, id); again == nil || rest(ctx, backupPoll) != nil {
				return
			}
		}
	}
	service, known := m.net.provider(p.Provider)
	if !known {
		return
	}
	info := policyInfo{ID: id, Start: id, End: max(time.Now().UnixMilli(), id+1), AppIDs: run.Apps, AppNames: run.Names, Status: "backup_info_status::ALIVE"}
	dir := path.Join(m.name, strconv.FormatInt(id, 10))
	for writeBlockJSON(ctx, service, path.Join(dir, "backup_info"), info) != nil {
		if rest(ctx, backupPoll) != nil {
			return
		}
	}
	m.endRun(ctx, service, name, info)
}

// backUpFor backs one table up. A partition that its server has forgotten, or failed with, is begun again. A table that was
// dropped meanwhile is left as it is.
func (m *metaServer) backUpFor(ctx context.Context, p *policy, run *policyRun, id int32) error {
	service, known := m.net.provider(p.Provider)
	m.mu.Lock()
	a := m.apps[id]
	m.mu.Unlock()
	if !known || a == nil || a.Status != wire.AppAvailable {
		return nil
	}
	b := &backup{id: run.ID, app: *a, provider: p.Provider, parts: make([]backupPart, a.Partitions)}
	for i := range b.parts {
		b.parts[i].on = noNode
	}
	if err := writeBlockJSON(ctx, service, path.Join(b.dir(m.name), "meta", "app_metadata"), m.net.release().metadata(&b.app)); err != nil {
		return err
	}
	for left := true; left; {
		left = false
		for i := range b.parts {
			if b.parts[i].phase == backupCompleted {
				continue
			}
			m.pollBackup(b, wire.GPID{App: b.app.ID, Partition: int32(i)})
			if b.parts[i].lost || b.parts[i].phase == backupFailed {
				b.parts[i] = backupPart{on: noNode}
			}
			left = left || b.parts[i].phase != backupCompleted
		}
		if again, _ := m.ours(p.Name, run.ID); again == nil {
			return errDead
		}
		if err := rest(ctx, backupPoll); err != nil {
			return err
		}
	}
	return writeBlock(ctx, service, path.Join(b.dir(m.name), "meta", "app_backup_status"), []byte("1"))
}

// remover is a block service that can remove a directory with all that is in it.
type remover interface {
	RemoveAll(ctx context.Context, name string) error
}

func (d directory) RemoveAll(_ context.Context, name string) error {
	dir, base, err := d.split(name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(path.Join(dir, base))
}

// endRun removes the oldest backups that are too many, and keeps that this one has ended.
func (m *metaServer) endRun(ctx context.Context, service provider, name string, info policyInfo) {
	old, run := m.ours(name, info.ID)
	if run == nil {
		return
	}
	gone := m.removeOldest(ctx, service, old)
	m.mu.Lock()
	defer m.mu.Unlock()
	if old = m.policies[name]; old == nil || old.running() == nil || old.running().ID != info.ID {
		return
	}
	p := old.clone()
	p.running().End = info.End
	p.Runs = slices.DeleteFunc(p.Runs, func(r policyRun) bool { return slices.Contains(gone, r.ID) })
	_ = m.codeOf("end a backup of the policy "+name, m.keepPolicy(p))
}

// removeOldest removes backups from the block service, which may take long, and answers which are gone.
func (m *metaServer) removeOldest(ctx context.Context, service provider, p *policy) (gone []int64) {
	r, can := service.BlockService.(remover)
	if !can {
		return nil
	}
	for _, run := range p.Runs[:max(len(p.Runs)-int(p.Keep), 0)] {
		if err := r.RemoveAll(ctx, path.Join(m.name, strconv.FormatInt(run.ID, 10))); err != nil {
			m.log("remove the backup %d of the policy %s: %v", run.ID, p.Name, err)
			break
		}
		gone = append(gone, run.ID)
	}
	return gone
}
