package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"

	"github.com/parquet-go/parquet-go"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Damage says that a file of a backup is not what was written.
type Damage struct {
	Path string // relative to the root of the service
	Why  string
}

func (d *Damage) Error() string { return d.Path + ": " + d.Why }

// damaged makes the error of a damaged file.
func damaged(s storage.Service, name, format string, args ...any) error {
	d := &Damage{Path: name, Why: fmt.Sprintf(format, args...)}
	e := spec.Errorf(spec.Failed, "the backup is damaged: %s:/%w", s.Name(), d)
	return e.WithHint("verify_backup tells all that is wrong with it; take another backup")
}

// DamageOf finds what an error says of a damaged file, nil when it says no such thing.
func DamageOf(err error) *Damage {
	var d *Damage
	if errors.As(err, &d) {
		return d
	}
	return nil
}

// damage makes the errors of a service that mean damage be ones.
func damage(s storage.Service, name string, err error) error {
	switch storage.ReasonOf(err) {
	case storage.NoFile:
		return damaged(s, name, "it is missing")
	case storage.NotAFile, storage.Corrupt:
		return damaged(s, name, "%s", rootCause(err))
	}
	return err
}

func rootCause(err error) error {
	var e *spec.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

// readFile reads a file whole and compares it with what was written.
func readFile(ctx context.Context, s storage.Service, dir string, f File) ([]byte, error) {
	name := path.Join(dir, f.Path)
	r, err := s.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, damage(s, name, err)
	}
	defer r.Close()
	data := make([]byte, 0, f.Size+1)
	for {
		if len(data) == cap(data) {
			return nil, damaged(s, name, "it is longer than the %d bytes that were written", f.Size)
		}
		n, err := r.Read(data[len(data):min(cap(data), len(data)+readSize)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, damage(s, name, err)
		}
	}
	switch sum := sha(data); {
	case int64(len(data)) != f.Size:
		return nil, damaged(s, name, "it has %d bytes of %d", len(data), f.Size)
	case sum != f.SHA256:
		return nil, damaged(s, name, "its SHA-256 is %s, and was %s", sum, f.SHA256)
	}
	return data, nil
}

const readSize = 1 << 20

// saved is what rows of a backup are read with.
type saved struct {
	manifest *Manifest
	table    *openmldb.Table
	schema   *wire.Schema
	places   places
}

func newSaved(m *Manifest) (*saved, error) {
	t, err := m.Saved()
	if err != nil {
		return nil, err
	}
	s := &saved{manifest: m, table: t, schema: t.Plain()}
	s.places, err = newPlaces(m, t)
	return s, err
}

// chunkRows are the rows of a chunk whose files were read; what does not fit them is an error.
func (s *saved) chunkRows(c Chunk, rows, times []byte) iter.Seq2[openmldb.CopyRow, error] {
	return func(yield func(openmldb.CopyRow, error) bool) {
		a, err := openParquet(rows, rowsSchema(s.schema))
		if err != nil {
			yield(openmldb.CopyRow{}, fmt.Errorf("rows: %w", err))
			return
		}
		defer a.close()
		b, err := openParquet(times, timesSchema())
		if err != nil {
			yield(openmldb.CopyRow{}, fmt.Errorf("times: %w", err))
			return
		}
		defer b.close()
		for n := int64(0); ; n++ {
			r, err := s.next(c, a, b, n)
			if errors.Is(err, io.EOF) || !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// next reads row n, and answers io.EOF behind the last one.
func (s *saved) next(c Chunk, rows, times *parquetRows, n int64) (openmldb.CopyRow, error) {
	row, err := rows.next()
	at, err2 := times.next()
	ended, ended2 := errors.Is(err, io.EOF), errors.Is(err2, io.EOF)
	switch {
	case ended && ended2 && n == c.Rows:
		return openmldb.CopyRow{}, io.EOF
	case ended || ended2 || n == c.Rows:
		return openmldb.CopyRow{}, fmt.Errorf("it and the file of its times do not have %d rows each", c.Rows)
	case err != nil || err2 != nil:
		return openmldb.CopyRow{}, errors.Join(err, err2)
	}
	r, err := s.row(c.Index, row, at)
	if err != nil {
		return r, fmt.Errorf("row %d: %w", n, err)
	}
	return r, nil
}

// row makes a row of its cells.
func (s *saved) row(index string, row, at parquet.Row) (openmldb.CopyRow, error) {
	values := make([]any, len(s.schema.Columns))
	for i, c := range s.schema.Columns {
		values[i] = value(row[i], c.Type)
	}
	r := openmldb.CopyRow{Time: uint64(at[0].Int64())}
	if at[2].IsNull() {
		b, err := s.schema.Encode(values)
		if err != nil {
			return r, err
		}
		r.Value = b
	} else {
		r.Value = bytes.Clone(at[2].ByteArray())
		var err error
		if values, err = s.schema.Decode(r.Value); err != nil {
			return r, err
		}
	}
	if at[1].IsNull() {
		x := s.table.Indexes[s.manifest.index(index)]
		key, err := s.table.Key(x, values)
		if err != nil {
			return r, err
		}
		r.Key = key
	} else {
		r.Key = string(at[1].ByteArray())
	}
	var err error
	r.Places, err = s.places.of(index, r, values)
	return r, err
}

// parquetRows reads the rows of a file that is in memory.
type parquetRows struct {
	file    *parquet.File
	columns int
	group   int
	rows    parquet.Rows
	buf     [64]parquet.Row
	n, at   int
}

// openParquet opens a file that must have the columns of a schema.
func openParquet(data []byte, schema *parquet.Schema) (r *parquetRows, err error) {
	defer caught(&err)
	// The library makes room for as long a footer as the file says it has.
	const tail = 8 // its length, 4 bytes, and PAR1
	if n := len(data); n < tail+len("PAR1") || uint64(binary.LittleEndian.Uint32(data[n-tail:])) > uint64(n-tail) {
		return nil, errors.New("it is no Parquet")
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	want, have := schema.Fields(), f.Root().Columns()
	for i, c := range want {
		if i >= len(have) || have[i].Name() != c.Name() || !have[i].Leaf() || have[i].Type().Kind() != c.Type().Kind() || have[i].Optional() != c.Optional() {
			return nil, fmt.Errorf("its column %d is not %s, as it was written", i+1, c.Name())
		}
	}
	if len(have) != len(want) {
		return nil, fmt.Errorf("it has %d columns, not %d", len(have), len(want))
	}
	return &parquetRows{file: f, columns: len(want)}, nil
}

// caught makes an error of a panic: the library's way with some broken files.
func caught(err *error) {
	if why := recover(); why != nil {
		*err = fmt.Errorf("it cannot be read: %v", why)
	}
}

// next answers a row that is good until the next call, or io.EOF.
func (r *parquetRows) next() (parquet.Row, error) {
	for r.at == r.n {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	row := r.buf[r.at]
	r.at++
	if len(row) != r.columns {
		return nil, fmt.Errorf("a row has %d cells of %d", len(row), r.columns)
	}
	return row, nil
}

// fill reads some rows, or goes to the next group.
func (r *parquetRows) fill() (err error) {
	defer caught(&err)
	if r.rows == nil {
		if r.group == len(r.file.RowGroups()) {
			return io.EOF
		}
		r.rows = r.file.RowGroups()[r.group].Rows()
		r.group++
	}
	r.at, r.n = 0, 0
	r.n, err = r.rows.ReadRows(r.buf[:])
	switch {
	case errors.Is(err, io.EOF) && r.n == 0:
		err = r.rows.Close()
		r.rows = nil
	case errors.Is(err, io.EOF):
		err = nil
	case err == nil && r.n == 0:
		err = errors.New("it has fewer rows than it says")
	}
	return err
}

func (r *parquetRows) close() {
	if r.rows != nil {
		_ = r.rows.Close() // of what is in memory
	}
}
