package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/link"
)

// farServer is a server in a process of its own, as the cluster has it.
type farServer struct {
	c        *cluster
	role     string
	endpoint string
	process  *sandbox.Process
	conn     *link.Conn
	link     string // the address of its links

	missed atomic.Int64 // for how long no beacon came, nanoseconds
	deaf   atomic.Bool  // that is too long: it is taken for paused
}

// beginWithin bounds the start of a server's process. A machine that has much to do starts one in a second.
const beginWithin = 30 * time.Second

// tellWithin bounds telling a server something that it only has to take note of.
const tellWithin = beaconLimit

// startFar starts a process for a server and waits until the server answers.
func (c *cluster) startFar(ctx context.Context, who identity) (*farServer, error) {
	p, err := c.spawn.Start(c.dir, c.log, c.name, who.Role, who.Address)
	if err != nil {
		return nil, err
	}
	f := &farServer{c: c, role: who.Role, endpoint: who.Address, process: p}
	opened := make(chan struct{})
	f.conn = link.Open(p, link.Serve(func() (*farServer, error) {
		<-opened
		return f, nil
	}, clusterCalls...), linkErrors)
	close(opened)
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { f.conn.Close(context.Cause(ctx)) })
	f.link, err = callBegin.Do(f.conn, 0, who)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		killed := f.kill()
		if errors.Is(err, link.ErrLost) {
			err = fmt.Errorf("%w (%s)", err, p.Death())
		}
		return nil, errors.Join(fmt.Errorf("start %s %s: %w", who.Role, who.Address, err), killed)
	}
	c.mourners.Go(func() { c.mourn(f) })
	return f, nil
}

// identity is what the process of a server is told first. c.steer is held, or the cluster is being started.
func (c *cluster) identity(role, name, endpoint string, id nodeID) identity {
	return identity{
		Cluster: c.name, Role: role, Address: endpoint, Name: name, ID: id, NodeAt: c.nodeAt,
		Release: c.release, Config: c.config, Providers: c.providers.at, Token: c.token, World: c.worldOf(endpoint),
	}
}

// kill ends the process and what leads to it.
func (f *farServer) kill() error {
	err := f.process.Kill()
	f.conn.Close(errDead)
	return err
}

func (f *farServer) pid() int        { return f.process.PID() }
func (f *farServer) far() *farServer { return f }

// Conn is the connection over the standard streams of the process.
func (f *farServer) Conn() (*link.Conn, error) { return f.conn, nil }

// drain waits no longer than the server may.
func (f *farServer) drain() {
	_, _ = callDrain.Do(f.conn, drainTime+tellWithin, false)
}

// tell has the server take note of something. The cluster tries again later when it does not.
func tell[Q any](f *farServer, call *link.Call[*nodeProcess, Q, link.None], q Q) error {
	if f.silent() {
		return errSilent
	}
	_, err := call.Do(f.conn, tellWithin, q)
	if err != nil {
		f.c.owes.Store(true)
	}
	return err
}

// silent says that no beacon came for long, whether the cluster has acted on it or not.
func (f *farServer) silent() bool { return f.deaf.Load() || missing(f.missed.Load()) }

// farReplica is a replica server in a process of its own.
type farReplica struct {
	*farServer
	farNodeLink
	quiet bool // it was told to lose; c.steer
}

func newFarReplica(f *farServer) *farReplica { return &farReplica{f, farNodeLink{f}, true} }

// lose of a server that is silent is true without its being told: its own lease has run out by then.
func (r *farReplica) lose() bool {
	if r.quiet || tell(r.farServer, callLose, false) != nil && !r.silent() {
		return false
	}
	r.quiet = true
	return true
}

func (r *farReplica) regain() bool {
	if !r.quiet || tell(r.farServer, callRegain, false) != nil {
		return false
	}
	r.quiet = false
	return true
}

func (r *farReplica) seed(q seed) error {
	_, err := over(r.farServer, callSeed, q)
	return err
}

// farMeta is a meta server in a process of its own.
type farMeta struct {
	*farServer

	mu     sync.Mutex
	leader *farLeader
}

func (m *farMeta) at() string { return m.endpoint }

func (m *farMeta) reign() leader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == nil {
		return nil
	}
	return m.leader
}

// lead counts even when no answer comes: the server may take the lead later, and must not.
func (m *farMeta) lead(running map[nodeID]bool) (leader, error) {
	l := &farLeader{farServer: m.farServer, farMetaLink: farMetaLink{m.farServer}}
	m.set(l)
	answered := make(chan error, 1)
	asked := callLead.Start(m.conn, askLead{m.c.nextReign(), running, m.c.metaAts})
	go func() {
		_, err := asked.Wait(beginWithin)
		answered <- unanswered(err)
	}()
	for {
		select {
		case err := <-answered:
			switch {
			case err == nil:
				return l, nil
			case !errors.Is(err, errUnsure):
				m.set(nil)
			default:
				l.deposed.Store(true)
			}
			return nil, fmt.Errorf("%s: %w", m.endpoint, err)
		case <-time.After(watchPeriod):
			if m.silent() {
				return nil, fmt.Errorf("%s: %w", m.endpoint, errSilent)
			}
		}
	}
}

func (m *farMeta) set(l *farLeader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader = l
}

// farLeader is a meta server in a process of its own that leads.
type farLeader struct {
	*farServer
	farMetaLink
	deposed atomic.Bool // it was not told something that it must know, or told to lead and does not say whether it does
}

func (l *farLeader) at() string { return l.endpoint }

// missed and back must be heard by a leader: one that does not take note loses the lead to one that is told everything
// when it begins.
func (l *farLeader) missed(id nodeID) { l.note(callMissed, id) }
func (l *farLeader) back(id nodeID)   { l.note(callBack, id) }

func (l *farLeader) note(call *link.Call[*nodeProcess, nodeID, link.None], id nodeID) {
	if tell(l.farServer, call, id) != nil {
		l.deposed.Store(true)
	}
}

func (l *farLeader) finishRound() { _ = tell(l.farServer, callFinishRound, false) }

// retire is not waited for: what the leader still keeps is refused from now on.
func (l *farLeader) retire() {
	l.c.nextReign()
	callRetire.Start(l.conn, false)
}

func (l *farLeader) create(table string, partitions, replicas int32) (id int32, code string) {
	a, err := over(l.farServer, callCreate, askCreate{table, partitions, replicas})
	if err != nil {
		return 0, err.Error()
	}
	return a.ID, a.Code
}

func (l *farLeader) usedGroups() []group {
	all, _ := over(l.farServer, callUsedGroups, link.None(false))
	return all
}
