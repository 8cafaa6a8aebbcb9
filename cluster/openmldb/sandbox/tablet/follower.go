package tablet

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/sandbox/port"
)

// follower is what a leader sends its entries to: a goroutine that first asks where the follower stands and then sends
// what comes after, one request at a time, for as long as the partition leads. A follower that is ahead of its leader is
// left alone until the leader has passed it.
type follower struct {
	p        *partition
	endpoint string
	tid      uint32 // there, which in another cluster is not the one here
	remote   bool
	synced   atomic.Uint64 // offset of the last entry it has, as far as known
	news     chan struct{}
	cancel   context.CancelFunc
	ended    chan struct{}
}

// Waits of a leader (binlog_match_logoffset_interval, binlog_sync_wait_time).
const (
	matchInterval = time.Second
	remoteWait    = 100 * time.Millisecond
)

// addFollower begins to send to an endpoint; false when it does already. The partition's lock is held.
func (p *partition) addFollower(endpoint string, tid uint32, remote bool) bool {
	if p.followers[endpoint] != nil || p.gone || p.t.ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithCancel(p.t.ctx)
	f := &follower{
		p: p, endpoint: endpoint, tid: tid, remote: remote, news: make(chan struct{}, 1), cancel: cancel,
		ended: make(chan struct{}),
	}
	p.followers[endpoint] = f
	p.t.wg.Go(func() {
		defer close(f.ended)
		f.run(ctx)
	})
	return true
}

// stopFollowers ends sending, to the named endpoint or to all for "". The lock is not held: a follower in a call needs it.
func (p *partition) stopFollowers(endpoints ...string) (found bool) {
	p.mu.Lock()
	var stopped []*follower
	for name, f := range p.followers {
		if len(endpoints) == 0 || slices.Contains(endpoints, name) {
			delete(p.followers, name)
			stopped = append(stopped, f)
		}
	}
	p.mu.Unlock()
	for _, f := range stopped {
		f.cancel()
		<-f.ended
	}
	return len(stopped) > 0
}

// nudge tells it that there is something to send.
func (f *follower) nudge() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *follower) run(ctx context.Context) {
	t := f.p.t
	for said := ""; ctx.Err() == nil; {
		err := f.match(ctx)
		for err == nil {
			err = f.send(ctx)
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			t.c.Log("tablet %s: %s does not follow %s: %v", t.c.Endpoint, f.endpoint, f.p.id, err)
			said = text
		}
		if !t.sleep(ctx, matchInterval) {
			return
		}
	}
}

// refusal is an answer that is not ok.
type refusal struct {
	code int32
	text string
}

func (r *refusal) Error() string { return r.text }

// match asks where the follower stands.
func (f *follower) match(ctx context.Context) error {
	a, err := f.append(ctx, 0, nil)
	if err == nil {
		f.synced.Store(a.GetLogOffset())
	}
	return err
}

// append sends entries, given as fields of the request, that follow on an index.
func (f *follower) append(ctx context.Context, after uint64, fields []byte) (*api.AppendEntriesResponse, error) {
	f.p.mu.RLock()
	term := f.p.term
	f.p.mu.RUnlock()
	q := &api.AppendEntriesRequest{Tid: &f.tid, Pid: &f.p.id.pid, Term: &term, PreLogIndex: &after}
	q.ProtoReflect().SetUnknown(fields)
	a := &api.AppendEntriesResponse{}
	if err := f.p.t.call(ctx, f.endpoint, "AppendEntries", q, a); err != nil {
		return nil, err
	}
	if a.GetCode() != codeOK {
		return nil, &refusal{a.GetCode(), a.GetMsg()}
	}
	return a, nil
}

// send sends what the follower does not have, waiting for it. It ends with an error, after which the follower is asked
// again where it stands.
func (f *follower) send(ctx context.Context) error {
	r := f.p.log.reader(f.synced.Load() + 1)
	defer r.close()
	for {
		upTo, err := f.wait(ctx)
		if err != nil {
			return err
		}
		if !f.p.t.pass() {
			return context.Canceled
		}
		fields, last, err := r.batch(upTo)
		if err != nil {
			return err
		}
		if _, err := f.append(ctx, f.synced.Load(), fields); err != nil {
			return err
		}
		f.synced.Store(last)
	}
}

// wait waits until the leader has more than the follower, and answers the leader's offset.
func (f *follower) wait(ctx context.Context) (uint64, error) {
	for {
		f.p.mu.RLock()
		offset := f.p.offset
		if f.remote { // another cluster gets what a follower here has, too
			offset = f.p.replicated()
		}
		f.p.mu.RUnlock()
		if offset > f.synced.Load() {
			return offset, nil
		}
		var again <-chan time.Time
		if f.remote {
			again = time.After(f.p.t.scaled(remoteWait))
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-f.news:
		case <-again:
		}
	}
}

// replicated is the offset that the furthest follower in the cluster has, the leader's own without followers.
func (p *partition) replicated() uint64 {
	furthest, alone := uint64(0), true
	for _, f := range p.followers {
		if !f.remote {
			alone, furthest = false, max(furthest, f.synced.Load())
		}
	}
	if alone {
		return p.offset
	}
	return min(furthest, p.offset)
}

// appendEntries is how a follower gets entries, and how a nameserver ends an old leader's: a higher term without entries
// makes it follow no one of a lower term any more, and the answer tells its offset.
func (t *Tablet) appendEntries(_ context.Context, _ *port.Call, q *api.AppendEntriesRequest, a *api.AppendEntriesResponse) error {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		noTable.into(&a.Code, &a.Msg)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, offset := p.receive(q, t.follows.Load())
	s.into(&a.Code, &a.Msg)
	if offset {
		a.LogOffset = proto.Uint64(p.offset)
	}
	return nil
}

func (p *partition) receive(q *api.AppendEntriesRequest, clusterFollows bool) (s status, offset bool) {
	refused := status{codeAppendFailed, "fail to append entries to replicator"}
	switch s := p.usable(false); {
	case !s.good():
		return s, false
	case !clusterFollows && p.leader:
		return isLeader, false
	case !clusterFollows && q.GetTerm() < p.term:
		return refused, false
	}
	if len(q.GetEntries()) == 0 && q.GetPreLogIndex() == 0 {
		p.term = max(p.term, q.GetTerm())
		return ok, true
	}
	if q.GetPreLogIndex() > p.offset {
		return refused, true
	}
	var news []*entry
	for _, m := range q.GetEntries() {
		if m.GetLogIndex() <= p.offset {
			continue
		}
		if m.GetLogIndex() != p.offset+uint64(len(news))+1 {
			return refused, true
		}
		news = append(news, entryOf(m))
	}
	if err := p.append(news...); err != nil {
		p.t.c.Log("tablet %s: write to the binlog of %s: %v", p.t.c.Endpoint, p.id, err)
		return refused, true
	}
	return ok, true
}
