package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/commands/spec"
)

// DiffOptions say how tables are compared. The zero value compares everything.
type DiffOptions struct {
	// OnlySource leaves rows that only the target has out of it: they are no differences.
	OnlySource bool
	// Limit is how many differences are handed over; all of them are counted. 0 is 100, negative is none.
	Limit int
	// Beside is how many parts of each table are read at a time, 0 is 8.
	Beside int
	// Memory bounds what is held of rows at a time, in bytes; 0 is 64 MiB. A smaller bound costs more passes, where much
	// differs. Sums take 32 bytes for each of 65,536 buckets besides, and that for each part that is being read.
	Memory int64
}

// Found is a difference. Source and Target are the rows; the one that is not there is nil.
type Found[R any] struct {
	Difference     Difference
	Source, Target *R `json:",omitempty"`
}

// DiffTotals say how two tables differ.
type DiffTotals struct {
	SourceRows, TargetRows int64 // as the first pass counted them
	Missing, Extra         int64
	Different, Drift       int64
	// Settled are differences that were gone when their rows were read again.
	Settled int64
	// Passes is how often rows were held against each other: 0 when the sums told that all is equal.
	Passes int
}

// Differences is how many rows differ; Extra is 0 where extra rows are none.
func (t DiffTotals) Differences() int64 { return t.Missing + t.Extra + t.Different + t.Drift }

// Equal is how many rows of the source the target has just so.
func (t DiffTotals) Equal() int64 { return max(t.SourceRows-t.Missing-t.Different-t.Drift, 0) }

func (t *DiffTotals) count(d Difference) {
	switch d {
	case Missing:
		t.Missing++
	case Extra:
		t.Extra++
	case Different:
		t.Different++
	case Drift:
		t.Drift++
	case Same:
		t.Settled++
	}
}

// PointReader is a Source that can read a single row again. Diff asks it about differences, so that what was written
// or has expired between the two readings of a row is not taken for one.
type PointReader[R any] interface {
	// Get reads the row that has the key of another one. A row that is not there, or does not match, is no error.
	Get(ctx context.Context, like R) (row R, found bool, err error)
}

// Holder is a Rows that knows what it costs to keep rows. Without one, a row is taken for as large as those that came
// with it are in the middle, and whatever it shares memory with is kept as well.
type Holder[R any] interface {
	// Size is what a row takes in memory, in bytes.
	Size(row R) int
	// Clone copies a row out of the memory that it came in.
	Clone(row R) R
}

// Briefer is a Rows that shortens rows for people: what is handed over, and kept in the journal.
type Briefer[R any] interface {
	Brief(row R) R
}

// Diff compares two tables, whatever their partitions and the order of their rows, in two steps that read both from
// end to end. First rows are summed into buckets by the hash of their key, and where all sums are equal so are the
// tables. Then only the rows of differing buckets count: those of the source are held, as many as fit at a time, and
// those of the target are looked up among them. Differences go to each, one at a time, as each pass ends.
//
// It saves its state in w as parts and passes end, and goes on from there. A row that a split made come twice may be
// counted twice; it is compared once. Errors that may go away are waited for, until ctx ends.
func Diff[R any](
	ctx context.Context, source, target Source[R], rows Rows[R], o DiffOptions, w spec.Work, each func(Found[R]) error,
) (DiffTotals, error) {
	x := newDiffer(source, target, rows, o, w, each)
	err := x.run(ctx)
	if err == nil {
		x.show(true)
	}
	return x.state.Totals, err
}

func newDiffer[R any](
	source, target Source[R], rows Rows[R], o DiffOptions, w spec.Work, each func(Found[R]) error,
) *differ[R] {
	if o.Limit == 0 {
		o.Limit = 100
	}
	if o.Beside <= 0 {
		o.Beside = 8
	}
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	x := &differ[R]{rows: rows, options: o, work: w, each: each, now: time.Now}
	x.sides = [2]*diffSide[R]{{name: "source", source: source}, {name: "target", source: target}}
	x.holder, _ = rows.(Holder[R])
	x.pace = NewPacer(w.Rate)
	return x
}

// differ is one comparison.
type differ[R any] struct {
	rows    Rows[R]
	holder  Holder[R] // nil when rows are none
	options DiffOptions
	work    spec.Work
	each    func(Found[R]) error
	sides   [2]*diffSide[R]
	pace    *Pacer
	now     func() time.Time

	mu    sync.Mutex
	state diffState[R]
	sums  [2]sums
	spare []sums // cleared, to be used again
	saved time.Time
	shown time.Time
	seen  spec.Figures
	stuck map[string]string // why parts wait, by their names
	peak  int64             // the most bytes that were held at a time
}

// diffSide is a table.
type diffSide[R any] struct {
	name   string
	source Source[R]
	parts  []Part
}

// diffState is the journal of a comparison.
type diffState[R any] struct {
	// Parts are the numbers of the parts that each side had, Done those whose rows are in Sums. Of those in Places the
	// rows up to there are.
	Parts, Done [2][]int
	Places      [2]map[int]Position
	Sums        [2][]byte `json:",omitempty"` // as sums.encode makes them
	// Summed says that the first step is over; Next is the hash from which on rows have not been held yet.
	Summed bool
	Next   uint64
	Over   bool
	Totals DiffTotals
	Found  []Found[R] `json:",omitempty"`
}

