package openmldb

import (
	"context"
	"fmt"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// partitionArgs name one replica.
func partitionArgs(pid string) []spec.Arg {
	return []spec.Arg{
		{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
		{Name: "pid", Kind: spec.ArgText, Help: pid},
		{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the tablet, or the end of it from a dot on"},
	}
}

// RecoverTable has one replica catch up.
func RecoverTable(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recovertable",
		Systems: systems,
		Topic:   "failover",
		Summary: "have one replica that does not count as alive catch up with its leader",
		Long: "What recoverendpoint does for every replica on a tablet, for one. The leader must be alive. The operation is followed " +
			"to its end. Refused while auto_failover is on, unless --manual switches it off meanwhile.",
		Args:    partitionArgs("the partition"),
		Flags:   []spec.Flag{manualFlag},
		SeeAlso: []string{"recoverendpoint", "changeleader", "recoverdata", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return recoverTable(ctx, env, line)
		},
	}
}

func recoverTable(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	pid, err := partitionOf(t, line.Arg(1))
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(2))
	if err != nil {
		return nil, err
	}
	name := at(t.TableName, pid)
	p := &spec.Plan{Title: fmt.Sprintf("have %s on %s catch up", name, endpoint), Name: name, Success: "recover table ok"}
	if err := manual(ctx, c, line, p); err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := v.healthy(endpoint, "recover "+name); err != nil {
		return nil, err
	}
	r := &request{
		c: c, class: spec.Risky, wait: line.Wait, text: p.Title,
		ask: func(ctx context.Context) error { return c.RecoverTable(ctx, t.TableName, pid, endpoint) },
	}
	has := false
	for _, on := range t.Parts[pid].Replicas {
		if on.Endpoint == endpoint {
			has = true
			v.recoverOne(p, r, *t, t.Parts[pid], on, false)
		}
	}
	switch {
	case !has:
		return nil, (&spec.Error{Kind: spec.Refused, Op: "recover " + name, Code: "308", Err: fmt.Errorf("%s has no replica of it", endpoint)}).
			WithHint("addreplica adds one")
	case len(r.outcomes)+len(p.Blockers) == 0:
		p.Notes = append(p.Notes, endpoint+" is alive there already")
		return p, nil
	}
	p.Steps = r.steps()
	return p, nil
}

// UpdateTableAlive tells the nameserver that a replica counts as alive, or does not.
func UpdateTableAlive(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "updatetablealive",
		Systems: systems,
		Topic:   "failover",
		Summary: "tell the nameserver that a replica counts as alive, or does not",
		Long: "Changes where clients are sent and who may be elected, and nothing on the tablets: a step of the recovery by hand, " +
			"which recoverdata does. * means every partition of the table. Refused while auto_failover is on, unless --manual " +
			"switches it off meanwhile.",
		Args: append(partitionArgs("the partition, or * for all"),
			spec.Arg{Name: "alive", Kind: spec.ArgEnum, Values: []string{"yes", "no"}, Help: "whether it counts"}),
		Flags:   []spec.Flag{manualFlag},
		SeeAlso: []string{"recoverdata", "recovertable", "loadtable", "showtable"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return updateAlive(ctx, env, line)
		},
	}
}

func updateAlive(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	alive := line.Arg(3) == "yes"
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	pid, parts := -1, t.Parts
	if line.Arg(1) != "*" {
		n, err := partitionOf(t, line.Arg(1))
		if err != nil {
			return nil, err
		}
		pid, parts = int(n), t.Parts[n:n+1]
	}
	endpoint, err := match(ctx, c, line.Arg(2))
	if err != nil {
		return nil, err
	}
	step := spec.Step{
		Text: fmt.Sprintf("have %s of %s on %s count as alive: %s", partitionsText(pid), t.TableName, endpoint, line.Arg(3)), Class: spec.Risky,
		Undo: fmt.Sprintf("updatetablealive %s %s %s %s", t.TableName, line.Arg(1), endpoint, flip(line.Arg(3), "yes", "no")),
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := c.Describe(ctx, t.TableName)
			if err != nil {
				return spec.State{}, err
			}
			for _, p := range parts {
				if is, _ := aliveAt(endpoint, alive)(now.Parts[p.ID]); !is && hasReplica(now.Parts[p.ID], endpoint) {
					return todo, nil
				}
			}
			return done("it is so"), nil
		},
		Apply: call(func(ctx context.Context) error { return c.UpdateTableAlive(ctx, t.TableName, pid, endpoint, alive) }),
	}
	for _, p := range parts {
		if hasReplica(p, endpoint) {
			step.Objects = append(step.Objects, at(t.TableName, p.ID))
		}
	}
	if len(step.Objects) == 0 {
		return nil, spec.Errorf(spec.NotFound, "%s has no replica of %s of %s", endpoint, partitionsText(pid), t.TableName).
			WithHint("showtable %s shows who has", t.TableName)
	}
	p := oneStep("update ok", step)
	p.Name = t.TableName.String()
	return p, manual(ctx, c, line, p)
}

func partitionsText(pid int) string {
	if pid < 0 {
		return "all partitions"
	}
	return fmt.Sprintf("partition %d", pid)
}

func hasReplica(p driver.Partition, endpoint string) bool {
	for _, r := range p.Replicas {
		if r.Endpoint == endpoint {
			return true
		}
	}
	return false
}
