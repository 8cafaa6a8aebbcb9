package openmldb

import (
	"context"
	"errors"
	"fmt"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

var pidGroup = spec.Arg{Name: "pid_group", Kind: spec.ArgText, Help: "partitions: 0, 0,3,5 or 1-5"}

// AddReplica adds a copy.
func AddReplica(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "addreplica",
		Systems: systems,
		Topic:   "partitions",
		Summary: "add a copy of partitions on a tablet",
		Long: "The leader sends its snapshot, and the copy counts as alive once it has caught up. It works whether auto_failover is " +
			"on or off.",
		Args: []spec.Arg{tableArg, pidGroup, {Name: "endpoint", Kind: spec.ArgEndpoint, Help: "the tablet that gets them"}},
		Examples: []spec.Example{
			{Line: "addreplica solo 0 .32:8541 --yes", Says: "a second copy", Setup: []string{"create solo 0 1 1 k:string:index", "addreplica solo 0 .31:8541 --yes"}},
		},
		SeeAlso: []string{"delreplica", "migrate", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return changeReplicas(ctx, env, line, true)
		},
	}
}

// DelReplica takes a copy away.
func DelReplica(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "delreplica",
		Systems: systems,
		Topic:   "partitions",
		Summary: "take the copies of partitions off a tablet",
		Long:    "A leader cannot be taken away: changeleader comes first.",
		Args:    []spec.Arg{tableArg, pidGroup, {Name: "endpoint", Kind: spec.ArgEndpoint, Help: "the tablet that loses them"}},
		SeeAlso: []string{"addreplica", "changeleader", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return changeReplicas(ctx, env, line, false)
		},
	}
}

func changeReplicas(ctx context.Context, env commands.Env, line *spec.Call, add bool) (*spec.Plan, error) {
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	pids, err := parsePIDs(line.Arg(1), t.Partitions)
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(2))
	if err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	name, back := t.TableName, line.Arg(1)
	p := &spec.Plan{Title: fmt.Sprintf("add copies of %s on %s", name, endpoint), Name: name.String(), Success: "AddReplica ok"}
	r := &request{c: c, class: spec.Risky, wait: line.Wait, undo: fmt.Sprintf("delreplica %s %s %s", name, back, endpoint)}
	what := "a copy of %s on %s"
	if add {
		if err := v.healthy(endpoint, "add a replica"); err != nil {
			return nil, err
		}
	} else {
		p.Title, p.Success = fmt.Sprintf("take copies of %s off %s", name, endpoint), "DelReplica ok"
		r.undo = fmt.Sprintf("addreplica %s %s %s", name, back, endpoint)
		what = "no copy of %s on %s"
	}
	var left []uint32
	for _, pid := range pids {
		part := t.Parts[pid]
		if hasReplica(part, endpoint) == add {
			continue
		}
		if err := v.replicaBlocker(p, *t, part, endpoint, add); err != nil {
			return nil, err
		}
		left = append(left, pid)
		r.outcomes = append(r.outcomes, outcome{name, pid, fmt.Sprintf(what, at(name, pid), endpoint), replicaAt(endpoint, add)})
	}
	r.text = p.Title
	r.ask = func(ctx context.Context) error {
		if add {
			return c.AddReplica(ctx, name, left, endpoint)
		}
		return c.DelReplica(ctx, name, left, endpoint)
	}
	if len(left) > 0 {
		p.Steps = r.steps()
	}
	return p, nil
}

// replicaBlocker refuses what the nameserver would, and blocks what would leave one copy.
func (v *view) replicaBlocker(p *spec.Plan, t driver.Table, part driver.Partition, endpoint string, add bool) error {
	name := at(t.TableName, part.ID)
	leader, led := part.Leader()
	if !led || !v.tablets[leader.Endpoint].Healthy {
		return (&spec.Error{Kind: spec.Refused, Op: "change the replicas of " + name, Err: errors.New("it has no leader that is alive")}).
			WithHint("changeleader elects one, recoverdata brings it back")
	}
	if add {
		return nil
	}
	if leader.Endpoint == endpoint {
		return (&spec.Error{Kind: spec.Refused, Op: "take " + name + " off " + endpoint, Code: "102", Err: errors.New("it leads there")}).
			WithHint("changeleader %s %d auto comes first", t.TableName, part.ID)
	}
	alive := 0
	for _, r := range part.Replicas {
		if r.Alive && r.Endpoint != endpoint {
			alive++
		}
	}
	if alive < 2 {
		p.Blockers = append(p.Blockers, spec.Blocker{Object: name, Why: "its leader on " + leader.Endpoint + " would be its only copy"})
	}
	return nil
}

