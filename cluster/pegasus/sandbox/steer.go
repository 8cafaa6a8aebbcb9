package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// What is done to a cluster from outside: servers killed, started, paused, slow, cut off; calls lost.

// find answers which server has an endpoint: a meta server by its place, or a replica server.
func (c *cluster) find(endpoint string) (meta int, id nodeID, err error) {
	if i := slices.Index(c.metaAts, endpoint); i >= 0 {
		return i, noNode, nil
	}
	if i := slices.Index(c.nodeAt, endpoint); i >= 0 {
		return -1, nodeID(i), nil
	}
	return -1, noNode, spec.Errorf(spec.NotFound, "no node of %s listens on %s", c.name, endpoint)
}

func (c *cluster) runs(meta int, id nodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == noNode {
		return c.metas[meta] != nil
	}
	return c.nodes[id] != nil
}

// Kill kills a server; for a replica server the meta server's grace period begins, for a leading meta server its
// session begins to run out.
func (c *cluster) Kill(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	return c.kill(endpoint)
}

func (c *cluster) kill(endpoint string) error {
	end, err := c.take(endpoint)
	if err != nil {
		return err
	}
	err = end()
	g := c.gate(endpoint)
	g.Resume() // there is nobody any more who could be paused
	g.deaf.Store(false)
	c.touch()
	return err
}

// take takes a server off the network and answers how to end it.
func (c *cluster) take(endpoint string) (end func() error, err error) {
	meta, id, err := c.find(endpoint)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	boss := c.boss
	if id == noNode {
		defer c.mu.Unlock()
		p := c.metas[meta]
		if p == nil {
			return nil, spec.Errorf(spec.Refused, "%s is dead already", endpoint)
		}
		c.metas[meta] = nil
		if boss != nil && boss == p.reign() {
			c.boss = nil
			c.vacate(sessionTime)
		}
		return p.kill, nil
	}
	s := c.nodes[id]
	c.nodes[id] = nil
	c.mu.Unlock()
	if s == nil {
		return nil, spec.Errorf(spec.Refused, "%s is dead already", endpoint)
	}
	if boss != nil {
		boss.missed(id)
	}
	return s.kill, nil
}

// Stop ends a server after it has answered what it was asked. A leading meta server gives up the lead.
func (c *cluster) Stop(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	meta, id, err := c.find(endpoint)
	if err != nil {
		return err
	}
	c.mu.Lock()
	var s server
	if id == noNode && c.metas[meta] != nil {
		s = c.metas[meta]
	} else if id != noNode && c.nodes[id] != nil {
		s = c.nodes[id]
	}
	c.mu.Unlock()
	switch {
	case s == nil:
		return spec.Errorf(spec.Refused, "%s is dead already", endpoint)
	case c.gate(endpoint).paused():
		return spec.Errorf(spec.Refused, "%s is paused: it cannot stop by itself", endpoint)
	}
	s.drain()
	err = c.kill(endpoint)
	if c.leader() == nil { // its session ended with it
		c.term++
		c.session = time.Now()
		err = errors.Join(err, c.elect())
		c.touch()
	}
	return err
}

// Pause pauses a server.
func (c *cluster) Pause(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	meta, id, err := c.find(endpoint)
	switch {
	case err != nil:
		return err
	case !c.runs(meta, id):
		return spec.Errorf(spec.Refused, "%s is dead", endpoint)
	case c.gate(endpoint).paused():
		return spec.Errorf(spec.Refused, "%s is paused already", endpoint)
	}
	c.gate(endpoint).Pause()
	c.publish()
	if boss := c.leader(); boss != nil && boss.at() == endpoint {
		boss.finishRound()
		c.vacate(sessionTime)
	}
	c.touch()
	return nil
}

// Start starts a dead server again, or lets a paused one go on.
func (c *cluster) Start(ctx context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	meta, id, err := c.find(endpoint)
	if err != nil {
		return err
	}
	switch runs := c.runs(meta, id); {
	case runs && c.gate(endpoint).paused():
		err = errors.Join(c.resume(ctx, endpoint, meta), c.elect())
	case runs:
		return spec.Errorf(spec.Refused, "%s is running", endpoint)
	case id == noNode:
		if err = c.startMeta(ctx, meta); err == nil {
			err = c.elect()
		}
	default:
		err = c.startNode(ctx, id)
	}
	c.touch()
	return err
}