func (x *differ[R]) run(ctx context.Context) error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	if !x.state.Summed {
		if err := x.sumUp(ctx); err != nil {
			return err
		}
	}
	for _, f := range x.state.Found {
		if err := x.each(f); err != nil {
			return err
		}
	}
	for !x.state.Over {
		if err := x.pass(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin takes up what was saved, as far as the parts are still the same ones.
func (x *differ[R]) begin(ctx context.Context) error {
	var was diffState[R]
	if _, err := x.work.Restore(&was); err != nil {
		return err
	}
	x.stuck = map[string]string{}
	x.state.Summed, x.state.Next, x.state.Over = was.Summed, was.Next, was.Over
	x.state.Totals, x.state.Found = was.Totals, was.Found
	for i, s := range x.sides {
		var err error
		if s.parts, err = x.partsOf(ctx, s); err != nil {
			return err
		}
		numbers := make([]int, len(s.parts))
		for p, part := range s.parts {
			numbers[p] = part.Number
			x.seen.Total += part.Rows
			x.seen.TotalBytes += part.Bytes
		}
		x.state.Parts[i], x.state.Places[i] = numbers, map[int]Position{}
		x.sums[i] = newSums()
		if !was.Summed && !slices.Equal(numbers, was.Parts[i]) {
			continue // other parts have other rows
		}
		if err := x.sums[i].decode(was.Sums[i]); err != nil {
			return fmt.Errorf("the journal of the comparison cannot be read: %w", err)
		}
		x.state.Done[i] = was.Done[i]
		maps.Copy(x.state.Places[i], was.Places[i])
		x.seen.Done += x.sums[i].rows()
	}
	x.seen.Unit, x.seen.Estimated = "rows", true
	x.seen.Parts = len(x.sides[0].parts) + len(x.sides[1].parts)
	return nil
}

func (x *differ[R]) partsOf(ctx context.Context, s *diffSide[R]) (parts []Part, err error) {
	err = x.patiently(ctx, s, s.name, func() (bool, error) {
		parts, err = s.source.Parts(ctx)
		return false, err
	})
	return parts, err
}

// sumUp is the first step.
func (x *differ[R]) sumUp(ctx context.Context) error {
	for i := range x.sides {
		for _, n := range x.state.Done[i] {
			if slices.Contains(x.state.Parts[i], n) {
				x.seen.PartsDone++
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range x.sides {
		done := slices.Clone(x.state.Done[i])
		g.Go(func() error {
			return x.scan(ctx, x.sides[i], done, func(part int) partReader[R] { return x.summing(i, part) })
		})
	}
	if err := g.Wait(); err != nil {
		return errors.Join(err, x.save())
	}
	x.state.Totals.SourceRows, x.state.Totals.TargetRows = x.sums[0].rows(), x.sums[1].rows()
	x.state.Summed, x.state.Over = true, !x.sums[0].differ(x.sums[1])
	return x.save()
}

// summing sums one part's rows. They count with the place behind them, now and then and when the part ends.
func (x *differ[R]) summing(i, part int) partReader[R] {
	mine, counted := x.lend(), x.now()
	x.mu.Lock()
	after := x.state.Places[i][part]
	x.mu.Unlock()
	count := func() {
		x.sums[i].merge(mine)
		clear(mine)
	}
	return partReader[R]{
		after: after,
		batch: func(b Batch[R]) error {
			for _, row := range b.Rows {
				mine.add(hashOf(x.rows.Key(row)), x.rows.Sum(row), x.size(row, &b))
			}
			if x.now().Sub(counted) < diffSaveEvery {
				return nil
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			count()
			counted = x.now()
			x.state.Places[i][part] = b.After
			return x.saveNowAndThen()
		},
		end: func() error {
			x.mu.Lock()
			defer x.mu.Unlock()
			count()
			x.spare = append(x.spare, mine)
			delete(x.state.Places[i], part)
			x.state.Done[i] = append(x.state.Done[i], part)
			return x.saveNowAndThen()
		},
	}
}

// diffSaveEvery keeps the journal, of up to some MiB while sums are made, from costing more than what it saves.
const diffSaveEvery = 5 * time.Second

// saveNowAndThen needs x.mu.
func (x *differ[R]) saveNowAndThen() error {
	if x.now().Sub(x.saved) < diffSaveEvery {
		return nil
	}
	return x.save()
}

// save writes the journal. x.mu is held, or nobody else is there.
func (x *differ[R]) save() error {
	x.saved = x.now()
	for i := range x.sums {
		x.state.Sums[i] = nil
		if !x.state.Over {
			x.state.Sums[i] = x.sums[i].encode()
		}
	}
	return x.work.Save(x.state)
}

func (x *differ[R]) lend() sums {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := len(x.spare); n > 0 {
		s := x.spare[n-1]
		x.spare = x.spare[:n-1]
		return s
	}
	return newSums()
}

// size is what it costs to hold a row.
func (x *differ[R]) size(row R, b *Batch[R]) int64 {
	const overhead = 160 // of an entry in a map that is half full, with its key's and row's headers
	if x.holder != nil {
		return int64(x.holder.Size(row)+len(x.rows.Key(row))) + overhead
	}
	return b.Bytes/int64(len(b.Rows)) + int64(len(x.rows.Key(row))) + overhead
}
