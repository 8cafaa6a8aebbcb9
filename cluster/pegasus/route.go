package pegasus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// route is where a table's partitions are. It is immutable.
type route struct {
	AppPartitions
}

// unready reports whether partition i is the child of a split that is not ready: its ballot is negative, its rows are
// still with its parent. A ballot of 0 is that of a partition of a new table which no server serves yet: a row of it
// waits, as its parent would take it and nobody would find it there.
func (r *route) unready(i int) bool {
	half := len(r.Partitions) / 2
	return half > 0 && i >= half && r.Partitions[i].Ballot < 0 && r.Partitions[i-half].Ballot > 0
}

// index is the partition that a hash goes to.
func (r *route) index(hash uint64) int {
	i := wire.PartitionOf(hash, len(r.Partitions))
	if r.unready(i) {
		i -= len(r.Partitions) / 2
	}
	return i
}

// routes caches the routes of tables for row calls. A server that refuses makes them ask the meta server again.
type routes struct {
	mu     sync.Mutex
	tables map[string]*routeEntry
}

type routeEntry struct {
	turn chan struct{} // holds one token: who has it may ask the meta server
	mu   sync.Mutex
	now  *route
}

func newRoutes() *routes { return &routes{tables: map[string]*routeEntry{}} }

func (r *routes) entry(table string) *routeEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.tables[table]
	if e == nil {
		e = &routeEntry{turn: make(chan struct{}, 1)}
		r.tables[table] = e
	}
	return e
}

func (e *routeEntry) get() *route {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

func (e *routeEntry) set(now *route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = now
}

// forget drops a route that proved wrong, unless another one took its place.
func (e *routeEntry) forget(stale *route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == stale {
		e.now = nil
	}
}

// route answers the cached route of a table, asking for it when there is none.
func (d *Driver) route(ctx context.Context, op, table string) (*route, *routeEntry, error) {
	e := d.routes.entry(table)
	if now := e.get(); now != nil {
		return now, e, nil
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, e, failure(op, false, ctx.Err())
	}
	if now := e.get(); now != nil {
		return now, e, nil
	}
	now, err := d.resolve(ctx, op, table)
	if err != nil {
		return nil, e, err
	}
	e.set(now)
	return now, e, nil
}

// resolve asks the meta server where a table is.
func (d *Driver) resolve(ctx context.Context, op, table string) (*route, error) {
	a, endpoint, err := queryConfig.call(ctx, d, op, &wire.QueryConfigRequest{AppName: table})
	switch {
	case err != nil:
		return nil, err
	case a.Err == wire.CodeObjectNotFound, a.Err == wire.CodeAppNotExist, a.Err == wire.CodeAppDropped:
		return nil, noTable(op, endpoint, table, a.Err)
	case a.Err != wire.OK:
		return nil, codeError(op, endpoint, a.Err, "", false)
	case len(a.Configs) == 0 || int(a.Partitions) != len(a.Configs):
		return nil, malformed(op, endpoint, "%d partitions announced, %d described", a.Partitions, len(a.Configs))
	}
	r := &route{AppPartitions{AppID: a.AppID, Name: table, Partitions: make([]Partition, len(a.Configs))}}
	seen := make([]bool, len(a.Configs))
	for i := range a.Configs {
		index := int(a.Configs[i].PID.Partition)
		if index < 0 || index >= len(seen) || seen[index] {
			return nil, malformed(op, endpoint, "partition %d of %d", index, len(seen))
		}
		seen[index] = true
		r.Partitions[index] = d.partition(&a.Configs[i])
	}
	for i := range r.Partitions {
		r.Partitions[i].Unborn = r.unready(i)
	}
	return r, nil
}

func noTable(op, endpoint, table, code string) error {
	e := spec.Errorf(spec.NotFound, "there is no table %q", table)
	e.Op, e.Endpoint, e.Code = op, endpoint, code
	return e.WithHint("ls lists the tables")
}

func (d *Driver) partition(c *wire.Partition) Partition {
	return Partition{
		Index: int(c.PID.Partition), Ballot: c.Ballot, MaxReplicas: int(c.MaxReplicas),
		Primary:     d.name(c.Primary, c.HPPrimary),
		Secondaries: d.names(c.Secondaries, c.HPSecondaries),
		LastDrops:   d.names(c.LastDrops, c.HPLastDrops), LastCommitted: c.LastCommitted,
	}
}

// names pairs addresses with host names when there is one for each.
func (d *Driver) names(addresses []wire.Address, hosts []wire.HostPort) []string {
	var list []string
	for i, address := range addresses {
		var host *wire.HostPort
		if len(hosts) == len(addresses) {
			host = &hosts[i]
		}
		if name := d.name(address, host); name != "" {
			list = append(list, name)
		}
	}
	return list
}

// target chooses the partition of a row call on a route, or says why there is none any more.
type target func(*route) (int, error)

func byHash(hash uint64) target {
	return func(r *route) (int, error) { return r.index(hash), nil }
}

const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// maxRefusals bounds asking again for a partition whose server says that it is not its primary: it may deny
	// clients on purpose (replica.deny_client_request), and an operator should not wait for that.
	maxRefusals = 3
)

