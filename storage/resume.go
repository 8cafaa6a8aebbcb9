package storage

import (
	"context"
	"errors"
	"io"
	"time"
)

// resumes is how often a read that breaks is taken up again without a byte having come in between.
const resumes = 4

// resuming reads a file from a connection, and from another one where that broke.
type resuming struct {
	ctx  context.Context
	open func(ctx context.Context, offset, length int64) (io.ReadCloser, error) // length -1: to the end
	fail func(error) error

	r      io.ReadCloser // nil when there is no connection
	offset int64
	left   int64 // -1: to the end
	broken int   // how often, since the last byte
}

func (r *resuming) Read(p []byte) (int, error) {
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.left > 0 && int64(len(p)) > r.left {
			p = p[:r.left]
		}
		n, err := r.read(p)
		if n > 0 {
			r.offset += int64(n)
			if r.left > 0 {
				r.left -= int64(n)
			}
			r.broken = 0
			return n, nil // an error comes again
		}
		if err == nil || errors.Is(err, io.EOF) && r.left <= 0 {
			return 0, err
		}
		if err := r.mend(err); err != nil {
			return 0, err
		}
	}
}

func (r *resuming) read(p []byte) (int, error) {
	if r.r == nil {
		c, err := r.open(r.ctx, r.offset, r.left)
		if err != nil {
			return 0, err
		}
		r.r = c
	}
	return r.r.Read(p)
}

// mend drops the connection, and answers the error when there is no use in another one.
func (r *resuming) mend(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the length was asked for, and more of the file is there
	}
	if r.r != nil {
		_ = r.r.Close() // it is broken
		r.r = nil
	}
	failed := r.fail(err)
	if r.broken++; r.broken > resumes || !retryable(failed) || r.ctx.Err() != nil {
		return failed
	}
	select {
	case <-time.After(100 * time.Millisecond << r.broken):
		return nil
	case <-r.ctx.Done():
		return failed
	}
}

func (r *resuming) Close() error {
	if r.r == nil {
		return nil
	}
	err := r.r.Close()
	r.r = nil
	return err
}
