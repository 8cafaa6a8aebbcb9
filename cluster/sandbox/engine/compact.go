package engine

import (
	"context"

	"github.com/cockroachdb/pebble/v2/batchrepr"
)

// Compact rewrites the tables that hold keys in [lower, upper) so that what was deleted or overwritten takes no space
// any more. When the context ends it returns, and what has begun goes on until the store is closed.
func (s *Store) Compact(ctx context.Context, lower, upper []byte) error {
	return s.db.Compact(ctx, lower, upper, false)
}

// Rekey lets change see every key of a batch's Repr, to overwrite bytes of it in place; the length stays. Ranges, whose
// ends are not shown, must not be in the batch.
func Rekey(repr []byte, change func(key []byte)) error {
	r := batchrepr.Read(repr)
	for {
		_, key, _, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		change(key)
	}
}
