package pegasus

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	controlMeta     = metaRPC[wire.ControlMetaRequest, wire.ControlMetaResponse]{&wire.ControlMeta, func(a *wire.ControlMetaResponse) string { return a.Err }, nil}
	proposeBalancer = metaRPC[wire.BalancerRequest, wire.ErrResponse]{&wire.ProposeBalancer, func(a *wire.ErrResponse) string { return a.Err }, nil}
)

// MetaLevels are the names of the meta server's levels, each doing what those before it do and more: at "freezed" and
// below nothing is cured, "steady" cures, "lively" balances too.
func MetaLevels() []string { return []string{"stopped", "blind", "freezed", "steady", "lively"} }

// MetaLevel answers how much the meta server does by itself. A level that no release knows is its number.
func (d *Driver) MetaLevel(ctx context.Context) (string, error) {
	op := "read the meta level"
	// The call that sets the level also reads it; as a read it may be asked again, of any meta server.
	rpc := wire.ControlMeta
	rpc.Change = false
	read := controlMeta
	read.rpc = &rpc
	a, err := read.ok(ctx, d, op, &wire.ControlMetaRequest{Level: wire.LevelInvalid})
	if err != nil {
		return "", err
	}
	return a.OldLevel.String(), nil
}

// SetMetaLevel sets the level and answers the one before. Proposals that wait are forgotten at "steady" and below.
func (d *Driver) SetMetaLevel(ctx context.Context, level string) (old string, err error) {
	want, ok := wire.ParseMetaLevel(level)
	if !ok {
		return "", spec.Errorf(spec.Usage, "%q is no meta level", level).WithHint("%v", MetaLevels())
	}
	a, err := controlMeta.ok(ctx, d, "set the meta level to "+level, &wire.ControlMetaRequest{Level: want})
	if err != nil {
		return "", err
	}
	return a.OldLevel.String(), nil
}

// Proposal is one change of a partition's configuration.
type Proposal struct {
	AppID     int32
	Partition int
	// Target carries the change out, "" for the primary; Node is whom it is about.
	Target, Node string
	// Type is the change without CT_: ASSIGN_PRIMARY, UPGRADE_TO_PRIMARY, ADD_SECONDARY, DOWNGRADE_TO_SECONDARY,
	// DOWNGRADE_TO_INACTIVE, REMOVE or ADD_SECONDARY_FOR_LB.
	Type string
	// Force sends it to the target at once, without the meta server's checks.
	Force bool
}

// ProposalTypes are the changes that can be proposed.
func ProposalTypes() []string {
	return []string{
		"ASSIGN_PRIMARY", "UPGRADE_TO_PRIMARY", "ADD_SECONDARY", "ADD_SECONDARY_FOR_LB", "DOWNGRADE_TO_SECONDARY",
		"DOWNGRADE_TO_INACTIVE", "REMOVE",
	}
}

// Kinds of Balance. The first three are the store's own words: a primary changes places with a secondary; a primary, or a
// secondary, is copied to a node without the partition. After copy_pri the meta server drops the secondary whose node is
// fullest, which need not be the old primary; ReplacePrimary drops that one.
const (
	MovePrimary    = "move_pri"
	CopyPrimary    = "copy_pri"
	CopySecondary  = "copy_sec"
	ReplacePrimary = "replace_pri"
)

// Balance moves a replica from a node to another one.
type Balance struct {
	AppID     int32
	Partition int
	Kind      string
	From, To  string
}

// Propose hands the meta server a change. It answers once the change is noted, not when it is done; at level "freezed"
// and below nothing comes of it. While earlier ones for the partition wait it is refused.
func (d *Driver) Propose(ctx context.Context, p Proposal) error {
	op := fmt.Sprintf("propose %s of %d.%d", p.Type, p.AppID, p.Partition)
	kind, ok := wire.ParseConfigType(p.Type)
	if !ok {
		return spec.Errorf(spec.Usage, "%q is no change of a configuration", p.Type).WithHint("%v", ProposalTypes())
	}
	action, err := d.action(kind, p.Target, p.Node)
	if err != nil {
		return err
	}
	q := wire.BalancerRequest{
		PID: wire.GPID{App: p.AppID, Partition: int32(p.Partition)}, Actions: []wire.ProposalAction{action}, Force: &p.Force,
	}
	return d.propose(ctx, op, &q)
}

