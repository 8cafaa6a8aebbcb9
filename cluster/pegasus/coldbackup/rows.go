package coldbackup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"time"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Row is a row of a backup. Its bytes are valid until the next one is asked for.
type Row struct {
	Hash, Sort []byte
	rocksdb.Value
	Expired bool // at ScanOptions.Now
}

// Expires is when the row's time to live is over; the zero time when it never is.
func (r Row) Expires() time.Time {
	if r.ExpireTS == 0 {
		return time.Time{}
	}
	return time.Unix(wire.Epoch+int64(r.ExpireTS), 0)
}

// Written is when the row was written, as its time tag tells; the zero time when it has none.
func (r Row) Written() time.Time {
	if r.TimeTag>>8 == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(r.TimeTag >> 8))
}

// ScanOptions say which rows of a partition are read.
type ScanOptions struct {
	Start, End []byte // full keys from Start up to, and without, End; nil is no bound
	// Keep chooses rows; nil keeps all.
	Keep    func(hash, sort, value []byte) bool
	Now     time.Time
	Expired bool // yields rows that are expired, too
}

// RowsFrom is where the rows of a partition begin that are wanted from start on; nil is no bound. The empty key is before all
// of them and none of them: servers put a value under it for every write that changes nothing.
func RowsFrom(start []byte) []byte {
	if len(start) == 0 {
		return []byte{0, 0} // the length of the shortest hash key
	}
	return start
}

// ScanCounts are how many rows were not yielded, and why.
type ScanCounts struct {
	Expired, Filtered int64
	// Strays hash to another partition: a split left them, which has them there.
	Strays int64
}

// Scan yields the latest visible rows of a partition by rising keys.
func (t *Table) Scan(ctx context.Context, s Store, p *Partition, o ScanOptions, counts *ScanCounts) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		it, version, err := t.iterator(ctx, s, p, o)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer it.Close()
		for it.Next() {
			row, err := decodeRow(it.Key(), it.Value(), version)
			if err != nil {
				yield(Row{}, p.failed(err))
				return
			}
			row.Expired = row.Value.Expired(o.Now)
			switch {
			case t.App != nil && wire.PartitionOf(wire.Hash(row.Hash, row.Sort), int(t.App.PartitionCount)) != p.Index:
				counts.Strays++
			case o.Keep != nil && !o.Keep(row.Hash, row.Sort, row.Data):
				counts.Filtered++
			case row.Expired && !o.Expired:
				counts.Expired++
			case !yield(row, nil):
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Row{}, p.failed(err))
		}
	}
}

func (t *Table) iterator(ctx context.Context, s Store, p *Partition, o ScanOptions) (*rocksdb.Iterator, int, error) {
	db, err := p.Open(ctx, s)
	if err != nil {
		return nil, 0, p.failed(err)
	}
	version, err := db.DataVersion(ctx)
	if err != nil {
		return nil, 0, p.failed(err)
	}
	it, err := db.NewIterator(ctx, rocksdb.IterOptions{Start: RowsFrom(o.Start), End: o.End})
	if err != nil {
		return nil, 0, p.failed(err)
	}
	return it, version, nil
}

func decodeRow(key, value []byte, version int) (r Row, err error) {
	if r.Hash, r.Sort, err = wire.DecodeKey(key); err != nil {
		return r, fmt.Errorf("the key %.40x: %w", key, err)
	}
	if r.Value, err = rocksdb.DecodeValue(version, value); err != nil {
		return r, fmt.Errorf("the row %.40x: %w", key, err)
	}
	return r, nil
}

// failed says which partition could not be read.
func (p *Partition) failed(err error) error {
	var listed *notListed
	e := &spec.Error{Kind: spec.KindOf(err), Op: "read " + path.Join(p.Dir, p.Folder), Err: err, Hint: spec.HintOf(err)}
	if errors.Is(err, rocksdb.ErrCorrupt) || errors.Is(err, ErrDamaged) || errors.As(err, &listed) || e.Kind == spec.NotFound {
		e.Kind, e.Hint = spec.Failed, "verify_backup tells which files are damaged"
	}
	return e
}
