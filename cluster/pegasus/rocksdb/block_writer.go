package rocksdb

import "encoding/binary"

// blockWriter builds one block; its keys share what they have in common with the one before, but for every interval-th.
type blockWriter struct {
	interval int
	b        []byte
	restarts []uint32
	since    int // entries since the last restart
	last     []byte
}

func (w *blockWriter) reset() {
	w.b, w.restarts, w.last, w.since = w.b[:0], w.restarts[:0], w.last[:0], 0
}

func (w *blockWriter) empty() bool { return len(w.b) == 0 }

// size is how long the block is as it stands, in bytes.
func (w *blockWriter) size() int { return len(w.b) + 4*len(w.restarts) + 4 }

func (w *blockWriter) add(key, value []byte) {
	shared := 0
	if len(w.restarts) == 0 || w.since == w.interval {
		w.restarts = append(w.restarts, uint32(len(w.b)))
		w.since = 0
	} else {
		for n := min(len(key), len(w.last)); shared < n && key[shared] == w.last[shared]; shared++ {
		}
	}
	w.since++
	w.b = binary.AppendUvarint(w.b, uint64(shared))
	w.b = binary.AppendUvarint(w.b, uint64(len(key)-shared))
	w.b = binary.AppendUvarint(w.b, uint64(len(value)))
	w.b = append(append(w.b, key[shared:]...), value...)
	w.last = append(w.last[:shared], key[shared:]...)
}

// finish ends the block, which is valid until the next reset.
func (w *blockWriter) finish() []byte {
	if len(w.restarts) == 0 {
		w.restarts = append(w.restarts, 0)
	}
	for _, r := range w.restarts {
		w.b = binary.LittleEndian.AppendUint32(w.b, r)
	}
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(w.restarts)))
	return w.b
}
