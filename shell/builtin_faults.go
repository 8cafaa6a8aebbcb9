package shell

import (
	"context"
	"fmt"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

func sandboxStopWord(s *Shell) spec.Command {
	return s.sandboxNodeWord("stop", "stop a node of a sandbox cleanly, once it has answered what it was asked", "start", sandbox.Dead,
		func(ctx context.Context, c *sandbox.Client, node string) error {
			_, err := c.Stop(ctx, node)
			return err
		})
}

func sandboxPauseWord(s *Shell) spec.Command {
	w := s.sandboxNodeWord("pause", "pause a node of a sandbox: connections stay, nothing is answered", "start", sandbox.Paused,
		func(ctx context.Context, c *sandbox.Client, node string) error {
			_, err := c.Pause(ctx, node)
			return err
		})
	w.Long += " A node with a process of its own that is stopped (kill -STOP) is paused, too, once it has been silent for 3 s; sandbox start lets it go on."
	return w
}

func sandboxLoseWord(s *Shell) spec.Command {
	w := s.sandboxNodeWord("lose", "kill a node of a sandbox and delete its data", "start", "",
		func(ctx context.Context, c *sandbox.Client, node string) error {
			_, err := c.Lose(ctx, node)
			return err
		})
	w.Long = "Steers the emulated cluster, here or in another process that serves it. A real cluster is refused. " +
		"Of a meta server of Pegasus the metadata store is lost, in place of what ZooKeeper holds, and the meta server that leads " +
		"goes with it: the next one to lead knows no table until it is told to recover."
	w.Examples = []spec.Example{{Line: "sandbox lose .32:34801 --yes=.32:34801", Says: "its disk is gone; sandbox start brings it back empty"}}
	change := w.Change
	w.Change = func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
		p, err := change(ctx, call)
		if err == nil {
			p.Name = call.Arg(0)
			p.Steps[0].Class, p.Steps[0].Undo = spec.Destroy, ""
		}
		return p, err
	}
	return w
}

func sandboxSlowWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox slow", Topic: "sandbox", Offline: true, Summary: "make a node of a sandbox answer later",
		Args: []spec.Arg{
			{Name: "node", Kind: spec.ArgEndpoint, Help: "its endpoint, or the end of it: .32"},
			{Name: "by", Kind: spec.ArgDuration, Help: "how much later it answers everything; 0 ends it"},
		},
		Long:     "Answers of the node come that much later, and so do writes to partitions that have a replica on it.",
		Examples: []spec.Example{{Line: "sandbox slow .32:34801 50ms", Says: "every answer takes 50 ms longer"}},
		SeeAlso:  []string{"sandbox list", "sandbox pause"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			by, err := spec.ParseDuration(call.Arg(1), time.Second)
			if err != nil {
				return nil, err
			}
			node, err := s.sandboxNode(ctx, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			title := "make node " + node + " answer " + by.String() + " later"
			if by == 0 {
				title = "make node " + node + " answer at once"
			}
			return s.faultPlan(call, title, "sandbox slow "+node+" 0", []string{node},
				func(ctx context.Context, c *sandbox.Client) error {
					_, err := c.Slow(ctx, node, by)
					return err
				}), nil
		},
	}
}

func sandboxFillWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox fill", Topic: "sandbox", Offline: true, Summary: "have other files fill the disks of a node of a sandbox",
		Args: []spec.Arg{
			{Name: "node", Kind: spec.ArgEndpoint, Help: "its endpoint, or the end of it: .32"},
			{Name: "percent", Kind: spec.ArgInt, Optional: true, Help: "how much of each disk they take, 100 when not given; 0 ends it"},
		},
		Long: "The node then answers as the store does when its disks fill up: Pegasus refuses writes to partitions with a replica " +
			"on a disk of which less than 10 % is free, and puts no new replicas there.",
		Examples: []spec.Example{{Line: "sandbox fill .32:34801", Says: "its disks are full"}},
		SeeAlso:  []string{"sandbox list", "sandbox lose"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			percent := int64(100)
			if len(call.Args) > 1 {
				percent = call.ArgInt(1)
			}
			if percent < 0 || percent > 100 {
				return nil, spec.Errorf(spec.Usage, "disks are filled by 0 to 100 percent")
			}
			node, err := s.sandboxNode(ctx, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			title := fmt.Sprintf("fill %d%% of the disks of node %s", percent, node)
			if percent == 0 {
				title = "take other files off the disks of node " + node
			}
			return s.faultPlan(call, title, "sandbox fill "+node+" 0", []string{node},
				func(ctx context.Context, c *sandbox.Client) error {
					_, err := c.Fill(ctx, node, int(percent))
					return err
				}), nil
		},
	}
}

func sandboxPartitionWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox partition", Topic: "sandbox", Offline: true, Summary: "cut two nodes of a sandbox off each other",
		Args: []spec.Arg{
			{Name: "node", Kind: spec.ArgEndpoint, Help: "an endpoint, or the end of it: .32"},
			{Name: "other", Kind: spec.ArgEndpoint, Help: "another one of the same cluster"},
		},
		Long:     "Neither hears the other any more; clients still reach both. The cut stays, over restarts too, until sandbox heal.",
		Examples: []spec.Example{{Line: "sandbox partition .31:34801 .32:34801", Says: "two replica servers lose sight of each other"}},
		SeeAlso:  []string{"sandbox heal", "sandbox list"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			a, err := s.sandboxNode(ctx, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			b, err := s.sandboxNode(ctx, call, call.Arg(1))
			if err != nil {
				return nil, err
			}
			return s.faultPlan(call, "cut "+a+" and "+b+" off each other", "sandbox heal", []string{a, b},
				func(ctx context.Context, c *sandbox.Client) error { return c.Partition(ctx, a, b) }), nil
		},
	}
}

func sandboxHealWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox heal", Topic: "sandbox", Offline: true, Summary: "mend all cuts between nodes of the sandbox cluster in use",
		Examples: []spec.Example{{
			Line: "sandbox heal", Says: "everybody hears everybody",
			Setup: []string{"sandbox partition .31:34801 .32:34801"},
		}},
		SeeAlso: []string{"sandbox partition"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			return s.faultPlan(call, "mend all cuts", "", []string{call.Cluster},
				func(ctx context.Context, c *sandbox.Client) error { return c.Heal(ctx, call.Cluster) }), nil
		},
	}
}

func sandboxThrottleWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox throttle", Topic: "sandbox", Offline: true, Summary: "bound the writes that each node of the sandbox cluster in use takes",
		Args:     []spec.Arg{{Name: "writes", Kind: spec.ArgInt, Help: "writes per second and node; 0 ends it"}},
		Long:     "Writes beyond it are answered as an overloaded node of the store answers them.",
		Examples: []spec.Example{{Line: "sandbox throttle 100", Says: "100 writes per second and node"}},
		SeeAlso:  []string{"sandbox list"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			n := call.ArgInt(0)
			const most = 1 << 30
			if n < 0 || n > most {
				return nil, spec.Errorf(spec.Usage, "writes per second are from 0 to %d", most)
			}
			title := fmt.Sprintf("let each node take %d writes per second", n)
			if n == 0 {
				title = "let each node take every write"
			}
			return s.faultPlan(call, title, "sandbox throttle 0", []string{call.Cluster},
				func(ctx context.Context, c *sandbox.Client) error { return c.Throttle(ctx, call.Cluster, int(n)) }), nil
		},
	}
}

func sandboxBreakWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox break", Topic: "sandbox", Offline: true, Summary: "lose calls at a fault point of the sandbox cluster in use, or list the points",
		Args: []spec.Arg{
			{Name: "point", Optional: true, Help: "one of those that the word lists without arguments"},
			{Name: "calls", Kind: spec.ArgInt, Optional: true, Help: "how many calls are lost, 1 when not given; 0 disarms the point"},
		},
		Long: "A point names a kind of server, a moment and a call. received: the call is dropped before anything is done. " +
			"accepted: it is carried out, and nothing is answered. before-answer: it is carried out, and the connection is cut. " +
			"meta.skipped:cure is no call: so often the meta server does not look after its partitions.",
		Examples: []spec.Example{
			{Line: "sandbox break", Says: "all points, and which are armed"},
			{Line: "sandbox break meta.accepted:create", Says: "the next create is carried out but not answered"},
		},
		SeeAlso: []string{"sandbox list"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, done, err := s.steered(ctx, call.Cluster)
			if err != nil {
				return nil, err
			}
			defer done()
			points, err := c.Points(ctx, call.Cluster)
			if err != nil {
				return nil, err
			}
			if len(call.Args) == 0 {
				return &spec.Plan{Title: "list fault points", Answers: func() *spec.Table { return pointTable(points) }}, nil
			}
			point, n := call.Arg(0), int64(1)
			if len(call.Args) > 1 {
				n = call.ArgInt(1)
			}
			const most = 1 << 30
			if n < 0 || n > most {
				return nil, spec.Errorf(spec.Usage, "calls are from 0 to %d", most)
			}
			title := fmt.Sprintf("lose %d calls at %s", n, point)
			switch n {
			case 0:
				title = "lose no more calls at " + point
			case 1:
				title = "lose the next call at " + point
			}
			return s.faultPlan(call, title, "sandbox break "+point+" 0", []string{point},
				func(ctx context.Context, c *sandbox.Client) error { return c.Break(ctx, call.Cluster, point, int(n)) }), nil
		},
		Reads: func(call *spec.Call) bool { return len(call.Args) == 0 },
	}
}

func pointTable(points []sandbox.Point) *spec.Table {
	var rows []spec.Row
	for _, p := range points {
		rows = append(rows, spec.Row{p.Name, int64(p.Armed), p.Says})
	}
	columns := spec.Columns("point", "armed", "what")
	columns[1].Kind = spec.Int
	return &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}
}

// faultPlan is a plan of one step that the sandbox carries out.
func (s *Shell) faultPlan(call *spec.Call, title, undo string, objects []string, do func(context.Context, *sandbox.Client) error) *spec.Plan {
	return &spec.Plan{Title: title, Steps: []spec.Step{{
		Text: title, Objects: objects, Class: spec.Alter, Undo: undo,
		Apply: func(ctx context.Context, _ spec.Report) error {
			c, done, err := s.steered(ctx, call.Cluster)
			if err != nil {
				return err
			}
			defer done()
			return do(ctx, c)
		},
	}}}
}

// sandboxNode is the endpoint of the node a person means.
func (s *Shell) sandboxNode(ctx context.Context, call *spec.Call, name string) (string, error) {
	c, done, err := s.steered(ctx, call.Cluster)
	if err != nil {
		return "", err
	}
	defer done()
	node, err := findNode(ctx, c, name)
	return node.Endpoint, err
}
