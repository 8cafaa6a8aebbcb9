package nameserver

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// How many queues the operations of a failover or a recovery use (name_server_task_concurrency), and how many a caller
// may ask for (name_server_task_max_concurrency).
const (
	defaultConcurrency = 2
	maxConcurrency     = queues
)

// How far a follower may be behind when it is taken for alive (check_binlog_sync_progress_delta).
const offsetDelta = 100000

func (l *lead) offlineEndpoint(_ context.Context, q *ns.OfflineEndpointRequest, _ *ns.GeneralResponse) error {
	concurrency, err := concurrencyOf(q.Concurrency)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tablets[q.GetEndpoint()] == nil {
		return refuse(codeNoEndpoint, "endpoint does not exist")
	}
	l.offlineAll(q.GetEndpoint(), concurrency)
	return nil
}

func concurrencyOf(asked *uint32) (uint32, error) {
	switch {
	case asked == nil:
		return defaultConcurrency, nil
	case *asked > maxConcurrency:
		return 0, refuse(codeInvalid, "concurrency is greater than the max value %d", maxConcurrency)
	}
	return *asked, nil
}

// failOver does what is due for a tablet that is lost: nothing of it is alive any more, except where it is the last
// that was. l.mu is held.
func (l *lead) failOver(endpoint string) {
	for _, t := range l.sorted() {
		var dead []uint32
		for _, p := range t.GetTablePartition() {
			m := member(p, endpoint)
			if m != nil && m.GetIsAlive() && aliveIn(p) > 1 {
				dead = append(dead, p.GetPid())
			}
		}
		if len(dead) > 0 {
			l.markDead(t, dead, endpoint)
		}
	}
	l.offlineAll(endpoint, defaultConcurrency)
}

// markDead writes that a tablet's replicas of some partitions are not alive. The releases of 2018 did it by operations.
func (l *lead) markDead(t *ns.TableInfo, pids []uint32, endpoint string) {
	if l.s.config.Release2018 {
		for _, pid := range pids {
			l.create(&plan{
				kind: api.OPType_kUpdateTableAliveOP, table: nameOf(t), pid: pid, concurrency: defaultConcurrency,
				data: &ns.EndpointStatusData{Endpoint: &endpoint, IsAlive: proto.Bool(false)},
			})
		}
	}
	err := l.change(nameOf(t), func(t *ns.TableInfo) error {
		for _, pid := range pids {
			member(partition(t, pid), endpoint).IsAlive = proto.Bool(false)
		}
		return nil
	})
	if err != nil {
		l.log("mark %s of %s as not alive: %v", endpoint, t.GetName(), err)
	}
}

func aliveIn(p *ns.TablePartition) int {
	n := 0
	for _, m := range p.GetPartitionMeta() {
		if m.GetIsAlive() {
			n++
		}
	}
	return n
}

// offlineAll creates what takes a tablet out of every partition it is in. What cannot be planned is left out, and
// nobody is told. l.mu is held.
func (l *lead) offlineAll(endpoint string, concurrency uint32) {
	for _, t := range l.sorted() {
		for _, p := range t.GetTablePartition() {
			m := member(p, endpoint)
			if m == nil {
				continue
			}
			next := plan{table: nameOf(t), pid: p.GetPid(), concurrency: concurrency}
			leader := leaderOf(p)
			switch {
			case len(p.GetPartitionMeta()) == 1:
				next.kind = api.OPType_kUpdatePartitionStatusOP
				next.data = &ns.EndpointStatusData{Endpoint: &endpoint, IsLeader: proto.Bool(true), IsAlive: proto.Bool(false)}
			case leader == "" || leader == endpoint:
				next.kind = api.OPType_kChangeLeaderOP
				next.data = &ns.ChangeLeaderData{}
			case m.GetIsLeader(): // an old leader's row: another one leads
				continue
			default:
				next.kind = api.OPType_kOfflineReplicaOP
				next.text = endpoint
			}
			l.create(&next)
		}
	}
}

