package sandbox

import (
	"slices"
	"testing"
	"time"
)

func TestPercentiles(t *testing.T) {
	l := newLatencies()
	const get = "RPC_RRDB_RRDB_GET"
	if got := l.kinds[get].at(); !slices.Equal(got, []int64{0, 0, 0, 0, 0}) {
		t.Errorf("of nothing: %v", got)
	}
	l.add(get, 7)
	if got := l.kinds[get].at(); !slices.Equal(got, []int64{7, 7, 7, 7, 7}) {
		t.Errorf("of one: %v", got)
	}
	for i := range sampleCount - 1 { // the ring is full: 7 and 1 … 4095
		l.add(get, time.Duration(i+1))
	}
	if got := l.kinds[get].at(); !slices.Equal(got, []int64{2048, 3686, 3891, 4055, 4091}) {
		t.Errorf("of 4096: %v", got)
	}
	for range sampleCount { // and what was before is forgotten
		l.add(get, 3)
	}
	if got := l.kinds[get].at(); !slices.Equal(got, []int64{3, 3, 3, 3, 3}) {
		t.Errorf("of the last ones: %v", got)
	}
	l.add("RPC_CM_LIST_APPS", 1)
	(*latencies)(nil).add(get, 1)
}
