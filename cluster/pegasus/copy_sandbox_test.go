package pegasus

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// copied are the rows of a table with their expiries.
func copied(t *testing.T, d *Driver, table string) map[string]string {
	t.Helper()
	src, err := d.RowSource(table, RowSourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := src.Parts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, p := range parts {
		for b, err := range src.Read(t.Context(), p.Number, p.Start) {
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range b.Rows {
				if _, twice := rows[string(kv.Key)]; twice {
					t.Errorf("%q comes twice", kv.Key)
				}
				rows[string(kv.Key)] = fmt.Sprintf("%x until %d", fingerprint(kv.Value), kv.ExpireTS)
			}
		}
	}
	return rows
}

// fingerprint is the value where it is short, else what tells large ones apart.
func fingerprint(b []byte) []byte {
	if len(b) <= 40 {
		return b
	}
	return fmt.Appendf(nil, "%d bytes, %x", len(b), wire.Hash(b, nil))
}

// TestCopyOddRows copies rows of every odd kind from a table of 8 partitions to one of 16: expiries of their own, empty
// values and sort keys, empty hash keys, every byte, values as large as a write takes.
func TestCopyOddRows(t *testing.T) {
	d := onebox(t)
	for name, n := range map[string]int{"from": 8, "to": 16} {
		if _, err := d.CreateApp(t.Context(), NewApp{Name: name, Partitions: n, Replicas: 1}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	set := func(hash, sort, value string, ttl time.Duration) {
		t.Helper()
		for { // the table may still be made
			_, err := d.Set(ctx, "from", []byte(hash), []byte(sort), []byte(value), ttl)
			if err == nil {
				return
			}
			if judge(err) == transfer.Fatal || ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 256 {
		b := string([]byte{byte(i)})
		set("byte"+b, b, b, 0)
		set("bytes", b+b, "", time.Hour)
		set("", "no hash key "+b, b, time.Duration(i)*time.Minute)
	}
	for i := range 300 {
		set("ttls", fmt.Sprintf("%03d", i), "v", time.Hour+time.Duration(i/7)*time.Second)
	}
	set("empty", "", "", 0)
	set(strings.Repeat("h", 1000), strings.Repeat("s", 1000), "long keys", 0)
	const around = 200 // of a request, besides the value
	for i := range 40 {
		set("large", fmt.Sprint(i), strings.Repeat(string(rune('a'+i%26)), 1<<20-around), 0)
	}
	for i := range 50 {
		set("soon", fmt.Sprint(i), "gone in a moment", time.Second)
	}
	src, err := d.RowSource("from", RowSourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &copyWork{}
	total, err := transfer.Copy(ctx, src, d.RowSink("to", RowSinkOptions{}), transfer.CopyOptions{What: "copy"}, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", total)
	want, got := copied(t, d, "from"), copied(t, d, "to")
	for _, rows := range []map[string]string{want, got} {
		maps.DeleteFunc(rows, func(key, _ string) bool { return strings.HasPrefix(key, "\x00\x04soon") })
	}
	if len(want) != 3*256+300+2+40 {
		t.Errorf("%d rows", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Without overwriting only rows that are not there are written, and only those are counted; without times to live none
// has one; without values none has one.
func TestCopyChoices(t *testing.T) {
	d := onebox(t)
	for i := range 100 {
		set(t, d, "demo", fmt.Sprint("h", i%10), fmt.Sprint(i), fmt.Sprint("v", i), time.Hour)
	}
	if _, err := d.CreateApp(t.Context(), NewApp{Name: "to", Partitions: 4, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	run := func(scan ScanOptions, o RowSinkOptions) transfer.Totals {
		t.Helper()
		scan.HashKey = Filter{"prefix", []byte("h")}
		src, err := d.RowSource("demo", RowSourceOptions{ScanOptions: scan})
		if err != nil {
			t.Fatal(err)
		}
		total, err := transfer.Copy(t.Context(), src, d.RowSink("to", o), transfer.CopyOptions{What: "copy"}, &copyWork{})
		if err != nil {
			t.Fatal(err)
		}
		return total
	}
	run(ScanOptions{SortKey: Filter{"postfix", []byte("0")}}, RowSinkOptions{NoTTL: true})
	got := copied(t, d, "to")
	if len(got) != 10 || got["\x00\x02h050"] != fmt.Sprintf("%x until 0", "v50") {
		t.Errorf("%v", got)
	}
	if total := run(ScanOptions{NoValue: true}, RowSinkOptions{NoOverwrite: true}); total.Rows != 90 || total.Kept != 10 {
		t.Errorf("%+v", total)
	}
	got = copied(t, d, "to")
	if len(got) != 100 || got["\x00\x02h050"] != fmt.Sprintf("%x until 0", "v50") || !strings.HasPrefix(got["\x00\x02h151"], " until ") {
		t.Errorf("%v", got)
	}
	total := run(ScanOptions{Value: Filter{"exact", []byte("v7")}}, RowSinkOptions{})
	if total.Rows != 1 || total.Filtered != 99 {
		t.Errorf("%+v", total)
	}
}

func set(t *testing.T, d *Driver, table, hash, sort, value string, ttl time.Duration) {
	t.Helper()
	if _, err := d.Set(t.Context(), table, []byte(hash), []byte(sort), []byte(value), ttl); err != nil {
		t.Fatal(err)
	}
}

// filterRows writes rows of keys and values that filters may meet, and answers them by their full keys.
func filterRows(t *testing.T, d *Driver, text func(least, most int) string, n int) map[string]string {
	t.Helper()
	model := map[string]string{}
	var group errgroup.Group
	group.SetLimit(50)
	for len(model) < n {
		hash := text(1, 6)
		var rows []SortValue
		for range 20 {
			sort, value := text(0, 6), text(0, 5)
			full, _ := wire.EncodeKey([]byte(hash), []byte(sort))
			if _, twice := model[string(full)]; !twice {
				model[string(full)] = value
				rows = append(rows, SortValue{[]byte(sort), []byte(value)})
			}
		}
		if len(rows) > 0 {
			group.Go(func() error {
				_, err := d.MultiSet(t.Context(), "demo", []byte(hash), rows, 0)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return model
}

// TestSourceFilters holds every combination of filters against a table in memory.
func TestSourceFilters(t *testing.T) {
	d := onebox(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	text := func(least, most int) string {
		b := make([]byte, least+r.IntN(most-least+1))
		for i := range b {
			b[i] = "ab\x00\xff"[r.IntN(4)]
		}
		return string(b)
	}
	model := filterRows(t, d, text, 10_000)
	types := []string{"", "anywhere", "prefix", "postfix", "exact"}
	met := 0
	for i := range len(types) * len(types) * len(types) {
		o := ScanOptions{
			Batch:   1000,
			HashKey: Filter{types[i%5], []byte(text(1, 2))}, SortKey: Filter{types[i/5%5], []byte(text(0, 2))}, Value: Filter{types[i/25], []byte(text(0, 2))},
		}
		want, got := map[string]string{}, map[string]string{}
		for key, value := range model {
			hash, sort, _ := wire.DecodeKey([]byte(key))
			if o.HashKey.match(hash) && o.SortKey.match(sort) && o.Value.match([]byte(value)) {
				want[key] = value
			}
		}
		for _, kv := range sourceRows(t, d, o) {
			got[string(kv.Key)] = string(kv.Value)
		}
		if met += len(want); !maps.Equal(got, want) {
			t.Errorf("%+v: %d rows of %d", o, len(got), len(want))
		}
	}
	if met < 2*len(model) {
		t.Errorf("%d rows met the filters", met)
	}
}

func sourceRows(t *testing.T, d *Driver, o ScanOptions) (rows []CopyRow) {
	t.Helper()
	src, err := d.RowSource("demo", RowSourceOptions{ScanOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := src.Parts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		for b, err := range src.Read(t.Context(), p.Number, p.Start) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, b.Rows...)
		}
	}
	return rows
}

// TestCopyThroughSplits splits both tables while rows are copied, stops the copy in the midst of that, and resumes it after
// the source has twice as many partitions.
func TestCopyThroughSplits(t *testing.T) {
	d := onebox(t)
	for _, name := range []string{"from", "to"} {
		if _, err := d.CreateApp(t.Context(), NewApp{Name: name, Partitions: 4, Replicas: 3}); err != nil {
			t.Fatal(err)
		}
	}
	waitReady(t, d, "from", 4)
	waitReady(t, d, "to", 4)
	const rows, perHash = 12_000, 10
	for i := range rows / perHash {
		list := make([]SortValue, perHash)
		for j := range list {
			list[j] = SortValue{fmt.Append(nil, j), fmt.Append(nil, i, j)}
		}
		if _, err := d.MultiSet(t.Context(), "from", fmt.Append(nil, "h", i), list, 0); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var started atomic.Bool
	var group errgroup.Group
	w := &copyWork{rate: spec.Rate{Rows: 4000}}
	w.shown = func(f spec.Figures) {
		if f.Done > rows/6 && !started.Swap(true) {
			for _, name := range []string{"from", "to"} {
				group.Go(func() error { return d.StartSplit(t.Context(), name, 8) })
			}
		}
		if f.Done > rows/2 {
			stop()
		}
	}
	run := func(ctx context.Context) (transfer.Totals, error) {
		src, err := d.RowSource("from", RowSourceOptions{ScanOptions: ScanOptions{Batch: 20}})
		if err != nil {
			t.Fatal(err)
		}
		o := transfer.CopyOptions{What: "copy", SaveEvery: 100 * time.Millisecond, Window: 4}
		return transfer.Copy(ctx, src, d.RowSink("to", RowSinkOptions{}), o, w)
	}
	if total, err := run(ctx); spec.KindOf(err) != spec.Interrupted || total.Rows == rows {
		t.Fatal(total, err)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	waitReady(t, d, "from", 8)
	waitReady(t, d, "to", 8)
	w.rate, w.shown = spec.Rate{}, nil
	total, err := run(t.Context())
	if err != nil || total.Rows != rows || w.last.Parts != 4 {
		t.Fatal(total, w.last, err)
	}
	if diff := cmp.Diff(copied(t, d, "from"), copied(t, d, "to")); diff != "" {
		t.Error(diff)
	}
}

// waitReady waits until a table has so many partitions, all of which can be written.
func waitReady(t *testing.T, d *Driver, table string, partitions int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		a, err := d.Partitions(t.Context(), table)
		ready := 0
		if err == nil {
			for _, p := range a.Partitions {
				if p.Primary != "" && len(p.Secondaries) == 2 && p.Ballot > 0 {
					ready++
				}
			}
		}
		if err == nil && len(a.Partitions) == partitions && ready == partitions {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d partitions ready, %v", table, ready, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
