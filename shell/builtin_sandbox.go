package shell

import (
	"context"
	"fmt"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// control answers the control client of the sandbox behind a cluster; a real cluster has none, which is a usage error.
func (s *Shell) control(ctx context.Context, name string) (*sandbox.Client, func(), error) {
	none := func() {}
	var t target
	if name != "" {
		var err error
		if t, err = s.find(name); err != nil {
			return nil, none, err
		}
	}
	if path := t.settings["sandbox"]; path != "" {
		c, err := sandbox.Dial(path)
		if err != nil {
			return nil, none, err
		}
		return c, func() { c.Close() }, nil
	}
	if name != "" && !t.sandbox {
		return nil, none, spec.Errorf(spec.Usage, "cluster %s is not a sandbox", name).
			WithHint("sandbox words steer the emulators of this program only")
	}
	c, err := s.sandbox.get(ctx)
	return c, none, err
}

// steered is control for what is done to the cluster in use: one of this shell starts for that when nothing has needed it
// yet.
func (s *Shell) steered(ctx context.Context, name string) (*sandbox.Client, func(), error) {
	c, done, err := s.control(ctx, name)
	if err != nil || name == "" {
		return c, done, err
	}
	if t, err := s.find(name); err != nil || !t.own {
		return c, done, err
	}
	_, err = s.sandbox.open(ctx, name)
	return c, done, err
}

func sandboxListWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "sandbox list", Topic: "sandbox", Offline: true,
		Summary: "list the nodes of the sandbox clusters that run",
		Long: "A sandbox cluster starts when it is first needed, and ends with the shell that started it. pid is the process that a node runs in: " +
			"one for all nodes, or one for each when process_per_node is set in config.ini, or the sandbox is served with --process-per-node. " +
			"timers says what the store's timers (grace periods, leases) are divided by. That a node is silent means something after 3 s only, whatever the timers are.",
		SeeAlso:  []string{"sandbox kill", "sandbox start"},
		Examples: []spec.Example{{Line: "sandbox list", Setup: []string{"ls"}, Says: "nodes, addresses and states"}},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, done, err := s.control(ctx, call.Cluster)
			if err != nil {
				return nil, err
			}
			defer done()
			nodes, err := c.List(ctx)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, n := range nodes {
				rows = append(rows, spec.Row{n.Cluster, n.System, n.Role, n.Endpoint, n.State, int64(n.PID), fmt.Sprintf("÷ %d", n.Timers), commands.Word(n.Faults)})
			}
			cols := spec.Columns("cluster", "system", "role", "endpoint", "state", "pid", "timers", "faults")
			cols[5].Kind = spec.Int
			return &spec.Table{Columns: cols, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func sandboxKillWord(s *Shell) spec.Command {
	w := s.sandboxNodeWord("kill", "kill a node of a sandbox, as kill -9 would", "start", sandbox.Dead,
		func(ctx context.Context, c *sandbox.Client, node string) error {
			_, err := c.Kill(ctx, node)
			return err
		})
	w.Long += " A node with a process of its own gets SIGKILL; kill -9 of the process that sandbox list shows does the same. " +
		"Where all nodes share one process, the node's connections are cut and what it had in memory is gone."
	return w
}

func sandboxStartWord(s *Shell) spec.Command {
	return s.sandboxNodeWord("start", "start a node of a sandbox that is dead, or let a paused one go on", "kill", sandbox.Alive,
		func(ctx context.Context, c *sandbox.Client, node string) error {
			_, err := c.Start(ctx, node)
			return err
		})
}

func (s *Shell) sandboxNodeWord(verb, summary, opposite, state string, do func(context.Context, *sandbox.Client, string) error) spec.Command {
	return spec.Command{
		Name: "sandbox " + verb, Topic: "sandbox", Offline: true, Summary: summary,
		Args: []spec.Arg{{Name: "node", Kind: spec.ArgEndpoint, Help: "its endpoint, or the end of it: .32"}},
		Long: "Steers the emulated cluster, here or in another process that serves it. A real cluster is refused.",
		Examples: []spec.Example{{
			Line: "sandbox " + verb + " .32:34801", Says: summary, Setup: map[string][]string{"start": {"sandbox kill .32:34801"}}[verb],
		}},
		SeeAlso: []string{"sandbox list", "sandbox " + opposite},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, done, err := s.steered(ctx, call.Cluster)
			if err != nil {
				return nil, err
			}
			defer done()
			node, err := findNode(ctx, c, call.Arg(0))
			if err != nil {
				return nil, err
			}
			return &spec.Plan{Title: verb + " node " + node.Endpoint, Steps: []spec.Step{{
				Text: verb + " node", Objects: []string{node.Endpoint}, Class: spec.Alter, Undo: "sandbox " + opposite + " " + node.Endpoint,
				Check: func(ctx context.Context) (spec.State, error) {
					return s.nodeState(ctx, call.Cluster, node.Endpoint, state)
				},
				Apply: func(ctx context.Context, _ spec.Report) error {
					c, done, err := s.control(ctx, call.Cluster)
					if err != nil {
						return err
					}
					defer done()
					return do(ctx, c, node.Endpoint)
				},
			}}}, nil
		},
	}
}

// nodeState answers Done when the node is in the state already.
func (s *Shell) nodeState(ctx context.Context, cluster, endpoint, want string) (spec.State, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, done, err := s.control(ctx, cluster)
	if err != nil {
		return spec.State{}, err
	}
	defer done()
	node, err := findNode(ctx, c, endpoint)
	if err == nil && node.State == want {
		return spec.State{Kind: spec.Done, Why: "it is " + want + " already"}, nil
	}
	return spec.State{}, err
}

func findNode(ctx context.Context, c *sandbox.Client, name string) (sandbox.NodeStatus, error) {
	nodes, err := c.List(ctx)
	if err != nil {
		return sandbox.NodeStatus{}, err
	}
	return sandbox.MatchNode(nodes, name)
}
