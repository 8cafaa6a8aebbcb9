package openmldb

import (
	"context"
	"iter"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// client is what the words ask of an OpenMLDB cluster.
type client interface {
	metadata
	schema
	placement
	tablets
	rows
	Name() string // what the cluster is called here
}

// metadata is what the nameserver tells.
type metadata interface {
	Nodes(ctx context.Context) ([]cluster.Node, error)
	Nameservers(ctx context.Context) ([]driver.Nameserver, error)
	Tablets(ctx context.Context) ([]driver.Tablet, error)
	// ShowTables answers the tables of every database, hidden ones too with all; ShowTable one, NotFound when there is
	// none.
	ShowTables(ctx context.Context, all bool) ([]driver.Table, error)
	ShowTable(ctx context.Context, table driver.TableName) (driver.Table, error)
	Ops(ctx context.Context, filter driver.OpFilter) ([]driver.Op, error)
	Trace(ctx context.Context, op uint64) (driver.OpTrace, error)
	CancelOp(ctx context.Context, op uint64) error
	DeleteOp(ctx context.Context, op uint64) error
	// DeleteOps deletes all of a status: "kDone", "kFailed", "kCanceled".
	DeleteOps(ctx context.Context, status string) error
	Databases(ctx context.Context) ([]string, error)
	SDKEndpoints(ctx context.Context) ([]driver.SDKEndpoint, error)
	SetSDKEndpoint(ctx context.Context, server, endpoint string) error // "" deletes
	Conf(ctx context.Context) ([]cluster.Setting, error)
	SetConf(ctx context.Context, key, value string) error
	ReplicaClusters(ctx context.Context) ([]driver.ReplicaCluster, error)
	AddReplicaCluster(ctx context.Context, c driver.ReplicaCluster) error
	RemoveReplicaCluster(ctx context.Context, alias string) error
	SwitchMode(ctx context.Context, mode string) error // "normal", "leader"
	SyncTable(ctx context.Context, table driver.TableName, alias string, partition int) error
	ConnectZK(ctx context.Context, endpoint string) error // "" is the leading nameserver
	DisconnectZK(ctx context.Context, endpoint string) error
}

// schema changes tables.
type schema interface {
	CreateDatabase(ctx context.Context, db string, ifNotExists bool) error
	DropDatabase(ctx context.Context, db string) error
	CreateNewTable(ctx context.Context, table driver.NewTable) error
	DropOneTable(ctx context.Context, table driver.TableName) error
	SetTTL(ctx context.Context, table driver.TableName, index string, ttl driver.TTL) error // "" is every index
	AddField(ctx context.Context, table driver.TableName, column driver.Column) error
	AddIndex(ctx context.Context, table driver.TableName, index driver.Index) error
	DeleteIndex(ctx context.Context, table driver.TableName, index string) error
}

// placement moves replicas and leaders. Every call but the last three is refused while auto_failover is on.
type placement interface {
	OfflineEndpoint(ctx context.Context, endpoint string, concurrency uint32) error
	RecoverEndpoint(ctx context.Context, endpoint string, restore bool, concurrency uint32) error
	RecoverTable(ctx context.Context, table driver.TableName, pid uint32, endpoint string) error
	ChangeLeader(ctx context.Context, table driver.TableName, pid uint32, candidate string) error // "" and "auto"
	Migrate(ctx context.Context, table driver.TableName, pids []uint32, from, to string) error
	// UpdateTableAlive marks one partition, or all for -1.
	UpdateTableAlive(ctx context.Context, table driver.TableName, pid int, endpoint string, alive bool) error
	SetPartition(ctx context.Context, table driver.TableName, partition driver.Partition) error
	AddReplica(ctx context.Context, table driver.TableName, pids []uint32, endpoint string) error
	DelReplica(ctx context.Context, table driver.TableName, pids []uint32, endpoint string) error
	MakeSnapshot(ctx context.Context, table driver.TableName, pid uint32) error
}

// tablets is what is asked of one tablet.
type tablets interface {
	// TabletPartitions answers what a tablet has; a partition it does not have is missing.
	TabletPartitions(ctx context.Context, endpoint string) ([]driver.TabletPartition, error)
	TabletPartition(ctx context.Context, endpoint string, tid, pid uint32) (p driver.TabletPartition, found bool, err error)
	TabletFollowers(ctx context.Context, endpoint string, tid, pid uint32) (driver.Followers, error)
	TabletTermPair(ctx context.Context, endpoint string, tid, pid uint32, storage string) (driver.TermPair, error)
	LoadTable(ctx context.Context, endpoint string, table driver.LoadTable) error
	DropFromTablet(ctx context.Context, endpoint string, tid, pid uint32) error
	ChangeRole(ctx context.Context, endpoint string, tid, pid uint32, leader bool, term uint64) error
	PauseSnapshot(ctx context.Context, endpoint string, tid, pid uint32) error
	RecoverSnapshot(ctx context.Context, endpoint string, tid, pid uint32) error
	SendSnapshot(ctx context.Context, endpoint string, tid, pid uint32, to string) error
	SetExpire(ctx context.Context, endpoint string, tid, pid uint32, on bool) error
}

// rows is the data.
type rows interface {
	// Put writes a row; at is for tables whose indexes have no time column, zero for now.
	Put(ctx context.Context, table driver.TableName, values []any, at time.Time) error
	// Get answers the newest row under a key, or the one of that time.
	Get(ctx context.Context, table driver.TableName, index, key string, at time.Time) (row driver.Row, found bool, err error)
	// Scan yields rows under a key from the newest on, between from (newest, included) and to (oldest, left out); zero
	// times and limit 0 bound nothing.
	Scan(ctx context.Context, table driver.TableName, index, key string, from, to time.Time, limit int) iter.Seq2[driver.Row, error]
	// Traverse yields all rows of an index, partition by partition.
	Traverse(ctx context.Context, table driver.TableName, index string) iter.Seq2[driver.Row, error]
	CountKey(ctx context.Context, table driver.TableName, index, key string, expiredToo bool) (int64, error)
	Delete(ctx context.Context, table driver.TableName, index, key string) error
}

// open returns the call's cluster.
func open(ctx context.Context, env commands.Env, call *spec.Call) (client, error) {
	return commands.Driver[client](ctx, env, call)
}

// named is the table that a person means: `db/table`, or a table of the database in use.
func named(call *spec.Call, text string) driver.TableName {
	if db, name, ok := strings.Cut(text, "/"); ok {
		return driver.TableName{DB: db, Name: name}
	}
	return driver.TableName{DB: call.Table, Name: text}
}

// openTable returns the call's cluster and one of its tables. Where there is none of that name but another database has
// one, the error says so.
func openTable(ctx context.Context, env commands.Env, call *spec.Call, text string) (client, driver.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, driver.Table{}, err
	}
	t, err := findTable(ctx, c, named(call, text))
	return c, t, err
}

func findTable(ctx context.Context, c metadata, name driver.TableName) (driver.Table, error) {
	t, err := c.ShowTable(ctx, name)
	if spec.KindOf(err) != spec.NotFound || err == nil {
		return t, err
	}
	missing := spec.Errorf(spec.NotFound, "there is no table %s", name)
	all, other := c.ShowTables(ctx, false)
	if other != nil {
		return t, missing
	}
	var names []string
	for _, has := range all {
		if has.Name == name.Name {
			return t, missing.WithHint("there is %s: write it so, or use %s first", has.TableName, has.DB)
		}
		names = append(names, has.TableName.String())
	}
	if near := spec.Suggest(name.String(), names); len(near) > 0 {
		return t, missing.WithHint("did you mean %s?", near[0])
	}
	return t, missing.WithHint("showtable lists the tables")
}
