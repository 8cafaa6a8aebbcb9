package storage

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// CopyOptions say how to copy. The zero value copies four files at a time as fast as it goes.
type CopyOptions struct {
	// Parallel is how many files are under way at once; 0 is 4.
	Parallel int
	// Limit bounds the bytes per second of all files together; nil: nothing does. Its limit may be changed while the copy
	// runs. NewLimit makes one.
	Limit *rate.Limiter
	// Attempts is how often a file is tried as a whole before the copy fails; 0 is 5. Before each one but the first there
	// is a pause, which doubles: Pause, 0 is 500 ms.
	Attempts int
	Pause    time.Duration
	// Keep copies files even when the destination has them with the same size and checksum.
	Keep bool
	// Progress is told how far the copy is, whenever that has changed, from several goroutines but never at once.
	Progress func(Progress)
	// Retry is told of each file that has failed and is tried again after the pause, as Progress is.
	Retry func(Move, error)
	// Done is told of each file that is at its destination, copied or skipped, as Progress is.
	Done func(Copied)
}

// Progress is how far a copy is. Bytes never count twice what was sent again.
type Progress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
	Skipped           int // files of Files that the destination had
}

// Copied is a file at its destination.
type Copied struct {
	From, To string
	Size     int64
	MD5      string
	Skipped  bool // it was there
}

// maxBurst is the most that one file takes from a limit at once.
const maxBurst = pourSize

// NewLimit makes a limit of bytes per second; 0 is none. SetLimit of it does the same to one in use.
func NewLimit(bytesPerSecond int64) *rate.Limiter {
	l := rate.NewLimiter(rate.Inf, maxBurst)
	SetLimit(l, bytesPerSecond)
	return l
}

// SetLimit changes a limit, for copies that run too; 0 bytes per second is no limit.
func SetLimit(l *rate.Limiter, bytesPerSecond int64) {
	if bytesPerSecond <= 0 {
		l.SetLimit(rate.Inf)
		return
	}
	l.SetLimit(rate.Limit(bytesPerSecond))
}

// Move is a file to copy.
type Move struct {
	From Entry
	To   string
}

// ListTree answers what Tree would copy: the files below a directory, or a file, and where they would go. Below a file's
// name nothing is: a file goes to exactly `to`.
func ListTree(ctx context.Context, from Service, dir, to string) ([]Move, error) {
	dir, err := clean(dir)
	if err != nil {
		return nil, err
	}
	if to, err = clean(to); err != nil {
		return nil, err
	}
	var all []Move
	for e, err := range Walk(ctx, from, dir) {
		switch {
		case err != nil:
			return nil, err
		case e.Dir:
		case e.Path == dir:
			all = append(all, Move{e, to})
		default:
			rest := e.Path
			if dir != "" {
				rest = e.Path[len(dir)+1:]
			}
			all = append(all, Move{e, join(to, rest)})
		}
	}
	return all, nil
}

// Tree copies everything below a directory, or one file, from service to service. It ends with the first file that could
// not be copied however often it was tried; called again, it goes on after what is there.
func Tree(ctx context.Context, from Service, dir string, into Service, to string, o CopyOptions) (Progress, error) {
	moves, err := ListTree(ctx, from, dir, to)
	if err != nil {
		return Progress{}, err
	}
	return CopyAll(ctx, from, into, moves, o)
}

// Copy copies one file.
func Copy(ctx context.Context, from Service, name string, into Service, to string, o CopyOptions) (Copied, error) {
	e, err := from.Stat(ctx, name)
	if err != nil {
		return Copied{}, err
	}
	if e.Dir {
		return Copied{}, failure("copy "+name, from.Name(), NotAFile, errors.New("it is a directory"))
	}
	var made Copied
	done := o.Done
	o.Done = func(c Copied) {
		made = c
		if done != nil {
			done(c)
		}
	}
	_, err = CopyAll(ctx, from, into, []Move{{e, to}}, o)
	return made, err
}

// CopyAll copies files of one service to another.
func CopyAll(ctx context.Context, from, into Service, moves []Move, o CopyOptions) (Progress, error) {
	c := &copier{from: from, into: into, o: o}
	for _, m := range moves {
		c.at.TotalFiles++
		c.at.TotalBytes += m.From.Size
	}
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(positive(o.Parallel, 4))
	for _, m := range moves {
		if running.Err() != nil {
			break
		}
		group.Go(func() error { return c.file(running, m) })
	}
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, err
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// copier is one CopyAll.
type copier struct {
	from, into Service
	o          CopyOptions

	mu sync.Mutex
	at Progress
}

// file copies one, as often as it takes.
func (c *copier) file(ctx context.Context, m Move) error {
	pause := c.o.Pause
	if pause <= 0 {
		pause = 500 * time.Millisecond
	}
	for attempt := 1; ; attempt++ {
		made, err := c.attempt(ctx, m)
		if err == nil {
			c.arrived(made)
			return nil
		}
		if ctx.Err() != nil || attempt >= positive(c.o.Attempts, 5) || !retryable(err) {
			return err
		}
		c.again(m, err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, 30*time.Second)
	}
}

func (c *copier) again(m Move, err error) {
	if c.o.Retry == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Retry(m, err)
}

func (c *copier) arrived(made Copied) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Files++
	if made.Skipped {
		c.at.Skipped++
		c.at.Bytes += made.Size
	}
	if c.o.Done != nil {
		c.o.Done(made)
	}
	if c.o.Progress != nil {
		c.o.Progress(c.at)
	}
}

