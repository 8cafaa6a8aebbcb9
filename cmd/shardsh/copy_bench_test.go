//go:build linux

package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus"
)

// copyBar is how many rows a second a copy between two clusters shall move, all processes on two cores; bareBar what share
// of the bare loop it shall reach.
const (
	copyBar = 500_000
	bareBar = 0.85
)

// The rows that are copied: fewRows first, manyRows to see what grows with them.
const (
	fewRows  = 1_000_000
	manyRows = 10_000_000
	// copyBatch is the rows of an answer, and of a write; copy_data's own.
	copyBatch = 100
)

// rowsSetting makes the benchmark of copies smaller, for a look at it.
const rowsSetting = "SHARDSH_BENCH_ROWS"

// copied is what a copy took.
type copied struct {
	rows          int
	took          time.Duration
	self, boxes   float64 // seconds of processors: the shell's or the loop's, the clusters'
	resident      int64   // bytes, at most; of the shell
	rowsPerSecond float64
	compared      float64 // rows a second of both tables, where it was verified
}

// processors is what a row took of them everywhere, in seconds.
func (c copied) processors() float64 { return (c.self + c.boxes) / float64(c.rows) }

func (c copied) String() string {
	return fmt.Sprintf("%.2f µs of a processor a row here, %.2f µs in the clusters", 1e6*c.self/float64(c.rows), 1e6*c.boxes/float64(c.rows))
}

// comparedRate is in the outcome of a comparison.
var comparedRate = regexp.MustCompile(`equal: \d+ rows; .* (\d+) rows/s`)

// shellCopy copies a table by the program.
func shellCopy(b *testing.B, from, to *box, table string, rows int, flags string) copied {
	b.Helper()
	dir := b.TempDir()
	config := filepath.Join(dir, "config.ini")
	text := fmt.Sprintf("[pegasus.clusters]\nfrom = %s\nto = %s\n", from.address, to.address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "--config", config, "--cluster", "from", "-o", "json",
		"-e", "use "+table, "-e", "copy_data -c to -a "+table+" -t 60000 "+flags)
	cmd.Env = append(os.Environ(), isolated(dir)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	before := effortOf(b, from, to)
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	if !strings.Contains(out.String(), fmt.Sprintf("copied %d", rows)) {
		b.Errorf("%d rows were to be copied: %s", rows, &out)
	}
	after := effortOf(b, from, to)
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	compared := 0.0
	if found := comparedRate.FindSubmatch(out.Bytes()); found != nil {
		compared, _ = strconv.ParseFloat(string(found[1]), 64)
	}
	return copied{
		compared: compared,
		rows:     rows, took: after.at.Sub(before.at), boxes: after.boxes - before.boxes, resident: used.Maxrss << 10,
		self:          time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds(),
		rowsPerSecond: float64(rows) / after.at.Sub(before.at).Seconds(),
	}
}

// BenchmarkCopy measures copy_data, run as people run it, between clusters in processes of their own.
func BenchmarkCopy(b *testing.B) {
	most := manyRows
	if text := os.Getenv(rowsSetting); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		most = n
	}
	for range b.N {
		benchCopies(b, most)
		benchReplicated(b, min(most, fewRows))
	}
}

// benchCopies copies without replication, where the clusters take the least.
func benchCopies(b *testing.B, most int) {
	b.Helper()
	from, to := openBox(b, "onebox", 1), openBox(b, "onebox2", 1)
	defer from.end()
	defer to.end()
	for _, x := range []*box{from, to} {
		for _, table := range []string{"few", "single", "bare"} {
			x.create(table, 1)
		}
	}
	few := min(most, fewRows)
	from.fillTable("few", few, rowsPerHash)
	from.fillTable("single", few, 1)
	from.fillTable(benchTable, most, rowsPerHash)
	settle(b, from, to)
	small := shellCopy(b, from, to, "few", few, "")
	settle(b, from, to)
	large := shellCopy(b, from, to, benchTable, most, "")
	fmt.Printf("BENCH pegasus_copy ours=%.0f reference=%d ratio=%.2f unit=rows/s (the bar for copy_data; %d rows, replica_count 1; %s)\n",
		large.rowsPerSecond, copyBar, large.rowsPerSecond/copyBar, large.rows, large)
	fmt.Printf("BENCH pegasus_copy_memory ours=%d reference=%d ratio=%.2f unit=MiB resident (%d rows against %d)\n",
		large.resident>>20, small.resident>>20, float64(large.resident)/float64(small.resident), large.rows, small.rows)
	runtime.GC()
	settle(b, from, to)
	bare := bareCopy(b, from, to, most)
	fmt.Printf("BENCH pegasus_copy_bare ours=%.0f reference=%.0f ratio=%.2f unit=rows/s "+
		"(a bare loop with the same batches and connections, bar %.2f; the loop %s; by processors the ratio is %.2f)\n",
		large.rowsPerSecond, bare.rowsPerSecond, large.rowsPerSecond/bare.rowsPerSecond, bareBar, bare, bare.processors()/large.processors())
	settle(b, from, to)
	single := shellCopy(b, from, to, "single", few, "")
	fmt.Printf("BENCH pegasus_copy_single ours=%.0f reference=%.0f ratio=%.2f unit=rows/s (one row for each hash key, against 100; %s)\n",
		single.rowsPerSecond, small.rowsPerSecond, single.rowsPerSecond/small.rowsPerSecond, single)
	verified := shellCopy(b, from, to, "few", few, "--verify").compared / 2
	fmt.Printf("BENCH pegasus_copy_verify ours=%.0f reference=%.0f ratio=%.2f unit=rows/s (verification alone, against the copy)\n",
		verified, small.rowsPerSecond, verified/small.rowsPerSecond)
}

