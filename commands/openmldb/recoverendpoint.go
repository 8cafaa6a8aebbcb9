package openmldb

import (
	"context"
	"fmt"
	"strconv"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// RecoverEndpoint takes a tablet back into service.
func RecoverEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recoverendpoint",
		Systems: systems,
		Topic:   "failover",
		Summary: "take a tablet back into service: its replicas catch up and count as alive again",
		Long: "For a tablet that is healthy again after offlineendpoint. Each of its replicas that does not count as alive loads what " +
			"it has, or gets the leader's snapshot, and catches up. With need_restore it also leads again what it led. The " +
			"operations are followed to their end. Refused while auto_failover is on, unless --manual switches it off meanwhile.",
		Args: []spec.Arg{
			{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the tablet, or the end of it from a dot on"},
			{Name: "need_restore", Kind: spec.ArgBool, Optional: true, Help: "true makes it lead again what it led"},
			concurrencyArg,
		},
		Flags: []spec.Flag{manualFlag},
		Examples: []spec.Example{
			{
				Line: "recoverendpoint .32:8541 --yes", Says: "its replicas catch up",
				Setup: []string{"confset auto_failover false --yes", "offlineendpoint .32:8541 --yes"},
			},
		},
		SeeAlso: []string{"offlineendpoint", "recovertable", "recoverdata", "showopstatus"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return recoverTablet(ctx, env, line)
		},
	}
}

func recoverTablet(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	queues, err := concurrency(line, 2)
	if err != nil {
		return nil, err
	}
	restore := line.ArgBool(1)
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(0))
	if err != nil {
		return nil, err
	}
	p := &spec.Plan{
		Title: fmt.Sprintf("take %s of %s back into service", endpoint, line.Cluster), Name: line.Arg(0), Success: "recover endpoint ok",
	}
	if err := manual(ctx, c, line, p); err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := v.healthy(endpoint, "recover "+endpoint); err != nil {
		return nil, err
	}
	r := &request{
		c: c, text: "recover " + endpoint, class: spec.Risky, undo: "offlineendpoint " + endpoint, wait: line.Wait,
		ask: func(ctx context.Context) error { return c.RecoverEndpoint(ctx, endpoint, restore, queues) },
	}
	if restore {
		r.text += " with need_restore " + strconv.FormatBool(restore)
	}
	v.holding(endpoint, func(t driver.Table, part driver.Partition, on driver.Replica) {
		v.recoverOne(p, r, t, part, on, restore)
	})
	if len(r.outcomes)+len(p.Blockers) == 0 {
		return nil, (&spec.Error{Kind: spec.Failed, Op: "recover " + endpoint, Err: errNothingOffline}).
			WithHint("offlineendpoint %s comes first when it was down; showtable shows is_alive", endpoint)
	}
	p.Steps = r.steps()
	return p, nil
}

func (v *view) recoverOne(p *spec.Plan, r *request, t driver.Table, part driver.Partition, on driver.Replica, restore bool) {
	name := at(t.TableName, part.ID)
	_, loaded := v.own[on.Endpoint][place{t.ID, part.ID}]
	if on.Alive && (len(part.Replicas) > 1 || loaded) {
		return
	}
	leader, led := part.Leader()
	if len(part.Replicas) > 1 && (!led || !v.tablets[leader.Endpoint].Healthy) {
		p.Blockers = append(p.Blockers, spec.Blocker{
			Object: name, Why: "no leader is alive that it could catch up with; recoverdata brings such partitions back",
		})
		return
	}
	o := outcome{t.TableName, part.ID, fmt.Sprintf("have %s on %s catch up", name, on.Endpoint), aliveAt(on.Endpoint, true)}
	if restore && on.Leader && len(part.Replicas) > 1 {
		o.text += " and lead again"
		o.reached = both(ledBy(on.Endpoint, ""), o.reached)
	}
	r.outcomes = append(r.outcomes, o)
}
