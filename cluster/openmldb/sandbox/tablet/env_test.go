package tablet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox"
	"shardsh/cluster/sandbox/fault"
)

// patience bounds every wait of the tests, generously.
const patience = time.Minute

// world is a few tablets and what they share.
type world struct {
	t    testing.TB
	tree *memoryTree
	tune tuning

	mu  sync.Mutex
	cut map[string]bool // endpoints that nobody can dial
}

// node is a tablet that can be killed and started again.
type node struct {
	*world
	endpoint, dir string
	gate          *fault.Gate
	points        *fault.Points
	strict        bool
	tablet        *Tablet
	conn          *rpc.Conn
}

func newWorld(t testing.TB) *world {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	tune := standard()
	tune.threshold = 0
	return &world{t: t, tree: newTree(), tune: tune, cut: map[string]bool{}}
}

func (w *world) dial(ctx context.Context, peer string) (*rpc.Conn, error) {
	w.mu.Lock()
	cut := w.cut[peer]
	w.mu.Unlock()
	if cut {
		return nil, errors.New("cut off")
	}
	return rpc.Dial(ctx, peer, rpc.Options{Credential: rpc.ServiceCredential})
}

// node makes a node that is not running.
func (w *world) node() *node {
	w.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	var points []sandbox.Point
	points = append(points, fault.OfCalls(Role, (*Tablet)(nil).Calls())...)
	points = slices.Concat(points, TaskPoints(), HoldPoints())
	n := &node{
		world: w, endpoint: l.Addr().String(), dir: w.t.TempDir(), gate: &fault.Gate{}, points: fault.NewPoints(points...),
	}
	w.t.Cleanup(func() {
		if n.tablet != nil {
			n.kill()
		}
	})
	return n
}

func (w *world) started() *node {
	w.t.Helper()
	n := w.node()
	n.start()
	return n
}

func (n *node) start() {
	n.t.Helper()
	n.tree.expire(false)
	tablet, err := start(n.soon(), Config{
		Endpoint: n.endpoint, Dir: n.dir, Tree: n.tree, Gate: n.gate, Points: n.points, Dial: n.dial, Timers: 100,
		Log: n.log, Strict: n.strict,
	}, n.tune)
	if err != nil {
		n.t.Fatal(err)
	}
	n.tablet = tablet
}

func (n *node) log(format string, args ...any) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func (n *node) kill() {
	n.t.Helper()
	n.hangUp()
	if err := n.tablet.Kill(); err != nil {
		n.t.Error(err)
	}
	n.tablet = nil
}

func (n *node) stop() {
	n.t.Helper()
	n.hangUp()
	if err := n.tablet.Stop(n.soon()); err != nil {
		n.t.Error(err)
	}
	n.tablet = nil
}

func (n *node) hangUp() {
	if n.conn != nil {
		n.conn.Close()
		<-n.conn.Ended()
		n.conn = nil
	}
}

func (n *node) restart() {
	n.t.Helper()
	n.kill()
	n.start()
}

func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for until := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			w.t.Fatalf("it did not come to be: %s", what)
		}
	}
}

// try calls a method, with or without an answer.
func (n *node) try(method string, q, a proto.Message) error {
	_, err := n.tryAttached(method, q, nil, a)
	return err
}

func (n *node) tryAttached(method string, q proto.Message, attachment []byte, a proto.Message) ([]byte, error) {
	if n.conn == nil {
		conn, err := rpc.Dial(n.soon(), n.endpoint, rpc.Options{Credential: rpc.ServiceCredential})
		if err != nil {
			return nil, err
		}
		n.conn = conn
	}
	return n.conn.CallAttached(n.soon(), ServiceName, method, q, attachment, a)
}

// answer is what every answer has.
type answer interface {
	proto.Message
	GetCode() int32
	GetMsg() string
}

// call calls a method that must answer.
func call[A any, PA interface {
	*A
	answer
}](n *node, method string, q proto.Message,
) PA {
	n.t.Helper()
	a := PA(new(A))
	if err := n.try(method, q, a); err != nil {
		n.t.Fatalf("%s: %v", method, err)
	}
	return a
}

// well calls a method that must answer ok.
func well[A any, PA interface {
	*A
	answer
}](n *node, method string, q proto.Message,
) PA {
	n.t.Helper()
	a := call[A, PA](n, method, q)
	if a.GetCode() != 0 {
		n.t.Fatalf("%s(%v) = %d %s", method, q, a.GetCode(), a.GetMsg())
	}
	return a
}

// refused calls a method that must answer a code and text.
func refused[A any, PA interface {
	*A
	answer
}](n *node, method string, q proto.Message, code int32, text string,
) {
	n.t.Helper()
	if a := call[A, PA](n, method, q); a.GetCode() != code || a.GetMsg() != text {
		n.t.Errorf("%s(%v) = %d %q, want %d %q", method, q, a.GetCode(), a.GetMsg(), code, text)
	}
}

