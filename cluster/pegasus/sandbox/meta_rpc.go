package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"shardsh/cluster/pegasus/wire"
)

// methods are what the meta server answers. Its own errors stand in the answers, never in the header.
func (m *metaServer) methods() map[string]method {
	return map[string]method{
		wire.QueryConfig.Name:     on(&wire.QueryConfig, m.queryConfig),
		wire.CreateApp.Name:       on(&wire.CreateApp, m.onCreateApp),
		wire.DropApp.Name:         on(&wire.DropApp, m.onDropApp),
		wire.ListApps.Name:        on(&wire.ListApps, m.listApps),
		wire.UpdateAppEnv.Name:    on(&wire.UpdateAppEnv, m.updateAppEnv),
		wire.ListNodes.Name:       on(&wire.ListNodes, m.listNodes),
		wire.ClusterInfo.Name:     on(&wire.ClusterInfo, m.clusterInfo),
		wire.ControlMeta.Name:     on(&wire.ControlMeta, m.controlMeta),
		wire.ProposeBalancer.Name: on(&wire.ProposeBalancer, m.proposeBalancer),
		wire.RecallApp.Name:       on(&wire.RecallApp, m.onRecallApp),
		wire.RenameApp.Name:       on(&wire.RenameApp, m.onRenameApp),
		wire.GetReplicaCount.Name: on(&wire.GetReplicaCount, m.onGetReplicaCount),
		wire.SetReplicaCount.Name: on(&wire.SetReplicaCount, m.onSetReplicaCount),
		wire.DDDDiagnose.Name:     on(&wire.DDDDiagnose, m.dddDiagnose),
		wire.StartSplit.Name:      on(&wire.StartSplit, m.startSplit),
		wire.QuerySplit.Name:      on(&wire.QuerySplit, m.querySplit),
		wire.ControlSplit.Name:    on(&wire.ControlSplit, m.controlSplit),
		wire.StartCompact.Name:    on(&wire.StartCompact, m.startCompact),
		wire.QueryCompact.Name:    on(&wire.QueryCompact, m.queryCompact),
		wire.AddDup.Name:          on(&wire.AddDup, m.onAddDup),
		wire.ModifyDup.Name:       on(&wire.ModifyDup, m.onModifyDup),
		wire.QueryDup.Name:        on(&wire.QueryDup, m.queryDup),
		wire.ListDups.Name:        on(&wire.ListDups, m.listDups),
		wire.StartRecovery.Name:   on(&wire.StartRecovery, m.startRecovery),
		wire.QueryBackup.Name:     on(&wire.QueryBackup, m.queryBackup),
		wire.StartRestore.Name:    on(&wire.StartRestore, m.startRestore),
		wire.QueryRestore.Name:    on(&wire.QueryRestore, m.queryRestore),
		wire.StartBulkLoad.Name:   on(&wire.StartBulkLoad, m.startBulkLoad),
		wire.ControlBulkLoad.Name: on(&wire.ControlBulkLoad, m.controlBulkLoad),
		wire.QueryBulkLoad.Name:   on(&wire.QueryBulkLoad, m.queryBulkLoad),
		wire.ClearBulkLoad.Name:   on(&wire.ClearBulkLoad, m.clearBulkLoad),
		wire.StartBackup.Name:     on(&wire.StartBackup, m.startBackup),
		wire.AddPolicy.Name:       on(&wire.AddPolicy, m.addPolicy),
		wire.QueryPolicy.Name:     on(&wire.QueryPolicy, m.queryPolicy),
		wire.ModifyPolicy.Name:    on(&wire.ModifyPolicy, m.modifyPolicy),
		wire.CallCommand.Name:     on(&wire.CallCommand, m.callCommand),
		wire.Negotiate.Name:       on(&wire.Negotiate, negotiate),
	}
}

func (m *metaServer) queryConfig(_ *inbound, q *wire.QueryConfigRequest, out *wire.QueryConfigResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.named(q.AppName)
	if a == nil {
		out.Err = wire.CodeObjectNotFound
		return ""
	}
	if a.Status == wire.AppCreating {
		out.Err = wire.CodeBusyCreating
		return ""
	}
	out.Err, out.AppID, out.Partitions, out.Stateful = wire.OK, a.ID, a.Partitions, a.Stateful
	for _, i := range q.Indices {
		if i >= 0 && i < a.Partitions && len(out.Configs) < int(a.Partitions) {
			out.Configs = append(out.Configs, m.partition(wire.GPID{App: a.ID, Partition: i}))
		}
	}
	if len(out.Configs) == 0 {
		for i := range a.Partitions {
			out.Configs = append(out.Configs, m.partition(wire.GPID{App: a.ID, Partition: i}))
		}
	}
	return ""
}

