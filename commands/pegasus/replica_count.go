package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// GetReplicaCount shows how many replicas a table's partitions shall have.
func GetReplicaCount(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "get_replica_count",
		Systems: systems,
		Topic:   "tables",
		Summary: "show how many replicas each partition of a table shall have",
		Long:    "Asks the meta server how many replicas the partitions of a table shall have; app -d shows how many they have.",
		Args:    []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "the table; the one in use when left out"}},
		Examples: []spec.Example{
			{Line: "get_replica_count TableA", Says: "3, usually"},
			{Line: "get_replica_count", Says: "of the table in use", Setup: []string{"use demo"}},
		},
		SeeAlso: []string{"set_replica_count", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, table, err := openTable(ctx, env, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			n, err := c.ReplicaCount(ctx, table)
			if err != nil {
				return nil, err
			}
			return spec.Record(append(spec.Columns("app_name"), ints("max_replica_count")...), table, n), nil
		},
	}
}

// SetReplicaCount changes how many replicas a table's partitions shall have.
func SetReplicaCount(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "set_replica_count",
		Systems: systems,
		Topic:   "tables",
		Summary: "change how many replicas each partition of a table shall have",
		Long: "Copies the missing replicas, or drops those too many, and waits until every partition has as many as it shall. " +
			"Fewer copies are less safety, so lowering the number asks for the table's name; copying loads the nodes, so raising it asks too.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table, always named"},
			{Name: "count", Kind: spec.ArgInt, Help: "copies of each partition, 1 to 5"},
		},
		Examples: []spec.Example{
			{Line: "set_replica_count demo 2 --yes=demo", Says: "one copy less"},
			{Line: "set_replica_count pair 3 --yes", Says: "one copy more", Setup: []string{"create pair -r 2"}},
		},
		SeeAlso: []string{"get_replica_count", "app", "create"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return setReplicaCount(ctx, env, call)
		},
	}
}

func setReplicaCount(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	if err := checkShape(1, call.ArgInt(1)); err != nil {
		return nil, err
	}
	want := int(call.ArgInt(1))
	c, table, err := openTable(ctx, env, call, call.Arg(0))
	if err != nil {
		return nil, err
	}
	was, err := c.ReplicaCount(ctx, table)
	if err != nil {
		return nil, err
	}
	step := spec.Step{
		Text:    fmt.Sprintf("set the replica count of %s from %d to %d", table, was, want),
		Objects: []string{table},
		Class:   spec.Risky,
		Check:   func(ctx context.Context) (spec.State, error) { return replicaCountState(ctx, c, table, want) },
		Apply: func(ctx context.Context, report spec.Report) error {
			old, err := c.SetReplicaCount(ctx, table, want)
			if err == nil {
				report.Detail("it was %d", old)
			}
			return err
		},
	}
	plan := &spec.Plan{Title: fmt.Sprintf("keep %s of table %s on %s", commands.Plural(want, "replica"), table, call.Cluster), Name: table}
	switch {
	case want == was:
		step.Class = spec.Alter
	case want < was:
		step.Class = spec.Destroy
		plan.Notes = []string{fmt.Sprintf("%s of each partition are dropped; %s", commands.Plural(was-want, "replica"), survives(want))}
	}
	if want != was {
		step.Undo = fmt.Sprintf("set_replica_count %s %d", table, was)
	}
	plan.Steps = []spec.Step{step}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text:    fmt.Sprintf("wait until every partition of %s has %s", table, commands.Plural(want, "replica")),
			objects: []string{table}, limit: call.Wait,
			look: func(ctx context.Context) (bool, string, error) { return haveReplicas(ctx, c, table, want) },
			hint: fmt.Sprintf("app %s -d shows which have not; nothing is copied or dropped while the meta level is freezed", table),
		}.step())
	}
	return plan, nil
}

// survives says how many nodes may fail, by the servers' rule that writes need a majority of the wanted replicas, or one
// of two.
func survives(replicas int) string {
	switch replicas {
	case 1:
		return "one node that fails takes its partitions away"
	case 2:
		return "with one of two nodes failed, rows have a single copy"
	}
	return fmt.Sprintf("writes go on with %d of %d replicas", replicas/2+1, replicas)
}

func replicaCountState(ctx context.Context, c client, table string, want int) (spec.State, error) {
	now, err := c.ReplicaCount(ctx, table)
	switch {
	case err != nil:
		return spec.State{}, err
	case now == want:
		return spec.State{Kind: spec.Done, Why: fmt.Sprintf("it is %d", now)}, nil
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return spec.State{}, err
	}
	alive := 0
	for _, n := range nodes {
		alive += one(n.Alive)
	}
	if alive < want {
		why := fmt.Sprintf("%s need as many nodes, and %d alive", commands.Plural(want, "replica"), alive)
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func haveReplicas(ctx context.Context, c client, table string, want int) (bool, string, error) {
	a, err := c.Partitions(ctx, table)
	if err != nil {
		return false, "", err
	}
	have := 0
	for _, p := range a.Partitions {
		have += one(p.Unborn || exactly(p, want))
	}
	return have == len(a.Partitions), fmt.Sprintf("%d of %d have", have, len(a.Partitions)), nil
}

func exactly(p driver.Partition, want int) bool {
	return p.Primary != "" && p.MaxReplicas == want && replicasOf(p) == want
}
