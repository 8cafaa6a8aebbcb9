package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// policyKeeper is what backup policies ask of a cluster.
type policyKeeper interface {
	admin
	AddBackupPolicy(ctx context.Context, p driver.BackupPolicy) error
	BackupPolicies(ctx context.Context, names []string, backups int) ([]driver.BackupPolicy, error)
	ChangeBackupPolicy(ctx context.Context, name string, c driver.PolicyChange) error
}

var _ policyKeeper = (*driver.Driver)(nil)

var (
	policyFlag    = spec.Flag{Name: "policy-name", Short: "p", Kind: spec.ArgText, Required: true, Help: "the policy"}
	policyExample = "add_backup_policy -p daily -b disk -a 1 -i 86400 -s 03:00 -c 3"
)

const policyLong = "A policy has the servers back tables up every so many seconds, to <cluster>/<backup id> below the root of a block service, and remove the oldest backups beyond " +
	"a number. Unlike a one-time backup it is kept by the meta servers: another one that takes the lead goes on with it, as long as it takes. "

// AddBackupPolicy has tables backed up again and again.
func AddBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "add_backup_policy", Aliases: []string{"add-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "have tables backed up again and again",
		Long: policyLong + "The time of day is kept to only where the interval is a number of whole days; with any other the first backup begins at once, and the next ones " +
			"drift. A policy can be disabled, and never removed.",
		Flags: []spec.Flag{
			policyFlag,
			{Name: "backup-provider-type", Short: "b", Kind: spec.ArgService, Required: true, Help: "the block service, as the servers' configuration calls it"},
			{Name: "app-ids", Short: "a", Kind: spec.ArgText, Required: true, Help: "the tables, by id or name: 1,2,TableA"},
			{Name: "backup-interval-seconds", Short: "i", Kind: spec.ArgDuration, Required: true, Help: "from the start of one backup to that of the next"},
			{Name: "start-time", Short: "s", Kind: spec.ArgText, Required: true, Help: "hh:mm, by the meta server's clock"},
			{Name: "backup-history-cnt", Short: "c", Kind: spec.ArgInt, Required: true, Help: "how many backups are kept"},
		},
		Examples: []spec.Example{{Line: policyExample, Says: "table 1 every day at three; three backups are kept"}},
		SeeAlso:  []string{"ls_backup_policy", "query_backup_policy", "modify_backup_policy", "disable_backup_policy", "backup"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planAddPolicy(ctx, env, call)
		},
	}
}

func planAddPolicy(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	p := driver.BackupPolicy{
		Name: call.String("policy-name"), Provider: call.String("backup-provider-type"), Every: call.Duration("backup-interval-seconds"),
		Keep: int(call.Int("backup-history-cnt")), Start: call.String("start-time"),
	}
	if err := checkPolicy(p.Name, &p.Every, &p.Keep, &p.Start); err != nil {
		return nil, err
	}
	c, err := commands.Driver[policyKeeper](ctx, env, call)
	if err != nil {
		return nil, err
	}
	if p.Tables, err = tableIDs(ctx, c, call.String("app-ids")); err != nil {
		return nil, err
	}
	list, err := c.BackupPolicies(ctx, nil, 0)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(old driver.BackupPolicy) bool { return old.Name == p.Name }) {
		return nil, spec.Errorf(spec.Refused, "%s has a backup policy %s", call.Cluster, p.Name).WithHint("modify_backup_policy -p %s changes it", p.Name)
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("add the backup policy %s to %s", p.Name, call.Cluster),
		Steps: []spec.Step{{
			Text: fmt.Sprintf("back up %s to %s every %s and keep %d", tablesText(p.Tables), p.Provider, everyText(p.Every), p.Keep), Objects: []string{p.Name}, Class: spec.Alter,
			Undo: "disable_backup_policy -p " + shown(p.Name),
			Check: func(ctx context.Context) (spec.State, error) {
				list, err := c.BackupPolicies(ctx, nil, 0)
				if err == nil && slices.ContainsFunc(list, func(now driver.BackupPolicy) bool { return now.Name == p.Name }) {
					return spec.State{Kind: spec.Done, Why: "it is there"}, nil
				}
				return spec.State{}, err
			},
			Apply: func(ctx context.Context, _ spec.Report) error { return c.AddBackupPolicy(ctx, p) },
		}},
	}
	plan.Notes = append(plan.Notes, policyNotes(env, p)...)
	return plan, nil
}

func policyNotes(env commands.Env, p driver.BackupPolicy) []string {
	var notes []string
	if _, found := commands.BlockNamed(env, p.Provider); !found {
		notes = append(notes, fmt.Sprintf("this shell's config.ini has no block service %s: its backups cannot be listed or checked from here", p.Provider))
	}
	if p.Every%(24*time.Hour) != 0 {
		notes = append(notes, fmt.Sprintf("%s is no number of whole days: the first backup begins at once, and not at %s", everyText(p.Every), p.Start))
	}
	return append(notes, "a backup that runs cannot be cancelled, and servers feel it: no limit of what they send is held for those of a policy")
}

// checkPolicy checks what is given of a policy.
func checkPolicy(name string, every *time.Duration, keep *int, start *string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "/\\,") || name == "." || name == "..":
		return spec.Errorf(spec.Usage, "%q is no name for a policy", name)
	case every != nil && (*every < time.Second || *every%time.Second != 0):
		return spec.Errorf(spec.Usage, "the interval is a number of whole seconds, 1 or more")
	case keep != nil && (*keep < 1 || *keep > 10_000):
		return spec.Errorf(spec.Usage, "between 1 and 10000 backups are kept")
	}
	if start != nil {
		if _, err := time.Parse("15:04", *start); err != nil || len(*start) != len("15:04") {
			return spec.Errorf(spec.Usage, "%q is no time of day", *start).WithHint("write hh:mm, such as 03:00")
		}
	}
	return nil
}

