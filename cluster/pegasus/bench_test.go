package pegasus

import (
	"context"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
)

// BenchmarkScan reads rows of about 120 bytes from a server in the same process that sends prepared batches.
func BenchmarkScan(b *testing.B) {
	box := newBox(b, 1)
	full := wire.ScanResponse{ContextID: 1, Server: box.node.endpoint}
	for range maxBatch {
		full.Rows = append(full.Rows, wire.KeyValue{Key: []byte("\x00\x08hash_keysort_key"), Value: make([]byte, 100), ExpireTS: 1 << 30})
	}
	always(box.node, &wire.GetScanner, full)
	always(box.node, &wire.Scan, full)
	d, err := New(box.meta.endpoint, cluster.Options{Timeout: func() time.Duration { return time.Minute }})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.ReportAllocs()
	b.ResetTimer()
	rows := 0
	for _, err := range d.Scan(context.Background(), boxTable, ScanOptions{Partition: -1}) {
		if err != nil {
			b.Fatal(err)
		}
		if rows++; rows == b.N {
			break
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkGet makes calls one after the other.
func BenchmarkGet(b *testing.B) {
	box := newBox(b, 1)
	box.put("h", "s", "v", 0)
	d, err := New(box.meta.endpoint, cluster.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, found, _, err := d.Get(context.Background(), boxTable, []byte("h"), []byte("s")); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}