// moved counts bytes, or takes back those of an attempt that failed.
func (c *copier) moved(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Bytes += n
	if c.o.Progress != nil {
		c.o.Progress(c.at)
	}
}

// meter waits until n bytes more may be moved.
func (c *copier) meter(ctx context.Context) func(n int) error {
	return func(n int) error {
		for c.o.Limit != nil && n > 0 {
			// Small enough that a limit that is changed holds within a quarter of a second.
			some := min(n, c.o.Limit.Burst(), int(max(4<<10, min(float64(c.o.Limit.Limit())/4, maxBurst))))
			if err := c.o.Limit.WaitN(ctx, some); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return failure("copy", c.into.Name(), NoAnswer, err)
			}
			n -= some
		}
		return ctx.Err()
	}
}

// attempt copies a file once, unless it is there.
func (c *copier) attempt(ctx context.Context, m Move) (Copied, error) {
	made := Copied{From: m.From.Path, To: m.To, Size: m.From.Size}
	if !c.o.Keep {
		sum, same, err := c.same(ctx, m)
		if err != nil || same {
			made.MD5, made.Skipped = sum, same
			return made, err
		}
	}
	var moved int64
	sum, verified, err := c.stream(ctx, m, &moved)
	if err == nil && !verified {
		err = c.readBack(ctx, m, sum)
	}
	if err != nil {
		c.moved(-moved)
	}
	made.MD5 = sum
	return made, err
}

// same tells whether the destination has the file. Checksums that no service tells are made by reading.
func (c *copier) same(ctx context.Context, m Move) (sum string, same bool, err error) {
	there, err := c.into.Stat(ctx, m.To)
	switch ReasonOf(err) {
	case NoFile, NoPlace, Corrupt:
		return "", false, nil
	}
	if err != nil || there.Dir || there.Size != m.From.Size {
		return "", false, err
	}
	if there.MD5 != "" && m.From.MD5 != "" {
		return there.MD5, there.MD5 == m.From.MD5, nil
	}
	have, err := Sum(ctx, c.into, there)
	if err != nil {
		return "", false, err
	}
	want, err := Sum(ctx, c.from, m.From)
	return want, have == want, err
}

// stream moves the bytes of a file and answers their MD5, and whether the destination has vouched for them.
func (c *copier) stream(ctx context.Context, m Move, moved *int64) (sum string, verified bool, err error) {
	r, err := c.from.Open(ctx, m.From.Path, 0, -1)
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	w, err := c.into.Create(ctx, m.To, m.From.Size)
	if err != nil {
		return "", false, err
	}
	sum, err = c.fill(ctx, w, r, m.From, moved)
	if err != nil {
		return "", false, giveUp(w, err)
	}
	if err := w.Commit(); err != nil {
		return "", false, giveUp(w, err)
	}
	if s, ok := w.(summed); ok {
		sum = s.MD5()
	}
	k, ok := w.(checked)
	return sum, ok && k.Checked(), nil
}

// fill writes a file's bytes, and makes sure before anybody sees them that they are those of the source.
func (c *copier) fill(ctx context.Context, w Writer, r io.Reader, from Entry, moved *int64) (string, error) {
	var h hash.Hash
	to := io.Writer(w)
	_, sums := w.(summed)
	if !sums || from.MD5 != "" {
		h = md5.New()
		to = io.MultiWriter(w, h)
	}
	counted := writerFunc(func(p []byte) (int, error) {
		n, err := to.Write(p)
		*moved += int64(n)
		c.moved(int64(n))
		return n, err
	})
	n, err := pour(counted, r, c.meter(ctx))
	if err != nil {
		return "", err
	}
	if n != from.Size {
		return "", failure("read "+from.Path, c.from.Name(), Broken, fmt.Errorf("%d bytes came of %d", n, from.Size))
	}
	if h == nil {
		return "", nil
	}
	sum := hex.EncodeToString(h.Sum(nil))
	return sum, c.asSource(ctx, from, sum)
}

// asSource compares what was read with what the source says it keeps. It is asked again before it is blamed: a list may
// take for an MD5 what is none.
func (c *copier) asSource(ctx context.Context, from Entry, sum string) error {
	if from.MD5 == "" || from.MD5 == sum {
		return nil
	}
	again, err := c.from.Stat(ctx, from.Path)
	if err != nil || again.MD5 == "" || again.MD5 == sum && again.Size == from.Size {
		return err
	}
	return failure("read "+from.Path, c.from.Name(), Corrupt, fmt.Errorf("its MD5 is %s, and what was read has %s", from.MD5, sum))
}

// readBack compares what the destination holds with what was sent.
func (c *copier) readBack(ctx context.Context, m Move, sum string) error {
	have, n, err := readSum(ctx, c.into, m.To, nil)
	if err != nil {
		return err
	}
	if have != sum || n != m.From.Size {
		why := fmt.Errorf("%d bytes with MD5 %s were sent, and %d with %s are there", m.From.Size, sum, n, have)
		// The error of the removal would hide why: the copy is tried again over it, or fails with this.
		_ = c.into.Remove(ctx, m.To)
		return failure("verify "+m.To, c.into.Name(), Corrupt, why)
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Base is the last part of a path, "" for the root.
func Base(name string) string {
	if name = path.Base("/" + name); name == "/" {
		return ""
	}
	return name
}
