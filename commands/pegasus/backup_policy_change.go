package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ModifyBackupPolicy changes a policy.
func ModifyBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "modify_backup_policy", Aliases: []string{"modify-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "change a backup policy",
		Long:    policyLong + "Only what is given changes; a backup that runs goes on as it began.",
		Flags: []spec.Flag{
			policyFlag,
			{Name: "add-app", Short: "a", Kind: spec.ArgText, Help: "tables to back up, too, by id or name: 2,TableB"},
			{Name: "remove-app", Short: "r", Kind: spec.ArgText, Help: "tables to leave out, by id or name"},
			{Name: "backup-interval-seconds", Short: "i", Kind: spec.ArgDuration, Help: "from the start of one backup to that of the next"},
			{Name: "backup-history-count", Short: "c", Kind: spec.ArgInt, Help: "how many backups are kept"},
			{Name: "start-time", Short: "s", Kind: spec.ArgText, Help: "hh:mm, by the meta server's clock"},
		},
		Examples: []spec.Example{
			{Line: "modify_backup_policy -p daily -a demo -c 7", Says: "another table, and a week of backups", Setup: []string{policyExample}},
		},
		SeeAlso: []string{"add_backup_policy", "query_backup_policy", "disable_backup_policy"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planModifyPolicy(ctx, env, call)
		},
	}
}

// policyOf finds a policy with its last backup.
func policyOf(ctx context.Context, c policyKeeper, cluster, name string) (driver.BackupPolicy, error) {
	list, err := c.BackupPolicies(ctx, []string{name}, 1)
	if err != nil {
		return driver.BackupPolicy{}, err
	}
	i := slices.IndexFunc(list, func(p driver.BackupPolicy) bool { return p.Name == name })
	if i < 0 {
		return driver.BackupPolicy{}, noPolicy(cluster, name)
	}
	return list[i], nil
}

// openPolicy finds the policy that a line names.
func openPolicy(ctx context.Context, env commands.Env, call *spec.Call) (policyKeeper, driver.BackupPolicy, error) {
	c, err := commands.Driver[policyKeeper](ctx, env, call)
	if err != nil {
		return nil, driver.BackupPolicy{}, err
	}
	p, err := policyOf(ctx, c, call.Cluster, call.String(policyFlag.Name))
	return c, p, err
}

func planModifyPolicy(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	name := call.String("policy-name")
	var change driver.PolicyChange
	if call.Has("backup-interval-seconds") {
		change.Every = new(call.Duration("backup-interval-seconds"))
	}
	if call.Has("backup-history-count") {
		change.Keep = new(int(call.Int("backup-history-count")))
	}
	if call.Has("start-time") {
		change.Start = new(call.String("start-time"))
	}
	if err := checkPolicy(name, change.Every, change.Keep, change.Start); err != nil {
		return nil, err
	}
	c, old, err := openPolicy(ctx, env, call)
	if err != nil {
		return nil, err
	}
	if err := chooseTables(ctx, c, call, old, &change); err != nil {
		return nil, err
	}
	change = withoutSame(old, change)
	plan := &spec.Plan{Title: fmt.Sprintf("change the backup policy %s of %s", name, call.Cluster)}
	if text, undo := changeText(old, change); text != "" {
		plan.Steps = []spec.Step{policyStep(c, call.Cluster, old, change, text, undo)}
	}
	if change.Keep != nil && *change.Keep < old.Keep {
		plan.Notes = append(plan.Notes, fmt.Sprintf("after the next backup all but the last %d are removed from %s", *change.Keep, old.Provider))
		if len(plan.Steps) > 0 {
			plan.Steps[0].Class = spec.Risky
		}
	}
	return plan, nil
}

// chooseTables reads which tables come and go. One that was dropped meanwhile can go by its id only.
func chooseTables(ctx context.Context, c policyKeeper, call *spec.Call, old driver.BackupPolicy, change *driver.PolicyChange) error {
	var err error
	if call.Has("add-app") {
		if change.Add, err = tableIDs(ctx, c, call.String("add-app")); err != nil {
			return err
		}
	}
	if !call.Has("remove-app") {
		return nil
	}
	for part := range strings.SplitSeq(call.String("remove-app"), ",") {
		i := slices.IndexFunc(old.Tables, func(id int32) bool { return fmt.Sprint(id) == strings.TrimSpace(part) })
		if i >= 0 {
			change.Remove = append(change.Remove, old.Tables[i])
			continue
		}
		ids, err := tableIDs(ctx, c, part)
		if err != nil {
			return err
		}
		change.Remove = append(change.Remove, ids...)
	}
	left := slices.DeleteFunc(slices.Concat(old.Tables, change.Add), func(id int32) bool { return slices.Contains(change.Remove, id) })
	if len(left) == 0 {
		return spec.Errorf(spec.Refused, "no table would be left in the policy %s", old.Name).WithHint("disable_backup_policy -p %s ends it", shown(old.Name))
	}
	return nil
}

