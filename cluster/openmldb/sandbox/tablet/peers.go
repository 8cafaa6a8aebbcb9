package tablet

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/rpc"
)

// ServiceName is the full name of a tablet's service.
const ServiceName = "openmldb.api.TabletServer"

// peers are the connections to other tablets, one each.
type peers struct {
	mu   sync.Mutex
	all  map[string]*peer
	over bool
}

type peer struct {
	mu   sync.Mutex // held while dialling
	conn *rpc.Conn
}

var errNoPeer = errors.New("there is no endpoint to call")

// call calls a method of another tablet.
func (t *Tablet) call(ctx context.Context, endpoint, method string, q, a proto.Message) error {
	_, err := t.callAttached(ctx, endpoint, method, q, nil, a)
	return err
}

func (t *Tablet) callAttached(
	ctx context.Context, endpoint, method string, q proto.Message, attachment []byte, a proto.Message,
) ([]byte, error) {
	if endpoint == "" {
		return nil, errNoPeer
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := t.peer(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	return conn.CallAttached(ctx, ServiceName, method, q, attachment, a)
}

// peer finds the connection to an endpoint, or dials.
func (t *Tablet) peer(ctx context.Context, endpoint string) (*rpc.Conn, error) {
	p, err := t.peers.of(endpoint)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		select {
		case <-p.conn.Ended():
			p.conn = nil
		default:
			return p.conn, nil
		}
	}
	conn, err := t.c.Dial(ctx, t.realEndpoint(endpoint))
	if err != nil {
		return nil, err
	}
	if t.ctx.Err() != nil {
		conn.Close()
		<-conn.Ended()
		return nil, t.ctx.Err()
	}
	p.conn = conn
	return conn, nil
}

func (ps *peers) of(endpoint string) (*peer, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.over {
		return nil, context.Canceled
	}
	if ps.all == nil {
		ps.all = map[string]*peer{}
	}
	if ps.all[endpoint] == nil {
		ps.all[endpoint] = &peer{}
	}
	return ps.all[endpoint], nil
}

// close ends the connections.
func (ps *peers) close() {
	ps.mu.Lock()
	all := ps.all
	ps.all, ps.over = nil, true
	ps.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		if p.conn != nil {
			p.conn.Close()
			<-p.conn.Ended()
		}
		p.mu.Unlock()
	}
}

// realEndpoint is the address behind a server's name (UpdateRealEndpointMap); an endpoint without one is an address.
func (t *Tablet) realEndpoint(endpoint string) string {
	if names := t.names.Load(); names != nil {
		if address := (*names)[endpoint]; address != "" {
			return address
		}
	}
	return endpoint
}
