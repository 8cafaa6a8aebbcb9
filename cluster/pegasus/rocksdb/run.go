package rocksdb

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A run is a temporary file of rows by rising keys: for each its two lengths and its bytes, and at the end the number of
// rows, the CRC-32C of all before it, and a magic number, 20 bytes in all.
const (
	runFooter = 20
	runMagic  = 0x73687264_72756e31 // "shrdrun1"
)

// runWriter writes one run. Nil takes nothing.
type runWriter struct {
	name string
	size int // of its buffer
	file *os.File
	buf  *bufio.Writer
	rows uint64
	crc  uint32
	head []byte
}

func (w *runWriter) open() (err error) {
	if w.file != nil {
		return nil
	}
	if w.file, err = os.Create(w.name); err == nil {
		w.buf = bufio.NewWriterSize(summed{w}, w.size)
	}
	return err
}

// summed writes to the file and keeps the checksum.
type summed struct{ *runWriter }

func (s summed) Write(b []byte) (int, error) {
	s.crc = crc32.Update(s.crc, castagnoli, b)
	return s.file.Write(b)
}

func (w *runWriter) put(key, value []byte) error {
	if err := w.open(); err != nil {
		return err
	}
	w.rows++
	w.head = binary.AppendUvarint(binary.AppendUvarint(w.head[:0], uint64(len(key))), uint64(len(value)))
	for _, b := range [...][]byte{w.head, key, value} {
		if _, err := w.buf.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the run; one without rows is a file too.
func (w *runWriter) finish() error {
	if w == nil {
		return nil
	}
	if err := w.open(); err != nil {
		return err
	}
	if err := w.buf.Flush(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint64(nil, w.rows)
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, w.crc), runMagic)
	if _, err := w.file.Write(b); err != nil {
		return err
	}
	err := w.file.Close()
	w.file, w.buf = nil, nil
	return err
}

// close closes a run that was not finished.
func (w *runWriter) close() {
	if w != nil && w.file != nil {
		w.file.Close()
		w.file = nil
	}
}

// runReader reads one run.
type runReader struct {
	name       string
	file       *os.File
	buf        *bufio.Reader
	left       int64 // bytes of rows not read yet
	rows       uint64
	crc, want  uint32
	key, value []byte
	err        error
}

func wholeRun(name string) bool {
	r, err := openRun(name, 16)
	if err == nil {
		r.Close()
	}
	return err == nil
}

func openRun(name string, buffer int) (*runReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &runReader{name: name, file: f}
	if err := r.footer(buffer); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

func (r *runReader) footer(buffer int) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	var b [runFooter]byte
	if r.left = info.Size() - runFooter; r.left < 0 {
		return r.damaged("it is cut short")
	}
	if _, err := r.file.ReadAt(b[:], r.left); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(b[12:]) != runMagic {
		return r.damaged("it is cut short")
	}
	r.rows, r.want = binary.LittleEndian.Uint64(b[:]), le32(b[8:])
	r.buf = bufio.NewReaderSize(io.TeeReader(io.NewSectionReader(r.file, 0, r.left), (*summedReader)(r)), buffer)
	return nil
}

type summedReader runReader

func (s *summedReader) Write(b []byte) (int, error) {
	s.crc = crc32.Update(s.crc, castagnoli, b)
	return len(b), nil
}

func (r *runReader) damaged(why string) error {
	return fmt.Errorf("the temporary file %s: %w", r.name, corruptf("%s", why))
}

// Next moves to the next row. At the end the checksum must be right.
func (r *runReader) Next() bool {
	if r.err != nil {
		return false
	}
	if r.left == 0 {
		if r.rows != 0 || r.crc != r.want {
			r.err = r.damaged("it was altered")
		}
		return false
	}
	var size [2]uint64
	for i := range size {
		v, err := binary.ReadUvarint(r.buf)
		if err != nil {
			return r.fail(err)
		}
		size[i] = v
		r.left -= int64(len(binary.AppendUvarint(nil, v)))
	}
	if r.rows == 0 || r.left < 0 || size[0] > uint64(r.left) || size[1] > uint64(r.left)-size[0] {
		r.err = r.damaged("it was altered")
		return false
	}
	r.rows--
	r.left -= int64(size[0] + size[1])
	return r.fill(&r.key, size[0]) && r.fill(&r.value, size[1])
}

func (r *runReader) fill(b *[]byte, n uint64) bool {
	if uint64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	if _, err := io.ReadFull(r.buf, *b); err != nil {
		return r.fail(err)
	}
	return true
}

func (r *runReader) fail(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = r.damaged("it is cut short")
	}
	r.err = err
	return false
}

// Key is the key of the row.
func (r *runReader) Key() []byte { return r.key }

// Value is the value of the row.
func (r *runReader) Value() []byte { return r.value }

// Err is what ended the rows before their end.
func (r *runReader) Err() error { return r.err }

// Close closes the file.
func (r *runReader) Close() { r.file.Close() }
