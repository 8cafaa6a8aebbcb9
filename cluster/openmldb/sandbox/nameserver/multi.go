package nameserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
)

// A pair of clusters: one leads, and its nameserver tells the other's what to do. A sandbox keeps the books of it and
// has the two find each other; no rows travel between them.

// replicaCluster is a cluster that follows this one.
type replicaCluster struct {
	address *ns.ClusterAddress
	since   time.Time
	state   ns.ClusterStatus
}

func (l *lead) readClusters() error {
	data, err := l.read(l.at.zone)
	if err != nil {
		return err
	}
	l.zone = &ns.ZoneInfo{Mode: ns.ServerMode_kNORMAL.Enum()}
	if len(data) > 0 {
		if err := proto.Unmarshal(data, l.zone); err != nil {
			return fmt.Errorf("%s: %w", l.at.zone, err)
		}
	}
	names, err := l.children(l.at.replicas)
	if err != nil {
		return err
	}
	for _, alias := range names {
		data, err := l.read(l.at.replicas + "/" + alias)
		if err != nil {
			return err
		}
		r := &replicaCluster{address: &ns.ClusterAddress{}, since: l.started}
		if err := proto.Unmarshal(data, r.address); err != nil {
			return fmt.Errorf("%s/%s: %w", l.at.replicas, alias, err)
		}
		l.replicas[alias] = r
	}
	return nil
}

// follows refuses what only the leading cluster may have a following one do.
func (l *lead) follows(zone *ns.ZoneInfo) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.zone.GetMode() == ns.ServerMode_kFOLLOWER && (zone == nil || !l.sameZone(zone)) {
		return refuse(codeFollowerCluster, "is follower cluster")
	}
	return nil
}

// ofLeader refuses what only a following cluster does, and only for its leader.
func (l *lead) ofLeader(zone *ns.ZoneInfo) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.zone.GetMode() != ns.ServerMode_kFOLLOWER || zone == nil || !l.sameZone(zone) {
		return refuse(codeServerMode, "cur nameserver is not of the zone")
	}
	return nil
}

func (l *lead) sameZone(zone *ns.ZoneInfo) bool {
	return zone.GetZoneName() == l.zone.GetZoneName() && zone.GetReplicaAlias() == l.zone.GetReplicaAlias()
}

func (l *lead) setZone(zone *ns.ZoneInfo) error {
	data, err := proto.Marshal(zone)
	if err == nil {
		err = l.write(l.at.zone, data)
	}
	if err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	l.zone = zone
	return nil
}

func (l *lead) switchMode(_ context.Context, q *ns.SwitchModeRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case q.GetSm() == ns.ServerMode_kFOLLOWER:
		return refuse(codeServerMode, "unknown server status")
	case q.GetSm() == l.zone.GetMode():
		return nil
	case len(l.replicas) > 0:
		return refuse(codeZoneNotEmpty, "zone not empty")
	}
	zone := &ns.ZoneInfo{Mode: q.GetSm().Enum(), ZoneTerm: proto.Uint64(l.zone.GetZoneTerm() + 1)}
	if q.GetSm() == ns.ServerMode_kLEADER {
		zone.ZoneName = proto.String(l.s.config.Endpoint + l.s.config.Tree.Root())
	}
	return l.setZone(zone)
}

// reach finds the leading nameserver of another cluster.
func (l *lead) reach(ctx context.Context, address *ns.ClusterAddress) (*rpc.Conn, error) {
	if l.s.config.Reach == nil {
		return nil, refuse(codeConnectZone, "connect replica cluster zk failed")
	}
	ctx, cancel := context.WithTimeout(ctx, l.times.rpc)
	defer cancel()
	session, err := l.s.config.Reach(ctx, address.GetZkEndpoints(), address.GetZkPath())
	if err != nil {
		return nil, refuse(codeConnectZone, "connect replica cluster zk failed: %s", err)
	}
	defer session.Close()
	folder := address.GetZkPath() + "/leader"
	names, err := session.Children(folder)
	if err != nil || len(names) == 0 {
		return nil, refuse(codeConnectZoneNS, "connect replica cluster nameserver failed: it has none")
	}
	endpoint, _, err := session.Get(folder + "/" + names[0])
	if err != nil {
		return nil, refuse(codeConnectZoneNS, "connect replica cluster nameserver failed: %s", err)
	}
	c, err := l.s.config.Dial(ctx, string(endpoint))
	if err != nil {
		return nil, refuse(codeConnectZoneNS, "connect replica cluster nameserver failed: %s", err)
	}
	return c, nil
}

func (l *lead) addReplicaCluster(ctx context.Context, q *ns.ClusterAddress, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	mode, known := l.zone.GetMode(), l.replicas[q.GetAlias()] != nil
	zone := proto.CloneOf(l.zone)
	mine := len(l.tables)
	l.mu.Unlock()
	switch {
	case mode != ns.ServerMode_kLEADER:
		return refuse(codeNotLeaderMode, "cur nameserver is not leader mode")
	case known:
		return refuse(codeAliasExists, "replica cluster alias duplicate")
	case q.GetAlias() == "" || !plainName(q.GetAlias()) || !strings.HasPrefix(q.GetZkPath(), "/"):
		return refuse(codeInvalid, "invalid parameter")
	}
	c, err := l.reach(ctx, q)
	if err != nil {
		return err
	}
	defer c.Close()
	zone.ReplicaAlias, zone.Mode = q.Alias, ns.ServerMode_kFOLLOWER.Enum()
	var a ns.AddReplicaClusterByNsResponse
	switch err := c.Call(ctx, ServiceName, "AddReplicaClusterByNs", &ns.ReplicaClusterByNsRequest{ZoneInfo: zone}, &a); {
	case err != nil:
		return refuse(codeConnectZoneNS, "connect replica cluster nameserver failed: %s", err)
	case a.GetCode() != 0 && a.GetCode() != codeJoined:
		return refuse(a.GetCode(), "%s", a.GetMsg())
	case len(a.GetTableInfo()) > mine:
		return refuse(codeTablesDiffer, "compare table info error")
	}
	data, err := proto.Marshal(q)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(l.at.replicas+"/"+q.GetAlias(), data); err != nil {
		l.log("%v", err)
		return refuse(codeCreateNode, "create zk failed")
	}
	l.replicas[q.GetAlias()] = &replicaCluster{address: proto.CloneOf(q), since: time.Now()}
	return nil
}

