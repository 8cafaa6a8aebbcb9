package rocksdb

import "bytes"

// Bounds answers the users' keys of the first and the last entry of a table; both are nil when it has none. It reads two
// blocks of data, and the index.
func (t *Table) Bounds() (first, last []byte, err error) {
	it := t.NewIterator()
	defer it.Close()
	if !it.First() {
		return nil, nil, it.Err()
	}
	first = bytes.Clone(it.Key().User)
	if !it.last() {
		if it.err == nil {
			it.fail(corruptf("the last block of data is empty"))
		}
		return nil, nil, it.err
	}
	return first, bytes.Clone(it.Key().User), nil
}

// last moves to the last entry.
func (it *TableIterator) last() bool {
	it.rewind()
	h, found := it.lastTarget(&it.top)
	if it.parts != nil && found {
		if !it.openBlock(it.parts, h, &it.index, it.table.layout) {
			return false
		}
		h, found = it.lastTarget(&it.index)
	}
	if !found || !it.openBlock(it.data, h, &it.entries, layout{}) {
		return false
	}
	it.end = h.offset + h.size
	found = false
	for it.entries.step() {
		found = true
	}
	if it.entries.err != nil {
		return it.fail(it.entries.err)
	}
	return found && it.current()
}

// lastTarget is what the last entry of an index leads to.
func (it *TableIterator) lastTarget(i *blockIterator) (h handle, found bool) {
	for i.step() {
		var err error
		if h, err = i.target(); err != nil {
			return h, it.fail(err)
		}
		found = true
	}
	return h, found && !it.fault(i) && it.err == nil
}
