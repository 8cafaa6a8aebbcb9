package openmldb

import (
	"context"
	"iter"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// client is what the words ask of an OpenMLDB cluster; package cluster/openmldb says what each method does.
type client interface {
	metadata
	schema
	placement
	tablets
	rows
}

// metadata is what the nameserver tells, and its switches.
type metadata interface {
	Nodes(ctx context.Context) ([]cluster.Node, error)
	Nameservers(ctx context.Context) ([]driver.Nameserver, error)
	Tablets(ctx context.Context) ([]driver.Tablet, error)
	Conf(ctx context.Context) ([]cluster.Setting, error)
	SetConf(ctx context.Context, key, value string) error
	AutoFailover(ctx context.Context) (bool, error)
	SDKEndpoints(ctx context.Context) ([]driver.SDKEndpoint, error)
	SetSDKEndpoint(ctx context.Context, server, endpoint string) error
	ConnectZK(ctx context.Context) error
	DisconnectZK(ctx context.Context) error

	Ops(ctx context.Context, filter driver.OpFilter) ([]driver.Op, error)
	TraceOps(ctx context.Context, ids ...uint64) (map[uint64]driver.OpTrace, error)
	CancelOp(ctx context.Context, id uint64) error
	DeleteOp(ctx context.Context, id uint64) error
	DeleteOps(ctx context.Context, db, status string) error

	ReplicaClusters(ctx context.Context) ([]driver.ReplicaCluster, error)
	AddReplicaCluster(ctx context.Context, c driver.ReplicaCluster) error
	RemoveReplicaCluster(ctx context.Context, alias string) error
	SwitchMode(ctx context.Context, mode string) error
	SyncTable(ctx context.Context, table driver.TableName, alias string, partition int) error
}

// schema is databases and tables.
type schema interface {
	Databases(ctx context.Context) ([]string, error)
	CreateDatabase(ctx context.Context, db string, ifNotExists bool) error
	DropDatabase(ctx context.Context, db string) error
	Find(ctx context.Context, text, db string) (driver.TableName, error)
	Describe(ctx context.Context, table driver.TableName) (*driver.Table, error)
	DescribeAll(ctx context.Context) ([]driver.Table, error)
	Create(ctx context.Context, table driver.NewTable) error
	Drop(ctx context.Context, table driver.TableName) error
	SetTTL(ctx context.Context, table driver.TableName, index string, ttl driver.TTL) error
	AddColumn(ctx context.Context, table driver.TableName, column driver.Column) error
	AddIndex(ctx context.Context, table driver.TableName, index driver.Index) error
	DeleteIndex(ctx context.Context, table driver.TableName, index string) error
}

// placement is where replicas are, and who leads.
type placement interface {
	OfflineEndpoint(ctx context.Context, endpoint string, concurrency uint32) error
	RecoverEndpoint(ctx context.Context, endpoint string, restore bool, concurrency uint32) error
	RecoverTable(ctx context.Context, table driver.TableName, partition uint32, endpoint string) error
	ChangeLeader(ctx context.Context, table driver.TableName, partition uint32, candidate string) error
	UpdateTableAlive(ctx context.Context, table driver.TableName, partition int, endpoint string, alive bool) error
	Migrate(ctx context.Context, table driver.TableName, partitions []uint32, from, to string) error
	AddReplica(ctx context.Context, table driver.TableName, partitions []uint32, endpoint string) error
	DelReplica(ctx context.Context, table driver.TableName, partitions []uint32, endpoint string) error
	MakeSnapshot(ctx context.Context, table driver.TableName, partition uint32, offset uint64) error
	Partition(ctx context.Context, table driver.TableName, partition uint32) (driver.Partition, error)
	SetPartition(ctx context.Context, table driver.TableName, partition driver.Partition) error
}

// tablets is one tablet, past the nameserver.
type tablets interface {
	TabletPartitions(ctx context.Context, tablet string) ([]driver.TabletPartition, error)
	TabletPartition(ctx context.Context, tablet string, tid, pid uint32) (driver.TabletPartition, error)
	TabletFollowers(ctx context.Context, tablet string, tid, pid uint32) (driver.Followers, error)
	TabletTermPair(ctx context.Context, tablet string, tid, pid uint32, storage string) (driver.TermPair, error)
	TabletLoadTable(ctx context.Context, tablet string, load driver.LoadTable) error
	TabletDropTable(ctx context.Context, tablet string, tid, pid uint32) error
	TabletChangeRole(ctx context.Context, tablet string, tid, pid uint32, role driver.TabletRole) error
	TabletPauseSnapshot(ctx context.Context, tablet string, tid, pid uint32) error
	TabletRecoverSnapshot(ctx context.Context, tablet string, tid, pid uint32) error
	TabletSendSnapshot(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error
	TabletSetExpire(ctx context.Context, tablet string, tid, pid uint32, expire bool) error
}

// rows is the data.
type rows interface {
	Put(ctx context.Context, table driver.TableName, row driver.Row) error
	Get(ctx context.Context, table driver.TableName, q driver.GetQuery) (row driver.Row, found bool, err error)
	Scan(ctx context.Context, table driver.TableName, q driver.ScanQuery) iter.Seq2[driver.Row, error]
	Traverse(ctx context.Context, table driver.TableName, q driver.TraverseQuery) iter.Seq2[driver.Row, error]
	Count(ctx context.Context, table driver.TableName, q driver.CountQuery) (uint64, error)
	Delete(ctx context.Context, table driver.TableName, q driver.DeleteQuery) error
}

// open returns the call's cluster.
func open(ctx context.Context, env commands.Env, call *spec.Call) (client, error) {
	return commands.Driver[client](ctx, env, call)
}

// openTable returns the call's cluster and one of its tables: `db/name`, or a name in the database in use.
func openTable(ctx context.Context, env commands.Env, call *spec.Call, text string) (client, *driver.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, nil, err
	}
	t, err := findTable(ctx, c, call, text)
	return c, t, err
}

func findTable(ctx context.Context, c schema, call *spec.Call, text string) (*driver.Table, error) {
	name, err := c.Find(ctx, text, call.Table)
	if err != nil {
		return nil, err
	}
	return c.Describe(ctx, name)
}
