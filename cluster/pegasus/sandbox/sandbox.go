// Package sandbox is a small Pegasus cluster on loopback addresses: two meta servers and some replica servers that
// speak Pegasus 2.5's client protocol, for drills, demos and tests. It is no store, and says so where it is asked.
//
//	cluster.go     the cluster: starting and finding its servers; steer.go what is done to them; election.go who leads
//	gate.go        what stands before a server: paused, slow, throttled, fault points; view.go who reaches whom
//	listener.go    frames in, frames out; the same for both kinds of server
//	messages.go    what servers say to each other
//	servers.go     the servers as the cluster has them, in this process or each in its own; of the latter: far.go the
//	               links, farserver.go and watch.go the cluster's side, process.go and world.go the server's own
//	zookeeper.go   what meta servers keep; catchup.go what a new leader tells
//	meta*.go       the meta server: tables, envs, calls; guardian.go who replaces whom
//	node.go        a replica server; data.go and scan.go its calls; limits.go what a table's envs deny
//	command.go     remote commands; settings.go, counters.go and stats.go what they show and change
//	replica.go     one replica; primary.go how writes are ordered and acknowledged; learner.go how one catches up
//	layout.go      keys and values in the store
//
// What holds: a write is acknowledged when every member of its partition's group has it, at least a majority of the
// replicas wanted, and then survives any kill of servers, of the whole process, and of any of the processes.
package sandbox

import "shardsh/cluster/sandbox"

// Kind is the Pegasus emulator.
func Kind() sandbox.Kind {
	return sandbox.Kind{
		System: "pegasus",
		Clusters: []sandbox.Cluster{
			{Name: "onebox", Aliases: []string{"ClusterA"}},
			{Name: "onebox2", Aliases: []string{"ClusterB"}},
		},
		New: start, RunNode: runNode,
	}
}
