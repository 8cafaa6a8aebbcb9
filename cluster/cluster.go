// Package cluster is what every store looks like to the commands: a small Driver that all of them have, domain types
// that belong to no system, and abilities (abilities.go) for what only some can do.
//
// The contract of a driver:
//
//   - Opening dials nothing. The first call does, and a driver whose cluster is down answers Unavailable then.
//   - Every method is safe for concurrent use and takes its context first. A context that ends stops the call.
//   - An error is a *spec.Error that says what was attempted and on which endpoint. A changing call whose answer did
//     not come is UnknownOutcome: it is never sent a second time; whoever asked reads the state back.
//   - Answers are the cluster's, not a cache's, except where a method says otherwise.
//   - Bytes from the network are bounded before they are believed: no frame makes a driver allocate over 64 MiB.
//
// Wire types never leave a driver's own package; commands of one system (commands/<system>) may use the exported
// methods of its driver beyond this interface.
package cluster

import (
	"context"
	"iter"
	"time"

	"shardsh/commands/spec"
)

// Driver is one open cluster.
type Driver interface {
	// Info describes the cluster: one call to its metadata server.
	Info(ctx context.Context) (Info, error)
	// Nodes lists the storage nodes, sorted by endpoint, dead ones included. One call, whatever their number.
	Nodes(ctx context.Context) ([]Node, error)
	// Tables lists the tables that can be used, sorted by ID.
	Tables(ctx context.Context) ([]Table, error)
	// Replicas yields every replica of a table, or of all tables for "", in order of table, partition, and the
	// primary first. A table of a database is called as Table.FullName says. The calls it costs grow with the numbers of
	// tables and nodes, never of partitions. An unknown table is NotFound.
	Replicas(ctx context.Context, table string) iter.Seq2[Replica, error]
	// Close ends connections and goroutines. Calls after it fail.
	Close() error
}

// Info is a cluster in a few words.
type Info struct {
	System   string // "pegasus"
	Name     string // the cluster's own name, which may differ from its name in config.ini
	Metadata []string
	// Leader is the metadata server that answers for the cluster.
	Leader string
	// Settings are the store's own key and value pairs, in its order.
	Settings []Setting
	// State holds short words that the prompt shows while they are true ("freezed", "auto_failover off").
	State []string
}

// Setting is a named value of a cluster or table.
type Setting struct{ Key, Value string }

// Node is a storage node: a replica server, tablet, partition server, query node.
type Node struct {
	Endpoint string
	// RealEndpoint is the address behind a name, "" when they are the same.
	RealEndpoint string
	Alive        bool
	// State is the store's own word for it ("ALIVE", "kTabletHealthy").
	State string
	// Age is how long the node has been in this state or, where the store does not tell, has been up; nil when
	// nobody knows.
	Age *time.Duration
}

// Table is a table, namespace or collection.
type Table struct {
	ID         int64
	DB         string // "" where the store has no databases
	Name       string
	Partitions int
	Replicas   int // wanted for each partition
	State      string
	Created    time.Time
}

// FullName is what Replicas and the abilities call the table: the name, after its database where it has one.
func (t Table) FullName() string { return fullName(t.DB, t.Name) }

func fullName(db, name string) string {
	if db == "" {
		return name
	}
	return db + "/" + name
}

// Role of a replica, in the store's own words ("primary", "leader").
type Role string

// Replica is one copy of a partition on one node. Pointers are nil where the store does not tell.
type Replica struct {
	DB        string // "" where the store has no databases
	Table     string
	TableID   int64
	Partition int
	Endpoint  string // "" for a partition that has lost its primary: the row says so instead of being left out
	Role      Role
	Alive     bool

	TTL         *time.Duration
	Compression *string
	Offset      *int64
	Records     *int64
	Memory      *int64 // bytes
	Disk        *int64 // bytes

	// Ballot is the configuration's version (Pegasus), Term in Raft's words.
	Ballot *int64
	// Leads tells that this replica takes the writes: the primary, the leader.
	Leads bool
	// Wanted and Have count the partition's replicas; Needed is how many must live for it to take writes.
	Wanted, Have, Needed int
}

// FullName is that of the replica's table.
func (r Replica) FullName() string { return fullName(r.DB, r.Table) }

// Options are what opening a cluster needs besides its address.
type Options struct {
	// Name is the cluster's name in the configuration, or its address.
	Name string
	// Timeout bounds one call on the wire; read at every call, because `option timeout` changes it.
	Timeout func() time.Duration
	// Trace, when not nil, is told of every call after it ended, with the context of whoever asked. It must not block.
	Trace func(context.Context, Trace)
	// Settings are the cluster's own options of config.ini ([cluster.NAME]), secrets already resolved.
	Settings map[string]string
}

// Trace is one call on the wire, as `option trace on` shows it.
type Trace struct {
	Peer   string // host:port
	Method string // "RPC_CM_LIST_APPS", "nameserver.ShowTable"
	Took   time.Duration
	Code   string // the store's own name of the result
}

// System is a store that shardsh speaks to.
type System struct {
	Name string // "pegasus"
	// Title is how people write it: "Apache Pegasus".
	Title string
	// Accepts reports whether an address given to `cluster` without any configuration is this system's.
	Accepts func(address string) bool
	// Open makes a driver for the address written in config.ini. It must not dial; a malformed address is Usage.
	Open func(address string, options Options) (Driver, error)
	// Zero is a driver that is only asked for its abilities.
	Zero Driver
	// Prompt renders the prompt of a cluster and current table, without the sandbox mark: `onebox TableA>>> `.
	Prompt func(cluster, table string) string
}

// NotAble says that a driver lacks an ability, naming which systems have it.
func NotAble(system string, ability Ability, systems []System) error {
	var have []string
	for _, s := range systems {
		if ability.Has(s.Zero) {
			have = append(have, s.Name)
		}
	}
	err := spec.Errorf(spec.Unable, "%s has no %s", system, ability.Name)
	if len(have) > 0 {
		return err.WithHint("these have it: %v", have)
	}
	return err
}
