package openmldb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// auto lets the nameserver choose among the followers although the leader is alive.
const auto = "auto"

// ChangeLeader has a partition elect another leader.
func ChangeLeader(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "changeleader",
		Systems: systems,
		Topic:   "failover",
		Summary: "have a partition elect another leader",
		Long: "Without a candidate the follower with the largest offset is elected, if the leader is not alive; with auto also if it " +
			"is. A candidate leads whatever its offset: entries that it lacks are lost, and such a one is refused without --force. " +
			"The old leader does not count as alive afterwards: recovertable has it follow. Refused while auto_failover is on, " +
			"unless --manual switches it off meanwhile.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "pid", Kind: spec.ArgInt, Help: "the partition"},
			{Name: "candidate", Kind: spec.ArgEndpoint, Optional: true, Offers: []string{auto}, Help: "the follower that shall lead, or auto"},
		},
		Flags: []spec.Flag{manualFlag},
		Examples: []spec.Example{
			{Line: "changeleader flow 0 auto --manual --plan", Says: "who would be elected"},
			{Line: "changeleader flow 0 auto --manual --yes", Says: "elect it"},
		},
		SeeAlso: []string{"recovertable", "offlineendpoint", "showtable"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return changeLeader(ctx, env, line)
		},
	}
}

func changeLeader(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	pid, err := partitionOf(t, line.Arg(1))
	if err != nil {
		return nil, err
	}
	candidate := line.Arg(2)
	if candidate != "" && candidate != auto {
		if candidate, err = match(ctx, c, candidate); err != nil {
			return nil, err
		}
	}
	name := at(t.TableName, pid)
	p := &spec.Plan{
		Title: "elect another leader of " + name, Name: name,
		Success: "change leader ok. If there are writing operations while changing a leader, it may cause data loss.",
	}
	if err := manual(ctx, c, line, p); err != nil {
		return nil, err
	}
	v, err := lookAt(ctx, c)
	if err != nil {
		return nil, err
	}
	part := t.Parts[pid]
	old, led := part.Leader()
	if led && old.Endpoint == candidate {
		p.Notes = []string{candidate + " leads it"}
		return p, nil
	}
	winner, err := v.election(p, *t, part, candidate)
	if err != nil {
		return nil, err
	}
	r := &request{
		c: c, class: spec.Risky, wait: line.Wait, text: fmt.Sprintf("have %s elected to lead %s", winner, name),
		ask: func(ctx context.Context) error { return c.ChangeLeader(ctx, t.TableName, pid, candidate) },
	}
	o := outcome{t.TableName, pid, "wait for the leader of " + name, ledBy("", old.Endpoint)}
	if candidate != "" && candidate != auto {
		o.reached = ledBy(candidate, "")
	}
	r.outcomes = []outcome{o}
	p.Steps = r.steps()
	return p, nil
}

// election says who would win, and refuses what the nameserver would, or what loses entries.
func (v *view) election(p *spec.Plan, t driver.Table, part driver.Partition, candidate string) (string, error) {
	name := at(t.TableName, part.ID)
	refuse := func(code, why, hint string) (string, error) {
		return "", (&spec.Error{Kind: spec.Refused, Op: "change the leader of " + name, Code: code, Err: errors.New(why)}).WithHint("%s", hint)
	}
	leader, led := part.Leader()
	alive := led && v.tablets[leader.Endpoint].Healthy
	switch {
	case len(part.Replicas) == 1:
		return refuse("134", "it has one replica and no follower", "addreplica adds one")
	case alive && candidate == "":
		return refuse("309", leader.Endpoint+" leads it and is alive", "name a candidate, or auto")
	}
	able := v.electable(part, "")
	best, offset := v.furthest(t, part, able)
	if len(best) == 0 {
		return refuse("310", "no follower is alive on a healthy tablet", "doctor says what is wrong")
	}
	had := offset
	for _, r := range able {
		at, _ := v.offset(t, part, r)
		p.Notes = append(p.Notes, fmt.Sprintf("follower %s is at offset %d", r.Endpoint, at))
		if r.Endpoint == candidate {
			best, offset = []string{candidate}, at
		}
	}
	named := candidate != "" && candidate != auto
	if named && best[0] != candidate {
		return refuse("305", candidate+" is no alive follower of it on a healthy tablet", "showtable shows who is")
	}
	if led {
		at, _ := v.offset(t, part, leader)
		had = max(had, at)
		p.Notes = append(p.Notes, fmt.Sprintf("leader %s is at offset %d", leader.Endpoint, at))
	}
	winner := strings.Join(best, " or ")
	if had > offset {
		why := fmt.Sprintf("%s lacks %s, which would be lost", winner, entries(had-offset))
		if alive || named {
			p.Blockers = append(p.Blockers, spec.Blocker{Object: name, Why: why})
		} else {
			p.Notes = append(p.Notes, why)
		}
	}
	return winner, nil
}
