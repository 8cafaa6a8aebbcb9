package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// DiskMigrate moves a replica to another disk of its server.
func DiskMigrate(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "disk_migrate",
		Aliases: []string{"disk-migrate"},
		Systems: systems,
		Topic:   "partitions",
		Summary: "move a secondary replica from one disk of its server to another",
		Long: "The server copies the replica to the other disk and opens it there, and the word waits until it is a secondary again: it " +
			"leaves its partition for a moment and learns what it missed. Only a secondary can be moved; changeleader makes one of a " +
			"primary. When the partition would have too few replicas for writes meanwhile, this asks first.",
		Flags: []spec.Flag{
			{Name: "gpid", Short: "g", Required: true, Help: "the partition: table id and partition, as in 2.5"},
			{Name: "node", Short: "n", Kind: spec.ArgEndpoint, Required: true, Help: "the replica server, by its endpoint or the end of it"},
			{Name: "from", Short: "f", Kind: spec.ArgDisk, Required: true, Help: "the tag of the disk it is on"},
			{Name: "to", Short: "t", Kind: spec.ArgDisk, Required: true, Help: "the tag of the disk it shall be on"},
		},
		Examples: []spec.Example{
			{Line: "disk_migrate -g 2.0 -n .32 -f ssd1 -t ssd2", Says: "wait until it is there; a node can be named by the end of its address"},
			{Line: "disk_migrate -g 2.0 -n .32 -f ssd1 -t ssd2 --plan", Says: "what would be done"},
		},
		SeeAlso: []string{"query_disk", "changeleader", "migrate"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return diskMigrate(ctx, env, call)
		},
	}
}

// diskMove is a replica that goes to another disk.
type diskMove struct {
	*place
	server   string
	from, to string
}

func diskMigrate(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	m := &diskMove{from: call.String("from"), to: call.String("to")}
	if m.from == m.to {
		return nil, spec.Errorf(spec.Usage, "from and to are the same disk, %s", shown(m.from))
	}
	var err error
	if m.place, err = placeOfGPID(ctx, env, call, call.String("gpid")); err != nil {
		return nil, err
	}
	if m.server, err = m.nodes.findAlive(call.String("node")); err != nil {
		return nil, err
	}
	switch {
	case m.was.Primary == m.server:
		return nil, spec.Errorf(spec.Refused, "%s leads %s, and only a secondary can be moved", m.server, m.String()).
			WithHint("changeleader %s %d makes another one lead", m.table, m.index)
	case !slices.Contains(m.was.Secondaries, m.server):
		return nil, spec.Errorf(spec.NotFound, "%s has no replica on %s", m.String(), m.server).WithHint("%s", stand(m.was))
	}
	disks, err := m.c.Disks(ctx, m.server, "")
	if err != nil {
		return nil, err
	}
	return m.plan(ctx, call, disks)
}

// plan checks the disks, and moves the replica unless it is there.
func (m *diskMove) plan(ctx context.Context, call *spec.Call, disks []driver.Disk) (*spec.Plan, error) {
	target, err := m.checkTags(disks)
	if err != nil {
		return nil, err
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("move the replica of %s on %s from %s to %s", m.String(), m.server, m.from, m.to),
		Notes: []string{stand(m.was)},
	}
	switch on := m.diskIn(disks); {
	case on == m.to:
		return plan, nil
	case on != m.from:
		return nil, spec.Errorf(spec.NotFound, "the replica of %s on %s is not on %s", m.String(), m.server, m.from).
			WithHint("it is on %s", cmp.Or(on, "no disk that the server tells of"))
	}
	m.checkSpace(ctx, plan, target)
	class, needed := spec.Alter, quorum(m.was.MaxReplicas)
	if left := len(m.live()) - 1; left < needed {
		class = spec.Risky
		plan.Notes = append(plan.Notes, fmt.Sprintf("while the replica is opened anew %s of it live, and writes need %d", commands.Plural(left, "replica"), needed))
	}
	plan.Steps = []spec.Step{{
		Text: fmt.Sprintf("move the replica of %s on %s from %s to %s", m.String(), m.server, m.from, m.to), Objects: []string{m.String()},
		Class: class, Check: m.check,
		Apply: func(ctx context.Context, _ spec.Report) error {
			return m.c.MigrateDisk(ctx, m.server, m.appID, m.index, m.from, m.to)
		},
		Undo: fmt.Sprintf("disk_migrate -g %s -n %s -f %s -t %s", m.gpid(), m.server, shown(m.to), shown(m.from)),
	}}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until it is a secondary there", objects: []string{m.String()}, limit: call.Wait, look: m.look,
			hint: fmt.Sprintf("query_disk -n %s -d shows where it is; a server that gave up says why in its log only", m.server),
		}.step())
	}
	return plan, nil
}