// withoutSame leaves out what is so already.
func withoutSame(old driver.BackupPolicy, c driver.PolicyChange) driver.PolicyChange {
	c.Add = slices.DeleteFunc(slices.Clone(c.Add), func(id int32) bool { return slices.Contains(old.Tables, id) })
	c.Remove = slices.DeleteFunc(slices.Clone(c.Remove), func(id int32) bool { return !slices.Contains(old.Tables, id) })
	if c.Every != nil && *c.Every == old.Every {
		c.Every = nil
	}
	if c.Keep != nil && *c.Keep == old.Keep {
		c.Keep = nil
	}
	if c.Start != nil && *c.Start == old.Start {
		c.Start = nil
	}
	return c
}

// changeText says what changes, "" when nothing does, and which line takes it back.
func changeText(old driver.BackupPolicy, c driver.PolicyChange) (text, undo string) {
	var parts []string
	undo = "modify_backup_policy -p " + shown(old.Name)
	if len(c.Add) > 0 {
		parts, undo = append(parts, "with "+tablesText(c.Add)), undo+" -r "+idList(c.Add)
	}
	if len(c.Remove) > 0 {
		parts, undo = append(parts, "without "+tablesText(c.Remove)), undo+" -a "+idList(c.Remove)
	}
	if c.Every != nil {
		parts, undo = append(parts, "every "+everyText(*c.Every)), fmt.Sprintf("%s -i %d", undo, int64(old.Every/time.Second))
	}
	if c.Keep != nil {
		parts, undo = append(parts, fmt.Sprintf("keep %d", *c.Keep)), fmt.Sprintf("%s -c %d", undo, old.Keep)
	}
	if c.Start != nil {
		parts, undo = append(parts, "at "+*c.Start), undo+" -s "+old.Start
	}
	return strings.Join(parts, ", "), undo
}

func policyStep(c policyKeeper, cluster string, old driver.BackupPolicy, change driver.PolicyChange, text, undo string) spec.Step {
	return spec.Step{
		Text: fmt.Sprintf("policy %s: %s", old.Name, text), Objects: []string{old.Name}, Class: spec.Alter, Undo: undo,
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := policyOf(ctx, c, cluster, old.Name)
			if err != nil {
				return spec.State{}, err
			}
			left := withoutSame(now, change)
			if same, _ := changeText(now, left); same == "" && (change.Disable == nil || *change.Disable == now.Disabled) {
				return spec.State{Kind: spec.Done, Why: "it is so"}, nil
			}
			return spec.State{}, nil
		},
		Apply: func(ctx context.Context, _ spec.Report) error { return c.ChangeBackupPolicy(ctx, old.Name, change) },
	}
}

// EnableBackupPolicy has a policy make backups again.
func EnableBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "enable_backup_policy", Aliases: []string{"enable-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "have a backup policy make backups again",
		Long:    policyLong + "When the last backup was longer ago than the interval the next one begins at once.",
		Flags:   []spec.Flag{policyFlag},
		Examples: []spec.Example{
			{Line: "enable_backup_policy -p daily", Says: "again, after it was disabled", Setup: []string{policyExample, "disable_backup_policy -p daily"}},
		},
		SeeAlso: []string{"disable_backup_policy", "ls_backup_policy"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planSwitchPolicy(ctx, env, call, false, false)
		},
	}
}

// DisableBackupPolicy has a policy make no more backups.
func DisableBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "disable_backup_policy", Aliases: []string{"disable-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "have a backup policy make no more backups",
		Long: policyLong + "While a backup of the policy runs servers refuse. From 2.6 on -f makes them forget that backup: what there is of it stays on the block service, without " +
			"the file that makes it complete, and rm_backup removes it; servers before pass over -f. What was backed up before stays.",
		Flags: []spec.Flag{
			policyFlag,
			{Name: "force-disable", Short: "f", Kind: spec.ArgBool, Help: "even while its backup runs, which then never ends (2.6)"},
		},
		Examples: []spec.Example{{Line: "disable_backup_policy -p daily", Says: "until it is enabled again", Setup: []string{policyExample}}},
		SeeAlso:  []string{"enable_backup_policy", "ls_backup_policy", "rm_backup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planSwitchPolicy(ctx, env, call, true, call.Bool("force-disable"))
		},
	}
}

func planSwitchPolicy(ctx context.Context, env commands.Env, call *spec.Call, disable, force bool) (*spec.Plan, error) {
	name := call.String("policy-name")
	if err := checkPolicy(name, nil, nil, nil); err != nil {
		return nil, err
	}
	c, old, err := openPolicy(ctx, env, call)
	if err != nil {
		return nil, err
	}
	word, other := "enable", "disable"
	if disable {
		word, other = other, word
	}
	plan := &spec.Plan{Title: fmt.Sprintf("%s the backup policy %s of %s", word, name, call.Cluster)}
	step := policyStep(c, call.Cluster, old, driver.PolicyChange{Disable: &disable, Force: force}, word+" it", fmt.Sprintf("%s_backup_policy -p %s", other, shown(name)))
	if i := slices.IndexFunc(old.Backups, func(b driver.PolicyBackup) bool { return b.End.IsZero() }); i >= 0 && disable {
		plan.Notes = append(plan.Notes, fmt.Sprintf("its backup %d is running: servers refuse unless -f has them forget it, which 2.6 does", old.Backups[i].ID))
		if force {
			step.Class = spec.Risky
		}
	}
	plan.Steps = []spec.Step{step}
	return plan, nil
}
