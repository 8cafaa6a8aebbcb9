package openmldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/commands/spec"
)

// routes are the tables that row calls know. What is known is used until a tablet turns out to know better, or it is too
// old: a put with the indexes of yesterday would not be found by one that was added since. Past the age to refresh it is
// used still, and read anew beside.
type routes struct {
	refresh, forReads, forPuts time.Duration

	mu     sync.Mutex
	tables map[TableName]*route
}

// route is a table as row calls see it. What was read does not change; it is replaced.
type route struct {
	mu    sync.Mutex
	table *Table
	read  time.Time
	// placed: the places of its indexes are those that the tablets have.
	placed bool
	now    *flight
}

// flight is one goroutine of the driver reading what several wait for.
type flight struct {
	done   chan struct{}
	placed bool
	table  *Table
	err    error
}

// Ages of a table as row calls know it.
const (
	refreshAge = time.Second
	readsAge   = 10 * time.Second
	putsAge    = 2 * time.Second
)

func newRoutes() *routes {
	return &routes{refresh: refreshAge, forReads: readsAge, forPuts: putsAge, tables: map[TableName]*route{}}
}

func (r *routes) of(table TableName) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tables[table] == nil {
		r.tables[table] = &route{}
	}
	return r.tables[table]
}

// forget drops what was read of a table, unless it was read anew since.
func (r *route) forget(was *Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == was {
		r.table = nil
	}
}

// route answers a table from memory, or reads it. With places its indexes' places are the tablets'.
func (d *Driver) route(ctx context.Context, op string, name TableName, places bool) (*Table, error) {
	for {
		t, f, mine := d.beginRoute(ctx, name, places)
		if f == nil {
			return t, nil
		}
		select {
		case <-f.done:
			switch {
			case f.err == nil && (f.placed || !places):
				return f.table, nil
			case f.err == nil: // it was read for others
			case mine, ctx.Err() != nil, !errors.Is(f.err, context.DeadlineExceeded):
				return nil, failure(op, false, f.err)
			}
			// One that began before has less time left.
		case <-ctx.Done():
			return nil, failure(op, false, fmt.Errorf("the table was not described in time: %w", ctx.Err()))
		}
	}
}

// routeTo is route for the table of an id. One that was known by that name before is looked up anew.
func (d *Driver) routeTo(ctx context.Context, op string, name TableName, tid uint32, places bool) (*Table, error) {
	t, err := d.route(ctx, op, name, places)
	if err == nil && t.ID != tid {
		d.routes.of(name).forget(t)
		t, err = d.route(ctx, op, name, places)
	}
	if err == nil {
		err = sameTable(op, t, tid)
	}
	return t, err
}

