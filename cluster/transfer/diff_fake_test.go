package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"

	"shardsh/commands/spec"
)

// diffRow is a row of the tests.
type diffRow struct {
	K, V    string
	Expires int
}

type diffRows struct{ seed maphash.Seed }

func (diffRows) Key(t diffRow) []byte { return []byte(t.K) }
func (r diffRows) Sum(t diffRow) uint64 {
	return maphash.String(r.seed, t.K+"\x00"+t.V+"\x00"+strconv.Itoa(t.Expires))
}

func (diffRows) Compare(a, b diffRow) Difference {
	switch d := a.Expires - b.Expires; {
	case a.V != b.V:
		return Different
	case d > 2 || d < -2:
		return Drift
	}
	return Same
}

func (diffRows) Size(t diffRow) int { return len(t.K) + len(t.V) }
func (diffRows) Clone(t diffRow) diffRow {
	return diffRow{string([]byte(t.K)), string([]byte(t.V)), t.Expires}
}

var errDiffAgain, errDiffSlow, errDiffFatal = errors.New("no answer"), errors.New("busy"), errors.New("broken")

// diffTable is a table in memory.
type diffTable struct {
	parts [][]diffRow
	batch int
	// fault is asked before each batch.
	fault func(part, at int) error
}

func newDiffTable(rng *rand.Rand, rows map[string]diffRow, parts int) *diffTable {
	m := &diffTable{parts: make([][]diffRow, parts), batch: 1 + rng.IntN(50)}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		p := rng.IntN(parts)
		m.parts[p] = append(m.parts[p], rows[key])
	}
	for _, p := range m.parts {
		rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	}
	return m
}

func (m *diffTable) Parts(context.Context) ([]Part, error) {
	if err := m.err(-1, 0); err != nil {
		return nil, err
	}
	parts := make([]Part, len(m.parts))
	for i := range parts {
		parts[i] = Part{Number: i, Rows: int64(len(m.parts[i]))}
	}
	return parts, nil
}

func (m *diffTable) err(part, at int) error {
	if m.fault == nil {
		return nil
	}
	return m.fault(part, at)
}

func (m *diffTable) Read(ctx context.Context, part int, after Position) iter.Seq2[Batch[diffRow], error] {
	return func(yield func(Batch[diffRow], error) bool) {
		at, _ := strconv.Atoi(string(after))
		for at < len(m.parts[part]) {
			if err := cmp.Or(ctx.Err(), m.err(part, at)); err != nil {
				yield(Batch[diffRow]{}, err)
				return
			}
			end := min(at+m.batch, len(m.parts[part]))
			b := Batch[diffRow]{Rows: slices.Clone(m.parts[part][at:end]), After: Position(strconv.Itoa(end))}
			for _, row := range b.Rows {
				b.Bytes += int64(len(row.K) + len(row.V))
			}
			if at = end; !yield(b, nil) {
				return
			}
		}
	}
}

func (m *diffTable) Judge(err error) Verdict {
	switch {
	case errors.Is(err, errDiffAgain):
		return Again
	case errors.Is(err, errDiffSlow):
		return Slow
	}
	return Fatal
}

// diffLive is a table that can be read row by row, where it says now what it holds by now.
type diffLive struct {
	*diffTable
	now map[string]diffRow
}

func (l diffLive) Get(_ context.Context, like diffRow) (diffRow, bool, error) {
	row, found := l.now[like.K]
	return row, found, nil
}

// diffWork is a Work that remembers.
type diffWork struct {
	mu    sync.Mutex
	saved []byte
	saves int
	fail  error
	rate  spec.Rate
	shown spec.Figures
	held  bool
}

func (*diffWork) Progress(int64, int64, string) {}
func (*diffWork) Detail(string, ...any)         {}

func (j *diffWork) Restore(state any) (bool, error) {
	if j.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(j.saved, state)
}

func (j *diffWork) Save(state any) (err error) {
	if j.fail != nil {
		return j.fail
	}
	j.saves++
	j.saved, err = json.Marshal(state)
	return err
}

func (j *diffWork) Rate() spec.Rate { return j.rate }
func (j *diffWork) Show(f spec.Figures) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shown, j.held = f, j.held || f.Held != ""
}
