package pegasus

import "time"

// App is a table as the meta server describes it.
type App struct {
	ID                   int32
	Name, Type           string
	Status               string // "AVAILABLE", "DROPPED", …
	Partitions, Replicas int    // Replicas is how many copies of each partition are wanted
	Envs                 map[string]string
	Stateful             bool
	// Created, Dropped and Expires are zero when they do not apply; Expires is when a dropped table is really gone.
	Created, Dropped, Expires time.Time
	Duplicating, BulkLoading  bool
	// AtomicIdempotent says that incr and the checked writes are made idempotent; nil up to 2.5, which cannot.
	AtomicIdempotent *bool
}

// Partition is one partition's place in the cluster. Endpoints are host:port.
type Partition struct {
	Index       int
	Ballot      int64 // the configuration's version; 0: no server serves it yet; negative: the child of a split that is not ready
	MaxReplicas int
	Primary     string // "" for none
	Secondaries []string
	// LastDrops are the servers that held it last, the latest at the end; they may be dead.
	LastDrops     []string
	LastCommitted int64 // the decree the meta knows of, 0 when it knows none
	// Unborn marks the child of a split that is not ready: it is nowhere, and its rows are still with its parent.
	Unborn bool
}

// AppPartitions is a table with its partitions, by index.
type AppPartitions struct {
	AppID      int32
	Name       string
	Partitions []Partition
}

// Roles of a Server.
const (
	RoleMeta    = "meta-server"
	RoleReplica = "replica-server"
)

// Server is a process that takes remote commands.
type Server struct {
	Endpoint string
	Role     string // RoleMeta or RoleReplica
	Alive    bool
}

// NewApp is a table to be created.
type NewApp struct {
	Name                 string
	Partitions, Replicas int
	Envs                 map[string]string
	// SuccessIfExists makes creating a table that is there with the same options a success.
	SuccessIfExists bool
}

// Ack says who did what was asked.
type Ack struct {
	AppID     int32
	Partition int
	Decree    int64 // of the write; -1 for reads
	Server    string
}

// Filter selects rows by a part of their key or value.
type Filter struct {
	Type    string // "" (everything), "anywhere", "prefix", "postfix", "exact"
	Pattern []byte
}

// ScanOptions say what to scan. The zero value but for Partition scans everything.
type ScanOptions struct {
	Partition               int // -1 for all
	Batch                   int // rows asked for at a time; 0 is 1000, which is also the servers' limit
	HashKey, SortKey, Value Filter
	NoValue                 bool
	MaxRows                 int64 // stop after so many; 0 for no limit
	// Range bounds the sort keys. It needs an exact HashKey that is not empty.
	Range *SortRange
}

// SortRange is a range of sort keys under one hash key.
type SortRange struct {
	Start, Stop   []byte // an empty Stop means to the end
	AfterStart    bool   // Start itself is left out
	IncludingStop bool   // Stop itself is in; an empty Stop is the end either way
}

// ScanRow is a row of a scan. Its bytes belong to whoever pulled it.
type ScanRow struct {
	Hash, Sort, Value []byte
	Partition         int
	AppID             int32
	Server            string        // that answered it
	TTL               time.Duration // what was left when the row arrived; 0 for none
	Expires           time.Time     // zero for none
}

// PartitionCount is how many rows of a partition matched.
type PartitionCount struct {
	Partition int
	Rows      int64
}

// Location is where a row lives, whether or not it exists.
type Location struct {
	AppID                 int32
	Partitions, Partition int
	Hash                  uint64
	Primary               string // "" for none
	Secondaries           []string
}
