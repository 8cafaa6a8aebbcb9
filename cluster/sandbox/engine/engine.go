// Package engine is what a sandbox node keeps its data in: one Pebble store, tuned for several nodes in one process.
//
// Its promise: when Apply or Pending.Wait returns, the batch survives the process being killed at any moment (kill -9).
// The bytes are then with the kernel, not necessarily on the disk: a sandbox does not promise to survive the machine,
// and so does not pay for fsync. See fs.go for how that is done.
package engine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

type (
	// Batch is a set of changes applied atomically. It belongs to one goroutine.
	Batch = pebble.Batch
	// Iterator reads a range in key order. It must be closed before its store.
	Iterator = pebble.Iterator
	// Snapshot is a view of a store at one moment. It must be closed before its store.
	Snapshot = pebble.Snapshot
)

// KindDelete is what a batch's reader says of a deletion.
const KindDelete = pebble.InternalKeyKindDelete

// ErrNotFound is what Get answers for a key that is not there.
var ErrNotFound = pebble.ErrNotFound

// Options tune a store; the zero value is meant for one of several small nodes in one process.
type Options struct {
	MemTable int64 // bytes of one memtable; 0 is 32 MiB. A store that is written to at full speed uses two
	Cache    int64 // bytes of block cache; 0 is 8 MiB
	// Log is told of background errors, which leave the store unable to write. nil ignores them.
	Log func(format string, args ...any)
}

// Store is the storage of one node. Its methods may be called from any goroutine, but not after Close.
type Store struct {
	db       *pebble.DB
	cache    *pebble.Cache
	memTable uint64 // bytes of a full one
}

// Open opens the store in dir, creating it when there is none. Two processes cannot have the same store open.
func Open(dir string, options Options) (*Store, error) {
	if options.MemTable == 0 {
		options.MemTable = 32 << 20
	}
	if options.Cache == 0 {
		options.Cache = 8 << 20
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	cache := pebble.NewCache(options.Cache)
	o := &pebble.Options{
		FS:                          unsyncedFS{vfs.Default},
		Cache:                       cache,
		MemTableSize:                uint64(options.MemTable),
		MemTableStopWritesThreshold: 2,
		MaxOpenFiles:                256,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      logger{options.Log},
		// Nodes share few cores and no row is ever cold for long: let level 0 grow, merge seldom, compress nothing.
		L0CompactionThreshold:      16,
		L0CompactionFileThreshold:  1000,
		L0StopWritesThreshold:      64,
		LBaseMaxBytes:              512 << 20,
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, 1 },
	}
	o.TargetFileSizes[0] = 16 << 20
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	db, err := pebble.Open(dir, o)
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return &Store{db: db, cache: cache, memTable: o.MemTableSize}, nil
}

// NewBatch returns an empty batch; it must be applied or closed.
func (s *Store) NewBatch() *Batch { return s.db.NewBatch() }

// BatchOf returns a batch made of another one's Repr. It keeps repr, which must not be used afterwards.
func (s *Store) BatchOf(repr []byte) (*Batch, error) {
	b := s.db.NewBatch()
	if err := b.SetRepr(repr); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Apply applies the batch, waits until it survives a kill of the process, and closes it.
func (s *Store) Apply(b *Batch) error {
	pending, err := s.ApplyAsync(b)
	if err != nil {
		return err
	}
	return pending.Wait()
}

// Pending is a batch that has been applied, and can be read, but may not survive yet.
type Pending struct{ batch *Batch }

// ApplyAsync applies the batch without waiting. Wait must be called once on what it returns, and closes the batch.
func (s *Store) ApplyAsync(b *Batch) (Pending, error) {
	if err := s.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return Pending{}, errors.Join(err, b.Close())
	}
	return Pending{b}, nil
}

// Wait returns once the batch survives a kill of the process.
func (p Pending) Wait() error {
	return errors.Join(p.batch.SyncWait(), p.batch.Close())
}

// Get returns the value of a key, valid until closer is closed, or ErrNotFound and no closer.
func (s *Store) Get(key []byte) (value []byte, closer io.Closer, err error) { return s.db.Get(key) }

// Read returns a copy of the value of a key, or ErrNotFound.
func (s *Store) Read(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), closer.Close()
}

// Iterate reads the keys in [lower, upper) as they are now. It keeps both bounds.
func (s *Store) Iterate(lower, upper []byte) (*Iterator, error) {
	return s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

// Snapshot returns the store as it is now.
func (s *Store) Snapshot() *Snapshot { return s.db.NewSnapshot() }

// IterateSnapshot reads the keys in [lower, upper) of a snapshot.
func IterateSnapshot(snapshot *Snapshot, lower, upper []byte) (*Iterator, error) {
	return snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
}

// Close closes the store. Everything applied stays; nothing needs to be flushed first.
func (s *Store) Close() error {
	err := s.db.Close()
	s.cache.Unref()
	return err
}

// After returns the smallest key greater than every key with the given prefix, nil when there is none.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := append([]byte{}, prefix[:i+1]...)
			next[i]++
			return next
		}
	}
	return nil
}

// logger keeps Pebble off the terminal.
type logger struct {
	log func(format string, args ...any)
}

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	if l.log != nil {
		l.log(format, args...)
	}
}

// Fatalf may not return: Pebble calls it where going on would lose data.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic(fmt.Sprintf(format, args...))
}
