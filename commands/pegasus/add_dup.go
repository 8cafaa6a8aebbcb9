package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// AddDup duplicates a table to another cluster.
func AddDup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "add_dup",
		Systems: systems,
		Topic:   "tables",
		Summary: "duplicate a table to another cluster: ship its writes there",
		Long: "Has the primaries of a table ship every write to the table of the same name on another cluster, the follower, and " +
			"waits until they do. With -s the follower makes that table and gets the rows there are first; without it " +
			"the table must be there, with as many partitions, and gets only what is written from now on. The cluster is named " +
			"as in the configuration of the servers, whose names need not be those of this shell. " +
			"While a table is duplicated, servers refuse incr, check_and_set and check_and_mutate (ERR_OPERATION_DISABLED), " +
			"as they may come to something else on the follower. " +
			"It cannot be split or bulk loaded. Up to 2.5 the table has the same name and as many replicas there.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table to duplicate"},
			{Name: "follower", Kind: spec.ArgCluster, Help: "the cluster to duplicate it to"},
		},
		Flags: []spec.Flag{
			{Name: "sst", Short: "s", Kind: spec.ArgBool, Help: "make the table there, and copy the rows there are first"},
			{Name: "remote-app-name", Short: "a", Kind: spec.ArgText, Help: "the table's name there (2.6)"},
			{Name: "remote-replica-count", Short: "r", Kind: spec.ArgInt, Default: "0", Help: "its replicas there, with -s; 0 is as many as here (2.6)"},
		},
		Examples: []spec.Example{
			{Line: "add_dup demo onebox2 -s --plan", Says: "what would be done, and what is in the way"},
			{Line: "add_dup ledger onebox2 -s --yes", Says: "with the rows there are", Setup: []string{"create ledger -p 2"}},
		},
		SeeAlso: []string{"query_dup", "pause_dup", "remove_dup", "set_dup_fail_mode", "dups"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planDup(ctx, env, call)
		},
	}
}

// adding is a duplication that is to be added.
type adding struct {
	client   duplicator
	app      driver.App
	n        driver.NewDuplication
	standing standing
}

func planDup(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	k := &adding{n: driver.NewDuplication{
		Remote: call.Arg(1), Checkpoint: call.Bool("sst"), RemoteTable: call.String("remote-app-name"), RemoteReplicas: int(call.Int("remote-replica-count")),
	}}
	if k.n.RemoteTable != "" {
		if err := checkTable(k.n.RemoteTable); err != nil {
			return nil, err
		}
	}
	switch {
	case k.n.RemoteReplicas < 0 || k.n.RemoteReplicas > 5:
		return nil, spec.Errorf(spec.Usage, "a table cannot have %d replicas", k.n.RemoteReplicas).WithHint("1 to 5, or 0 for as many as here")
	case k.n.RemoteReplicas > 0 && !k.n.Checkpoint:
		return nil, spec.Errorf(spec.Usage, "the replicas of a table that is there already are not changed").WithHint("-r needs -s; set_replica_count changes them on the follower")
	}
	var err error
	if k.client, k.app, err = openDup(ctx, env, call, call.Arg(0)); err != nil {
		return nil, err
	}
	own, err := clusterName(ctx, k.client)
	if err != nil {
		return nil, err
	}
	if k.n.Remote == own || k.n.Remote == call.Cluster {
		return nil, spec.Errorf(spec.Usage, "%s cannot follow itself", shown(k.n.Remote)).WithHint("name another cluster; clusters lists those that the shell knows")
	}
	if err := k.checkRelease(ctx); err != nil {
		return nil, err
	}
	plan := k.plan(call)
	now, err := k.check(ctx)
	if err != nil || now.Kind == spec.Done {
		return plan, err
	}
	plan.Blockers = k.blockers()
	more, notes := k.followerBlockers(ctx, env)
	plan.Blockers, plan.Notes = append(plan.Blockers, more...), append(plan.Notes, notes...)
	return plan, nil
}

// checkRelease refuses what servers up to 2.5 would leave out without a word.
func (k *adding) checkRelease(ctx context.Context) error {
	if k.n.RemoteTable == "" && k.n.RemoteReplicas == 0 {
		return nil
	}
	settings, err := k.client.ClusterInfo(ctx)
	if err != nil {
		return err
	}
	for _, s := range settings {
		if s.Key != "primary_meta_server" {
			continue
		}
		v, err := k.client.ServerVersion(ctx, s.Value)
		if err == nil && !v.HasMetrics() {
			return spec.Errorf(spec.Unable, "Pegasus %s gives the follower's table no other name, and as many replicas", v.Text).WithHint("leave out -a and -r")
		}
		return err
	}
	return nil
}

func (k *adding) plan(call *spec.Call) *spec.Plan {
	table, from := k.app.Name, "its writes from now on"
	if k.n.Checkpoint {
		from = "its rows, then its writes"
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("duplicate table %s of %s to %s as %s", table, call.Cluster, k.n.Remote, k.remoteTable()),
		Name:  table,
		Steps: []spec.Step{{
			Text: fmt.Sprintf("ship %s to %s: %s", table, k.n.Remote, from), Objects: []string{table}, Class: spec.Risky,
			Check: k.check, Apply: k.apply, Undo: fmt.Sprintf("remove_dup %s %s", table, k.n.Remote),
		}},
		Notes: []string{"incr, check_and_set and check_and_mutate of the table are refused while it is duplicated"},
	}
	if !k.n.Checkpoint {
		plan.Notes = append(plan.Notes, "rows that are there already are not copied; -s does that")
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text: fmt.Sprintf("wait until every partition of %s is shipped", table), objects: []string{table}, limit: call.Wait, look: k.look,
			progress: func() (int, int, string) { return k.standing.begun, k.standing.partitions, "partitions" },
			hint:     fmt.Sprintf("query_dup %s -d shows where it stands", table),
		}.step())
	}
	return plan
}

