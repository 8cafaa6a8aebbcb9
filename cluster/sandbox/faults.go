package sandbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"shardsh/commands/spec"
)

// What may be done to a running cluster beyond killing and starting its nodes. Each is an interface of its own that a
// ClusterServer may have; a client that asks for one it lacks gets spec.Unable. Nodes are named by their endpoints.
type (
	// Stopper ends a node as its own shutdown would: what it was asked is answered, then its connections close.
	Stopper interface {
		Stop(ctx context.Context, endpoint string) error
	}
	// Pauser stops a node in its tracks: connections stay and are taken, nothing is answered. Start lets it go on.
	Pauser interface {
		Pause(ctx context.Context, endpoint string) error
	}
	// Slower makes a node answer everything that much later; 0 ends it.
	Slower interface {
		Slow(ctx context.Context, endpoint string, by time.Duration) error
	}
	// Partitioner cuts the network between two nodes, both ways. Clients still reach both. Heal mends all cuts.
	Partitioner interface {
		Partition(ctx context.Context, a, b string) error
		Heal(ctx context.Context) error
	}
	// Filler has other files take a percentage of each of a node's disks, 0 to 100; what the store makes of full disks
	// is its own business. 0 ends it.
	Filler interface {
		Fill(ctx context.Context, endpoint string, percent int) error
	}
	// Loser kills a node unless it is dead, and deletes its data. Of a metadata server the metadata is lost, and whatever
	// else the store keeps it in.
	Loser interface {
		Lose(ctx context.Context, endpoint string) error
	}
	// Throttler makes the cluster refuse writes beyond a number per second and node, as the store does when it is
	// overloaded; 0 ends it.
	Throttler interface {
		Throttle(ctx context.Context, writesPerSecond int) error
	}
	// Breaker has fault points: named places where a call can be lost, as often as a point was armed.
	Breaker interface {
		// Points lists all of them, in a fixed order.
		Points() []Point
		// Break arms a point for its next n calls, in place of what it was armed for; 0 disarms it. A point that
		// does not exist is NotFound.
		Break(ctx context.Context, point string, n int) error
	}
)

// Point is a fault point.
type Point struct {
	Cluster string `json:"cluster"`
	Name    string `json:"name"` // "meta.accepted:create"
	Armed   int    `json:"armed"`
	Says    string `json:"says"` // what happens there, in a few words
}

// MaxSlow bounds Slower: what is slower is dead to every client.
const MaxSlow = time.Minute

// Stop stops a node cleanly, named as in Kill.
func (c *Client) Stop(ctx context.Context, node string) (NodeStatus, error) {
	return c.steer(ctx, "stop", request{Op: opStop, Name: node})
}

// Pause pauses a node, named as in Kill; Start lets it go on.
func (c *Client) Pause(ctx context.Context, node string) (NodeStatus, error) {
	return c.steer(ctx, "pause", request{Op: opPause, Name: node})
}

// Slow makes a node answer later, named as in Kill; 0 ends it.
func (c *Client) Slow(ctx context.Context, node string, by time.Duration) (NodeStatus, error) {
	return c.steer(ctx, "slow down", request{Op: opSlow, Name: node, Duration: by})
}

// Fill has other files take a percentage of a node's disks, named as in Kill; 0 ends it.
func (c *Client) Fill(ctx context.Context, node string, percent int) (NodeStatus, error) {
	return c.steer(ctx, "fill the disks of", request{Op: opFill, Name: node, Count: percent})
}

// Lose kills a node and deletes its data, named as in Kill.
func (c *Client) Lose(ctx context.Context, node string) (NodeStatus, error) {
	return c.steer(ctx, "lose the data of", request{Op: opLose, Name: node})
}

// Partition cuts the network between two nodes of a cluster, named as in Kill.
func (c *Client) Partition(ctx context.Context, a, b string) error {
	_, err := c.call(ctx, "cut sandbox nodes "+a+" and "+b+" off each other", request{Op: opPartition, Name: a, Other: b})
	return err
}

// Heal mends all cuts of a cluster; "" is the only open one.
func (c *Client) Heal(ctx context.Context, cluster string) error {
	_, err := c.call(ctx, "heal the sandbox network", request{Op: opHeal, Cluster: cluster})
	return err
}

// Throttle bounds the writes that each node of a cluster takes in a second; 0 ends it.
func (c *Client) Throttle(ctx context.Context, cluster string, writesPerSecond int) error {
	_, err := c.call(ctx, "throttle the sandbox", request{Op: opThrottle, Cluster: cluster, Count: writesPerSecond})
	return err
}

