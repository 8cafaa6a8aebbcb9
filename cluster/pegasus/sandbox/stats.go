package sandbox

import (
	"sync"
	"sync/atomic"
	"time"
)

// What a replica counts, under the names that Pegasus's perf counters have up to 2.5. Every replica counts what it does
// itself, so that a table's numbers are the sums over its replicas.

const (
	statReadUnits = iota + len(rateNames)
	statWriteUnits
	statWriteDelayed
	statWriteRejected
	statReadDelayed
	statReadRejected
	statDupDisabled
	statDupLost
	statDupLagging
	statDupConfirmed
	statDupBytes
	statCount
)

// The rates of duplication, as rateNames has them.
const (
	statDupRequests = 11 + iota
	statDupShipped
	statDupFailed
)

// rateNames are calls per second.
var rateNames = [...]string{
	"get_qps", "multi_get_qps", "batch_get_qps", "put_qps", "multi_put_qps", "remove_qps", "multi_remove_qps", "incr_qps",
	"check_and_set_qps", "check_and_mutate_qps", "scan_qps", "duplicate_qps", "dup_shipped_ops", "dup_failed_shipping_ops",
}

// metricNames are what both are called from 2.6 on, where they only grow.
var metricNames = [statCount]string{
	"get_requests", "multi_get_requests", "batch_get_requests", "put_requests", "multi_put_requests", "remove_requests",
	"multi_remove_requests", "incr_requests", "check_and_set_requests", "check_and_mutate_requests", "scan_requests",
	"dup_requests", "dup_shipped_successful_requests", "dup_shipped_failed_requests",
	"read_capacity_units", "write_capacity_units", "throttling_delayed_write_requests", "throttling_rejected_write_requests",
	"throttling_delayed_read_requests", "throttling_rejected_read_requests",
	"dup_rejected_non_idempotent_write_requests", "dup_recent_lost_mutations", "dup_lagging_writes", "dup_confirmed_mutations",
	"dup_shipped_bytes",
}

// recentNames are numbers since they were last read.
var recentNames = map[int]string{
	statReadUnits: "recent.read.cu", statWriteUnits: "recent.write.cu",
	statWriteDelayed: "recent.write.throttling.delay.count", statWriteRejected: "recent.write.throttling.reject.count",
	statReadDelayed: "recent.read.throttling.delay.count", statReadRejected: "recent.read.throttling.reject.count",
}

// callStats says which rate a call counts for.
var callStats = map[string]int{
	"RPC_RRDB_RRDB_GET": 0, "RPC_RRDB_RRDB_MULTI_GET": 1, "RPC_RRDB_RRDB_BATCH_GET": 2, "RPC_RRDB_RRDB_PUT": 3,
	"RPC_RRDB_RRDB_MULTI_PUT": 4, "RPC_RRDB_RRDB_REMOVE": 5, "RPC_RRDB_RRDB_MULTI_REMOVE": 6, "RPC_RRDB_RRDB_INCR": 7,
	"RPC_RRDB_RRDB_CHECK_AND_SET": 8, "RPC_RRDB_RRDB_CHECK_AND_MUTATE": 9, "RPC_RRDB_RRDB_GET_SCANNER": 10,
	"RPC_RRDB_RRDB_SCAN": 10,
}

// unitBytes is a capacity unit: what a request costs at least.
const unitBytes = 4096

func units(bytes int) int64 { return int64(max(1, (bytes+unitBytes-1)/unitBytes)) }

type stats struct {
	counts  [statCount]atomic.Int64
	written atomic.Int64 // bytes of all mutations since the server started
	lag     samples      // milliseconds that writes of other clusters took to come

	mu    sync.Mutex
	since time.Time // of the last look at the rates
	seen  [len(rateNames)]int64
	rates [len(rateNames)]float64
}

func (s *stats) add(stat int, n int64) { s.counts[stat].Add(n) }

// call counts a call that is carried out.
func (s *stats) call(name string) {
	if stat, known := callStats[name]; known {
		s.add(stat, 1)
	}
}

// verdict counts what a table's limits made of a request.
func (s *stats) verdict(v verdict, delayed, rejected int) {
	switch {
	case v.code != "":
		s.add(rejected, 1)
	case v.after > 0:
		s.add(delayed, 1)
	}
}

// rateWindow is the least time over which rates are taken, as in Pegasus; whoever looks sooner sees those from before.
const rateWindow = 100 * time.Millisecond

// perSecond answers the rates since they were last looked at.
func (s *stats) perSecond(started, now time.Time) [len(rateNames)]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.since.IsZero()
	if first {
		s.since = started
	}
	if took := now.Sub(s.since); took >= rateWindow || first && took > 0 {
		for i := range rateNames {
			count := s.counts[i].Load()
			s.rates[i], s.seen[i] = float64(count-s.seen[i])/took.Seconds(), count
		}
		s.since = now
	}
	return s.rates
}

// nodeStats is what a whole server counts.
type nodeStats struct {
	readFails, writeFails atomic.Int64
	dups                  [2]rate // confirmed mutations and shipped bytes, over all replicas
}

// rate is how fast a number grows.
type rate struct {
	mu    sync.Mutex
	since time.Time
	seen  int64
	rate  float64
}

// perSecond is as that of stats.
func (r *rate) perSecond(count int64, started, now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = started
	}
	if took := now.Sub(r.since); took >= rateWindow {
		r.rate, r.seen, r.since = float64(count-r.seen)/took.Seconds(), count, now
	}
	return r.rate
}
