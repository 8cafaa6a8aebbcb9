package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"path"

	"github.com/parquet-go/parquet-go"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/wire"
	"shardsh/storage"
)

// How large files become: layout depends on it, and so do the bytes of a backup.
const (
	chunkBytes = 64 << 20 // of rows in a file, then it ends with the row's key and time
	groupBytes = 8 << 20  // of rows in a row group
	rowCost    = 32       // what a row counts besides its bytes
)

// limits are how large files become; tests have smaller ones.
type limits struct{ chunk, group int64 }

// chunkWriter writes the two files of a chunk.
type chunkWriter struct {
	schema  *wire.Schema
	limits  limits
	chunk   Chunk
	own     bool
	rows    *fileWriter
	times   *fileWriter
	grouped int64 // bytes in the row group
	counted int64 // in the file, with rowCost
	row     parquet.Row
}

// fileWriter writes one Parquet file, and knows its SHA-256.
type fileWriter struct {
	out   storage.Writer
	buf   *bufio.Writer
	sum   hash.Hash
	size  int64
	table *parquet.GenericWriter[any]
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.buf.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	return n, err
}

func newFile(ctx context.Context, s storage.Service, name string, schema *parquet.Schema) (*fileWriter, error) {
	out, err := s.Create(ctx, name, -1)
	if err != nil {
		return nil, err
	}
	w := &fileWriter{out: out, buf: bufio.NewWriterSize(out, 1<<20), sum: sha256.New()}
	w.table = parquet.NewGenericWriter[any](w, schema, parquet.CreatedBy("shardsh", "1", ""), parquet.DataPageVersion(1))
	return w, nil
}

// commit ends the file and puts it in place.
func (w *fileWriter) commit(name string) (File, error) {
	err := w.table.Close()
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil {
		err = w.out.Commit()
	}
	return File{Path: name, Size: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil))}, err
}

// begin opens the files of a chunk in a folder.
func begin(ctx context.Context, s storage.Service, dir string, schema *wire.Schema, c Chunk, own bool, l limits) (*chunkWriter, error) {
	w := &chunkWriter{schema: schema, limits: l, chunk: c, own: own}
	var err error
	if w.rows, err = newFile(ctx, s, path.Join(dir, w.path(rowsKind)), rowsSchema(schema)); err != nil {
		return nil, err
	}
	if w.times, err = newFile(ctx, s, path.Join(dir, w.path(timesKind)), timesSchema()); err != nil {
		return nil, errors.Join(err, w.rows.out.Abort())
	}
	return w, nil
}

func (w *chunkWriter) path(kind int) string {
	return chunkPath(w.chunk.Index, w.own, kind, w.chunk.Partition, w.chunk.Number)
}

// full says that the chunk ends before the next time of a key.
func (w *chunkWriter) full() bool { return w.counted >= w.limits.chunk }

// add writes a row. key says that its key is not the one made of its values.
func (w *chunkWriter) add(r openmldb.CopyRow, values []any, key bool) error {
	if w.grouped >= w.limits.group {
		if err := errors.Join(w.rows.table.Flush(), w.times.table.Flush()); err != nil {
			return err
		}
		w.grouped = 0
	}
	var exact bool
	w.row, exact = cells(w.row[:0], w.schema, values, r.Value)
	if _, err := w.rows.table.WriteRows([]parquet.Row{w.row}); err != nil {
		return err
	}
	at := parquet.Row{parquet.Int64Value(int64(r.Time)).Level(0, 0, 0), parquet.NullValue().Level(0, 0, 1), parquet.NullValue().Level(0, 0, 2)}
	if key {
		at[1] = parquet.ByteArrayValue([]byte(r.Key)).Level(0, 1, 1)
	}
	if !exact {
		at[2] = parquet.ByteArrayValue(r.Value).Level(0, 1, 2)
	}
	if _, err := w.times.table.WriteRows([]parquet.Row{at}); err != nil {
		return err
	}
	size := int64(len(r.Value)) + rowCost
	w.grouped += size
	w.counted += size
	w.chunk.Rows++
	w.chunk.RowBytes += int64(len(r.Value))
	return nil
}

// commit puts both files in place, the rows last.
func (w *chunkWriter) commit() (Chunk, error) {
	var err error
	if w.chunk.Files[timesKind], err = w.times.commit(w.path(timesKind)); err == nil {
		w.chunk.Files[rowsKind], err = w.rows.commit(w.path(rowsKind))
	}
	if err != nil {
		return Chunk{}, errors.Join(err, w.abort())
	}
	return w.chunk, nil
}

func (w *chunkWriter) abort() error {
	if w == nil {
		return nil
	}
	return errors.Join(w.rows.out.Abort(), w.times.out.Abort())
}
