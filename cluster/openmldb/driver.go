package openmldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/pool"
)

// defaultTimeout bounds a call when the options say nothing; the store's own clients wait as long.
const defaultTimeout = 20 * time.Second

// Driver is an open OpenMLDB cluster.
type Driver struct {
	options    cluster.Options
	place      place
	pool       *pool.Pool[*rpc.Conn]
	credential string // of new connections
	finder     finder
	routes     *routes
}

var _ methods = (*Driver)(nil)

// System describes OpenMLDB to the list of systems.
func System() cluster.System {
	return cluster.System{
		Name:  "openmldb",
		Title: "OpenMLDB",
		Accepts: func(address string) bool {
			_, err := parseAddress(address)
			return err == nil
		},
		Open: func(address string, options cluster.Options) (cluster.Driver, error) {
			d, err := New(address, options)
			if err != nil {
				return nil, err
			}
			return d, nil
		},
		Zero: &Driver{},
		Prompt: func(name, table string) string {
			if table != "" {
				name += " " + table
			}
			return name + "> "
		},
	}
}

// New makes a driver for an address (see the package's comment). It does not dial.
//
// Of the cluster's settings it reads user and password, which servers with accounts ask for, and zk_user and
// zk_password, which a ZooKeeper with access lists asks for.
func New(address string, o cluster.Options) (*Driver, error) {
	p, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	d := &Driver{options: o, place: p, routes: newRoutes()}
	d.credential = credential(o.Settings)
	d.pool = pool.New(pool.Config[*rpc.Conn]{Timeout: d.timeout, Dial: d.dial, Usable: (*rpc.Conn).Usable, Serve: serve, End: (*rpc.Conn).Close})
	if p.root == "" {
		d.finder = &asking{driver: d, list: p.servers, real: map[string]string{}}
	} else {
		open := func() keeper { return openZooKeeper(p.servers, o.Settings["zk_user"], o.Settings["zk_password"]) }
		d.finder = newWatching(d, p.root, open)
	}
	return d, nil
}

// credential is what the first request of a connection shows: the service's own, or a user's name and the hash of the
// password, whose first character says which hash it is.
func credential(settings map[string]string) string {
	user := settings["user"]
	if user == "" {
		return rpc.ServiceCredential
	}
	hash := sha256.Sum256([]byte(settings["password"]))
	return "u" + user + ":1" + hex.EncodeToString(hash[:])
}

// errClosed is the error of calls that the end of the driver ended.
var errClosed = pool.ErrClosed

func (d *Driver) dial(ctx context.Context, endpoint string) (*rpc.Conn, error) {
	address, err := d.address(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	return rpc.Dial(ctx, address, rpc.Options{Credential: d.credential})
}

// serve lasts for as long as the connection.
func serve(c *rpc.Conn) {
	<-c.Ended()
	c.Close()
}

// Close ends connections, the session with ZooKeeper and goroutines, and waits for them.
func (d *Driver) Close() error {
	if d.pool != nil {
		d.pool.Close(d.finder.close)
	}
	return nil
}

func (d *Driver) timeout() time.Duration {
	if d.options.Timeout != nil {
		if t := d.options.Timeout(); t > 0 {
			return t
		}
	}
	return defaultTimeout
}
