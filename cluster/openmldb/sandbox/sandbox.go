// Package sandbox is a small OpenMLDB cluster on loopback addresses: two nameservers and three tablets that speak the
// store's own protocol, for drills, demos and tests, and a fourth tablet that joins when it is started. It is no store, and
// says so where it is asked.
//
//	cluster.go    the cluster: starting and finding its servers; steer.go what is done to them
//	network.go    who reaches whom
//	settings.go   what a cluster is started with
//	fill.go       its first content; revive.go what a later run finds; moved.go on which other addresses
//
//	nameserver    metadata, operations, failover
//	tablet        rows, replication
//	coord         what stands in ZooKeeper's place, or on top of a real one
//	port          frames, and HTTP
//
// Servers talk to each other by nothing but the calls of a real cluster, and find each other in the coordination tree.
package sandbox

import (
	"context"

	"shardsh/cluster/sandbox"
)

// System is the store's name.
const System = "openmldb"

// second is the cluster that has a database and no table yet: what is copied goes there.
const second = "openmldb2"

// Kind is the OpenMLDB emulator.
func Kind() sandbox.Kind {
	return sandbox.Kind{
		System:   System,
		Clusters: []sandbox.Cluster{{Name: "openmldb"}, {Name: second}},
		Compat:   releases,
		New: func(ctx context.Context, config sandbox.Config) (sandbox.ClusterServer, error) {
			return start(ctx, config)
		},
	}
}
