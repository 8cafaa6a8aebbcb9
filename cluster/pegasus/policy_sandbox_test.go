package pegasus

import (
	"fmt"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// often is an interval that is over within a second of the sandbox's time.
const often = sandbox.TimersFactor / 2 * time.Second

// policy is one policy with its backups, the latest first.
func (b *coldbox) policy(name string) BackupPolicy {
	b.t.Helper()
	list, err := b.BackupPolicies(b.t.Context(), []string{name}, 100)
	b.do(err)
	if len(list) != 1 || list[0].Name != name {
		b.t.Fatalf("the policy %s is not what is answered: %+v", name, list)
	}
	return list[0]
}

// ended are the backups of a policy that have ended.
func (b *coldbox) ended(name string) []PolicyBackup {
	b.t.Helper()
	return slices.DeleteFunc(b.policy(name).Backups, func(p PolicyBackup) bool { return p.End.IsZero() })
}

func (b *coldbox) folders() []string {
	b.t.Helper()
	entries, err := os.ReadDir(b.place("disk", "onebox"))
	b.do(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A policy backs its tables up again and again, and keeps so many of its backups.
func TestPolicyRepeats(t *testing.T) {
	b := newColdbox(t, nil)
	b.fill("demo", 0, 100, "v")
	a, other := b.table("TableA"), b.table("demo")
	p := BackupPolicy{Name: "often", Provider: "disk", Tables: []int32{a.ID, other.ID}, Every: often, Keep: 2, Start: "03:00"}
	b.do(b.AddBackupPolicy(t.Context(), p))
	first := int64(0)
	b.eventually("there is a first backup", func() bool {
		if list := b.policy("often").Backups; len(list) > 0 {
			first = list[len(list)-1].ID
		}
		return first != 0
	})
	b.eventually("the first backup is gone, and two are kept", func() bool {
		list := b.ended("often")
		return len(list) == 2 && list[1].ID > first && !slices.Contains(b.folders(), fmt.Sprint(first))
	})
	b.eventually("it is disabled between two backups", func() bool {
		return b.ChangeBackupPolicy(t.Context(), "often", PolicyChange{Disable: new(true)}) == nil
	})
	now := b.policy("often")
	if !now.Disabled || now.Every != often || now.Keep != 2 || now.Start != "03:00" || now.Provider != "disk" || !slices.Equal(now.Tables, p.Tables) {
		t.Errorf("the policy is %+v", now)
	}
	s := backuptest.Dir(b.dirs["disk"])
	for _, run := range now.Backups {
		backup, err := coldbackup.Load(t.Context(), s, path.Join("onebox", fmt.Sprint(run.ID)))
		b.do(err)
		if problems := backup.AllProblems(nil); len(problems) > 0 || !backup.Complete() || len(backup.Tables) != 2 || backup.Info.EndMS <= backup.Info.StartMS {
			t.Errorf("%d: %v, %+v", run.ID, problems, backup.Info)
		}
		b.read(b.place("disk", "onebox", run.ID, fmt.Sprintf("demo_%d", other.ID), "meta", "app_backup_status"))
	}
	b.do(b.AddBackupPolicy(t.Context(), BackupPolicy{Name: "clock", Provider: "disk", Tables: p.Tables[:1], Every: often, Keep: 9, Start: "03:00"}))
	b.eventually("three intervals are over", func() bool { return len(b.ended("clock")) > 2 })
	if again := b.policy("often"); len(again.Backups) != 2 || again.Backups[0].ID != now.Backups[0].ID {
		t.Errorf("it goes on, disabled: %+v", again.Backups)
	}
}

// A backup of a policy is gone on with by another meta server, and after a replica server was started again.
func TestPolicyGoesOn(t *testing.T) {
	b := newColdbox(t, nil)
	b.fill("demo", 0, 100, "v")
	b.arm("backup.upload", 1_000_000_000)
	a := b.table("demo")
	b.do(b.AddBackupPolicy(t.Context(), BackupPolicy{Name: "slow", Provider: "disk", Tables: []int32{a.ID}, Every: 1000 * time.Hour, Keep: 3, Start: "03:00"}))
	// 1000 hours are no whole number of days: it begins at once.
	b.eventually("it uploads", func() bool { return b.uploads() > 0 })
	id := b.policy("slow").Backups[0].ID
	if err := b.ChangeBackupPolicy(t.Context(), "slow", PolicyChange{Disable: new(true), Force: true}); codeOf(err) != wire.CodeBusy {
		t.Errorf("while it runs: %v", err) // 2.5 passes over Force
	}
	if found, err := b.Examine(t.Context()); err != nil || len(found) != 1 || found[0].Kind != "backup" || found[0].Object != "slow" {
		t.Errorf("while it runs: %+v, %v", found, err)
	}
	nodes := b.c.Nodes()
	i := slices.IndexFunc(nodes, func(n sandbox.NodeStatus) bool { return n.Role == "replica-server" })
	b.do(b.c.Kill(t.Context(), nodes[i].Endpoint))
	b.do(b.c.Start(t.Context(), nodes[i].Endpoint))
	info, err := b.Info(t.Context())
	b.do(err)
	b.do(b.c.Kill(t.Context(), info.Leader))
	b.eventually("another meta server leads, and knows the backup", func() bool {
		list, err := b.BackupPolicies(t.Context(), []string{"slow"}, 1)
		return err == nil && len(list) == 1 && len(list[0].Backups) == 1 && list[0].Backups[0].ID == id
	})
	b.arm("backup.upload", 0)
	b.eventually("the backup ends", func() bool { list := b.ended("slow"); return len(list) == 1 && list[0].ID == id })
	backup, err := coldbackup.Load(t.Context(), backuptest.Dir(b.dirs["disk"]), path.Join("onebox", fmt.Sprint(id)))
	b.do(err)
	if problems := backup.AllProblems(nil); len(problems) > 0 || !backup.Complete() {
		t.Errorf("%v", problems)
	}
}

// After 2.5 a policy can be disabled while its backup runs, which then has no end.
func TestPolicyForced(t *testing.T) {
	dirs := map[string]string{"disk": t.TempDir()}
	d, c := oneboxWith(t, sandbox.Config{Providers: dirs, Compat: "2.6"})
	b := &coldbox{d, t, c, dirs}
	b.arm("backup.upload", 1_000_000_000)
	a := b.table("demo")
	b.do(b.AddBackupPolicy(t.Context(), BackupPolicy{Name: "p", Provider: "disk", Tables: []int32{a.ID}, Every: often, Keep: 3, Start: "03:00"}))
	b.eventually("it runs", func() bool { return len(b.policy("p").Backups) == 1 })
	id := b.policy("p").Backups[0].ID
	if err := b.ChangeBackupPolicy(t.Context(), "p", PolicyChange{Disable: new(true)}); codeOf(err) != wire.CodeBusy {
		t.Errorf("while it runs: %v", err)
	}
	b.do(b.ChangeBackupPolicy(t.Context(), "p", PolicyChange{Disable: new(true), Force: true}))
	b.arm("backup.upload", 0)
	b.do(b.ChangeBackupPolicy(t.Context(), "p", PolicyChange{Disable: new(false)}))
	b.eventually("the next one ends", func() bool { return len(b.ended("p")) > 0 })
	if _, err := os.Stat(b.place("disk", "onebox", id, "backup_info")); !os.IsNotExist(err) {
		t.Errorf("the forgotten one has ended: %v", err)
	}
}

func TestPolicyRefusals(t *testing.T) {
	b := newColdbox(t, nil)
	a := b.table("demo")
	good := BackupPolicy{Name: "daily", Provider: "disk", Tables: []int32{a.ID, 99}, Every: 24 * time.Hour, Keep: 1, Start: "03:00"}
	for what, change := range map[string]func(*BackupPolicy){
		"a provider that there is not": func(p *BackupPolicy) { p.Provider = "nobody" },
		"no table that there is":       func(p *BackupPolicy) { p.Tables = []int32{99} },
		"no table":                     func(p *BackupPolicy) { p.Tables = nil },
		"no interval":                  func(p *BackupPolicy) { p.Every = 0 },
		"nothing kept":                 func(p *BackupPolicy) { p.Keep = 0 },
		"no time of day":               func(p *BackupPolicy) { p.Start = "24:00" },
		"no name":                      func(p *BackupPolicy) { p.Name = "" },
	} {
		p := good
		change(&p)
		if err := b.AddBackupPolicy(t.Context(), p); codeOf(err) != wire.CodeInvalidParameters {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.do(b.AddBackupPolicy(t.Context(), good))
	if err := b.AddBackupPolicy(t.Context(), good); codeOf(err) != wire.CodeInvalidParameters {
		t.Errorf("a second one: %v", err)
	}
	// It waits for its time of day, tables that there are not are left out, and a change changes what is given.
	if p := b.policy("daily"); !slices.Equal(p.Tables, []int32{a.ID}) || p.Disabled {
		t.Errorf("the policy is %+v", p)
	}
	other := b.table("TableA")
	every, keep, start := 48*time.Hour, 5, "04:30"
	b.do(b.ChangeBackupPolicy(t.Context(), "daily", PolicyChange{Add: []int32{other.ID, 99}, Remove: []int32{a.ID}, Every: &every, Keep: &keep, Start: &start}))
	if p := b.policy("daily"); !slices.Equal(p.Tables, []int32{other.ID}) || p.Every != every || p.Keep != keep || p.Start != start {
		t.Errorf("the policy is %+v", p)
	}
	if err := b.ChangeBackupPolicy(t.Context(), "none", PolicyChange{Keep: &keep}); codeOf(err) != wire.CodeInvalidParameters {
		t.Errorf("a policy that there is not: %v", err)
	}
	if list, err := b.BackupPolicies(t.Context(), []string{"none"}, 1); err != nil || len(list) != 0 {
		t.Errorf("a policy that there is not: %v, %v", list, err)
	}
	off := newColdbox(t, map[string]string{"cold_backup_disabled": "true"})
	if _, err := off.BackupPolicies(t.Context(), nil, 1); codeOf(err) != wire.CodeServiceNotActive {
		t.Errorf("backups are switched off: %v", err)
	}
}
