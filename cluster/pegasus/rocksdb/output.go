package rocksdb

import (
	"bufio"
	"context"
	"crypto/md5" // what Pegasus lists in its metadata
	"encoding/hex"
	"fmt"
	"hash"
)

// WrittenFile is a file that was written, as the metadata of backups and bulk loads list it.
type WrittenFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	MD5  string `json:"md5"`  // hexadecimal
}

// writeBuffer is how many bytes are handed to an Output at once.
const writeBuffer = 64 << 10

// fileWriter writes one file and knows its digest.
type fileWriter struct {
	name string
	out  Output
	buf  *bufio.Writer
	sum  hash.Hash
	size int64
}

func createFile(ctx context.Context, sink Sink, name string) (*fileWriter, error) {
	out, err := sink.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	f := &fileWriter{name: name, out: out, sum: md5.New()}
	f.buf = bufio.NewWriterSize(digested{f}, writeBuffer)
	return f, nil
}

func (f *fileWriter) Write(b []byte) (int, error) { return f.buf.Write(b) }

type digested struct{ *fileWriter }

func (d digested) Write(b []byte) (int, error) {
	n, err := d.out.Write(b)
	d.sum.Write(b[:n])
	d.size += int64(n)
	return n, err
}

// commit writes what is left and makes the file appear.
func (f *fileWriter) commit() (WrittenFile, error) {
	if err := f.buf.Flush(); err != nil {
		f.out.Abort()
		return WrittenFile{}, fmt.Errorf("%s: %w", f.name, err)
	}
	if err := f.out.Commit(); err != nil {
		return WrittenFile{}, fmt.Errorf("%s: %w", f.name, err)
	}
	return WrittenFile{f.name, f.size, hex.EncodeToString(f.sum.Sum(nil))}, nil
}

func writeFile(ctx context.Context, sink Sink, name string, content []byte) (WrittenFile, error) {
	f, err := createFile(ctx, sink, name)
	if err != nil {
		return WrittenFile{}, err
	}
	if _, err := f.Write(content); err != nil {
		f.out.Abort()
		return WrittenFile{}, fmt.Errorf("%s: %w", name, err)
	}
	return f.commit()
}

// tableSeries writes rows that rise as tables of about one size, one after the other.
type tableSeries struct {
	ctx     context.Context
	sink    Sink
	options WriterOptions
	target  int64                // bytes of a table, reached and not much passed
	name    func(i int) string   // of table i, from 0
	done    func(FileMeta) error // called with each finished table; nil is none
	codec   *codec
	files   []WrittenFile
	file    *fileWriter
	table   *TableWriter
}

func (s *tableSeries) add(key InternalKey, value []byte) error {
	if s.table == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.table.Add(key, value); err != nil {
		return fmt.Errorf("%s: %w", s.file.name, err)
	}
	if s.table.Size() >= s.target {
		return s.end()
	}
	return nil
}

func (s *tableSeries) begin() error {
	f, err := createFile(s.ctx, s.sink, s.name(len(s.files)))
	if err != nil {
		return err
	}
	t, err := newTableWriter(f, s.options, s.codec)
	if err != nil {
		f.out.Abort()
		return err
	}
	s.file, s.table = f, t
	return nil
}

func (s *tableSeries) end() error {
	if s.table == nil {
		return nil
	}
	meta, err := s.table.Finish()
	if err != nil {
		err = fmt.Errorf("%s: %w", s.file.name, err)
		s.abort()
		return err
	}
	f := s.file
	s.file, s.table = nil, nil
	written, err := f.commit()
	if err != nil {
		return err
	}
	s.files = append(s.files, written)
	if s.done != nil {
		return s.done(meta)
	}
	return nil
}

// abort leaves nothing of the table that is being written.
func (s *tableSeries) abort() {
	if s.file != nil {
		s.file.out.Abort()
	}
	s.file, s.table = nil, nil
}
