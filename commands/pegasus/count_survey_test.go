package pegasus

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

func TestCountDataSurveys(t *testing.T) {
	f := newFake()
	f.sources = map[string][]wire.KeyValue{"demo": {
		kv(t, "a", "1", "x", 0), kv(t, "a", "2", strings.Repeat("y", 100), 0), kv(t, "b", "", "", 0), kv(t, "", "s", "", 0),
	}}
	table, err := f.query(t, "count_data", map[string]string{"diff-hash-key": "true", "stat-size": "true", "top-count": "2"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, section := range append([]*spec.Table{table}, table.More...) {
		rows, err := cells(t, section)
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, section.Section), rows...)
	}
	want := []string{
		"partitions", "0|4|2",
		"sizes", "hash_key|0|0|1|1|1|1|3", "sort_key|0|0|1|1|1|1|3", "value|0|25|0|100|100|100|101", "row|1|26|1|102|102|102|107",
		"top_rows", "a|2|102|0", "a|1|3|0",
		"summary", "4|3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.diffs[0].options.NoValue {
		t.Error("sizes were asked of values that do not travel")
	}
	if _, err := f.query(t, "count_data", map[string]string{"diff-hash-key": "true"}); err != nil || !f.diffs[1].options.NoValue {
		t.Error("values travel to count hash keys", err)
	}
	for flag, bad := range map[string]string{"top-count": "1001", "run-seconds": "0"} {
		if _, err := f.query(t, "count_data", map[string]string{flag: bad}); spec.KindOf(err) != spec.Usage {
			t.Error(flag, err)
		}
	}
}

// endless is a table whose second partition never ends.
type endless struct{ fakeSource }

func (endless) Parts(context.Context) ([]transfer.Part, error) {
	return []transfer.Part{{Number: 0}, {Number: 1}}, nil
}

func (e endless) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[wire.KeyValue], error] {
	if part == 0 {
		return e.fakeSource.Read(ctx, part, after)
	}
	return func(yield func(transfer.Batch[wire.KeyValue], error) bool) {
		<-ctx.Done()
		yield(transfer.Batch[wire.KeyValue]{}, ctx.Err())
	}
}

type endlessTable struct {
	*fake
	rows fakeSource
}

func (e endlessTable) DiffSource(string, driver.ScanOptions, driver.DiffView) transfer.Source[wire.KeyValue] {
	return endless{e.rows}
}

func TestCountDataStopsInTime(t *testing.T) {
	f := newFake()
	call := f.call(t, "count_data", map[string]string{"run-seconds": "50ms"})
	s, err := newSurvey(call)
	if err != nil {
		t.Fatal(err)
	}
	table, err := s.table(t.Context(), endlessTable{f, fakeSource{kv(t, "a", "1", "x", 0)}}, "demo", driver.ScanOptions{Partition: -1})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := cells(t, table)
	if diff := cmp.Diff([]string{"0|1|true", "1|0|false"}, rows); diff != "" || err != nil {
		t.Error(diff, err)
	}
	sum, _ := cells(t, table.More[0])
	if notes := table.More[0].Notes(); sum[0] != "1" || notes[0] != "stopped after 50ms: 1 of 2 partitions counted to the end" {
		t.Error(sum, notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ = newSurvey(call)
	table, _ = s.table(ctx, endlessTable{f, nil}, "demo", driver.ScanOptions{Partition: -1})
	if _, err := cells(t, table); spec.KindOf(err) != spec.Interrupted {
		t.Errorf("interrupted: %v", err)
	}
}

func TestTopRowsAreTheLargest(t *testing.T) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 200 {
		top := topRows{most: 1 + rng.IntN(5)}
		var all []topRow
		for i := range rng.IntN(40) {
			r := topRow{hash: fmt.Append(nil, i), size: rng.IntN(10)}
			all = append(all, r)
			top.add(r)
		}
		slices.SortFunc(all, compareTop)
		all = all[:min(len(all), top.most)]
		if diff := cmp.Diff(fmt.Sprint(all), fmt.Sprint(top.sorted())); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestSizeHistogram(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 100, 1 << 20, 1<<31 - 1} {
		i := sizeStep(n)
		if end := stepEnd(i); end < n || end > n+n/16 || sizeStep(end) != i || i > 0 && stepEnd(i-1) >= n {
			t.Errorf("%d is in step %d, which ends at %d", n, i, end)
		}
	}
	var h, other sizeHistogram
	for n := range 1000 {
		if n%2 == 0 {
			h.add(n)
		} else {
			other.add(n)
		}
	}
	h.merge(&other)
	if p := h.percentile(0.5); h.least != 0 || h.most != 999 || h.count != 1000 || p < 499 || p > 530 || h.percentile(1) != 999 {
		t.Errorf("%d to %d, %d of them, half below %d", h.least, h.most, h.count, p)
	}
}
