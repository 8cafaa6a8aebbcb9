package engine

// DiskUsage estimates the bytes that the keys in [lower, upper) take in the store's tables. What is only in its
// memory and log so far is not counted.
func (s *Store) DiskUsage(lower, upper []byte) (uint64, error) {
	return s.db.EstimateDiskUsage(lower, upper)
}
