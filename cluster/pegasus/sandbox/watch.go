package sandbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/sandbox/link"
	"shardsh/commands/spec"
)

// What the cluster is to servers in processes of their own: their ZooKeeper and the network between them. It tells them
// who runs and who reaches whom, keeps what the leading meta server has it keep, and misses their beacons.

type (
	askLoad struct {
		Reign int64
		After []byte
	}
	askSave struct {
		Reign  int64
		Values map[string][]byte
		Gone   []string
	}
	otherCluster struct {
		Metas string
		Known bool
	}
	usedPoint struct {
		Acts  bool
		Armed int32 // points of the role that are armed after it
	}
)

var (
	callBeacon = link.New("beacon", func(f *farServer, _ link.None) (link.None, error) {
		f.missed.Store(0)
		return done(nil)
	})
	callTake = link.New("takePoint", func(f *farServer, name string) (usedPoint, error) {
		p := f.c.gate(f.endpoint).points
		return usedPoint{p.Take(name), p.Count()}, nil
	})
	callPeer = link.New("peer", func(f *farServer, name string) (otherCluster, error) {
		metas, known := f.c.peerOf(name)
		return otherCluster{metas, known}, nil
	})
	callLoad = link.New("load", func(f *farServer, q askLoad) (part, error) { return f.c.load(q) })
	callSave = link.New("save", func(f *farServer, q askSave) (link.None, error) { return done(f.c.save(q)) })

	clusterCalls = []link.Answerable[*farServer]{callBeacon, callTake, callPeer, callLoad, callSave}
)

// nextReign begins a lead, and ends the one before: what that one still keeps is refused.
func (c *cluster) nextReign() int64 {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	c.reign++
	return c.reign
}

// load and save find the store of this moment: it may be lost, and another one.
func (c *cluster) load(q askLoad) (part, error) {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if q.Reign != c.reign {
		return part{}, errDead
	}
	return keep{c.store}.part(q.After)
}

func (c *cluster) save(q askSave) error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if q.Reign != c.reign {
		return errDead
	}
	return keep{c.store}.save(q.Values, q.Gone...)
}

// worldOf is the world as a server shall have it.
func (c *cluster) worldOf(endpoint string) world {
	g := c.gate(endpoint)
	w := world{Paused: g.paused(), Slow: g.Delay(), Writes: g.Writes.Rate(), Filled: g.filled.Load(), Armed: g.points.Count()}
	peerOf := func(other string, s server) peer {
		p := peer{Endpoint: other, Slow: c.gate(other).Delay(), Near: c.reach(endpoint, other)}
		if s != nil && s.far() != nil {
			p.Runs, p.Link = true, s.far().link
		}
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.nodes {
		p := peer{Endpoint: c.nodeAt[i]}
		if s != nil {
			p = peerOf(c.nodeAt[i], s)
		}
		w.Nodes = append(w.Nodes, p)
	}
	if c.boss == nil {
		return w
	}
	for i, p := range c.metas {
		if p != nil && c.metaAts[i] == c.boss.at() {
			w.Leader = peerOf(c.metaAts[i], p)
		}
	}
	return w
}

// fars are the servers that have processes of their own, meta servers first.
func (c *cluster) fars() []*farServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*farServer
	for _, p := range c.metas {
		if p != nil && p.far() != nil {
			all = append(all, p.far())
		}
	}
	for _, s := range c.nodes {
		if s != nil && s.far() != nil {
			all = append(all, s.far())
		}
	}
	return all
}

// publish tells every server in a process of its own the world. c.steer is held, or the cluster is being started.
func (c *cluster) publish() {
	var told sync.WaitGroup
	for _, f := range c.fars() {
		told.Go(func() { _ = tell(f, callWorld, c.worldOf(f.endpoint)) })
	}
	told.Wait()
}

// watchPeriod is how often beacons are looked for.
const watchPeriod = beaconPeriod / 2

