package openmldb

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

var flow = TableName{Name: "flow"}

func at(ms int64) time.Time { return time.UnixMilli(ms) }

// flowRow is a row of flow.
func flowRow(card, mcc any, amount float64, ms int64) Row {
	return Row{Time: at(ms), Values: []any{card, mcc, amount, ms}}
}

// told writes rows for comparison.
func told(t *testing.T, rows iter.Seq2[Row, error]) []string {
	t.Helper()
	var all []string
	for r, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s@%d %v", r.Key, r.Time.UnixMilli(), r.Values))
	}
	return all
}

// A row goes to the partition of each of its keys, with the keys of that partition only.
// A table that spreads its rows by other columns is read in all partitions, and each row is in one.
func TestPartitionKey(t *testing.T) {
	b := newBox(t, 4)
	b.change(func(info *ns.TableInfo) { info.PartitionKey = []string{"amount", "mcc"} })
	d := open(t, 20*time.Second, b.ns)
	for i := range int64(20) {
		if err := d.Put(t.Context(), flow, flowRow("c", fmt.Sprint("m", i%2), float64(i), 1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	homes := 0
	b.change(func(*ns.TableInfo) {
		for pid := range uint32(4) {
			n := len(b.rows[[2]uint32{pid, 0}])
			if n != len(b.rows[[2]uint32{pid, 1}]) {
				t.Error("the keys of a row are in several partitions")
			}
			if n > 0 {
				homes++
			}
		}
	})
	if homes < 2 {
		t.Fatal("the rows are not spread")
	}
	got := told(t, d.Scan(t.Context(), flow, ScanQuery{Key: "c", Limit: 15}))
	var want []string
	for i := 19; i >= 5; i-- {
		want = append(want, fmt.Sprintf("c@%d [c m%d %d %d]", 1000+i, i%2, i, 1000+i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if row, found, err := d.Get(t.Context(), flow, GetQuery{Key: "c"}); err != nil || !found || row.Time != at(1019) {
		t.Error(row, found, err)
	}
	if n, err := d.Count(t.Context(), flow, CountQuery{Key: "m1", Index: "mcc"}); err != nil || n != 10 {
		t.Error(n, err)
	}
	if err := d.Delete(t.Context(), flow, DeleteQuery{Key: "c"}); err != nil {
		t.Fatal(err)
	}
	if _, found, err := d.Get(t.Context(), flow, GetQuery{Key: "c"}); err != nil || found {
		t.Error(found, err)
	}
}

// What the driver answers is what a plain list of rows would.
func TestRowsModel(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, time.Minute, b.ns)
	random := rand.New(rand.NewPCG(1, 2))
	type modelRow struct {
		card, mcc string
		ms        int64
		n         int
	}
	var model []modelRow
	for i := range 1500 {
		r := modelRow{fmt.Sprint("card", random.IntN(5)), fmt.Sprint("m", random.IntN(3)), int64(1000 + random.IntN(200)), i}
		model = append(model, r)
		if err := d.Put(t.Context(), flow, flowRow(r.card, r.mcc, float64(r.n), r.ms)); err != nil {
			t.Fatal(err)
		}
	}
	line := func(key string, r modelRow) string {
		return fmt.Sprintf("%s@%d [%s %s %d %d]", key, r.ms, r.card, r.mcc, r.n, r.ms)
	}
	under := func(index, key string, newest, oldest int64) []string {
		var rows []modelRow
		for _, r := range model {
			if (index == "card" && r.card == key || index == "mcc" && r.mcc == key) && r.ms <= newest && r.ms > oldest {
				rows = append(rows, r)
			}
		}
		slices.SortStableFunc(rows, func(x, y modelRow) int { return int(y.ms - x.ms) })
		var all []string
		for _, r := range rows {
			all = append(all, line(key, r))
		}
		return all
	}
	for _, q := range []ScanQuery{
		{Key: "card1"},
		{Index: "mcc", Key: "m2"},
		{Key: "card3", Newest: at(1100), Oldest: at(1050)},
		{Key: "card2", Oldest: at(1150)},
		{Index: "mcc", Key: "m0", Limit: 101},
		{Key: "nobody"},
		{Key: "card0", Newest: at(1000), Oldest: at(1000)},
	} {
		newest, oldest := int64(1<<60), int64(0)
		if !q.Newest.IsZero() {
			newest = q.Newest.UnixMilli()
		}
		if !q.Oldest.IsZero() {
			oldest = q.Oldest.UnixMilli()
		}
		want := under(max(q.Index, "card"), q.Key, newest, oldest)
		if q.Limit > 0 {
			want = want[:q.Limit]
		}
		if diff := cmp.Diff(want, told(t, d.Scan(t.Context(), flow, q))); diff != "" {
			t.Errorf("%+v: %s", q, diff)
		}
	}
	// Traversing finds every row once by each index, whatever the pages.
	for _, index := range []string{"card", "mcc"} {
		var want []string
		for _, key := range []string{"card0", "card1", "card2", "card3", "card4", "m0", "m1", "m2"} {
			want = append(want, under(index, key, 1<<60, 0)...)
		}
		got := told(t, d.Traverse(t.Context(), flow, TraverseQuery{Index: index, Partition: -1}))
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", index, diff)
		}
		var paged []string
		for pid := range 4 {
			q := TraverseQuery{Index: index, Partition: pid, Limit: 7}
			for {
				page, err := d.TraversePage(t.Context(), flow, q)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range page.Rows {
					paged = append(paged, fmt.Sprintf("%s@%d %v", r.Key, r.Time.UnixMilli(), r.Values))
				}
				if page.Done {
					break
				}
				q.After = page.Next
			}
		}
		slices.Sort(paged)
		if diff := cmp.Diff(want, paged); diff != "" {
			t.Errorf("%s, paged: %s", index, diff)
		}
	}
	if got := told(t, d.Traverse(t.Context(), flow, TraverseQuery{Partition: -1, Limit: 333})); len(got) != 333 {
		t.Errorf("%d rows", len(got))
	}
	if n, err := d.Count(t.Context(), flow, CountQuery{Key: "card4"}); err != nil || int(n) != len(under("card", "card4", 1<<60, 0)) {
		t.Error(n, err)
	}
	row, found, err := d.Get(t.Context(), flow, GetQuery{Key: "card4"})
	if want := under("card", "card4", 1<<60, 0)[0]; err != nil || !found || fmt.Sprintf("%s@%d %v", row.Key, row.Time.UnixMilli(), row.Values) != want {
		t.Error(row, found, err, want)
	}
	if _, found, err = d.Get(t.Context(), flow, GetQuery{Key: "card4", At: at(5)}); err != nil || found {
		t.Error(found, err)
	}
	if err := d.Delete(t.Context(), flow, DeleteQuery{Key: "card4", Newest: at(1100), Oldest: at(1050)}); err != nil {
		t.Fatal(err)
	}
	left := len(under("card", "card4", 1<<60, 1100)) + len(under("card", "card4", 1050, 0))
	if n, err := d.Count(t.Context(), flow, CountQuery{Key: "card4"}); err != nil || int(n) != left {
		t.Errorf("%d are left, want %d, %v", n, left, err)
	}
}

// Stopping early leaves nothing behind.
func TestStopEarly(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, time.Minute, b.ns)
	for i := range int64(300) {
		if err := d.Put(t.Context(), flow, flowRow("c", "m", 0, 1000+i)); err != nil {
			t.Fatal(err)
		}
	}
	for range d.Scan(t.Context(), flow, ScanQuery{Key: "c"}) {
		break
	}
	for range d.Traverse(t.Context(), flow, TraverseQuery{Partition: -1}) {
		break
	}
	n := 0
	for i, err := range d.PutMany(t.Context(), flow, func(yield func(Row, error) bool) {
		for i := int64(0); yield(flowRow("d", "m", 0, 1000+i), nil); i++ {
			n++
		}
	}, 10) {
		if err != nil {
			t.Error(err)
		}
		if i == 20 {
			break
		}
	}
	if n > 40 {
		t.Errorf("%d rows were read after 20 outcomes", n)
	}
}

func TestRowErrors(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, 20*time.Second, b.ns)
	ctx := t.Context()
	first := func(rows iter.Seq2[Row, error]) error {
		for _, err := range rows {
			return err
		}
		return nil
	}
	_, _, err := d.Get(ctx, TableName{Name: "nope"}, GetQuery{Key: "k"})
	wantError(t, err, spec.NotFound, "nope", b.ns.endpoint, "showtable")
	_, _, err = d.Get(ctx, flow, GetQuery{Index: "nope", Key: "k"})
	wantError(t, err, spec.NotFound, "nope", "showschema")
	_, _, err = d.Get(ctx, flow, GetQuery{Key: "k", At: at(-5)})
	wantError(t, err, spec.Usage, "1970")
	wantError(t, first(d.Scan(ctx, flow, ScanQuery{Newest: at(5), Oldest: at(6)})), spec.Usage)
	wantError(t, d.Delete(ctx, flow, DeleteQuery{Newest: at(5), Oldest: at(6)}), spec.Usage)
	wantError(t, first(d.Traverse(ctx, flow, TraverseQuery{Partition: 9})), spec.NotFound, "partition 9")
	wantError(t, first(d.Traverse(ctx, flow, TraverseQuery{Partition: -1, After: TraversePosition{Key: "k"}})), spec.Usage)
	_, err = d.TraversePage(ctx, flow, TraverseQuery{Partition: -1})
	wantError(t, err, spec.Usage)
	wantError(t, d.Put(ctx, flow, Row{Values: []any{"c"}}), spec.Usage, "1 values for 4 columns")
	wantError(t, d.Put(ctx, flow, Row{Values: []any{1, "m", 1.0, int64(5)}}), spec.Usage, "card is a string")
	for _, s := range b.tablets {
		if n := s.calls("Put") + s.calls("Scan"); n != 0 {
			t.Errorf("%d calls were made for nothing", n)
		}
		s.refusing("Put", 160, "exceed max memory")
		s.refusing("Traverse", 104, "table is loading")
		answering(s, "Scan", func(_ *api.ScanRequest, a *api.ScanResponse) { a.Pairs = []byte("nonsense") })
		answering(s, "Get", func(_ *api.GetRequest, a *api.GetResponse) { a.Value = []byte("nonsense") })
	}
	wantError(t, d.Put(ctx, flow, flowRow("c", "m", 1, 5)), spec.Failed, "160 exceed max memory", "memory limit")
	wantError(t, first(d.Traverse(ctx, flow, TraverseQuery{Partition: 0})), spec.Unavailable, "104 table is loading")
	wantError(t, first(d.Scan(ctx, flow, ScanQuery{Key: "c"})), spec.Failed, "makes no sense")
	_, _, err = d.Get(ctx, flow, GetQuery{Key: "c"})
	wantError(t, err, spec.Failed, "makes no sense", "flow")
}

// hostile pages end a traversal or scan instead of going on for ever.
func TestEndlessPages(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 20*time.Second, b.ns)
	row, err := (&wire.Schema{Columns: flowColumns(t, d)}).Encode([]any{"c", "m", 1.0, int64(7)})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range b.tablets {
		answering(s, "Traverse", func(_ *api.TraverseRequest, a *api.TraverseResponse) {
			a.Pairs = wire.AppendTraversePair(nil, wire.Pair{Key: "c", Time: 7, Row: row})
			a.Pk, a.Ts, a.TsPos, a.IsFinish = proto.String("c"), proto.Uint64(7), proto.Uint32(1), proto.Bool(false)
		})
		answering(s, "Scan", func(q *api.ScanRequest, a *api.ScanResponse) {
			a.Pairs = wire.AppendScanPair(nil, 7+uint64(q.GetSkipRecordNum()), row)
			a.IsFinish = proto.Bool(false)
		})
	}
	for name, rows := range map[string]iter.Seq2[Row, error]{
		"traverse": d.Traverse(t.Context(), flow, TraverseQuery{Partition: -1}), "scan": d.Scan(t.Context(), flow, ScanQuery{Key: "c"}),
	} {
		n := 0
		var last error
		for _, err := range rows {
			last = err
			n++
		}
		if n > 5 || last == nil {
			t.Errorf("%s: %d rows, %v", name, n, last)
		}
		wantError(t, last, spec.Failed, "makes no sense")
	}
}

func flowColumns(t *testing.T, d *Driver) []wire.Column {
	t.Helper()
	table, err := d.Describe(t.Context(), flow)
	if err != nil {
		t.Fatal(err)
	}
	return table.Schema.Columns
}

// The leader moves: the tablet refuses, the table is looked up again, and the row goes to the new leader, once.
// A put whose answer is lost has an unknown outcome, and is not repeated; a read is.
// Part of a row's keys is written when the second partition refuses.
// A column is added while rows are put: they are placed anew, and read with the columns they have.
// A tablet of an old release does not tell its schema: the order of the indexes stands.
// Several are under way at once: as many as were asked for, and no more.
// Many callers share one look-up of a table, and a cancelled one takes it from nobody.
