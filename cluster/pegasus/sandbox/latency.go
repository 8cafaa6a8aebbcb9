package sandbox

import (
	"slices"
	"sync/atomic"
	"time"
)

// latencies are how long the last calls of each kind took a server: from when they were read until their answers were
// ready to leave.
type latencies struct{ kinds map[string]*samples }

// sampled are the calls whose latencies are kept.
var sampled = []string{
	"RPC_RRDB_RRDB_GET", "RPC_RRDB_RRDB_MULTI_GET", "RPC_RRDB_RRDB_BATCH_GET", "RPC_RRDB_RRDB_SCAN", "RPC_RRDB_RRDB_GET_SCANNER",
	"RPC_RRDB_RRDB_PUT", "RPC_RRDB_RRDB_MULTI_PUT", "RPC_RRDB_RRDB_REMOVE", "RPC_RRDB_RRDB_MULTI_REMOVE", "RPC_RRDB_RRDB_INCR",
	"RPC_RRDB_RRDB_CHECK_AND_SET", "RPC_RRDB_RRDB_CHECK_AND_MUTATE",
}

func newLatencies() *latencies {
	l := &latencies{kinds: map[string]*samples{}}
	for _, rpc := range sampled {
		l.kinds[rpc] = &samples{}
	}
	return l
}

// add notes one call. Calls of other kinds are not kept.
func (l *latencies) add(rpc string, took time.Duration) {
	if l == nil {
		return
	}
	if s := l.kinds[rpc]; s != nil {
		s.add(int64(took))
	}
}

// sampleCount is how many calls of a kind are looked back at, as many as Pegasus does.
const sampleCount = 4096

// samples keep the last values, in a ring that is made with the first one.
type samples struct {
	next atomic.Uint64
	ring atomic.Pointer[[sampleCount]atomic.Int64]
}

func (s *samples) add(value int64) {
	ring := s.ring.Load()
	if ring == nil {
		s.ring.CompareAndSwap(nil, new([sampleCount]atomic.Int64))
		ring = s.ring.Load()
	}
	ring[(s.next.Add(1)-1)%sampleCount].Store(value)
}

// percentile is one of the values of which a share is smaller.
type percentile struct {
	name  string
	share float64
}

var percentiles = []percentile{{"p50", 0.50}, {"p90", 0.90}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}}

// p99 is the place of that percentile in percentiles.
const p99 = 3

// at answers the values at the percentiles, in their order; 0 while there are none.
func (s *samples) at() []int64 {
	values := make([]int64, len(percentiles))
	ring := s.ring.Load()
	count := min(s.next.Load(), sampleCount)
	if ring == nil || count == 0 {
		return values
	}
	sorted := make([]int64, count)
	for i := range sorted {
		sorted[i] = ring[i].Load()
	}
	slices.Sort(sorted)
	for i, p := range percentiles {
		values[i] = sorted[int(float64(count)*p.share)]
	}
	return values
}
