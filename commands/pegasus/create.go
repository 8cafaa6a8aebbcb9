package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Create makes a table.
func Create(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "create",
		Systems: systems,
		Topic:   "tables",
		Summary: "create a table and wait until it can be used",
		Long: "Creates a table and waits until every partition has a primary and all its replicas; --no-wait returns as soon " +
			"as the meta server has accepted it. A table of that name, shape and settings that exists already is success, " +
			"unless -f is given; one of another shape is refused. Each replica needs a node of its own that is alive.",
		Args: []spec.Arg{{Name: "table", Help: "letters, digits, '.', ':' and '_'"}},
		Flags: []spec.Flag{
			{
				Name: "partition-count", Short: "p", Kind: spec.ArgInt, Default: "4",
				Help: "number of partitions; a later split can only double it",
			},
			{Name: "replica-count", Short: "r", Kind: spec.ArgInt, Default: "3", Help: "copies of each partition, 1 to 5"},
			{Name: "fail-if-exist", Short: "f", Kind: spec.ArgBool, Help: "refuse when the table exists, whatever its shape"},
			{Name: "envs", Short: "e", Kind: spec.ArgPair, Repeated: true, Help: "settings of the new table", Offers: settingPairs()},
		},
		Examples: []spec.Example{
			{Line: "create logs -p 8 -r 3", Says: "8 partitions of 3 replicas"},
			{Line: "create archive -e rocksdb.allow_ingest_behind=true", Says: "ready to be loaded from behind"},
		},
		SeeAlso: []string{"drop", "ls", "app", "set_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return create(ctx, env, call)
		},
	}
}

func create(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	want, err := newApp(call)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	w := &creation{client: c, want: want}
	state, err := w.check(ctx)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("create table %s on %s: %s", want.Name, call.Cluster, shape(want.Partitions, want.Replicas)),
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("create %s with %s", want.Name, shape(want.Partitions, want.Replicas)),
			Objects: []string{want.Name},
			Class:   spec.Alter,
			Check:   w.check,
			Apply:   w.apply,
			Undo:    "drop " + want.Name,
		}},
	}
	if state.Kind != spec.Todo {
		plan.Notes = []string{state.Why}
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, readyStep(c, want.Name, call.Wait))
	}
	return plan, nil
}

func newApp(call *spec.Call) (driver.NewApp, error) {
	partitions, replicas := call.Int("partition-count"), call.Int("replica-count")
	if err := checkTable(call.Arg(0)); err != nil {
		return driver.NewApp{}, err
	}
	if err := checkShape(partitions, replicas); err != nil {
		return driver.NewApp{}, err
	}
	envs := map[string]string{}
	for _, list := range call.Strings("envs") {
		for pair := range strings.SplitSeq(list, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if _, twice := envs[key]; !ok || key == "" || twice {
				return driver.NewApp{}, spec.Errorf(spec.Usage, "%s is no setting", quote(pair)).
					WithHint("write each key once: -e key=value,key=value")
			}
			if err := checkSetting(key, value, call.Force); err != nil {
				return driver.NewApp{}, err
			}
			envs[key] = value
		}
	}
	return driver.NewApp{
		Name: call.Arg(0), Partitions: int(partitions), Replicas: int(replicas), Envs: envs,
		SuccessIfExists: !call.Bool("fail-if-exist"),
	}, nil
}

func shape(partitions, replicas int) string {
	return fmt.Sprintf("%s of %s", commands.Plural(partitions, "partition"), commands.Plural(replicas, "replica"))
}

// creation is the step that creates a table.
type creation struct {
	client admin
	want   driver.NewApp
	sent   bool // what exists afterwards may be ours, so that -f must not complain of it
}

func (w *creation) check(ctx context.Context) (spec.State, error) {
	have, exists, err := findApp(ctx, w.client, w.want.Name)
	if err != nil {
		return spec.State{}, err
	}
	if exists {
		return w.compare(have), nil
	}
	nodes, err := w.client.Nodes(ctx)
	if err != nil {
		return spec.State{}, err
	}
	alive := 0
	for _, n := range nodes {
		alive += one(n.Alive)
	}
	if alive < w.want.Replicas {
		why := fmt.Sprintf("%s need as many nodes, and %d alive", commands.Plural(w.want.Replicas, "replica"), alive)
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// compare tells whether the table that exists is the one that was asked for.
func (w *creation) compare(have driver.App) spec.State {
	blocked := func(format string, args ...any) spec.State {
		return spec.State{Kind: spec.Blocked, Why: have.Name + " " + fmt.Sprintf(format, args...)}
	}
	switch {
	case have.Status != "AVAILABLE" && have.Status != "CREATING":
		return blocked("is %s", strings.ToLower(have.Status))
	case have.Partitions != w.want.Partitions || have.Replicas != w.want.Replicas:
		return blocked("exists already with %s", shape(have.Partitions, have.Replicas))
	case !maps.Equal(have.Envs, w.want.Envs):
		return blocked("exists already with other settings: %s", differences(have.Envs, w.want.Envs))
	case !w.want.SuccessIfExists && !w.sent:
		return blocked("exists already, with id %d", have.ID)
	}
	return spec.State{Kind: spec.Done, Why: fmt.Sprintf("%s exists with that shape, id %d", have.Name, have.ID)}
}

// differences names the settings that are not the same.
func differences(have, want map[string]string) string {
	var keys []string
	for key, value := range have {
		if other, ok := want[key]; !ok || other != value {
			keys = append(keys, key)
		}
	}
	for key := range want {
		if _, ok := have[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

func (w *creation) apply(ctx context.Context, report spec.Report) error {
	w.sent = true
	id, err := w.client.CreateApp(ctx, w.want)
	if err != nil {
		return err
	}
	report.Detail("app_id %d", id)
	return nil
}
