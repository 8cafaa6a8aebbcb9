package sandbox

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Which hash key of a partition is asked for most. A detection looks at the requests that the primary takes, in two
// phases: first it counts them in a few buckets of hash keys, and when one bucket stands out, it counts the hash keys in
// that one.

const (
	hotBuckets = 37 // prime, so that a table's partitions do not leave some of them empty
	// By how many standard deviations the hottest must lie above the mean of the others (hot_bucket_variance_threshold,
	// hot_key_variance_threshold).
	hotBucketDeviations = 7
	hotKeyDeviations    = 5
	// hotKeysMost bounds the hash keys of one bucket that are told apart between two looks.
	hotKeysMost = 1000
	// hotInterval is the time between looks (hotkey_analyse_time_interval_s, 10 s in Pegasus).
	hotInterval = 10 * time.Second / timers
	// hotLimit ends a detection that finds nothing (max_seconds_to_detect_hotkey). It is for people, and so not scaled.
	hotLimit = 150 * time.Second
)

type hotState int32

const (
	hotStopped hotState = iota
	hotCoarse
	hotFine
	hotFinished
)

func (s hotState) String() string {
	return [...]string{"STOPPED", "COARSE_DETECTING", "FINE_DETECTING", "FINISHED"}[s]
}

// hotkeys is one detection: of the reads or of the writes of a replica.
type hotkeys struct {
	state   atomic.Int32 // a hotState; read without the lock by every request
	buckets [hotBuckets]atomic.Int64

	mu     sync.Mutex
	stop   chan struct{} // closed when the running one shall end; nil while none runs
	bucket uint64        // that stands out, while hotFine
	keys   map[string]int64
	result string
}

func (h *hotkeys) now() hotState { return hotState(h.state.Load()) }

func bucketOf(hash []byte) uint64 { return wire.Hash(hash, nil) % hotBuckets }

// capture counts requests for a hash key. While nothing is detected it costs one look at the state.
func (h *hotkeys) capture(hash []byte, times int) {
	switch h.now() {
	case hotCoarse:
		h.buckets[bucketOf(hash)].Add(int64(max(times, 1)))
	case hotFine:
		bucket := bucketOf(hash)
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, known := h.keys[string(hash)]; bucket == h.bucket && h.keys != nil && (known || len(h.keys) < hotKeysMost) {
			h.keys[string(hash)] += int64(max(times, 1))
		}
	}
}

// captureKey counts a request for the row of a full key.
func (h *hotkeys) captureKey(full []byte) {
	if h.now() == hotStopped {
		return
	}
	if hash, _, err := wire.DecodeKey(full); err == nil {
		h.capture(hash, 1)
	}
}

// clear forgets everything; h.mu is held.
func (h *hotkeys) clear() {
	if h.stop != nil {
		close(h.stop)
	}
	h.stop, h.keys, h.result = nil, nil, ""
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
	h.state.Store(int32(hotStopped))
}

// look draws what follows from what was counted since the last look, and begins to count anew.
func (h *hotkeys) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.now() {
	case hotCoarse:
		counts := make([]int64, hotBuckets)
		for i := range counts {
			counts[i] = h.buckets[i].Swap(0)
		}
		if i, found := outlier(counts, hotBucketDeviations); found {
			h.bucket, h.keys = uint64(i), map[string]int64{}
			h.state.Store(int32(hotFine))
		}
	case hotFine:
		keys, counts := make([]string, 0, len(h.keys)), make([]int64, 0, len(h.keys))
		for key, count := range h.keys {
			keys, counts = append(keys, key), append(counts, count)
		}
		clear(h.keys)
		if i, found := outlier(counts, hotKeyDeviations); found {
			h.result, h.keys = keys[i], nil
			h.state.Store(int32(hotFinished))
		}
	}
}

// outlier finds the greatest of some numbers when it is far above the others. Of one or two the greater is.
func outlier(counts []int64, deviations float64) (index int, found bool) {
	if len(counts) == 0 {
		return 0, false
	}
	sum := 0.0
	for i, n := range counts {
		sum += float64(n)
		if n > counts[index] {
			index = i
		}
	}
	most, others := float64(counts[index]), float64(len(counts)-1)
	mean, squares := 0.0, 0.0
	if others > 0 {
		mean = (sum - most) / others
	}
	for i, n := range counts {
		if i != index {
			squares += (float64(n) - mean) * (float64(n) - mean)
		}
	}
	deviation := 0.0
	if others > 1 {
		deviation = math.Sqrt(squares / (others - 1))
	}
	return index, most > mean && most-mean >= deviations*deviation
}

// detect looks at what was counted until the detection is stopped, has found something, takes too long, or the replica
// leads no more.
func (r *replica) detect(h *hotkeys, stop chan struct{}) {
	tick := time.NewTicker(hotInterval)
	defer tick.Stop()
	limit := time.NewTimer(hotLimit)
	defer limit.Stop()
	give := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.stop == stop {
			h.clear()
		}
	}
	for {
		select {
		case <-r.s.stop:
			return
		case <-stop:
			return
		case <-limit.C:
			give()
			return
		case <-tick.C:
		}
		if r.report().Status != wire.ReplicaPrimary {
			give()
			return
		}
		if h.look(); h.now() == hotFinished {
			return
		}
	}
}

func (s *replicaServer) detectHotkey(_ *inbound, q *wire.DetectHotkeyRequest, out *wire.DetectHotkeyResponse) string {
	if !s.enter() {
		return wire.CodeServiceNotActive
	}
	defer s.leave()
	answer := func(code, format string, args ...any) string {
		hint := fmt.Sprintf(format, args...)
		out.Err, out.Hint = code, &hint
		return ""
	}
	r := s.replica(q.PID)
	switch {
	case r == nil:
		return answer(wire.CodeObjectNotFound, "there is no replica of %s here", q.PID)
	case q.Type != wire.HotkeyRead && q.Type != wire.HotkeyWrite:
		return answer(wire.CodeInvalidParameters, "there is no type %d of hot keys", q.Type)
	case q.Action < wire.HotkeyStart || q.Action > wire.HotkeyQuery:
		return answer(wire.CodeInvalidParameters, "there is no action %d", q.Action)
	}
	if status := r.report().Status; status != wire.ReplicaPrimary {
		return answer(wire.CodeInvalidState, "requests go to the primary, the replica of %s is %s", q.PID, status)
	}
	h := &r.hot[q.Type]
	h.mu.Lock()
	defer h.mu.Unlock()
	state := h.now()
	switch {
	case q.Action == wire.HotkeyStop:
		h.clear()
		return answer(wire.OK, "the detection of %s hot keys is stopped, what it found is forgotten", q.Type)
	case q.Action == wire.HotkeyQuery && state == hotFinished:
		found := escapeKey(h.result)
		out.Err, out.Result = wire.OK, &found
		return ""
	case q.Action == wire.HotkeyQuery:
		return answer(wire.CodeBusy, "no %s hot key is known, state %s", q.Type, state)
	case state == hotFinished:
		return answer(wire.CodeBusy, "a %s hot key was found: %s; stop the detection before it is started anew", q.Type, escapeKey(h.result))
	case state != hotStopped:
		return answer(wire.CodeBusy, "%s hot keys are being detected already, state %s", q.Type, state)
	}
	stop := make(chan struct{})
	h.stop = stop
	h.state.Store(int32(hotCoarse))
	s.tasks.Go(func() { r.detect(h, stop) })
	return answer(wire.OK, "the detection of %s hot keys is started", q.Type)
}

// escapeKey writes a hash key as Pegasus writes it into the answer, in C's escapes.
func escapeKey(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '"' || c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
