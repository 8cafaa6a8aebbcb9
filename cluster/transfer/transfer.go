// Package transfer moves rows between tables, and compares tables, whatever the store: partitions beside each other, in
// batches, throttled, resumable, in bounded memory. A store takes part with a Source, a Sink and a Rows; R is its row.
//
//	Source ──Batch──▶ Copy ──piece──▶ Sink          (copy_data)
//	Source ──Batch──▶ Diff ◀──Batch── Source        (diff_data, copy_data --verify)
package transfer

import (
	"context"
	"iter"
)

// Source reads the rows of one table.
type Source[R any] interface {
	// Parts are the pieces that are read beside each other, by their numbers: the partitions. It asks anew each time.
	Parts(ctx context.Context) ([]Part, error)
	// Read yields the rows of a part in an order that stays the same as long as they do, in batches, from the beginning
	// for a nil Position, else from a Part's Start or from behind the batch that it came with. A row that was there from the beginning to the
	// end comes once, at least; one that is written or deleted meanwhile may come or not. Batches belong to whoever
	// pulled them. An error ends it; whether to read on behind the last batch is for Judge to say.
	Read(ctx context.Context, part int, after Position) iter.Seq2[Batch[R], error]
	// Judge says what an error of Read means.
	Judge(err error) Verdict
}

// Part is a piece of a table.
type Part struct {
	Number int
	// Start is where reading it begins, nil for the beginning. What was begun is resumed from there even where the store
	// would cut the table into other parts by then.
	Start Position
	// Rows and Bytes are guesses for estimates; 0 when nobody knows.
	Rows, Bytes int64
}

// Position is where in a part to go on, in the Source's own terms. It outlives the process (it is saved in journals as it
// stands), restarts of the store, and what the store may do to a part meanwhile, a split among it.
type Position []byte

// Batch is what one answer of a store brought.
type Batch[R any] struct {
	Rows []R
	// After is where to go on once these rows have been dealt with.
	After Position
	// Bytes is the size of keys and values. Filtered are rows that did not match and that had to travel to be looked at;
	// Expired are those whose time was over when they came.
	Bytes, Filtered, Expired int64
}

// Sink writes rows to one table.
type Sink[R any] interface {
	// Pieces cuts rows into what one call each can write, in order; none is empty.
	Pieces(rows []R) iter.Seq[Piece[R]]
	// Write writes a piece. After an error any of its rows may have been written, and the same piece may be written again:
	// that must do no harm, and rows must not be counted that were there. It is called from many goroutines.
	Write(ctx context.Context, piece Piece[R]) (Written, error)
	// Judge says what an error of Write means.
	Judge(err error) Verdict
}

// Piece is what one call writes.
type Piece[R any] struct {
	Rows  []R
	Bytes int64
	// Unsure: a Write of it has ended with its outcome unknown.
	Unsure bool
}

// Written counts what became of the rows of a piece; the sum is its length.
type Written struct {
	Rows    int64 // written
	Kept    int64 // not written: the target had a row of that key, which was to be kept
	Unsure  int64 // written by a Write whose outcome is unknown, or kept: nobody can tell
	Expired int64 // not written: their time is over
}

// Verdict is what an error means for the work.
type Verdict int

const (
	Fatal Verdict = iota // it will not go away: the work ends, to be resumed by people
	Again                // it may go away (a dead node, a connection, an unknown outcome): this part waits, the others go on
	Slow                 // the store asks for less (throttled, busy, stalled): all of it slows down
)

// Rows knows rows well enough to compare them.
type Rows[R any] interface {
	// Key is what makes a row the same row in both tables; it may share memory with the row.
	Key(row R) []byte
	// Sum is a checksum of all of it that a copy must have: key, value, and when it expires.
	Sum(row R) uint64
	// Compare says how two rows of the same key differ, Same when they do not.
	Compare(a, b R) Difference
}

// Difference is how a table differs from another at a key.
type Difference int

const (
	Same      Difference = iota
	Missing              // the target has no such row
	Extra                // the source has no such row
	Different            // the values differ
	Drift                // only the times to live differ
)

func (d Difference) String() string {
	return [...]string{"same", "missing", "extra", "different", "ttl_drift"}[d]
}
