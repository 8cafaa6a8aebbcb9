package render

import (
	"context"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// What a reader may wait: the first rows are out 200 ms after the first one was there.
const (
	measureFor  = 150 * time.Millisecond // rows may be held back for measuring, counted from the first
	flushWithin = 40 * time.Millisecond  // a row written is not left in the buffer longer
)

// What stands between producer and writer.
const (
	queueRows  = 512
	queueBytes = 1 << 20
)

// feed reads a sequence of rows in a goroutine of its own, so that the writer can tell a slow producer from a fast one.
// A row that was handed over belongs to the writer. close waits for the producer, which must heed the context its
// query was given.
type feed struct {
	mu      sync.Mutex
	room    *sync.Cond // signalled when the queue was taken, or nobody will take more
	rows    []spec.Row
	bytes   int
	err     error
	done    bool
	stopped bool
	crash   any

	wake     chan struct{} // something to take
	finished chan struct{} // the goroutine has ended
}

func newFeed(rows iter.Seq2[spec.Row, error]) *feed {
	f := &feed{wake: make(chan struct{}, 1), finished: make(chan struct{})}
	f.room = sync.NewCond(&f.mu)
	go f.run(rows)
	return f
}

func (f *feed) run(rows iter.Seq2[spec.Row, error]) {
	defer close(f.finished)
	defer f.signal()
	defer func() {
		crash := recover()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.done = true
		if crash != nil {
			f.crash = producerPanic{crash, string(debug.Stack())}
		}
	}()
	if rows == nil {
		return
	}
	for row, err := range rows {
		if !f.push(row, err) {
			return
		}
	}
}

// producerPanic is raised again where the rows are written, with the stack of where it happened.
type producerPanic struct {
	value any
	stack string
}

func (f *feed) push(row spec.Row, err error) bool {
	size := 0
	if err == nil {
		size = rowSize(row)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for (len(f.rows) >= queueRows || f.bytes >= queueBytes) && !f.stopped {
		f.room.Wait()
	}
	if f.stopped {
		return false
	}
	if err != nil {
		f.err = err
		return false
	}
	f.rows = append(f.rows, row)
	f.bytes += size
	if len(f.rows) == 1 {
		f.signal()
	}
	return true
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns the rows that are there, leaving spare as the queue, and whether they were the last.
func (f *feed) take(spare []spec.Row) (rows []spec.Row, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows, f.rows, f.bytes = f.rows, spare[:0], 0
	f.room.Signal()
	return rows, f.done
}

// close ends the producer, waits for it, and returns the error it ended with. A panic of the producer goes on here.
func (f *feed) close() error {
	f.mu.Lock()
	f.stopped = true
	f.room.Signal()
	f.mu.Unlock()
	<-f.finished
	if f.crash != nil {
		panic(f.crash)
	}
	return f.err
}

// rowSize estimates the memory of a row.
func rowSize(row spec.Row) int {
	n := 24
	for _, cell := range row {
		n += 24
		switch c := cell.(type) {
		case string:
			n += len(c)
		case []byte:
			n += len(c)
		case []string:
			for _, s := range c {
				n += 16 + len(s)
			}
		case map[string]string:
			for k, v := range c {
				n += 64 + len(k) + len(v)
			}
		}
	}
	return n
}

// pump moves one section from its rows into a document.
type pump struct {
	doc     document
	sec     *section
	out     *sink
	feed    *feed
	rows    int64
	begun   bool
	settled bool
	settle  time.Time // when the document must let go of rows it measures
}

// run writes the section. The rows before an error are written, the section is ended only when there was none.
func (p *pump) run(ctx context.Context) error {
	p.feed = newFeed(p.sec.rows)
	err := p.loop(ctx)
	if closed := p.feed.close(); closed != nil && p.out.err() == nil {
		err = closed // says more than a cancelled context does
	}
	if err == nil {
		if err = p.begin(); err == nil {
			err = p.doc.end()
		}
	} else if p.begun && p.out.err() == nil {
		p.doc.abort()
	}
	_ = p.out.flush(time.Now())
	if failed := p.out.err(); failed != nil {
		return failed
	}
	return err
}

func (p *pump) begin() error {
	if p.begun {
		return nil
	}
	p.begun = true
	return p.doc.begin(p.sec)
}

func (p *pump) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var rows []spec.Row
	for {
		var done bool
		rows, done = p.feed.take(rows)
		if err := p.write(rows); err != nil {
			return err
		}
		clear(rows)
		if done && len(rows) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		wait, err := p.due(time.Now(), done)
		if err != nil {
			return err
		}
		timer.Reset(wait)
		if done {
			continue
		}
		select {
		case <-p.feed.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

func (p *pump) write(rows []spec.Row) error {
	if len(rows) == 0 {
		return nil
	}
	if !p.begun {
		p.settle = time.Now().Add(measureFor)
	}
	if err := p.begin(); err != nil {
		return err
	}
	for _, row := range rows {
		if p.sec.single && p.rows == 1 {
			return spec.Errorf(spec.Failed, "%s answered more than the one row it announced", p.sec.title())
		}
		p.rows++
		if err := p.doc.row(p.sec.project(row)); err != nil {
			return err
		}
	}
	return p.out.err()
}

// due does what time demands and returns how long nothing more has to be done.
func (p *pump) due(now time.Time, done bool) (time.Duration, error) {
	wait := time.Hour
	if p.begun && !p.settled && !done {
		if left := p.settle.Sub(now); left > 0 {
			wait = left
		} else {
			p.settled = true
			if err := p.doc.settle(); err != nil {
				return 0, err
			}
			p.out.flushed = time.Time{}
		}
	}
	if p.out.Buffered() > 0 {
		left := flushWithin - now.Sub(p.out.flushed)
		if left <= 0 {
			return wait, p.out.flush(now)
		}
		wait = min(wait, left)
	}
	return wait, nil
}
