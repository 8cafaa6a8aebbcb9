package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// sessionTime is how long a leading meta server that died still leads in ZooKeeper's eyes (10 s in Pegasus).
const sessionTime = 10 * time.Second / timers

// metaProcess is one meta server that runs, whether it leads or not.
type metaProcess struct {
	name    string // of the cluster
	address string
	net     network
	log     func(format string, args ...any)
	port    *listener
	waiting *metaServer // answers what does not need the lead
	c       *cluster    // nil in a process of its own

	mu   sync.Mutex
	boss *metaServer // nil until it leads
}

// startMetaProcess starts a meta server that does not lead yet.
func startMetaProcess(name, address string, net network, log func(string, ...any)) (*metaProcess, error) {
	p := &metaProcess{name: name, address: address, net: net, log: log}
	p.waiting = &metaServer{name: name, address: address, net: net, log: log, started: time.Now(), settings: newMetaSettings()}
	methods := map[string]method{}
	for name, m := range p.waiting.methods() {
		methods[name] = method{ordered: m.ordered, run: func(in *inbound) { p.run(name, m, in) }}
	}
	var err error
	if p.port, err = serve(address, methods, net.gate(address)); err != nil {
		return nil, err
	}
	p.port.browse(pages(p.pages))
	p.port.start()
	return p, nil
}

// startMeta starts a meta server, in this process or in one of its own.
func (c *cluster) startMeta(ctx context.Context, i int) error {
	at := c.metaAts[i]
	var p metaNode
	if c.spawn != nil {
		f, err := c.startFar(ctx, c.identity(metaRole, fmt.Sprintf("meta%d", i+1), at, noNode))
		if err != nil {
			return err
		}
		p = &farMeta{farServer: f}
	} else {
		m, err := startMetaProcess(c.name, at, view{c, at}, c.log)
		if err != nil {
			return err
		}
		m.c = c
		p = m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metas[i] = p
	return nil
}

// run answers a request as the leader, or says who is the leader. Remote commands and authentication are for the
// server itself.
func (p *metaProcess) run(name string, m method, in *inbound) {
	lead := p.leads()
	switch {
	case name == wire.ListDups.Name && p.net.release() < release26:
		in.reject(wire.CodeHandlerNotFound) // whoever leads
	case lead != nil:
		switch own := lead.answers[name]; {
		case own.run == nil:
			in.reject(wire.CodeHandlerNotFound)
		case own.refuse != nil && name != wire.StartRecovery.Name && lead.underRecovery():
			own.refuse(in, wire.CodeUnderRecovery)
		default:
			own.run(in)
		}
	case name == wire.CallCommand.Name || name == wire.Negotiate.Name || m.refuse == nil:
		m.run(in)
	case in.req.RDSN != nil && in.req.RDSN.ForwardSupported && !in.req.RDSN.Forwarded:
		p.passOn(m, in)
	case name == wire.QueryConfig.Name:
		p.forward(in)
	default:
		m.refuse(in, wire.CodeForward)
	}
}

// forward names the leader as Pegasus does: as the primary of an otherwise empty partition.
func (p *metaProcess) forward(in *inbound) {
	out := wire.QueryConfigResponse{Err: wire.CodeForward, Configs: []wire.Partition{{}}}
	if at := p.net.leader(); at != "" {
		out.Configs[0].Primary = addressOf(at)
		if p.net.release() >= release26 {
			out.Configs[0].HPPrimary = hostPortOf(at)
		}
	}
	in.done(wire.QueryConfig.AppendAnswer(nil, in.req, &out))
}

func (p *metaProcess) leads() *metaServer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.boss
}

// take has the server take the lead, with what the store holds.
func (p *metaProcess) take(store zookeeper, running map[nodeID]bool, metas []string) (*metaServer, error) {
	m, err := startMetaServer(p.name, p.address, store, p.net, running, p.log)
	if err != nil {
		return nil, err
	}
	m.metas = metas
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boss = m
	return m, nil
}

// kill ends the server as replicaServer.kill does.
func (p *metaProcess) kill() error {
	err := p.port.abort()
	if lead := p.leads(); lead != nil {
		lead.retire()
	}
	p.port.wait()
	return err
}

// elect has a meta server lead, if none does and the session of the last one has ended: the first in line that can.
// c.steer is held.
func (c *cluster) elect() error {
	c.mu.Lock()
	metas, boss := slices.Clone(c.metas), c.boss
	c.mu.Unlock()
	if c.closed || boss != nil || time.Now().Before(c.session) {
		return nil
	}
	c.publish()
	var errs []error
	for _, p := range metas {
		if p == nil || c.gate(p.at()).paused() || p.reign() != nil {
			continue
		}
		running := map[nodeID]bool{}
		for i, s := range c.servers() {
			running[nodeID(i)] = s != nil && c.reach(p.at(), c.nodeAt[i])
		}
		boss, err := p.lead(running)
		if err != nil {
			errs = append(errs, errors.Join(errors.New("elect a meta server"), err))
			c.owes.Store(true)
			continue
		}
		c.mu.Lock()
		c.boss = boss
		c.mu.Unlock()
		c.term++ // the end of the last session is history: it must not end this lead
		return nil
	}
	return errors.Join(errs...)
}

// finishRound waits for a round of the guardian that has begun.
func (m *metaServer) finishRound() {
	m.rounds.Lock()
	defer m.rounds.Unlock()
}

// vacate says that the leader is silent from now on. When that lasts, another one is elected. c.steer is held.
func (c *cluster) vacate(after time.Duration) {
	if c.closed {
		return
	}
	c.term++
	term := c.term
	c.session = time.Now().Add(after)
	c.tasks.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-c.closing:
			return
		case <-timer.C:
		}
		c.steer.Lock()
		defer c.steer.Unlock()
		if c.term != term {
			return
		}
		c.session = time.Time{}
		c.mu.Lock()
		old := c.boss // one that is paused
		c.boss = nil
		c.mu.Unlock()
		if old != nil {
			old.retire()
		}
		if err := c.elect(); err != nil {
			c.log("%v", err)
		}
		c.touch()
	})
}
