package sandbox

import (
	"errors"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// sessionTime is how long a leading meta server that died still leads in ZooKeeper's eyes (10 s in Pegasus).
const sessionTime = 10 * time.Second / timers

// metaProcess is one meta server that runs, whether it leads or not.
type metaProcess struct {
	address string
	port    *listener
	waiting *metaServer // answers what does not need the lead

	mu   sync.Mutex
	lead *metaServer // nil until it leads
}

// startProcess starts a meta server that does not lead yet.
func (c *cluster) startProcess(i int) error {
	p := &metaProcess{address: c.metaAts[i]}
	p.waiting = &metaServer{name: c.name, address: p.address, net: view{c, p.address}, log: c.log, started: time.Now(), settings: newMetaSettings()}
	methods := map[string]method{}
	for name, m := range p.waiting.methods() {
		methods[name] = method{ordered: m.ordered, run: func(in *inbound) { p.run(c, name, m, in) }}
	}
	var err error
	if p.port, err = serve(p.address, methods, c.gate(p.address)); err != nil {
		return err
	}
	p.port.browse(pages(func() map[string]page { return p.pages(c) }))
	c.mu.Lock()
	c.metas[i] = p
	c.mu.Unlock()
	p.port.start()
	return nil
}

// run answers a request as the leader, or says who is the leader. Remote commands and authentication are for the
// server itself.
func (p *metaProcess) run(c *cluster, name string, m method, in *inbound) {
	lead := p.leads()
	switch {
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
		p.passOn(c, m, in)
	case name == wire.QueryConfig.Name:
		p.forward(c, in)
	default:
		m.refuse(in, wire.CodeForward)
	}
}

// forward names the leader as Pegasus does: as the primary of an otherwise empty partition.
func (p *metaProcess) forward(c *cluster, in *inbound) {
	out := wire.QueryConfigResponse{Err: wire.CodeForward, Configs: []wire.Partition{{}}}
	if boss := c.leader(); boss != nil {
		out.Configs[0].Primary = addressOf(boss.address)
		if c.release >= release26 {
			out.Configs[0].HPPrimary = hostPortOf(boss.address)
		}
	}
	in.done(wire.QueryConfig.AppendAnswer(nil, in.req, &out))
}

func (p *metaProcess) leads() *metaServer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lead
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
	for _, p := range metas {
		if p == nil || c.gate(p.address).paused() || p.leads() != nil {
			continue
		}
		running := map[nodeID]bool{}
		for i, s := range c.servers() {
			running[nodeID(i)] = s != nil && c.reach(p.address, s.address)
		}
		m, err := startMetaServer(c.name, p.address, c.store, view{c, p.address}, running, c.log)
		if err != nil {
			return errors.Join(errors.New("elect a meta server"), err)
		}
		m.metas = c.metaAts
		p.mu.Lock()
		p.lead = m
		p.mu.Unlock()
		c.mu.Lock()
		c.boss = m
		c.mu.Unlock()
		return nil
	}
	return nil
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
