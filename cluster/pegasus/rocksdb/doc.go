// Package rocksdb reads and writes the files of RocksDB that Pegasus keeps: tables (SST), the MANIFEST, and CURRENT. It
// needs no RocksDB and no cgo, and no other program has to run.
//
//	Table, TableIterator    one table: format versions 2 to 5, any compression and checksum Pegasus can be told to use
//	TableWriter             one table, as RocksDB opens and ingests it
//	Checkpoint, Iterator    a whole checkpoint: the latest visible version of each key, in order
//	DirectoryWriter         a whole directory, which RocksDB opens for reading and writing
//	Split                   the rows of one number of partitions as tables for another
//
// Files come from elsewhere and are hostile until proven: every length is checked against what the file holds before
// anything is allocated, every block is verified by its checksum, and what is wrong with one is an ErrCorrupt.
package rocksdb

import (
	"context"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrCorrupt says that a file is not what it claims to be: cut short, altered, or never of RocksDB.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported says that a file may be whole, but has something that Pegasus never writes.
	ErrUnsupported = errors.New("not supported")
	// ErrOrder says that rows were given to a writer in another order than rising.
	ErrOrder = errors.New("keys do not rise")
)

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

func unsupportedf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}

// Comparator is the name of the only order of keys that Pegasus uses: that of their bytes.
const Comparator = "leveldb.BytewiseComparator"

// Kind is what an entry of a table does to its key.
type Kind uint8

// The kinds a table of Pegasus may have, and the numbers they have in the last eight bytes of an internal key.
const (
	KindDelete       Kind = 0x00
	KindValue        Kind = 0x01
	KindMerge        Kind = 0x02
	KindSingleDelete Kind = 0x07
	KindRangeDelete  Kind = 0x0f
	KindBlobIndex    Kind = 0x11
	KindWideColumns  Kind = 0x16
)

// MaxSeqno is the greatest sequence number: 56 bits.
const MaxSeqno = 1<<56 - 1

// File is one file that is read. ReadAt may be called by several goroutines at once.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Source gives the files of one directory.
type Source interface {
	// Open opens a file by its name in the directory. Reads of what it answers end with ctx.
	Open(ctx context.Context, name string) (File, error)
}

// Output is one file that is written. Exactly one of Commit and Abort is called, once.
type Output interface {
	io.Writer
	// Commit makes the file appear under its name, whole; after an error it is not there, or is what it was before.
	Commit() error
	// Abort leaves nothing behind.
	Abort()
}

// Sink takes the files of one directory.
type Sink interface {
	// Create starts a file, which replaces the one of that name when it is committed.
	Create(ctx context.Context, name string) (Output, error)
}

// InternalKey is a user's key with the number of the change that made the entry, and what the change was.
type InternalKey struct {
	User  []byte
	Seqno uint64
	Kind  Kind
}
