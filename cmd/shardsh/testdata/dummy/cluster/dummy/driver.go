// Package dummy drives the smallest store there is: one server that, when it is dialled, writes its tables and hangs
// up. Each is a line: id, name, partitions.
package dummy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

const scheme = "dummy://"

// System describes the store.
func System() cluster.System {
	return cluster.System{
		Name:    "dummy",
		Title:   "Dummy",
		Accepts: func(address string) bool { return strings.HasPrefix(address, scheme) },
		Open: func(address string, options cluster.Options) (cluster.Driver, error) {
			return &Driver{endpoint: strings.TrimPrefix(address, scheme), options: options}, nil
		},
		Zero:   &Driver{},
		Prompt: func(cluster, table string) string { return "dummy " + cluster + "> " },
	}
}

// Driver implements cluster.Driver.
type Driver struct {
	endpoint string
	options  cluster.Options
}

var _ cluster.Driver = (*Driver)(nil)

// Info implements cluster.Driver.
func (d *Driver) Info(context.Context) (cluster.Info, error) {
	return cluster.Info{System: "dummy", Name: d.options.Name, Metadata: []string{d.endpoint}, Leader: d.endpoint}, nil
}

// Nodes implements cluster.Driver.
func (d *Driver) Nodes(ctx context.Context) ([]cluster.Node, error) {
	if _, err := d.Tables(ctx); err != nil {
		return nil, err
	}
	return []cluster.Node{{Endpoint: d.endpoint, Alive: true, State: "up"}}, nil
}

// Tables implements cluster.Driver.
func (d *Driver) Tables(ctx context.Context) ([]cluster.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout())
	defer cancel()
	fail := func(err error) ([]cluster.Table, error) {
		return nil, &spec.Error{Kind: spec.Unavailable, Op: "list tables", Endpoint: d.endpoint, Err: err}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", d.endpoint)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fail(err)
		}
	}
	var tables []cluster.Table
	lines := bufio.NewScanner(conn)
	for lines.Scan() && len(tables) < 1000 {
		t := cluster.Table{Replicas: 1, State: "up", Created: time.Unix(0, 0)}
		if _, err := fmt.Sscan(lines.Text(), &t.ID, &t.Name, &t.Partitions); err != nil {
			return fail(errors.New("the answer is no list of tables"))
		}
		tables = append(tables, t)
	}
	if err := lines.Err(); err != nil {
		return fail(err)
	}
	return tables, nil
}

// Replicas implements cluster.Driver.
func (d *Driver) Replicas(ctx context.Context, table string) iter.Seq2[cluster.Replica, error] {
	return func(yield func(cluster.Replica, error) bool) {
		tables, err := d.Tables(ctx)
		if err != nil {
			yield(cluster.Replica{}, err)
			return
		}
		for _, t := range tables {
			for p := range t.Partitions {
				r := cluster.Replica{
					Table: t.Name, TableID: t.ID, Partition: p, Endpoint: d.endpoint, Role: "only", Alive: true, Wanted: 1, Have: 1,
				}
				if (table == "" || table == t.Name) && !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Close implements cluster.Driver.
func (d *Driver) Close() error { return nil }