// checkTags finds the target among a server's disks.
func (m *diskMove) checkTags(disks []driver.Disk) (target driver.Disk, err error) {
	var tags []string
	for _, d := range disks {
		tags = append(tags, d.Tag)
		if d.Tag == m.to {
			target = d
		}
	}
	for _, tag := range []string{m.from, m.to} {
		if !slices.Contains(tags, tag) {
			return target, spec.Errorf(spec.NotFound, "%s has no disk %s", m.server, shown(tag)).WithHint("its disks are %v", tags)
		}
	}
	return target, nil
}

// checkSpace blocks a move to a disk that would be too full with the replica. How large that is only servers with perf
// counters tell.
func (m *diskMove) checkSpace(ctx context.Context, plan *spec.Plan, target driver.Disk) {
	size := m.size(ctx)
	after := target
	after.Available = max(0, target.Available-size)
	if free := after.AvailableRatio(); free < driver.LeastAvailable {
		plan.Blockers = append(plan.Blockers, spec.Blocker{
			Object: m.server, Why: fmt.Sprintf("%d%% of disk %s would be free; below %d%% it takes no writes", free, m.to, driver.LeastAvailable),
		})
	}
}

// size is what the replica's files take in bytes, 0 when nobody tells.
func (m *diskMove) size(ctx context.Context) int64 {
	c, ok := m.c.(counting)
	if !ok {
		return 0
	}
	sample, err := c.Sample(ctx, m.server, driver.Wanted{Replica: []string{diskCounter}, App: m.appID})
	if err != nil {
		return 0
	}
	return int64(sample.Replicas[driver.ReplicaID{App: m.appID, Partition: m.index}][diskCounter] * (1 << 20))
}

// live lists the members of the partition that are alive.
func (m *diskMove) live() []string {
	return slices.DeleteFunc(slices.Clone(members(m.was)), func(e string) bool { return !m.nodes[e] })
}

// diskIn names the disk that the replica is on as a secondary, "" for none.
func (m *diskMove) diskIn(disks []driver.Disk) string {
	for _, d := range disks {
		for _, r := range d.Replicas {
			if r.AppID == m.appID && r.Partition == m.index && !r.Primary {
				return d.Tag
			}
		}
	}
	return ""
}

func (m *diskMove) check(ctx context.Context) (spec.State, error) {
	disks, err := m.c.Disks(ctx, m.server, "")
	if err != nil {
		return spec.State{}, err
	}
	if m.diskIn(disks) == m.to {
		return spec.State{Kind: spec.Done, Why: "it is on " + m.to}, nil
	}
	now, err := m.now(ctx)
	if err != nil {
		return spec.State{}, err
	}
	if !slices.Contains(now.Secondaries, m.server) {
		return spec.State{Kind: spec.Blocked, Why: "the partition has changed: " + stand(now)}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func (m *diskMove) look(ctx context.Context) (bool, string, error) {
	disks, err := m.c.Disks(ctx, m.server, "")
	if err != nil {
		return false, "", err
	}
	now, err := m.now(ctx)
	if err != nil {
		return false, "", err
	}
	on := m.diskIn(disks)
	if on == "" {
		return false, "it is being opened on " + m.to, nil
	}
	return on == m.to && slices.Contains(now.Secondaries, m.server), "it is on " + on, nil
}

// quorum is how many replicas must live for writes: one of up to two, else a majority.
func quorum(wanted int) int {
	if wanted <= 2 {
		return 1
	}
	return wanted/2 + 1
}
