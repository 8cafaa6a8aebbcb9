package rocksdb

import (
	"errors"
	"io"
)

// DefaultReadAhead is how many bytes an iterator asks its file for at once when it reads on and on.
const DefaultReadAhead = 256 << 10

// blockReader reads and verifies blocks of one table. What it answers is valid until its next read.
type blockReader struct {
	file     File
	limit    int64 // where the blocks end
	checksum Checksum
	most     int // bytes read ahead, once reading goes on and on
	codec    *codec

	ahead  []byte // what was read last
	at     int64  // where in the file it lies
	chunk  int    // how much to read the next time
	opened []byte // the last block, decompressed
}

// raw returns the block as it lies in the file, with its trailer. Reading on makes the portions grow.
func (r *blockReader) raw(h handle) ([]byte, error) {
	if err := h.within(r.limit); err != nil {
		return nil, err
	}
	if h.size > maxBlock {
		return nil, corruptf("a block of %d bytes", h.size)
	}
	start, size := int64(h.offset), int(h.size)+blockTrailer
	if have := r.at + int64(len(r.ahead)); start < r.at || start+int64(size) > have {
		if start < r.at || start > have {
			r.chunk = 0
		}
		if err := r.fill(start, size); err != nil {
			return nil, err
		}
	}
	from := int(start - r.at)
	return r.ahead[from : from+size : from+size], nil
}

func (r *blockReader) fill(start int64, size int) error {
	r.chunk = min(max(2*r.chunk, size), max(r.most, size))
	n := int(min(int64(max(r.chunk, size)), r.limit-start))
	if cap(r.ahead) < n {
		r.ahead = make([]byte, n)
	}
	r.at, r.ahead = start, r.ahead[:n]
	if err := readFull(r.file, r.ahead, start); err != nil {
		r.ahead = r.ahead[:0]
		return err
	}
	return nil
}

// readFull reads exactly len(b) bytes that the file has by its size.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corruptf("the file ends at %d, before its size", at+int64(n))
	}
	return err
}

// read returns what a block holds.
func (r *blockReader) read(h handle) ([]byte, error) {
	raw, err := r.raw(h)
	if err != nil {
		return nil, err
	}
	if err := r.verify(raw, h); err != nil {
		return nil, err
	}
	return r.open(raw)
}

func (r *blockReader) verify(raw []byte, h handle) error {
	n := len(raw) - 4
	if got, want := r.checksum.sum(raw[:n]), le32(raw[n:]); got != want && r.checksum != NoChecksum {
		return corruptf("the %v of the block at %d is %08x instead of %08x", r.checksum, h.offset, got, want)
	}
	return nil
}

func (r *blockReader) open(raw []byte) ([]byte, error) {
	n := len(raw) - blockTrailer
	how := Compression(raw[n])
	b, err := r.codec.decompress(r.opened, raw[:n], how)
	if err == nil && how != Uncompressed {
		r.opened = b
	}
	return b, err
}
