package rocksdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// What the first program of this kind did on 2 cores, one goroutine, rows of 100 bytes: rows/s.
const (
	readReference  = 700_000
	writeReference = 1_100_000
)

// splitInChild makes the test binary split the backup in that folder, and say what it needed at its peak.
const splitInChild = "ROCKSDB_TEST_SPLIT"

func TestMain(m *testing.M) {
	if args := os.Getenv(splitInChild); args != "" {
		if err := child(strings.Fields(args)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// benchRows makes rows with values of one size, half of which compresses. It is quick, and used for millions.
type benchRows struct {
	noise []byte
	value []byte
	key   []byte
}

func newBenchRows(size int) *benchRows {
	b := &benchRows{noise: make([]byte, 1<<16), value: make([]byte, size)}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b.noise {
		b.noise[i] = byte(r.Uint32())
	}
	return b
}

func (b *benchRows) row(i int) (key, value []byte) {
	b.key = append(b.key[:0], 0, 16)
	b.key = fmt.Appendf(b.key, "user%012dsort", i)
	half := (len(b.value) - 12) / 2
	copy(b.value[12:12+half], b.noise[i*(half+1)%(1<<15):]) // not a part of the last row's
	return b.key, b.value
}

// writeBackup writes n rows as one directory for each of some partitions.
func writeBackup(tb testing.TB, dir string, partitions, n, size int) {
	tb.Helper()
	writers := make([]*DirectoryWriter, partitions)
	for i := range writers {
		w, err := NewDirectoryWriter(tb.Context(), backupPart(dir, i), DirectoryOptions{Table: DefaultWriterOptions(), Meta: map[string]string{MetaDataVersion: "1"}})
		if err != nil {
			tb.Fatal(err)
		}
		writers[i] = w
	}
	rows := newBenchRows(size)
	for i := range n {
		key, value := rows.row(i)
		if err := writers[home(key, partitions)].Put(key, value); err != nil {
			tb.Fatal(err)
		}
	}
	for _, w := range writers {
		if _, err := w.Finish(); err != nil {
			tb.Fatal(err)
		}
	}
}

func backupPart(dir string, i int) folder { return folder(filepath.Join(dir, strconv.Itoa(i))) }

func home(key []byte, partitions int) int {
	hash, sort, _ := wire.DecodeKey(key)
	return wire.PartitionOf(wire.Hash(hash, sort), partitions)
}

// splitBackup splits what writeBackup wrote; the rows written.
func splitBackup(ctx context.Context, dir, out string, sources, targets int) (int64, error) {
	s := &Split{
		Sources: sources, Targets: targets, Table: DefaultWriterOptions(), Temp: filepath.Join(out, "temp"),
		Output: func(i int) Sink { return folder(filepath.Join(out, strconv.Itoa(i))) },
		Open: func(ctx context.Context, i int) (Rows, error) {
			c, err := OpenCheckpoint(ctx, backupPart(dir, i))
			if err != nil {
				return nil, err
			}
			it, err := c.NewIterator(ctx, IterOptions{})
			if err != nil {
				return nil, err
			}
			return &LiveRows{Rows: it, From: 1, To: 1, Now: time.Now()}, nil
		},
	}
	totals, err := s.Run(ctx)
	return totals.Written, err
}

// plain reads all rows of a backup, sorts them by target and key, and writes one table after the other: what a few lines
// would do that have all the memory they want.
func plain(tb testing.TB, dir, out string, sources, targets int) int64 {
	tb.Helper()
	type plainRow struct {
		target     int
		key, value string
	}
	var rows []plainRow
	for i := range sources {
		c, err := OpenCheckpoint(tb.Context(), backupPart(dir, i))
		if err != nil {
			tb.Fatal(err)
		}
		it, err := c.NewIterator(tb.Context(), IterOptions{})
		if err != nil {
			tb.Fatal(err)
		}
		for it.Next() {
			rows = append(rows, plainRow{home(it.Key(), targets), string(it.Key()), string(it.Value())})
		}
		it.Close()
	}
	slices.SortFunc(rows, func(a, b plainRow) int {
		if a.target != b.target {
			return a.target - b.target
		}
		return strings.Compare(a.key, b.key)
	})
	for i := 0; i < len(rows); {
		f, err := os.Create(filepath.Join(out, strconv.Itoa(rows[i].target)))
		if err != nil {
			tb.Fatal(err)
		}
		o := DefaultWriterOptions()
		o.External = true
		w, err := NewTableWriter(f, o)
		if err != nil {
			tb.Fatal(err)
		}
		for target := rows[i].target; i < len(rows) && rows[i].target == target; i++ {
			if err := w.Put([]byte(rows[i].key), []byte(rows[i].value)); err != nil {
				tb.Fatal(err)
			}
		}
		if _, err := w.Finish(); err != nil {
			tb.Fatal(err)
		}
		f.Close()
	}
	return int64(len(rows))
}

// BenchmarkSplit compares with plain, in turns, by the clock: to twice as many partitions, and to a number that needs
// temporary files.
func BenchmarkSplit(b *testing.B) {
	const n, sources, runs = 1_000_000, 4, 3
	dir := b.TempDir()
	writeBackup(b, dir, sources, n, 112)
	for b.Loop() {
		for name, targets := range map[string]int{"rocksdb_split": 8, "rocksdb_split_runs": 6} {
			var ours, reference []float64
			for range runs {
				ours = append(ours, rate(b, n, func(out string) int64 {
					written, err := splitBackup(b.Context(), dir, out, sources, targets)
					if err != nil {
						b.Fatal(err)
					}
					return written
				}))
				reference = append(reference, rate(b, n, func(out string) int64 { return plain(b, dir, out, sources, targets) }))
			}
			x, y := median(ours), median(reference)
			b.Logf("BENCH %s ours=%.0f reference=%.0f ratio=%.2f unit=rows/s (read, sort and write of the same rows; bar 0.7)", name, x, y, x/y)
		}
	}
}

func rate(b *testing.B, n int64, f func(out string) int64) float64 {
	b.Helper()
	out := b.TempDir()
	runtime.GC()
	start := time.Now()
	if got := f(out); got != n {
		b.Fatalf("%d rows instead of %d", got, n)
	}
	took := time.Since(start).Seconds()
	if err := os.RemoveAll(out); err != nil {
		b.Fatal(err)
	}
	return float64(n) / took
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func BenchmarkTables(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		rows, out := newBenchRows(100), filepath.Join(b.TempDir(), "t.sst")
		var read, write []float64
		for range 3 {
			start := time.Now()
			writeTable(b, out, n, rows)
			write = append(write, n/time.Since(start).Seconds())
			f, err := folder(filepath.Dir(out)).Open(b.Context(), "t.sst")
			if err != nil {
				b.Fatal(err)
			}
			start = time.Now()
			table, err := OpenTable(f, ReadOptions{})
			if err != nil {
				b.Fatal(err)
			}
			it := table.NewIterator()
			count := 0
			for it.Next() {
				count++
			}
			if it.Err() != nil || count != n {
				b.Fatal(count, it.Err())
			}
			read = append(read, n/time.Since(start).Seconds())
			it.Close()
			f.Close()
		}
		for name, c := range map[string][2]float64{"rocksdb_read": {median(read), readReference}, "rocksdb_write": {median(write), writeReference}} {
			b.Logf("BENCH %s ours=%.0f reference=%.0f ratio=%.2f unit=rows/s (LZ4, rows of 100 bytes; reference: a first program)", name, c[0], c[1], c[0]/c[1])
		}
	}
}

func writeTable(b *testing.B, name string, n int, rows *benchRows) {
	b.Helper()
	sink := folder(filepath.Dir(name))
	f, err := createFile(b.Context(), sink, filepath.Base(name))
	if err != nil {
		b.Fatal(err)
	}
	o := DefaultWriterOptions()
	o.External, o.BloomBits = true, 10
	w, err := NewTableWriter(f, o)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		key, value := rows.row(i)
		if err := w.Put(key, value); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	if _, err := f.commit(); err != nil {
		b.Fatal(err)
	}
}

// child is the other process of BenchmarkSplitMemory and TestSplitMemory: folder, output, sources, targets.
func child(args []string) error {
	sources, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	targets, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	n, err := splitBackup(context.Background(), args[0], args[1], sources, targets)
	if err != nil {
		return err
	}
	_, err = fmt.Println(n, peak())
	return err
}

// peak is the most memory that this process held, in MiB; 0 where the system does not tell. What the parent of a process
// held counts in its rusage, so that is not asked.
func peak() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib >> 10
}

// peakOfSplit splits a backup of n rows in a process of its own and returns the most memory that held, in MiB.
func peakOfSplit(tb testing.TB, dir string, n, sources, targets int) int64 {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	out := tb.TempDir()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d", splitInChild, dir, out, sources, targets))
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	var rows int
	var held int64
	if _, scan := fmt.Sscan(string(answer), &rows, &held); err != nil || scan != nil || rows != n {
		tb.Fatalf("%d rows were split into %q: %v", n, answer, err)
	}
	if err := os.RemoveAll(out); err != nil {
		tb.Fatal(err)
	}
	return held
}

// BenchmarkSplitMemory splits 2 GiB.
func BenchmarkSplitMemory(b *testing.B) {
	const size, sources, bar = 1012, 4, 512
	const n = 2 << 30 / (size + 22)
	dir := b.TempDir()
	writeBackup(b, dir, sources, n, size)
	for b.Loop() {
		for name, targets := range map[string]int{"rocksdb_split_peak": 16, "rocksdb_split_runs_peak": 6} {
			got := peakOfSplit(b, dir, n, sources, targets)
			b.Logf("BENCH %s ours=%d reference=%d ratio=%.2f unit=MiB (2 GiB of rows; bar: at most the reference)", name, got, bar, float64(got)/bar)
		}
	}
}

// What a split holds is bounded, whatever it splits: it is less than the rows it splits.
func TestSplitMemory(t *testing.T) {
	const sources, size, n = 4, 1012, 100_000
	dir := t.TempDir()
	writeBackup(t, dir, sources, n, size)
	for _, targets := range []int{8, 6} {
		if got := peakOfSplit(t, dir, n, sources, targets); got > 90 {
			t.Errorf("a split of 100 MiB to %d partitions held %d MiB", targets, got)
		} else if got == 0 {
			t.Skip("this system does not tell what a process held")
		}
	}
}
