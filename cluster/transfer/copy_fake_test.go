package transfer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// row is a row of the tables in memory.
type row struct {
	part, n int
	size    int64
}

var (
	errFatal = spec.Errorf(spec.Failed, "out of order")
	errAgain = &spec.Error{Kind: spec.Unavailable, Endpoint: "10.0.0.5:34801", Err: errors.New("no answer in time")}
	errSlow  = &spec.Error{Kind: spec.Unavailable, Code: "ERR_BUSY", Err: errors.New("throttled")}
	errMaybe = spec.Errorf(spec.UnknownOutcome, "no answer came")
)

func judge(err error) Verdict {
	switch {
	case errors.Is(err, errAgain), errors.Is(err, errMaybe):
		return Again
	case errors.Is(err, errSlow):
		return Slow
	}
	return Fatal
}

// table is a source in memory. Positions are the number of the row to go on at.
type table struct {
	parts, rows, batch int
	size               func(part, n int) int64
	fault              func(part, n int) error // before the batch that begins at n
	empty              func(part, n int) bool  // answer a batch without rows first
}

func (s *table) Parts(context.Context) ([]Part, error) {
	if s.fault != nil {
		if err := s.fault(-1, 0); err != nil {
			return nil, err
		}
	}
	var list []Part
	for i := range s.parts {
		list = append(list, Part{Number: i, Start: at(0), Rows: int64(s.rows)})
	}
	return list, nil
}

func at(n int) Position { return binary.AppendUvarint(nil, uint64(n)) }

func (s *table) Read(ctx context.Context, part int, after Position) iter.Seq2[Batch[row], error] {
	return func(yield func(Batch[row], error) bool) {
		from, _ := binary.Uvarint(after)
		for n := int(from); n < s.rows; n += s.batch {
			if ctx.Err() != nil {
				yield(Batch[row]{}, ctx.Err())
				return
			}
			if s.fault != nil {
				if err := s.fault(part, n); err != nil {
					yield(Batch[row]{}, err)
					return
				}
			}
			if s.empty != nil && s.empty(part, n) && !yield(Batch[row]{After: at(n), Filtered: 1}, nil) {
				return
			}
			b := Batch[row]{}
			for i := n; i < min(n+s.batch, s.rows); i++ {
				size := int64(10)
				if s.size != nil {
					size = s.size(part, i)
				}
				b.Rows = append(b.Rows, row{part, i, size})
				b.Bytes += size
			}
			b.After = at(n + len(b.Rows))
			if !yield(b, nil) {
				return
			}
		}
	}
}

func (s *table) Judge(err error) Verdict { return judge(err) }

// store is a sink in memory.
type store struct {
	piece int // rows
	fault func(Piece[row]) error
	took  func() time.Duration

	mu             sync.Mutex
	rows           map[row]int
	writes, inside int
	most           int
	bytes, peak    int64
}

func (s *store) Pieces(rows []row) iter.Seq[Piece[row]] {
	return func(yield func(Piece[row]) bool) {
		for some := range slices.Chunk(rows, s.piece) {
			p := Piece[row]{Rows: some}
			for _, r := range some {
				p.Bytes += r.size
			}
			if !yield(p) {
				return
			}
		}
	}
}

func (s *store) Write(ctx context.Context, p Piece[row]) (Written, error) {
	s.mu.Lock()
	s.inside++
	s.writes++
	s.bytes += p.Bytes
	s.most, s.peak = max(s.most, s.inside), max(s.peak, s.bytes)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inside--
		s.bytes -= p.Bytes
		s.mu.Unlock()
	}()
	if s.took != nil {
		select {
		case <-time.After(s.took()):
		case <-ctx.Done():
			return Written{}, ctx.Err()
		}
	}
	if s.fault != nil {
		if err := s.fault(p); err != nil && !errors.Is(err, errMaybe) {
			return Written{}, err
		} else if err != nil {
			s.put(p.Rows)
			return Written{}, err
		}
	}
	s.put(p.Rows)
	return Written{Rows: int64(len(p.Rows))}, nil
}

func (s *store) put(rows []row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = map[row]int{}
	}
	for _, r := range rows {
		s.rows[r]++
	}
}

func (s *store) Judge(err error) Verdict { return judge(err) }

func (s *store) sent() (rows, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.rows {
		times += n
	}
	return len(s.rows), times
}

// work is a job's side of the shell.
type work struct {
	mu      sync.Mutex
	saved   []byte
	broken  bool // the process is dead: nothing is saved any more
	onSave  func()
	rate    spec.Rate
	figures []spec.Figures
}

func (w *work) Progress(int64, int64, string) {}

func (w *work) Detail(string, ...any) {}

func (w *work) Restore(state any) (bool, error) {
	if w.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(w.saved, state)
}

func (w *work) Save(state any) error {
	b, err := json.Marshal(state)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.broken {
		w.saved = b
		if w.onSave != nil {
			w.onSave()
		}
	}
	return err
}

func (w *work) Rate() spec.Rate {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rate
}

func (w *work) Show(f spec.Figures) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.figures = append(w.figures, f)
}
