package pegasus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// fake is a cluster in memory. What it has no field for must not be asked.
type fake struct {
	cluster.Driver // never called: nil

	nodes      []cluster.Node
	apps       []driver.App
	partitions map[string][]driver.Partition
	info       []cluster.Setting
	servers    []driver.Server
	answers    map[string]any // endpoint → string or error
	rows       map[string]fakeRow
	scan       []driver.ScanRow
	counts     []driver.PartitionCount
	scanErr    error
	several    several
	place      fakePlacement
	split      fakeSplit
	disks      fakeDisks
	dups       fakeDups
	bulk       fakeBulk
	held       []commands.Held
	sources    map[string][]wire.KeyValue // by table
	diffs      []fakeDiff

	opened   int
	createFn func(driver.NewApp) (int32, error)
	polls    func(n int) ([]driver.Partition, error) // answers the n-th Partitions call instead of partitions
	polled   int
	scanned  driver.ScanOptions
	dropped  []string
}

type fakeRow struct {
	value string
	ttl   time.Duration
}

func (*fake) Blocks() []commands.Block { return nil }

func (*fake) Block(context.Context, string) (storage.Service, error) {
	return nil, spec.Errorf(spec.NotFound, "there is no block service")
}

func (f *fake) Holds(string) ([]commands.Held, error) { return f.held, nil }

// Open makes the fake its own Env.
func (f *fake) Open(context.Context, string) (cluster.Driver, error) {
	f.opened++
	return f, nil
}

func (f *fake) Nodes(context.Context) ([]cluster.Node, error)          { return f.nodes, nil }
func (f *fake) ClusterInfo(context.Context) ([]cluster.Setting, error) { return f.info, nil }
func (f *fake) Servers(context.Context) ([]driver.Server, error)       { return f.servers, nil }
func (f *fake) app(table string) int {
	return slices.IndexFunc(f.apps, func(a driver.App) bool { return a.Name == table && a.Status != "DROPPED" })
}

func noTable(table string) error {
	return &spec.Error{Kind: spec.NotFound, Op: "query " + table, Code: "ERR_OBJECT_NOT_FOUND"}
}

func (f *fake) Apps(_ context.Context, status string) ([]driver.App, error) {
	var some []driver.App
	for _, a := range f.apps {
		if status == "all" || status == "available" && a.Status == "AVAILABLE" || status == "dropped" && a.Status == "DROPPED" {
			some = append(some, a)
		}
	}
	return some, nil
}

func (f *fake) Partitions(_ context.Context, table string) (*driver.AppPartitions, error) {
	i := f.app(table)
	if i < 0 {
		return nil, noTable(table)
	}
	partitions, err := f.partitions[table], error(nil)
	if f.polls != nil {
		f.polled++
		partitions, err = f.polls(f.polled)
	}
	return &driver.AppPartitions{AppID: f.apps[i].ID, Name: table, Partitions: partitions}, err
}

func (f *fake) Placement(_ context.Context, table string) iter.Seq2[cluster.Replica, error] {
	return func(yield func(cluster.Replica, error) bool) {
		for name, partitions := range f.partitions {
			for _, p := range partitions {
				if !yield(cluster.Replica{Table: name, Endpoint: p.Primary, Role: "primary"}, nil) {
					return
				}
				for _, s := range p.Secondaries {
					if !yield(cluster.Replica{Table: name, Endpoint: s, Role: "secondary"}, nil) {
						return
					}
				}
			}
		}
	}
}

func (f *fake) RemoteCommand(_ context.Context, endpoint, command string, _ ...string) (string, error) {
	switch a := f.answers[endpoint].(type) {
	case string:
		return command + " " + a + "\n", nil
	case error:
		return "", a
	}
	return "", fmt.Errorf("%s was not to be asked", endpoint)
}

func (f *fake) CreateApp(_ context.Context, a driver.NewApp) (int32, error) { return f.createFn(a) }

func (f *fake) DropApp(_ context.Context, table string, keep time.Duration) error {
	i := f.app(table)
	if i < 0 {
		return noTable(table)
	}
	f.apps[i].Status = "DROPPED"
	f.dropped = append(f.dropped, fmt.Sprint(table, " ", keep))
	return nil
}

func (f *fake) GetTableSettings(_ context.Context, table string) (map[string]string, error) {
	i := f.app(table)
	if i < 0 {
		return nil, noTable(table)
	}
	return f.apps[i].Envs, nil
}

func (f *fake) SetEnvs(_ context.Context, table string, keys, values []string) error {
	for i, key := range keys {
		f.apps[f.app(table)].Envs[key] = values[i]
	}
	return nil
}

func (f *fake) DelEnvs(_ context.Context, table string, keys []string) error {
	for _, key := range keys {
		delete(f.apps[f.app(table)].Envs, key)
	}
	return nil
}

func rowID(table string, hash, sort []byte) string { return fmt.Sprintf("%s %q %q", table, hash, sort) }

var fakeAck = driver.Ack{AppID: 2, Partition: 3, Decree: 12, Server: "127.0.0.1:34801"}

func (f *fake) Set(_ context.Context, table string, hash, sort, value []byte, ttl time.Duration) (driver.Ack, error) {
	f.rows[rowID(table, hash, sort)] = fakeRow{string(value), ttl}
	return fakeAck, nil
}

