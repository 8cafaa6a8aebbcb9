package sandbox

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// benchModes runs a benchmark on a cluster in one process and on one whose servers have processes of their own.
func benchModes(b *testing.B, bench func(b *testing.B, partitions []wire.Partition)) {
	for name, nodes := range map[string]*sandbox.NodeProcesses{"one_process": nil, "per_node": perNode(b)} {
		b.Run(name, func(b *testing.B) { bench(b, benchCluster(b, nodes)) })
	}
}

// benchCluster starts a cluster of one table and answers its partitions.
func benchCluster(b *testing.B, nodes *sandbox.NodeProcesses) []wire.Partition {
	c, network := runOn(b, sandbox.Config{Name: "onebox", Dir: b.TempDir(), Nodes: nodes})
	b.Cleanup(func() {
		c.Close()
		network.Close()
	})
	meta, err := dial(c.metaAt)
	if err != nil {
		b.Fatal(err)
	}
	config, err := call(meta, &wire.QueryConfig, wire.GPID{}, wire.QueryConfigRequest{AppName: "TableA", Indices: []int32{}})
	if err != nil {
		b.Fatal(err)
	}
	return config.Configs
}

// pump sends b.N requests to partitions, a connection for each and some requests in flight on it.
func pump(b *testing.B, partitions []wire.Partition, depth int, request func(out []byte, p wire.Partition, seq int32) []byte) {
	var sent sync.WaitGroup
	b.ResetTimer()
	for _, p := range partitions {
		sent.Go(func() {
			c, err := dial(p.Primary.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.conn.Close()
			next, n := 0, b.N/len(partitions)+1
			for got := 0; got < n; got++ {
				var out []byte
				for ; next < n && next < got+depth; next++ {
					out = request(out, p, int32(next))
				}
				if _, err := c.conn.Write(out); err != nil {
					b.Error(err)
					return
				}
				if r, err := wire.ReadReply(c.r); err != nil || !r.OK() {
					b.Error(r, err)
					return
				}
			}
		})
	}
	sent.Wait()
}

// BenchmarkMultiPut writes 100 rows of 100 bytes a request to three replicas, a few requests in flight a partition.
func BenchmarkMultiPut(b *testing.B) {
	const rows = 100
	value := make([]byte, 100)
	benchModes(b, func(b *testing.B, partitions []wire.Partition) {
		pump(b, partitions, 4, func(out []byte, p wire.Partition, seq int32) []byte {
			q := wire.MultiPutRequest{HashKey: fmt.Appendf(nil, "p%dh%08d", p.PID.Partition, seq)}
			for k := range rows {
				q.Rows = append(q.Rows, wire.KeyValue{Key: []byte{byte(k)}, Value: value})
			}
			return wire.MultiPut.AppendRequest(out, wire.Header{GPID: p.PID}, seq, &q)
		})
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkPut writes rows of 100 bytes one by one, one and many in flight a partition.
func BenchmarkPut(b *testing.B) {
	value := make([]byte, 100)
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprintf("depth_%d", depth), func(b *testing.B) {
			benchModes(b, func(b *testing.B, partitions []wire.Partition) {
				if depth == 1 {
					partitions = partitions[:1]
				}
				pump(b, partitions, depth, func(out []byte, p wire.Partition, seq int32) []byte {
					q := wire.PutRequest{Key: key(fmt.Sprintf("p%dh%08d", p.PID.Partition, seq), "s"), Value: value}
					return wire.Put.AppendRequest(out, wire.Header{GPID: p.PID}, seq, &q)
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		})
	}
}

// BenchmarkStart starts a fresh cluster with its first content.
func BenchmarkStart(b *testing.B) {
	for name, nodes := range map[string]*sandbox.NodeProcesses{"one_process": nil, "per_node": perNode(b)} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			for range b.N {
				begin := time.Now()
				c, network := runOn(b, sandbox.Config{Name: "onebox", Dir: b.TempDir(), Nodes: nodes})
				took += time.Since(begin)
				c.Close()
				network.Close()
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/start")
		})
	}
}
