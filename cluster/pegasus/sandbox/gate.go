package sandbox

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// gate is what stands between a server's port and the server: it can be shut, slow, narrow, or swallow calls. It
// belongs to the endpoint and outlives the process that listens there.
type gate struct {
	points *points // of the server's role
	slow   atomic.Int64
	filled atomic.Int64 // percent of each disk that something else takes
	writes bucket

	shut   atomic.Bool // opened is not nil; read without the lock by every request
	mu     sync.Mutex
	opened chan struct{} // closed when the server goes on; nil while it is not paused
}

func newGate(p *points) *gate { return &gate{points: p} }

func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
		g.shut.Store(true)
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
		g.shut.Store(false)
	}
}

func (g *gate) paused() bool { return g.shut.Load() }

// pass waits while the server is paused; false when it ended instead.
func (g *gate) pass(ended <-chan struct{}) bool {
	if !g.shut.Load() {
		return true
	}
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return true
	}
	select {
	case <-opened:
		return true
	case <-ended:
		return false
	}
}

func (g *gate) delay() time.Duration { return time.Duration(g.slow.Load()) }

// bucket bounds how often something happens in a second. The zero value bounds nothing.
type bucket struct {
	bounds atomic.Bool // rate is not 0; read without the lock by every write

	mu    sync.Mutex
	rate  float64 // per second; 0 is no bound
	left  float64
	since time.Time
}

// set sets the rate, and fills the bucket with what one second brings.
func (b *bucket) set(rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate, b.left, b.since = rate, rate, time.Now()
	b.bounds.Store(rate > 0)
}

func (b *bucket) take(n float64) bool {
	if !b.bounds.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate <= 0 {
		return true
	}
	now := time.Now()
	b.left = min(max(b.rate, 1), b.left+b.rate*now.Sub(b.since).Seconds())
	b.since = now
	if b.left < n && b.left < b.rate {
		return false
	}
	b.left -= n
	return true
}

func (b *bucket) bound() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate
}

// Where a call can be lost.
const (
	pointReceived = "received"      // before it is carried out; the connection stays, and stays silent
	pointAccepted = "accepted"      // after it was carried out; the connection stays, and stays silent
	pointAnswer   = "before-answer" // after it was carried out; the connection is cut
)

var pointSays = map[string]string{
	pointReceived: "the call is dropped before anything is done; no answer",
	pointAccepted: "the call is carried out; no answer",
	pointAnswer:   "the call is carried out; the connection is cut in place of the answer",
}

// pointUncured is no call's: the meta server leaves out a look at its groups, so that those who lost a replica or their
// primary stay as they are, although everything is answered.
const pointUncured = "meta.skipped:cure"

// points are the fault points of all servers of one role, and how often each shall act.
type points struct {
	prefix string   // "meta", "node"
	calls  []string // names of calls as points have them, sorted

	live  atomic.Int32 // armed points
	mu    sync.Mutex
	armed map[string]int
}

func newPoints(prefix string, methods map[string]method) *points {
	p := &points{prefix: prefix, armed: map[string]int{}}
	for name := range methods {
		p.calls = append(p.calls, pointName(name))
	}
	slices.Sort(p.calls)
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
	if p.live.Load() == 0 {
		return false
	}
	return p.use(p.prefix + "." + where + ":" + pointName(rpc))
}

// use uses up one time of an armed point.
func (p *points) use(name string) bool {
	if p.live.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed[name] == 0 {
		return false
	}
	if p.armed[name]--; p.armed[name] == 0 {
		delete(p.armed, name)
	}
	p.live.Store(int32(len(p.armed)))
	return true
}

// arm sets how often a point acts; false when there is none of that name.
func (p *points) arm(name string, n int) bool {
	if !slices.ContainsFunc(p.list(""), func(at sandbox.Point) bool { return at.Name == name }) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed[name] = n; n == 0 {
		delete(p.armed, name)
	}
	p.live.Store(int32(len(p.armed)))
	return true
}

func (p *points) list(cluster string) []sandbox.Point {
	p.mu.Lock()
	armed := maps.Clone(p.armed)
	p.mu.Unlock()
	var all []sandbox.Point
	for _, call := range p.calls {
		for _, where := range []string{pointReceived, pointAccepted, pointAnswer} {
			name := p.prefix + "." + where + ":" + call
			all = append(all, sandbox.Point{Cluster: cluster, Name: name, Armed: armed[name], Says: pointSays[where]})
		}
	}
	if p.prefix == "meta" {
		all = append(all, sandbox.Point{Cluster: cluster, Name: pointUncured, Armed: armed[pointUncured], Says: "a round of curing partitions is left out"})
	}
	return all
}

func noPoint(name string, all []sandbox.Point) error {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	e := spec.Errorf(spec.NotFound, "there is no fault point %q", name)
	if near := spec.Suggest(name, names); len(near) > 0 {
		return e.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return e.WithHint("sandbox break lists them")
}
