package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/nameserver"
	"shardsh/cluster/openmldb/sandbox/tablet"
	"shardsh/cluster/sandbox"
)

// run starts a cluster in dir; "" is a fresh one.
func run(t *testing.T, dir string, settings map[string]string) *cluster {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	return runWith(t, sandbox.Config{Dir: dir, Settings: settings})
}

// runAs starts a cluster that speaks like a release.
func runAs(t *testing.T, release string) *cluster {
	t.Helper()
	return runWith(t, sandbox.Config{Dir: t.TempDir(), Compat: release})
}

func runWith(t *testing.T, config sandbox.Config) *cluster {
	t.Helper()
	config.Name, config.Log = "openmldb", t.Logf
	c, network := runOn(t, config)
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), network.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// runOn starts a cluster on the first network nobody else uses, whatever that one's idea of locks is.
func runOn(t testing.TB, config sandbox.Config) (*cluster, *sandbox.Network) {
	t.Helper()
	for first := 1; ; first++ {
		network, err := sandbox.TakeNetwork(first, "")
		if err != nil {
			t.Fatal(err)
		}
		config.Net = network
		c, err := start(t.Context(), config)
		if err == nil {
			return c, network
		}
		if err = errors.Join(err, network.Close()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// user is a client of a cluster that follows the leading nameserver.
type user struct {
	t     *testing.T
	c     *cluster
	conns map[string]*rpc.Conn
}

func newUser(t *testing.T, c *cluster) *user {
	u := &user{t: t, c: c, conns: map[string]*rpc.Conn{}}
	t.Cleanup(u.close)
	return u
}

func (u *user) close() {
	for _, c := range u.conns {
		c.Close()
	}
	clear(u.conns)
}

func (u *user) eventually(what string, holds func() bool) {
	u.t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			u.describe()
			u.t.Fatalf("never came true: %s", what)
		}
	}
}

// describe logs what there is, for somebody who reads why a test failed.
func (u *user) describe() {
	for i, s := range u.c.ns {
		var ops ns.ShowOPStatusResponse
		var tables ns.ShowTableResponse
		if s == nil || !s.Leads() || u.c.gates[u.c.nsAt[i]].Paused() {
			continue
		}
		_ = u.try(u.c.nsAt[i], nameserver.ServiceName, "ShowOPStatus", &ns.ShowOPStatusRequest{}, &ops)
		for _, o := range ops.GetOpStatus() {
			u.t.Logf("op %d %s %s/%d %s %s", o.GetOpId(), o.GetOpType(), o.GetName(), o.GetPid(), o.GetStatus(), o.GetTaskType())
		}
		_ = u.try(u.c.nsAt[i], nameserver.ServiceName, "ShowTable", &ns.ShowTableRequest{ShowAll: proto.Bool(true)}, &tables)
		for _, t := range tables.GetTableInfo() {
			u.t.Logf("table %s: %q", t.GetName(), lines(u.c, t))
		}
	}
}

// try calls a method of a server; the error is of the call, not of what it answers.
func (u *user) try(endpoint, service, method string, q, a proto.Message) error {
	c := u.conns[endpoint]
	ctx, cancel := context.WithTimeout(u.t.Context(), 20*time.Second)
	defer cancel()
	if c == nil {
		var err error
		if c, err = rpc.Dial(ctx, endpoint, rpc.Options{Credential: rpc.ServiceCredential}); err != nil {
			return err
		}
		u.conns[endpoint] = c
	}
	err := c.Call(ctx, service, method, q, a)
	var gone *rpc.CallError
	if errors.As(err, &gone) {
		c.Close()
		delete(u.conns, endpoint)
	}
	return err
}

// ask calls the leading nameserver, whoever that is, and answers the code.
func (u *user) ask(method string, q, a proto.Message) (int32, string) {
	u.t.Helper()
	var code int32
	var text string
	u.eventually(method+" is answered by a leading nameserver", func() bool {
		for _, at := range u.c.nsAt {
			if u.c.gates[at].Paused() {
				continue
			}
			proto.Reset(a)
			if err := u.try(at, nameserver.ServiceName, method, q, a); err != nil {
				continue
			}
			if code, text = outcome(a); code != 300 {
				return true
			}
		}
		return false
	})
	return code, text
}

// must asks for something that is granted.
func (u *user) must(method string, q, a proto.Message) {
	u.t.Helper()
	if code, text := u.ask(method, q, a); code != 0 {
		u.t.Fatalf("%s %v: %d %s", method, q, code, text)
	}
}

// order asks for something whose answer has nothing but a code.
func (u *user) order(method string, q proto.Message) {
	u.t.Helper()
	u.must(method, q, &ns.GeneralResponse{})
}

// refused checks the code and the text that something is refused with.
func (u *user) refused(code int32, text, method string, q proto.Message) {
	u.t.Helper()
	if c, s := u.ask(method, q, &ns.GeneralResponse{}); c != code || !strings.Contains(s, text) {
		u.t.Errorf("%s %v: %d %q, want %d %q", method, q, c, s, code, text)
	}
}

func (u *user) do(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) onTablet(endpoint, method string, q, a proto.Message) {
	u.t.Helper()
	err := u.try(endpoint, tablet.ServiceName, method, q, a)
	var gone *rpc.CallError
	if errors.As(err, &gone) { // a connection from before its restart
		proto.Reset(a)
		err = u.try(endpoint, tablet.ServiceName, method, q, a)
	}
	if err != nil {
		u.t.Fatalf("%s of %s: %v", method, endpoint, err)
	}
}

func (u *user) table(db, name string) *ns.TableInfo {
	u.t.Helper()
	var a ns.ShowTableResponse
	u.must("ShowTable", &ns.ShowTableRequest{Name: &name, Db: &db}, &a)
	if len(a.GetTableInfo()) != 1 {
		u.t.Fatalf("%d tables are called %s", len(a.GetTableInfo()), name)
	}
	return a.GetTableInfo()[0]
}

func (u *user) flow() *ns.TableInfo {
	u.t.Helper()
	return u.table("", "flow")
}

// lines is a table as showtable has it: "0 .31 leader yes 43".
func lines(c *cluster, t *ns.TableInfo) []string {
	var all []string
	for _, p := range t.GetTablePartition() {
		for _, m := range p.GetPartitionMeta() {
			role, alive := "follower", "no"
			if m.GetIsLeader() {
				role = "leader"
			}
			if m.GetIsAlive() {
				alive = "yes"
			}
			offset := "-"
			if m.Offset != nil {
				offset = fmt.Sprint(m.GetOffset())
			}
			all = append(all, fmt.Sprintf("%d tablet%d %s %s %s", p.GetPid(), slices.Index(c.tabletAt, m.GetEndpoint())+1, role, alive, offset))
		}
	}
	return all
}

func (u *user) ops() []*ns.OPStatus {
	u.t.Helper()
	var a ns.ShowOPStatusResponse
	u.must("ShowOPStatus", &ns.ShowOPStatusRequest{}, &a)
	return a.GetOpStatus()
}

// over waits until every operation has ended, and answers them.
func (u *user) over() []*ns.OPStatus {
	u.t.Helper()
	var all []*ns.OPStatus
	u.eventually("every operation has ended", func() bool {
		all = u.ops()
		return !slices.ContainsFunc(all, func(o *ns.OPStatus) bool { return o.GetStatus() == "kDoing" || o.GetStatus() == "kInited" })
	})
	return all
}

// opLines are operations of a table: "kChangeLeaderOP 0 kDone".
func opLines(all []*ns.OPStatus, name string) []string {
	var lines []string
	for _, o := range all {
		if o.GetName() == name {
			lines = append(lines, fmt.Sprintf("%s %d %s", o.GetOpType(), o.GetPid(), o.GetStatus()))
		}
	}
	return lines
}

// whole says whether every replica of every table is alive, with one leader each, and has what the leader has.
func whole(tables ...*ns.TableInfo) bool {
	for _, t := range tables {
		for _, p := range t.GetTablePartition() {
			leaders := 0
			for _, m := range p.GetPartitionMeta() {
				if m.GetIsLeader() {
					leaders++
				}
				if !m.GetIsAlive() || !m.GetTabletHasPartition() || m.Offset == nil || m.GetOffset() != p.GetPartitionMeta()[0].GetOffset() {
					return false
				}
			}
			if leaders != 1 {
				return false
			}
		}
	}
	return true
}

// level says whether the replicas that are alive have what the leader of their partition has.
func level(t *ns.TableInfo) bool {
	for _, p := range t.GetTablePartition() {
		offsets := map[uint64]bool{}
		for _, m := range p.GetPartitionMeta() {
			if m.GetIsAlive() {
				offsets[m.GetOffset()] = true
			}
		}
		if len(offsets) != 1 {
			return false
		}
	}
	return true
}

func (u *user) all() []*ns.TableInfo {
	u.t.Helper()
	var a ns.ShowTableResponse
	u.must("ShowTable", &ns.ShowTableRequest{ShowAll: proto.Bool(true)}, &a)
	return a.GetTableInfo()
}

func (u *user) becomesWhole() {
	u.t.Helper()
	u.eventually("every replica is alive and has everything", func() bool { return whole(u.all()...) })
}

func (u *user) autoFailover(on bool) {
	u.t.Helper()
	u.order("ConfSet", &ns.ConfSetRequest{Conf: &ns.Pair{Key: proto.String("auto_failover"), Value: proto.String(fmt.Sprint(on))}})
}

func (u *user) healthy(endpoint string, is bool) {
	u.t.Helper()
	u.eventually(fmt.Sprintf("%s is healthy: %v", endpoint, is), func() bool {
		var a ns.ShowTabletResponse
		u.must("ShowTablet", &ns.ShowTabletRequest{}, &a)
		for _, s := range a.GetTablets() {
			if s.GetEndpoint() == endpoint {
				return (s.GetState() == "kHealthy" || s.GetState() == "kTabletHealthy") == is
			}
		}
		return false
	})
}

// put writes a row of flow to the leader of its card's partition.
func (u *user) put(card string, ts int64) error {
	t := u.flow()
	cl := &client{u.c, map[string]*rpc.Conn{}}
	defer cl.close()
	ctx, cancel := context.WithTimeout(u.t.Context(), 20*time.Second)
	defer cancel()
	only := proto.CloneOf(t)
	only.ColumnKey = only.ColumnKey[:1]
	for _, p := range only.GetTablePartition() {
		p.PartitionMeta = slices.DeleteFunc(p.GetPartitionMeta(), func(m *ns.PartitionMeta) bool { return !m.GetIsAlive() })
	}
	return cl.put(ctx, only, []any{card, "mcc", 1.0, ts})
}

// count counts the rows of a card on a replica.
func (u *user) count(endpoint string, pid uint32, card string) uint32 {
	u.t.Helper()
	var a api.CountResponse
	u.onTablet(endpoint, "Count", &api.CountRequest{
		Tid: u.flow().Tid, Pid: &pid, Key: &card, IdxName: proto.String("card"),
	}, &a)
	return a.GetCount()
}
