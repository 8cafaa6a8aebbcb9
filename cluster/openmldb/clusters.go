package openmldb

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// ReplicaClusters lists the clusters that follow this one.
func (d *Driver) ReplicaClusters(ctx context.Context) ([]ReplicaCluster, error) {
	a := &ns.ShowReplicaClusterResponse{}
	if _, err := d.lookUp(ctx, "list the replica clusters", "ShowReplicaCluster", &ns.GeneralRequest{}, a); err != nil {
		return nil, err
	}
	var all []ReplicaCluster
	for _, c := range a.GetReplicas() {
		r := c.GetReplica()
		all = append(all, ReplicaCluster{
			Alias: r.GetAlias(), ZK: r.GetZkEndpoints(), Root: r.GetZkPath(), State: c.GetState(), Age: millis(c.GetAge()),
		})
	}
	return all, nil
}

// AddReplicaCluster has a cluster follow this one.
func (d *Driver) AddReplicaCluster(ctx context.Context, c ReplicaCluster) error {
	q := &ns.ClusterAddress{ZkEndpoints: proto.String(c.ZK), ZkPath: proto.String(c.Root), Alias: proto.String(c.Alias)}
	return d.change(ctx, "add replica cluster "+c.Alias, "AddReplicaCluster", q)
}

// RemoveReplicaCluster ends that.
func (d *Driver) RemoveReplicaCluster(ctx context.Context, alias string) error {
	q := &ns.RemoveReplicaOfRequest{Alias: proto.String(alias)}
	return d.change(ctx, "remove replica cluster "+alias, "RemoveReplicaCluster", q)
}

// SwitchMode makes the cluster one that others may follow ("leader"), or not ("normal").
func (d *Driver) SwitchMode(ctx context.Context, mode string) error {
	modes := map[string]ns.ServerMode{"normal": ns.ServerMode_kNORMAL, "leader": ns.ServerMode_kLEADER}
	sm, known := modes[mode]
	if !known {
		return spec.Errorf(spec.Usage, "%q is no mode", mode).WithHint("normal or leader")
	}
	return d.change(ctx, "switch to mode "+mode, "SwitchMode", &ns.SwitchModeRequest{Sm: sm.Enum()})
}

// SyncTable begins to copy a table, or one of its partitions, to a cluster that follows; -1 is all partitions.
func (d *Driver) SyncTable(ctx context.Context, table TableName, alias string, partition int) error {
	q := &ns.SyncTableRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), ClusterAlias: proto.String(alias)}
	if partition >= 0 {
		q.Pid = proto.Uint32(uint32(partition))
	}
	return d.change(ctx, fmt.Sprintf("copy table %s to %s", table, alias), "SyncTable", q)
}
