package openmldb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox/fault"
	"shardsh/commands/spec"
)

func TestPutRequests(t *testing.T) {
	b := newBox(t, 8)
	d := open(t, 20*time.Second, b.ns)
	// card0 belongs to partition 1 of 8, mcc0 to 0 (the sheet's vectors); both led by different tablets.
	if err := d.Put(t.Context(), flow, flowRow("card0", "mcc0", 1.5, 1528872944000)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		server *server
		pid    uint32
		key    string
		idx    uint32
	}{{b.tablets[1], 1, "card0", 0}, {b.tablets[0], 0, "mcc0", 1}} {
		q := request[*api.PutRequest](tt.server, "Put")
		if q.GetTid() != flowID || q.GetPid() != tt.pid || q.GetTime() != 1528872944000 || len(q.Dimensions) != 1 ||
			q.Dimensions[0].GetKey() != tt.key || q.Dimensions[0].GetIdx() != tt.idx {
			t.Errorf("%v", q)
		}
	}
	if n := b.ns.calls("ShowTable"); n > 2 {
		t.Errorf("the table was looked up %d times", n)
	}
	// NULL and empty keys have their own texts, and a deleted index leaves its place.
	b.change(func(info *ns.TableInfo) { info.ColumnKey[0].Flag = proto.Uint32(1) })
	answering(b.ns, "ShowTable", func(_ *ns.ShowTableRequest, a *ns.ShowTableResponse) {
		b.mu.Lock()
		defer b.mu.Unlock()
		info := proto.CloneOf(b.info)
		info.ColumnKey = info.ColumnKey[1:] // as the nameserver tells it
		a.Code, a.TableInfo = proto.Int32(0), []*ns.TableInfo{info}
	})
	d = open(t, 20*time.Second, b.ns)
	for value, key := range map[any]string{nil: wire.NullKey, "": wire.EmptyKey} {
		if err := d.Put(t.Context(), flow, Row{Values: []any{"c", value, nil, nil}}); err != nil {
			t.Fatal(err)
		}
		pid := wire.PartitionOf(key, 8)
		q := request[*api.PutRequest](b.tablets[pid%3], "Put")
		if len(q.Dimensions) != 1 || q.Dimensions[0].GetKey() != key || q.Dimensions[0].GetIdx() != 1 || q.GetPid() != pid {
			t.Errorf("%v: %v", value, q)
		}
		if since := time.Since(time.UnixMilli(q.GetTime())); since < -time.Second || since > time.Minute {
			t.Errorf("its time is %v ago", since)
		}
	}
}

func TestLeaderMoves(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 5)); err != nil {
		t.Fatal(err)
	}
	move := func(from, to int) {
		b.change(func(info *ns.TableInfo) {
			metas := info.TablePartition[0].PartitionMeta
			metas[from].IsAlive = proto.Bool(false) // it keeps its role
			metas[to].IsLeader, metas[to].IsAlive = proto.Bool(true), proto.Bool(true)
		})
	}
	move(0, 1)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 2, 6)); err != nil {
		t.Fatal(err)
	}
	if a, c := b.tablets[0].calls("Put"), b.tablets[1].calls("Put"); a != 2 || c != 1 {
		t.Errorf("%d and %d puts", a, c)
	}
	// It dies before anybody is told.
	b.tablets[1].dies(d)
	move(1, 2)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 3, 7)); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Count(t.Context(), flow, CountQuery{Key: "c"}); err != nil || n != 3 {
		t.Error(n, err)
	}
	b.change(func(info *ns.TableInfo) { info.TablePartition[0].PartitionMeta[2].IsAlive = proto.Bool(false) })
	b.tablets[2].stop()
	_, _, err := d.Get(t.Context(), flow, GetQuery{Key: "c"})
	wantError(t, err, spec.Unavailable, "flow/0 has no leader", "changeleader")
}

