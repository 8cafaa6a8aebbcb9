//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	"shardsh/cluster/pegasus"
	"shardsh/cluster/sandbox/engine"
)

// The rows that are written, read and copied: rowsPerHash sort keys under each hash key, values of valueSize bytes.
const (
	benchRows     = 1_000_000
	benchPuts     = 200_000 // rows that are written one by one
	rowsPerHash   = 100
	valueSize     = 100
	benchTable    = "rows"
	putTable      = "puts"
	benchSplits   = 8   // partitions
	puttersAtOnce = 128 // single rows on their way
	settersAtOnce = 16  // batches of rowsPerHash on their way
)

// box is a sandbox cluster in a process of its own, with a driver to it.
type box struct {
	b       *testing.B
	cmd     *exec.Cmd
	address string
	d       *pegasus.Driver
}

// openBox serves a cluster that holds two empty tables.
func openBox(b *testing.B, name string, replicas int) *box {
	b.Helper()
	dir := b.TempDir()
	x := &box{b: b, cmd: exec.Command(program, "sandbox", "--data-dir", filepath.Join(dir, "data"), name)}
	x.cmd.Env, x.cmd.Stderr = append(os.Environ(), isolated(dir)...), os.Stderr
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(x.end)
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "; ready"; {
		if at, ok := strings.CutPrefix(lines.Text(), name+" = "); ok {
			x.address = at
		}
	}
	x.d, err = pegasus.New(x.address, cluster.Options{Timeout: func() time.Duration { return time.Minute }})
	if err != nil {
		b.Fatal(err)
	}
	x.create(benchTable, replicas)
	x.create(putTable, replicas)
	return x
}

// end stops the cluster, so that it takes nothing from what is measured next.
func (x *box) end() {
	if x.d != nil {
		x.d.Close()
	}
	x.cmd.Process.Kill()
	x.cmd.Wait()
}

func (x *box) create(table string, replicas int) {
	x.b.Helper()
	app := pegasus.NewApp{Name: table, Partitions: benchSplits, Replicas: replicas}
	if _, err := x.d.CreateApp(x.b.Context(), app); err != nil {
		x.b.Fatal(err)
	}
	for ready := 0; ready < benchSplits; {
		parts, err := x.d.Partitions(x.b.Context(), table)
		if err != nil {
			x.b.Fatal(err)
		}
		ready = 0
		for _, p := range parts.Partitions {
			if p.Primary != "" && len(p.Secondaries) == replicas-1 {
				ready++
			}
		}
	}
}

// effort is what was used between two moments: time, and seconds of processors in this process and in the boxes.
type effort struct {
	at          time.Time
	self, boxes float64
}

var ticksLine = regexp.MustCompile(`^\d+ \(.*\) .`)

func effortOf(b *testing.B, boxes ...*box) effort {
	b.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	e := effort{at: time.Now(), self: time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()}
	for _, x := range boxes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.cmd.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := bytes.Fields(ticksLine.ReplaceAll(text, nil))
		for _, field := range fields[10:12] { // utime and stime, in hundredths
			ticks, err := strconv.ParseFloat(string(field), 64)
			if err != nil {
				b.Fatal(err)
			}
			e.boxes += ticks / 100
		}
	}
	return e
}

// report prints what was done with the time of the processors: a machine that others use too says less by its clock.
func (e effort) report(b *testing.B, name string, rows int, reference float64, boxes ...*box) {
	b.Helper()
	now := effortOf(b, boxes...)
	here, there := now.self-e.self, now.boxes-e.boxes
	rate := float64(rows) / (here + there)
	fmt.Printf("BENCH %s ours=%.0f reference=%.0f ratio=%.2f unit=rows per second of a processor "+
		"(the sandbox's storage alone, without wire or replication; %.2f µs a row here, %.2f µs in the cluster; %.0f rows/s)\n",
		name, rate, reference, rate/reference, 1e6*here/float64(rows), 1e6*there/float64(rows), float64(rows)/now.at.Sub(e.at).Seconds())
}