// tableIDs reads a list of tables in use, by id or name.
func tableIDs(ctx context.Context, c admin, text string) ([]int32, error) {
	var ids []int32
	for part := range strings.SplitSeq(text, ",") {
		app, err := findTable(ctx, c, strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, app.ID) {
			ids = append(ids, app.ID)
		}
	}
	return ids, nil
}

func tablesText(ids []int32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("table %d", ids[0])
	}
	return "tables " + idList(ids)
}

// everyText is an interval: "2 days", "1h30m0s".
func everyText(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "day"
	case d%day == 0:
		return commands.Plural(int(d/day), "day")
	}
	return d.String()
}

func idTexts(ids []int32) []string {
	var texts []string
	for _, id := range ids {
		texts = append(texts, strconv.Itoa(int(id)))
	}
	return texts
}

func idList(ids []int32) string { return strings.Join(idTexts(ids), ",") }

var policyColumns = []spec.Column{
	{Name: "policy_name"},
	{Name: "backup_provider_type"},
	{Name: "backup_interval", Kind: spec.Duration},
	{Name: "app_ids", Kind: spec.List},
	{Name: "start_time"},
	{Name: "status"},
	{Name: "backup_history_count", Kind: spec.Int},
	{Name: "last_backup", Kind: spec.Time},
	{Name: "next_due", Kind: spec.Time},
}

func policyRow(p driver.BackupPolicy) spec.Row {
	status, last, next := "enabled", time.Time{}, any(nil)
	if p.Disabled {
		status = "disabled"
	}
	for _, b := range p.Backups {
		if b.Start.After(last) {
			last = b.Start
		}
	}
	if !last.IsZero() && !p.Disabled {
		next = last.Add(p.Every)
	}
	return spec.Row{p.Name, p.Provider, p.Every, idTexts(p.Tables), p.Start, status, p.Keep, last, next}
}

// LsBackupPolicy lists the policies.
func LsBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "ls_backup_policy", Aliases: []string{"ls-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "list the backup policies",
		Long: policyLong + "next_due is derived: the interval after the start of the last backup. A policy that has made none yet begins at its time of day, or at once where its " +
			"interval is no number of whole days.",
		Examples: []spec.Example{{Line: "ls_backup_policy", Says: "every policy, and when it is due", Setup: []string{policyExample}}},
		SeeAlso:  []string{"add_backup_policy", "query_backup_policy"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, err := commands.Driver[policyKeeper](ctx, env, call)
			if err != nil {
				return nil, err
			}
			list, err := c.BackupPolicies(ctx, nil, 1)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, p := range list {
				rows = append(rows, policyRow(p))
			}
			return &spec.Table{Columns: policyColumns, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// QueryBackupPolicy shows policies and their last backups.
func QueryBackupPolicy(env commands.Env) spec.Command {
	return spec.Command{
		Name: "query_backup_policy", Aliases: []string{"query-backup-policy"},
		Systems: systems,
		Topic:   "storage",
		Summary: "show backup policies and their last backups",
		Long:    policyLong + "A backup without an end is running.",
		Flags: []spec.Flag{
			{Name: "policy-name", Short: "p", Kind: spec.ArgText, Required: true, Help: "the policies: daily,hourly"},
			{Name: "backup-info-cnt", Short: "b", Kind: spec.ArgInt, Default: "3", Help: "how many of the last backups are shown of each"},
		},
		Examples: []spec.Example{{Line: "query_backup_policy -p daily -b 5", Says: "one policy, and its last five backups", Setup: []string{policyExample}}},
		SeeAlso:  []string{"ls_backup_policy", "ls_backup", "modify_backup_policy"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return queryPolicies(ctx, env, call)
		},
	}
}

func queryPolicies(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	count := call.Int("backup-info-cnt")
	if count < 0 || count > 10_000 {
		return nil, spec.Errorf(spec.Usage, "-b is between 0 and 10000")
	}
	c, err := commands.Driver[policyKeeper](ctx, env, call)
	if err != nil {
		return nil, err
	}
	names := strings.Split(call.String("policy-name"), ",")
	list, err := c.BackupPolicies(ctx, names, int(count))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(list, func(p driver.BackupPolicy) bool { return p.Name == name }) {
			return nil, noPolicy(call.Cluster, name)
		}
	}
	var policies, backups []spec.Row
	for _, p := range list {
		policies = append(policies, policyRow(p))
		for _, b := range p.Backups {
			backups = append(backups, spec.Row{p.Name, b.ID, b.Start, b.End, idTexts(b.Tables)})
		}
	}
	return &spec.Table{
		Section: "policies", Columns: policyColumns, Rows: spec.RowsOf(policies...),
		More: []*spec.Table{{
			Section: "backups", Columns: []spec.Column{
				{Name: "policy_name"}, {Name: "backup_id", Kind: spec.Int}, {Name: "start_time", Kind: spec.Time}, {Name: "end_time", Kind: spec.Time}, {Name: "app_ids", Kind: spec.List},
			},
			Rows: spec.RowsOf(backups...),
		}},
	}, nil
}

func noPolicy(cluster, name string) error {
	return spec.Errorf(spec.NotFound, "%s has no backup policy %s", cluster, shown(name)).WithHint("ls_backup_policy lists them")
}
