package pegasus

import (
	"context"
	"iter"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// client is what the words ask of a Pegasus cluster.
type client interface {
	admin
	rows
	severalRows
	placer
	keeper
	comparer
}

// admin is the meta server's side, and the servers' remote commands.
type admin interface {
	Nodes(ctx context.Context) ([]cluster.Node, error)
	Placement(ctx context.Context, table string) iter.Seq2[cluster.Replica, error]
	Apps(ctx context.Context, status string) ([]driver.App, error)
	Partitions(ctx context.Context, table string) (*driver.AppPartitions, error)
	ClusterInfo(ctx context.Context) ([]cluster.Setting, error)
	Servers(ctx context.Context) ([]driver.Server, error)
	RemoteCommand(ctx context.Context, endpoint, command string, args ...string) (string, error)
	CreateApp(ctx context.Context, app driver.NewApp) (int32, error)
	DropApp(ctx context.Context, table string, reserve time.Duration) error
	GetTableSettings(ctx context.Context, table string) (map[string]string, error)
	SetEnvs(ctx context.Context, table string, keys, values []string) error
	DelEnvs(ctx context.Context, table string, keys []string) error
}

// placer is the meta server's side of where replicas are, and of what becomes of tables.
type placer interface {
	MetaLevel(ctx context.Context) (string, error)
	SetMetaLevel(ctx context.Context, level string) (old string, err error)
	Propose(ctx context.Context, p driver.Proposal) error
	Balance(ctx context.Context, b driver.Balance) error
	HeldReplicas(ctx context.Context, endpoint string) ([]driver.HeldReplica, error)
	RecallApp(ctx context.Context, id int32, name string) (driver.App, error)
	RenameApp(ctx context.Context, old, name string) error
	ReplicaCount(ctx context.Context, table string) (int, error)
	SetReplicaCount(ctx context.Context, table string, count int) (old int, err error)
	ClearEnvs(ctx context.Context, table, prefix string) error
	DeadPartitions(ctx context.Context, app int32, partition int) ([]driver.DeadPartition, error)
	BlackList(ctx context.Context) ([]string, error)
	SetBlackList(ctx context.Context, nodes []string) error
	Learners(ctx context.Context) (learners []driver.Learner, silent int, err error)
}

// keeper is the replica servers' side of disks and hot keys.
type keeper interface {
	Disks(ctx context.Context, endpoint, table string) ([]driver.Disk, error)
	MigrateDisk(ctx context.Context, endpoint string, app int32, partition int, from, to string) error
	DetectHotkey(ctx context.Context, endpoint string, app int32, partition int, kind, action string) (driver.Hotkey, error)
}

// rows is the replica servers' side.
type rows interface {
	Set(ctx context.Context, table string, hash, sort, value []byte, ttl time.Duration) (driver.Ack, error)
	Get(ctx context.Context, table string, hash, sort []byte) (value []byte, found bool, ack driver.Ack, err error)
	Del(ctx context.Context, table string, hash, sort []byte) (driver.Ack, error)
	TTL(ctx context.Context, table string, hash, sort []byte) (left time.Duration, found bool, ack driver.Ack, err error)
	Scan(ctx context.Context, table string, o driver.ScanOptions) iter.Seq2[driver.ScanRow, error]
	Count(ctx context.Context, table string, o driver.ScanOptions) iter.Seq2[driver.PartitionCount, error]
	Locate(ctx context.Context, table string, hash, sort []byte) (driver.Location, error)
}

// comparer reads rows to compare them.
type comparer interface {
	DiffSource(table string, o driver.ScanOptions, view driver.DiffView) transfer.Source[driver.CopyRow]
}

var _ client = (*driver.Driver)(nil)

// open returns the call's cluster.
func open(ctx context.Context, env commands.Env, call *spec.Call) (client, error) {
	return commands.Driver[client](ctx, env, call)
}

// openTable returns the call's cluster and the table a word works on: the one named, else the one in use. The name has
// been checked before the cluster is opened.
func openTable(ctx context.Context, env commands.Env, call *spec.Call, named string) (client, string, error) {
	table, err := commands.Table(call, named)
	if err != nil {
		return nil, "", err
	}
	if err := checkTable(table); err != nil {
		return nil, "", err
	}
	c, err := open(ctx, env, call)
	return c, table, err
}

// findApp returns the table of that name, dropped ones apart, which may share their name with a living one.
func findApp(ctx context.Context, c admin, table string) (driver.App, bool, error) {
	apps, err := c.Apps(ctx, "all")
	if err != nil {
		return driver.App{}, false, err
	}
	for _, app := range apps {
		if app.Name == table && app.Status != "DROPPED" {
			return app, true, nil
		}
	}
	return driver.App{}, false, nil
}

// mustFind answers a table that is there.
func mustFind(ctx context.Context, c admin, cluster, table string) (driver.App, error) {
	app, exists, err := findApp(ctx, c, table)
	if err == nil && !exists {
		err = spec.Errorf(spec.NotFound, "%s has no table %s", cluster, shown(table)).WithHint("ls lists the tables, ls -a dropped ones too")
	}
	return app, err
}

// openSettings returns a table's settings besides what openTable does.
func openSettings(ctx context.Context, env commands.Env, call *spec.Call) (c client, table string, now map[string]string, err error) {
	if c, table, err = openTable(ctx, env, call, call.String("table")); err == nil {
		now, err = c.GetTableSettings(ctx, table)
	}
	return c, table, now, err
}
