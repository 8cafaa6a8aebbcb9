package render

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"shardsh/commands/spec"
)

// sink buffers the output and keeps the first error of a write, since tablewriter swallows errors. Write never fails:
// who writes checks err when a batch of rows is done, and Flush.
type sink struct {
	*bufio.Writer
	first *firstError
	// flushed is when the buffer was last emptied on purpose.
	flushed time.Time
}

// firstError stops writing to out after the first failure.
type firstError struct {
	out io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.out.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		f.err = &spec.Error{Kind: spec.Failed, Op: "write the result", Err: err}
	}
	return n, f.err
}

func newSink(out io.Writer) *sink {
	f := &firstError{out: out}
	return &sink{Writer: bufio.NewWriterSize(f, 64<<10), first: f}
}

// err is the first failure of the output, as a *spec.Error that wraps it.
func (s *sink) err() error { return s.first.err }

func (s *sink) flush(now time.Time) error {
	s.flushed = now
	_ = s.Flush() // the error is kept
	return s.err()
}

// note writes one line for people after what stands on out so far. A note that cannot be written is no reason to fail.
func (s *sink) note(notes io.Writer, text string) {
	_ = s.flush(time.Now())
	_, _ = fmt.Fprintln(notes, Escape(text))
}
