package transfer

import (
	"sync"
	"time"

	"shardsh/commands/spec"
)

// part is a part under way. One goroutine reads it and cuts batches into pieces; each piece that is being written has a
// goroutine, which takes the next one after it.
type part[R any] struct {
	c     *copier[R]
	share int64    // of the memory
	at    Position // behind the last batch that was read; the reader's own
	tasks chan task[R]
	work  sync.WaitGroup

	mu       sync.Mutex
	room     *sync.Cond // something was acknowledged, or it is over
	saved    journalPart
	flights  []*flight // batches read and not behind the watermark, in order
	batches  int       // pieces of several rows that are being written
	singles  int       // pieces of one row
	workers  int
	bytes    int64  // of flights that are not over
	ahead    Counts // acknowledged beyond the watermark
	held     int    // how many of the reader and the pieces wait after an error
	heldBy   error
	heldSlow bool
}

// flight is a batch whose rows are being written.
type flight struct {
	after   Position
	end     bool // nothing comes behind it
	pending int  // pieces that are not acknowledged, and one while it is cut
	bytes   int64
	counts  Counts
}

type task[R any] struct {
	flight *flight
	piece  Piece[R]
}

// A batch takes this much besides its bytes: each row, and the batch.
const (
	rowCost   = 64
	batchCost = 512
)

func (p *part[R]) run() {
	if p.readAll() {
		p.finish()
	}
	close(p.tasks)
	p.work.Wait()
}

// readAll reads to the end, again after errors, and reports whether it got there.
func (p *part[R]) readAll() bool {
	c := p.c
	var pause Backoff
	held := false
	for {
		began := time.Now()
		got, err := p.read(func() {
			pause.Reset()
			if held {
				p.release()
				held = false
			}
		})
		switch {
		case c.ctx.Err() != nil:
			return false
		case err == nil:
			if held {
				p.release()
			}
			return true
		}
		if got {
			began = time.Now()
		}
		if !p.setback(err, c.src.Judge(err), began, &held, &pause) {
			return false
		}
	}
}

// read reads from where it is until the end or an error; each is called for every batch.
func (p *part[R]) read(each func()) (got bool, err error) {
	for b, err := range p.c.src.Read(p.c.ctx, p.saved.Part, p.at) {
		if err != nil {
			return got, err
		}
		got = true
		p.c.progressed()
		each()
		if !p.take(&b) {
			return got, p.c.ctx.Err()
		}
		p.at = b.After
	}
	return got, nil
}

// take has the rows of a batch written. It returns when all of its pieces are on their way, and reports whether they are.
func (p *part[R]) take(b *Batch[R]) bool {
	c := p.c
	f := p.admit(b)
	if f == nil {
		return c.ctx.Err() == nil
	}
	for piece := range c.dst.Pieces(b.Rows) {
		if c.pace.Wait(c.ctx, int64(len(piece.Rows)), piece.Bytes) != nil || !p.reserve(f, len(piece.Rows)) || !c.gate.enter() {
			return false
		}
		p.hand(task[R]{f, piece})
	}
	p.acknowledge(f, 0, Counts{})
	return true
}

// admit makes a flight of a batch once there is room for it. A batch without rows needs none, nor does one come for it
// when it is over.
func (p *part[R]) admit(b *Batch[R]) *flight {
	counts := Counts{Expired: b.Expired, Filtered: b.Filtered}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b.Rows) == 0 {
		p.ahead.add(counts)
		if len(p.flights) > 0 {
			f := p.flights[len(p.flights)-1]
			f.after = b.After
			f.counts.add(counts)
			return nil
		}
		p.pass(&flight{after: b.After, counts: counts})
		return nil
	}
	cost := b.Bytes + batchCost + int64(len(b.Rows))*rowCost
	for p.c.ctx.Err() == nil && (len(p.flights) >= p.c.o.Window || p.bytes > 0 && p.bytes+cost > p.share) {
		p.room.Wait()
	}
	if p.c.ctx.Err() != nil {
		return nil
	}
	f := &flight{after: b.After, pending: 1, bytes: cost, counts: counts}
	p.ahead.add(counts)
	p.bytes += cost
	p.flights = append(p.flights, f)
	return f
}

