package pegasus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// surveyFlags ask for more than numbers: rows have to travel for it.
var surveyFlags = []spec.Flag{
	{Name: "diff-hash-key", Short: "d", Kind: spec.ArgBool, Help: "also count the distinct hash keys"},
	{Name: "stat-size", Short: "a", Kind: spec.ArgBool, Help: "also show how sizes of keys, values and rows are spread"},
	{Name: "top-count", Short: "n", Kind: spec.ArgInt, Default: "0", Help: "also list the largest rows, so many of them, up to 1000"},
	{Name: "run-seconds", Short: "r", Kind: spec.ArgDuration, Help: "stop after that time, with what was counted by then"},
}

// maxTop bounds the list of the largest rows, and surveysAtOnce the partitions that are read beside each other.
const (
	maxTop        = 1000
	surveysAtOnce = 8
)

// survey counts rows by looking at them.
type survey struct {
	distinct, sizes bool
	top             int
	limit           time.Duration // 0 for none

	mu       sync.Mutex
	spread   [4]sizeHistogram // hash key, sort key, value, row
	largest  topRows
	keyless  bool // there are rows without a hash key, which lie in all partitions
	counts   surveyed
	parts    int
	finished int
}

// surveyed is what a partition holds.
type surveyed struct {
	partition int
	rows      int64
	hashKeys  int64
	finished  bool
}

// newSurvey answers nil when numbers are all that is asked for.
func newSurvey(call *spec.Call) (*survey, error) {
	s := &survey{
		distinct: call.Bool("diff-hash-key"), sizes: call.Bool("stat-size"), top: int(call.Int("top-count")),
		limit: call.Duration("run-seconds"),
	}
	switch {
	case s.top < 0 || s.top > maxTop:
		return nil, spec.Errorf(spec.Usage, "%d rows cannot be listed", s.top).WithHint("-n takes 0 to %d", maxTop)
	case s.limit < 0 || s.limit == 0 && call.Has("run-seconds"):
		return nil, spec.Errorf(spec.Usage, "%s is no time to count", s.limit)
	case !s.distinct && !s.sizes && s.top == 0 && s.limit == 0:
		return nil, nil
	}
	s.largest.most = s.top
	return s, nil
}

// table answers the survey; it is made while the first section is read.
func (s *survey) table(ctx context.Context, c comparer, table string, o driver.ScanOptions) (*spec.Table, error) {
	o.NoValue = o.Value.Type == "" && !s.sizes && s.top == 0
	source := c.DiffSource(table, o, driver.DiffView{})
	parts, err := source.Parts(ctx)
	if err != nil {
		return nil, err
	}
	s.parts = len(parts)
	columns := ints("pidx", "count")
	if s.distinct {
		columns = append(columns, ints("hash_key_count")...)
	}
	if s.limit > 0 {
		columns = append(columns, spec.Column{Name: "finished", Kind: spec.Bool})
	}
	first := &spec.Table{Section: "partitions", Columns: columns, Rows: s.partitionRows(ctx, source, parts)}
	if s.sizes {
		first.More = append(first.More, s.sizesTable())
	}
	if s.top > 0 {
		first.More = append(first.More, s.topTable())
	}
	first.More = append(first.More, s.summary())
	return first, nil
}

