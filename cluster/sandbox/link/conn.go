package link

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a connection.
const (
	maxMessage  = 64 << 20         // bytes; no call comes near it
	maxRunning  = 4096             // calls being answered at once
	writeWithin = 10 * time.Second // for one message: an end that takes none is as good as gone
)

// Conn is a connection to another process. Its methods may be called from any goroutine.
type Conn struct {
	rwc     io.ReadWriteCloser
	service Service
	errs    []error
	fragile bool // a call that is given up ends the connection
	running atomic.Int32
	ordered chan func()

	writers atomic.Int32 // waiting to write; the last one flushes
	writing sync.Mutex
	buf     *bufio.Writer
	enc     *gob.Encoder

	mu    sync.Mutex
	next  uint64
	waits map[uint64]wait
	err   error // why it ended
	done  chan struct{}
}

type wait struct {
	into any
	done chan error
}

// head comes before what is asked or answered.
type head struct {
	ID    uint64
	Call  string // "" in an answer
	Code  int    // of an answer's error: 1 + its place in the list of known ones
	Error string // of an answer; nothing follows it
}

// Open makes a connection of a stream. The errors of errs stay what they are on their way: errors.Is holds at the
// other end, which was given the same list.
func Open(rwc io.ReadWriteCloser, service Service, errs []error) *Conn {
	c := &Conn{
		rwc: rwc, service: service, errs: errs, waits: map[uint64]wait{}, done: make(chan struct{}),
		ordered: make(chan func(), 256), buf: bufio.NewWriterSize(rwc, 32<<10),
	}
	c.enc = gob.NewEncoder(c.buf)
	go c.read()
	go c.answerInOrder()
	return c
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection. Calls under way fail with ErrLost and the error given, and so do all later ones.
func (c *Conn) Close(why error) {
	if !errors.Is(why, ErrLost) {
		why = fmt.Errorf("%w: %w", ErrLost, why)
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = why
	waits := c.waits
	c.waits = nil
	c.mu.Unlock()
	close(c.done)
	_ = c.rwc.Close()
	for _, w := range waits {
		w.done <- why
	}
}

// ask sends a call. What comes of it comes through the channel.
func (c *Conn) ask(name string, q, into any) (chan error, uint64) {
	w := wait{into, make(chan error, 1)}
	c.mu.Lock()
	if c.err != nil {
		w.done <- c.err
		c.mu.Unlock()
		return w.done, 0
	}
	c.next++
	id := c.next
	c.waits[id] = w
	c.mu.Unlock()
	if err := c.write(head{ID: id, Call: name}, q); err != nil {
		c.Close(fmt.Errorf("%w: %w", ErrLost, err))
	}
	return w.done, id
}

func (c *Conn) giveUp(id uint64) {
	c.mu.Lock()
	delete(c.waits, id)
	c.mu.Unlock()
	if c.fragile {
		c.Close(ErrTimeout)
	}
}

// write writes a message; of those who write at the same time the last one sends what all have written.
func (c *Conn) write(h head, body any) error {
	c.writers.Add(1)
	c.writing.Lock()
	defer c.writing.Unlock()
	last := c.writers.Add(-1) == 0
	if d, ok := c.rwc.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(writeWithin))
	}
	err := c.enc.Encode(h)
	if err == nil && body != nil {
		err = c.enc.Encode(body)
	}
	if err == nil && last {
		err = c.buf.Flush()
	}
	return err
}

// bounded is a reader that may read so much until it is allowed more.
type bounded struct {
	r    io.Reader
	left int
}

var errTooLong = errors.New("a message is too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (c *Conn) read() {
	b := &bounded{r: c.rwc}
	dec := gob.NewDecoder(bufio.NewReaderSize(b, 64<<10))
	for {
		b.left = maxMessage
		if err := c.readOne(dec); err != nil {
			c.Close(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
	}
}

func (c *Conn) readOne(dec *gob.Decoder) error {
	var h head
	if err := dec.Decode(&h); err != nil {
		return err
	}
	if h.Call == "" {
		return c.answered(h, dec)
	}
	known, ok := c.service[h.Call]
	if !ok {
		c.answer(h.ID, nil, fmt.Errorf("there is no call %q here", h.Call))
		return skip(dec)
	}
	run, err := known.read(dec)
	if err != nil {
		return err
	}
	do := func() {
		a, err := run()
		c.answer(h.ID, a, err)
	}
	switch {
	case known.inOrder:
		select {
		case c.ordered <- do:
		case <-c.done:
		}
	case c.running.Add(1) > maxRunning:
		c.running.Add(-1)
		c.answer(h.ID, nil, errors.New("too many calls at once"))
	default:
		go func() {
			defer c.running.Add(-1)
			do()
		}()
	}
	return nil
}

func (c *Conn) answerInOrder() {
	for {
		select {
		case do := <-c.ordered:
			do()
		case <-c.done:
			return
		}
	}
}

func (c *Conn) answer(id uint64, a any, err error) {
	h := head{ID: id}
	if err != nil {
		h.Error = err.Error()
		for i, known := range c.errs {
			if errors.Is(err, known) {
				h.Code = i + 1
				break
			}
		}
	}
	if err := c.write(h, a); err != nil {
		c.Close(fmt.Errorf("%w: %w", ErrLost, err))
	}
}

func (c *Conn) answered(h head, dec *gob.Decoder) error {
	c.mu.Lock()
	w, waited := c.waits[h.ID]
	delete(c.waits, h.ID)
	c.mu.Unlock()
	switch {
	case h.Error != "" || h.Code != 0:
		if waited {
			w.done <- c.known(h)
		}
		return nil
	case !waited:
		return skip(dec)
	}
	err := dec.Decode(w.into)
	w.done <- err
	return err
}

// skip reads what nobody waits for.
func skip(dec *gob.Decoder) error { return dec.DecodeValue(reflect.Value{}) }

// known is the error of an answer.
func (c *Conn) known(h head) error {
	if h.Code < 1 || h.Code > len(c.errs) {
		return errors.New(h.Error)
	}
	err := c.errs[h.Code-1]
	if err.Error() == h.Error {
		return err
	}
	return far{h.Error, err}
}

// far is an error that says more than the known one it is.
type far struct {
	text string
	err  error
}

func (f far) Error() string { return f.text }
func (f far) Unwrap() error { return f.err }
