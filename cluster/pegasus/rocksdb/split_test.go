package rocksdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// sliceRows are rows in memory.
type sliceRows struct {
	rows []row
	at   int
	fail error // after the last row
}

func (s *sliceRows) Next() bool    { s.at++; return s.at <= len(s.rows) }
func (s *sliceRows) Key() []byte   { return []byte(s.rows[s.at-1].key) }
func (s *sliceRows) Value() []byte { return []byte(s.rows[s.at-1].value) }
func (s *sliceRows) Close()        {}
func (s *sliceRows) Err() error {
	if s.at > len(s.rows) {
		return s.fail
	}
	return nil
}

func partitionOf(t testing.TB, key string, n int) int {
	t.Helper()
	hash, sort, err := wire.DecodeKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return wire.PartitionOf(wire.Hash(hash, sort), n)
}

// target is a table whose partitions are in memory, and the journal of the split that writes it.
type target struct {
	mu    sync.Mutex
	parts map[int]*memory
	done  map[string]PieceResult
	order []string
}

func newTarget() *target { return &target{parts: map[int]*memory{}, done: map[string]PieceResult{}} }

func (g *target) sink(i int) Sink {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.parts[i] == nil {
		g.parts[i] = newMemory()
	}
	return g.parts[i]
}

func (g *target) record(r PieceResult) error {
	if _, ok := g.done[r.String()]; ok {
		return fmt.Errorf("%v was made twice", r.Piece)
	}
	g.done[r.String()] = r
	g.order = append(g.order, r.String())
	return nil
}

// splitOf splits rows of one number of partitions into another; each source also holds a few rows that are not its own.
func splitOf(t testing.TB, rows []row, sources, targets int, g *target) *Split {
	parts := make([][]row, sources)
	for i, r := range rows {
		home := partitionOf(t, r.key, sources)
		parts[home] = append(parts[home], r)
		if stray := i % 97; sources > 1 && stray < 3 && (home+1+stray)%sources != home {
			other := (home + 1 + stray) % sources
			parts[other] = append(parts[other], row{'P', r.key, "stray"})
		}
	}
	o := DefaultWriterOptions()
	o.BlockSize = 1024
	return &Split{
		Sources: sources, Targets: targets, Output: g.sink, Temp: t.TempDir(), Table: o, TargetSize: 8 << 10, Parallel: 2,
		FillEmpty: true, Record: g.record, Done: func(p Piece) bool { _, ok := g.done[p.String()]; return ok },
		Open: func(_ context.Context, i int) (Rows, error) { return &sliceRows{rows: parts[i]}, nil },
	}
}

// verify checks that each partition has its rows and no other, in tables that do not overlap, as they were recorded.
func (g *target) verify(t testing.TB, rows []row, targets int) {
	t.Helper()
	want := make([][]row, targets)
	for _, r := range rows {
		i := partitionOf(t, r.key, targets)
		want[i] = append(want[i], r)
	}
	for i := range targets {
		var got []row
		result := g.done[Piece{Partition: i}.String()]
		if len(result.Files) != len(g.parts[i].files) || int(result.Rows) != len(want[i]) {
			t.Fatalf("partition %d: %d rows in %d files, and %d files there", i, result.Rows, len(result.Files), len(g.parts[i].files))
		}
		for _, f := range result.Files {
			b := g.parts[i].files[f.Name]
			if int64(len(b)) != f.Size || len(f.MD5) != 32 {
				t.Fatalf("partition %d: %+v has %d bytes", i, f, len(b))
			}
			got = append(got, entriesOf(t, b)...)
		}
		if len(want[i]) == 0 {
			if len(got) != 1 || got[0].kind != 'D' || partitionOf(t, got[0].key, targets) != i {
				t.Fatalf("partition %d has no rows, and in its table %v", i, got)
			}
			continue
		}
		sameRows(t, got, want[i])
	}
}

func (g *target) same(t testing.TB, o *target) {
	t.Helper()
	for i, p := range g.parts {
		if !maps.EqualFunc(p.files, o.parts[i].files, bytes.Equal) {
			t.Fatalf("partition %d: other bytes", i)
		}
	}
	if len(g.parts) != len(o.parts) {
		t.Fatalf("%d partitions and %d", len(g.parts), len(o.parts))
	}
}

