package render

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// What sorting holds in memory; beyond, sorted runs go to disk. openRuns bounds the files, and the memory of reading
// them; when there are as many they are merged into one.
const (
	sortRowsHeld  = 100_000
	sortBytesHeld = 48 << 20
	openRuns      = 32
)

// sortKey is one column to sort by.
type sortKey struct {
	at   int
	kind spec.Kind
	down bool
}

// sortNames lists the columns of `--sort A,-B`, without their signs.
func sortNames(text string) []string {
	var names []string
	for _, name := range strings.Split(text, ",") {
		names = append(names, strings.TrimPrefix(strings.TrimSpace(name), "-"))
	}
	return trimNames(names)
}

func sortKeys(text string, places []int, columns []spec.Column) []sortKey {
	var keys []sortKey
	for _, name := range trimNames(strings.Split(text, ",")) {
		if name = strings.TrimSpace(name); name == "-" {
			continue
		}
		at := places[len(keys)]
		keys = append(keys, sortKey{at: at, kind: columns[at].Kind, down: strings.HasPrefix(name, "-")})
	}
	return keys
}

// compareRows orders rows by the keys; a row without a value comes last, whatever the direction.
func compareRows(keys []sortKey, a, b spec.Row) int {
	for _, k := range keys {
		x, y := sortable(k, a), sortable(k, b)
		order := 0
		switch {
		case x == nil || y == nil:
			if (x == nil) != (y == nil) {
				if x == nil {
					return 1
				}
				return -1
			}
		default:
			if order = compareCells(x, y); k.down {
				order = -order
			}
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// sortable is the cell in a form compareCells knows, without making a copy of the common ones.
func sortable(k sortKey, row spec.Row) any {
	if k.at >= len(row) {
		return nil
	}
	switch c := row[k.at].(type) {
	case nil, string, []byte, bool, int64, float64, time.Duration, []string:
		return c
	case time.Time:
		if c.IsZero() {
			return nil
		}
		return c
	case map[string]string:
		return string(appendMap(nil, c))
	case int:
		return int64(c)
	default:
		return otherValue(c)
	}
}

// compareCells orders two cells of one column. Columns whose cells differ in type are ordered as text.
func compareCells(x, y any) int {
	switch a := x.(type) {
	case string:
		switch b := y.(type) {
		case string:
			return strings.Compare(a, b)
		case []byte:
			return strings.Compare(a, string(b))
		}
	case []byte:
		switch b := y.(type) {
		case []byte:
			return bytes.Compare(a, b)
		case string:
			return strings.Compare(string(a), b)
		}
	case bool:
		if b, ok := y.(bool); ok && a != b {
			if a {
				return 1
			}
			return -1
		} else if ok {
			return 0
		}
	case time.Time:
		if b, ok := y.(time.Time); ok {
			return a.Compare(b)
		}
	case []string:
		if b, ok := y.([]string); ok {
			return slices.Compare(a, b)
		}
	default:
		if order, ok := compareNumbers(x, y); ok {
			return order
		}
	}
	return strings.Compare(cellText(x), cellText(y))
}

func cellText(cell any) string {
	p := printer{plain: true, location: time.UTC}
	return string(p.appendCell(nil, &spec.Column{}, cell))
}

// compareNumbers keeps integers exact; an integer and a float meet as floats.
func compareNumbers(x, y any) (int, bool) {
	switch a := x.(type) {
	case int64:
		switch b := y.(type) {
		case int64:
			return cmp.Compare(a, b), true
		case uint64: // beyond int64, see Value
			return -1, true
		case float64:
			return cmp.Compare(float64(a), b), true
		}
	case uint64:
		switch b := y.(type) {
		case uint64:
			return cmp.Compare(a, b), true
		case int64:
			return 1, true
		}
	case float64:
		switch b := y.(type) {
		case float64:
			return cmp.Compare(a, b), true
		case int64:
			return cmp.Compare(a, float64(b)), true
		}
	case time.Duration:
		if b, ok := y.(time.Duration); ok {
			return cmp.Compare(a, b), true
		}
	}
	return 0, false
}

// sortRows orders all rows before it passes on the first. Rows equal in all keys keep their order.
func sortRows(ctx context.Context, rows iter.Seq2[spec.Row, error], keys []sortKey, dir string) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		s := newSorter(keys, dir)
		defer s.close()
		if err := s.read(ctx, rows); err != nil {
			yield(nil, err)
			return
		}
		if err := s.merge(ctx, func(row spec.Row) error {
			if !yield(row, nil) {
				return errStopped
			}
			return nil
		}); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

var errStopped = errors.New("the reader wants no more rows")

// sorter holds rows, and on disk sorted runs of those that came before them.
type sorter struct {
	keys  []sortKey
	dir   string
	rows  []spec.Row
	bytes int
	runs  []*run

	maxRows, maxBytes, maxRuns int
}

func newSorter(keys []sortKey, dir string) *sorter {
	return &sorter{keys: keys, dir: dir, maxRows: sortRowsHeld, maxBytes: sortBytesHeld, maxRuns: openRuns}
}

func (s *sorter) close() {
	for _, r := range s.runs {
		r.close()
	}
	s.runs = nil
}

func (s *sorter) read(ctx context.Context, rows iter.Seq2[spec.Row, error]) error {
	for row, err := range rows {
		if err != nil {
			return err
		}
		if len(s.rows) >= s.maxRows || s.bytes > s.maxBytes {
			if err := s.spill(ctx); err != nil {
				return err
			}
		}
		if len(s.rows)%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.rows = append(s.rows, row)
		s.bytes += rowSize(row)
	}
	s.sort()
	return nil
}

func (s *sorter) sort() {
	slices.SortStableFunc(s.rows, func(a, b spec.Row) int { return compareRows(s.keys, a, b) })
}

// spill writes the rows held as a run. Runs stay in the order in which their rows came.
func (s *sorter) spill(ctx context.Context) error {
	s.sort()
	r, err := newRun(s.dir)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	for _, row := range s.rows {
		if err := r.write(row); err != nil {
			return err
		}
	}
	if err := r.rewind(); err != nil {
		return err
	}
	clear(s.rows)
	s.rows, s.bytes = s.rows[:0], 0
	if len(s.runs) < s.maxRuns {
		return nil
	}
	merged, err := newRun(s.dir)
	if err != nil {
		return err
	}
	if err = s.merge(ctx, merged.write); err == nil {
		err = merged.rewind()
	}
	s.close()
	s.runs = []*run{merged}
	return err
}

// merge passes on the rows of all runs and of memory, in order. Of equal rows the earlier run's come first.
func (s *sorter) merge(ctx context.Context, take func(spec.Row) error) error {
	h := &mergeHeap{keys: s.keys}
	for i, r := range s.runs {
		h.sources = append(h.sources, source{next: r.read, order: i})
	}
	held := 0
	h.sources = append(h.sources, source{order: len(s.runs), next: func() (spec.Row, error) {
		if held == len(s.rows) {
			return nil, io.EOF
		}
		row := s.rows[held]
		s.rows[held] = nil
		held++
		return row, nil
	}})
	if err := h.fill(); err != nil {
		return err
	}
	for n := 0; h.Len() > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := take(h.sources[0].row); err != nil {
			return err
		}
		if err := h.advance(); err != nil {
			return err
		}
	}
	return nil
}

// source is one sorted sequence in a merge.
type source struct {
	next  func() (spec.Row, error) // io.EOF at the end
	row   spec.Row
	order int
}

type mergeHeap struct {
	keys    []sortKey
	sources []source
}

// fill reads the first row of every source and drops the empty ones.
func (h *mergeHeap) fill() error {
	full := h.sources[:0]
	for _, s := range h.sources {
		row, err := s.next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return err
		}
		s.row = row
		full = append(full, s)
	}
	h.sources = full
	heap.Init(h)
	return nil
}

// advance replaces the row at the top by the next of its source.
func (h *mergeHeap) advance() error {
	row, err := h.sources[0].next()
	switch {
	case errors.Is(err, io.EOF):
		heap.Pop(h)
	case err != nil:
		return err
	default:
		h.sources[0].row = row
		heap.Fix(h, 0)
	}
	return nil
}

func (h *mergeHeap) Len() int      { return len(h.sources) }
func (h *mergeHeap) Swap(i, j int) { h.sources[i], h.sources[j] = h.sources[j], h.sources[i] }
func (h *mergeHeap) Push(x any)    { h.sources = append(h.sources, x.(source)) }

func (h *mergeHeap) Pop() any {
	last := h.sources[len(h.sources)-1]
	h.sources = h.sources[:len(h.sources)-1]
	return last
}

func (h *mergeHeap) Less(i, j int) bool {
	a, b := h.sources[i], h.sources[j]
	order := compareRows(h.keys, a.row, b.row)
	return order < 0 || order == 0 && a.order < b.order
}
