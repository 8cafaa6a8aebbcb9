package rocksdb

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// IterOptions say which rows of a checkpoint are read.
type IterOptions struct {
	Family     string // "" is DefaultFamily
	Start, End []byte // keys from Start up to, and without, End; nil is no bound
	ReadAhead  int    // bytes for each level and each table of level 0; 0 is DefaultReadAhead
}

// Iterator walks the latest visible version of each key of a column family, in the order of keys. What it answers is
// valid until its next move. It holds one open table for each level and each table of level 0.
type Iterator struct {
	runs      heap[*run]
	all       []*run
	deletions deletions
	end       []byte
	key       []byte // of the last entry looked at
	any       bool
	moved     bool // the first run has to move on before the next entry
	err       error
}

// NewIterator returns one that stands before the first key. Reads of the tables end with ctx.
func (c *Checkpoint) NewIterator(ctx context.Context, options IterOptions) (*Iterator, error) {
	name := options.Family
	if name == "" {
		name = DefaultFamily
	}
	family := c.Family(name)
	if family == nil {
		return nil, fmt.Errorf("there is no column family %s", name)
	}
	it := &Iterator{end: options.End}
	for i, files := 0, family.Files; i < len(files); {
		level, first := files[i].Level, i
		for i++; i < len(files) && level > 0 && files[i].Level == level; i++ {
		}
		kept := slices.DeleteFunc(slices.Clone(files[first:i]), func(f FileMeta) bool {
			return bytes.Compare(f.Largest.User, options.Start) < 0 || options.End != nil && bytes.Compare(f.Smallest.User, options.End) >= 0
		})
		r := &run{c: c, ctx: ctx, ahead: options.ReadAhead, rank: first, files: kept, start: options.Start}
		if r.await() {
			it.runs = append(it.runs, r)
		}
	}
	it.all = slices.Clone(it.runs)
	it.runs.build()
	return it, nil
}

// Close closes every table that is still open.
func (it *Iterator) Close() {
	for _, r := range it.all {
		r.close()
	}
	it.runs = nil
}

// Err is what ended the iteration before its end, nil otherwise.
func (it *Iterator) Err() error { return it.err }

// Key is the key of the row.
func (it *Iterator) Key() []byte { return it.key }

// Value is what is stored under the key, its header included.
func (it *Iterator) Value() []byte { return it.runs[0].it.Value() }

// Seqno is the number of the change that wrote the row.
func (it *Iterator) Seqno() uint64 { return it.runs[0].key.Seqno }

// Next moves to the next visible row; false at the end and on an error.
func (it *Iterator) Next() bool {
	for it.err == nil {
		if !it.advance() || len(it.runs) == 0 {
			return false
		}
		r := it.runs[0]
		if it.end != nil && bytes.Compare(r.key.User, it.end) >= 0 {
			it.runs = nil
			return false
		}
		if r.unopened {
			if !it.move(r.open(&it.deletions)) {
				return false
			}
			continue
		}
		it.moved = true
		switch c := bytes.Compare(r.key.User, it.key); {
		case it.any && c == 0:
			continue // an older version
		case it.any && c < 0:
			it.err = fmt.Errorf("%s: %w", r.table.name, corruptf("the keys do not rise"))
			return false
		}
		it.any = true
		it.key = append(it.key[:0], r.key.User...)
		if it.visible(r) {
			return true
		}
	}
	return false
}

// advance leaves the entry that was looked at last.
func (it *Iterator) advance() bool {
	if !it.moved {
		return true
	}
	it.moved = false
	return it.move(it.runs[0].next())
}

// move puts the first run, which has moved, in its place.
func (it *Iterator) move(more bool, err error) bool {
	switch {
	case err != nil:
		it.err = err
		return false
	case more:
		it.runs.down(0)
	default:
		it.runs.pop()
	}
	return true
}

// visible judges the latest version of a key.
func (it *Iterator) visible(r *run) bool {
	switch r.key.Kind {
	case KindValue:
		return r.key.Seqno >= it.deletions.cover(r.key.User)
	case KindDelete, KindSingleDelete:
		return false
	}
	it.err = fmt.Errorf("%s: %w", r.table.name, unsupportedf("an entry of kind %#x, which Pegasus never writes", uint8(r.key.Kind)))
	return false
}