func TestSplit(t *testing.T) {
	rows := pegasusRows(4000, 40)
	for _, c := range []struct{ sources, targets int }{{1, 1}, {4, 8}, {4, 16}, {3, 64}, {8, 4}, {8, 1}, {4, 6}, {6, 4}, {5, 7}, {2, 512}} {
		var first *target
		for _, memory := range []int64{0, 1} {
			for _, parallel := range []int{1, 3} {
				g := newTarget()
				s := splitOf(t, rows, c.sources, c.targets, g)
				s.Memory, s.Parallel = memory, parallel
				if memory == 1 && c.targets/c.sources > 100 {
					s.Memory = 64 << 20 // one pass each would take for ever
				}
				totals, err := s.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if totals.Written != int64(len(rows)) || c.sources > 1 && totals.Strays == 0 {
					t.Errorf("%v: %+v", c, totals)
				}
				g.verify(t, rows, c.targets)
				if left, err := os.ReadDir(s.Temp); len(left) > 0 || err != nil {
					t.Errorf("%v: %d temporary files are left: %v", c, len(left), err)
				}
				if first == nil {
					first = g
				}
				g.same(t, first)
			}
		}
	}
}

var errCut = errors.New("the power is off")

// cutSink fails once so many files were created; a file may also be left behind half.
type cutSink struct {
	Sink
	left *int
	mu   *sync.Mutex
}

func (c cutSink) Create(ctx context.Context, name string) (Output, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *c.left--; *c.left < 0 {
		return nil, errCut
	}
	return c.Sink.Create(ctx, name)
}

// breakOff ends one of the sources after half of its rows.
func breakOff(open func(context.Context, int) (Rows, error), source int) func(context.Context, int) (Rows, error) {
	return func(ctx context.Context, i int) (Rows, error) {
		r, err := open(ctx, i)
		if i == source && err == nil {
			rows := r.(*sliceRows).rows
			return &sliceRows{rows: rows[:len(rows)/2], fail: errCut}, nil
		}
		return r, err
	}
}

