package engine

import "github.com/cockroachdb/pebble/v2"

// DiskUsage estimates the bytes that the keys in [lower, upper) take in the store's tables. What is only in its
// memory and log so far is not counted.
func (s *Store) DiskUsage(lower, upper []byte) (uint64, error) {
	return s.db.EstimateDiskUsage(lower, upper)
}

// Usage is what a store takes at one moment, in bytes.
type Usage struct {
	// MemTables is what rows not yet on disk take, Mutable the part of it that takes new ones.
	MemTables, Mutable uint64
	// Cache is what blocks that were read take.
	Cache uint64
	// Tables is what is on disk, Indexes the part of it that says where rows are.
	Tables, Indexes uint64
}

// Usage measures the store.
func (s *Store) Usage() (Usage, error) {
	m := s.db.Metrics()
	u := Usage{MemTables: m.MemTable.Size, Cache: uint64(max(m.BlockCache.Size, 0))}
	// The newest takes rows. Pebble makes each twice as big as the one before, up to the size of a full one.
	newest := uint64(1) << min(max(m.MemTable.Count-1, 0), 16)
	u.Mutable = min(s.memTable, u.MemTables/(2*newest-1)*newest)
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		return u, err
	}
	for _, level := range levels {
		for _, table := range level {
			u.Tables += table.Size
			u.Indexes += table.Properties.IndexSize + table.Properties.FilterSize
		}
	}
	return u, nil
}

// Files counts the tables that may hold keys in [lower, upper).
func (s *Store) Files(lower, upper []byte) (int, error) {
	levels, err := s.db.SSTables(pebble.WithKeyRangeFilter(lower, upper))
	count := 0
	for _, level := range levels {
		count += len(level)
	}
	return count, err
}
