package sandbox

import (
	"bufio"
	"context"
	"errors"
	"net"
	"time"

	"shardsh/commands/spec"
)

// Client steers a sandbox over its control socket. Its methods may be called from any goroutine; each call has a
// connection of its own, so that a slow one holds up no other.
type Client struct {
	path  string
	child *child // the sandbox, when this client launched it
}

// Dial returns a client of a sandbox that is served on a control socket. It asks once whether it answers.
func Dial(path string) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := &Client{path: path}
	_, err := c.call(ctx, "reach the sandbox", request{Op: opPing})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Path is the control socket.
func (c *Client) Path() string { return c.path }

// Open starts a cluster unless it is open, and returns the address for the store's driver.
func (c *Client) Open(ctx context.Context, name string) (address string, err error) {
	a, err := c.call(ctx, "open sandbox cluster "+name, request{Op: opOpen, Name: name})
	return a.Address, err
}

// List lists the nodes of all open clusters.
func (c *Client) List(ctx context.Context) ([]NodeStatus, error) {
	a, err := c.call(ctx, "list sandbox nodes", request{Op: opList})
	return a.Nodes, err
}

// Providers answers the directories of the sandbox's block services, by name.
func (c *Client) Providers(ctx context.Context) (map[string]string, error) {
	a, err := c.call(ctx, "ask for the sandbox's block services", request{Op: opProvide})
	return a.Providers, err
}

// Kill kills a node as kill -9 would. It is named by its endpoint, or by an end of it that no other node shares
// (".32"). What is answered is the node after it.
func (c *Client) Kill(ctx context.Context, node string) (NodeStatus, error) {
	return c.steer(ctx, "kill", request{Op: opKill, Name: node})
}

// Start starts a dead node again, named as in Kill.
func (c *Client) Start(ctx context.Context, node string) (NodeStatus, error) {
	return c.steer(ctx, "start", request{Op: opStart, Name: node})
}

func (c *Client) steer(ctx context.Context, verb string, r request) (NodeStatus, error) {
	a, err := c.call(ctx, verb+" sandbox node "+r.Name, r)
	if err != nil {
		return NodeStatus{}, err
	}
	if len(a.Nodes) != 1 {
		return NodeStatus{}, &spec.Error{Kind: spec.Failed, Op: verb + " sandbox node", Err: errors.New("the answer names no node")}
	}
	return a.Nodes[0], nil
}

// Shutdown ends the sandbox for everybody who uses it.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := c.call(ctx, "shut the sandbox down", request{Op: opShutdown})
	return err
}

// Close ends the sandbox when this client launched it, and waits until it is gone. A sandbox that was dialled goes on.
func (c *Client) Close() error {
	if c.child == nil {
		return nil
	}
	return c.child.close()
}

func (c *Client) call(ctx context.Context, op string, r request) (answer, error) {
	var a answer
	err := c.exchange(ctx, r, &a)
	if err == nil {
		err = a.Error.err()
	} else {
		err = c.explain(ctx, err)
	}
	var known *spec.Error
	if errors.As(err, &known) {
		known.Op = op
	}
	return a, err
}

// explain says why the sandbox did not answer: it is dead, we stopped waiting, or it cannot be reached.
func (c *Client) explain(ctx context.Context, err error) error {
	if c.child != nil {
		if dead := c.child.obituary(); dead != nil {
			return dead
		}
	}
	if ctx.Err() != nil {
		return &spec.Error{Kind: spec.KindOf(ctx.Err()), Endpoint: c.path, Err: context.Cause(ctx)}
	}
	return &spec.Error{
		Kind: spec.Unavailable, Endpoint: c.path, Err: err,
		Hint: "start it with: shardsh sandbox --control " + c.path,
	}
}

func (c *Client) exchange(ctx context.Context, r request, a *answer) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	if err := writeLine(conn, r); err != nil {
		return err
	}
	return readLine(bufio.NewReader(conn), a)
}
