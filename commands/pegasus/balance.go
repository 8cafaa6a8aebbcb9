package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// Balance moves a replica as the balancer would.
func Balance(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "balance",
		Systems: systems,
		Topic:   "partitions",
		Summary: "move one replica of a partition, as the balancer would",
		Long: "Proposes to the meta server to exchange the primary with a secondary (move_pri), or to copy the primary (copy_pri) " +
			"or a secondary (copy_sec) to a node that has no replica of the partition, and waits until that has happened. " +
			"A primary that moves interrupts its clients for a moment.",
		Flags: []spec.Flag{
			{Name: "gpid", Short: "g", Required: true, Help: "the partition: table id and partition, as in 2.5"},
			{
				Name: "type", Short: "p", Kind: spec.ArgEnum, Required: true, Help: "what moves",
				Values: []string{driver.MovePrimary, driver.CopyPrimary, driver.CopySecondary},
			},
			{Name: "from", Short: "f", Kind: spec.ArgEndpoint, Required: true, Help: "the node that has the replica"},
			{Name: "to", Short: "t", Kind: spec.ArgEndpoint, Required: true, Help: "the node that gets it"},
		},
		Examples: []spec.Example{
			{Line: "balance -g 2.0 -p move_pri -f .31 -t .32", Says: "exchange two roles; a node can be named by the end of its address"},
			{Line: "balance -g 3.0 -p copy_sec -f .32 -t .33", Says: "copy a secondary elsewhere", Setup: []string{"create pair -r 2"}},
		},
		SeeAlso: []string{"migrate", "changeleader", "propose", "app"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			p, err := placeOfGPID(ctx, env, call, call.String("gpid"))
			if err != nil {
				return nil, err
			}
			m, err := p.newMove(call.String("from"), call.String("to"))
			if err != nil {
				return nil, err
			}
			kind, from, to := call.String("type"), m.from, m.to
			if m.kind != "" && m.kind != kind {
				return nil, spec.Errorf(spec.Refused, "%s from %s to %s is not %s but %s", p.gpid(), from, to, kind, m.kind).
					WithHint("%s", stand(p.was))
			}
			m.kind = kind
			title := fmt.Sprintf("%s of %s from %s to %s", kind, p.String(), from, to)
			return m.plan(call, title, fmt.Sprintf("balance -g %s -p %s -f %s -t %s", p.gpid(), kind, to, from)), nil
		},
	}
}

// Migrate moves a replica to another node.
func Migrate(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "migrate",
		Systems: systems,
		Topic:   "partitions",
		Summary: "move a partition's replica from one node to another",
		Long: "Copies the replica to a node that has none of the partition, and drops the old one after the new one serves; " +
			"a primary stays one, on the new node. Waits until that has happened.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table"},
			{Name: "partition", Kind: spec.ArgInt, Help: "its partition, counted from 0"},
			{Name: "from", Kind: spec.ArgEndpoint, Help: "the node that has the replica"},
			{Name: "to", Kind: spec.ArgEndpoint, Help: "the node that gets it"},
		},
		Examples: []spec.Example{
			{
				Line: "migrate pair 0 .31 .33", Says: "the primary goes; a node can be named by the end of its address",
				Setup: []string{"create pair -r 2"},
			},
			{Line: "migrate pair 0 .32 .33 --wait 10m", Says: "not waiting longer than that", Setup: []string{"create pair -r 2"}},
		},
		SeeAlso: []string{"changeleader", "balance", "app", "showtable"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			p, err := placeOf(ctx, env, call, call.Arg(0), call.Arg(1))
			if err != nil {
				return nil, err
			}
			m, err := p.newMove(call.Arg(2), call.Arg(3))
			if err != nil {
				return nil, err
			}
			if m.kind == driver.CopyPrimary {
				m.kind = driver.ReplacePrimary
			}
			from, to := m.from, m.to
			if m.kind == driver.MovePrimary {
				return nil, spec.Errorf(spec.Refused, "%s has a replica of %s already", to, p.String()).
					WithHint("changeleader %s %d %s makes it the primary", p.table, p.index, to)
			}
			title := fmt.Sprintf("move %s from %s to %s", p.String(), from, to)
			return m.plan(call, title, fmt.Sprintf("migrate %s %d %s %s", p.table, p.index, to, from)), nil
		},
	}
}

// ChangeLeader makes a secondary the primary.
func ChangeLeader(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "changeleader",
		Systems: systems,
		Topic:   "partitions",
		Summary: "make a secondary of a partition its primary",
		Long: "Exchanges the primary with a secondary, the one named or the live one that leads the fewest partitions of the " +
			"table, and waits until that has happened. Clients of the partition are interrupted for a moment.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table"},
			{Name: "partition", Kind: spec.ArgInt, Help: "its partition, counted from 0"},
			{Name: "endpoint", Kind: spec.ArgEndpoint, Optional: true, Help: "the secondary that shall lead"},
		},
		Examples: []spec.Example{
			{Line: "changeleader TableA 0", Says: "any live secondary leads"},
			{Line: "changeleader TableA 3 --no-wait", Says: "only propose it"},
		},
		SeeAlso: []string{"migrate", "balance", "app", "showtable"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return changeLeader(ctx, env, call)
		},
	}
}

func changeLeader(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	p, err := placeOf(ctx, env, call, call.Arg(0), call.Arg(1))
	if err != nil {
		return nil, err
	}
	to := call.Arg(2)
	switch {
	case p.was.Primary == "":
		return nil, spec.Errorf(spec.Refused, "%s has no primary to take over from", p.String()).
			WithHint("the meta server chooses one by itself unless get_meta_level says freezed")
	case to == "":
		to, err = p.lightest(ctx)
	default:
		to, err = p.nodes.findAlive(to)
	}
	if err != nil {
		return nil, err
	}
	if to == p.was.Primary {
		return &spec.Plan{Title: fmt.Sprintf("%s leads %s on %s", to, p.String(), call.Cluster)}, nil
	}
	m, err := p.newMove(p.was.Primary, to)
	if err != nil {
		return nil, err
	}
	if m.kind != driver.MovePrimary {
		return nil, spec.Errorf(spec.Refused, "%s has no replica of %s", to, p.String()).
			WithHint("migrate %s %d %s %s copies it there first", p.table, p.index, p.was.Primary, to)
	}
	title := fmt.Sprintf("make %s the primary of %s", to, p.String())
	return m.plan(call, title, fmt.Sprintf("changeleader %s %d %s", p.table, p.index, p.was.Primary)), nil
}
