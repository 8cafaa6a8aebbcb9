package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	client "github.com/colinmarc/hdfs/v2"
)

// idleClients is how many clients a pool keeps for later.
const idleClients = 4

// hdfsPool keeps clients, because one makes one call at a time, and a file that is written or read needs one for as long
// as that takes.
type hdfsPool struct {
	config Config
	place  *hdfsPlace
	login  *kerberos // nil where no ticket is wanted

	mu     sync.Mutex
	idle   []*hdfsClient
	closed bool
}

func newHDFSPool(c Config, place *hdfsPlace) (*hdfsPool, error) {
	p := &hdfsPool{config: c, place: place}
	if place.kerberos() {
		o, err := place.options()
		if err != nil {
			return nil, err
		}
		p.login = newKerberos(c, o.KerberosServicePrincipleName, o.Addresses)
	}
	return p, nil
}

// hdfsClient is a client and its connections. The library knows no contexts: the end of one closes the connections.
type hdfsClient struct {
	*client.Client
	ctx    context.Context // of who uses it
	stop   func() bool     // heeding ctx
	ticket *ticket         // nil where none is wanted

	mu     sync.Mutex
	conns  map[net.Conn]bool // true for one to a datanode
	dead   bool
	dialed error // why the last dial failed: the library keeps its text only
}

// get takes a client out of the pool, for use under a context, or makes one.
func (p *hdfsPool) get(ctx context.Context) (*hdfsClient, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	var c *hdfsClient
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if c != nil {
		c.use(ctx)
		return c, nil
	}
	return p.dial(ctx)
}

func (p *hdfsPool) dial(ctx context.Context) (*hdfsClient, error) {
	o, err := p.place.options()
	if err != nil {
		return nil, err
	}
	c := &hdfsClient{conns: map[net.Conn]bool{}}
	if p.login != nil {
		if c.ticket, err = p.login.ticket(ctx); err != nil {
			return nil, err
		}
		o.KerberosClient = c.ticket.client
	}
	o.NamenodeDialFunc = c.dialer(p.config.timeout(), p.config.timeout(), false)
	o.DatanodeDialFunc = c.dialer(p.config.timeout(), p.config.stall(), true)
	if p.login != nil {
		bare := o.DatanodeDialFunc
		o.DatanodeDialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := bare(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return protect(conn, p.place.protection()), nil
		}
	}
	c.use(ctx)
	if c.Client, err = client.NewClient(o); err != nil {
		err = c.explain(err)
		c.kill()
		c.stop()
		return nil, err
	}
	return c, nil
}

// use aims a client at a context: its end kills the client.
func (c *hdfsClient) use(ctx context.Context) {
	c.ctx = ctx
	c.stop = context.AfterFunc(ctx, c.kill)
}

// put gives a client back. One whose connection may be in the middle of something is closed, and when it broke the idle
// ones are too: they lead to the same server.
func (p *hdfsPool) put(c *hdfsClient, err error) {
	unhurt := c.stop()
	c.hangUp()
	reason := reasonOf(err)
	if err == nil || isException(err) || reason == NoFile || reason == Forbidden || reason == NotEmpty || reason == NotAFile {
		p.mu.Lock()
		keep := unhurt && !p.closed && len(p.idle) < idleClients
		if keep {
			p.idle = append(p.idle, c)
		}
		p.mu.Unlock()
		if keep {
			return
		}
	} else {
		p.flush()
	}
	c.end()
}

// flush closes the idle clients.
func (p *hdfsPool) flush() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.end()
	}
}

func (p *hdfsPool) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.flush()
	return nil
}

// with makes one call with a client of the pool.
func (p *hdfsPool) with(ctx context.Context, call func(*client.Client) error) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	err = c.explain(call(c.Client))
	p.put(c, err)
	return err
}

// end closes everything. The library would wait for a call under way: its connection goes first.
func (c *hdfsClient) end() {
	c.kill()
	_ = c.Client.Close() // of connections that are closed
}

// hangUp closes what is left of connections to datanodes: the library forgets those that it asks for checksums.
func (c *hdfsClient) hangUp() {
	c.mu.Lock()
	var left []net.Conn
	for conn, datanode := range c.conns {
		if datanode {
			left = append(left, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range left {
		_ = conn.Close() // nothing is on its way
	}
}

// kill cuts the connections, so that whatever waits for them fails, and lets no new ones be made.
func (c *hdfsClient) kill() {
	c.mu.Lock()
	c.dead = true
	conns := slices.Collect(maps.Keys(c.conns))
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

var errKilled = errors.New("the client is closed")

// dialer dials for the library, with a bound on the dialling and on how long a connection may stand still.
func (c *hdfsClient) dialer(timeout, stall time.Duration, datanode bool) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c.mu.Lock()
		dead := c.dead
		c.mu.Unlock()
		if dead {
			return nil, errKilled
		}
		conn, err := d.DialContext(ctx, network, address)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.dialed = err
			return nil, err
		}
		c.dialed = nil
		if c.dead {
			return nil, errors.Join(errKilled, conn.Close())
		}
		kept := &hdfsConn{stallConn{conn, stall, stall}, c}
		c.conns[kept] = datanode
		return kept, nil
	}
}

// hdfsConn is forgotten when it is closed.
type hdfsConn struct {
	stallConn
	client *hdfsClient
}

func (c *hdfsConn) Close() error {
	c.client.mu.Lock()
	delete(c.client.conns, c)
	c.client.mu.Unlock()
	return c.stallConn.Conn.Close()
}

// explain gives an error of the library the cause that its text hides: the context's end, or why nobody could be dialled.
func (c *hdfsClient) explain(err error) error {
	if err == nil {
		return nil
	}
	if cause := c.ctx.Err(); cause != nil && !isException(err) {
		return fmt.Errorf("%w: %w", cause, short(err))
	}
	c.mu.Lock()
	dialed := c.dialed
	c.mu.Unlock()
	if dialed != nil && (strings.HasPrefix(err.Error(), "no available namenodes") || strings.Contains(err.Error(), dialed.Error())) {
		return dialed
	}
	if strings.Contains(err.Error(), "StandbyException") {
		return &reasoned{Busy, errors.New("no namenode is active: those that answer stand by")}
	}
	if why, shaken := strings.CutPrefix(short(err).Error(), "no available namenodes: SASL handshake: "); shaken {
		return c.shake(why)
	}
	if c.ticket == nil && short(err).Error() == "unexpected sequence number" {
		return errNoTicket // it is an answer to the login, which there was none of
	}
	if strings.HasPrefix(short(err).Error(), "no available namenodes") {
		return &reasoned{Busy, err}
	}
	return err
}
