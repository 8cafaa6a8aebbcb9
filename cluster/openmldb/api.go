package openmldb

import (
	"context"
	"iter"
	"slices"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/wire"
)

// What the words of OpenMLDB see of a cluster. All methods:
//
//   - name a table by its database and its name; the database is "" for the tables that have none;
//   - go to the leading nameserver, following it when it changes, or to the tablet named;
//   - answer a *spec.Error whose Code is the number and text of the refusal ("301 auto_failover is enabled").
//
// The nameserver answers "ok" to several changes that do nothing (offlineendpoint, recoverendpoint, recovertable): whoever
// asks reads the state back.

// methods are those of *Driver, by the file they are in.
type methods interface {
	cluster.Driver
	cluster.TableAdmin
	cluster.Examiner

	// nameserver.go: the cluster. Settings change as confset does it; auto_failover is the only one servers know.
	Tablets(ctx context.Context) ([]Tablet, error)
	Nameservers(ctx context.Context) ([]Nameserver, error)
	Conf(ctx context.Context) ([]cluster.Setting, error)
	SetConf(ctx context.Context, key, value string) error
	AutoFailover(ctx context.Context) (bool, error)
	SDKEndpoints(ctx context.Context) ([]SDKEndpoint, error)
	SetSDKEndpoint(ctx context.Context, server, endpoint string) error // "" takes it away
	CatalogVersions(ctx context.Context) ([]CatalogVersion, error)
	ConnectZK(ctx context.Context) error
	DisconnectZK(ctx context.Context) error

	// tables.go. Find reads a table's name as people write it: `db/name`, or a name, which is looked for in the
	// database given, then among the tables without one, then in all databases if it is there only once. Tables and
	// Describe answer what the nameserver has now.
	Databases(ctx context.Context) ([]string, error)  // without the internal ones
	UseDatabase(ctx context.Context, db string) error // says whether it exists
	CreateDatabase(ctx context.Context, db string, ifNotExists bool) error
	DropDatabase(ctx context.Context, db string) error
	Find(ctx context.Context, text, db string) (TableName, error)
	Describe(ctx context.Context, table TableName) (*Table, error)
	DescribeAll(ctx context.Context) ([]Table, error) // by id, the internal databases' too
	Create(ctx context.Context, table NewTable) error
	Drop(ctx context.Context, table TableName) error
	Truncate(ctx context.Context, table TableName) error
	SetTTL(ctx context.Context, table TableName, index string, ttl TTL) error // "" is every index
	AddColumn(ctx context.Context, table TableName, column Column) error
	AddIndex(ctx context.Context, table TableName, index Index) error
	DeleteIndex(ctx context.Context, table TableName, index string) error

	// placement.go: where replicas are, and failover. concurrency 0 is the server's default.
	OfflineEndpoint(ctx context.Context, endpoint string, concurrency uint32) error
	RecoverEndpoint(ctx context.Context, endpoint string, restore bool, concurrency uint32) error
	RecoverTable(ctx context.Context, table TableName, partition uint32, endpoint string) error
	ChangeLeader(ctx context.Context, table TableName, partition uint32, candidate string) error             // "", "auto" or a tablet
	UpdateTableAlive(ctx context.Context, table TableName, partition int, endpoint string, alive bool) error // -1 is all
	Migrate(ctx context.Context, table TableName, partitions []uint32, from, to string) error
	AddReplica(ctx context.Context, table TableName, partitions []uint32, endpoint string) error
	DelReplica(ctx context.Context, table TableName, partitions []uint32, endpoint string) error
	MakeSnapshot(ctx context.Context, table TableName, partition uint32, offset uint64) error
	// FormatPartition, ParsePartition and ParseTableFile (text.go) read and write the store's own files.
	Partition(ctx context.Context, table TableName, partition uint32) (Partition, error)
	SetPartition(ctx context.Context, table TableName, partition Partition) error

	// ops.go. DeleteOps takes "kDone", "kFailed" or "kCanceled", of all databases for "".
	Ops(ctx context.Context, filter OpFilter) ([]Op, error) // by id
	TraceOps(ctx context.Context, ids ...uint64) (map[uint64]OpTrace, error)
	CancelOp(ctx context.Context, id uint64) error
	DeleteOp(ctx context.Context, id uint64) error
	DeleteOps(ctx context.Context, db, status string) error

	// clusters.go: several clusters that follow one.
	ReplicaClusters(ctx context.Context) ([]ReplicaCluster, error)
	AddReplicaCluster(ctx context.Context, c ReplicaCluster) error
	RemoveReplicaCluster(ctx context.Context, alias string) error
	SwitchMode(ctx context.Context, mode string) error                                 // "normal", "leader"
	SyncTable(ctx context.Context, table TableName, alias string, partition int) error // -1 is all

	// tablet.go: one tablet, past the nameserver, which learns of it or not.
	TabletPartitions(ctx context.Context, tablet string) ([]TabletPartition, error)
	TabletPartition(ctx context.Context, tablet string, tid, pid uint32) (TabletPartition, error) // NotFound
	TabletFollowers(ctx context.Context, tablet string, tid, pid uint32) (Followers, error)
	TabletTermPair(ctx context.Context, tablet string, tid, pid uint32, storage string) (TermPair, error)
	TabletManifest(ctx context.Context, tablet string, tid, pid uint32, storage string) (Manifest, error)
	TabletTasks(ctx context.Context, tablet string) ([]OpTask, error)
	TabletSchema(ctx context.Context, tablet string, tid, pid uint32) (*Table, error)
	TabletLoadTable(ctx context.Context, tablet string, load LoadTable) error
	TabletDropTable(ctx context.Context, tablet string, tid, pid uint32) error
	TabletChangeRole(ctx context.Context, tablet string, tid, pid uint32, role TabletRole) error
	TabletAddReplica(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error
	TabletDelReplica(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error
	TabletMakeSnapshot(ctx context.Context, tablet string, tid, pid uint32, offset uint64, storage string) error
	TabletPauseSnapshot(ctx context.Context, tablet string, tid, pid uint32) error
	TabletRecoverSnapshot(ctx context.Context, tablet string, tid, pid uint32) error
	TabletSendSnapshot(ctx context.Context, tablet string, tid, pid uint32, endpoint string) error
	TabletSetExpire(ctx context.Context, tablet string, tid, pid uint32, expire bool) error
	TabletSetTTL(ctx context.Context, tablet string, tid, pid uint32, index string, ttl TTL) error
	TabletDeleteIndex(ctx context.Context, tablet string, tid, pid uint32, index string) error
	TabletConnectZK(ctx context.Context, tablet string) error
	TabletDisconnectZK(ctx context.Context, tablet string) error

	// faults.go: what is wrong, one by one, by table and partition; Examine sums it up.
	Faults(ctx context.Context) ([]Fault, error)

	// forecast.go: what would happen if more failed.
	cluster.Forecaster

	// rows.go, put.go. An index "" is the first one. A key is its text (wire.KeyText, wire.JoinKey).
	Put(ctx context.Context, table TableName, row Row) error
	PutMany(ctx context.Context, table TableName, rows iter.Seq2[Row, error], inFlight int) iter.Seq2[int, error]
	Get(ctx context.Context, table TableName, q GetQuery) (row Row, found bool, err error)
	Scan(ctx context.Context, table TableName, q ScanQuery) iter.Seq2[Row, error]
	Traverse(ctx context.Context, table TableName, q TraverseQuery) iter.Seq2[Row, error]
	TraversePage(ctx context.Context, table TableName, q TraverseQuery) (TraversedPage, error)
	Count(ctx context.Context, table TableName, q CountQuery) (uint64, error)
	Delete(ctx context.Context, table TableName, q DeleteQuery) error
}

// TableName names a table.
type TableName struct{ DB, Name string }

// String is how people write it: `db/name`, or the name alone.
func (n TableName) String() string {
	if n.DB == "" {
		return n.Name
	}
	return n.DB + "/" + n.Name
}

// Internal says that the table is one of the store's own, which its clients do not show.
func (n TableName) Internal() bool {
	return slices.Contains([]string{"__INTERNAL_DB", "INFORMATION_SCHEMA", "__PRE_AGG_DB"}, n.DB)
}

// Table is what the nameserver knows of a table.
type Table struct {
	TableName
	ID                   uint32
	Partitions, Replicas int
	Compress             string // "kNoCompress", "kSnappy"
	Storage              string // "kMemory", "kSSD", "kHDD"
	Segments             uint32
	Schema               wire.Schema
	Columns              []Column // with what the schema does not say; the added ones last
	Indexes              []Index  // without deleted ones; Place is where each stands among all
	PartitionKey         []string
	// Parts are the partitions by number.
	Parts []Partition
}

// Column describes a column as `showschema` shows it.
type Column struct {
	Name, Type, Default string
	NotNull             bool
}

// Index is a key that rows are found by.
type Index struct {
	Name    string
	Columns []string
	// TimeColumn is the column that orders rows under a key, "" for the time of the put.
	TimeColumn string
	TTL        TTL
	Type       string // "" for one that has whole rows; "kClustered", "kSecondary"
	Place      uint32 // the idx of a Dimension
}

// TTL says when rows expire.
type TTL struct {
	Type     string // "kAbsoluteTime", "kLatestTime", "kAbsAndLat", "kAbsOrLat"
	Minutes  uint64 // 0 for never
	Versions uint64 // 0 for all
}

// Partition is one partition as the nameserver has it.
type Partition struct {
	ID       uint32
	Replicas []Replica // in the nameserver's order
	// Terms are the terms it had leaders in, and the offset each began at.
	Terms []TermOffset
}

// TermOffset is where a leader's term began.
type TermOffset struct{ Term, Offset uint64 }

// Replica is one copy of a partition. An old leader keeps its role and is not alive, so that a partition may have two
// leaders of which one is alive. Pointers are nil where the nameserver has no number.
type Replica struct {
	Endpoint      string
	Leader, Alive bool
	// The numbers are up to two seconds old, and those of a dead tablet its last ones.
	Offset, Records, Memory, Disk *uint64
	// Present is false when the tablet said that it does not have the partition.
	Present bool
}

// Leader answers the replica that leads and is alive.
func (p *Partition) Leader() (Replica, bool) {
	for _, r := range p.Replicas {
		if r.Leader && r.Alive {
			return r, true
		}
	}
	return Replica{}, false
}

// Tablet is a tablet as the nameserver has it.
type Tablet struct {
	Endpoint     string
	RealEndpoint string // "" or "-" when it is not known or the same
	State        string // "kHealthy", "kOffline"; older servers say kTabletHealthy, kTabletOffline
	Healthy      bool
	Age          time.Duration // since the state last changed
}

// Nameserver is a nameserver as it is registered.
type Nameserver struct {
	Endpoint, RealEndpoint string
	Role                   string // "leader", "standby"
}

// SDKEndpoint is the address that clients outside the network use for a server.
type SDKEndpoint struct{ Server, Endpoint string }

// Op is an operation of the nameserver. Types, statuses and tasks are the store's own words: "kRecoverTableOP", "kDoing",
// "kLoadTable".
type Op struct {
	ID           uint64
	Type, Status string
	Task         string // the current one, "" when there is none
	Table        TableName
	Partition    int // -1 when it has none
	// Start and End are zero before they are.
	Start, End     time.Time
	ReplicaCluster bool
}

// OpFilter selects operations; the zero value selects all, of every database.
type OpFilter struct {
	Table     TableName // an empty Name selects every table
	Partition int       // -1 for all; looked at only with a table
	ID        uint64    // 0 for all
}

// Over says that the operation has ended, well or not.
func (o Op) Over() bool {
	return o.Status == "kDone" || o.Status == "kFailed" || o.Status == "kCanceled"
}

// OpTrace is what can be found about an operation beyond its line: from ZooKeeper where the cluster is found there, and
// from the tablets' own lists of tasks.
type OpTrace struct {
	Parent uint64 // 0 for none
	// Tasks are those that tablets still know.
	Tasks []OpTask
	// Endpoint is the node that the operation is about, "" when it is not known.
	Endpoint string
	// Step is how many of its tasks are done, and Queue the queue it stands in; -1 when ZooKeeper does not tell.
	Step, Queue int
}

// OpTask is a task of an operation on a tablet.
type OpTask struct {
	Op               uint64
	Type, Status     string
	Tablet, Endpoint string // who runs it, and the node it is about
}

// TabletPartition is a partition as its tablet has it (GetTableStatus).
type TabletPartition struct {
	Table         string
	TID, PID      uint32
	Offset        uint64
	Mode          string // "kTableLeader", "kTableFollower"
	State         string // "kTableNormal", "kTableLoading", …
	Expires       bool
	Records       uint64
	Memory, Disk  uint64 // bytes
	Compress      string
	Storage       string
	SkiplistLevel uint32
}

// Followers is what a leading tablet knows of its followers (GetTableFollower).
type Followers struct {
	Offset    uint64 // the leader's
	Followers []Follower
}

// Follower is one of them.
type Follower struct {
	Endpoint string
	Offset   uint64
}

// TermPair is what a tablet has of a partition, loaded or not (GetTermPair).
type TermPair struct {
	Term, Offset     uint64
	HasTable, Leader bool
}

// NewTable is a table to be created.
type NewTable struct {
	TableName
	Columns              []Column
	Indexes              []Index
	Partitions, Replicas int    // 0 is the store's default
	Storage              string // "kMemory", …; "" is the store's default, as are the following
	Compress             string
	Segments             uint32
	PartitionKey         []string
	// Parts places the replicas; nil leaves that to the nameserver.
	Parts       []Partition
	IfNotExists bool
}

// LoadTable asks a tablet to load a partition from its disk.
type LoadTable struct {
	Table    TableName
	TID, PID uint32
	Segments uint32
	Leader   bool
	Storage  string
	Minutes  uint64 // the TTL, which servers ignore today
}

// TabletRole is what TabletChangeRole makes of a partition.
type TabletRole struct {
	Leader   bool
	Replicas []string // its followers, for a leader
	Term     uint64   // for a leader; 0 is none
}

// Manifest is a partition's last snapshot on a tablet; all zero when there is none.
type Manifest struct {
	Offset, Count, Term uint64
	Name                string
}

// CatalogVersion is the version of the catalogue that a tablet has.
type CatalogVersion struct {
	Endpoint string
	Version  uint64
}

// Fault is one thing that is wrong with a replica, a partition or a node.
type Fault struct {
	Kind     cluster.FindingKind
	Table    TableName // zero for a node
	TID, PID uint32
	Endpoint string
	What     string // in a few words
	// Gap is how many entries the leader has that this replica has not.
	Gap uint64
	Op  uint64 // the operation that failed, or is under way on the partition; 0 for none
	Bad bool
}

// Kinds of faults, in the words of OpenMLDB's own diagnosis where it has any.
const (
	AutoFailoverOff     cluster.FindingKind = "auto_failover_off"
	Miss                cluster.FindingKind = "miss"                   // the tablet lacks the partition
	NotLeaderOnTablet   cluster.FindingKind = "not_leader_on_tablet"   // the nameserver's leader is none to its tablet
	NotFollowerOnTablet cluster.FindingKind = "not_follower_on_tablet" // a follower is the leader to its tablet
	NoLeaderAlive       cluster.FindingKind = "no_leader_alive"
	SeveralLeaders      cluster.FindingKind = "several_leaders" // alive at once
	NotNormal           cluster.FindingKind = "not_normal"      // loading, paused
	Lag                 cluster.FindingKind = "lag"
	AliveOnDeadTablet   cluster.FindingKind = "alive_on_dead_tablet" // the nameserver sends clients to a dead tablet
	NotRecovered        cluster.FindingKind = "not_recovered"        // its tablet is up, the replica is not alive
	Stray               cluster.FindingKind = "stray"                // the tablet has a partition nobody knows of
	OpFailed            cluster.FindingKind = "op_failed"
)

// Row is a row with its time. Values are as wire.Schema has them, a value a column.
type Row struct {
	Key string // of the index it was found by, "" where the call does not tell
	// Time orders rows under a key, in milliseconds. To put, the zero Time is now; where every index has a time
	// column it does not matter.
	Time   time.Time
	Values []any
}

// GetQuery asks for one row.
type GetQuery struct {
	Index, Key string
	At         time.Time // its exact time; the zero Time is the newest row
}

// ScanQuery asks for the rows of a key, the newest first.
type ScanQuery struct {
	Index, Key string
	// Newest is included and Oldest is not; the zero Time is no bound.
	Newest, Oldest time.Time
	Limit          int // 0 is none
}

// TraverseQuery asks for the rows of an index in the tablets' order.
type TraverseQuery struct {
	Index     string
	Partition int // -1 is all, one after the other
	After     TraversePosition
	Limit     int // 0 is none; for TraversePage, of the page
}

// TraversePosition is a place in a partition; the zero value is its beginning.
type TraversePosition struct {
	Key  string
	Time uint64 // milliseconds
	Pos  uint32 // among the rows of that key and time
}

// TraversedPage is a page of one partition.
type TraversedPage struct {
	Rows []Row
	Next TraversePosition
	Done bool // there is no next page
}

// CountQuery asks how many rows a key has.
type CountQuery struct {
	Index, Key string
	// Living leaves out the rows that have expired and are not yet collected, which takes longer.
	Living bool
}

// DeleteQuery asks for rows of a key to be deleted.
type DeleteQuery struct {
	Index, Key string
	// Newest is included and Oldest is not; the zero Time is no bound.
	Newest, Oldest time.Time
	// Everywhere deletes the rows from the other indexes too, as SQL does; without it they are still found there, as
	// after the nameserver client's delete.
	Everywhere bool
}

// ReplicaCluster is a cluster that follows this one.
type ReplicaCluster struct {
	Alias, ZK, Root, State string
	Age                    time.Duration
}

// AnyCandidate in place of a tablet has ChangeLeader take any follower, even while the leader is alive.
const AnyCandidate = "auto"