func (s *survey) partitionRows(
	ctx context.Context, source transfer.Source[driver.CopyRow], parts []transfer.Part,
) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		bounded, cancel := ctx, func() {}
		if s.limit > 0 {
			bounded, cancel = context.WithTimeout(ctx, s.limit)
		}
		defer cancel()
		for p, err := range transfer.InOrder(ctx, len(parts), surveysAtOnce, func(ctx context.Context, i int) (surveyed, error) {
			// InOrder's own context ends when the reader stops; the time limit comes from outside.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(bounded, cancel)()
			p, err := s.read(ctx, source, parts[i].Number)
			if err != nil && s.limit > 0 && errors.Is(bounded.Err(), context.DeadlineExceeded) {
				err = nil // the time is over, which is no error
			}
			return p, err
		}) {
			if err != nil {
				yield(nil, err)
				return
			}
			s.counts.rows += p.rows
			s.counts.hashKeys += p.hashKeys
			s.finished += one(p.finished)
			row := spec.Row{p.partition, p.rows}
			if s.distinct {
				row = append(row, p.hashKeys)
			}
			if s.limit > 0 {
				row = append(row, p.finished)
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// read looks at the rows of a partition. They come in the order of their keys, so that those of a hash key are together.
func (s *survey) read(ctx context.Context, source transfer.Source[driver.CopyRow], part int) (surveyed, error) {
	p := surveyed{partition: part}
	var spread [4]sizeHistogram
	largest := topRows{most: s.top}
	keyless, before := false, []byte(nil)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range spread {
			s.spread[i].merge(&spread[i])
		}
		for _, row := range largest.rows {
			s.largest.add(row)
		}
		s.keyless = s.keyless || keyless
	}()
	if ctx.Err() != nil {
		return p, ctx.Err()
	}
	for b, err := range source.Read(ctx, part, nil) {
		if err != nil {
			return p, err
		}
		p.rows += int64(len(b.Rows))
		for i := range b.Rows {
			kv := &b.Rows[i]
			hash, sort, err := driver.CopyKey(*kv)
			if err != nil {
				return p, err
			}
			switch {
			case len(hash) == 0:
				keyless = true
			case string(hash) != string(before):
				p.hashKeys++
				before = hash
			}
			if s.sizes {
				row := len(hash) + len(sort) + len(kv.Value)
				for i, n := range []int{len(hash), len(sort), len(kv.Value), row} {
					spread[i].add(n)
				}
			}
			if s.top > 0 {
				largest.add(topRow{hash, sort, len(hash) + len(sort) + len(kv.Value), part})
			}
		}
	}
	p.finished = true
	return p, nil
}

func (s *survey) sizesTable() *spec.Table {
	columns := spec.Columns("of")
	for _, name := range []string{"min", "average", "p50", "p90", "p99", "max", "total"} {
		columns = append(columns, spec.Column{Name: name, Kind: spec.Size})
	}
	return &spec.Table{
		Section: "sizes", Columns: columns,
		Rows: func(yield func(spec.Row, error) bool) {
			for i, name := range []string{"hash_key", "sort_key", "value", "row"} {
				if !yield(s.spread[i].row(name), nil) {
					return
				}
			}
		},
	}
}

func (s *survey) topTable() *spec.Table {
	return &spec.Table{
		Section: "top_rows",
		Columns: []spec.Column{
			{Name: "hash_key", Kind: spec.Bytes},
			{Name: "sort_key", Kind: spec.Bytes},
			{Name: "size", Kind: spec.Size},
			{Name: "partition_index", Kind: spec.Int},
		},
		Rows: func(yield func(spec.Row, error) bool) {
			for _, r := range s.largest.sorted() {
				if !yield(spec.Row{r.hash, r.sort, int64(r.size), r.partition}, nil) {
					return
				}
			}
		},
	}
}

func (s *survey) summary() *spec.Table {
	columns := ints("total_count")
	if s.distinct {
		columns = append(columns, ints("total_hash_key_count")...)
	}
	return &spec.Table{
		Section: "summary", Columns: columns, Single: true,
		Rows: func(yield func(spec.Row, error) bool) {
			row := spec.Row{s.counts.rows}
			if s.distinct {
				row = append(row, s.counts.hashKeys+int64(one(s.keyless)))
			}
			yield(row, nil)
		},
		Notes: func() []string {
			var notes []string
			if s.finished < s.parts {
				notes = append(notes, fmt.Sprintf("stopped after %s: %d of %s counted to the end", s.limit, s.finished, commands.Plural(s.parts, "partition")))
			}
			if s.distinct && s.keyless {
				notes = append(notes, "rows without a hash key lie in several partitions; they count as one hash key, in the sum only")
			}
			return notes
		},
	}
}

// topRow is a large row.
type topRow struct {
	hash, sort []byte
	size       int
	partition  int
}

// topRows keeps the largest rows; of rows of the same size those with the smaller keys.
type topRows struct {
	most int
	rows []topRow
	full bool // the first most rows are larger than any that was left out
}

func compareTop(a, b topRow) int {
	return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(string(a.hash), string(b.hash)), cmp.Compare(string(a.sort), string(b.sort)))
}

// add takes a row, copied out of the answer that it came in. Rows beyond the limit go when there are twice as many.
func (t *topRows) add(r topRow) {
	if t.most == 0 || t.full && compareTop(r, t.rows[t.most-1]) > 0 {
		return
	}
	r.hash, r.sort = slices.Clone(r.hash), slices.Clone(r.sort)
	t.rows = append(t.rows, r)
	if len(t.rows) >= 2*t.most {
		t.sorted()
		t.full = true
	}
}

// sorted answers the largest ones, the largest first.
func (t *topRows) sorted() []topRow {
	slices.SortFunc(t.rows, compareTop)
	if len(t.rows) > t.most {
		clear(t.rows[t.most:])
		t.rows = t.rows[:t.most]
	}
	return t.rows
}
