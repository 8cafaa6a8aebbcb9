package transfer

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// diffPass is a round of the second step: the source's rows from first to last, by their hashes, are held as far as their
// buckets differ, and the target's are looked up among them. What only one side has of whole buckets needs no holding
// and is told by the first pass.
type diffPass[R any] struct {
	x           *differ[R]
	first       bool
	from        uint64
	memory      int64
	mu          sync.Mutex
	last        uint64 // sinks when more rows turn up than were counted
	held        map[string]*heldRow[R]
	bytes       int64
	totals      DiffTotals
	suspects    []Found[R]
	suspectSize int64
}

type heldRow[R any] struct {
	row  R
	hash uint64
	size int64
	met  bool // the target has one of that key
}

// Differences are looked at again as long as there are so few: if a table differs by more, that is not because
// somebody writes to it.
const maxSuspects = 10_000

func (x *differ[R]) pass(ctx context.Context) error {
	p := &diffPass[R]{
		x: x, first: x.state.Next == 0, from: x.state.Next, memory: x.options.Memory, held: map[string]*heldRow[R]{},
		totals: x.state.Totals,
	}
	p.totals.Passes++
	p.last = p.reach()
	sourceToo, targetToo := p.needs()
	if err := x.again(ctx, sourceToo, targetToo); err != nil {
		return err
	}
	if sourceToo {
		if err := x.scan(ctx, x.sides[0], nil, func(int) partReader[R] { return partReader[R]{batch: p.hold} }); err != nil {
			return err
		}
	}
	if targetToo {
		if err := x.scan(ctx, x.sides[1], nil, func(int) partReader[R] { return partReader[R]{batch: p.lookUp} }); err != nil {
			return err
		}
	}
	for _, h := range p.held {
		if !h.met {
			p.suspect(Found[R]{Difference: Missing, Source: &h.row}, h.size)
		}
	}
	clear(p.held)
	if err := p.settle(ctx); err != nil {
		return err
	}
	return p.close()
}

