package nameserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
)

// lead is what a nameserver has while it leads.
type lead struct {
	s       *Server
	at      paths
	session coord.Session
	times   times
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	started time.Time
	kicked  chan struct{} // something that the machine should look at

	// mu is held over every change of what stands in the tree, so that the order there is the order here.
	mu        sync.Mutex
	tables    map[tableName]*ns.TableInfo // not changed, but replaced
	databases map[string]bool
	tablets   map[string]*tablet
	auto      bool
	queues    [queues][]*op
	done      []*op // ended ones, the oldest first
	statuses  map[replica]*status
	zone      *ns.ZoneInfo
	replicas  map[string]*replicaCluster
	settled   bool // the hidden tables are there

	conns struct {
		sync.Mutex
		open map[string]*rpc.Conn
	}
}

type tableName struct{ db, name string }

func nameOf(t *ns.TableInfo) tableName { return tableName{t.GetDb(), t.GetName()} }

func (n tableName) compare(m tableName) int {
	return strings.Compare(n.db+"\x00"+n.name, m.db+"\x00"+m.name)
}

// newLead reads what the last leader left.
func newLead(s *Server, session coord.Session) (*lead, error) {
	l := &lead{
		s: s, at: s.paths(), session: session, times: s.times, started: time.Now(), kicked: make(chan struct{}, 1),
		tables: map[tableName]*ns.TableInfo{}, databases: map[string]bool{}, tablets: map[string]*tablet{},
		statuses: map[replica]*status{}, replicas: map[string]*replicaCluster{},
	}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	l.conns.open = map[string]*rpc.Conn{}
	for _, read := range []func() error{
		l.readCounters, l.readSettings, l.readTables, l.readDatabases, l.readClusters, l.readTablets, l.readOps,
	} {
		if err := read(); err != nil {
			l.end()
			return nil, err
		}
	}
	// What tablets say of partitions, and of the tasks that are under way, is known before anybody can ask the leader.
	l.askStatuses()
	l.askTasks(true)
	return l, nil
}

// begin starts what a leader does by itself.
func (l *lead) begin() {
	l.work.Go(l.watchTablets)
	l.work.Go(l.watchStatuses)
	l.work.Go(l.operate)
	if l.s.config.SystemTables {
		l.work.Go(l.makeSystemTables)
	}
}

// end ends all of it and waits.
func (l *lead) end() {
	l.cancel()
	l.work.Wait()
	l.conns.Lock()
	defer l.conns.Unlock()
	for _, c := range l.conns.open {
		c.Close()
	}
	l.conns.open = nil
}

// passes waits while the process is paused; false when the lead has ended.
func (l *lead) passes() bool {
	return l.s.config.Gate.Pass(l.ctx.Done()) && l.ctx.Err() == nil
}

// sleep waits; false when the lead has ended.
func (l *lead) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.passes()
	case <-ctx.Done():
		return false
	}
}

func (l *lead) log(format string, args ...any) {
	l.s.config.Log("nameserver %s: %s", l.s.config.Endpoint, fmt.Sprintf(format, args...))
}

// read answers what a node holds, nil when there is none.
func (l *lead) read(at string) ([]byte, error) {
	data, _, err := l.session.Get(at)
	if errors.Is(err, coord.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	return data, nil
}

// write sets a node, which is made when there is none.
func (l *lead) write(at string, data []byte) error {
	err := l.session.Set(at, data, coord.AnyVersion)
	if errors.Is(err, coord.ErrNoNode) {
		_, err = l.session.Create(at, data, coord.Persistent)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", at, err)
	}
	return nil
}

func (l *lead) remove(at string) error {
	if err := l.session.Delete(at, coord.AnyVersion); err != nil && !errors.Is(err, coord.ErrNoNode) {
		return fmt.Errorf("delete %s: %w", at, err)
	}
	return nil
}

// children answers the names below a node, none when it is not there.
func (l *lead) children(at string) ([]string, error) {
	names, err := l.session.Children(at)
	if errors.Is(err, coord.ErrNoNode) {
		return nil, nil
	}
	return names, err
}

// counter reads a number that stands in decimal.
func (l *lead) counter(at string) (uint64, error) {
	data, err := l.read(at)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(data), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, no number", at, data)
	}
	return n, nil
}

