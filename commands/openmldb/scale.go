package openmldb

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ScaleOut spreads partitions over tablets that have joined.
func ScaleOut(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "scaleout",
		Systems: systems,
		Topic:   "failover",
		Summary: "spread the partitions evenly over all healthy tablets, after some have joined",
		Long: "Moves replicas from the tablets that have the most to those that have the fewest until they differ by one at most. A " +
			"leader is moved by electing another one first. The store's own tables stay. auto_failover is held off meanwhile. Run " +
			"again it does what is left.",
		Examples: []spec.Example{{Line: "scaleout --plan", Says: "what would move where"}},
		SeeAlso:  []string{"scalein", "migrate", "showtable"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, v, err := openView(ctx, env, line)
			if err != nil {
				return nil, err
			}
			p := &spec.Plan{Title: "spread the partitions of " + line.Cluster + " over its tablets", Name: line.Cluster}
			for _, m := range v.evenOut() {
				p.Steps = append(p.Steps, mover{c, line.Wait}.move(m.table, m.pid, m.from, m.to))
			}
			if len(p.Steps) == 0 {
				p.Notes = []string{"no tablet has more than one replica more than another"}
				return p, nil
			}
			return p, holdOff(ctx, c, p)
		},
	}
}

func openView(ctx context.Context, env commands.Env, line *spec.Call) (client, *view, error) {
	c, err := open(ctx, env, line)
	if err != nil {
		return nil, nil, err
	}
	v, err := lookAt(ctx, c)
	return c, v, err
}

// shift is a replica that changes its tablet.
type shift struct {
	table    driver.TableName
	pid      uint32
	from, to string
}

// layout is where the replicas of the users' tables are.
type layout struct {
	on    map[string]map[held]bool // by tablet, healthy ones only
	order []held
}

type held struct {
	table driver.TableName
	pid   uint32
}

func (v *view) layout() *layout {
	l := &layout{on: map[string]map[held]bool{}}
	for endpoint, t := range v.tablets {
		if t.Healthy {
			l.on[endpoint] = map[held]bool{}
		}
	}
	for _, t := range v.tables {
		if t.Internal() {
			continue
		}
		for _, p := range t.Parts {
			h := held{t.TableName, p.ID}
			l.order = append(l.order, h)
			for _, r := range p.Replicas {
				if has, healthy := l.on[r.Endpoint]; healthy {
					has[h] = true
				}
			}
		}
	}
	return l
}

// byLoad lists the tablets, the emptiest first.
func (l *layout) byLoad() []string {
	var all []string
	for endpoint := range l.on {
		all = append(all, endpoint)
	}
	sort.Slice(all, func(i, j int) bool {
		if a, b := len(l.on[all[i]]), len(l.on[all[j]]); a != b {
			return a < b
		}
		return all[i] < all[j]
	})
	return all
}

func (l *layout) move(h held, from, to string) shift {
	delete(l.on[from], h)
	l.on[to][h] = true
	return shift{h.table, h.pid, from, to}
}

// evenOut lists moves after which no tablet has two replicas more than another, where replicas can be moved at all.
func (v *view) evenOut() []shift {
	l := v.layout()
	var moves []shift
	for {
		tablets := l.byLoad()
		m, found := l.next(tablets)
		if !found {
			return moves
		}
		moves = append(moves, m)
	}
}

func (l *layout) next(tablets []string) (shift, bool) {
	for i := len(tablets) - 1; i > 0; i-- {
		for _, to := range tablets {
			from := tablets[i]
			if len(l.on[from])-len(l.on[to]) < 2 {
				break
			}
			for _, h := range l.order {
				if l.on[from][h] && !l.on[to][h] {
					return l.move(h, from, to), true
				}
			}
		}
	}
	return shift{}, false
}

// ScaleIn empties tablets that are to leave.
func ScaleIn(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "scalein",
		Systems: systems,
		Topic:   "failover",
		Summary: "empty tablets that are to leave the cluster",
		Long: "Moves every replica on them to the tablet that has the fewest and not that one. Refused where a table has more " +
			"replicas than tablets would be left. auto_failover is held off meanwhile. Run again it does what is left; then their " +
			"processes can be stopped.",
		Flags: []spec.Flag{
			{Name: "endpoints", Kind: spec.ArgEndpoint, Required: true, Repeated: true, Help: "the tablets that leave, joined by commas"},
		},
		SeeAlso: []string{"scaleout", "migrate", "offlineendpoint"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			c, v, err := openView(ctx, env, line)
			if err != nil {
				return nil, err
			}
			var leaving []string
			for _, list := range line.Strings("endpoints") {
				for name := range strings.SplitSeq(list, ",") {
					endpoint, err := match(ctx, c, name)
					if err != nil {
						return nil, err
					}
					leaving = append(leaving, endpoint)
				}
			}
			return scaleIn(ctx, c, v, line, leaving)
		},
	}
}

func scaleIn(ctx context.Context, c client, v *view, line *spec.Call, leaving []string) (*spec.Plan, error) {
	p := &spec.Plan{Title: fmt.Sprintf("empty %s of %s", strings.Join(leaving, ", "), line.Cluster), Name: strings.Join(leaving, ",")}
	l := v.layout()
	gone := map[string]map[held]bool{}
	for _, endpoint := range leaving {
		if err := v.healthy(endpoint, "empty "+endpoint); err != nil {
			return nil, err
		}
		gone[endpoint] = l.on[endpoint]
		delete(l.on, endpoint)
	}
	for _, t := range v.tables {
		if t.Replicas > len(l.on) {
			return nil, spec.Errorf(spec.Refused, "table %s has %s, and %d healthy tablets would be left", t.TableName, commands.Plural(t.Replicas, "replica"), len(l.on)).
				WithHint("start more tablets first, or delreplica")
		}
	}
	for _, from := range leaving {
		for _, t := range v.tables {
			for _, part := range t.Parts {
				h := held{t.TableName, part.ID}
				if !hasReplica(part, from) {
					continue
				}
				to := l.roomFor(h, part)
				if to == "" {
					return nil, spec.Errorf(spec.Refused, "every other healthy tablet has a replica of %s", at(t.TableName, part.ID)).
						WithHint("delreplica takes one away")
				}
				l.on[to][h] = true
				p.Steps = append(p.Steps, mover{c, line.Wait}.move(t.TableName, part.ID, from, to))
			}
		}
	}
	if len(p.Steps) == 0 {
		p.Notes = []string{"there is nothing on them: their processes can be stopped"}
		return p, nil
	}
	return p, holdOff(ctx, c, p)
}

// roomFor is the emptiest tablet without a replica of the partition.
func (l *layout) roomFor(h held, part driver.Partition) string {
	for _, endpoint := range l.byLoad() {
		if !l.on[endpoint][h] && !slices.ContainsFunc(part.Replicas, func(r driver.Replica) bool { return r.Endpoint == endpoint }) {
			return endpoint
		}
	}
	return ""
}
