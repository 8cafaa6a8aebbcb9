package pegasus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
)

// lostError says that no usable answer came.
type lostError struct {
	endpoint string
	sent     bool // the server may have the request
	err      error
}

func (e *lostError) Error() string { return e.endpoint + ": " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// rejectedError is a server's refusal of a request as a whole.
type rejectedError struct{ endpoint, code string }

func (e *rejectedError) Error() string { return e.endpoint + ": " + e.code }

// errKerberos ends a connection to a server that waits for an authentication we cannot give.
var errKerberos = errors.New("this cluster demands Kerberos, which shardsh does not speak yet")

// bound gives a context the timeout of one call on the wire.
func (d *Driver) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return cluster.BoundCall(ctx, d.timeout())
}

// call makes one remote call. The context must have a deadline. The error is a *lostError or a *rejectedError. code,
// when not nil, finds the error name inside the result, for the trace.
func call[Q, A any](
	ctx context.Context, d *Driver, endpoint string, rpc *wire.RPC[Q, A], gpid wire.GPID, hash uint64, args *Q,
	result *A, code func(*A) string,
) error {
	start := time.Now()
	err := callAgain(ctx, d, endpoint, rpc, gpid, hash, args, result)
	if d.options.Trace != nil {
		name := wire.OK
		var rejected *rejectedError
		switch {
		case errors.As(err, &rejected):
			name = rejected.code
		case errors.Is(err, context.DeadlineExceeded):
			name = wire.CodeTimeout
		case errors.Is(err, context.Canceled):
			name = "canceled"
		case err != nil:
			name = "ERR_NETWORK_FAILURE"
		case code != nil:
			name = code(result)
		}
		d.options.Trace(ctx, cluster.Trace{Peer: endpoint, Method: rpc.Name, Took: time.Since(start), Code: name})
	}
	return err
}

// callAgain repeats a call whose connection turned out to be gone: when nothing was sent, or when it only reads and the
// connection had worked before (servers close idle ones). Both at most once.
func callAgain[Q, A any](
	ctx context.Context, d *Driver, endpoint string, rpc *wire.RPC[Q, A], gpid wire.GPID, hash uint64, args *Q, result *A,
) error {
	used, err := callOnce(ctx, d, endpoint, rpc, gpid, hash, args, result)
	var lost *lostError
	if used && ctx.Err() == nil && errors.As(err, &lost) && (!lost.sent || !rpc.Change) && !errors.Is(err, errClosed) {
		_, err = callOnce(ctx, d, endpoint, rpc, gpid, hash, args, result)
	}
	return err
}

// callOnce reports whether the connection had been used before.
func callOnce[Q, A any](
	ctx context.Context, d *Driver, endpoint string, rpc *wire.RPC[Q, A], gpid wire.GPID, hash uint64, args *Q, result *A,
) (used bool, err error) {
	c, err := d.pool.Get(ctx, endpoint)
	if err != nil {
		return false, &lostError{endpoint: endpoint, err: err}
	}
	used = c.heard.Load()
	h := wire.Header{GPID: gpid, PartitionHash: hash, TimeoutMillis: millisLeft(ctx)}
	if gpid != (wire.GPID{}) {
		h.ThreadHash = gpid.ThreadHash()
	}
	beat := c.beats()
	x, seq, err := c.send(rpc.OneWay, func(b []byte, seq int32) []byte { return rpc.AppendRequest(b, h, seq, args) })
	if err != nil {
		return true, &lostError{endpoint: endpoint, err: err}
	}
	if rpc.OneWay {
		return used, nil
	}
	if err := d.await(ctx, c, x, seq, beat); err != nil {
		return used, err
	}
	if !x.reply.OK() {
		return used, &rejectedError{endpoint, x.reply.Code}
	}
	if err := rpc.DecodeResult(x.reply.Body, result); err != nil {
		err = fmt.Errorf("the answer cannot be read: %w", err)
		c.fail(err)
		return false, &lostError{endpoint: endpoint, sent: true, err: err}
	}
	return used, nil
}

func millisLeft(ctx context.Context) int32 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return int32(min(max(time.Until(deadline).Milliseconds(), 1), 1<<30))
}

// await waits for an answer. When a connection has never answered anything and three quarters of the time are over, it
// asks the server, beside it, whether it demands an authentication.
func (d *Driver) await(ctx context.Context, c *conn, x *exchange, seq int32, beat int64) error {
	var suspicion <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok && !c.heard.Load() {
		timer := time.NewTimer(time.Until(deadline) * 3 / 4)
		defer timer.Stop()
		suspicion = timer.C
	}
	for {
		select {
		case <-x.done:
			return x.err
		case <-suspicion:
			suspicion = nil
			if c.heard.Load() || !c.probing.CompareAndSwap(false, true) {
				continue
			}
			probe, cancel := context.WithCancel(ctx)
			defer cancel()
			d.pool.Spawn(func() {
				if d.demandsKerberos(probe, c.endpoint) && !c.heard.Load() {
					c.fail(errKerberos)
				}
			})
		case <-ctx.Done():
			err := ctx.Err()
			timedOut := errors.Is(err, context.DeadlineExceeded)
			sent := c.abandon(x, seq, timedOut, beat)
			select {
			case <-x.done: // it came while we gave up
				return x.err
			default:
			}
			if timedOut {
				err = fmt.Errorf("no answer in time: %w", err)
			}
			return &lostError{endpoint: c.endpoint, sent: sent, err: err}
		}
	}
}

// demandsKerberos opens the authentication dialogue on a connection of its own. A server with mandatory authentication
// drops every other message, so this is the only question it answers.
func (d *Driver) demandsKerberos(ctx context.Context, endpoint string) bool {
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", d.hosts.address(endpoint))
	if err != nil {
		return false
	}
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	ask := wire.Negotiation{Status: wire.AuthListMechanisms}
	h := wire.Header{TimeoutMillis: millisLeft(ctx)}
	if _, err := socket.Write(wire.Negotiate.AppendRequest(nil, h, 1, &ask)); err != nil {
		return false
	}
	reply, err := wire.ReadReply(socket)
	if err != nil || !reply.OK() {
		return false
	}
	var answer wire.Negotiation
	err = wire.Negotiate.DecodeResult(reply.Body, &answer)
	return err == nil && answer.Status == wire.AuthListMechanismsResp
}
