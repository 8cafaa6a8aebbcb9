package rocksdb

import (
	"encoding/binary"
	"sort"
)

// hashIndexLimit is the size in bytes up to which a block may have a hash index; in a longer one the top bit of the
// restart count is only a bit.
const hashIndexLimit = 64 << 10

// block is the entries of one block with the places where a key is stored whole.
type block struct {
	entries  []byte
	restarts []byte // u32 each, at least one
}

func parseBlock(b []byte) (block, error) {
	if len(b) < 4 {
		return block{}, corruptf("a block of %d bytes", len(b))
	}
	end := len(b) - 4
	count := binary.LittleEndian.Uint32(b[end:])
	if len(b) <= hashIndexLimit && count&(1<<31) != 0 {
		count &^= 1 << 31
		if end < 2 {
			return block{}, corruptf("a hash index in %d bytes", len(b))
		}
		buckets := int(binary.LittleEndian.Uint16(b[end-2:]))
		if end -= 2 + buckets; end < 0 {
			return block{}, corruptf("a hash index of %d buckets in %d bytes", buckets, len(b))
		}
	}
	if count == 0 || uint64(count)*4 > uint64(end) {
		return block{}, corruptf("a block of %d bytes with %d restarts", len(b), count)
	}
	start := end - 4*int(count)
	return block{entries: b[:start], restarts: b[start:end]}, nil
}

// blockIterator walks the entries of a block. Key is valid until the next move, value as long as the block is.
type blockIterator struct {
	block
	next   int // where the next entry starts
	key    []byte
	value  []byte
	shared int // bytes of the key that came from the one before
	layout
	handle handle // layout.deltas: the value, decoded
	err    error
}

// layout is how the values of an index are stored: as differences of handles, and with the first key of the block behind.
type layout struct{ deltas, firstKeys bool }

// reset starts over with another block.
func (it *blockIterator) reset(b block, l layout) {
	*it = blockIterator{block: b, key: it.key[:0], layout: l}
}

func (it *blockIterator) fail(err error) bool {
	if it.err == nil {
		it.err = err
	}
	it.next = len(it.entries)
	return false
}

// step moves to the next entry; false at the end and on corruption.
func (it *blockIterator) step() bool {
	b := it.entries[it.next:]
	if len(b) == 0 {
		return false
	}
	var shared, rest, size, head int
	if len(b) >= 3 && b[0]|b[1]|b[2] < 0x80 && !it.deltas {
		shared, rest, size, head = int(b[0]), int(b[1]), int(b[2]), 3
	} else {
		c := cursor{b: b}
		s, r, n := c.uvarint32(), c.uvarint32(), uint32(0)
		if !it.deltas {
			n = c.uvarint32()
		}
		if c.err != nil {
			return it.fail(c.err)
		}
		shared, rest, size, head = int(s), int(r), int(n), len(b)-len(c.b)
	}
	if shared > len(it.key) || rest > len(b)-head || size > len(b)-head-rest {
		return it.fail(corruptf("an entry at %d is longer than its block", it.next))
	}
	it.shared = shared
	it.key = append(it.key[:shared], b[head:head+rest]...)
	end := head + rest + size
	it.value = b[head+rest : end : end]
	if it.deltas {
		n, err := it.delta(b[head+rest:])
		if err != nil {
			return it.fail(err)
		}
		end += n
	}
	it.next += end
	return true
}

// delta decodes the value of an index entry at the start of b: whole when its key is, else as a difference of sizes to
// the block just before.
func (it *blockIterator) delta(b []byte) (used int, err error) {
	c := cursor{b: b}
	if it.shared == 0 {
		it.handle = c.handle()
	} else {
		zigzag := c.uvarint()
		it.handle.offset += it.handle.size + blockTrailer
		it.handle.size += zigzag>>1 ^ -(zigzag & 1)
	}
	if it.firstKeys {
		c.prefixed()
	}
	return len(b) - len(c.b), c.err
}

// restart moves to the start of restart i and reads its entry.
func (it *blockIterator) restart(i int) bool {
	at := binary.LittleEndian.Uint32(it.restarts[4*i:])
	if uint64(at) >= uint64(len(it.entries)) {
		if len(it.entries) == 0 {
			return false
		}
		return it.fail(corruptf("a restart at %d in %d bytes", at, len(it.entries)))
	}
	it.next, it.key = int(at), it.key[:0]
	return it.step()
}

// seek moves to the first entry that is not before, given as a test that is true for a first part of the entries. It
// stands before that entry's successor; false when there is none.
func (it *blockIterator) seek(before func(key []byte) bool) bool {
	i := sort.Search(len(it.restarts)/4, func(i int) bool { return it.err != nil || !it.restart(i) || !before(it.key) })
	if it.err != nil {
		return false
	}
	it.next, it.key = 0, it.key[:0]
	if i > 0 {
		if !it.restart(i - 1) {
			return false
		}
		if !before(it.key) {
			return true
		}
	}
	for it.step() {
		if !before(it.key) {
			return true
		}
	}
	return false
}

// target is the handle that an entry of an index stands for.
func (it *blockIterator) target() (handle, error) {
	if it.deltas {
		return it.handle, nil
	}
	c := cursor{b: it.value}
	h := c.handle()
	return h, c.err
}
