package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"shardsh/commands/spec"
)

// clocked keeps what was written, and when the first and the last byte came.
type clocked struct {
	mu          sync.Mutex
	b           bytes.Buffer
	first, last time.Time
}

func (c *clocked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = time.Now()
	}
	c.last = time.Now()
	return c.b.Write(p)
}

func (c *clocked) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// TestFirstRowsAreOutSoon runs on a clock of its own: a row every 30 ms, then a long silence.
func TestFirstRowsAreOutSoon(t *testing.T) {
	for _, f := range Formats() {
		for _, terminal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s terminal=%v", f.Name, terminal), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { firstRowsAreOutSoon(t, f.Name, terminal) })
			})
		}
	}
}

func firstRowsAreOutSoon(t *testing.T, format string, terminal bool) {
	const rows = 20
	out, notes := &clocked{}, &clocked{}
	var began time.Time
	producer := func(yield func(spec.Row, error) bool) {
		time.Sleep(3 * time.Second) // before the first row nothing is owed
		began = time.Now()
		for i := range rows {
			if !yield(spec.Row{fmt.Sprintf("row%02d", i), i}, nil) {
				return
			}
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if got := out.text(); !strings.Contains(got, "row00") || !strings.Contains(got, "row19") {
			t.Errorf("rows are not out while the producer is silent:\n%s", got)
		}
		time.Sleep(time.Hour)
	}
	table := &spec.Table{Columns: []spec.Column{{Name: "name"}, {Name: "n", Kind: spec.Int}}, Rows: producer}
	stats, err := Write(t.Context(), out, notes, table, Options{Format: format, Terminal: terminal})
	if err != nil || stats.Rows != rows {
		t.Fatalf("%d rows, %v", stats.Rows, err)
	}
	if late := out.first.Sub(began); late > 200*time.Millisecond {
		t.Errorf("the first row came after %v", late)
	}
	borderless := strings.Contains(notes.text(), "without borders")
	if want := stats.Format == "table"; borderless != want {
		t.Errorf("notes of %s: %q", stats.Format, notes.text())
	}
	for i := range rows {
		if !strings.Contains(out.text(), fmt.Sprintf("row%02d", i)) {
			t.Errorf("row %d is missing", i)
		}
	}
}

// numbers yields n rows of three cells.
func numbers(n int) *spec.Table {
	return &spec.Table{
		Columns: []spec.Column{{Name: "key", Kind: spec.Bytes}, {Name: "n", Kind: spec.Int}, {Name: "size", Kind: spec.Size}},
		Rows: func(yield func(spec.Row, error) bool) {
			for i := range n {
				if !yield(spec.Row{fmt.Appendf(nil, "user%08d", i), i, int64(i) * 100}, nil) {
					return
				}
			}
		},
	}
}

func TestManyRowsAreBorderless(t *testing.T) {
	for n, borders := range map[int]bool{heldRows: true, heldRows + 1: false} {
		out, notes, err := render(t, numbers(n), Options{Format: "table"})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(out, "+--") != borders || (notes == "") != borders {
			t.Errorf("%d rows: %q, notes %q", n, out[:80], notes)
		}
		if !strings.Contains(out, fmt.Sprintf("user%08d", n-1)) {
			t.Errorf("%d rows: the last one is missing", n)
		}
	}
	out, notes, err := render(t, numbers(heldRows+1), Options{Format: "markdown"})
	if err != nil || notes != "" || strings.Count(out, "\n") != heldRows+3 {
		t.Fatalf("markdown: %d lines, notes %q, %v", strings.Count(out, "\n"), notes, err)
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "|") || strings.Count(line, "|") != 4 {
			t.Fatalf("markdown: %q", line)
		}
	}
	out, notes, err = render(t, numbers(heldRows+1), Options{Format: "auto", Terminal: true, Width: 20})
	if err != nil || notes != "" || !strings.Contains(out, "2001. row") {
		t.Errorf("auto in a narrow terminal: notes %q, %v", notes, err)
	}
}