// beginRoute answers what is known, or the look-up under way, which it begins when there is none: then it is the
// caller's.
func (d *Driver) beginRoute(ctx context.Context, name TableName, places bool) (_ *Table, _ *flight, mine bool) {
	r := d.routes.of(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	age, most := time.Since(r.read), d.routes.forReads
	if places {
		most = d.routes.forPuts
	}
	known := r.table != nil && (r.placed || !places) && age < most
	under := r.now
	if under == nil && (!known || age > d.routes.refresh) {
		under, mine = &flight{done: make(chan struct{}), placed: places || known && r.placed}, true
		// It belongs to the driver: whoever asked first may give up while others wait.
		aside := context.WithoutCancel(ctx)
		if d.pool.Spawn(func() { d.readRoute(aside, r, under, name) }) {
			r.now = under
		} else {
			under.err = &spec.Error{Kind: spec.Unavailable, Err: errClosed}
			close(under.done)
		}
	}
	if known {
		return r.table, nil, false
	}
	return nil, under, mine
}

func (d *Driver) readRoute(ctx context.Context, r *route, f *flight, name TableName) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	defer context.AfterFunc(d.pool.Context(), cancel)()
	t, err := d.describe(ctx, "", name) // what is attempted is said by each of those who wait
	if err == nil && f.placed {
		err = d.placeIndexes(ctx, t)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now = nil; err == nil {
		r.table, r.placed, r.read, f.table = t, f.placed, time.Now(), t
	}
	f.err = err
	close(f.done)
}

// placeIndexes asks a tablet where the indexes stand: the nameserver leaves deleted ones out of its list, and a put
// counts them. A tablet too old to be asked has none that were deleted.
func (d *Driver) placeIndexes(ctx context.Context, t *Table) error {
	leader, err := t.leader("", 0)
	if err != nil {
		return err
	}
	own, err := d.schema(ctx, leader, t.ID, 0)
	var r *refusal
	if errors.As(err, &r) && r.framework && r.code == rpc.CodeNoMethod || errors.Is(err, errNoSchema) {
		return nil
	}
	if err != nil {
		return d.rowFailure("", getTableSchema, err)
	}
	for i := range t.Indexes {
		x := &t.Indexes[i]
		at := slices.IndexFunc(own.Indexes, func(o Index) bool { return o.Name == x.Name })
		if at < 0 {
			e := spec.Errorf(spec.Unavailable, "the tablet does not have the index %s yet", x.Name)
			e.Endpoint = leader
			return e.WithHint("try again in a moment")
		}
		x.Place = own.Indexes[at].Place
	}
	return nil
}

// current answers a table that knows the schema versions of rows: the one they were asked for, or one looked up since.
func (d *Driver) current(ctx context.Context, op string, t *Table, rows ...[]byte) (*Table, error) {
	old := func(row []byte) bool {
		if len(row) < 2 {
			return false
		}
		_, known := t.Schema.Versions[row[1]]
		return !known
	}
	if !slices.ContainsFunc(rows, old) {
		return t, nil
	}
	d.routes.of(t.TableName).forget(t)
	ctx, cancel := d.bound(ctx)
	defer cancel()
	return d.route(ctx, op, t.TableName, false)
}

// leader is the tablet that takes the writes of a partition.
func (t *Table) leader(op string, partition uint32) (string, error) {
	if int64(partition) >= int64(len(t.Parts)) {
		e := spec.Errorf(spec.NotFound, "table %s has no partition %d", t.TableName, partition)
		e.Op = op
		return "", e
	}
	if r, ok := t.Parts[partition].Leader(); ok {
		return r.Endpoint, nil
	}
	e := spec.Errorf(spec.Unavailable, "%s/%d has no leader that is alive", t.TableName, partition)
	e.Op = op
	return "", e.WithHint("showtable %s shows its replicas, changeleader has another one lead", t.Name)
}

// rowCall is a call to the tablet that leads a partition.
type rowCall struct {
	op     string
	table  TableName
	method method
	places bool // the indexes' places are needed
	// build makes the request for a table as it is now.
	build func(t *Table) (partition uint32, q proto.Message, err error)
}

// askOwner makes a call, and answers the table it was made for. When it turns out that the tablet does not lead, or
// cannot be reached, the table is looked up anew and the call made once more, if it only reads or cannot have been
// carried out.
func (d *Driver) askOwner(ctx context.Context, c rowCall, a answer) (*Table, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	for try := 0; ; try++ {
		t, err := d.route(ctx, c.op, c.table, c.places)
		if err != nil {
			return nil, err
		}
		partition, q, err := c.build(t)
		if err != nil {
			return t, err
		}
		leader, err := t.leader(c.op, partition)
		if err == nil {
			if err = d.ask(ctx, leader, c.method, q, a); err == nil {
				return t, nil
			}
		}
		again := misrouted(c.method, err)
		if again {
			d.routes.of(c.table).forget(t)
		}
		if try > 0 || !again || ctx.Err() != nil {
			return t, d.rowFailure(c.op, c.method, err)
		}
	}
}

// misrouted says that a call failed because it went to the wrong place, or to nobody, and may be made again.
func misrouted(m method, err error) bool {
	var r *refusal
	var lost *lostError
	var known *spec.Error
	switch {
	case errors.As(err, &r):
		return !r.framework && (r.code == codeNoTable || r.code == codeIsFollower) || r.framework && r.code == rpc.CodeLogoff
	case errors.Is(err, errClosed):
		return false
	case errors.As(err, &lost):
		return !lost.sent || !m.change
	}
	return errors.As(err, &known) && known.Kind == spec.Unavailable // no leader
}

// rowFailure is failure, but a tablet that lacks a partition does not mean that there is no such table.
func (d *Driver) rowFailure(op string, m method, err error) error {
	var r *refusal
	if errors.As(err, &r) && !r.framework && r.code == codeNoTable {
		e := refused(op, m.change, r)
		e.Kind = spec.Unavailable
		return e.WithHint("its tablet lacks the partition: doctor says what is wrong")
	}
	return failure(op, m.change, err)
}
