package pegasus

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Recall takes a dropped table back.
func Recall(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recall",
		Systems: systems,
		Topic:   "tables",
		Summary: "take a dropped table back and wait until it can be used",
		Long: "Makes a dropped table available again, with its rows and settings, as long as its time has not run out " +
			"(ls -s dropped shows it), and waits until every partition has all its replicas. When its name is taken by now, give another one.",
		Args: []spec.Arg{
			{Name: "app_id", Kind: spec.ArgInt, Help: "the id of the dropped table"},
			{Name: "new_name", Optional: true, Help: "another name for it"},
		},
		Examples: []spec.Example{
			{Line: "recall 3", Says: "under its old name", Setup: []string{"create visits", "drop visits --yes=visits"}},
			{Line: "recall 3 old_visits", Says: "under another name", Setup: []string{"create visits", "drop visits --yes=visits", "create visits"}},
		},
		SeeAlso: []string{"drop", "ls", "create"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return recall(ctx, env, call)
		},
	}
}

func recall(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	id, name := call.ArgInt(0), call.Arg(1)
	if id <= 0 || id > math.MaxInt32 {
		return nil, spec.Errorf(spec.Usage, "%d is no id of a table", id).WithHint("ls -s dropped shows the ids")
	}
	if name != "" {
		if err := checkTable(name); err != nil {
			return nil, err
		}
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	r := &recalling{client: c, id: int32(id), name: name}
	a, err := r.find(ctx)
	if err != nil {
		return nil, err
	}
	if name == "" {
		r.name = a.Name
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("recall table %s (id %d) on %s", r.name, id, call.Cluster),
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("recall %s, %s", r.name, shape(a.Partitions, a.Replicas)),
			Objects: []string{r.name},
			Class:   spec.Alter,
			Check:   r.check,
			Apply: func(ctx context.Context, report spec.Report) error {
				a, err := c.RecallApp(ctx, r.id, name)
				if err == nil {
					report.Detail("app_id %d", a.ID)
				}
				return err
			},
			Undo: "drop " + r.name,
		}},
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, readyStep(c, r.name, call.Wait))
	}
	return plan, nil
}

// recalling is the step that takes a table back.
type recalling struct {
	client client
	id     int32
	name   string // what it shall be called
}

func (r *recalling) find(ctx context.Context) (driver.App, error) {
	apps, err := r.client.Apps(ctx, "all")
	if err != nil {
		return driver.App{}, err
	}
	i := slices.IndexFunc(apps, func(a driver.App) bool { return a.ID == r.id })
	if i < 0 {
		return driver.App{}, spec.Errorf(spec.NotFound, "no table has the id %d", r.id).WithHint("ls -s dropped lists what can be recalled")
	}
	return apps[i], nil
}

func (r *recalling) check(ctx context.Context) (spec.State, error) {
	a, err := r.find(ctx)
	if err != nil {
		return spec.State{}, err
	}
	blocked := func(format string, args ...any) (spec.State, error) {
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case a.Status != "DROPPED" && a.Name == r.name && a.Status != "DROPPING":
		return spec.State{Kind: spec.Done, Why: fmt.Sprintf("%s is %s", a.Name, strings.ToLower(a.Status))}, nil
	case a.Status != "DROPPED":
		return blocked("table %d is %s and called %s", a.ID, strings.ToLower(a.Status), a.Name)
	case !a.Expires.IsZero() && !time.Now().Before(a.Expires):
		return blocked("its time ran out %s: the rows are gone", a.Expires.UTC().Format(time.DateTime))
	}
	other, taken, err := findApp(ctx, r.client, r.name)
	switch {
	case err != nil:
		return spec.State{}, err
	case taken:
		return blocked("the name %s belongs to table %d by now; recall %d NEW_NAME gives it another one", r.name, other.ID, r.id)
	}
	return spec.State{Kind: spec.Todo}, nil
}

// Rename gives a table another name.
func Rename(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "rename",
		Systems: systems,
		Topic:   "tables",
		Summary: "give a table another name",
		Long: "Changes a table's name and nothing else. Clients that go on using the old name find no table, at the latest when " +
			"they ask for its partitions again, so this asks first.",
		Args: []spec.Arg{
			{Name: "old_name", Kind: spec.ArgTable, Help: "the table"},
			{Name: "new_name", Help: "its new name"},
		},
		Examples: []spec.Example{
			{Line: "rename visits visits_2026 --yes", Says: "without being asked", Setup: []string{"create visits"}},
			{Line: "rename demo demo2 --plan", Says: "what would be done"},
		},
		SeeAlso: []string{"ls", "create", "recall"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return rename(ctx, env, call)
		},
	}
}

func rename(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	old, name := call.Arg(0), call.Arg(1)
	for _, n := range []string{old, name} {
		if err := checkTable(n); err != nil {
			return nil, err
		}
	}
	if old == name {
		return nil, spec.Errorf(spec.Usage, "the names are the same, %s", old)
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	a, err := mustFind(ctx, c, call.Cluster, old)
	if err != nil {
		return nil, err
	}
	r := &recalling{client: c, id: a.ID, name: name}
	return &spec.Plan{
		Title: fmt.Sprintf("rename table %s (id %d) of %s to %s", old, a.ID, call.Cluster, name),
		Notes: []string{"clients that use the name " + old + " lose the table"},
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("rename %s to %s", old, name),
			Objects: []string{old, name},
			Class:   spec.Risky,
			Check:   func(ctx context.Context) (spec.State, error) { return r.renamed(ctx, old) },
			Apply:   func(ctx context.Context, _ spec.Report) error { return c.RenameApp(ctx, old, name) },
			Undo:    fmt.Sprintf("rename %s %s", name, old),
		}},
	}, nil
}

// renamed looks for the table that was meant, by its id.
func (r *recalling) renamed(ctx context.Context, old string) (spec.State, error) {
	a, err := r.find(ctx)
	if err != nil {
		return spec.State{}, err
	}
	if a.Status == "AVAILABLE" && a.Name == r.name {
		return spec.State{Kind: spec.Done, Why: fmt.Sprintf("table %d is called %s", a.ID, a.Name)}, nil
	}
	other, taken, err := findApp(ctx, r.client, r.name)
	switch {
	case err != nil:
		return spec.State{}, err
	case taken:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("table %d is called %s already", other.ID, r.name)}, nil
	case a.Status != "AVAILABLE" || a.Name != old:
		why := fmt.Sprintf("table %d is %s and called %s", a.ID, strings.ToLower(a.Status), a.Name)
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}
