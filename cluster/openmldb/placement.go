package openmldb

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// OfflineEndpoint moves the leaders away from a tablet and takes its replicas out of replication. It looks at no health:
// a healthy tablet is taken offline, too. "ok" says that the nameserver has begun, not that any operation came of it.
// concurrency bounds the operations at once, 8 at most; 0 is the server's default, 2.
func (d *Driver) OfflineEndpoint(ctx context.Context, endpoint string, concurrency uint32) error {
	q := &ns.OfflineEndpointRequest{Endpoint: proto.String(endpoint), Concurrency: optional(concurrency)}
	return d.change(ctx, "take "+endpoint+" offline", "OfflineEndpoint", q)
}

// optional leaves 0 out.
func optional(n uint32) *uint32 {
	if n == 0 {
		return nil
	}
	return &n
}

// RecoverEndpoint brings the replicas of a tablet back that are not alive. With restore it leads again where it did.
func (d *Driver) RecoverEndpoint(ctx context.Context, endpoint string, restore bool, concurrency uint32) error {
	q := &ns.RecoverEndpointRequest{
		Endpoint: proto.String(endpoint), NeedRestore: proto.Bool(restore), Concurrency: optional(concurrency),
	}
	return d.change(ctx, "recover "+endpoint, "RecoverEndpoint", q)
}

// RecoverTable brings one replica back that is not alive.
func (d *Driver) RecoverTable(ctx context.Context, table TableName, partition uint32, endpoint string) error {
	q := &ns.RecoverTableRequest{
		Name: proto.String(table.Name), Db: proto.String(table.DB), Pid: &partition, Endpoint: proto.String(endpoint),
	}
	return d.change(ctx, fmt.Sprintf("recover %s/%d on %s", table, partition, endpoint), "RecoverTable", q)
}

// ChangeLeader has a follower lead: the candidate, or the one with the most rows when it is "" or AnyCandidate. While the
// leader is alive one of the latter two has to be given. Rows that the new leader has not received are lost.
func (d *Driver) ChangeLeader(ctx context.Context, table TableName, partition uint32, candidate string) error {
	q := &ns.ChangeLeaderRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), Pid: &partition}
	if candidate != "" {
		q.CandidateLeader = proto.String(candidate)
	}
	return d.change(ctx, fmt.Sprintf("change the leader of %s/%d", table, partition), "ChangeLeader", q)
}

// UpdateTableAlive tells the nameserver whether the replicas of a tablet are alive, of one partition or, for -1, of all.
func (d *Driver) UpdateTableAlive(ctx context.Context, table TableName, partition int, endpoint string, alive bool) error {
	q := &ns.UpdateTableAliveRequest{
		Name: proto.String(table.Name), Db: proto.String(table.DB), Endpoint: proto.String(endpoint), IsAlive: &alive,
	}
	if partition >= 0 {
		q.Pid = proto.Uint32(uint32(partition))
	}
	return d.change(ctx, fmt.Sprintf("set whether %s is alive on %s", table, endpoint), "UpdateTableAliveStatus", q)
}

// Migrate begins to move followers from one tablet to another.
func (d *Driver) Migrate(ctx context.Context, table TableName, partitions []uint32, from, to string) error {
	if err := somePartitions(partitions); err != nil {
		return err
	}
	q := &ns.MigrateRequest{
		Name: proto.String(table.Name), Db: proto.String(table.DB), SrcEndpoint: proto.String(from), DesEndpoint: proto.String(to),
		Pid: partitions,
	}
	return d.change(ctx, fmt.Sprintf("move partitions of %s from %s to %s", table, from, to), "Migrate", q)
}

func somePartitions(partitions []uint32) error {
	if len(partitions) == 0 {
		return spec.Errorf(spec.Usage, "no partition is named")
	}
	return nil
}

// group is how the requests for replicas name partitions: the first, and all where there are several.
func group(partitions []uint32) (first *uint32, all []uint32) {
	if len(partitions) > 1 {
		all = slices.Clone(partitions)
	}
	return &partitions[0], all
}

