package sandbox

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/nameserver"
	"shardsh/cluster/openmldb/sandbox/tablet"
)

// client is how the cluster itself talks to its servers: as any client of a real one does.
type client struct {
	c     *cluster
	conns map[string]*rpc.Conn
}

func (c *cluster) client() *client { return &client{c, map[string]*rpc.Conn{}} }

func (u *client) close() {
	for _, c := range u.conns {
		c.Close()
	}
}

// call calls a method; a code other than 0 is an error.
func (u *client) call(ctx context.Context, endpoint, service, method string, q, a proto.Message) error {
	c := u.conns[endpoint]
	if c == nil {
		var err error
		if c, err = rpc.Dial(ctx, endpoint, rpc.Options{Credential: rpc.ServiceCredential}); err != nil {
			return fmt.Errorf("%s of %s: %w", method, endpoint, err)
		}
		u.conns[endpoint] = c
	}
	if err := c.Call(ctx, service, method, q, a); err != nil {
		return fmt.Errorf("%s of %s: %w", method, endpoint, err)
	}
	if code, text := outcome(a); code != 0 {
		return fmt.Errorf("%s of %s: %d %s", method, endpoint, code, text)
	}
	return nil
}

// outcome reads the two fields that every answer has.
func outcome(a proto.Message) (code int32, text string) {
	m := a.ProtoReflect()
	field := func(name protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(name)) }
	return int32(field("code").Int()), field("msg").String()
}

// lead calls the leading nameserver.
func (u *client) lead(ctx context.Context, method string, q, a proto.Message) error {
	leader := u.c.leader()
	if leader == nil {
		return fmt.Errorf("%s: no nameserver leads", method)
	}
	return u.call(ctx, leader.Endpoint(), nameserver.ServiceName, method, q, a)
}

func (u *client) tablet(ctx context.Context, endpoint, method string, q, a proto.Message) error {
	return u.call(ctx, endpoint, tablet.ServiceName, method, q, a)
}

// tables lists all tables.
func (u *client) tables(ctx context.Context) ([]*ns.TableInfo, error) {
	var a ns.ShowTableResponse
	err := u.lead(ctx, "ShowTable", &ns.ShowTableRequest{ShowAll: proto.Bool(true)}, &a)
	return a.GetTableInfo(), err
}

// statuses lists what a tablet has in memory.
func (u *client) statuses(ctx context.Context, endpoint string) ([]*api.TableStatus, error) {
	var a api.GetTableStatusResponse
	err := u.tablet(ctx, endpoint, "GetTableStatus", &api.GetTableStatusRequest{}, &a)
	return a.GetAllTableStatus(), err
}
