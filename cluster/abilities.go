package cluster

import (
	"context"
	"iter"
	"time"
)

// Ability is something that only some stores can do: a small interface, and the name commands ask for it by
// (spec.Command.Needs). Drivers implement the interface or do not; nothing is registered.
type Ability struct {
	Name  string // "tables"
	Means string // what having it lets one do, one line
	Has   func(Driver) bool
}

func has[T any](d Driver) bool { _, ok := d.(T); return ok }

// Abilities lists all of them, in the order of the matrix.
func Abilities() []Ability {
	return []Ability{
		{"tables", "create and drop tables", has[TableAdmin]},
		{"table settings", "read and change a table's settings", has[TableSettings]},
		{"examination", "know what is wrong with a cluster beyond its replicas", has[Examiner]},
		{"forecast", "tell what happens if nodes fail", has[Forecaster]},
		{"node ages", "tell since when a node has been up", has[NodeAges]},
		{"databases", "keep tables in databases", has[Databases]},
	}
}

// Placer tells where replicas are without asking the nodes that have them. It is no ability one could lack: whoever
// wants no more calls Placement.
type Placer interface {
	// Placement yields what Replicas does, as far as the metadata server knows it: Offset, Records and Memory are nil,
	// and the calls it costs grow with the number of tables only.
	Placement(ctx context.Context, table string) iter.Seq2[Replica, error]
}

// Placement yields the replicas of a table, or of all tables for "", for callers that do not look at what only nodes
// know of them. A driver that cannot do so for less answers all it knows.
func Placement(ctx context.Context, d Driver, table string) iter.Seq2[Replica, error] {
	if p, ok := d.(Placer); ok {
		return p.Placement(ctx, table)
	}
	return d.Replicas(ctx, table)
}

// TableAdmin creates and drops tables.
type TableAdmin interface {
	// CreateTable returns the new table's ID once the metadata server accepted it; partitions may not be ready.
	CreateTable(ctx context.Context, table NewTable) (int64, error)
	// DropTable drops a table. Where the store can recall it, keep is how long; 0 is the store's default.
	DropTable(ctx context.Context, table string, keep time.Duration) error
}

// NewTable is a table to be created.
type NewTable struct {
	Name       string
	Partitions int
	Replicas   int
	Settings   map[string]string
}

// TableSettings reads and changes the settings of one table.
type TableSettings interface {
	GetTableSettings(ctx context.Context, table string) (map[string]string, error)
	SetTableSettings(ctx context.Context, table string, settings map[string]string) error
	// DeleteTableSettings returns the keys that were there and are gone.
	DeleteTableSettings(ctx context.Context, table string, keys []string) ([]string, error)
}

// Examiner knows the store's own ways of being unwell.
type Examiner interface {
	// Examine reports what Replicas and Nodes do not show: switched off healing, settings that shut clients out. Where
	// they fail because of the cluster's state, it says why instead of failing too.
	Examine(ctx context.Context) ([]Finding, error)
	// Remedy answers the command line that helps against a finding of the neutral kinds, "" when there is none.
	Remedy(f Finding) string
}

// Forecaster knows what the store does about failures that have not happened.
type Forecaster interface {
	// Forecast answers what would become of failures, the likely ones first; nodes in down count as failed already.
	Forecast(ctx context.Context, down []string) ([]Prospect, error)
}

// Prospect is what would happen, in a few words each.
type Prospect struct{ If, Then string }

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind   FindingKind
	Object string // the node, table, or setting
	What   string // what is wrong, in a few words
	Help   string // the command line that would help
	// Bad findings make a cluster unhealthy; the others are worth knowing.
	Bad bool
}

// FindingKind sorts findings; the neutral ones are found by the shell for every store.
type FindingKind string

// The neutral kinds; NodeSilent is left to Examine.
const (
	NodeDown    FindingKind = "node_down"
	NodeSilent  FindingKind = "node_silent" // alive to the metadata server, and does not answer: Object is its endpoint
	NoLeader    FindingKind = "no_leader"
	NoWrites    FindingKind = "no_writes"
	FewReplicas FindingKind = "few_replicas"
	HeldSetting FindingKind = "held_setting"
)

// Databases keeps tables in databases: `use` chooses one, and words take their tables from it.
type Databases interface {
	// Databases lists their names, sorted.
	Databases(ctx context.Context) ([]string, error)
}

// NodeAges tells how long nodes have been up, at one call a node.
type NodeAges interface {
	// Ages answers for the endpoints that could be asked; the others are missing.
	Ages(ctx context.Context, endpoints []string) (map[string]time.Duration, error)
}