// AddReplica begins to add followers on a tablet.
func (d *Driver) AddReplica(ctx context.Context, table TableName, partitions []uint32, endpoint string) error {
	if err := somePartitions(partitions); err != nil {
		return err
	}
	q := &ns.AddReplicaNSRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), Endpoint: proto.String(endpoint)}
	q.Pid, q.PidGroup = group(partitions)
	return d.change(ctx, fmt.Sprintf("add replicas of %s on %s", table, endpoint), "AddReplicaNS", q)
}

// DelReplica begins to delete followers on a tablet.
func (d *Driver) DelReplica(ctx context.Context, table TableName, partitions []uint32, endpoint string) error {
	if err := somePartitions(partitions); err != nil {
		return err
	}
	q := &ns.DelReplicaNSRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), Endpoint: proto.String(endpoint)}
	q.Pid, q.PidGroup = group(partitions)
	return d.change(ctx, fmt.Sprintf("delete replicas of %s on %s", table, endpoint), "DelReplicaNS", q)
}

// MakeSnapshot begins a snapshot of a partition on its leader. With an offset it ends there, and no operation shows it.
func (d *Driver) MakeSnapshot(ctx context.Context, table TableName, partition uint32, offset uint64) error {
	q := &ns.MakeSnapshotNSRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), Pid: &partition}
	if offset > 0 {
		q.Offset = &offset
	}
	return d.change(ctx, fmt.Sprintf("make a snapshot of %s/%d", table, partition), "MakeSnapshotNS", q)
}

// Partition answers one partition.
func (d *Driver) Partition(ctx context.Context, table TableName, partition uint32) (Partition, error) {
	p, _, err := d.partition(ctx, fmt.Sprintf("read %s/%d", table, partition), table, partition)
	if err != nil {
		return Partition{}, err
	}
	return partitionOf(p), nil
}

func (d *Driver) partition(ctx context.Context, op string, table TableName, partition uint32) (*ns.TablePartition, string, error) {
	q := &ns.GetTablePartitionRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), Pid: &partition}
	a := &ns.GetTablePartitionResponse{}
	who, err := d.lookUp(ctx, op, "GetTablePartition", q, a)
	if err != nil {
		return nil, who, err
	}
	if a.TablePartition == nil {
		e := spec.Errorf(spec.NotFound, "table %s has no partition %d", table, partition)
		e.Op, e.Endpoint = op, who
		return nil, who, e
	}
	return a.TablePartition, who, nil
}

// SetPartition replaces what the nameserver has of a partition: replicas, and terms. It keeps what it has of replicas in
// other clusters. Nothing is moved or created by it.
func (d *Driver) SetPartition(ctx context.Context, table TableName, partition Partition) error {
	op := fmt.Sprintf("set %s/%d", table, partition.ID)
	if err := checkPartition(op, partition); err != nil {
		return err
	}
	old, _, err := d.partition(ctx, op, table, partition.ID)
	if err != nil {
		return err
	}
	p := partition.toWire()
	p.RecordCnt, p.RecordByteSize, p.Diskused = old.RecordCnt, old.RecordByteSize, old.Diskused
	p.RemotePartitionMeta = old.RemotePartitionMeta
	q := &ns.SetTablePartitionRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), TablePartition: p}
	return d.change(ctx, op, "SetTablePartition", q)
}

// checkPartition refuses what would leave a partition that nobody can use: not one living leader, or a tablet named
// twice.
func checkPartition(op string, p Partition) error {
	seen := map[string]bool{}
	leaders := 0
	for _, r := range p.Replicas {
		if why := notServer(r.Endpoint); why != "" {
			return spec.Errorf(spec.Usage, "%s: %q: %s", op, r.Endpoint, why)
		}
		if seen[r.Endpoint] {
			return spec.Errorf(spec.Usage, "%s: %s is named twice", op, r.Endpoint)
		}
		seen[r.Endpoint] = true
		if r.Leader && r.Alive {
			leaders++
		}
	}
	if leaders != 1 {
		return spec.Errorf(spec.Usage, "%s: %d replicas lead and are alive; it takes one", op, leaders)
	}
	return nil
}
