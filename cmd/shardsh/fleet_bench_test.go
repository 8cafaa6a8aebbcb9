//go:build linux

package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// large is the fleet, small a tenth of it in everything.
var (
	large = shape{tables: 1000, nodes: 500, seed: 1}
	small = shape{tables: 100, nodes: 50, seed: 1}
)

// fleetRuns is how often each word is run; the median time and peak count.
const fleetRuns = 5

// fleetSlack is by how much the time for ten times as much may exceed ten times the time: caches are left behind, and
// machines are not quiet. Growth with the square would be ten times.
const fleetSlack = 1.5

// BenchmarkFleet measures the program on 10,000 and on 100,000 partitions of three replicas. Growth is linear when the
// ratio is about 1.
func BenchmarkFleet(b *testing.B) {
	little, much := fleetApart(b, small), fleetApart(b, large)
	words := []struct {
		name, line, format string
		lines              func(s shape) int // of standard output; nil when any will do
	}{
		{"ls", "ls", "jsonl", func(s shape) int { return s.tables }},
		{"showtable", "showtable", "jsonl", func(s shape) int { return copies * s.partitions() }},
		{"showtable_table", "showtable", "table", nil},
		{"doctor", "doctor", "jsonl", nil},
	}
	for range b.N {
		for _, w := range words {
			var took [2]time.Duration
			var peak [2]int64
			for i, address := range []string{little, much} {
				lines := -1
				if w.lines != nil {
					lines = w.lines([]shape{small, large}[i])
				}
				took[i], peak[i] = measure(b, address, w.format, w.line, lines)
			}
			of := fmt.Sprintf("ten times its figure for %d partitions; bar: ratio <=", small.partitions())
			fmt.Printf("BENCH fleet_%s_time ours=%.0f reference=%.0f ratio=%.2f unit=ms (%s %.1f)\n",
				w.name, ms(took[1]), 10*ms(took[0]), ms(took[1])/(10*ms(took[0])), of, fleetSlack)
			fmt.Printf("BENCH fleet_%s_peak ours=%d reference=%d ratio=%.2f unit=MiB (%s 1)\n",
				w.name, peak[1]/1024, 10*peak[0]/1024, float64(peak[1])/float64(10*peak[0]), of)
			if float64(took[1]) > fleetSlack*10*float64(took[0]) || peak[1] > 10*peak[0] {
				b.Errorf("%s grows faster than the cluster: %v, %d KiB", w.line, took, peak)
			}
		}
	}
}

// fleetApart serves a cluster from a process of its own and answers the address of its meta server.
func fleetApart(b *testing.B, s shape) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %d %d", fleetShape, s.tables, s.nodes, s.down, s.seed))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// measure answers the median time and peak memory (KiB) of runs of a line.
func measure(b *testing.B, address, format, line string, lines int) (took time.Duration, peak int64) {
	b.Helper()
	var times []time.Duration
	var peaks []int64
	for range fleetRuns {
		cmd, errs := lineOn(b, address, format, line)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		n := countLines(b, out)
		if err := cmd.Wait(); err != nil || lines >= 0 && n != lines {
			b.Fatalf("%s: %v, %d lines, want %d: %s", line, err, n, lines, errs)
		}
		times = append(times, time.Since(started))
		peaks = append(peaks, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	slices.Sort(peaks)
	return median(times), peaks[len(peaks)/2]
}

func countLines(b *testing.B, r io.Reader) (n int) {
	b.Helper()
	chunk := make([]byte, 1<<20)
	for {
		read, err := r.Read(chunk)
		n += bytes.Count(chunk[:read], []byte("\n"))
		if err == io.EOF {
			return n
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
