package render

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"shardsh/commands/spec"
)

// run is a file of sorted rows. It has no name while it is used, where the system allows that, so that not even a
// killed shell leaves it behind.
type run struct {
	file   *os.File
	named  bool
	writer *bufio.Writer
	reader *bufio.Reader
	line   []byte
}

// runBuffer is the memory of one run while it is written or read.
const runBuffer = 64 << 10

func newRun(dir string) (*run, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, spillError(err)
		}
	}
	file, err := os.CreateTemp(dir, "shardsh-sort-*")
	if err != nil {
		return nil, spillError(err)
	}
	r := &run{file: file, writer: bufio.NewWriterSize(file, runBuffer)}
	r.named = os.Remove(file.Name()) != nil
	return r, nil
}

func spillError(err error) error {
	return (&spec.Error{Kind: spec.Failed, Op: "sort on disk", Err: err}).
		WithHint("sort fewer rows: put a --filter before, or make room in the temporary directory")
}

func (r *run) close() {
	_ = r.file.Close()
	if r.named {
		_ = os.Remove(r.file.Name())
	}
}

func (r *run) write(row spec.Row) error {
	r.line = appendRow(r.line[:0], row)
	if _, err := r.writer.Write(r.line); err != nil {
		return spillError(err)
	}
	return nil
}

// rewind ends writing; read answers the first row next.
func (r *run) rewind() error {
	if err := r.writer.Flush(); err != nil {
		return spillError(err)
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return spillError(err)
	}
	r.writer, r.line = nil, nil
	r.reader = bufio.NewReaderSize(r.file, runBuffer)
	return nil
}

// read answers the next row, io.EOF after the last.
func (r *run) read() (spec.Row, error) {
	n, err := binary.ReadUvarint(r.reader)
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, spillError(err)
	}
	row := make(spec.Row, n)
	d := rowReader{r: r.reader}
	for i := range row {
		row[i] = d.cell()
	}
	if d.err != nil {
		return nil, spillError(d.err)
	}
	return row, nil
}

// The first byte of a cell says its type; what has another is kept as the text people would see.
const (
	tagNil byte = iota
	tagFalse
	tagTrue
	tagInt
	tagInt32
	tagInt64
	tagUint32
	tagUint64
	tagFloat
	tagString
	tagBytes
	tagDuration
	tagTime
	tagList
	tagMap
	tagNilBytes
	tagNilList
	tagNilMap
)

// appendRow writes the number of cells and the cells: a tag, then a varint, eight bytes, or a length and bytes.
func appendRow(dst []byte, row spec.Row) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(row)))
	for _, cell := range row {
		dst = appendSpilled(dst, cell)
	}
	return dst
}

func appendSpilled(dst []byte, cell any) []byte {
	switch c := cell.(type) {
	case nil:
		return append(dst, tagNil)
	case bool:
		if c {
			return append(dst, tagTrue)
		}
		return append(dst, tagFalse)
	case int:
		return binary.AppendVarint(append(dst, tagInt), int64(c))
	case int32:
		return binary.AppendVarint(append(dst, tagInt32), int64(c))
	case int64:
		return binary.AppendVarint(append(dst, tagInt64), c)
	case uint32:
		return binary.AppendUvarint(append(dst, tagUint32), uint64(c))
	case uint64:
		return binary.AppendUvarint(append(dst, tagUint64), c)
	case float64:
		return binary.LittleEndian.AppendUint64(append(dst, tagFloat), math.Float64bits(c))
	case string:
		return appendSized(append(dst, tagString), c)
	case time.Duration:
		return binary.AppendVarint(append(dst, tagDuration), int64(c))
	case time.Time:
		return appendTimeCell(dst, c)
	case []byte:
		if c == nil {
			return append(dst, tagNilBytes)
		}
		return appendSized(append(dst, tagBytes), c)
	case []string:
		if c == nil {
			return append(dst, tagNilList)
		}
		dst = binary.AppendUvarint(append(dst, tagList), uint64(len(c)))
		for _, s := range c {
			dst = appendSized(dst, s)
		}
		return dst
	case map[string]string:
		if c == nil {
			return append(dst, tagNilMap)
		}
		dst = binary.AppendUvarint(append(dst, tagMap), uint64(len(c)))
		for k, v := range c {
			dst = appendSized(appendSized(dst, k), v)
		}
		return dst
	}
	switch v := otherValue(cell).(type) {
	case bool, int64, uint64, float64, string:
		return appendSpilled(dst, v)
	default:
		return appendSized(append(dst, tagString), fmt.Sprint(v))
	}
}

func appendSized[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendTimeCell keeps the instant and the offset, which is all that formats use.
func appendTimeCell(dst []byte, t time.Time) []byte {
	text, err := t.Round(0).MarshalBinary()
	if err != nil { // an offset with odd seconds in an old Go, or out of range: the instant remains
		text, _ = t.UTC().MarshalBinary()
	}
	return appendSized(append(dst, tagTime), text)
}

// rowReader keeps the first error; after it every cell is nil.
type rowReader struct {
	r   *bufio.Reader
	err error
}

func (d *rowReader) cell() any {
	tag, err := d.r.ReadByte()
	d.keep(err)
	if d.err != nil {
		return nil
	}
	switch tag {
	case tagFalse, tagTrue:
		return tag == tagTrue
	case tagInt:
		return int(d.varint())
	case tagInt32:
		return int32(d.varint())
	case tagInt64:
		return d.varint()
	case tagUint32:
		return uint32(d.uvarint())
	case tagUint64:
		return d.uvarint()
	case tagFloat:
		var b [8]byte
		_, err := io.ReadFull(d.r, b[:])
		d.keep(err)
		return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
	case tagString:
		return string(d.sized())
	case tagBytes:
		return d.sized()
	case tagDuration:
		return time.Duration(d.varint())
	case tagTime:
		var t time.Time
		d.keep(t.UnmarshalBinary(d.sized()))
		return t
	case tagList:
		list := []string{}
		for n := d.uvarint(); n > 0 && d.err == nil; n-- {
			list = append(list, string(d.sized()))
		}
		return list
	case tagMap:
		m := map[string]string{}
		for n := d.uvarint(); n > 0 && d.err == nil; n-- {
			key := string(d.sized())
			m[key] = string(d.sized())
		}
		return m
	case tagNilBytes:
		return []byte(nil)
	case tagNilList:
		return []string(nil)
	case tagNilMap:
		return map[string]string(nil)
	}
	return nil
}

func (d *rowReader) keep(err error) {
	if d.err == nil && err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = err
	}
}

func (d *rowReader) varint() int64 {
	n, err := binary.ReadVarint(d.r)
	d.keep(err)
	return n
}

func (d *rowReader) uvarint() uint64 {
	n, err := binary.ReadUvarint(d.r)
	d.keep(err)
	return n
}

func (d *rowReader) sized() []byte {
	n := d.uvarint()
	if d.err != nil || n > math.MaxInt32 {
		d.keep(io.ErrUnexpectedEOF)
		return nil
	}
	b := make([]byte, n)
	_, err := io.ReadFull(d.r, b)
	d.keep(err)
	return b
}