// The tests' table: card and mcc are indexes ordered by ts, note is one ordered by the time of the put.
var testSchema = wire.Schema{Columns: []wire.Column{
	{Name: "card", Type: types.DataType_kString},
	{Name: "mcc", Type: types.DataType_kString},
	{Name: "note", Type: types.DataType_kString},
	{Name: "amount", Type: types.DataType_kBigInt},
	{Name: "ts", Type: types.DataType_kTimestamp},
}}

const testTID = 7

func testMeta(pid uint32, mode api.TableMode, change ...func(*api.TableMeta)) *api.TableMeta {
	m := &api.TableMeta{
		Tid: proto.Int32(testTID), Pid: proto.Int32(int32(pid)), Name: proto.String("flow"), Db: proto.String("db"),
		SegCnt: proto.Int32(8), Mode: mode.Enum(), Term: proto.Uint64(1),
		ColumnKey: []*common.ColumnKey{
			{IndexName: proto.String("card"), ColName: []string{"card"}, TsName: proto.String("ts")},
			{IndexName: proto.String("mcc"), ColName: []string{"mcc"}, TsName: proto.String("ts")},
			{IndexName: proto.String("note"), ColName: []string{"note"}},
		},
	}
	for _, c := range testSchema.Columns {
		m.ColumnDesc = append(m.ColumnDesc, &common.ColumnDesc{Name: proto.String(c.Name), DataType: c.Type.Enum()})
	}
	for _, do := range change {
		do(m)
	}
	return m
}

func replicas(nodes ...*node) func(*api.TableMeta) {
	return func(m *api.TableMeta) {
		for _, n := range nodes {
			m.Replicas = append(m.Replicas, n.endpoint)
		}
	}
}

func stored(mode common.StorageMode) func(*api.TableMeta) {
	return func(m *api.TableMeta) { m.StorageMode = mode.Enum() }
}

// indexed leaves the table one index only.
func indexed(k *common.ColumnKey) func(*api.TableMeta) {
	return func(m *api.TableMeta) { m.ColumnKey = []*common.ColumnKey{k} }
}

func (n *node) create(m *api.TableMeta) {
	n.t.Helper()
	well[api.CreateTableResponse](n, "CreateTable", &api.CreateTableRequest{TableMeta: m})
}

// row is one of the tests' rows; its amount tells which.
func row(card, mcc, note string, amount, ts int64) []byte {
	b, err := testSchema.Encode([]any{card, mcc, note, amount, ts})
	if err != nil {
		panic(err)
	}
	return b
}

func amountOf(t testing.TB, b []byte) int64 {
	t.Helper()
	values, err := testSchema.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return values[3].(int64)
}

func putRequest(pid uint32, card, mcc, note string, amount, ts int64) *api.PutRequest {
	q := &api.PutRequest{
		Tid: proto.Uint32(testTID), Pid: &pid, Time: &ts, Value: row(card, mcc, note, amount, ts),
	}
	for idx, key := range []string{card, mcc, note} {
		if key != "" {
			q.Dimensions = append(q.Dimensions, &api.Dimension{Key: proto.String(key), Idx: proto.Uint32(uint32(idx))})
		}
	}
	return q
}

func (n *node) put(card, mcc, note string, amount, ts int64) {
	n.t.Helper()
	well[api.PutResponse](n, "Put", putRequest(0, card, mcc, note, amount, ts))
}

// puts puts rows of amounts from and up, under 10 cards.
func (n *node) puts(from, count int) {
	n.t.Helper()
	for i := from; i < from+count; i++ {
		n.put(fmt.Sprintf("card%d", i%10), fmt.Sprintf("mcc%d", i%3), "", int64(i), int64(1000+i))
	}
}

// scan answers the amounts of a key's rows, the newest first.
func (n *node) scan(index, key string) []int64 {
	n.t.Helper()
	a := well[api.ScanResponse](n, "Scan", &api.ScanRequest{
		Tid: proto.Uint32(testTID), Pid: proto.Uint32(0), IdxName: &index, Pk: &key,
	})
	pairs, err := wire.ScanPairs(a.GetPairs())
	if err != nil {
		n.t.Fatal(err)
	}
	amounts := []int64{}
	for _, p := range pairs {
		amounts = append(amounts, amountOf(n.t, p.Row))
	}
	return amounts
}

// amounts reads all rows of an index by pages, and answers how often each amount came.
func (n *node) amounts(index string, limit uint32) map[int64]int {
	n.t.Helper()
	seen := map[int64]int{}
	q := &api.TraverseRequest{Tid: proto.Uint32(testTID), Pid: proto.Uint32(0), IdxName: &index, Limit: &limit}
	for {
		a := well[api.TraverseResponse](n, "Traverse", q)
		pairs, err := wire.TraversePairs(a.GetPairs())
		if err != nil {
			n.t.Fatal(err)
		}
		if len(pairs) != int(a.GetCount()) {
			n.t.Fatalf("%d pairs, counted as %d", len(pairs), a.GetCount())
		}
		for _, p := range pairs {
			seen[amountOf(n.t, p.Row)]++
		}
		if a.GetIsFinish() {
			return seen
		}
		q.Pk, q.Ts, q.TsPos = a.Pk, a.Ts, a.TsPos
	}
}

