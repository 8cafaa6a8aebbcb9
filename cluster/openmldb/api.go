package openmldb

import (
	"time"

	"shardsh/cluster/openmldb/wire"
)

// What the words of OpenMLDB see of a cluster. Every method of *Driver that answers or takes these is in the file of its
// subject: nameserver.go (metadata), ops.go, settings.go, replicas.go (placement and failover), tables.go, tablet.go,
// rows.go. All of them:
//
//   - name a table by its database and its name; the database is "" for the tables that have none;
//   - go to the leading nameserver, following it when it changes, or to the tablet named;
//   - answer a *spec.Error whose Code is the number and text of the refusal ("301 auto_failover is enabled").

// TableName names a table.
type TableName struct{ DB, Name string }

// String is how people write it: `db/name`, or the name alone.
func (n TableName) String() string {
	if n.DB == "" {
		return n.Name
	}
	return n.DB + "/" + n.Name
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
	Partitions, Replicas int // 0 is the store's default
	Storage              string
	IfNotExists          bool
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

// Row is a row with its time. Values are as wire.Schema has them.
type Row struct {
	Key    string // of the index it was found by, "" where the call does not tell
	Time   time.Time
	Values []any
}

// ReplicaCluster is a cluster that follows this one.
type ReplicaCluster struct {
	Alias, ZK, Root, State string
	Age                    time.Duration
}