// reserve waits until one more piece may be written.
func (p *part[R]) reserve(f *flight, rows int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, most := &p.batches, p.c.o.Batches
	if rows == 1 {
		n, most = &p.singles, p.c.o.Singles
	}
	for *n >= most && p.c.ctx.Err() == nil {
		p.room.Wait()
	}
	*n++
	f.pending++
	return p.c.ctx.Err() == nil
}

// hand gives a piece to a goroutine. Each piece in the counts has one, so one is free unless all are at work.
func (p *part[R]) hand(t task[R]) {
	p.mu.Lock()
	more := p.batches+p.singles > p.workers
	if more {
		p.workers++
	}
	p.mu.Unlock()
	if !more {
		p.tasks <- t
		return
	}
	p.work.Go(func() {
		p.write(t)
		for t := range p.tasks {
			p.write(t)
		}
	})
}

// write writes a piece, again after errors. The gate was entered for it.
func (p *part[R]) write(t task[R]) {
	c := p.c
	var pause Backoff
	held := false
	for {
		began := time.Now()
		w, err := c.dst.Write(c.writing, t.piece)
		c.gate.leave(err == nil)
		if err == nil {
			c.progressed()
			if held {
				p.release()
			}
			counts := Counts{Rows: w.Rows, Kept: w.Kept, Unsure: w.Unsure, Expired: w.Expired}
			if w.Rows > 0 {
				counts.Bytes = t.piece.Bytes
			}
			p.acknowledge(t.flight, len(t.piece.Rows), counts)
			return
		}
		if c.ctx.Err() != nil {
			return
		}
		if spec.KindOf(err) == spec.UnknownOutcome {
			t.piece.Unsure = true
		}
		if !p.setback(err, c.dst.Judge(err), began, &held, &pause) || !c.gate.enter() {
			return
		}
	}
}

// setback deals with an error of something that began at a time, and reports whether to try again, after a while.
func (p *part[R]) setback(err error, v Verdict, began time.Time, held *bool, pause *Backoff) bool {
	c := p.c
	switch {
	case v == Fatal:
		c.stop(err)
		return false
	case v == Again && c.outOfPatience():
		c.stop(OutOfPatience(err, c.o.Patience))
		return false
	case v == Slow:
		c.gate.slow(began)
	}
	c.trouble(err)
	p.mu.Lock()
	if !*held {
		p.held++
	}
	p.heldBy, p.heldSlow, *held = err, v == Slow, true
	p.mu.Unlock()
	return pause.Sleep(c.ctx)
}

func (p *part[R]) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held--
}

// acknowledge counts a piece as dealt with; rows 0 stands for the cutting.
func (p *part[R]) acknowledge(f *flight, rows int, counts Counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case rows == 1:
		p.singles--
	case rows > 1:
		p.batches--
	}
	f.counts.add(counts)
	p.ahead.add(counts)
	f.pending--
	if f.pending == 0 {
		p.bytes -= f.bytes
		for len(p.flights) > 0 && p.flights[0].pending == 0 {
			p.pass(p.flights[0])
			p.flights[0] = nil
			p.flights = p.flights[1:]
		}
	}
	p.room.Broadcast()
}

// pass moves the watermark behind a flight.
func (p *part[R]) pass(f *flight) {
	p.saved.Position, p.saved.Done = f.after, f.end
	p.saved.Counts.add(f.counts)
	p.ahead.subtract(f.counts)
}

// finish marks the end, and waits until the watermark is there.
func (p *part[R]) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flights) == 0 {
		p.saved.Done = true
		return
	}
	p.flights[len(p.flights)-1].end = true
	for len(p.flights) > 0 && p.c.ctx.Err() == nil {
		p.room.Wait()
	}
}