func (f *fake) Get(_ context.Context, table string, hash, sort []byte) ([]byte, bool, driver.Ack, error) {
	r, ok := f.rows[rowID(table, hash, sort)]
	return []byte(r.value), ok, fakeAck, nil
}

func (f *fake) Del(_ context.Context, table string, hash, sort []byte) (driver.Ack, error) {
	delete(f.rows, rowID(table, hash, sort))
	return fakeAck, nil
}

func (f *fake) TTL(_ context.Context, table string, hash, sort []byte) (time.Duration, bool, driver.Ack, error) {
	r, ok := f.rows[rowID(table, hash, sort)]
	if r.ttl == 0 {
		r.ttl = -1
	}
	return r.ttl, ok, fakeAck, nil
}

func (f *fake) Scan(_ context.Context, _ string, o driver.ScanOptions) iter.Seq2[driver.ScanRow, error] {
	f.scanned = o
	return failing(f.scan, f.scanErr)
}

func (f *fake) Count(_ context.Context, _ string, o driver.ScanOptions) iter.Seq2[driver.PartitionCount, error] {
	f.scanned = o
	return failing(f.counts, f.scanErr)
}

// failing yields items and then the error, if there is one.
func failing[T any](items []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (f *fake) Locate(_ context.Context, _ string, hash, sort []byte) (driver.Location, error) {
	return driver.Location{
		AppID: 2, Partitions: 8, Partition: 5, Hash: 1<<64 - 3, Primary: "127.0.0.1:34801", Secondaries: []string{string(hash) + string(sort)},
	}, nil
}

// word finds a descriptor.
func (f *fake) word(t *testing.T, name string) *spec.Command {
	t.Helper()
	for _, c := range Words(f) {
		if c.Name == name {
			return &c
		}
	}
	t.Fatalf("no word %s", name)
	return nil
}

// call makes a Call as the shell would, on the table demo.
func (f *fake) call(t *testing.T, name string, flags map[string]string, args ...string) *spec.Call {
	t.Helper()
	call := &spec.Call{Command: f.word(t, name), Cluster: "onebox", Table: "demo", Args: args, Flags: map[string][]string{}}
	for key, value := range flags {
		if !slices.ContainsFunc(call.Command.Flags, func(f spec.Flag) bool { return f.Key() == key }) {
			t.Fatalf("%s has no flag %s", name, key)
		}
		call.Flags[key] = []string{value}
	}
	return call
}

func (f *fake) query(t *testing.T, name string, flags map[string]string, args ...string) (*spec.Table, error) {
	t.Helper()
	call := f.call(t, name, flags, args...)
	return call.Command.Query(t.Context(), call)
}

func (f *fake) plan(t *testing.T, name string, flags map[string]string, args ...string) (*spec.Plan, error) {
	t.Helper()
	call := f.call(t, name, flags, args...)
	return call.Command.Change(t.Context(), call)
}

// cells reads a table to its end: a line of cells per row, and the error.
func cells(t *testing.T, table *spec.Table) ([]string, error) {
	t.Helper()
	var lines []string
	for row, err := range table.Rows {
		if err != nil {
			return lines, err
		}
		if len(row) != len(table.Columns) {
			t.Fatalf("%d cells in %d columns", len(row), len(table.Columns))
		}
		var line []string
		for _, cell := range row {
			if b, ok := cell.([]byte); ok {
				cell = string(b)
			}
			line = append(line, fmt.Sprint(cell))
		}
		lines = append(lines, strings.Join(line, "|"))
	}
	return lines, nil
}

// report keeps what a step says.
type report struct {
	detail   string
	progress []string
}

func (r *report) Progress(done, total int64, unit string) {
	r.progress = append(r.progress, fmt.Sprintf("%d/%d %s", done, total, unit))
}

func (r *report) Detail(format string, args ...any) { r.detail = fmt.Sprintf(format, args...) }

// partition makes one partition of three wanted replicas out of the endpoints that have it, the primary first.
func partition(index int, endpoints ...string) driver.Partition {
	p := driver.Partition{Index: index, Ballot: 3, MaxReplicas: 3, Primary: endpoints[0]}
	p.Secondaries = endpoints[1:]
	return p
}

func newFake() *fake {
	return &fake{
		nodes: []cluster.Node{
			{Endpoint: "a:1", Alive: true, State: "ALIVE"},
			{Endpoint: "b:1", Alive: true, State: "ALIVE"},
			{Endpoint: "c:1", Alive: true, State: "ALIVE"},
			{Endpoint: "d:1", State: "UNALIVE"},
		},
		apps: []driver.App{
			{
				ID: 2, Name: "demo", Type: "pegasus", Status: "AVAILABLE", Partitions: 4, Replicas: 3, Stateful: true,
				Envs: map[string]string{"business.info": "x y", "default_ttl": "0"},
			},
			{ID: 1, Name: "gone", Type: "pegasus", Status: "DROPPED", Partitions: 1, Replicas: 3},
		},
		partitions: map[string][]driver.Partition{"demo": {
			partition(0, "a:1", "b:1", "c:1"), partition(1, "b:1", "c:1"), partition(2, "c:1"), partition(3, "", "a:1"),
		}},
		rows: map[string]fakeRow{},
	}
}