func TestLostRows(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 5)); err != nil {
		t.Fatal(err)
	}
	s := b.tablets[0]
	s.lose(fault.Answer, "Put", 1)
	wantError(t, d.Put(t.Context(), flow, flowRow("c", "m", 1, 6)), spec.UnknownOutcome, s.endpoint)
	if n := s.calls("Put"); n != 2 {
		t.Errorf("%d puts", n)
	}
	s.lose(fault.Answer, "Get", 1)
	if _, found, err := d.Get(t.Context(), flow, GetQuery{Key: "c", At: at(6)}); err != nil || !found {
		t.Error(found, err)
	}
	s.lose(fault.Answer, "Delete", 1)
	wantError(t, d.Delete(t.Context(), flow, DeleteQuery{Key: "c"}), spec.UnknownOutcome, s.endpoint)
	// The tablet lacks the partition: that is not the table missing.
	for _, s := range b.tablets {
		s.refusing("Get", 100, "table does not exist")
	}
	_, _, err := d.Get(t.Context(), flow, GetQuery{Key: "c"})
	wantError(t, err, spec.Unavailable, "100 table does not exist", "doctor")
}

func TestPartlyPut(t *testing.T) {
	b := newBox(t, 8)
	d := open(t, 20*time.Second, b.ns)
	b.tablets[1].refusing("Put", 160, "exceed max memory") // card0; mcc0 goes first
	err := d.Put(t.Context(), flow, flowRow("card0", "mcc0", 1, 5))
	wantError(t, err, spec.PartlyDone, "160 exceed max memory", "some of its keys")
}

func TestSchemaChanges(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 5)); err != nil {
		t.Fatal(err)
	}
	before, err := d.Describe(t.Context(), flow)
	if err != nil {
		t.Fatal(err)
	}
	old := func() *Driver { // one that knows the table as it was
		d := open(t, 20*time.Second, b.ns)
		r := d.routes.of(flow)
		r.table, r.read = before, time.Now()
		return d
	}
	b.change(func(info *ns.TableInfo) {
		info.AddedColumnDesc = []*common.ColumnDesc{{Name: proto.String("note"), DataType: info.ColumnDesc[0].DataType}}
		info.SchemaVersions = []*common.VersionPair{{Id: proto.Int32(2), FieldCount: proto.Int32(5)}}
	})
	if err := d.Put(t.Context(), flow, Row{Values: []any{"c", "m", 2.0, int64(6), "hello"}}); err != nil {
		t.Fatal(err)
	}
	// Whoever still knows the old columns looks the table up again.
	for name, rows := range map[string]iter.Seq2[Row, error]{
		"scan": old().Scan(t.Context(), flow, ScanQuery{Key: "c"}), "traverse": old().Traverse(t.Context(), flow, TraverseQuery{Partition: -1}),
	} {
		want := []string{"c@6 [c m 2 6 hello]", "c@5 [c m 1 5 <nil>]"}
		if diff := cmp.Diff(want, told(t, rows)); diff != "" {
			t.Error(name, diff)
		}
	}
	row, found, err := old().Get(t.Context(), flow, GetQuery{Key: "c"})
	if err != nil || !found || len(row.Values) != 5 || row.Values[4] != "hello" {
		t.Error(row, found, err)
	}
}

func TestOldTablet(t *testing.T) {
	b := newBox(t, 1)
	for _, s := range b.tablets {
		s.failing("GetTableSchema", &rpc.Error{Code: rpc.CodeNoMethod, Text: "Fail to find method"})
	}
	d := open(t, 20*time.Second, b.ns)
	if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 5)); err != nil {
		t.Fatal(err)
	}
	// Nor can it answer in pages.
	for _, s := range b.tablets {
		answering(s, "Scan", func(q *api.ScanRequest, a *api.ScanResponse) {
			b.scan(q, a)
			a.IsFinish = nil
		})
	}
	if got := told(t, d.Scan(t.Context(), flow, ScanQuery{Key: "c"})); len(got) != 1 {
		t.Error(got)
	}
	for i := range int64(150) {
		if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 10+i)); err != nil {
			t.Fatal(err)
		}
	}
	var last error
	for _, err := range d.Scan(t.Context(), flow, ScanQuery{Key: "c"}) {
		last = err
	}
	wantError(t, last, spec.Unable, "release")
}