func (l *lead) showReplicaCluster(_ context.Context, _ *ns.GeneralRequest, a *ns.ShowReplicaClusterResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, alias := range slices.Sorted(maps.Keys(l.replicas)) {
		r := l.replicas[alias]
		a.Replicas = append(a.Replicas, &ns.ClusterAddAge{
			Replica: r.address, Age: proto.Uint64(uint64(time.Since(r.since).Milliseconds())), State: proto.String(r.state.String()),
		})
	}
	return nil
}

func (l *lead) removeReplicaCluster(ctx context.Context, q *ns.RemoveReplicaOfRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	r := l.replicas[q.GetAlias()]
	zone := proto.CloneOf(l.zone)
	l.mu.Unlock()
	if r == nil {
		return refuse(codeNoAlias, "replica name not found")
	}
	zone.ReplicaAlias, zone.Mode = q.Alias, ns.ServerMode_kNORMAL.Enum()
	if c, err := l.reach(ctx, r.address); err == nil { // one that is gone cannot be told
		defer c.Close()
		var a ns.GeneralResponse
		if err := c.Call(ctx, ServiceName, "RemoveReplicaClusterByNs", &ns.ReplicaClusterByNsRequest{ZoneInfo: zone}, &a); err != nil || a.GetCode() != 0 {
			l.log("tell replica cluster %s that it is one no more: %d %s %v", q.GetAlias(), a.GetCode(), a.GetMsg(), err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.remove(l.at.replicas + "/" + q.GetAlias()); err != nil {
		l.log("%v", err)
		return refuse(codeDeleteNode, "del zk failed")
	}
	delete(l.replicas, q.GetAlias())
	return nil
}

// joinZone makes this cluster the follower of the one that asks.
func (l *lead) joinZone(_ context.Context, q *ns.ReplicaClusterByNsRequest, a *ns.AddReplicaClusterByNsResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch mode := l.zone.GetMode(); {
	case mode == ns.ServerMode_kFOLLOWER && l.sameZone(q.GetZoneInfo()):
		return refuse(codeJoined, "already join zone")
	case mode == ns.ServerMode_kFOLLOWER:
		return refuse(codeOtherZone, "already join other zone")
	case mode == ns.ServerMode_kLEADER:
		return refuse(codeServerMode, "cur nameserver is leader mode")
	}
	zone := proto.CloneOf(q.GetZoneInfo())
	if zone == nil {
		return refuse(codeInvalid, "invalid parameter")
	}
	zone.Mode = ns.ServerMode_kFOLLOWER.Enum()
	if err := l.setZone(zone); err != nil {
		return err
	}
	for _, endpoint := range l.healthyOnes() {
		a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: proto.String(endpoint), State: proto.String(l.stateName(true))})
	}
	for _, t := range l.sorted() {
		if !hidden(t.GetDb()) {
			a.TableInfo = append(a.TableInfo, l.withStatus(t))
		}
	}
	return nil
}

func (l *lead) leaveZone(_ context.Context, q *ns.ReplicaClusterByNsRequest, _ *ns.GeneralResponse) error {
	if err := l.ofLeader(q.GetZoneInfo()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setZone(&ns.ZoneInfo{Mode: ns.ServerMode_kNORMAL.Enum(), ZoneTerm: proto.Uint64(l.zone.GetZoneTerm() + 1)})
}

// syncTable would have rows sent to a following cluster, which is as far as a sandbox's pair does not go.
func (l *lead) syncTable(_ context.Context, q *ns.SyncTableRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.zone.GetMode() != ns.ServerMode_kLEADER:
		return refuse(codeNotLeaderMode, "cur nameserver is not leader mode")
	case l.tables[tableName{q.GetDb(), q.GetName()}] == nil:
		return refuse(codeNoTable, "table does not exist")
	case l.replicas[q.GetClusterAlias()] == nil:
		return refuse(codeNoAlias, "replica name not found")
	}
	return refuse(codeReplicaUnhealthy, "replica cluster is not healthy: no rows travel between sandboxes")
}

func (l *lead) createTableInfo(_ context.Context, q *ns.CreateTableInfoRequest, _ *ns.CreateTableInfoResponse) error {
	if err := l.ofLeader(q.GetZoneInfo()); err != nil {
		return err
	}
	return refuse(codeNotSupported, "no tables travel between sandboxes")
}

func (l *lead) addReplicaFromRemote(_ context.Context, q *ns.AddReplicaNSRequest, _ *ns.GeneralResponse) error {
	if err := l.ofLeader(q.GetZoneInfo()); err != nil {
		return err
	}
	return refuse(codeNotSupported, "no rows travel between sandboxes")
}