// add adds to a counter and answers what it is then; l.mu is held.
func (l *lead) add(at string, by uint64) (uint64, error) {
	n, err := l.counter(at)
	if err != nil {
		return 0, err
	}
	return n + by, l.write(at, strconv.AppendUint(nil, n+by, 10))
}

// notify tells everybody who watches that tables have changed.
func (l *lead) notify() {
	if _, err := l.add(l.at.notify, 1); err != nil {
		l.log("%v", err)
	}
}

// readCounters makes the nodes that a cluster begins with.
func (l *lead) readCounters() error {
	for at, first := range map[string]string{l.at.tid: "1", l.at.term: "1", l.at.notify: "1", l.at.opIndex: "0", l.at.globals: "1"} {
		if err := l.first(at, first); err != nil {
			return err
		}
	}
	for _, at := range []string{
		l.at.leader, l.at.nodes, l.at.tables, l.at.dbTables, l.at.dbs, l.at.ops, l.at.procedures, l.at.functions,
	} {
		if err := l.first(at, ""); err != nil {
			return err
		}
	}
	return nil
}

// first makes a node unless it is there.
func (l *lead) first(at, data string) error {
	_, err := l.session.Create(at, []byte(data), coord.Persistent)
	if errors.Is(err, coord.ErrExists) {
		return nil
	}
	return err
}

func (l *lead) readSettings() error {
	if err := l.first(l.at.auto, "true"); err != nil { // the shipped configuration's; from then on the node holds
		return err
	}
	data, err := l.read(l.at.auto)
	l.auto = string(data) == "true"
	return err
}

func (l *lead) readTables() error {
	for _, folder := range []string{l.at.tables, l.at.dbTables} {
		names, err := l.children(folder)
		if err != nil {
			return err
		}
		for _, name := range names {
			data, err := l.read(folder + "/" + name)
			if err != nil {
				return err
			}
			t := &ns.TableInfo{}
			if err := proto.Unmarshal(data, t); err != nil {
				return fmt.Errorf("%s/%s: %w", folder, name, err)
			}
			l.tables[nameOf(t)] = t
		}
	}
	return nil
}

func (l *lead) readDatabases() error {
	names, err := l.children(l.at.dbs)
	for _, name := range names {
		l.databases[name] = true
	}
	return err
}

// sorted lists the tables: those without a database first, each kind by name; l.mu is held.
func (l *lead) sorted() []*ns.TableInfo {
	return slices.SortedFunc(maps.Values(l.tables), func(a, b *ns.TableInfo) int { return nameOf(a).compare(nameOf(b)) })
}

// change replaces a table, in the tree first; l.mu is held. how may fail with a refusal, and nothing is changed.
func (l *lead) change(name tableName, how func(*ns.TableInfo) error) error {
	old := l.tables[name]
	if old == nil {
		return refuse(codeNoTable, "table does not exist")
	}
	next := proto.CloneOf(old)
	if err := how(next); err != nil {
		return err
	}
	if err := l.save(next); err != nil {
		return err
	}
	l.notify()
	return nil
}

// save writes a table; l.mu is held.
func (l *lead) save(t *ns.TableInfo) error {
	data, err := proto.Marshal(t)
	if err == nil {
		err = l.write(l.at.table(t), data)
	}
	if err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	l.tables[nameOf(t)] = t
	return nil
}

// partition finds a partition of a table.
func partition(t *ns.TableInfo, pid uint32) *ns.TablePartition {
	for _, p := range t.GetTablePartition() {
		if p.GetPid() == pid {
			return p
		}
	}
	return nil
}

// member finds the entry of an endpoint in a partition.
func member(p *ns.TablePartition, endpoint string) *ns.PartitionMeta {
	for _, m := range p.GetPartitionMeta() {
		if m.GetEndpoint() == endpoint {
			return m
		}
	}
	return nil
}

// leaderOf is the endpoint that leads a partition and is alive, "" when none does.
func leaderOf(p *ns.TablePartition) string {
	for _, m := range p.GetPartitionMeta() {
		if m.GetIsLeader() && m.GetIsAlive() {
			return m.GetEndpoint()
		}
	}
	return ""
}
