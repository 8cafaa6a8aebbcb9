//go:build integration && linux

package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	"shardsh/cluster/pegasus"
)

// scanned is how many rows are scanned, peakMiB what the shell may take for it.
const (
	scanned = 1_000_000
	peakMiB = 150
)

// TestScanMemory scans a million rows of 100 bytes as table and as json: all of them come, and the shell stays small.
func TestScanMemory(t *testing.T) {
	s := serve(t, t.TempDir())
	fill(t, s)
	for _, format := range []string{"table", "json"} {
		cmd := exec.Command(program, "--config", s.config, "-o", format, "-e", "use demo", "-e", "scan")
		cmd.Env = append(os.Environ(), isolated(s.dir)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var peak int64
		rows := countRows(t, out, func() { peak = max(peak, peakOf(t, cmd.Process.Pid)) })
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(started)
		t.Logf("%s: %d rows in %s, peak %d MiB", format, rows, took.Round(time.Millisecond), peak)
		if rows != scanned {
			t.Errorf("%s: %d rows, want %d", format, rows, scanned)
		}
		if peak > peakMiB && !raceEnabled {
			t.Errorf("%s: peak memory %d MiB, at most %d", format, peak, peakMiB)
		}
	}
}

// peakOf is the most MiB that a running process had so far. What getrusage tells of a child that has ended is no less than
// what this process had when it started it.
func peakOf(t *testing.T, pid int) (mib int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &mib); err != nil {
		t.Fatalf("no peak in %s: %v", status, err)
	}
	return mib >> 10
}

// countRows has look called at the first row and, while rows come, at every ten-thousandth.
func countRows(t *testing.T, r io.Reader, look func()) int {
	t.Helper()
	const every = 10_000
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	rows := 0
	for lines.Scan() {
		if !strings.Contains(lines.Text(), "user_") {
			continue
		}
		if rows%every == 0 {
			look()
		}
		rows++
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// fill writes the rows, 100 under each hash key.
func fill(t *testing.T, s *served) {
	t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`onebox = (\d\S+)`).FindSubmatch(text)
	d, err := pegasus.New(string(address[1]), cluster.Options{Timeout: func() time.Duration { return 20 * time.Second }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	value := []byte(strings.Repeat("v", 100))
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(16)
	for h := range scanned / 100 {
		group.Go(func() error {
			rows := make([]pegasus.SortValue, 100)
			for i := range rows {
				rows[i] = pegasus.SortValue{Sort: fmt.Appendf(nil, "%03d", i), Value: value}
			}
			_, err := d.MultiSet(ctx, "demo", fmt.Appendf(nil, "user_%06d", h), rows, 0)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}