// partition is a group as clients see it; m.mu is held.
func (m *metaServer) partition(pid wire.GPID) wire.Partition {
	g, born := m.groups[pid]
	if !born {
		return unbornPartition(pid)
	}
	p := wire.Partition{
		PID: pid, Ballot: g.Ballot, MaxReplicas: int32(g.Max), LastCommitted: g.Committed,
		Secondaries: m.addresses(g.Secondaries), LastDrops: m.addresses(g.LastDrops),
	}
	if g.Primary != noNode {
		p.Primary, p.HPPrimary = m.wireAddress(g.Primary), m.hostPort(g.Primary)
	}
	p.HPSecondaries, p.HPLastDrops = m.hostPorts(g.Secondaries), m.hostPorts(g.LastDrops)
	return p
}

func (m *metaServer) wireAddress(id nodeID) wire.Address { return addressOf(m.net.address(id)) }

// addressOf is the address of an endpoint, the zero one when it is none.
func addressOf(endpoint string) wire.Address {
	at, err := wire.ParseAddress(endpoint)
	if err != nil {
		return 0
	}
	return at
}

func (m *metaServer) addresses(ids []nodeID) []wire.Address {
	all := make([]wire.Address, 0, len(ids))
	for _, id := range ids {
		all = append(all, m.wireAddress(id))
	}
	return all
}

func (m *metaServer) onCreateApp(_ *inbound, q *wire.CreateAppRequest, out *wire.CreateAppResponse) string {
	out.AppID, out.Err = m.createApp(q.AppName, q.Options)
	return ""
}

func (m *metaServer) onDropApp(_ *inbound, q *wire.DropAppRequest, out *wire.ErrResponse) string {
	m.mu.Lock()
	a := m.named(q.AppName)
	m.mu.Unlock()
	if a != nil && a.Status == wire.AppCreating {
		out.Err = wire.CodeBusyCreating
		return ""
	}
	out.Err = m.dropApp(q.AppName, q.Options)
	return ""
}

func (m *metaServer) listApps(_ *inbound, q *wire.ListAppsRequest, out *wire.ListAppsResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err, out.Apps = wire.OK, []wire.AppInfo{}
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		a := m.apps[id]
		wanted, hint := m.net.release().listed(q, a.Name)
		switch {
		case hint != "":
			out.Err, out.Hint = "ERR_NOT_IMPLEMENTED", &hint
			return ""
		case wanted && (q.Status == wire.AppInvalid || q.Status == a.Status):
			out.Apps = append(out.Apps, m.net.release().info(a))
		}
	}
	return ""
}

func (a *app) info() wire.AppInfo {
	return wire.AppInfo{
		Status: a.Status, Type: a.Type, Name: a.Name, ID: a.ID, Partitions: a.Partitions, Envs: a.Envs,
		Stateful: a.Stateful, MaxReplicas: int32(a.Replicas), ExpireSecond: a.ExpiresAt, CreateSecond: a.Created,
		DropSecond: a.Dropped, InitPartitions: a.Init, Duplicating: new(len(a.Dups) > 0), BulkLoading: new(a.BulkLoading),
	}
}

func (m *metaServer) updateAppEnv(_ *inbound, q *wire.UpdateAppEnvRequest, out *wire.HintResponse) string {
	out.Err = wire.CodeInvalidParameters
	switch {
	case q.Op == wire.EnvSet && len(q.Keys) > 0 && len(q.Keys) == len(q.Values):
		for i, key := range q.Keys {
			if err := m.net.release().checkEnv(key, q.Values[i]); err != nil {
				out.Hint = err.Error()
				return ""
			}
		}
		out.Err, out.Hint = m.updateEnvs(q.AppName, func(envs map[string]string) string {
			for i, key := range q.Keys {
				envs[key] = q.Values[i]
			}
			return ""
		})
	case q.Op == wire.EnvDelete && len(q.Keys) > 0:
		out.Err, out.Hint = m.updateEnvs(q.AppName, func(envs map[string]string) string {
			return deleteEnvs(envs, func(key string) bool { return slices.Contains(q.Keys, key) })
		})
	case q.Op == wire.EnvClear && q.ClearPrefix != nil:
		out.Err, out.Hint = m.updateEnvs(q.AppName, func(envs map[string]string) string {
			return deleteEnvs(envs, func(key string) bool {
				return *q.ClearPrefix == "" || strings.HasPrefix(key, *q.ClearPrefix+".")
			})
		})
	default:
		out.Hint = "the request names no operation on envs, or not what it needs"
	}
	return ""
}

