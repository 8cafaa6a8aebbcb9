package sandbox

import (
	"errors"
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// What the servers of a cluster say to each other. Everything here is a plain value, so that the two links can be
// carried over a socket (far.go) as well as called: a server never reaches into another one.

// nodeID names a replica server for good: its address may be another one after a restart of the cluster.
type nodeID int

const noNode nodeID = -1

// Why a server refuses what another one asks.
var (
	errDead     = errors.New("the server is not running")
	errStale    = errors.New("the configuration has changed")
	errFreezed  = errors.New("the meta server is freezed")
	errGap      = errors.New("mutations are missing")
	errInactive = errors.New("the replica is not active")
	// errSilent is a server that is paused, or cut off. Whoever calls it has given up waiting.
	errSilent = errors.New("the server does not answer")
	// errUnsure is a call that was sent and never answered: it may have been carried out, or may still be.
	errUnsure = errors.New("the outcome of the call is unknown")
)

// point is a place in a partition's history: a decree and the ballot it was prepared under. Two replicas at the same
// point hold the same rows.
type point struct{ Ballot, Decree int64 }

// incomplete marks a replica whose rows are only partly copied.
var incomplete = point{-1, -1}

func (p point) less(q point) bool {
	return p.Ballot < q.Ballot || p.Ballot == q.Ballot && p.Decree < q.Decree
}

// group is a partition's configuration as the meta server keeps it. Its ballot grows with every change.
type group struct {
	PID         wire.GPID
	Ballot      int64
	Max         int
	Primary     nodeID
	Secondaries []nodeID
	LastDrops   []nodeID // the latest at the end
	Committed   int64    // the decree at the last change
	// Count is how many partitions the rows are spread over: those of this one have a hash that modulo it is the index.
	// While a table is split it is that of before, until the partition's child is registered.
	Count int32
}

// maxLastDrops bounds group.LastDrops, as the meta server does.
const maxLastDrops = 6

func (g *group) has(id nodeID) bool {
	return id != noNode && (g.Primary == id || slices.Contains(g.Secondaries, id))
}

func (g *group) members() []nodeID {
	if g.Primary == noNode {
		return slices.Clone(g.Secondaries)
	}
	return append([]nodeID{g.Primary}, g.Secondaries...)
}

// drop takes a node out of the group and remembers that it was there.
func (g *group) drop(id nodeID) {
	if g.Primary == id {
		g.Primary = noNode
	}
	g.Secondaries = without(g.Secondaries, id)
	g.LastDrops = append(without(g.LastDrops, id), id)
	if over := len(g.LastDrops) - maxLastDrops; over > 0 {
		g.LastDrops = g.LastDrops[over:]
	}
}

func (g group) clone() group {
	g.Secondaries, g.LastDrops = slices.Clone(g.Secondaries), slices.Clone(g.LastDrops)
	return g
}

func without(ids []nodeID, id nodeID) []nodeID {
	return slices.DeleteFunc(slices.Clone(ids), func(other nodeID) bool { return other == id })
}

// app is a table as the meta server keeps it. A value handed to another server is never changed.
type app struct {
	ID                          int32
	Name, Type                  string
	Status                      wire.AppStatus
	Partitions, Init            int32
	Replicas                    int
	Stateful                    bool
	AtomicIdempotent            bool
	Envs                        map[string]string
	Created, Dropped, ExpiresAt int64         // Unix seconds
	Dups                        []duplication `json:",omitempty"`
	BulkLoading                 bool          `json:",omitempty"`
	Version                     int64         // grows with every change of the above
}

// duplication is one of a table: its writes are shipped to a table of another cluster.
type duplication struct {
	ID                int32
	Status            wire.DupStatus
	FailMode          wire.DupFailMode
	Remote, RemoteApp string
	Replicas          int32 // of the table there, when the duplication makes it
	Created           int64 // Unix milliseconds
}

// assignment tells a replica server what it is in a group.
type assignment struct {
	App   app
	Group group
}

// report is what a replica says of itself.
type report struct {
	Status  wire.ReplicaStatus
	Ballot  int64
	At      point
	Compact wire.CompactStatus
	Full    bool  // its disk takes no writes
	Copy    int64 // of learn: names the copy of rows that it begins, for learnRows and learnEnd
}

// splitOrder is what the meta server wants of the primary of a partition that is to be split: that it makes a child, or
// that it gives up doing so.
type splitOrder struct {
	App    app
	PID    wire.GPID // the parent
	Ballot int64     // of its group
	Stop   bool
}

// dupOrder tells a primary which duplications its table has, and up to which decree it is kept that the follower of each
// has the writes; one that is not in Confirmed has not been begun.
type dupOrder struct {
	App       app
	PID       wire.GPID
	Ballot    int64 // of its group
	Confirmed map[int32]int64
}

// dupReport is how far a primary is with each duplication.
type dupReport struct {
	At   int64 // its last decree
	Dups map[int32]dupProgress
}

type dupProgress struct {
	Confirmed int64  // -1 before it has begun
	Copied    bool   // the follower has the rows that there were before
	Why       string // what is in the way
}

// childOf is the partition that half of the rows of a parent go to, when there were count partitions.
func childOf(parent wire.GPID, count int32) wire.GPID {
	return wire.GPID{App: parent.App, Partition: parent.Partition + count}
}

// mutation is a change of a partition: the effect of some writes as an engine batch. It applies to a replica at Prev,
// which is at Last afterwards.
type mutation struct {
	PID    wire.GPID
	Ballot int64
	Prev   point
	Last   point
	Repr   []byte // never changed
}

// waiter ends once a mutation survives a kill of the server that took it.
type waiter interface{ Wait() error }

// metaLink is what primaries ask of the meta server. The calls answer the group after them.
type metaLink interface {
	// lost takes a secondary that does not take mutations out of the group.
	lost(pid wire.GPID, ballot int64, primary, node nodeID) (group, error)
	// learned makes a secondary of a node that has caught up.
	learned(pid wire.GPID, ballot int64, primary, node nodeID, at point) (group, error)
	// register makes a partition of the child of one that is split: its members are those of the parent, which all have
	// it at that point. A parent whose split was stopped meanwhile keeps its ballot.
	register(pid wire.GPID, ballot int64, primary nodeID, at point) (group, error)
}

// nodeLink is what the meta server and primaries ask of a replica server.
type nodeLink interface {
	assign(assignment) error
	// updateApp brings a table's new envs.
	updateApp(app) error
	// forget closes the replicas of a dropped table.
	forget(appID int32) error
	report(wire.GPID) (report, error)
	// inventory lists what the server has; see recovery.go.
	inventory(fence bool) (inventory, error)
	// addLearner asks a primary to bring a node up to date and have it made a secondary.
	addLearner(pid wire.GPID, ballot int64, node nodeID) error
	// split tells a primary what is wanted of it and answers whether it is making a child as yet.
	split(splitOrder) (underWay bool, err error)
	// duplicate tells a primary of the duplications of its table and answers how far they are.
	duplicate(dupOrder) (dupReport, error)
	// backup begins the backup of a partition, or answers how far it is; see cold.go.
	backup(backupOrder) (backupReport, error)
	// restore begins to fetch a partition of a backup, or answers how far it is; see restore.go.
	restore(restoreOrder) (restoreReport, error)
	// bulk takes a step of a bulk load of a partition, or answers how far it is; see bulk.go.
	bulk(bulkOrder) (bulkReport, error)

	// prepare applies a mutation of a primary.
	prepare(mutation) (waiter, error)
	// learn makes the replica a learner and answers what it has. With clear, its rows are deleted first. What is still
	// under way of an earlier copy comes too late.
	learn(pid wire.GPID, ballot int64, clear bool) (report, error)
	// learnRows adds rows of a copy, as an engine batch; learnEnd says which point they add up to.
	learnRows(pid wire.GPID, ballot, copy int64, repr []byte) error
	learnEnd(pid wire.GPID, ballot, copy int64, at point) error
	// spawn makes an empty child beside a replica, and begins a copy; rows and mutations come to it as to a learner.
	spawn(parent, child wire.GPID, ballot int64) (copy int64, err error)
	// discard deletes a child that was not registered.
	discard(child wire.GPID, ballot int64) error
}

// network finds the servers of a cluster. A server that does not run is errDead.
type network interface {
	meta() (metaLink, error)
	node(nodeID) (nodeLink, error)
	address(nodeID) string
	leader() string // the endpoint of the meta server that leads, "" while none does
	gate(endpoint string) *gate
	release() release
	cluster() string // its name
	// lapsed says that the server itself can tell that nobody has heard it for long: its lease has run out.
	lapsed() bool
	// peer is the list of meta servers of another cluster, "" while that one does not run; not known when nobody has
	// configured it.
	peer(name string) (metas string, known bool)
	// provider is a block service of the servers' configuration.
	provider(name string) (provider, bool)
	config() configuration
	// die ends the server that the network is the view of, as kill -9 would.
	die()
}
