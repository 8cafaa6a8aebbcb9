package sandbox

import "sync"

// memory keeps byte slices that were used for those that come.
type memory struct{ pool sync.Pool }

// largestKept bounds one of them: a batch of a scan is about as large, and few answers are larger.
const largestKept = 512 << 10

// get answers an empty slice with some capacity, or nil.
func (m *memory) get() []byte {
	if b, ok := m.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (m *memory) put(b []byte) {
	if cap(b) <= largestKept {
		m.pool.Put(&b)
	}
}