// deleteEnvs deletes the envs chosen and names them in the hint, one line each, as Pegasus does.
func deleteEnvs(envs map[string]string, chosen func(key string) bool) (hint string) {
	hint = "deleted keys:"
	count := 0
	for _, key := range slices.Sorted(maps.Keys(envs)) {
		if chosen(key) {
			delete(envs, key)
			hint += "\n    " + key
			count++
		}
	}
	if count == 0 {
		return "there was no such key"
	}
	return hint
}

func (m *metaServer) listNodes(_ *inbound, q *wire.ListNodesRequest, out *wire.ListNodesResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err, out.Nodes = wire.OK, []wire.NodeInfo{}
	for _, id := range m.nodes {
		status := wire.NodeUnalive
		if m.alive[id] {
			status = wire.NodeAlive
		}
		if q.Status == wire.NodeInvalid || q.Status == status {
			out.Nodes = append(out.Nodes, wire.NodeInfo{Status: status, Node: m.wireAddress(id), HPNode: m.hostPort(id)})
		}
	}
	slices.SortStableFunc(out.Nodes, func(a, b wire.NodeInfo) int { return cmp.Compare(a.Status, b.Status) })
	return ""
}

func (m *metaServer) clusterInfo(_ *inbound, _ *struct{}, out *wire.ClusterInfoResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	primaries, all := m.spread()
	pairs := [][2]string{
		{"meta_servers", strings.Join(m.metas, ",")},
		{"primary_meta_server", m.address},
		{"zookeeper_hosts", ""},
		{"zookeeper_root", "/pegasus/" + m.name},
		{"meta_function_level", m.level.String()},
		{"balance_operation_count", "move_pri=0,copy_pri=0,copy_sec=0,total=0"},
		{"primary_replica_count_stddev", fmt.Sprintf("%.2f", primaries)},
		{"total_replica_count_stddev", fmt.Sprintf("%.2f", all)},
		{"cluster_name", m.name},
	}
	out.Err = wire.OK
	for _, p := range pairs {
		out.Keys, out.Values = append(out.Keys, p[0]), append(out.Values, p[1])
	}
	return ""
}

// spread is the standard deviation of the numbers of primaries and of replicas on the live nodes; m.mu is held.
func (m *metaServer) spread() (primaries, all float64) {
	primary, total := map[nodeID]float64{}, map[nodeID]float64{}
	for pid, g := range m.groups {
		if m.apps[pid.App].Status != wire.AppAvailable {
			continue
		}
		primary[g.Primary]++
		for _, id := range g.members() {
			total[id]++
		}
	}
	deviation := func(counts map[nodeID]float64) float64 {
		n, sum, squares := 0.0, 0.0, 0.0
		for _, id := range m.nodes {
			if m.alive[id] {
				n, sum, squares = n+1, sum+counts[id], squares+counts[id]*counts[id]
			}
		}
		if n == 0 {
			return 0
		}
		return math.Sqrt(max(0, squares/n-(sum/n)*(sum/n)))
	}
	return deviation(primary), deviation(total)
}

func (m *metaServer) controlMeta(_ *inbound, q *wire.ControlMetaRequest, out *wire.ControlMetaResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Err, out.OldLevel = wire.OK, m.level
	switch q.Level {
	case wire.LevelInvalid:
	case wire.LevelStopped, wire.LevelBlind, wire.LevelFreezed, wire.LevelSteady, wire.LevelLively:
		m.level = q.Level
		if q.Level <= wire.LevelSteady {
			clear(m.proposals)
		}
		m.kick()
	default:
		out.Err = wire.CodeInvalidParameters
	}
	return ""
}
