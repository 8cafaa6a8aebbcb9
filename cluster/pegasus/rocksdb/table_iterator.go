package rocksdb

import "bytes"

// TableIterator walks the entries of a table in order: by key, the latest change first. What it answers is valid until
// its next move. Close it when done.
type TableIterator struct {
	table *Table
	data  *blockReader
	codec codec

	top, index blockIterator // index is used when there are two levels
	parts      *blockReader
	entries    blockIterator
	end        uint64 // of the last block of data: the next one lies behind it
	key        InternalKey
	err        error
}

// NewIterator returns one that stands before the first entry.
func (t *Table) NewIterator() *TableIterator {
	it := &TableIterator{table: t}
	it.data = t.reader(&it.codec)
	if t.props.indexType() == indexTwoLevel {
		it.parts = t.reader(&it.codec)
	}
	it.rewind()
	return it
}

// Close gives back what the iterator holds; it fails never.
func (it *TableIterator) Close() { it.codec.close() }

// Err is what ended the iteration before its end, nil otherwise.
func (it *TableIterator) Err() error { return it.err }

// Key is the entry's key. Ingested tables have one sequence number for all.
func (it *TableIterator) Key() InternalKey { return it.key }

// Value is the entry's value.
func (it *TableIterator) Value() []byte { return it.entries.value }

func (it *TableIterator) rewind() {
	it.end = 0
	it.entries.reset(block{}, layout{})
	it.index.reset(block{}, layout{})
	b, err := parseBlock(it.table.index)
	if err != nil {
		it.err = err
		return
	}
	it.top.reset(b, it.table.layout)
}

func (it *TableIterator) fail(err error) bool {
	if it.err == nil {
		it.err = err
	}
	return false
}

// First moves to the first entry.
func (it *TableIterator) First() bool {
	if it.err != nil {
		return false
	}
	it.rewind()
	return it.Next()
}

// Next moves to the next entry, the first one on a new iterator.
func (it *TableIterator) Next() bool {
	for it.err == nil {
		if it.entries.step() {
			return it.current()
		}
		if it.entries.err != nil {
			return it.fail(it.entries.err)
		}
		if !it.nextBlock() {
			return false
		}
	}
	return false
}

func (it *TableIterator) current() bool {
	k, err := parseInternalKey(it.entries.key)
	if err != nil {
		return it.fail(err)
	}
	if g := it.table.global; g != nil {
		k.Seqno = *g
	}
	it.key = k
	return true
}

// nextBlock loads the data block that the index names next.
func (it *TableIterator) nextBlock() bool {
	if it.parts == nil {
		return it.top.step() && it.load() || it.fault(&it.top)
	}
	for !it.index.step() {
		if it.index.err != nil {
			return it.fail(it.index.err)
		}
		if !it.top.step() {
			return it.fault(&it.top)
		}
		if !it.loadIndex() {
			return false
		}
	}
	return it.load()
}

// fault passes an error of an index on; there is none at its end.
func (it *TableIterator) fault(i *blockIterator) bool {
	if i.err != nil {
		it.fail(i.err)
	}
	return false
}

// load opens the data block that the lowest index stands at.
func (it *TableIterator) load() bool {
	at := &it.top
	if it.parts != nil {
		at = &it.index
	}
	h, err := at.target()
	if err != nil {
		return it.fail(err)
	}
	if h.offset < it.end {
		return it.fail(corruptf("a block of data at %d, before the end of the last one", h.offset))
	}
	it.end = h.offset + h.size
	return it.openBlock(it.data, h, &it.entries, layout{})
}

// loadIndex opens the part of the index that its top stands at.
func (it *TableIterator) loadIndex() bool {
	h, err := it.top.target()
	if err != nil {
		return it.fail(err)
	}
	return it.openBlock(it.parts, h, &it.index, it.table.layout)
}

func (it *TableIterator) openBlock(r *blockReader, h handle, into *blockIterator, l layout) bool {
	b, err := r.read(h)
	if err != nil {
		return it.fail(err)
	}
	parsed, err := parseBlock(b)
	if err != nil {
		return it.fail(err)
	}
	into.reset(parsed, l)
	return true
}

// SeekGE moves to the first entry whose user's key is at or after key.
func (it *TableIterator) SeekGE(key []byte) bool {
	if it.err != nil {
		return false
	}
	it.rewind()
	if !it.seekIndex(&it.top, key) {
		return it.fault(&it.top)
	}
	if it.parts != nil {
		if !it.loadIndex() {
			return false
		}
		if !it.seekIndex(&it.index, key) {
			if it.index.err != nil {
				return it.fail(it.index.err)
			}
			return it.Next() // the part ends before its own last key says: go on with the next
		}
	}
	if !it.load() {
		return false
	}
	if it.entries.seek(func(k []byte) bool { return before(k, key, true) }) {
		return it.current()
	}
	if it.entries.err != nil {
		return it.fail(it.entries.err)
	}
	return it.Next()
}

func (it *TableIterator) seekIndex(i *blockIterator, key []byte) bool {
	return i.seek(func(k []byte) bool { return before(k, key, !it.table.users) })
}

// before compares a stored key with a user's key; internal says that the stored one has its suffix.
func before(stored, key []byte, internal bool) bool {
	if internal && len(stored) >= suffixSize {
		stored = stored[:len(stored)-suffixSize]
	}
	return bytes.Compare(stored, key) < 0
}
