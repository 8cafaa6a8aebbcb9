package sandbox

import (
	"os"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// The servers of a cluster as the cluster has them. Each is in this process (replicaServer, metaProcess, metaServer) or
// in one of its own (farReplica, farMeta, farLeader).
type (
	// server is one that runs, of either role.
	server interface {
		// drain has what came before answered, and takes no more.
		drain()
		// kill ends the server as kill -9 does, and waits until it is dead.
		kill() error
		pid() int
		// far is the server's own process, nil when it has none.
		far() *farServer
	}
	replicaNode interface {
		server
		nodeLink
		// lose says that no meta server hears the server from now on, regain that one does again. They answer false when
		// that is so already, and when the server cannot be told.
		lose() bool
		regain() bool
		// seed writes rows as a client would, through the primary that the server must be.
		seed(seed) error
	}
	metaNode interface {
		server
		at() string
		// lead has the server take the lead. running says which replica servers it hears at this moment.
		lead(running map[nodeID]bool) (leader, error)
		// reign is what it began to lead as, nil when it never did.
		reign() leader
	}
	// leader is a meta server that leads, paused or not.
	leader interface {
		metaLink
		at() string
		missed(nodeID)
		back(nodeID)
		// finishRound waits for a round of the guardian that has begun.
		finishRound()
		// retire ends the lead: nothing is changed any more. It may be called again.
		retire()
		// create makes a table of the sandbox's own; it is there when the code is OK.
		create(table string, partitions, replicas int32) (id int32, code string)
		// usedGroups are the groups of tables that are not dropped.
		usedGroups() []group
	}
)

var (
	_ replicaNode = (*replicaServer)(nil)
	_ metaNode    = (*metaProcess)(nil)
	_ leader      = (*metaServer)(nil)
	_ replicaNode = (*farReplica)(nil)
	_ metaNode    = (*farMeta)(nil)
	_ leader      = (*farLeader)(nil)
)

func (s *replicaServer) drain()          { s.port.drain() }
func (s *replicaServer) pid() int        { return os.Getpid() }
func (s *replicaServer) far() *farServer { return nil }

func (p *metaProcess) drain()          { p.port.drain() }
func (p *metaProcess) pid() int        { return os.Getpid() }
func (p *metaProcess) far() *farServer { return nil }
func (p *metaProcess) at() string      { return p.address }

func (p *metaProcess) reign() leader {
	if m := p.leads(); m != nil {
		return m
	}
	return nil
}

func (p *metaProcess) lead(running map[nodeID]bool) (leader, error) {
	m, err := p.take(keep{p.c.store}, running, p.c.metaAts)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *metaServer) at() string { return m.address }

func (m *metaServer) create(table string, partitions, replicas int32) (id int32, code string) {
	return m.createApp(table, wire.CreateAppOptions{
		Partitions: partitions, Replicas: replicas, SuccessIfExist: true, AppType: appType, Stateful: true,
	})
}

func (m *metaServer) usedGroups() []group {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []group
	for pid, g := range m.groups {
		if a := m.apps[pid.App]; a != nil && a.Status == wire.AppAvailable {
			all = append(all, g.clone())
		}
	}
	return all
}

// seed is what the sandbox itself writes: rows of one hash key, the last of which expires.
type seed struct {
	PID     wire.GPID
	HashKey []byte
	Rows    []wire.KeyValue
	Expire  int32 // of the last row
}

func (s *replicaServer) seed(q seed) error {
	hash := wire.Hash(q.HashKey, nil)
	r, _, p, code := s.writable(q.PID, hash)
	if code != "" {
		return errInactive
	}
	answered := make(chan string, 1)
	w := &write{hash: hash, answer: func(code string) { answered <- code }}
	w.apply = func(b *engine.Batch, _ int64, now time.Time) error {
		for i, row := range q.Rows {
			expire := int32(0)
			if i == len(q.Rows)-1 {
				expire = q.Expire
			}
			if err := putRow(b, r.prefix, expire, r.timetag(now), row.Value, hashKeyLength(q.HashKey), q.HashKey, row.Key); err != nil {
				return err
			}
		}
		return nil
	}
	if !p.enqueue(task{write: w}) || <-answered != "" {
		return errInactive
	}
	return nil
}
