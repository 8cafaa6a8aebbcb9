package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// What is measured when somebody looks, under the names of both releases. What is counted while it happens is in
// stats.go and latency.go.

const mebi = 1 << 20

// figure is something measured about a replica.
type figure struct {
	counter            string // up to 2.5
	metric, unit, help string // from 2.6 on
	value              func(r *replica, n *nodeUsage) float64
}

var replicaFigures = []figure{
	{
		"disk.storage.sst(MB)", "rdb_total_sst_size_mb", "MegaBytes", "megabytes of its tables on disk",
		func(r *replica, _ *nodeUsage) float64 { return float64(r.diskBytes()) / mebi },
	},
	{
		"disk.storage.sst.count", "rdb_total_sst_files", "Files", "tables on disk that may hold its rows",
		func(r *replica, _ *nodeUsage) float64 { return float64(r.countFiles()) },
	},
	{
		"rdb.estimate_num_keys", "rdb_estimated_keys", "Keys", "rows, expired ones too",
		func(r *replica, _ *nodeUsage) float64 { return float64(r.countKeys()) },
	},
	{
		"rdb.memtable.memory_usage", "rdb_memtable_mem_usage_bytes", "Bytes", "its share of the tables in memory",
		func(r *replica, n *nodeUsage) float64 { return n.memTable(r) },
	},
	{
		"rdb.index_and_filter_blocks.memory_usage", "rdb_index_and_filter_blocks_mem_usage_bytes", "Bytes",
		"its share of the indexes of the tables on disk",
		func(r *replica, n *nodeUsage) float64 { return n.index(r) },
	},
}

// nodeUsage is what a whole server takes, looked at once for all its replicas.
type nodeUsage struct {
	engine.Usage
	written  int64 // bytes that the replicas wrote since the server started
	replicas int
	byStatus map[wire.ReplicaStatus]int
}

// usage measures the server; the store is in use.
func (s *replicaServer) usage(replicas []*replica) *nodeUsage {
	n := &nodeUsage{replicas: len(replicas), byStatus: map[wire.ReplicaStatus]int{}}
	for _, r := range replicas {
		n.written += r.stats.written.Load()
		n.byStatus[r.report().Status]++
	}
	var err error
	if n.Usage, err = s.store.Usage(); err != nil {
		s.log("measure the store of %s: %v", s.address, err)
	}
	return n
}

// memTable shares the store's memory out by what replicas wrote, since they all use the same store.
func (n *nodeUsage) memTable(r *replica) float64 {
	if n.written == 0 {
		return float64(n.MemTables) / float64(max(n.replicas, 1))
	}
	return float64(n.MemTables) * float64(r.stats.written.Load()) / float64(n.written)
}

// index does so with the indexes, by what replicas have on disk.
func (n *nodeUsage) index(r *replica) float64 {
	if n.Tables == 0 {
		return 0
	}
	return float64(n.Indexes) * min(1, float64(r.diskBytes())/float64(n.Tables))
}

// diskBytes is what the replica's rows take on the disk; what is only in memory so far takes none.
func (r *replica) diskBytes() uint64 {
	bytes, err := r.s.store.DiskUsage(r.prefix, r.end)
	if err != nil {
		return 0
	}
	return bytes
}

func (r *replica) countFiles() int {
	count, err := r.s.store.Files(r.prefix, r.end)
	if err != nil {
		return 0
	}
	return count
}

// countKeys counts the rows, expired ones too, unless it did since the last write.
func (r *replica) countKeys() int64 {
	at := r.report().At
	r.mu.Lock()
	counted, keys := r.counted, r.keys
	r.mu.Unlock()
	if counted != nil && *counted == at {
		return keys
	}
	iter, err := r.s.store.Iterate(r.prefix, r.end)
	if err != nil {
		return 0
	}
	keys = 0
	for ok := iter.First(); ok; ok = iter.Next() {
		keys++
	}
	if iter.Close() != nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted, r.keys = &at, keys
	return keys
}

// processMemory is what the process has, in bytes; all servers of a sandbox may be in one. Where the system does not
// tell, it is what the program took from it.
func processMemory() (virtual, resident int64) {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		fields := bytes.Fields(text)
		if len(fields) >= 2 {
			size, errSize := strconv.ParseInt(string(fields[0]), 10, 64)
			held, errHeld := strconv.ParseInt(string(fields[1]), 10, 64)
			if errSize == nil && errHeld == nil {
				page := int64(os.Getpagesize())
				return size * page, held * page
			}
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	taken := int64(sample[0].Value.Uint64())
	return taken, taken
}

// replicaCounter is the name of a replica's counter.
func replicaCounter(name string, pid wire.GPID) string {
	return fmt.Sprintf("replica*app.pegasus*%s@%s", name, pid)
}