// watch misses beacons. Time in which this process did not run itself, because it was stopped or the machine slept, is
// not counted against anybody.
func (c *cluster) watch() {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-c.closing:
			return
		case <-tick.C:
		}
		step := min(time.Since(last), 2*watchPeriod)
		last = time.Now()
		news := c.owes.Load()
		for _, f := range c.fars() {
			missed := f.missed.Add(int64(step))
			news = news || missing(missed) != f.deaf.Load()
		}
		if news && c.attending.CompareAndSwap(false, true) { // which waits while the cluster is steered; beacons are missed meanwhile
			c.tasks.Go(func() {
				defer c.attending.Store(false)
				c.attend()
			})
		}
	}
}

func missing(missed int64) bool { return time.Duration(missed) >= beaconLimit }

// attend acts on what watch has seen, and does again what could not be done.
func (c *cluster) attend() {
	c.steer.Lock()
	defer c.steer.Unlock()
	if c.closed {
		return
	}
	c.owes.Store(false)
	for _, f := range c.fars() {
		switch deaf := missing(f.missed.Load()); {
		case deaf && !f.deaf.Load():
			c.silence(f)
		case !deaf && f.deaf.Load():
			c.log("%s %s sends beacons again", f.role, f.endpoint)
			c.logs(c.hear(f))
		}
	}
	c.logs(c.depose())
	c.logs(c.elect())
	c.touch()
}

func (c *cluster) logs(err error) {
	if err != nil {
		c.log("%v", err)
	}
}

// silence takes a server for paused that has sent no beacon for long.
func (c *cluster) silence(f *farServer) {
	c.log("%s %s has sent no beacon for %s", f.role, f.endpoint, beaconLimit)
	f.deaf.Store(true)
	c.gate(f.endpoint).deaf.Store(true)
	if boss := c.leader(); boss != nil && boss.at() == f.endpoint {
		c.vacate(sessionTime)
	}
}

// hear takes back silence. A meta server that led meanwhile without being able to begins anew.
func (c *cluster) hear(f *farServer) error {
	f.deaf.Store(false)
	c.gate(f.endpoint).deaf.Store(false)
	meta, id, err := c.find(f.endpoint)
	if err != nil || id != noNode {
		return err
	}
	return c.reinstate(context.Background(), f.endpoint, meta)
}

// depose has meta servers begin anew that must not lead. Those that are silent do when they are heard again.
func (c *cluster) depose() error {
	c.mu.Lock()
	metas := slices.Clone(c.metas)
	c.mu.Unlock()
	var errs []error
	for i, p := range metas {
		if p == nil {
			continue
		}
		if l, ok := p.reign().(*farLeader); ok && l.deposed.Load() && !l.deaf.Load() {
			c.log("%s %s did not answer and begins anew", l.role, l.endpoint)
			errs = append(errs, c.restart(context.Background(), l.endpoint, i))
		}
	}
	return errors.Join(errs...)
}

// wake has a server go on whose process somebody has stopped, and waits for its beacon.
func (c *cluster) wake(ctx context.Context, endpoint string) error {
	for _, f := range c.fars() {
		if f.endpoint != endpoint || !f.deaf.Load() {
			continue
		}
		if err := f.process.Wake(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, beaconLimit)
		defer cancel()
		for missing(f.missed.Load()) {
			select {
			case <-ctx.Done():
				return spec.Errorf(spec.Unavailable, "%s sends no beacon: its process %d does not go on", endpoint, f.pid())
			case <-time.After(watchPeriod):
			}
		}
		f.deaf.Store(false)
		c.gate(endpoint).deaf.Store(false)
	}
	return nil
}

// mourn waits for the end of a server's process. Whoever has ended it, it is as if the cluster had.
func (c *cluster) mourn(f *farServer) {
	<-f.process.Dead()
	f.conn.Close(errDead)
	c.steer.Lock()
	defer c.steer.Unlock()
	if c.closed || !c.has(f) {
		return
	}
	c.log("%s %s: its process %d died: %s", f.role, f.endpoint, f.pid(), f.process.Death())
	c.logs(c.kill(f.endpoint))
}

func (c *cluster) has(f *farServer) bool {
	for _, other := range c.fars() {
		if other == f {
			return true
		}
	}
	return false
}
