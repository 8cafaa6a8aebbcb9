package sandbox

import (
	"slices"
	"strings"
	"sync/atomic"

	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/fault"
)

// gate is what stands between a server's port and the server. It belongs to the endpoint and outlives the process that
// listens there.
type gate struct {
	fault.Gate
	points *points      // of the server's role
	filled atomic.Int64 // percent of each disk that something else takes
	deaf   atomic.Bool  // the server's own process was stopped, or hangs: it is as good as paused
}

func newGate(p *points) *gate { return &gate{points: p} }

func (g *gate) paused() bool { return g.Paused() || g.deaf.Load() }

// pointUncured is no call's: the meta server leaves out a look at its groups, so that those who lost a replica or their
// primary stay as they are, although everything is answered.
const pointUncured = "meta.skipped:cure"

// points are the fault points of all servers of one role.
type points struct {
	*fault.Points
	prefix string // "meta", "node"
}

func newPoints(role string) *points {
	p := &points{prefix: "node"}
	methods := (&replicaServer{}).methods()
	if role == metaRole {
		p.prefix, methods = "meta", (&metaServer{}).methods()
	}
	var calls []string
	for name := range methods {
		calls = append(calls, pointName(name))
	}
	slices.Sort(calls)
	all := fault.OfCalls(p.prefix, calls)
	if role == metaRole {
		all = append(all, sandbox.Point{Name: pointUncured, Says: "a round of curing partitions is left out"})
	} else {
		all = append(all,
			sandbox.Point{Name: pointShip, Says: "writes are not sent to a follower; they are tried again"},
			sandbox.Point{Name: pointUpload, Says: "a file of a backup is not uploaded; it is tried again"},
			sandbox.Point{Name: pointCheckpoint, Says: "the checkpoint of a partition for a backup fails, and so the backup"},
			sandbox.Point{Name: pointDownload, Says: "a file of a backup is not fetched for a restore; it is tried again"},
			sandbox.Point{Name: pointBulkDownload, Says: "a file of a bulk load is not fetched; it is tried again"},
			sandbox.Point{Name: pointBulkTrouble, Says: "a server has passing trouble with its download of a bulk load: all begins anew, and after ten times it fails"},
			sandbox.Point{Name: pointIngesting, Says: "the ingestion of a bulk load waits, and with it all who write to the partition"},
			sandbox.Point{Name: pointIngest, Says: "the files of a bulk load are refused, and it fails"},
			sandbox.Point{Name: pointDamaged, Says: "the log that is shipped to a follower cannot be read; the fail mode says what comes of it"})
	}
	p.Points = fault.NewPoints(all...)
	return p
}

// pointName is how fault points call a call: RPC_CM_CREATE_APP is "create", RPC_RRDB_RRDB_MULTI_PUT "multi-put".
func pointName(rpc string) string {
	name := strings.TrimPrefix(rpc, "RPC_")
	for _, prefix := range []string{"CM_", "RRDB_RRDB_"} {
		name = strings.TrimPrefix(name, prefix)
	}
	switch name {
	case "CREATE_APP", "DROP_APP", "RECALL_APP", "RENAME_APP":
		name = strings.TrimSuffix(name, "_APP")
	case "QUERY_PARTITION_CONFIG_BY_INDEX":
		name = "QUERY_CONFIG"
	case "CLI_CLI_CALL":
		name = "COMMAND"
	}
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// take says whether a call is lost here, and uses up one of the point's times. The point's name is made only when
// some point is armed.
func (p *points) take(where, rpc string) bool {
	return p.Live() && p.Take(fault.CallPoint(p.prefix, where, pointName(rpc)))
}