// Migrate moves followers.
func Migrate(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "migrate",
		Systems: systems,
		Topic:   "partitions",
		Summary: "move followers of a table from one tablet to another",
		Long: "Only followers can be moved: changeleader moves a leader first. A copy is made before the old one goes. Refused while " +
			"auto_failover is on, unless --manual switches it off meanwhile.",
		Args: []spec.Arg{
			{Name: "src_endpoint", Kind: spec.ArgEndpoint, Help: "the tablet that loses them"},
			tableArg, pidGroup,
			{Name: "des_endpoint", Kind: spec.ArgEndpoint, Help: "the tablet that gets them"},
		},
		Flags:   []spec.Flag{manualFlag},
		SeeAlso: []string{"changeleader", "scaleout", "scalein", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return migrate(ctx, env, line)
		},
	}
}

func migrate(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, t, err := openTable(ctx, env, line, line.Arg(1))
	if err != nil {
		return nil, err
	}
	pids, err := parsePIDs(line.Arg(2), t.Partitions)
	if err != nil {
		return nil, err
	}
	from, err := match(ctx, c, line.Arg(0))
	if err != nil {
		return nil, err
	}
	to, err := match(ctx, c, line.Arg(3))
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, spec.Errorf(spec.Usage, "%s is both where they come from and where they go", from)
	}
	name := t.TableName
	p := &spec.Plan{Title: fmt.Sprintf("move followers of %s from %s to %s", name, from, to), Name: name.String(), Success: "partition migrate ok"}
	if err := manual(ctx, c, line, p); err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &request{
		c: c, class: spec.Risky, wait: line.Wait, text: p.Title, undo: fmt.Sprintf("migrate %s %s %s %s", to, name, line.Arg(2), from),
	}
	var left []uint32
	for _, pid := range pids {
		moved := both(replicaAt(to, true), replicaAt(from, false))
		if is, _ := moved(t.Parts[pid]); is {
			continue
		}
		if err := v.movable(*t, t.Parts[pid], from, to); err != nil {
			return nil, err
		}
		left = append(left, pid)
		r.outcomes = append(r.outcomes, outcome{name, pid, fmt.Sprintf("move %s from %s to %s", at(name, pid), from, to), moved})
	}
	r.ask = func(ctx context.Context) error { return c.Migrate(ctx, name, left, from, to) }
	if len(left) > 0 {
		p.Steps = r.steps()
	}
	return p, nil
}

// movable refuses what the nameserver would (codes 318 to 320).
func (v *view) movable(t driver.Table, part driver.Partition, from, to string) error {
	name := at(t.TableName, part.ID)
	refuse := func(code, hint, format string, args ...any) error {
		return (&spec.Error{Kind: spec.Refused, Op: "move " + name, Code: code, Err: fmt.Errorf(format, args...)}).WithHint("%s", hint)
	}
	leader, led := part.Leader()
	switch {
	case !v.tablets[from].Healthy:
		return refuse("318", "offlineendpoint and addreplica do without it", "%s is not healthy", from)
	case !v.tablets[to].Healthy:
		return refuse("319", "showtablet tells who is", "%s is not healthy", to)
	case !led || !v.tablets[leader.Endpoint].Healthy:
		return refuse("320", "doctor says what is wrong", "it has no leader that is alive")
	case leader.Endpoint == from:
		return refuse("320", fmt.Sprintf("changeleader %s %d auto comes first", t.TableName, part.ID), "it leads on %s, and only followers can be moved", from)
	case !hasReplica(part, from):
		return refuse("320", "showtable shows who has one", "%s has no replica of it", from)
	case hasReplica(part, to):
		return refuse("320", "showtable shows who has one", "%s has a replica of it already", to)
	}
	return nil
}

// MakeSnapshot has a partition write a snapshot.
func MakeSnapshot(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "makesnapshot",
		Systems:  systems,
		Topic:    "partitions",
		Summary:  "have a partition's leader write a snapshot now",
		Long:     "A tablet that is restarted reads its snapshot and the log behind it; a fresh snapshot makes that quick.",
		Args:     []spec.Arg{tableArg, {Name: "pid", Kind: spec.ArgInt, Help: "the partition"}},
		Examples: []spec.Example{{Line: "makesnapshot flow 0", Says: "before its tablet is restarted"}},
		SeeAlso:  []string{"showopstatus", "gettablestatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, t, err := openTable(ctx, env, line, line.Arg(0))
			if err != nil {
				return nil, err
			}
			pid, err := partitionOf(t, line.Arg(1))
			if err != nil {
				return nil, err
			}
			name := at(t.TableName, pid)
			return oneStep("MakeSnapshot ok", spec.Step{
				Text: "write a snapshot of " + name, Objects: []string{name}, Class: spec.Alter,
				Apply: func(ctx context.Context, report spec.Report) error {
					return causes(ctx, c, line.Wait, report, func(ctx context.Context) error {
						return c.MakeSnapshot(ctx, t.TableName, pid, 0)
					})
				},
			}), nil
		},
	}
}