// again gets ready to read tables once more, by the parts that they have by now.
func (x *differ[R]) again(ctx context.Context, sides ...bool) error {
	for i, too := range sides {
		if !too {
			continue
		}
		parts, err := x.partsOf(ctx, x.sides[i])
		if err != nil {
			return err
		}
		x.sides[i].parts = parts
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen.Total = x.seen.Done
	for i, too := range sides {
		if !too {
			continue
		}
		x.seen.Parts += len(x.sides[i].parts)
		x.seen.Total += x.sums[i].rows()
		for _, part := range x.sides[i].parts {
			x.seen.TotalBytes += part.Bytes
		}
	}
	return nil
}

// reach is up to which hash the rows fit into memory, by what the first step counted.
func (p *diffPass[R]) reach() uint64 {
	const width = uint64(1) << (64 - bucketBits)
	budget := float64(p.memory)
	for i := bucketOf(p.from); i < buckets; i++ {
		if !p.x.both(i) {
			continue
		}
		begin := max(uint64(i)*width, p.from)
		end := uint64(i)*width + (width - 1)
		share := float64(end-begin+1) / float64(width)
		need := share * float64(p.x.sums[0][i].bytes)
		if need > budget {
			if bucketOf(p.from) < i && budget < float64(p.memory) {
				return begin - 1
			}
			// A bucket that is too large by itself is held in slices.
			return begin + uint64(float64(end-begin)*budget/need)
		}
		budget -= need
	}
	return math.MaxUint64
}

// both reports whether a bucket differs and neither side is empty there.
func (x *differ[R]) both(i int) bool {
	a, b := x.sums[0][i], x.sums[1][i]
	return a.count > 0 && b.count > 0 && !a.same(b)
}

// needs tells which sides are worth reading.
func (p *diffPass[R]) needs() (source, target bool) {
	for i := range buckets {
		a, b := p.x.sums[0][i], p.x.sums[1][i]
		if a.same(b) {
			continue
		}
		switch {
		case b.count == 0:
			source = source || p.first
		case a.count == 0:
			target = target || p.first && !p.x.options.OnlySource
		case i >= bucketOf(p.from) && i <= bucketOf(p.last):
			return true, true
		}
	}
	return source, target
}

// hold takes a batch of the source.
func (p *diffPass[R]) hold(b Batch[R]) error {
	x := p.x
	for n := range b.Rows {
		row := &b.Rows[n] // a copy whose address is taken would be made of every row
		key := x.rows.Key(*row)
		hash := hashOf(key)
		i := bucketOf(hash)
		mine, theirs := x.sums[0][i], x.sums[1][i]
		switch {
		case mine.same(theirs), mine.count == 0:
		case theirs.count == 0:
			if p.first {
				p.mu.Lock()
				p.suspect(Found[R]{Difference: Missing, Source: row}, x.size(*row, &b))
				p.mu.Unlock()
			}
		default:
			p.keep(*row, key, hash, x.size(*row, &b))
		}
	}
	return nil
}

// keep holds a row, and fewer others when that is one too many.
func (p *diffPass[R]) keep(row R, key []byte, hash uint64, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if hash < p.from || hash > p.last {
		return
	}
	if old := p.held[string(key)]; old != nil {
		p.bytes -= old.size // it came twice
	}
	if p.x.holder != nil {
		row = p.x.holder.Clone(row)
	}
	p.held[string(key)] = &heldRow[R]{row: row, hash: hash, size: size}
	p.bytes += size
	for p.bytes > p.memory && len(p.held) > 1 && p.last > p.from {
		p.last = p.from + (p.last-p.from)/2
		for k, h := range p.held {
			if h.hash > p.last {
				p.bytes -= h.size
				delete(p.held, k)
			}
		}
	}
	p.x.peak = max(p.x.peak, p.bytes)
}

// lookUp takes a batch of the target. Nothing is held any more, so that only the differences need a lock.
func (p *diffPass[R]) lookUp(b Batch[R]) error {
	x := p.x
	for n := range b.Rows {
		row := &b.Rows[n]
		key := x.rows.Key(*row)
		hash := hashOf(key)
		i := bucketOf(hash)
		theirs, mine := x.sums[0][i], x.sums[1][i]
		alone := theirs.count == 0
		if mine.same(theirs) || mine.count == 0 || alone && !p.first || !alone && (hash < p.from || hash > p.last) {
			continue
		}
		p.mu.Lock()
		h := p.held[string(key)]
		switch {
		case h == nil && !x.options.OnlySource:
			p.suspect(Found[R]{Difference: Extra, Target: row}, x.size(*row, &b))
		case h != nil && !h.met:
			h.met = true
			if d := x.rows.Compare(h.row, *row); d != Same {
				p.suspect(Found[R]{Difference: d, Source: &h.row, Target: row}, h.size+x.size(*row, &b))
			}
		}
		p.mu.Unlock()
	}
	return nil
}

// suspect takes a difference: to be looked at again, or when there are many to be counted. p.mu is held.
func (p *diffPass[R]) suspect(f Found[R], size int64) {
	if len(p.suspects) >= maxSuspects || p.suspectSize+size > p.memory/4 && len(p.suspects) > 0 {
		p.totals.count(f.Difference)
		return
	}
	f.Source, f.Target = p.x.own(f.Source), p.x.own(f.Target)
	p.suspects = append(p.suspects, f)
	p.suspectSize += size
}

// own copies a row out of the memory it came in.
func (x *differ[R]) own(row *R) *R {
	if row == nil {
		return nil
	}
	mine := *row
	if x.holder != nil {
		mine = x.holder.Clone(mine)
	}
	return &mine
}

func (x *differ[R]) keyOf(f Found[R]) []byte {
	switch {
	case f.Source != nil:
		return x.rows.Key(*f.Source)
	case f.Target != nil:
		return x.rows.Key(*f.Target)
	}
	return nil // both are gone
}

func (x *differ[R]) brief(row *R) *R {
	b, ok := x.rows.(Briefer[R])
	if row == nil || !ok {
		return row
	}
	short := b.Brief(*row)
	return &short
}

// settle looks again at differences, where both sides can read single rows.
func (p *diffPass[R]) settle(ctx context.Context) error {
	source, ok1 := p.x.sides[0].source.(PointReader[R])
	target, ok2 := p.x.sides[1].source.(PointReader[R])
	if !ok1 || !ok2 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * p.x.options.Beside)
	for i := range p.suspects {
		g.Go(func() error { return p.look(ctx, &p.suspects[i], source, target) })
	}
	return g.Wait()
}

// look reads a row on both sides.
func (p *diffPass[R]) look(ctx context.Context, f *Found[R], source, target PointReader[R]) error {
	like := f.Source
	if like == nil {
		like = f.Target
	}
	var now [2]*R
	for i, from := range []PointReader[R]{source, target} {
		err := p.x.patiently(ctx, p.x.sides[i], p.x.sides[i].name, func() (bool, error) {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			row, found, err := from.Get(ctx, *like)
			if err == nil && found {
				now[i] = &row
			}
			return false, err
		})
		if err != nil {
			return err
		}
		if err := p.x.pace.Wait(ctx, 1, 0); err != nil {
			return err
		}
	}
	f.Source, f.Target = now[0], now[1]
	switch {
	case now[0] != nil && now[1] != nil:
		f.Difference = p.x.rows.Compare(*now[0], *now[1])
	case now[0] != nil:
		f.Difference = Missing
	case now[1] != nil && !p.x.options.OnlySource:
		f.Difference = Extra
	default:
		f.Difference = Same
	}
	return nil
}

// close counts and hands over what was found, and saves that.
func (p *diffPass[R]) close() error {
	x := p.x
	slices.SortFunc(p.suspects, func(a, b Found[R]) int { return bytes.Compare(x.keyOf(a), x.keyOf(b)) })
	for _, f := range p.suspects {
		p.totals.count(f.Difference)
		if f.Difference == Same || len(x.state.Found) >= x.options.Limit {
			continue
		}
		f.Source, f.Target = x.brief(f.Source), x.brief(f.Target)
		x.state.Found = append(x.state.Found, f)
		if err := x.each(f); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.state.Totals = p.totals
	x.state.Next, x.state.Over = p.last+1, p.last == math.MaxUint64
	return x.save()
}
