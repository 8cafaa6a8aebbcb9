package openmldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/rpc"
)

// service is one of the servers' interfaces: its name on the wire, and as traces show it.
type service struct{ wire, trace string }

var (
	nameserver = service{"openmldb.nameserver.NameServer", "nameserver"}
	tablet     = service{"openmldb.api.TabletServer", "tablet"}
)

// method is one of a service's calls. A change is never sent a second time when it may have been carried out.
type method struct {
	service
	name   string
	change bool
}

// answer is what every method answers: 0 and nothing, or why not.
type answer interface {
	proto.Message
	GetCode() int32
	GetMsg() string
}

// bound gives a context the timeout of one call, the search for the leader and second tries included.
func (d *Driver) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return cluster.BoundCall(ctx, d.timeout())
}

func (d *Driver) address(ctx context.Context, endpoint string) (string, error) {
	return d.finder.address(ctx, endpoint)
}

// ask calls a method of one server. The context must have a deadline. The error is a *lostError, a *refusal, or says
// why there is no such request.
func (d *Driver) ask(ctx context.Context, endpoint string, m method, q proto.Message, a answer) error {
	start := time.Now()
	err := d.askAgain(ctx, endpoint, m, q, a)
	d.trace(ctx, endpoint, m.trace+"."+m.name, start, err)
	return err
}

// trace tells of a call that ended.
func (d *Driver) trace(ctx context.Context, peer, method string, start time.Time, err error) {
	if d.options.Trace == nil {
		return
	}
	code := "0"
	var r *refusal
	switch {
	case errors.As(err, &r):
		code = r.name()
	case errors.Is(err, context.DeadlineExceeded):
		code = fmt.Sprintf("%d timed out", rpc.CodeTimedOut)
	case errors.Is(err, context.Canceled):
		code = "canceled"
	case errors.Is(err, errNoNode):
		code = err.Error()
	case err != nil:
		code = fmt.Sprintf("%d connection failed", rpc.CodeFailedSocket)
	}
	d.options.Trace(ctx, cluster.Trace{Peer: peer, Method: method, Took: time.Since(start), Code: code})
}

// askAgain repeats a call whose connection turned out to be gone: when nothing was sent, or when it only reads and the
// connection had worked before. Both at most once.
func (d *Driver) askAgain(ctx context.Context, endpoint string, m method, q proto.Message, a answer) error {
	used, err := d.askOnce(ctx, endpoint, m, q, a)
	var lost *lostError
	if used && ctx.Err() == nil && errors.As(err, &lost) && (!lost.sent || !m.change) && !errors.Is(err, errClosed) {
		_, err = d.askOnce(ctx, endpoint, m, q, a)
	}
	return err
}

// askOnce reports whether the connection had been used before.
func (d *Driver) askOnce(ctx context.Context, endpoint string, m method, q proto.Message, a answer) (used bool, err error) {
	c, err := d.pool.Get(ctx, endpoint)
	if err != nil {
		if ctx.Err() == nil {
			d.finder.misplaced(endpoint)
		}
		return false, &lostError{endpoint: endpoint, err: err}
	}
	before := c.Answers()
	proto.Reset(a)
	err = c.Call(ctx, m.wire, m.name, q, a)
	var denied *rpc.Error
	var lost *rpc.CallError
	switch {
	case errors.As(err, &denied):
		return before > 0, &refusal{endpoint: endpoint, code: denied.Code, text: said(denied.Text), framework: true}
	case errors.As(err, &lost):
		if errors.Is(lost.Err, context.DeadlineExceeded) {
			if c.Answers() == before {
				c.Retire() // nobody may be there any more: the next call dials anew
			}
			lost.Err = fmt.Errorf("no answer in time: %w", lost.Err)
		}
		if errors.Is(lost.Err, rpc.ErrClosed) {
			lost.Err = errClosed
		}
		return before > 0, &lostError{endpoint: endpoint, sent: lost.Sent, err: lost.Err}
	case err != nil:
		return false, err
	case a.GetCode() != 0:
		return before > 0, &refusal{endpoint: endpoint, code: a.GetCode(), text: said(a.GetMsg())}
	}
	return before > 0, nil
}

// askLeader calls a method of the nameserver that leads, and answers which it was. op says what is attempted.
func (d *Driver) askLeader(ctx context.Context, op string, m method, q proto.Message, a answer) (string, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var last error
	pause, losses := firstPause, 0
	for try := 0; ; try++ {
		// The first second try goes out at once; from then on somebody has to be elected first.
		if try > 1 {
			if !cluster.Sleep(ctx, pause) {
				return "", failure(op, m.change, last)
			}
			pause = min(2*pause, longestPause)
		}
		leader, err := d.finder.leader(ctx)
		if err != nil {
			if last != nil && ctx.Err() != nil {
				err = last // it tells more than that the time ran out
			}
			return "", failure(op, m.change, err)
		}
		err = d.ask(ctx, leader, m, q, a)
		var r *refusal
		var lost *lostError
		switch {
		case err == nil:
			return leader, nil
		case errors.As(err, &r) && !r.undone(), errors.Is(err, errClosed):
			return leader, failure(op, m.change, err)
		case errors.As(err, &lost):
			losses++
		case r == nil:
			return leader, failure(op, m.change, err)
		}
		d.finder.depose(leader)
		if ctx.Err() != nil || lost != nil && lost.sent && m.change || losses > 1 && !d.finder.electing(leader) {
			return leader, failure(op, m.change, err)
		}
		last = err
	}
}

// askTablet calls a method of a tablet.
func (d *Driver) askTablet(ctx context.Context, op, endpoint string, m method, q proto.Message, a answer) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	return failure(op, m.change, d.ask(ctx, endpoint, m, q, a))
}
