//go:build linux

package main_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// forgetful is a Work that keeps nothing.
type forgetful struct{}

func (forgetful) Progress(int64, int64, string) {}
func (forgetful) Detail(string, ...any)         {}
func (forgetful) Restore(any) (bool, error)     { return false, nil }
func (forgetful) Save(any) error                { return nil }
func (forgetful) Rate() spec.Rate               { return spec.Rate{} }
func (forgetful) Show(spec.Figures)             {}

// diffHashes is of how many hash keys a row is changed before tables are compared once more.
const diffHashes = 100

// BenchmarkDiff compares how fast tables of two clusters are compared with a bare scan of both: equal ones, and such as
// differ in some rows, where the comparison reads them twice.
func BenchmarkDiff(b *testing.B) {
	for range b.N {
		x, y := openBox(b, "onebox", 1), openBox(b, "onebox2", 1)
		x.fill()
		y.fill()
		from := effortOf(b, x, y)
		if n := scanBoth(b, x, y); n != 2*benchRows {
			b.Errorf("%d rows were scanned", n)
		}
		took := effortOf(b, x, y).at.Sub(from.at)
		reference := 2 * benchRows / took.Seconds()
		diffBoxes(b, "pegasus_diff_equal", x, y, 0, reference)
		for i := range diffHashes {
			if _, err := y.d.Set(b.Context(), benchTable, fmt.Appendf(nil, "user_%06d", 17*i), []byte("050"), []byte("other"), 0); err != nil {
				b.Fatal(err)
			}
		}
		diffBoxes(b, "pegasus_diff_different", x, y, diffHashes, reference)
	}
}

// scanBoth scans two tables, all partitions beside each other.
func scanBoth(b *testing.B, boxes ...*box) int {
	b.Helper()
	var rows atomic.Int64
	var group errgroup.Group
	for _, x := range boxes {
		for p := range benchSplits {
			group.Go(func() error {
				rows.Add(int64(x.scan(p, func(pegasus.ScanRow) {})))
				return nil
			})
		}
	}
	_ = group.Wait()
	return int(rows.Load())
}

func diffBoxes(b *testing.B, name string, x, y *box, want int64, reference float64) {
	b.Helper()
	o := pegasus.ScanOptions{Partition: -1}
	source, target := x.d.DiffSource(benchTable, o, pegasus.DiffView{}), y.d.DiffSource(benchTable, o, pegasus.DiffView{})
	from := effortOf(b, x, y)
	totals, err := transfer.Diff(b.Context(), source, target, pegasus.CopyRows{Drift: 2 * time.Second}, transfer.DiffOptions{}, forgetful{},
		func(transfer.Found[pegasus.CopyRow]) error { return nil })
	if err != nil || totals.Different != want || totals.Differences() != want || totals.TargetRows != benchRows {
		b.Fatalf("%+v, %v", totals, err)
	}
	now := effortOf(b, x, y)
	rate := 2 * benchRows / now.at.Sub(from.at).Seconds()
	fmt.Printf("BENCH %s ours=%.0f reference=%.0f ratio=%.2f unit=rows/s "+
		"(rows of both tables by the clock; the reference is a bare scan of both; %d passes row by row; %.2f µs of a processor a row here, %.2f µs in the clusters)\n",
		name, rate, reference, rate/reference, totals.Passes, 1e6*(now.self-from.self)/(2*benchRows), 1e6*(now.boxes-from.boxes)/(2*benchRows))
}