// partitionCall makes a row call to the primary of a partition, asking for the route again as servers refuse.
func partitionCall[Q, A any](
	ctx context.Context, d *Driver, op, table string, where target, hash uint64, rpc *wire.RPC[Q, A], args *Q, result *A,
) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	var last error
	pause, refusals := firstPause, 0
	for {
		r, entry, err := d.route(ctx, op, table)
		if err != nil {
			if last != nil && ctx.Err() != nil {
				return last
			}
			return err
		}
		i, err := where(r)
		if err != nil {
			return err
		}
		p := &r.Partitions[i]
		if p.Primary == "" {
			entry.forget(r)
			last = noPrimary(op, table, i)
			refusals++
		} else {
			err = call(ctx, d, p.Primary, rpc, wire.GPID{App: r.AppID, Partition: int32(i)}, hash, args, result, nil)
			if err == nil {
				return nil
			}
			// What a server said before the time ran out tells more than that it did.
			now := failure(op, rpc.Change, err)
			if last == nil || !errors.Is(err, context.DeadlineExceeded) || spec.KindOf(now) == spec.UnknownOutcome {
				last = now
			}
			again, refresh := reaction(err, rpc.Change)
			if refresh {
				entry.forget(r)
			}
			if !again {
				return last
			}
			var rejected *rejectedError
			if errors.As(err, &rejected) && rejected.code == wire.CodeInvalidState {
				refusals++
			}
		}
		if refusals > maxRefusals || !cluster.Sleep(ctx, pause) {
			return last
		}
		pause = min(2*pause, lastPause)
	}
}

// reaction tells whether a failed row call may be made again, and whether the route must be asked for again. The
// refusals that a change may follow up are those that servers give before they look at the request. One is that the
// partition is about to be split in two: that lasts a moment, and the route is wrong only after it.
func reaction(err error, change bool) (again, refresh bool) {
	var lost *lostError
	var rejected *rejectedError
	switch {
	case errors.As(err, &lost):
		timedOut := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
		final := timedOut || errors.Is(err, errClosed) || errors.Is(err, errKerberos)
		return !final && (!change || !lost.sent), !timedOut
	case errors.As(err, &rejected):
		switch rejected.code {
		case wire.CodeTimeout, wire.CodeNotEnoughMember, wire.CodeCapacityExceeded, wire.CodeBusy, wire.CodeDiskInsufficient:
			return false, false
		case wire.CodeSplitting:
			return true, false
		case wire.CodeACLDeny, wire.CodeUnauthenticated, wire.CodeHandlerNotFound, wire.CodeInvalidData,
			wire.CodeInvalidParameters, wire.CodeOperationDisabled:
			return false, true
		case wire.CodeInvalidState, wire.CodeParentMisused, wire.CodeChildNotReady, wire.CodeObjectNotFound:
			return true, true
		}
		return !change, true
	}
	return false, false
}

func noPrimary(op, table string, index int) error {
	e := spec.Errorf(spec.Unavailable, "partition %d of table %s has no primary", index, table)
	e.Op = op
	return e.WithHint("showtable %s shows its replicas, nodes the dead ones", table)
}

// changed is what a scan meets when the table is not what it was.
func changed(op, table string, format string, args ...any) error {
	e := spec.Errorf(spec.Failed, "table %s changed under the scan: %s", table, fmt.Sprintf(format, args...))
	e.Op = op
	return e.WithHint("scan again")
}