// BenchmarkRows compares what the driver writes and reads with what the storage of the sandbox does without any wire.
func BenchmarkRows(b *testing.B) {
	for range b.N {
		puts, batches, read := engineLimits(b)
		for _, replicas := range []int{3, 1} {
			x := openBox(b, "onebox", replicas)
			name := fmt.Sprintf("pegasus_%d_replica", replicas)
			from := effortOf(b, x)
			x.put(benchPuts)
			from.report(b, name+"_put", benchPuts, puts, x)
			from = effortOf(b, x)
			x.fill()
			from.report(b, name+"_multi_set", benchRows, batches, x)
			if replicas > 1 {
				x.end()
				continue
			}
			from = effortOf(b, x)
			if n := x.scan(-1, func(pegasus.ScanRow) {}); n != benchRows {
				b.Errorf("%d rows were scanned", n)
			}
			from.report(b, name+"_scan", benchRows, read, x)
		}
	}
}

// put writes rows one by one, many at once.
func (x *box) put(rows int) {
	x.b.Helper()
	value := make([]byte, valueSize)
	var group errgroup.Group
	for w := range puttersAtOnce {
		group.Go(func() error {
			for n := w; n < rows; n += puttersAtOnce {
				if _, err := x.d.Set(x.b.Context(), putTable, fmt.Appendf(nil, "put_%08d", n), []byte("s"), value, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		x.b.Fatal(err)
	}
}

// fill writes all rows, a hash key at a time, several at once.
func (x *box) fill() { x.fillTable(benchTable, benchRows, rowsPerHash) }

// fillTable writes rows, perHash of them under each hash key.
func (x *box) fillTable(table string, rows, perHash int) {
	x.b.Helper()
	value := make([]byte, valueSize)
	var group errgroup.Group
	for w := range settersAtOnce {
		group.Go(func() error {
			list := make([]pegasus.SortValue, perHash)
			for i := range list {
				list[i] = pegasus.SortValue{Sort: fmt.Appendf(nil, "%03d", i), Value: value}
			}
			for n := w; n < rows/perHash; n += settersAtOnce {
				if _, err := x.d.MultiSet(x.b.Context(), table, fmt.Appendf(nil, "user_%06d", n), list, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		x.b.Fatal(err)
	}
}

func (x *box) scan(partition int, each func(pegasus.ScanRow)) (rows int) {
	for row, err := range x.d.Scan(x.b.Context(), benchTable, pegasus.ScanOptions{Partition: partition}) {
		if err != nil {
			x.b.Error(err)
			return rows
		}
		rows++
		each(row)
	}
	return rows
}

// engineLimits measures the storage of the sandbox: rows written one by one, in batches of rowsPerHash, and read, in a second
// of a processor.
func engineLimits(b *testing.B) (puts, batches, read float64) {
	b.Helper()
	store, err := engine.Open(b.TempDir(), engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	write := func(rows, perBatch, writers int, tag byte) float64 {
		value := make([]byte, valueSize+12) // a stored row has a header of 12 bytes
		from := effortOf(b)
		var group errgroup.Group
		for w := range writers {
			group.Go(func() error {
				key := make([]byte, 9+2+11+3)
				for n := w; n < rows/perBatch; n += writers {
					batch := store.NewBatch()
					for i := range perBatch {
						key[0] = tag
						binary.BigEndian.PutUint64(key[9:], uint64(n*perBatch+i))
						if err := batch.Set(key, value, nil); err != nil {
							return err
						}
					}
					if err := store.Apply(batch); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		return float64(rows) / (effortOf(b).self - from.self)
	}
	puts = write(benchPuts, 1, puttersAtOnce, 'p')
	batches = write(benchRows, rowsPerHash, settersAtOnce, 'r')
	from := effortOf(b)
	iter, err := store.Iterate(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	rows, size := 0, 0
	for ok := iter.First(); ok; ok = iter.Next() {
		rows++
		size += len(iter.Key()) + len(iter.Value())
	}
	read = float64(rows) / (effortOf(b).self - from.self)
	if err := iter.Close(); err != nil || rows != benchRows+benchPuts {
		b.Fatal(rows, size, err)
	}
	return puts, batches, read
}
