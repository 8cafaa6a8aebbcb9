// Package sandbox is a small Pegasus cluster on loopback addresses: two meta servers and some replica servers that
// speak Pegasus 2.5's client protocol, or 2.6's, for drills, demos and tests. It is no store, and says so where it is asked.
//
//	cluster.go     the cluster: starting and finding its servers; steer.go what is done to them; election.go who leads
//	gate.go        what stands before a server: paused, slow, throttled, fault points; view.go who reaches whom
//	listener.go    frames in, frames out; the same for both kinds of server. http.go and pages*.go: HTTP on the same port
//	forward.go     what a meta server that does not lead does with the requests of C++ clients and servers
//	messages.go    what servers say to each other
//	servers.go     the servers as the cluster has them, in this process or each in its own; of the latter: far.go the
//	               links, farserver.go and watch.go the cluster's side, process.go and world.go the server's own
//	zookeeper.go   what meta servers keep; catchup.go what a new leader tells
//	meta*.go       the meta server: tables, envs, calls, splits; guardian.go who replaces whom
//	node.go        a replica server; data.go and scan.go its calls; limits.go what a table's envs deny
//	command.go     remote commands; settings.go what they change; counters.go and metrics.go what is counted, for 2.5 and 2.6
//	stats.go       what replicas count; latency.go how long calls took; figures.go what is measured when somebody looks
//	disk.go        the disks of a replica server; hotkey.go what is asked for most; apps.go what it knows of tables
//	recovery.go    a meta server that has lost everything asks the replica servers
//	replica.go     one replica; primary.go how writes are ordered and acknowledged; learner.go how one catches up
//	split.go       how a partition becomes two; child.go how the second one is made; compact.go what is cleared away
//	dup_log.go     what is kept for followers in other clusters; dup_ship.go how it gets there, through abroad.go;
//	               dup_apply.go what is done with it there; meta_dup.go what the meta server has to do with it
//	layout.go      keys and values in the store
//	release.go     what depends on the release that is spoken
//
// What holds: a write is acknowledged when every member of its partition's group has it, at least a majority of the
// replicas wanted, and then survives any kill of servers, of the whole process, and of any of the processes.
package sandbox

import (
	"context"
	"io"
	"slices"

	"shardsh/cluster/sandbox"
)

// system is what the emulator plays.
const system = "pegasus"

// Kind is the Pegasus emulator, whose block services are directories of this machine.
func Kind() sandbox.Kind { return KindWith(nil) }

// KindWith is one that opens block services of other types, too.
func KindWith(open BlockOpener) sandbox.Kind {
	return sandbox.Kind{
		System:   system,
		Clusters: siblings(),
		Compat:   slices.Clone(releaseNames[:]),
		New: func(ctx context.Context, config sandbox.Config) (sandbox.ClusterServer, error) {
			return startCluster(ctx, config, replicaServers, open)
		},
		RunNode: func(_ context.Context, stream io.ReadWriteCloser) error { return runNode(stream, open) },
	}
}

// siblings are the Pegasus clusters of a sandbox. Their places are their ids in duplication.
func siblings() []sandbox.Cluster {
	return []sandbox.Cluster{
		{Name: "onebox", Aliases: []string{"ClusterA"}},
		{Name: "onebox2", Aliases: []string{"ClusterB"}},
	}
}