func (l *lead) recoverEndpoint(_ context.Context, q *ns.RecoverEndpointRequest, _ *ns.GeneralResponse) error {
	concurrency, err := concurrencyOf(q.Concurrency)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch t := l.tablets[q.GetEndpoint()]; {
	case t == nil:
		return refuse(codeNoEndpoint, "endpoint does not exist")
	case !t.healthy:
		return refuse(codeUnhealthy, "tablet is not healthy")
	}
	l.recoverAll(q.GetEndpoint(), q.GetNeedRestore(), concurrency)
	return nil
}

// offlineLeader stands in an operation for whichever leader is offline when its turn comes.
const offlineLeader = "OFFLINE_LEADER_ENDPOINT"

// recoverAll creates what brings back every replica of a tablet that is not alive; with restore also the lead that it
// had. l.mu is held.
func (l *lead) recoverAll(endpoint string, restore bool, concurrency uint32) {
	delta := uint64(offsetDelta)
	if restore {
		delta = 0
	}
	for _, t := range l.sorted() {
		for _, p := range t.GetTablePartition() {
			m := member(p, endpoint)
			if m == nil || m.GetIsAlive() && len(p.GetPartitionMeta()) > 1 {
				continue
			}
			again := func(endpoint string, isLeader bool) {
				l.create(&plan{
					kind: api.OPType_kRecoverTableOP, table: nameOf(t), pid: p.GetPid(), concurrency: concurrency,
					data: &ns.RecoverTableData{Endpoint: &endpoint, OffsetDelta: &delta, IsLeader: &isLeader, Concurrency: &concurrency},
				})
			}
			again(endpoint, m.GetIsLeader())
			if restore && m.GetIsLeader() && len(p.GetPartitionMeta()) > 1 {
				l.create(&plan{
					kind: api.OPType_kChangeLeaderOP, table: nameOf(t), pid: p.GetPid(), concurrency: concurrency,
					data: &ns.ChangeLeaderData{CandidateLeader: &endpoint}, restore: true,
				})
				again(offlineLeader, true)
			}
		}
	}
}

func (l *lead) recoverTable(_ context.Context, q *ns.RecoverTableRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	switch tablet := l.tablets[q.GetEndpoint()]; {
	case tablet == nil:
		return refuse(codeNoEndpoint, "endpoint does not exist")
	case !tablet.healthy:
		return refuse(codeUnhealthy, "tablet is not healthy")
	case t == nil:
		return refuse(codeNoTable, "table does not exist")
	}
	m := member(partition(t, q.GetPid()), q.GetEndpoint())
	switch {
	case m == nil:
		return refuse(codeNoPid, "pid does not exist")
	case m.GetIsAlive():
		return refuse(codePartitionAlive, "table is alive, need not recover")
	}
	concurrency := uint32(defaultConcurrency)
	l.create(&plan{
		kind: api.OPType_kRecoverTableOP, table: name, pid: q.GetPid(), concurrency: concurrency,
		data: &ns.RecoverTableData{
			Endpoint: q.Endpoint, OffsetDelta: proto.Uint64(offsetDelta), IsLeader: proto.Bool(m.GetIsLeader()), Concurrency: &concurrency,
		},
	})
	return nil
}

func (l *lead) changeLeader(_ context.Context, q *ns.ChangeLeaderRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := tableName{q.GetDb(), q.GetName()}
	t := l.tables[name]
	if t == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	p := partition(t, q.GetPid())
	if p == nil {
		return refuse(codeNoPid, "pid does not exist")
	}
	if len(p.GetPartitionMeta()) == 1 {
		return refuse(codeNoFollower, "no follower")
	}
	if leaderOf(p) != "" && q.GetCandidateLeader() == "" {
		return refuse(codeLeaderAlive, "leader is alive")
	}
	if !slices.ContainsFunc(p.GetPartitionMeta(), func(m *ns.PartitionMeta) bool { return !m.GetIsLeader() && m.GetIsAlive() }) {
		return refuse(codeNoAliveFollower, "no alive follower")
	}
	data := &ns.ChangeLeaderData{}
	if q.GetCandidateLeader() != "auto" && q.GetCandidateLeader() != "" {
		data.CandidateLeader = q.CandidateLeader
	}
	if err := l.create(&plan{kind: api.OPType_kChangeLeaderOP, table: name, pid: q.GetPid(), data: data, concurrency: defaultConcurrency}); err != nil {
		return refuse(codeCreateOp, "create op failed")
	}
	return nil
}
