package openmldb

import (
	"context"
	"fmt"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// concurrencyArg bounds the queues that failover's operations use (name_server_task_max_concurrency).
var concurrencyArg = spec.Arg{Name: "concurrency", Kind: spec.ArgInt, Optional: true, Help: "how many queues of operations are used, 1 to 8; 2 when left out"}

const maxConcurrency = 8

func concurrency(line *spec.Call, i int) (uint32, error) {
	if line.Arg(i) == "" {
		return 0, nil
	}
	n := line.ArgInt(i)
	if n < 1 || n > maxConcurrency {
		return 0, spec.Errorf(spec.Usage, "concurrency is 1 to %d, not %d", maxConcurrency, n)
	}
	return uint32(n), nil
}

// OfflineEndpoint takes a tablet out of service.
func OfflineEndpoint(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "offlineendpoint",
		Systems: systems,
		Topic:   "failover",
		Summary: "take a tablet out of service: elect other leaders, leave its followers out",
		Long: "For a tablet that died while auto_failover is off, or that is to be stopped. Each partition that it leads elects the " +
			"alive follower with the largest offset; each that it follows leaves it out. The plan names them, and says what the " +
			"new leader lacks. Then the operations are followed to their end, and each partition is looked at. Refused while " +
			"auto_failover is on, unless --manual switches it off meanwhile.",
		Args:  []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the tablet, or the end of it from a dot on"}, concurrencyArg},
		Flags: []spec.Flag{manualFlag},
		Examples: []spec.Example{
			{Line: "offlineendpoint .32:8541 --manual --plan", Says: "what would be elected and left out"},
			{Line: "offlineendpoint .32:8541 --yes", Says: "do it", Setup: []string{"confset auto_failover false --yes"}},
		},
		SeeAlso: []string{"recoverendpoint", "changeleader", "showopstatus", "doctor"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return offline(ctx, env, line)
		},
	}
}

func offline(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	queues, err := concurrency(line, 1)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(0))
	if err != nil {
		return nil, err
	}
	p := &spec.Plan{
		Title: fmt.Sprintf("take %s of %s out of service", endpoint, line.Cluster), Name: line.Arg(0), Success: "offline endpoint ok",
	}
	if err := manual(ctx, c, line, p); err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	r := &request{
		c: c, text: "take " + endpoint + " offline", class: spec.Risky, undo: "recoverendpoint " + endpoint, wait: line.Wait,
		ask: func(ctx context.Context) error { return c.OfflineEndpoint(ctx, endpoint, queues) },
	}
	v.holding(endpoint, func(t driver.Table, part driver.Partition, at driver.Replica) {
		v.offlineOne(p, r, t, part, at)
	})
	if len(r.outcomes) > 0 {
		p.Steps = r.steps()
	}
	return p, nil
}

// offlineOne plans what becomes of one partition with a replica on a tablet that is taken offline.
func (v *view) offlineOne(p *spec.Plan, r *request, t driver.Table, part driver.Partition, on driver.Replica) {
	name := at(t.TableName, part.ID)
	leader, led := part.Leader()
	switch {
	case !on.Alive:
		return
	case len(part.Replicas) == 1:
		v.stranded(p, name, on.Endpoint, "its only replica is on "+on.Endpoint)
		r.outcomes = append(r.outcomes, outcome{
			t.TableName, part.ID, "leave " + name + " without a replica that is alive", aliveAt(on.Endpoint, false),
		})
	case led && leader.Endpoint != on.Endpoint:
		r.outcomes = append(r.outcomes, outcome{
			t.TableName, part.ID, fmt.Sprintf("leave the follower of %s on %s out", name, on.Endpoint), aliveAt(on.Endpoint, false),
		})
	default:
		best, offset := v.furthest(t, part, v.electable(part, on.Endpoint))
		if len(best) == 0 {
			v.stranded(p, name, on.Endpoint, "no follower is alive that could lead it instead of "+on.Endpoint)
			return
		}
		had, own := v.offset(t, part, on)
		p.Notes = append(p.Notes, electionNote(name, best, offset, had, own))
		r.outcomes = append(r.outcomes, outcome{
			t.TableName, part.ID, fmt.Sprintf("elect a leader of %s instead of %s", name, on.Endpoint),
			both(ledBy("", on.Endpoint), aliveAt(on.Endpoint, false)),
		})
	}
}

// stranded tells of a partition that nobody will lead. It blocks while the tablet serves; one that is dead serves nobody.
func (v *view) stranded(p *spec.Plan, partition, endpoint, reason string) {
	if v.tablets[endpoint].Healthy {
		p.Blockers = append(p.Blockers, spec.Blocker{Object: partition, Why: reason})
		return
	}
	p.Notes = append(p.Notes, partition+" stays without a leader: "+reason)
}

// electionNote says who will lead and what is lost with the old leader.
func electionNote(partition string, best []string, offset, had uint64, own bool) string {
	text := fmt.Sprintf("%s: %s has the largest offset, %d, and will lead", partition, best[0], offset)
	if len(best) > 1 {
		text = fmt.Sprintf("%s: %s have the largest offset, %d, and one of them will lead", partition, strings.Join(best, ", "), offset)
	}
	if had <= offset {
		return text
	}
	if own {
		return text + fmt.Sprintf("; the leader is at %d: %s would be lost", had, entries(had-offset))
	}
	return text + fmt.Sprintf("; the old leader was last heard at %d: up to %s are lost", had, entries(had-offset))
}

func entries(n uint64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
