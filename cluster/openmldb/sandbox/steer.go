package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// What is done to a cluster from outside: servers killed, started, paused, slow, cut off; calls lost.

// find answers which server has an endpoint: its place among the nameservers or among the tablets; the other is -1.
func (c *cluster) find(endpoint string) (ns, tab int, err error) {
	ns, tab = slices.Index(c.nsAt, endpoint), slices.Index(c.tabletAt, endpoint)
	if ns < 0 && tab < 0 {
		err = spec.Errorf(spec.NotFound, "no node of %s listens on %s", c.name, endpoint)
	}
	return ns, tab, err
}

func (c *cluster) runs(ns, tab int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ns >= 0 {
		return c.ns[ns] != nil
	}
	return c.tab[tab] != nil
}

// Kill kills a server. Its session, and with it the lock or the registration that it holds, lives on until its timeout.
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
	c.silent(endpoint, false)
	c.gates[endpoint].Resume() // there is nobody any more who could be paused
	return err
}

// take takes a server off the cluster and answers how to kill it.
func (c *cluster) take(endpoint string) (end func() error, err error) {
	ns, tab, err := c.find(endpoint)
	if err != nil {
		return nil, err
	}
	if !c.runs(ns, tab) {
		return nil, spec.Errorf(spec.Refused, "%s is dead already", endpoint)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ns >= 0 {
		end, c.ns[ns] = c.ns[ns].Kill, nil
	} else {
		end, c.tab[tab] = c.tab[tab].Kill, nil
	}
	return end, nil
}

// die kills a server that asks for it, unless the cluster is at its end.
func (c *cluster) die(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.tasks.Go(func() {
		if err := c.Kill(c.ctx, endpoint); err != nil {
			c.log("%v", err)
		}
	})
}

// silent says whether a server is silent towards the tree in this process. A real ZooKeeper finds out by itself.
func (c *cluster) silent(endpoint string, silent bool) {
	if tree, local := c.trees[endpoint].(*coord.Client); local {
		tree.Silent(silent)
	}
}

// Stop ends a server after it has answered what it was asked; its session ends at once.
func (c *cluster) Stop(ctx context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	ns, tab, err := c.find(endpoint)
	switch {
	case err != nil:
		return err
	case !c.runs(ns, tab):
		return spec.Errorf(spec.Refused, "%s is dead already", endpoint)
	case c.gates[endpoint].Paused():
		return spec.Errorf(spec.Refused, "%s is paused: it cannot stop by itself", endpoint)
	}
	var stop func(context.Context) error
	c.mu.Lock()
	if ns >= 0 {
		stop, c.ns[ns] = c.ns[ns].Stop, nil
	} else {
		stop, c.tab[tab] = c.tab[tab].Stop, nil
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return stop(ctx)
}

// Pause pauses a server. When that lasts for longer than its session, whoever waits for that goes on without it.
func (c *cluster) Pause(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	ns, tab, err := c.find(endpoint)
	switch {
	case err != nil:
		return err
	case !c.runs(ns, tab):
		return spec.Errorf(spec.Refused, "%s is dead", endpoint)
	case c.gates[endpoint].Paused():
		return spec.Errorf(spec.Refused, "%s is paused already", endpoint)
	}
	c.gates[endpoint].Pause()
	c.silent(endpoint, true)
	return nil
}

// Start starts a dead server again, or lets a paused one go on.
func (c *cluster) Start(ctx context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	ns, tab, err := c.find(endpoint)
	if err != nil {
		return err
	}
	runs := c.runs(ns, tab)
	switch {
	case runs && c.gates[endpoint].Paused():
		c.silent(endpoint, false)
		c.gates[endpoint].Resume()
		return nil
	case runs:
		return spec.Errorf(spec.Refused, "%s is running", endpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if ns >= 0 {
		if err := c.unlocked(ctx, endpoint); err != nil {
			return err
		}
		return c.startNameserver(ctx, ns)
	}
	if err := c.missed(ctx, endpoint); err != nil {
		return err
	}
	if err := c.startTablet(ctx, tab); err != nil || tab < tablets {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, fmt.Sprintf(joinedFile, tab+1)), nil, 0o600)
}

// unlocked waits until a dead nameserver has left the line of those that want to lead. One that stood there twice would
// lead at once, and lose that when its first place goes.
func (c *cluster) unlocked(ctx context.Context, endpoint string) error {
	folder := c.settings.root + "/leader"
	return c.await(ctx, "the end of the session of "+endpoint, func() bool {
		names, err := c.session.Children(folder)
		return err == nil && !slices.ContainsFunc(names, func(name string) bool {
			holder, _, err := c.session.Get(folder + "/" + name)
			return err == nil && string(holder) == endpoint
		})
	})
}

// missed waits until a dead tablet's registration has ended, and the leading nameserver knows it: a real one takes longer
// to start than that, and one that was not missed would not be recovered.
func (c *cluster) missed(ctx context.Context, endpoint string) error {
	at := c.settings.root + "/nodes/" + endpoint
	return c.await(ctx, "the end of the session of "+endpoint, func() bool {
		_, _, err := c.session.Get(at)
		leader := c.leader()
		return errors.Is(err, coord.ErrNoNode) && (leader == nil || !leader.Healthy(endpoint))
	})
}

// Lose kills a tablet unless it is dead, and deletes what it keeps.
func (c *cluster) Lose(_ context.Context, endpoint string) error {
	c.steer.Lock()
	defer c.steer.Unlock()
	ns, tab, err := c.find(endpoint)
	switch {
	case err != nil:
		return err
	case ns >= 0:
		return spec.Errorf(spec.Unable, "%s is a nameserver: its state is in ZooKeeper, not with it", endpoint)
	}
	if c.runs(ns, tab) {
		if err := c.kill(endpoint); err != nil {
			return err
		}
	}
	return os.RemoveAll(c.tabletDir(tab))
}

// Slow makes a server answer later.
func (c *cluster) Slow(_ context.Context, endpoint string, by time.Duration) error {
	if _, _, err := c.find(endpoint); err != nil {
		return err
	}
	c.gates[endpoint].Slow(by)
	return nil
}

// Partition cuts two servers off each other. Both still reach ZooKeeper, and so count as alive.
func (c *cluster) Partition(_ context.Context, a, b string) error {
	for _, endpoint := range []string{a, b} {
		if _, _, err := c.find(endpoint); err != nil {
			return err
		}
	}
	c.network.cut(a, b)
	return nil
}

// Heal mends all cuts.
func (c *cluster) Heal(context.Context) error {
	c.network.heal()
	return nil
}

// Throttle bounds the rows that a tablet takes in a second.
func (c *cluster) Throttle(_ context.Context, writesPerSecond int) error {
	for _, at := range c.tabletAt {
		c.gates[at].Writes.Set(float64(writesPerSecond))
	}
	return nil
}

// Points lists the fault points.
func (c *cluster) Points() []sandbox.Point { return c.points.List(c.name) }

// Break arms a fault point.
func (c *cluster) Break(_ context.Context, point string, n int) error { return c.points.Arm(point, n) }