// expectAmounts fails unless the rows of amounts from up to (not including) to are there, once each, and no others.
func (n *node) expectAmounts(from, to int) {
	n.t.Helper()
	seen := n.amounts("card", 100)
	for i := from; i < to; i++ {
		if seen[int64(i)] != 1 {
			n.t.Errorf("row %d is there %d times", i, seen[int64(i)])
		}
	}
	if len(seen) != to-from {
		n.t.Errorf("%d rows, want %d", len(seen), to-from)
	}
}

// status answers the status of the tests' partition; nil when it is not in memory.
func (n *node) status() *api.TableStatus {
	n.t.Helper()
	a := well[api.GetTableStatusResponse](n, "GetTableStatus", &api.GetTableStatusRequest{
		Tid: proto.Uint32(testTID), Pid: proto.Uint32(0),
	})
	if len(a.GetAllTableStatus()) == 0 {
		return nil
	}
	return a.GetAllTableStatus()[0]
}

func (n *node) offset() uint64 { return n.status().GetOffset() }

// loadRequest is what a nameserver sends: no columns.
func loadRequest(mode api.TableMode, change ...func(*api.TableMeta)) *api.LoadTableRequest {
	m := &api.TableMeta{
		Tid: proto.Int32(testTID), Pid: proto.Int32(0), Name: proto.String("flow"), SegCnt: proto.Int32(8),
		Mode: mode.Enum(), Term: proto.Uint64(1),
	}
	for _, do := range change {
		do(m)
	}
	return &api.LoadTableRequest{TableMeta: m}
}

// load loads the tests' partition and waits until it can be used.
func (n *node) load(mode api.TableMode, change ...func(*api.TableMeta)) {
	n.t.Helper()
	well[api.GeneralResponse](n, "LoadTable", loadRequest(mode, change...))
	n.eventually("the partition is loaded", func() bool {
		return n.status().GetState() == api.TableState_kTableNormal
	})
}

// task is a task of an operation.
func task(op uint64, kind api.TaskType) *api.TaskInfo {
	return &api.TaskInfo{
		OpId: &op, OpType: api.OPType_kReAddReplicaOP.Enum(), TaskType: kind.Enum(), Status: api.TaskStatus_kInited.Enum(),
		Tid: proto.Uint32(testTID), Pid: proto.Uint32(0),
	}
}

// taskStatus is what the tablet says of an operation's task; 0 when it does not know it.
func (n *node) taskStatus(op uint64, kind api.TaskType) api.TaskStatus {
	n.t.Helper()
	for _, known := range well[api.TaskStatusResponse](n, "GetTaskStatus", &api.TaskStatusRequest{}).GetTask() {
		if known.GetOpId() == op && known.GetTaskType() == kind {
			return known.GetStatus()
		}
	}
	return 0
}

// ends waits for a task.
func (n *node) ends(op uint64, kind api.TaskType, how api.TaskStatus) {
	n.t.Helper()
	n.eventually(fmt.Sprint(kind, " has ended"), func() bool { return n.taskStatus(op, kind) != api.TaskStatus_kDoing })
	if s := n.taskStatus(op, kind); s != how {
		n.t.Fatalf("%v ended as %v, want %v", kind, s, how)
	}
}

func general(change ...func(*api.GeneralRequest)) *api.GeneralRequest {
	q := &api.GeneralRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)}
	for _, do := range change {
		do(q)
	}
	return q
}

func upTo(offset uint64) func(*api.GeneralRequest) {
	return func(q *api.GeneralRequest) { q.Offset = &offset }
}

func asTask(info *api.TaskInfo) func(*api.GeneralRequest) {
	return func(q *api.GeneralRequest) { q.TaskInfo = info }
}

// snapshot makes a snapshot and waits for it.
func (n *node) snapshot(op uint64) {
	n.t.Helper()
	well[api.GeneralResponse](n, "MakeSnapshot", general(asTask(task(op, api.TaskType_kMakeSnapshot))))
	n.ends(op, api.TaskType_kMakeSnapshot, api.TaskStatus_kDone)
}

func (n *node) partitionDir(mode common.StorageMode) string {
	db, _, _ := roots(mode)
	return filepath.Join(n.dir, db, fmt.Sprintf("%d_0", testTID))
}

// logEntry is a row as a leader sends it; its amount is the entry's index.
func logEntry(index, term uint64) *api.LogEntry {
	ts := int64(1000 + index)
	q := putRequest(0, "card", "mcc", "", int64(index), ts)
	return &api.LogEntry{
		LogIndex: &index, Term: &term, Value: q.Value, Dimensions: q.Dimensions, Ts: proto.Uint64(uint64(ts)),
	}
}