// Balance proposes the changes that move a replica. It answers as Propose does.
func (d *Driver) Balance(ctx context.Context, b Balance) error {
	op := fmt.Sprintf("propose %s of %d.%d", b.Kind, b.AppID, b.Partition)
	type step struct {
		kind         wire.ConfigType
		target, node string
	}
	swap := []step{
		{wire.ConfigDowngradeToSecondary, b.From, b.From},
		{wire.ConfigUpgradeToPrimary, b.To, b.To},
	}
	var steps []step
	var kind wire.BalanceType
	switch b.Kind {
	case MovePrimary:
		kind, steps = wire.BalanceMovePrimary, swap
	case CopyPrimary:
		kind, steps = wire.BalanceCopyPrimary, append([]step{{wire.ConfigAddSecondaryForLB, b.From, b.To}}, swap...)
	case ReplacePrimary:
		kind, steps = wire.BalanceCopyPrimary, append([]step{{wire.ConfigAddSecondaryForLB, b.From, b.To}}, swap...)
		steps = append(steps, step{wire.ConfigDowngradeToInactive, b.To, b.From})
	case CopySecondary:
		kind, steps = wire.BalanceCopySecondary, []step{
			{wire.ConfigAddSecondaryForLB, "", b.To},
			{wire.ConfigDowngradeToInactive, "", b.From},
		}
	default:
		return spec.Errorf(spec.Usage, "%q is no kind of balancing", b.Kind).
			WithHint("%s, %s or %s", MovePrimary, CopyPrimary, CopySecondary)
	}
	q := wire.BalancerRequest{
		PID: wire.GPID{App: b.AppID, Partition: int32(b.Partition)}, Force: new(bool), BalanceType: &kind,
	}
	for _, s := range steps {
		action, err := d.action(s.kind, s.target, s.node)
		if err != nil {
			return err
		}
		q.Actions = append(q.Actions, action)
	}
	return d.propose(ctx, op, &q)
}

func (d *Driver) propose(ctx context.Context, op string, q *wire.BalancerRequest) error {
	a, endpoint, err := proposeBalancer.call(ctx, d, op, q)
	switch {
	case err != nil:
		return err
	case a.Err == wire.CodeInvalidParameters:
		why := "no such partition, no primary to carry it out, or earlier proposals still wait"
		return codeError(op, endpoint, a.Err, why, true).WithHint("showtable shows the partition; they do not wait long unless the meta level is freezed")
	case a.Err != wire.OK:
		return codeError(op, endpoint, a.Err, "", true)
	}
	return nil
}

func (d *Driver) action(kind wire.ConfigType, target, node string) (wire.ProposalAction, error) {
	a := wire.ProposalAction{Type: kind}
	var err error
	if target != "" {
		if a.Target, a.HPTarget, err = d.wireNode(target); err != nil {
			return a, err
		}
	}
	a.Node, a.HPNode, err = d.wireNode(node)
	return a, err
}

// wireNode is a node as calls name it: its address and, where the cluster names nodes by host, that name.
func (d *Driver) wireNode(endpoint string) (wire.Address, *wire.HostPort, error) {
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return 0, nil, err
	}
	if address, err := wire.ParseAddress(endpoint); err == nil {
		return address, nil, nil
	}
	address, err := wire.ParseAddress(d.hosts.address(endpoint))
	if err != nil {
		return 0, nil, spec.Errorf(spec.NotFound, "%s is no node of this cluster", endpoint).WithHint("nodes lists them")
	}
	host, port, _ := net.SplitHostPort(endpoint)
	n, _ := strconv.ParseUint(port, 10, 16)
	return address, &wire.HostPort{Host: host, Port: uint16(n), Type: 1}, nil
}
