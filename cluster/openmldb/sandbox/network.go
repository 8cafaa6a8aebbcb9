package sandbox

import (
	"context"
	"fmt"
	"net"
	"sync"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/sandbox/fault"
)

// cable is the line between two servers, whichever way round.
type cable [2]string

func cableOf(a, b string) cable { return cable{min(a, b), max(a, b)} }

// network is what lies between the servers. Clients reach all of them.
type network struct {
	mu   sync.Mutex
	cuts map[cable]chan struct{} // closed when it is mended
}

func (n *network) cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[cableOf(a, b)] == nil {
		n.cuts[cableOf(a, b)] = make(chan struct{})
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, mended := range n.cuts {
		close(mended)
	}
	clear(n.cuts)
}

// off lists the servers that one is cut off.
func (n *network) off(endpoint string, all []string) (others []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range all {
		if n.cuts[cableOf(endpoint, other)] != nil {
			others = append(others, other)
		}
	}
	return others
}

// pass waits while nothing gets from one server to another: one of them is cut off, or the sender is paused.
func (n *network) pass(from, to string, gate *fault.Gate, ended <-chan struct{}) bool {
	for {
		if !gate.Pass(ended) {
			return false
		}
		n.mu.Lock()
		mended := n.cuts[cableOf(from, to)]
		n.mu.Unlock()
		if mended == nil {
			return !gate.Paused() || gate.Pass(ended)
		}
		select {
		case <-mended:
		case <-ended:
			return false
		}
	}
}

// onThisMachine says whether an address, which callers may name, is one that a sandbox may connect to.
func onThisMachine(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// dialer is how a server connects to others.
func (n *network) dialer(from string, gate *fault.Gate) func(ctx context.Context, peer string) (*rpc.Conn, error) {
	return func(ctx context.Context, peer string) (*rpc.Conn, error) {
		if !onThisMachine(peer) {
			return nil, fmt.Errorf("%s is no address of this machine: a sandbox connects to nobody else", peer)
		}
		pass := func(ended <-chan struct{}) bool { return n.pass(from, peer, gate, ended) }
		return rpc.Dial(ctx, peer, rpc.Options{
			Credential: rpc.ServiceCredential,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if !pass(ctx.Done()) {
					return nil, context.Cause(ctx)
				}
				conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return fault.Hold(conn, pass), nil
			},
		})
	}
}
