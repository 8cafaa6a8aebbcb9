// Package fault is what stands before the servers of a sandbox: a Gate that can be shut, slow or narrow, and Points where
// a call can be lost. Both belong to an endpoint or a role and outlive the process that listens there.
package fault

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// Gate stands between a server's port and the server. The zero value is open.
type Gate struct {
	// Writes bounds what clients may write.
	Writes Bucket

	slow   atomic.Int64
	shut   atomic.Bool // opened is not nil; read without the lock by every request
	mu     sync.Mutex
	opened chan struct{} // closed when the server goes on; nil while it is not paused
}

// Pause shuts the gate.
func (g *Gate) Pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
		g.shut.Store(true)
	}
}

// Resume opens it.
func (g *Gate) Resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
		g.shut.Store(false)
	}
}

// Paused says whether the gate is shut.
func (g *Gate) Paused() bool { return g.shut.Load() }

// Pass waits while the gate is shut; false when the server ended instead.
func (g *Gate) Pass(ended <-chan struct{}) bool {
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

// Slow makes every answer leave that much later; 0 ends it.
func (g *Gate) Slow(by time.Duration) { g.slow.Store(int64(by)) }

// Delay is how much later.
func (g *Gate) Delay() time.Duration { return time.Duration(g.slow.Load()) }

// Bucket bounds how often something happens in a second. The zero value bounds nothing.
type Bucket struct {
	bounds atomic.Bool // rate is not 0; read without the lock by every write

	mu    sync.Mutex
	rate  float64 // per second; 0 is no bound
	left  float64
	since time.Time
}

// Set sets the rate, and fills the bucket with what one second brings.
func (b *Bucket) Set(rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate, b.left, b.since = rate, rate, time.Now()
	b.bounds.Store(rate > 0)
}

// Take takes n; false when there is not that much, and nothing was taken.
func (b *Bucket) Take(n float64) bool {
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

// Rate is what was set.
func (b *Bucket) Rate() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate
}

// Where a call can be lost.
const (
	Received = "received"      // before it is carried out; the connection stays, and stays silent
	Accepted = "accepted"      // after it was carried out; the connection stays, and stays silent
	Answer   = "before-answer" // after it was carried out; the connection is cut
)

// Points are named places where something can be made to fail, and how often each shall.
type Points struct {
	all []sandbox.Point

	live   atomic.Int32 // armed points
	remote func(name string) (acts bool, armed int32)
	mu     sync.Mutex
	armed  map[string]int
}

// NewPoints makes the points of that name and meaning; none is armed.
func NewPoints(all ...sandbox.Point) *Points {
	return &Points{all: all, armed: map[string]int{}}
}

// OfCalls lists the points that every call of a role has: "ns.accepted:offline-endpoint".
func OfCalls(role string, calls []string) []sandbox.Point {
	var all []sandbox.Point
	for _, call := range calls {
		for _, p := range []sandbox.Point{
			{Name: Received, Says: "the call is dropped before anything is done; no answer"},
			{Name: Accepted, Says: "the call is carried out; no answer"},
			{Name: Answer, Says: "the call is carried out; the connection is cut in place of the answer"},
		} {
			p.Name = CallPoint(role, p.Name, call)
			all = append(all, p)
		}
	}
	return all
}

// CallPoint is the name of a call's point.
func CallPoint(role, where, call string) string { return role + "." + where + ":" + call }

// Live says whether any point is armed: cheap enough to ask before a name is made.
func (p *Points) Live() bool { return p.live.Load() > 0 }

// Remote has the points kept elsewhere: take takes one of them there, and answers how many are armed after it. It is
// asked only while Count is not 0, which SetCount says.
func (p *Points) Remote(take func(name string) (acts bool, armed int32)) { p.remote = take }

// Count is how many points are armed, as far as is known here.
func (p *Points) Count() int32 { return p.live.Load() }

// SetCount says how many are armed where the points are kept.
func (p *Points) SetCount(n int32) { p.live.Store(n) }

// Take says whether a point acts now, and uses up one of its times.
func (p *Points) Take(name string) bool {
	if !p.Live() {
		return false
	}
	if p.remote != nil {
		acts, armed := p.remote(name)
		p.live.Store(armed)
		return acts
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed[name] == 0 {
		return false
	}
	p.set(name, p.armed[name]-1)
	return true
}

// Armed says whether a point acts, without using it up.
func (p *Points) Armed(name string) bool {
	if !p.Live() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.armed[name] > 0
}

// Arm sets how often a point acts. A point that does not exist is NotFound.
func (p *Points) Arm(name string, n int) error {
	names := make([]string, len(p.all))
	for i, at := range p.all {
		if names[i] = at.Name; at.Name == name {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.set(name, n)
			return nil
		}
	}
	e := spec.Errorf(spec.NotFound, "there is no fault point %q", name)
	if near := spec.Suggest(name, names); len(near) > 0 {
		return e.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return e.WithHint("sandbox break lists them")
}

func (p *Points) set(name string, n int) {
	if p.armed[name] = n; n == 0 {
		delete(p.armed, name)
	}
	p.live.Store(int32(len(p.armed)))
}

// List lists the points with the times each is armed for.
func (p *Points) List(cluster string) []sandbox.Point {
	p.mu.Lock()
	armed := maps.Clone(p.armed)
	p.mu.Unlock()
	all := make([]sandbox.Point, len(p.all))
	for i, at := range p.all {
		at.Cluster, at.Armed = cluster, armed[at.Name]
		all[i] = at
	}
	return all
}