// TestTruncation: no line is wider than the terminal, on both ways to draw a table, whether one was asked for or the
// rows want to stay on their lines.
func TestTruncation(t *testing.T) {
	for i, n := range []int{5, heldRows + 5, 5, heldRows + 5} {
		table := numbers(n)
		format := "table"
		if table.Lines = i > 1; table.Lines {
			format = "auto"
		}
		table.Columns = append(table.Columns, spec.Column{Name: "说明"})
		rows := table.Rows
		table.Rows = func(yield func(spec.Row, error) bool) {
			for row, err := range rows {
				if !yield(append(row, strings.Repeat("表格", 20+row[1].(int)%40)), err) {
					return
				}
			}
		}
		out, notes, err := render(t, table, Options{Format: format, Terminal: true, Width: 60})
		if err != nil || !strings.Contains(out, "…") || !strings.Contains(notes, "--output vertical") {
			t.Fatalf("%d rows: notes %q, %v", n, notes, err)
		}
		for line := range strings.Lines(out) {
			if w := width(strings.TrimSuffix(line, "\n")); w > 60 {
				t.Fatalf("%d rows: a line of %d columns: %s", n, w, line)
			}
		}
	}
	for _, c := range []struct {
		widths []int
		room   int
		want   string
	}{
		{[]int{3, 10, 50}, 70, "[3 10 50]"},
		{[]int{3, 10, 50}, 40, "[3 10 27]"},
		{[]int{3, 40, 50}, 40, "[3 19 18]"},
		{[]int{3, 40, 50}, 5, "[3 6 6]"},
		{nil, 5, "[]"},
	} {
		if got := fmt.Sprint(shrink(c.widths, c.room)); got != c.want {
			t.Errorf("%v in %d columns become %s, not %s", c.widths, c.room, got, c.want)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &clocked{}
	table := &spec.Table{Columns: spec.Columns("name"), Rows: func(yield func(spec.Row, error) bool) {
		if yield(spec.Row{"one"}, nil) {
			cancel()
			<-ctx.Done() // as a producer that waits for the network does
		}
	}}
	_, err := Write(ctx, out, io.Discard, table, Options{Format: "table"})
	if !errors.Is(err, context.Canceled) || spec.KindOf(err) != spec.Interrupted {
		t.Errorf("got %v", err)
	}
}

func TestProducerPanicsWhereItIsRead(t *testing.T) {
	defer func() {
		p, ok := recover().(producerPanic)
		if !ok || p.value != "boom" || !strings.Contains(p.stack, "stream_test.go") {
			t.Errorf("recovered %v", p)
		}
	}()
	_, _, _ = render(t, &spec.Table{Columns: spec.Columns("a"), Rows: func(func(spec.Row, error) bool) { panic("boom") }}, Options{})
	t.Error("the panic is lost")
}

// heapWatch is an output that looks at the heap now and then.
type heapWatch struct {
	writes uint64
	peak   atomic.Uint64
}

func (h *heapWatch) Write(p []byte) (int, error) {
	if h.writes++; h.writes%64 == 0 {
		h.look()
	}
	return len(p), nil
}

func (h *heapWatch) look() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for old := h.peak.Load(); m.HeapAlloc > old && !h.peak.CompareAndSwap(old, m.HeapAlloc); old = h.peak.Load() {
	}
}

// watched looks at the heap while rows are produced, too.
func (h *heapWatch) watched(t *spec.Table) *spec.Table {
	rows, n := t.Rows, 0
	t.Rows = func(yield func(spec.Row, error) bool) {
		for row, err := range rows {
			if n++; n%20_000 == 0 {
				h.look()
			}
			if !yield(row, err) {
				return
			}
		}
	}
	return t
}

func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	for _, o := range []Options{{Format: "table"}, {Format: "json"}, {Format: "plain", Sort: "-n", TempDir: t.TempDir()}} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		h := &heapWatch{}
		stats, err := Write(t.Context(), h, io.Discard, h.watched(numbers(1_000_000)), o)
		if err != nil || stats.Rows != 1_000_000 {
			t.Fatalf("%s: %d rows, %v", o.Format, stats.Rows, err)
		}
		grown := (h.peak.Load() - min(h.peak.Load(), before.HeapAlloc)) >> 20
		t.Logf("%s sort=%q: %d MiB more", o.Format, o.Sort, grown)
		if limit := uint64(32); o.Sort == "" && grown > limit || grown > 120 {
			t.Errorf("%s sort=%q: the heap grew by %d MiB", o.Format, o.Sort, grown)
		}
	}
}

func TestLargeRowsAreNotHeldBack(t *testing.T) {
	const rows, size = 200, 1 << 20
	text := strings.Repeat("x", size)
	for _, format := range []string{"table", "plain", "markdown", "json"} {
		h := &heapWatch{}
		table := &spec.Table{Columns: spec.Columns("text"), Rows: func(yield func(spec.Row, error) bool) {
			for range rows {
				if !yield(spec.Row{strings.Clone(text)}, nil) {
					return
				}
			}
		}}
		if _, err := Write(t.Context(), h, io.Discard, table, Options{Format: format}); err != nil {
			t.Fatal(err)
		}
		if h.peak.Load()>>20 > 100 {
			t.Errorf("%s: %d MiB for rows of 1 MiB", format, h.peak.Load()>>20)
		}
	}
}
