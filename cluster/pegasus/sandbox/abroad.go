package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// abroad is a client of another cluster, as the servers of a duplicated table are one. It speaks the protocol that all
// clients do, finds the leading meta server and the primaries by asking, and belongs to one goroutine.
type abroad struct {
	net    network
	remote string // the cluster's name
	conns  map[string]*abroadConn
	routes map[string]*wire.QueryConfigResponse // by table
}

type abroadConn struct {
	tcp net.Conn
	r   *bufio.Reader
	seq int32
}

// abroadTimeout bounds one call. Pegasus waits 100 s for a shipment and tries again every second.
const (
	abroadTimeout = 10 * time.Second
	abroadRest    = time.Second / timers
)

// saidNo is an error name that a server answered.
type saidNo struct{ endpoint, code, hint string }

func (e *saidNo) Error() string {
	text := e.endpoint + " answered " + e.code
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

func newAbroad(n network, remote string) *abroad {
	return &abroad{net: n, remote: remote, conns: map[string]*abroadConn{}, routes: map[string]*wire.QueryConfigResponse{}}
}

func (a *abroad) close() {
	for endpoint := range a.conns {
		a.hangUp(endpoint)
	}
}

func (a *abroad) hangUp(endpoint string) {
	if c := a.conns[endpoint]; c != nil {
		c.tcp.Close()
		delete(a.conns, endpoint)
	}
}

// exchange makes one call. A connection on which something went wrong is given up.
func exchange[Q, A any](ctx context.Context, a *abroad, endpoint string, rpc *wire.RPC[Q, A], h wire.Header, q *Q) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, abroadTimeout)
	defer cancel()
	c := a.conns[endpoint]
	if c == nil {
		tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp4", endpoint)
		if err != nil {
			return nil, err
		}
		c = &abroadConn{tcp: tcp, r: bufio.NewReader(tcp)}
		a.conns[endpoint] = c
	}
	defer context.AfterFunc(ctx, func() { c.tcp.SetDeadline(time.Unix(1, 0)) })()
	c.seq++
	h.TimeoutMillis, h.ThreadHash = int32(abroadTimeout.Milliseconds()), h.GPID.ThreadHash()
	_, err := c.tcp.Write(rpc.AppendRequest(nil, h, c.seq, q))
	if err != nil {
		a.hangUp(endpoint)
		return nil, err
	}
	reply, err := wire.ReadReply(c.r)
	if err == nil && reply.Seq != c.seq {
		err = fmt.Errorf("%s answered another call", endpoint)
	}
	if err != nil {
		a.hangUp(endpoint)
		return nil, errors.Join(context.Cause(ctx), err)
	}
	if !reply.OK() {
		return nil, &saidNo{endpoint, reply.Code, ""}
	}
	out := new(A)
	if err := rpc.DecodeResult(reply.Body, out); err != nil {
		a.hangUp(endpoint)
		return nil, err
	}
	return out, nil
}

// askMeta asks the leading meta server; code finds the error name in the answer.
func askMeta[Q, A any](ctx context.Context, a *abroad, rpc *wire.RPC[Q, A], q *Q, code func(*A) string) (*A, error) {
	list, known := a.net.peer(a.remote)
	if !known {
		return nil, fmt.Errorf("no cluster %q is configured", a.remote)
	}
	if list == "" {
		return nil, fmt.Errorf("the cluster %s is not running", a.remote)
	}
	var errs []error
	for endpoint := range strings.SplitSeq(list, ",") {
		out, err := exchange(ctx, a, endpoint, rpc, wire.Header{}, q)
		if err == nil && code(out) != wire.CodeForward {
			return out, nil
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("no meta server of %s leads", a.remote)
}

// route finds the partitions of a table.
func (a *abroad) route(ctx context.Context, table string) (*wire.QueryConfigResponse, error) {
	if known := a.routes[table]; known != nil {
		return known, nil
	}
	out, err := askMeta(ctx, a, &wire.QueryConfig, &wire.QueryConfigRequest{AppName: table}, func(r *wire.QueryConfigResponse) string { return r.Err })
	switch {
	case err != nil:
		return nil, err
	case out.Err != wire.OK:
		return nil, fmt.Errorf("the table %s of %s: %s", table, a.remote, out.Err)
	case len(out.Configs) == 0 || len(out.Configs) != int(out.Partitions):
		return nil, fmt.Errorf("the table %s of %s has %d partitions of %d", table, a.remote, len(out.Configs), out.Partitions)
	}
	a.routes[table] = out
	return out, nil
}

// duplicate has a follower apply writes. What was wrong with one attempt makes the next one look for the primary anew.
func (a *abroad) duplicate(ctx context.Context, table string, hash uint64, q *wire.DuplicateRequest) error {
	route, err := a.route(ctx, table)
	if err != nil {
		return err
	}
	p := route.Configs[wire.PartitionOf(hash, len(route.Configs))]
	if !p.Primary.Valid() {
		delete(a.routes, table)
		return fmt.Errorf("partition %s of %s has no primary", p.PID, a.remote)
	}
	endpoint := p.Primary.String()
	out, err := exchange(ctx, a, endpoint, &wire.Duplicate, wire.Header{GPID: p.PID, PartitionHash: hash}, q)
	switch {
	case err != nil:
		delete(a.routes, table)
		return err
	case out.Error != nil && *out.Error != 0:
		e := &saidNo{endpoint, wire.StatusName(*out.Error), ""}
		if out.Hint != nil {
			e.hint = *out.Hint
		}
		return e
	}
	return nil
}
