package tablet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/rpc"
)

// appendRows makes the test binary write that many log records to a file, one after another.
const appendRows = "OPENMLDB_TABLET_TEST_APPEND"

// BenchmarkPut writes rows of 100 bytes through 4 connections, 64 calls under way on each, to a tablet in a process of its
// own. What is counted is the processor time that process used, which a busy machine does not change much. Beside it
// stands a process that writes the same log records to a file: nothing that keeps acknowledged rows can do with less.
func BenchmarkPut(b *testing.B) {
	const rows, connections, depth = 200_000, 4, 64
	for b.Loop() {
		ours, wall := putMany(b, rows, connections, depth)
		reference := appendMany(b, rows)
		b.Logf("BENCH openmldb_sandbox_put ours=%.0f reference=%.0f ratio=%.2f unit=rows/cpu-s (one write per record to a file)",
			ours, reference, ours/reference)
		b.Logf("by the clock: %.0f rows/s", wall)
	}
}

func benchRequest(i int) *api.PutRequest {
	note := fmt.Sprintf("%067d", i)
	ts := int64(i + 1)
	return &api.PutRequest{
		Tid: tid, Pid: proto.Uint32(uint32(i % 4)), Time: &ts, Value: row("card", "mcc", note, int64(i), ts),
		Dimensions: []*api.Dimension{{Key: proto.String(fmt.Sprintf("card%d", i%1000)), Idx: proto.Uint32(0)}},
	}
}

// used is the processor time of a process that has ended.
func (p *process) used() float64 {
	state := p.cmd.ProcessState
	return (state.UserTime() + state.SystemTime()).Seconds()
}

func putMany(b *testing.B, rows, connections, depth int) (perCPU, perClock float64) {
	w := newWorld(b)
	p := w.process(b.TempDir())
	n := &node{world: w, conn: p.conn}
	for pid := range uint32(4) {
		n.create(testMeta(pid, api.TableMode_kTableLeader))
	}
	if size := len(benchRequest(1).Value); size != 100 {
		b.Fatalf("a row of %d bytes", size)
	}
	conns := make([]*rpc.Conn, connections)
	for c := range conns {
		var err error
		if conns[c], err = rpc.Dial(w.soon(), p.conn.Peer(), rpc.Options{}); err != nil {
			b.Fatal(err)
		}
		defer func() { conns[c].Close(); <-conns[c].Ended() }()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	var callers sync.WaitGroup
	began := time.Now()
	for c := range connections {
		for d := range depth {
			callers.Go(func() {
				for i := c*depth + d; i < rows; i += connections * depth {
					var a api.PutResponse
					if err := conns[c].Call(ctx, ServiceName, "Put", benchRequest(i), &a); err != nil || a.GetCode() != 0 {
						b.Errorf("put %d: %v %v", i, err, &a)
						return
					}
				}
			})
		}
	}
	callers.Wait()
	took := time.Since(began).Seconds()
	p.kill()
	return float64(rows) / p.used(), float64(rows) / took
}

func appendMany(b *testing.B, rows int) float64 {
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), crashDir+"="+b.TempDir(), fmt.Sprintf("%s=%d", appendRows, rows))
	if out, err := p.cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return float64(rows) / p.used()
}

// writeRecords is what that process does.
func writeRecords(dir string, rows int) error {
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	var record []byte
	q := benchRequest(1)
	e := &entry{term: 1, value: q.Value, ts: 1, hasTS: true, dims: dimensionsOf(q.Dimensions)}
	for i := range rows {
		e.index = uint64(i + 1)
		record, _ = appendRecord(record[:0], e)
		if _, err := f.Write(record); err != nil {
			return err
		}
	}
	return f.Close()
}

// BenchmarkReplication is how fast a follower that starts with nothing gets what a leader has.
func BenchmarkReplication(b *testing.B) {
	const rows = 100_000
	for b.Loop() {
		w := newWorld(b)
		leader, f := w.started(), w.started()
		leader.create(testMeta(0, api.TableMode_kTableLeader))
		f.create(testMeta(0, api.TableMode_kTableFollower))
		p := leader.tablet.part(testTID, 0)
		p.mu.Lock()
		began := time.Now()
		for i := range rows {
			q := benchRequest(i)
			if err := p.append(&entry{
				term: 1, index: uint64(i + 1), value: q.Value, ts: uint64(i), hasTS: true, dims: dimensionsOf(q.Dimensions),
			}); err != nil {
				b.Fatal(err)
			}
		}
		p.mu.Unlock()
		local := rows / time.Since(began).Seconds()
		began = time.Now()
		well[api.AddReplicaResponse](leader, "AddReplica", replica(f, nil))
		f.follows(leader)
		ours := rows / time.Since(began).Seconds()
		b.Logf("BENCH openmldb_sandbox_replication ours=%.0f reference=%.0f ratio=%.2f unit=rows/s (the same rows written to one tablet)",
			ours, local, ours/local)
	}
}
