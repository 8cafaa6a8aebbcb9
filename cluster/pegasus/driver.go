// Package pegasus drives Apache Pegasus clusters over the protocol of package wire.
//
// Layers, each in its file: connections that pipeline (conn.go), one per endpoint (package pool); a remote call with its
// deadline, trace and reconnection (call.go); the meta server that leads (meta.go); tables' partitions, cached for row
// calls (route.go); then one file per ability.
//
// What may be sent twice is decided in two places only. A read is repeated on a fresh connection, on another meta
// server, or after asking for the partitions again. A change is repeated only when it was not sent, or when the answer
// is a refusal that servers give before doing anything; otherwise it ends in spec.UnknownOutcome.
//
// The bytes of rows that Get and Scan answer alias the frame they came in: whoever keeps one small value for long should
// copy it.
package pegasus

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pool"
	"shardsh/commands/spec"
)

// defaultTimeout bounds a call when the options say nothing; the stores' own shell waits as long.
const defaultTimeout = 5 * time.Second

// Driver is an open Pegasus cluster.
type Driver struct {
	options cluster.Options
	pool    *pool.Pool[*conn]
	frames  frames // of requests
	hosts   hosts
	metas   *metas
	routes  *routes
	seen    atomic.Pointer[[]string] // the replica servers as last listed
	tags    diskTags
	// versions are the servers' releases, see version.go.
	versions *versions
	lists    lists
}

var (
	_ cluster.Driver        = (*Driver)(nil)
	_ cluster.TableAdmin    = (*Driver)(nil)
	_ cluster.TableSettings = (*Driver)(nil)
	_ cluster.NodeAges      = (*Driver)(nil)
	_ cluster.Placer        = (*Driver)(nil)
)

// System describes Pegasus to the list of systems.
func System() cluster.System {
	return cluster.System{
		Name:  "pegasus",
		Title: "Apache Pegasus",
		Accepts: func(address string) bool {
			_, err := parseMetas(address)
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
			return name + ">>> "
		},
	}
}

// New makes a driver for a list of meta servers, "host:port,host:port". It does not dial.
func New(address string, o cluster.Options) (*Driver, error) {
	list, err := parseMetas(address)
	if err != nil {
		return nil, err
	}
	d := &Driver{options: o, metas: &metas{list: list}}
	d.pool = pool.New(pool.Config[*conn]{
		Timeout: d.timeout, Dial: d.dial, Usable: (*conn).usable, Serve: (*conn).serve, End: func(c *conn) { c.fail(errClosed) },
	})
	d.routes = newRoutes()
	d.versions = &versions{slots: map[string]*versionSlot{}}
	return d, nil
}

// Close ends connections and goroutines and waits for them.
func (d *Driver) Close() error {
	if d.pool != nil {
		d.pool.Close()
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

// parseMetas reads a list of meta servers; repetitions are dropped.
func parseMetas(address string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(address, ",") {
		endpoint, err := parseEndpoint(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, endpoint) {
			list = append(list, endpoint)
		}
	}
	return list, nil
}

// parseEndpoint checks a host:port. Ports have no default: the servers' differ by installation.
func parseEndpoint(text string) (string, error) {
	bad := func(why string) error {
		return spec.Errorf(spec.Usage, "%q is not a server: %s", text, why).WithHint("write host:port[,host:port], meta servers usually listen on 34601")
	}
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil:
		return "", bad("it is not host:port")
	case host == "":
		return "", bad("the host is missing")
	case strings.ContainsFunc(host, notInHost):
		return "", bad("the host has a character that no host name has")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", bad("the port is not a number from 1 to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

func notInHost(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._:%", r)
}
