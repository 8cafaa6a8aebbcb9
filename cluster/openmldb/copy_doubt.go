package openmldb

import (
	"context"
	"iter"
	"sync"

	"shardsh/cluster/transfer"
)

// doubt is about the rows of a part that a copy before this one may have written beyond its watermark. That one had at
// most so many groups of rows on their way behind the last one it had written without a gap: where that many in a row
// were not there, nothing behind them is.
type doubt struct {
	reach int64
	mu    sync.Mutex
	next  int64
	last  int64 // the place of the last one that was found
}

func (d *doubt) about(place int64) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return place <= d.last+d.reach
}

func (d *doubt) found(place int64) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = max(d.last, place)
}

// take gives the next place.
func (d *doubt) take() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return d.next
}

// doubting is a source whose rows may have been written by a copy before this one.
type doubting struct {
	transfer.Source[CopyRow]

	mu      sync.Mutex
	resumed int64 // how far doubt reaches, 0 for none
	doubts  map[int]*doubt
}

// resume has the rows from the positions on taken for ones that may have been written, as far as reach says.
func (s *doubting) resume(reach int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed, s.doubts = reach, map[int]*doubt{}
}

// Read implements transfer.Source.
func (s *doubting) Read(ctx context.Context, part int, after transfer.Position) iter.Seq2[transfer.Batch[CopyRow], error] {
	return func(yield func(transfer.Batch[CopyRow], error) bool) {
		for b, err := range s.Source.Read(ctx, part, after) {
			s.doubtful(part, b.Rows)
			if !yield(b, err) {
				return
			}
		}
	}
}

func (s *doubting) doubtful(part int, rows []CopyRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resumed == 0 {
		return
	}
	d := s.doubts[part]
	if d == nil {
		d = &doubt{reach: s.resumed}
		s.doubts[part] = d
	}
	for i := range rows {
		rows[i].doubt = d
		if i > 0 && rows[i].Key == rows[i-1].Key && rows[i].Time == rows[i-1].Time {
			rows[i].place = rows[i-1].place
		} else {
			rows[i].place = d.take()
		}
	}
}
