package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/commands/spec"
)

// CopyOptions bound a Copy. The zero value of each field but What stands for what its comment says.
type CopyOptions struct {
	// What is being done, for errors and outcomes: "copy TableA to TableB of ClusterB".
	What string
	// Into says what the rows are written to, so that a journal about another table is not gone on from. It is for what
	// the job's identity cannot know, since it may not exist when the job is planned.
	Into string
	// Window bounds the batches of a part that were read and are not yet behind its watermark; 40. That many, and what
	// was acknowledged since the last Save, are sent again after a crash.
	Window int
	// Batches and Singles bound the pieces of a part that are being written: those of several rows, 20, and those of
	// one, 500. Writes bounds all pieces that are being written to a store which does not mind; 512.
	Batches, Singles, Writes int
	// Memory bounds the bytes of rows that were read and not yet acknowledged; 64 MiB. Every part may have one batch,
	// however large.
	Memory int64
	// Patience bounds the time without any progress while errors are of the kind that goes away; 10 minutes.
	Patience time.Duration
	// SaveEvery is how often the journal is saved; 1 s.
	SaveEvery time.Duration
}

func (o *CopyOptions) complete() {
	o.Window, o.Batches, o.Singles = cmp.Or(o.Window, 40), cmp.Or(o.Batches, 20), cmp.Or(o.Singles, 500)
	o.Writes, o.Memory = cmp.Or(o.Writes, 512), cmp.Or(o.Memory, 64<<20)
	o.Patience, o.SaveEvery = cmp.Or(o.Patience, 10*time.Minute), cmp.Or(o.SaveEvery, time.Second)
}

const (
	// LookEvery is how often the rate is asked for and the figures are shown.
	LookEvery = 200 * time.Millisecond
	// lastWords is how long writes that are under way may take after Ctrl-C or a fatal error.
	lastWords = 2 * time.Second
)

// Copy writes every row of a source to a sink. All parts are read beside each other. What was acknowledged without a gap
// before it moves the watermark of a part, and watermarks are what the journal has: a killed copy goes on from them and
// writes again at most what was beyond them. Totals are of this run and those before it.
//
// An error that is fatal to either side ends it as spec.PartlyDone, unless nothing was done; the end of the context ends
// it as spec.Interrupted. Either leaves the journal as the last acknowledged write left it.
func Copy[R any](ctx context.Context, src Source[R], dst Sink[R], o CopyOptions, w spec.Work) (Totals, error) {
	o.complete()
	c := &copier[R]{src: src, dst: dst, o: o, work: w, gate: newGate(o.Writes), pace: NewPacer(w.Rate)}
	c.ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	c.writing, c.abort = context.WithCancel(context.WithoutCancel(ctx))
	defer c.abort()
	c.progressed()
	err := c.begin()
	if err == nil {
		err = c.run()
	}
	t := c.totals()
	return t, c.outcome(ctx, t, err)
}

// copier is a Copy under way.
type copier[R any] struct {
	src  Source[R]
	dst  Sink[R]
	o    CopyOptions
	work spec.Work
	gate *gate
	pace *Pacer

	ctx     context.Context // of all but writes; ends with the first fatal error, which is its cause
	stop    context.CancelCauseFunc
	writing context.Context // of writes: those under way outlive ctx by lastWords
	abort   context.CancelFunc

	parts []*part[R]
	moved atomic.Int64 // the time of the last progress anywhere, in Unix nanoseconds

	mu       sync.Mutex
	troubles troubles
}

// begin makes the parts: those of the journal, or those of the source.
func (c *copier[R]) begin() error {
	var j journal
	found, err := c.work.Restore(&j)
	if err != nil {
		return err
	}
	if found {
		return c.restore(&j)
	}
	list, err := c.list()
	if err != nil {
		return err
	}
	for _, p := range list {
		c.add(journalPart{Part: p.Number, Start: p.Start, Position: p.Start, About: p.Rows, AboutBytes: p.Bytes})
	}
	return nil
}

// list asks for the parts until an answer comes.
func (c *copier[R]) list() ([]Part, error) {
	var pause Backoff
	for {
		list, err := c.src.Parts(c.ctx)
		if err == nil || c.ctx.Err() != nil || c.src.Judge(err) == Fatal {
			return list, err
		}
		c.trouble(err)
		if c.outOfPatience() || !pause.Sleep(c.ctx) {
			return nil, err
		}
	}
}

func (c *copier[R]) add(p journalPart) {
	x := &part[R]{c: c, saved: p, at: p.Position, tasks: make(chan task[R])}
	x.room = sync.NewCond(&x.mu)
	c.parts = append(c.parts, x)
}

// run copies all parts that are not done, and saves and shows how far it is.
func (c *copier[R]) run() error {
	var todo []*part[R]
	for _, p := range c.parts {
		if !p.saved.Done {
			todo = append(todo, p)
		}
	}
	share := c.o.Memory / int64(max(len(todo), 1))
	stopped := context.AfterFunc(c.ctx, c.wake)
	defer stopped()
	var group sync.WaitGroup
	for _, p := range todo {
		p.share = share
		group.Go(p.run)
	}
	over := make(chan struct{})
	go func() { group.Wait(); close(over) }()
	look := func() { c.pace.Look(); c.show() }
	if err := Attend(over, LookEvery, c.o.SaveEvery, look, c.save); err != nil {
		c.stop(fmt.Errorf("the journal cannot be saved: %w", err))
		<-over
	}
	err := c.save()
	c.show()
	if cause := context.Cause(c.ctx); cause != nil && !c.done() {
		return cause
	}
	return err
}

func (c *copier[R]) done() bool {
	for _, p := range c.parts {
		p.mu.Lock()
		done := p.saved.Done
		p.mu.Unlock()
		if !done {
			return false
		}
	}
	return true
}

// wake lets everybody see that it is over, and bounds the writes that are under way.
func (c *copier[R]) wake() {
	time.AfterFunc(lastWords, c.abort)
	c.gate.end()
	for _, p := range c.parts {
		p.mu.Lock()
		p.room.Broadcast()
		p.mu.Unlock()
	}
}

func (c *copier[R]) progressed() { c.moved.Store(time.Now().UnixNano()) }

func (c *copier[R]) outOfPatience() bool {
	return time.Since(time.Unix(0, c.moved.Load())) > c.o.Patience
}

// trouble counts an error.
func (c *copier[R]) trouble(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles.add(err)
}

// outcome turns what ended the copy into what the shell is told.
func (c *copier[R]) outcome(ctx context.Context, t Totals, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &spec.Error{Kind: spec.Interrupted, Op: c.o.What, Err: fmt.Errorf("stopped: %s", t)}
	}
	e := &spec.Error{Kind: spec.KindOf(err), Op: c.o.What, Err: err}
	var inner *spec.Error
	if errors.As(err, &inner) && inner.Err != nil {
		e.Endpoint, e.Code, e.Hint, e.Err = inner.Endpoint, inner.Code, inner.Hint, inner.Err
	}
	if t.Counts != (Counts{}) {
		e.Kind, e.Err = spec.PartlyDone, fmt.Errorf("%s; then it ended: %w", t, e.Err)
	}
	return e
}