func (k *adding) remoteTable() string {
	if k.n.RemoteTable != "" {
		return k.n.RemoteTable
	}
	return k.app.Name
}

// find is the duplication of the table to that cluster, nil for none.
func (k *adding) find(ctx context.Context) (*driver.Duplication, error) {
	list, err := k.client.Duplications(ctx, k.app.Name)
	for i := range list {
		if list[i].Remote == k.n.Remote {
			return &list[i], err
		}
	}
	return nil, err
}

func (k *adding) check(ctx context.Context) (spec.State, error) {
	d, err := k.find(ctx)
	switch {
	case err != nil || d == nil:
		return spec.State{Kind: spec.Todo}, err
	case d.RemoteTable != "" && d.RemoteTable != k.remoteTable():
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is duplicated there as %s already, by %d", d.RemoteTable, d.ID)}, nil
	}
	return spec.State{Kind: spec.Done, Why: fmt.Sprintf("duplication %d does so, at %s", d.ID, d.Status)}, nil
}

func (k *adding) apply(ctx context.Context, report spec.Report) error {
	id, err := k.client.AddDuplication(ctx, k.app.Name, k.n)
	if err == nil {
		report.Detail("dup_id %d", id)
	}
	return err
}

// look waits for all partitions to have begun to ship; that the follower is level is a moment's matter.
func (k *adding) look(ctx context.Context) (bool, string, error) {
	d, err := k.find(ctx)
	if err != nil {
		return false, "", err
	}
	if d == nil {
		return false, "", spec.Errorf(spec.Failed, "the duplication of %s to %s was removed meanwhile", k.app.Name, k.n.Remote)
	}
	k.standing = standingOf(d, k.app, nil)
	switch {
	case d.Status == "DS_PAUSE":
		return true, "paused", nil
	case d.Status != "DS_LOG":
		return false, statusWords(d.Status), nil
	}
	return k.standing.begun == k.standing.partitions, fmt.Sprintf("%d of %d partitions are shipped", k.standing.begun, k.standing.partitions), nil
}

// blockers are what is in the way at the source.
func (k *adding) blockers() []spec.Blocker {
	var list []spec.Blocker
	if k.app.Status != "AVAILABLE" {
		list = append(list, spec.Blocker{Object: k.app.Name, Why: "it is " + k.app.Status})
	}
	if k.app.BulkLoading {
		list = append(list, spec.Blocker{Object: k.app.Name, Why: "it is being loaded: servers crash when it is duplicated meanwhile"})
	}
	return list
}

// followerBlockers are what is in the way at the follower, and while the source is split.
func (k *adding) followerBlockers(ctx context.Context, env commands.Env) (list []spec.Blocker, notes []string) {
	block := func(object, format string, args ...any) {
		list = append(list, spec.Blocker{Object: object, Why: fmt.Sprintf(format, args...)})
	}
	if now, err := k.client.Split(ctx, k.app.Name); err == nil && now != nil {
		block(k.app.Name, "it is being split: partition_split query -a %s shows how far it is", k.app.Name)
	}
	opened, err := env.Open(ctx, k.n.Remote)
	if err != nil {
		block(k.n.Remote, "it cannot be opened from here: %v", err)
		return list, nil
	}
	follower, is := opened.(duplicator)
	if !is {
		block(k.n.Remote, "it is no Pegasus cluster")
		return list, nil
	}
	name, err := clusterName(ctx, follower)
	if err != nil {
		block(k.n.Remote, "it does not answer: %v", err)
		return list, nil
	}
	if name != "" && name != k.n.Remote {
		notes = append(notes, fmt.Sprintf("%s calls itself %s: servers may know it by that name only", k.n.Remote, name))
	}
	table := k.remoteTable()
	there, exists, err := findApp(ctx, follower, table)
	switch {
	case err != nil:
		block(k.n.Remote, "its tables cannot be listed: %v", err)
	case k.n.Checkpoint && exists:
		block(table, "%s has such a table: -s makes it; without -s it is used as it is", k.n.Remote)
	case k.n.Checkpoint:
		list = append(list, k.room(ctx, follower)...)
	case !exists:
		block(table, "%s has no such table: create it there with -p %d, or copy the rows too with -s", k.n.Remote, k.app.Partitions)
	case there.Partitions != k.app.Partitions:
		block(table, "it has %s on %s and %d here", commands.Plural(there.Partitions, "partition"), k.n.Remote, k.app.Partitions)
	}
	return list, notes
}

// room finds out whether the follower can have as many replicas.
func (k *adding) room(ctx context.Context, follower duplicator) []spec.Blocker {
	nodes, err := follower.Nodes(ctx)
	if err != nil {
		return []spec.Blocker{{Object: k.n.Remote, Why: "its nodes cannot be listed: " + err.Error()}}
	}
	want, alive := k.n.RemoteReplicas, 0
	if want == 0 {
		want = k.app.Replicas
	}
	for _, n := range nodes {
		if n.Alive {
			alive++
		}
	}
	if alive < want {
		return []spec.Blocker{{Object: k.n.Remote, Why: fmt.Sprintf("it has %s, for %s of each partition", commands.Plural(alive, "live node"), commands.Plural(want, "replica"))}}
	}
	return nil
}