func TestPutMany(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, time.Minute, b.ns)
	rows := func(n int, end error) iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) {
			for i := range n {
				r := flowRow(fmt.Sprint("c", i%50), "m", float64(i), int64(1000+i))
				if i%100 == 7 {
					r.Values[0] = 5 // of the wrong type
				}
				if !yield(r, nil) {
					return
				}
			}
			if end != nil {
				yield(Row{}, end)
			}
		}
	}
	const n = 1000
	next, failed := 0, 0
	for i, err := range d.PutMany(t.Context(), flow, rows(n, nil), 64) {
		if i != next {
			t.Fatalf("outcome %d after %d", i, next-1)
		}
		next++
		if i%100 == 7 {
			failed++
			wantError(t, err, spec.Usage, "card is a string")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if next != n || failed != 10 {
		t.Errorf("%d outcomes, %d failed", next, failed)
	}
	if got := told(t, d.Traverse(t.Context(), flow, TraverseQuery{Partition: -1})); len(got) != n-10 {
		t.Errorf("%d rows are there", len(got))
	}
	// Rows of one key arrive in whatever order, and are found in that of their times.
	if got := told(t, d.Scan(t.Context(), flow, ScanQuery{Key: "c1"})); len(got) != 20 || !slices.IsSortedFunc(got, func(x, y string) int { return strings.Compare(y, x) }) {
		t.Error(got)
	}
	broken := errors.New("the source broke")
	next = 0
	for i, err := range d.PutMany(t.Context(), flow, rows(5, broken), 3) {
		if i != next {
			t.Fatalf("outcome %d after %d", i, next-1)
		}
		if next++; i == 5 && !errors.Is(err, broken) || i < 5 && err != nil {
			t.Error(i, err)
		}
	}
	if next != 6 {
		t.Errorf("%d outcomes", next)
	}
	next = 0
	for _, err := range d.PutMany(t.Context(), TableName{Name: "nope"}, rows(3, nil), 1) {
		wantError(t, err, spec.NotFound, "nope")
		next++
	}
	if next != 3 {
		t.Errorf("%d outcomes", next)
	}
}

func TestPutManyWindow(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.ns)
	var mu sync.Mutex
	now, most := 0, 0
	full := make(chan struct{})
	b.tablets[0].mu.Lock()
	b.tablets[0].answers["Put"] = func(_, _ proto.Message) error {
		mu.Lock()
		if now++; now > most {
			if most = now; most == 8 {
				close(full)
			}
		}
		mu.Unlock()
		<-full
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}
	b.tablets[0].mu.Unlock()
	for _, err := range d.PutMany(t.Context(), flow, func(yield func(Row, error) bool) {
		for i := range int64(40) {
			if !yield(flowRow("c", "m", 0, 1000+i), nil) {
				return
			}
		}
	}, 8) {
		if err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 8 {
		t.Errorf("%d at once", most)
	}
}

func TestSharedRoute(t *testing.T) {
	b := newBox(t, 1)
	asked, let := make(chan struct{}, 100), make(chan struct{})
	b.ns.mu.Lock()
	show := b.ns.answers["ShowTable"]
	b.ns.answers["ShowTable"] = func(q, a proto.Message) error {
		asked <- struct{}{}
		<-let
		return show(q, a)
	}
	b.ns.mu.Unlock()
	d := openWith(t, cluster.Options{Timeout: func() time.Duration { return time.Minute }}, b.ns)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := d.Count(ctx, flow, CountQuery{Key: "k"})
		first <- err
	}()
	<-asked
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if err := d.Put(t.Context(), flow, flowRow("c", "m", 1, 5)); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	wantError(t, <-first, spec.Interrupted)
	close(let)
	group.Wait()
	if n := b.ns.calls("ShowTable"); n > 3 {
		t.Errorf("looked up %d times", n)
	}
}