// settle waits until clusters have done what they do behind writes, so that it does not fall on what is measured next.
func settle(b *testing.B, boxes ...*box) {
	b.Helper()
	const look = 200 * time.Millisecond
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		before := effortOf(b, boxes...)
		time.Sleep(look)
		if effortOf(b, boxes...).boxes-before.boxes < 0.1*look.Seconds() {
			return
		}
	}
}

// benchReplicated copies to three replicas of each row.
func benchReplicated(b *testing.B, rows int) {
	b.Helper()
	from, to := openBox(b, "onebox", 3), openBox(b, "onebox2", 3)
	defer from.end()
	defer to.end()
	from.fillTable(benchTable, rows, rowsPerHash)
	c := shellCopy(b, from, to, benchTable, rows, "")
	fmt.Printf("BENCH pegasus_copy_3_replica ours=%.0f reference=%d ratio=%.2f unit=rows/s (replica_count 3; %d rows; %s)\n",
		c.rowsPerSecond, copyBar, c.rowsPerSecond/copyBar, rows, c)
}

// hashRows are the rows of one hash key.
type hashRows struct {
	hash []byte
	rows []pegasus.SortValue
}

// bareCopy copies every row of a table to another one by nothing but the driver: each partition is scanned by itself, and a
// batch is what a hash key has. It keeps no journal, and no times to live.
func bareCopy(b *testing.B, from, to *box, rows int) copied {
	b.Helper()
	before := effortOf(b, from, to)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	batches := make(chan hashRows, settersAtOnce)
	var writers, readers errgroup.Group
	for range settersAtOnce {
		writers.Go(func() error {
			for batch := range batches {
				if _, err := to.d.MultiSet(ctx, "bare", batch.hash, batch.rows, 0); err != nil {
					cancel()
					return err
				}
			}
			return nil
		})
	}
	var mu sync.Mutex
	total := 0
	for p := range benchSplits {
		readers.Go(func() error {
			n, err := barePartition(ctx, from, p, batches)
			mu.Lock()
			defer mu.Unlock()
			total += n
			return err
		})
	}
	err := readers.Wait()
	close(batches)
	if err := writers.Wait(); err != nil {
		b.Fatal(err)
	}
	if err != nil || total != rows {
		b.Fatalf("the bare loop copied %d rows of %d: %v", total, rows, err)
	}
	after := effortOf(b, from, to)
	return copied{
		rows: rows, took: after.at.Sub(before.at), self: after.self - before.self, boxes: after.boxes - before.boxes,
		rowsPerSecond: float64(rows) / after.at.Sub(before.at).Seconds(),
	}
}

func barePartition(ctx context.Context, from *box, p int, batches chan<- hashRows) (rows int, err error) {
	var batch hashRows
	flush := func() {
		if len(batch.rows) > 0 {
			select {
			case batches <- batch:
			case <-ctx.Done():
			}
		}
	}
	for row, err := range from.d.Scan(ctx, benchTable, pegasus.ScanOptions{Partition: p, Batch: copyBatch}) {
		if err != nil {
			return rows, err
		}
		rows++
		if !bytes.Equal(row.Hash, batch.hash) || len(batch.rows) == copyBatch {
			flush()
			batch = hashRows{hash: row.Hash, rows: make([]pegasus.SortValue, 0, copyBatch)}
		}
		batch.rows = append(batch.rows, pegasus.SortValue{Sort: row.Sort, Value: row.Value})
	}
	flush()
	return rows, nil
}
