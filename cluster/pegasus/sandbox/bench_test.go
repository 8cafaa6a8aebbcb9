package sandbox

import (
	"fmt"
	"sync"
	"testing"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// benchCluster starts a cluster of one table and answers its partitions.
func benchCluster(b *testing.B) []wire.Partition {
	c, network := runOn(b, sandbox.Config{Name: "onebox", Dir: b.TempDir()})
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

// BenchmarkMultiPut writes 100 rows of 100 bytes a request to three replicas, a few requests in flight a partition.
func BenchmarkMultiPut(b *testing.B) {
	partitions := benchCluster(b)
	const rows, depth = 100, 4
	value := make([]byte, 100)
	var wrote sync.WaitGroup
	b.ResetTimer()
	for i, p := range partitions {
		wrote.Go(func() {
			c, err := dial(p.Primary.String())
			if err != nil {
				b.Error(err)
				return
			}
			sent, n := 0, b.N/len(partitions)+1
			for got := 0; got < n; got++ {
				var out []byte
				for ; sent < n && sent < got+depth; sent++ {
					q := wire.MultiPutRequest{HashKey: fmt.Appendf(nil, "p%dh%08d", i, sent)}
					for k := range rows {
						q.Rows = append(q.Rows, wire.KeyValue{Key: []byte{byte(k)}, Value: value})
					}
					out = wire.MultiPut.AppendRequest(out, wire.Header{GPID: p.PID}, int32(sent), &q)
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
	wrote.Wait()
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}
