package sandbox

import (
	"slices"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// propose proposes actions for a partition and answers the meta server's error.
func (u *user) propose(pid wire.GPID, force bool, actions ...wire.ProposalAction) string {
	u.t.Helper()
	return ask(u, &wire.ProposeBalancer, wire.BalancerRequest{PID: pid, Actions: actions, Force: &force}).Err
}

func movePrimary(from, to wire.Address) []wire.ProposalAction {
	return []wire.ProposalAction{
		{Target: from, Node: from, Type: wire.ConfigDowngradeToSecondary},
		{Target: to, Node: to, Type: wire.ConfigUpgradeToPrimary},
	}
}

// Primaries move to and fro under writes, and no acknowledged row is lost.
func TestPrimaryMoves(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	w := startWriter(t, c, "hash")
	index := wire.PartitionOf(wire.Hash([]byte("hash"), nil), 4)
	for range 6 {
		p := u.healthy("demo").Configs[index]
		if got := u.propose(p.PID, false, movePrimary(p.Primary, p.Secondaries[0])...); got != wire.OK {
			t.Fatal(got)
		}
		before := w.acked.Load()
		u.eventually("the primary moves and takes writes", func() bool {
			now := u.config("demo").Configs[index]
			return now.Primary == p.Secondaries[0] && now.Ballot >= p.Ballot+2 && len(now.Secondaries) == 2 && w.acked.Load() > before+5
		})
	}
	w.check(t, u)
	u.same("demo")
}

// A secondary that is downgraded leaves the group, and learns what it missed since it is alive.
func TestDowngradeToInactive(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	p := u.healthy("demo").Configs[1]
	dropped := p.Secondaries[1]
	if got := u.propose(p.PID, false, wire.ProposalAction{Node: dropped, Type: wire.ConfigDowngradeToInactive}); got != wire.OK {
		t.Fatal(got)
	}
	u.eventually("it left and came back", func() bool {
		now := u.config("demo").Configs[1]
		return now.Ballot >= p.Ballot+2 && slices.Contains(now.Secondaries, dropped) && now.Primary == p.Primary
	})
	u.same("demo")
}

// Copies go to a node without the partition; the one too many is dropped.
func TestCopies(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	id := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "two", Options: wire.CreateAppOptions{
		Partitions: 1, Replicas: 2, AppType: appType, Stateful: true,
	}}).AppID
	pid := wire.GPID{App: id}
	p := u.healthy("two").Configs[0]
	for i := range 50 {
		if err := u.put("two", "h", string(rune('a'+i)), "v", 0); err != nil {
			t.Fatal(err)
		}
	}
	free := func(p wire.Partition) wire.Address {
		for _, n := range ask(u, &wire.ListNodes, wire.ListNodesRequest{}).Nodes {
			if n.Node != p.Primary && !slices.Contains(p.Secondaries, n.Node) {
				return n.Node
			}
		}
		return 0
	}
	to, from := free(p), p.Secondaries[0]
	if got := u.propose(pid, false, wire.ProposalAction{Node: to, Type: wire.ConfigAddSecondaryForLB}, wire.ProposalAction{Node: from, Type: wire.ConfigDowngradeToInactive}); got != wire.OK {
		t.Fatal(got)
	}
	u.eventually("the secondary moved", func() bool {
		p = u.config("two").Configs[0]
		return slices.Equal(p.Secondaries, []wire.Address{to})
	})
	from, to = p.Primary, free(p)
	add := wire.ProposalAction{Target: from, Node: to, Type: wire.ConfigAddSecondaryForLB}
	u.eventually("it is taken once the first one is forgotten", func() bool {
		return u.propose(pid, false, append([]wire.ProposalAction{add}, movePrimary(from, to)...)...) == wire.OK
	})
	u.eventually("the primary moved and one of three copies is gone", func() bool {
		p = u.config("two").Configs[0]
		return p.Primary == to && len(p.Secondaries) == 1
	})
	if a, err := at(u, "two", []byte("h"), &wire.SortKeyCount, []byte("h")); err != nil || a.Count != 50 {
		t.Errorf("%d rows, %v", a.Count, err)
	}
}

// What does not fit is noted and comes to nothing; while it waits nothing else is taken; freezed nothing happens.
func TestProposalsRefused(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	p := u.healthy("demo").Configs[0]
	refused := map[string]wire.GPID{
		"no such table": {App: 99}, "no such partition": {App: p.PID.App, Partition: 4}, "-1": {App: p.PID.App, Partition: -1},
	}
	for name, pid := range refused {
		if got := u.propose(pid, false, movePrimary(p.Primary, p.Secondaries[0])...); got != wire.CodeInvalidParameters {
			t.Errorf("%s: %s", name, got)
		}
	}
	misfits := map[string]wire.ProposalAction{
		"upgrade the primary":         {Target: p.Primary, Node: p.Primary, Type: wire.ConfigUpgradeToPrimary},
		"assign while there is one":   {Target: p.Secondaries[0], Node: p.Secondaries[0], Type: wire.ConfigAssignPrimary},
		"downgrade a secondary":       {Target: p.Secondaries[0], Node: p.Secondaries[0], Type: wire.ConfigDowngradeToSecondary},
		"add who is there":            {Node: p.Primary, Type: wire.ConfigAddSecondary},
		"of a node that is not known": {Node: wire.Address(0x7f00000100010001), Type: wire.ConfigDowngradeToInactive},
		"no proposal at all":          {Node: p.Secondaries[0], Type: wire.ConfigRegisterChild},
		"at the wrong target":         {Target: p.Secondaries[1], Node: p.Secondaries[0], Type: wire.ConfigRemove},
	}
	for name, action := range misfits {
		u.eventually(name+": taken once nothing waits", func() bool { return u.propose(p.PID, false, action) == wire.OK })
	}
	u.level(wire.LevelFreezed)
	move := movePrimary(p.Primary, p.Secondaries[0])
	u.eventually("a proposal waits", func() bool { return u.propose(p.PID, false, move...) == wire.OK })
	if got := u.propose(p.PID, false, move...); got != wire.CodeInvalidParameters {
		t.Errorf("a second one: %s", got)
	}
	if got := u.propose(p.PID, true, move...); got != wire.OK {
		t.Errorf("by force: %s", got)
	}
	if now := u.config("demo").Configs[0]; now.Primary != p.Primary || now.Ballot != p.Ballot {
		t.Errorf("something happened: %+v, was %+v", now, p)
	}
	u.level(wire.LevelSteady) // forgets what waits
	if got := u.propose(p.PID, true, move...); got != wire.OK {
		t.Errorf("by force: %s", got)
	}
	u.eventually("the forced one is carried out", func() bool {
		now := u.config("demo").Configs[0]
		return now.Primary == p.Secondaries[0] && now.Ballot == p.Ballot+2
	})
}
