package rocksdb

import (
	"bytes"
	"context"
	"fmt"
)

// run is tables that do not overlap, in the order of their keys, read one after the other: a level, or one table of
// level 0. It stands at an entry, or before a table that is not open yet, whose first key may be this or a later one: so
// that the range deletions of a table are known before any key that they may cover.
type run struct {
	c        *Checkpoint
	ctx      context.Context
	ahead    int
	rank     int // ties of sequence numbers: the lower rank is the newer
	files    []FileMeta
	start    []byte
	table    *tableFile
	it       *TableIterator
	key      InternalKey
	unopened bool
}

// close gives the table back.
func (r *run) close() {
	if r.table != nil {
		r.it.Close()
		r.table.file.Close()
		r.table, r.it = nil, nil
	}
}

// await stands before the next table; false when there is none.
func (r *run) await() bool {
	r.close()
	if len(r.files) == 0 {
		return false
	}
	r.unopened = true
	r.key = InternalKey{User: r.files[0].Smallest.User, Seqno: MaxSeqno, Kind: 0xff}
	return true
}

// open opens the table that the run stands before, and moves to its first entry.
func (r *run) open(deletions *deletions) (more bool, err error) {
	meta := &r.files[0]
	r.files, r.unopened = r.files[1:], false
	if r.table, err = r.c.openTable(r.ctx, meta, r.ahead); err != nil {
		return false, err
	}
	r.it = r.table.NewIterator()
	for _, d := range r.table.RangeDeletions() {
		deletions.add(meta.clip(d))
	}
	if r.start != nil && bytes.Compare(meta.Smallest.User, r.start) < 0 {
		return r.settle(r.it.SeekGE(r.start))
	}
	return r.settle(r.it.First())
}

func (r *run) next() (more bool, err error) { return r.settle(r.it.Next()) }

// settle takes the key that the table's iterator stands at, or goes on to the next table.
func (r *run) settle(more bool) (bool, error) {
	if more {
		r.key = r.it.key
		return true, nil
	}
	if err := r.it.Err(); err != nil {
		return false, fmt.Errorf("%s: %w", r.table.name, err)
	}
	return r.await(), nil
}

// clip cuts a range deletion to the bounds of the table that holds it: beyond them it may be older than what it would
// delete, since the numbers of old changes are set to 0 by compaction.
func (f *FileMeta) clip(d RangeDeletion) RangeDeletion {
	if bytes.Compare(d.Start, f.Smallest.User) < 0 {
		d.Start = f.Smallest.User
	}
	switch c := bytes.Compare(d.End, f.Largest.User); {
	case c <= 0:
	case f.Largest.Kind == KindRangeDelete && f.Largest.Seqno == MaxSeqno: // the bound itself is outside
		d.End = f.Largest.User
	default:
		d.End = append(bytes.Clone(f.Largest.User), 0)
	}
	return d
}

// Less orders runs by what they stand at; one that still has to open a table comes before every entry of that key.
func (r *run) Less(o *run) bool {
	if c := bytes.Compare(r.key.User, o.key.User); c != 0 {
		return c < 0
	}
	if r.key.Seqno != o.key.Seqno {
		return r.key.Seqno > o.key.Seqno
	}
	return r.rank < o.rank
}

// heap keeps the least of some elements first.
type heap[T interface{ Less(T) bool }] []T

func (h heap[T]) build() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// down puts element i, which may have become greater, in its place.
func (h heap[T]) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if other := least + 1; other < len(h) && h[other].Less(h[least]) {
			least = other
		}
		if !h[least].Less(h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func (h *heap[T]) push(v T) {
	*h = append(*h, v)
	for i := len(*h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !(*h)[i].Less((*h)[parent]) {
			return
		}
		(*h)[i], (*h)[parent] = (*h)[parent], (*h)[i]
		i = parent
	}
}

func (h *heap[T]) pop() {
	last := len(*h) - 1
	(*h)[0] = (*h)[last]
	*h = (*h)[:last]
	h.down(0)
}

type byStart struct{ *RangeDeletion }

func (d byStart) Less(o byStart) bool { return bytes.Compare(d.Start, o.Start) < 0 }

type bySeqno struct{ *RangeDeletion }

func (d bySeqno) Less(o bySeqno) bool { return d.Seqno > o.Seqno }

// deletions are the range deletions met so far that still matter, as a sweep over rising keys needs them.
type deletions struct {
	ahead  heap[byStart]
	active heap[bySeqno]
}

func (d *deletions) add(r RangeDeletion) {
	if bytes.Compare(r.Start, r.End) < 0 {
		d.ahead.push(byStart{&r})
	}
}

// cover is the number of the latest range deletion over key; keys asked for never fall. A change with a lower number is
// gone.
func (d *deletions) cover(key []byte) uint64 {
	for len(d.ahead) > 0 && bytes.Compare(d.ahead[0].Start, key) <= 0 {
		d.active.push(bySeqno{d.ahead[0].RangeDeletion})
		d.ahead.pop()
	}
	for len(d.active) > 0 {
		if bytes.Compare(d.active[0].End, key) > 0 {
			return d.active[0].Seqno
		}
		d.active.pop()
	}
	return 0
}