// A split that is cut short again and again, and goes on from its journal, gives the bytes of one that was not; pieces
// that were recorded are not made again.
func TestSplitResumes(t *testing.T) {
	rows := pegasusRows(3000, 40)
	for _, c := range []struct{ sources, targets int }{{4, 16}, {8, 2}, {6, 4}} {
		whole, g := newTarget(), newTarget()
		if _, err := splitOf(t, rows, c.sources, c.targets, whole).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		cuts, temp := 0, t.TempDir()
		if err := os.WriteFile(temp+"/run-00000-00000", []byte("half of a run"), 0o600); err != nil {
			t.Fatal(err)
		}
		for budget := 3; ; budget += 3 {
			s := splitOf(t, rows, c.sources, c.targets, g)
			left, mu := budget, &sync.Mutex{}
			s.Temp, s.Memory, s.Parallel = temp, int64(budget)<<20, 1+budget%2
			s.Output = func(i int) Sink { return cutSink{g.sink(i), &left, mu} }
			if cuts < c.sources-1 { // the first times a source breaks off in the middle, so that runs are cut too
				s.Open = breakOff(s.Open, cuts+1)
			}
			_, err := s.Run(t.Context())
			if err == nil {
				break
			}
			if cuts++; !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
		if cuts < 2 {
			t.Fatalf("it was cut short %d times only", cuts)
		}
		if c.sources == 6 && !slices.ContainsFunc(g.order, func(s string) bool { return strings.HasPrefix(s, "run ") }) {
			t.Fatalf("no run was recorded: %v", g.order)
		}
		g.verify(t, rows, c.targets)
		g.same(t, whole)
	}
}

func TestSplitErrors(t *testing.T) {
	rows := pegasusRows(1000, 40)
	ctx, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		change func(s *Split)
		want   error
	}{
		"a source that breaks off": {func(s *Split) {
			s.Open = func(context.Context, int) (Rows, error) { return &sliceRows{fail: errCut}, nil }
		}, errCut},
		"a source that does not open": {func(s *Split) {
			s.Open = func(context.Context, int) (Rows, error) { return nil, errCut }
		}, errCut},
		"keys that fall": {func(s *Split) {
			s.Sources, s.Targets = 1, 1
			s.Open = func(context.Context, int) (Rows, error) { return &sliceRows{rows: []row{rows[9], rows[3]}}, nil }
		}, ErrOrder},
		"no key of Pegasus": {func(s *Split) {
			s.Open = func(context.Context, int) (Rows, error) { return &sliceRows{rows: []row{{'P', "x", ""}}}, nil }
		}, ErrCorrupt},
		"a journal that is full":       {func(s *Split) { s.Record = func(PieceResult) error { return errCut } }, errCut},
		"a form that is not supported": {func(s *Split) { s.Table.FormatVersion = 9 }, ErrUnsupported},
	} {
		for _, n := range [][2]int{{2, 4}, {4, 2}, {2, 3}} {
			s := splitOf(t, rows, n[0], n[1], newTarget())
			c.change(s)
			if _, err := s.Run(ctx); !errors.Is(err, c.want) {
				t.Errorf("%s, %v: %v", name, n, err)
			}
		}
	}
	cancel()
	if _, err := splitOf(t, rows, 2, 4, newTarget()).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What happened to a temporary file between two runs of a split is found.
func TestRunFiles(t *testing.T) {
	rows := pegasusRows(200, 10)
	name := t.TempDir() + "/run"
	w := &runWriter{name: name, size: 64}
	for _, r := range rows {
		if err := w.put([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	r, err := openRun(name, 64)
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, drain(t, r), rows)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 11 {
		for _, b := range [][]byte{whole[:i], slices.Concat(whole[:i], []byte{whole[i] ^ 4}, whole[i+1:])} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := openRun(name, 64)
			if err == nil {
				for r.Next() {
				}
				err = r.Err()
				r.Close()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d of %d bytes, the last one changed: %v", len(b), len(whole), err)
			}
		}
	}
}

func TestValues(t *testing.T) {
	now := time.Unix(wire.Epoch+100, 0)
	for _, c := range []struct {
		version int
		stored  string
		value   Value
		expired bool
	}{
		{0, "\x00\x00\x00\x00data", Value{0, 0, []byte("data")}, false},
		{0, "\x00\x00\x00\x64", Value{100, 0, []byte{}}, true},
		{1, "\x00\x00\x00\x65\x00\x00\x00\x00\x00\x00\x01\x02data", Value{101, 258, []byte("data")}, false},
		{1, "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x01\x02", Value{1<<32 - 1, 258, []byte{}}, false},
	} {
		v, err := DecodeValue(c.version, []byte(c.stored))
		if err != nil || v.ExpireTS != c.value.ExpireTS || v.TimeTag != c.value.TimeTag || !bytes.Equal(v.Data, c.value.Data) {
			t.Errorf("%q: %+v, %v", c.stored, v, err)
		}
		if b, err := v.AppendTo(nil, c.version); string(b) != c.stored || err != nil {
			t.Errorf("%+v is stored as %q, %v", v, b, err)
		}
		if v.Expired(now) != c.expired || v.Expired(time.Time{}) {
			t.Errorf("%+v: expired %v", v, v.Expired(now))
		}
	}
	for version, b := range map[int]string{0: "abc", 1: "elevenbytes", 2: "enough bytes for all of them", -1: "enough"} {
		if _, err := DecodeValue(version, []byte(b)); err == nil {
			t.Errorf("version %d of %q", version, b)
		}
	}
	live := &LiveRows{From: 0, To: 1, Now: now, Rows: &sliceRows{rows: []row{
		{'P', "a", "\x00\x00\x00\x00one"}, {'P', "b", "\x00\x00\x00\x05two"}, {'P', "c", "\x00\x00\x01\x00three"},
	}}}
	sameRows(t, drain(t, live), []row{
		{'P', "a", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00one"}, {'P', "c", "\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00three"},
	})
	if live.Expired != 1 {
		t.Errorf("%d were expired", live.Expired)
	}
	broken := &LiveRows{From: 1, To: 1, Rows: &sliceRows{rows: []row{{'P', "a", "short"}}}}
	if broken.Next() || !errors.Is(broken.Err(), ErrCorrupt) {
		t.Errorf("a value without its header: %v", broken.Err())
	}
}