// resume lets a paused server go on. A replica server whose lease has run out knows it before it answers anybody; a
// meta server that led and does not any more starts anew, as Pegasus's does.
func (c *cluster) resume(ctx context.Context, endpoint string, meta int) error {
	if err := c.wake(ctx, endpoint); err != nil {
		return err
	}
	if meta >= 0 {
		if err := c.reinstate(ctx, endpoint, meta); err != nil {
			return err
		}
	}
	c.gate(endpoint).Resume()
	return nil
}

// reinstate has a meta server that was silent lead on, when it leads and no other one does yet.
func (c *cluster) reinstate(ctx context.Context, endpoint string, meta int) error {
	c.mu.Lock()
	p := c.metas[meta]
	c.mu.Unlock()
	switch boss := c.leader(); {
	case p.reign() == nil:
		return nil
	case p.reign() != boss:
		return c.restart(ctx, endpoint, meta)
	}
	c.term++ // an election that is due is void
	return nil
}

func (c *cluster) restart(ctx context.Context, endpoint string, meta int) error {
	if err := c.kill(endpoint); err != nil {
		return err
	}
	return c.startMeta(ctx, meta)
}

// Lose kills a replica server unless it is dead, and deletes its store. A meta server has nothing of its own: what is
// lost with it is what Pegasus keeps in ZooKeeper, and so the leading one goes as well.
func (c *cluster) Lose(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	meta, id, err := c.find(endpoint)
	if err != nil {
		return err
	}
	if c.runs(meta, id) {
		if err := c.kill(endpoint); err != nil {
			return err
		}
	}
	if id == noNode {
		return c.loseMetadata()
	}
	return os.RemoveAll(c.nodeDir(id))
}

// loseMetadata empties the store of the meta servers. c.steer is held.
func (c *cluster) loseMetadata() error {
	if boss := c.leader(); boss != nil {
		if err := c.kill(boss.at()); err != nil {
			return err
		}
	}
	c.keeping.Lock()
	defer c.keeping.Unlock()
	c.reign++ // what the last leader, in a process of its own, was about to keep is refused
	if err := c.store.Close(); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, "meta")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	store, err := openStore(dir, c.log)
	if err != nil {
		return err
	}
	c.store = store
	return markLost(store)
}

// Slow makes a server answer later.
func (c *cluster) Slow(_ context.Context, endpoint string, by time.Duration) error {
	if _, _, err := c.find(endpoint); err != nil {
		return err
	}
	c.gate(endpoint).Slow(by)
	c.tellAll()
	return nil
}

// Fill has other files take a part of each of a replica server's disks.
func (c *cluster) Fill(_ context.Context, endpoint string, percent int) error {
	switch _, id, err := c.find(endpoint); {
	case err != nil:
		return err
	case id == noNode:
		return spec.Errorf(spec.Unable, "%s is a meta server: it keeps no replicas on disks", endpoint)
	}
	c.gate(endpoint).filled.Store(int64(percent))
	c.tellAll()
	return nil
}

// tellAll has servers in processes of their own know what was done to gates.
func (c *cluster) tellAll() {
	if c.spawn == nil {
		return
	}
	c.steer.Lock()
	defer c.steer.Unlock()
	c.publish()
}

// Partition cuts two servers off each other.
func (c *cluster) Partition(_ context.Context, a, b string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	for _, endpoint := range []string{a, b} {
		if _, _, err := c.find(endpoint); err != nil {
			return err
		}
	}
	c.netMu.Lock()
	c.cut[cableOf(a, b)] = true
	c.netMu.Unlock()
	c.touch()
	return nil
}

// Heal mends all cuts.
func (c *cluster) Heal(context.Context) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	c.netMu.Lock()
	clear(c.cut)
	c.netMu.Unlock()
	c.touch()
	return nil
}

// Throttle bounds the write requests that a replica server takes in a second; the others are answered ERR_BUSY.
func (c *cluster) Throttle(_ context.Context, writesPerSecond int) error {
	for _, endpoint := range c.nodeAt {
		c.gate(endpoint).Writes.Set(float64(writesPerSecond))
	}
	c.tellAll()
	return nil
}

// Points lists the meta servers' fault points and the replica servers'.
func (c *cluster) Points() []sandbox.Point {
	return append(c.gate(c.metaAts[0]).points.List(c.name), c.gate(c.nodeAt[0]).points.List(c.name)...)
}

// Break arms a fault point.
func (c *cluster) Break(_ context.Context, point string, n int) error {
	at := c.nodeAt[0]
	if strings.HasPrefix(point, "meta.") {
		at = c.metaAts[0]
	}
	if err := c.gate(at).points.Arm(point, n); err != nil {
		return err
	}
	c.tellAll()
	return nil
}