// Points lists the fault points of a cluster.
func (c *Client) Points(ctx context.Context, cluster string) ([]Point, error) {
	a, err := c.call(ctx, "list sandbox fault points", request{Op: opPoints, Cluster: cluster})
	return a.Points, err
}

// Break arms a fault point of a cluster for its next n calls.
func (c *Client) Break(ctx context.Context, cluster, point string, n int) error {
	_, err := c.call(ctx, "arm sandbox fault point "+point, request{Op: opBreak, Cluster: cluster, Name: point, Count: n})
	return err
}

// fault answers the operations of this file.
func (s *server) fault(req request) (answer, error) {
	switch req.Op {
	case opStop:
		return s.steer(req.Name, able(func(f Stopper, ctx context.Context, at string) error { return f.Stop(ctx, at) }))
	case opPause:
		return s.steer(req.Name, able(func(f Pauser, ctx context.Context, at string) error { return f.Pause(ctx, at) }))
	case opLose:
		return s.steer(req.Name, able(func(f Loser, ctx context.Context, at string) error { return f.Lose(ctx, at) }))
	case opFill:
		if req.Count < 0 || req.Count > 100 {
			return answer{}, spec.Errorf(spec.Usage, "disks are filled by 0 to 100 percent")
		}
		return s.steer(req.Name, able(func(f Filler, ctx context.Context, at string) error { return f.Fill(ctx, at, req.Count) }))
	case opSlow:
		if req.Duration < 0 || req.Duration > MaxSlow {
			return answer{}, spec.Errorf(spec.Usage, "a node can be made slower by 0 to %s", MaxSlow)
		}
		return s.steer(req.Name, able(func(f Slower, ctx context.Context, at string) error { return f.Slow(ctx, at, req.Duration) }))
	case opPartition:
		return s.partition(req)
	}
	if !slices.Contains([]string{opHeal, opThrottle, opBreak, opPoints}, req.Op) {
		return answer{}, spec.Errorf(spec.Usage, "the sandbox has no operation %q", req.Op)
	}
	o, err := s.opened(req.Cluster)
	if err != nil {
		return answer{}, err
	}
	switch req.Op {
	case opHeal:
		return answer{}, able(func(f Partitioner, ctx context.Context, _ string) error { return f.Heal(ctx) })(o.server, s.ctx, "")
	case opThrottle:
		if req.Count < 0 {
			return answer{}, spec.Errorf(spec.Usage, "a number of writes per second is not negative")
		}
		return answer{}, able(func(f Throttler, ctx context.Context, _ string) error { return f.Throttle(ctx, req.Count) })(o.server, s.ctx, "")
	case opBreak:
		if req.Count < 0 {
			return answer{}, spec.Errorf(spec.Usage, "a point is armed for no negative number of calls")
		}
		return answer{}, able(func(f Breaker, ctx context.Context, point string) error { return f.Break(ctx, point, req.Count) })(o.server, s.ctx, req.Name)
	}
	var a answer
	err = able(func(f Breaker, _ context.Context, _ string) error {
		a.Points = f.Points()
		return nil
	})(o.server, s.ctx, "")
	return a, err
}

// able makes a fault of those that a cluster may not have.
func able[F any](do func(F, context.Context, string) error) func(ClusterServer, context.Context, string) error {
	return func(c ClusterServer, ctx context.Context, at string) error {
		f, ok := c.(F)
		if !ok {
			return spec.Errorf(spec.Unable, "this sandbox cluster does not have that fault")
		}
		return do(f, ctx, at)
	}
}

func (s *server) partition(req request) (answer, error) {
	other, err := MatchNode(s.nodes(), req.Other)
	if err != nil {
		return answer{}, err
	}
	return s.steer(req.Name, able(func(f Partitioner, ctx context.Context, at string) error {
		if at == other.Endpoint {
			return spec.Errorf(spec.Usage, "%s cannot be cut off itself", at)
		}
		return f.Partition(ctx, at, other.Endpoint)
	}))
}

// opened finds an open cluster by its name or alias; "", and any name when only one cluster is open, is that one, as
// a configuration may have given it another name.
func (s *server) opened(name string) (*opening, error) {
	if _, cluster, _, ok := find(s.config.Kinds, name); ok {
		name = cluster.Name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.clusters[name]
	if o == nil && len(s.order) == 1 {
		o = s.clusters[s.order[0]]
	}
	if o == nil {
		return nil, spec.Errorf(spec.NotFound, "no sandbox cluster %q is open", name).
			WithHint("open clusters: %s", fmt.Sprint(s.order))
	}
	select {
	case <-o.done:
		return o, o.err
	default:
		return nil, spec.Errorf(spec.Unavailable, "sandbox cluster %s is being started", o.cluster.Name)
	}
}
