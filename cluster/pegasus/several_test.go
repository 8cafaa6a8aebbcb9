package pegasus

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func kvs(keys ...string) []wire.KeyValue {
	list := make([]wire.KeyValue, len(keys))
	for i, k := range keys {
		list[i] = wire.KeyValue{Key: []byte(k), Value: []byte("v")}
	}
	return list
}

// ranged reads a range from a server that answers multi_get by f.
func ranged(t *testing.T, o RangeOptions, f func(q *wire.MultiGetRequest) *wire.MultiGetResponse) (keys string, err error) {
	t.Helper()
	b := newBox(t, 1)
	on(b.node, &wire.MultiGet, func(_ wire.Header, q *wire.MultiGetRequest) *wire.MultiGetResponse { return f(q) })
	d := open(t, 5*time.Second, b.meta.endpoint)
	var list []string
	for r, err := range d.MultiGetRange(t.Context(), boxTable, []byte("h"), o) {
		if err != nil {
			return strings.Join(list, " "), err
		}
		list = append(list, string(r.Sort))
	}
	return strings.Join(list, " "), nil
}

// A page that says that more remains is followed by one behind its last row, or before its first one backwards.
func TestRangePages(t *testing.T) {
	for name, c := range map[string]struct {
		o     RangeOptions
		pages [][]string
		asked []string // start, stop and whether they are in
		want  string
	}{
		"forwards": {
			RangeOptions{SortRange: SortRange{Start: []byte("a"), Stop: []byte("z")}},
			[][]string{{"a", "b"}, {"c"}},
			[]string{"a+ z-", "b- z-"},
			"a b c",
		},
		"backwards": {
			RangeOptions{Reverse: true},
			[][]string{{"y", "z"}, {"", "x"}},
			[]string{"+ -", "+ y-"},
			"z y x ",
		},
		"backwards to the empty key": {RangeOptions{Reverse: true}, [][]string{{"", "z"}, {"never asked"}}, []string{"+ -"}, "z "},
		"an empty last page":         {RangeOptions{}, [][]string{{"a"}, {}}, []string{"+ -", "a- -"}, "a"},
		"limited":                    {RangeOptions{MaxRows: 3}, [][]string{{"a", "b"}, {"c", "d"}}, []string{"+ -", "b- -"}, "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			got, err := ranged(t, c.o, func(q *wire.MultiGetRequest) *wire.MultiGetResponse {
				sign := map[bool]string{true: "+", false: "-"}
				asked = append(asked, string(q.StartSortKey)+sign[q.StartInclusive]+" "+string(q.StopSortKey)+sign[q.StopInclusive])
				a := &wire.MultiGetResponse{Rows: kvs(c.pages[len(asked)-1]...)}
				if len(asked) < len(c.pages) {
					a.Error = wire.StatusIncomplete
				}
				return a
			})
			if got != c.want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A server that brings the reader no further is not asked for ever.
func TestRangeWithoutEnd(t *testing.T) {
	for name, c := range map[string]struct {
		o    RangeOptions
		rows []string
		want string
	}{
		"the same row again":     {RangeOptions{}, []string{"a"}, "before the range"},
		"the same row backwards": {RangeOptions{Reverse: true}, []string{"a"}, "behind the range"},
		"nothing, backwards":     {RangeOptions{Reverse: true}, nil, "answers none of them"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			_, err := ranged(t, c.o, func(*wire.MultiGetRequest) *wire.MultiGetResponse {
				calls++
				return &wire.MultiGetResponse{Error: wire.StatusIncomplete, Rows: kvs(c.rows...)}
			})
			wantError(t, err, spec.Failed, c.want)
			if calls > 2 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

func TestMultiGetPages(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	var asked []string
	answers := []wire.MultiGetResponse{
		{Error: wire.StatusIncomplete, Rows: kvs("c", "a")}, {Error: wire.StatusIncomplete, Rows: kvs("")}, {Rows: kvs("z")},
	}
	on(b.node, &wire.MultiGet, func(_ wire.Header, q *wire.MultiGetRequest) *wire.MultiGetResponse {
		asked = append(asked, fmt.Sprintf("%q", q.SortKeys))
		return &answers[len(asked)-1]
	})
	sorts := [][]byte{[]byte("c"), []byte("b"), []byte("a"), []byte("c"), nil, []byte("y"), []byte("z")}
	rows, _, err := d.MultiGet(t.Context(), boxTable, []byte("h"), sorts)
	if err != nil || len(rows) != 4 {
		t.Errorf("%q, %v", rows, err)
	}
	if diff := cmp.Diff([]string{`["c" "b" "a" "" "y" "z"]`, `["" "y" "z"]`, `["y" "z"]`}, asked); diff != "" {
		t.Error(diff)
	}
	for name, a := range map[string]wire.MultiGetResponse{
		"not asked for": {Rows: kvs("x")}, "twice": {Rows: kvs("c", "c")}, "none of them": {Error: wire.StatusIncomplete},
	} {
		always(b.node, &wire.MultiGet, a)
		if _, _, err := d.MultiGet(t.Context(), boxTable, []byte("h"), sorts); spec.KindOf(err) != spec.Failed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, hash := range []string{"", strings.Repeat("x", wire.MaxHashKey+1)} {
		if _, _, err := d.MultiGet(t.Context(), boxTable, []byte(hash), sorts); spec.KindOf(err) != spec.Usage {
			t.Error(err)
		}
	}
}

func TestCheckAnswers(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Second, b.meta.endpoint)
	set := func() (Checked, error) {
		c := Check{Sort: []byte("c"), Type: "int_less", Operand: []byte("1"), Return: true}
		return d.CheckAndSet(t.Context(), boxTable, []byte("h"), c, []byte("c"), []byte("v"), 0)
	}
	var asked wire.CheckAndSetRequest
	on(b.node, &wire.CheckAndSet, func(_ wire.Header, q *wire.CheckAndSetRequest) *wire.CheckResponse {
		asked = *q
		return &wire.CheckResponse{Error: wire.StatusTryAgain, CheckValueReturned: true, CheckValueExist: true, CheckValue: []byte("7"), Decree: 9}
	})
	c, err := set()
	if err != nil || c.Passed || !c.Exists || string(c.Value) != "7" || c.Ack.Decree != 9 {
		t.Errorf("%+v, %v", c, err)
	}
	if asked.CheckType != wire.CheckIntLess || !asked.SetDiffSortKey || !asked.ReturnCheckValue || string(asked.SetSortKey) != "c" {
		t.Errorf("%+v", asked)
	}
	always(b.node, &wire.CheckAndSet, wire.CheckResponse{Error: wire.StatusInvalidArgument})
	_, err = set()
	wantError(t, err, spec.Failed, "no integer")
	always(b.node, &wire.CheckAndSet, wire.CheckResponse{Error: wire.StatusIOError})
	_, err = set()
	wantError(t, err, spec.Failed, "io error")
	b.node.silent(wire.CheckAndSet.Name)
	_, err = set()
	wantError(t, err, spec.UnknownOutcome, "read it back")
	if n := b.node.calls(wire.CheckAndSet.Name); n != 4 {
		t.Errorf("%d calls: a conditional write was repeated", n)
	}
	_, err = d.CheckAndSet(t.Context(), boxTable, []byte("h"), Check{Type: "int"}, nil, nil, 0)
	wantError(t, err, spec.Usage, "no check int")
	_, err = d.CheckAndMutate(t.Context(), boxTable, []byte("h"), Check{Type: "exist"}, nil)
	wantError(t, err, spec.Usage, "nothing to change")
}

// WithCallTimeout counts for each call, not for all of them, and not beyond its context.
func TestCallTimeout(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Minute, b.meta.endpoint)
	b.put("h", "s", "v", 0)
	var millis atomic.Int32
	on(b.node, &wire.Get, func(h wire.Header, _ *[]byte) *wire.GetResponse {
		millis.Store(h.TimeoutMillis)
		return &wire.GetResponse{}
	})
	ctx := cluster.WithCallTimeout(t.Context(), 700*time.Millisecond)
	if _, _, _, err := d.Get(ctx, boxTable, []byte("h"), []byte("s")); err != nil || millis.Load() > 700 || millis.Load() < 100 {
		t.Errorf("the server was told %d ms, %v", millis.Load(), err)
	}
	if _, _, _, err := d.Get(cluster.WithCallTimeout(t.Context(), 0), boxTable, []byte("h"), []byte("s")); err != nil || millis.Load() < 50_000 {
		t.Errorf("the server was told %d ms, %v", millis.Load(), err)
	}
	b.node.silent(wire.Get.Name)
	within(t, 20*time.Second, func() {
		_, _, _, err := d.Get(cluster.WithCallTimeout(context.Background(), 100*time.Millisecond), boxTable, []byte("h"), []byte("s"))
		wantError(t, err, spec.Unavailable, "no answer in time")
	})
}

// Rows are deleted in calls of one hash key each; the count is what was acknowledged.
func TestDeleteRows(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, time.Second, b.meta.endpoint)
	var keys []RowKey
	for i := range 250 {
		keys = append(keys, RowKey{[]byte("h"), fmt.Append(nil, i)})
	}
	keys = append(keys, RowKey{[]byte("bad"), nil}, RowKey{[]byte("i"), []byte("s")}, RowKey{nil, []byte("lone")})
	b.put("", "lone", "v", 0)
	var rows, calls atomic.Int64
	on(b.node, &wire.MultiRemove, func(_ wire.Header, q *wire.MultiRemoveRequest) *wire.MultiRemoveResponse {
		calls.Add(1)
		if len(q.SortKeys) > deleteRows {
			t.Errorf("%d rows in a call", len(q.SortKeys))
		}
		rows.Add(int64(len(q.SortKeys)))
		return &wire.MultiRemoveResponse{Count: int64(len(q.SortKeys))}
	})
	if n, err := d.DeleteRows(t.Context(), boxTable, keys); n != 253 || err != nil || rows.Load() != 252 || calls.Load() != 5 {
		t.Errorf("%d rows, %d of them in %d calls, %v", n, rows.Load(), calls.Load(), err)
	}
	if _, there, _, err := d.Get(t.Context(), boxTable, nil, []byte("lone")); there || err != nil {
		t.Errorf("the row without a hash key is there: %t, %v", there, err)
	}
	on(b.node, &wire.MultiRemove, func(_ wire.Header, q *wire.MultiRemoveRequest) *wire.MultiRemoveResponse {
		if string(q.HashKey) == "bad" {
			return &wire.MultiRemoveResponse{Error: wire.StatusIOError}
		}
		return &wire.MultiRemoveResponse{Count: int64(len(q.SortKeys))}
	})
	n, err := d.DeleteRows(t.Context(), boxTable, keys)
	wantError(t, err, spec.Failed, "io error")
	if n < 250 || n > 252 {
		t.Errorf("%d rows", n)
	}
	b.node.silent(wire.MultiRemove.Name)
	n, err = d.DeleteRows(t.Context(), boxTable, keys[:1])
	wantError(t, err, spec.UnknownOutcome)
	if n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A range in which nothing can be is not asked for: servers answer it as if there were more.
func TestEmptyRange(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, time.Second, b.meta.endpoint)
	o := ScanOptions{
		Partition: -1, HashKey: Filter{"exact", []byte("h")}, Range: &SortRange{Start: []byte("b"), Stop: []byte("a"), IncludingStop: true},
	}
	for _, err := range d.Scan(t.Context(), boxTable, o) {
		t.Errorf("a row, %v", err)
	}
	if n := b.node.calls(wire.GetScanner.Name); n != 0 {
		t.Errorf("%d calls", n)
	}
	o.HashKey = Filter{"prefix", []byte("h")}
	for _, err := range d.Scan(t.Context(), boxTable, o) {
		wantError(t, err, spec.Usage, "exact hash key")
	}
}

// A server that has too much to count in one call is asked by a scan.
func TestCountByScan(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Second, b.meta.endpoint)
	always(b.node, &wire.SortKeyCount, wire.CountResponse{Error: wire.StatusIncomplete, Count: -1})
	always(b.node, &wire.GetScanner, wire.ScanResponse{ContextID: wire.ScanComplete, Count: new(int32(77))})
	if n, _, err := d.SortKeyCount(t.Context(), boxTable, []byte("h")); n != 77 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestIncrAnswers(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, time.Second, b.meta.endpoint)
	always(b.node, &wire.Incr, wire.IncrResponse{NewValue: -3, Decree: 5})
	if n, ack, err := d.Incr(t.Context(), boxTable, []byte("h"), nil, 1); n != -3 || ack.Decree != 5 || err != nil {
		t.Errorf("%d %+v %v", n, ack, err)
	}
	always(b.node, &wire.Incr, wire.IncrResponse{Error: wire.StatusInvalidArgument})
	_, _, err := d.Incr(t.Context(), boxTable, []byte("h"), nil, 1)
	wantError(t, err, spec.Failed, "no integer", "64 bits")
	b.node.silent(wire.Incr.Name)
	_, _, err = d.Incr(t.Context(), boxTable, []byte("h"), nil, 1)
	wantError(t, err, spec.UnknownOutcome)
}
