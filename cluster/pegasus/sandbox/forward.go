package sandbox

import (
	"bufio"
	"net"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Callers in the RDSN framing may leave it to a meta server that does not lead to pass a request on: others are told who
// leads.

const (
	maxClientPort = 1023             // a sender with no port above it listens nowhere
	passOnTime    = 10 * time.Second // for a request that does not say how long it may take
)

// passOn has a request of another server answered by the leader, and tells a client who leads.
func (p *metaProcess) passOn(c *cluster, m method, in *inbound) {
	boss := c.leader()
	if boss == nil {
		m.refuse(in, wire.CodeForward)
		return
	}
	if from := in.req.RDSN.From; !from.Valid() || from.AddrPort().Port() <= maxClientPort {
		in.done(wire.AppendElsewhere(nil, in.req, addressOf(boss.address)))
		return
	}
	if !c.reach(p.address, boss.address) {
		in.done(nil) // lost between the two
		return
	}
	in.done(relay(in, boss.address))
}

// relay asks a server in the caller's place; nil when no answer comes. Pegasus's leader answers the caller by a
// connection of its own; here the answer goes back the way the request came.
func relay(in *inbound, to string) []byte {
	limit := time.Duration(in.req.TimeoutMillis) * time.Millisecond
	if limit <= 0 || limit > passOnTime {
		limit = passOnTime
	}
	until := time.Now().Add(limit)
	conn, err := net.DialTimeout("tcp4", to, limit)
	if err != nil {
		return nil
	}
	over := make(chan struct{})
	defer close(over)
	in.c.l.wg.Go(func() {
		select {
		case <-over:
		case <-in.c.l.ended:
		}
		conn.Close()
	})
	if conn.SetDeadline(until) != nil {
		return nil
	}
	if _, err := conn.Write(in.req.PassOn(nil)); err != nil {
		return nil
	}
	frame, id, err := wire.ReadAnswerRDSN(bufio.NewReader(conn))
	if err != nil || id != in.req.RDSN.ID {
		return nil
	}
	return frame
}
