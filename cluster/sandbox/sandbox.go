// Package sandbox starts and steers sandbox clusters: small servers on this machine that speak a store's own wire
// protocol. It knows no store. A store's emulator is a Kind, handed to Serve by the one file of the program that links
// emulators; a shell reaches them only through the control socket, never in its own process:
//
//	shell ── Launch or Dial ──▶ Client ══ control socket ══▶ Serve ──▶ Kind.New ──▶ ClusterServer
//	shell ── the store's driver ════════ the store's protocol, loopback ═══════════▶ its nodes
//
// All nodes of a sandbox are in the process that serves it, unless each shall have its own: that process starts those
// then, and plays what the nodes of a store share (its ZooKeeper, the network between them); see process.go and link.
//
// Adding a system is a folder cluster/<system>/sandbox with a function that returns its Kind, and one line in
// cmd/shardsh/sandbox.go.
package sandbox

import (
	"context"
	"io"
	"slices"
)

// TimersFactor is what sandboxes divide the timers of their stores by (grace periods, delays before a copy is made),
// so that a drill takes seconds. Answers about data (TTLs, reservations) are never scaled.
const TimersFactor = 20

// Providers are the block services that every sandbox has, by name: directories of it, laid out as a local_service is.
// Its shell and its servers know them by the same names.
func Providers() []string { return []string{"disk", "hdfs_zjy"} }

// Cluster is a sandbox cluster that can be opened by its name.
type Cluster struct {
	Name    string
	Aliases []string
	System  string
}

// Kind is one store's emulator.
type Kind struct {
	System   string
	Clusters []Cluster
	// Compat lists the releases of the store that it can speak like, the default first; none where there is no choice.
	Compat []string
	// New starts a cluster and returns once it answers. It may fail with an error that wraps syscall.EADDRINUSE, and
	// must then have left Config.Dir as it was: it is called again with another network.
	New func(ctx context.Context, config Config) (ClusterServer, error)
	// RunNode runs one node in a process of its own, for Config.Nodes. link is how the cluster's process talks to it;
	// RunNode returns when that one is gone. nil: all nodes of the system's clusters are in one process, always.
	RunNode func(ctx context.Context, link io.ReadWriteCloser) error
}

// Config is what a cluster is started with.
type Config struct {
	Name string // Cluster.Name
	// Dir is the cluster's own directory. It exists; what is in it was left by an earlier run of the same cluster.
	Dir string
	Net *Network
	Log func(format string, args ...any)
	// Providers are the sandbox's block services by name: directories, which a server takes for those of a provider of
	// the type it plays whatever the name says, or URLs of real ones (hdfs://HOST:PORT/ROOT).
	Providers map[string]string
	// Settings are the system's own, as ServeConfig.Settings has them. One that it does not have is spec.Usage.
	Settings map[string]string
	// Compat is one of Kind.Compat, or "" for the default.
	Compat string
	// Peer is the address of another cluster of the sandbox, by its name: "" while it is not open. nil: there are no others.
	Peer func(name string) (address string, known bool)
	// Nodes starts the processes of the nodes when each shall have its own; nil keeps them all in this one.
	Nodes *NodeProcesses
}

// ClusterServer is a running cluster. Its methods may be called from any goroutine. What else may be done to it is in
// faults.go, in interfaces that it may have.
type ClusterServer interface {
	// Address is what a driver opens: what config.ini would hold for the cluster.
	Address() string
	// Nodes lists all nodes, dead ones too, in a fixed order: metadata servers first.
	Nodes() []NodeStatus
	// Kill ends a node as kill -9 would, and returns when it is dead. What the cluster makes of it comes later. The
	// node is named by its endpoint. A node that is dead already is Refused.
	Kill(ctx context.Context, endpoint string) error
	// Start starts a dead node again and returns when it answers, or lets a paused one go on. A node that runs is
	// Refused.
	Start(ctx context.Context, endpoint string) error
	// Close stops the cluster and waits for all of it. Data stays where it is.
	Close() error
}

// NodeStatus is one line of `sandbox list`.
type NodeStatus struct {
	Cluster  string `json:"cluster"`
	System   string `json:"system"`
	Role     string `json:"role"` // the store's own word: "meta-server"
	Endpoint string `json:"endpoint"`
	State    string `json:"state"`            // Alive, Paused or Dead
	PID      int    `json:"pid"`              // of the process it runs in, its own or one with others; 0 while dead
	Timers   int    `json:"timers"`           // what the store's timers are divided by
	Faults   string `json:"faults,omitempty"` // what else is wrong with it: "slow 50ms, cut off 127.0.1.32:34801"
}

// What a node's State may be.
const (
	Alive  = "alive"
	Paused = "paused"
	Dead   = "dead"
)

// Clusters lists the clusters of the kinds, in order.
func Clusters(kinds []Kind) []Cluster {
	var all []Cluster
	for _, kind := range kinds {
		for _, c := range kind.Clusters {
			c.System = kind.System
			all = append(all, c)
		}
	}
	return all
}

// find returns the cluster of that name or alias, its kind and its place among all clusters.
func find(kinds []Kind, name string) (kind Kind, cluster Cluster, place int, ok bool) {
	for _, k := range kinds {
		for _, c := range k.Clusters {
			if c.System = k.System; c.Name == name || slices.Contains(c.Aliases, name) {
				return k, c, place, true
			}
			place++
		}
	}
	return Kind{}, Cluster{}, 0, false
}
