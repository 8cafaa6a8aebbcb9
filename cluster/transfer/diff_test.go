package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// diffTables makes two tables that differ at random, and what the differences are.
func diffTables(rng *rand.Rand, n int) (a, b map[string]diffRow, want map[string]Difference) {
	a, b, want = map[string]diffRow{}, map[string]diffRow{}, map[string]Difference{}
	for i := range n {
		row := diffRow{K: fmt.Sprintf("key%d", i), V: string(make([]byte, rng.IntN(100))), Expires: rng.IntN(3) * 100}
		other := row
		a[row.K], b[row.K] = row, other
		switch rng.IntN(20) {
		case 0:
			delete(b, row.K)
			want[row.K] = Missing
		case 1:
			delete(a, row.K)
			want[row.K] = Extra
		case 2:
			other.V += "!"
			want[row.K] = Different
		case 3:
			other.Expires += 3
			want[row.K] = Drift
		case 4:
			other.Expires += rng.IntN(3)
		}
		if _, there := b[row.K]; there {
			b[row.K] = other
		}
	}
	return a, b, want
}

func diffTally(a, b map[string]diffRow, want map[string]Difference) DiffTotals {
	t := DiffTotals{SourceRows: int64(len(a)), TargetRows: int64(len(b))}
	for _, d := range want {
		t.count(d)
	}
	return t
}

func diffCompared(t *testing.T, got, want DiffTotals) {
	t.Helper()
	want.Passes = got.Passes
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func diffSeed(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestDiffFindsWhatAPlainComparisonDoes(t *testing.T) {
	rng := diffSeed(t)
	for range 20 {
		a, b, want := diffTables(rng, rng.IntN(3000))
		m1, m2 := newDiffTable(rng, a, 1+rng.IntN(9)), newDiffTable(rng, b, 1+rng.IntN(9))
		for _, m := range []*diffTable{m1, m2} {
			var calls atomic.Int64
			faults := []error{errDiffAgain, errDiffSlow, errDiffAgain, errDiffSlow}
			every := int64(3 + rng.IntN(30))
			m.fault = func(int, int) error {
				n := calls.Add(1)
				if n%every == 0 && n/every <= int64(len(faults)) {
					return faults[n/every-1]
				}
				return nil
			}
		}
		o := DiffOptions{Limit: 10_000, Beside: 1 + rng.IntN(4), Memory: 1 << (12 + rng.IntN(12))}
		got := map[string]Difference{}
		x := newDiffer(m1, m2, diffRows{maphash.MakeSeed()}, o, &diffWork{}, func(f Found[diffRow]) error {
			key := ""
			if f.Source != nil {
				key = f.Source.K
			} else {
				key = f.Target.K
			}
			if (f.Source == nil) != (f.Difference == Extra) || (f.Target == nil) != (f.Difference == Missing) {
				t.Errorf("%v with rows %v, %v", f.Difference, f.Source, f.Target)
			}
			if _, twice := got[key]; twice {
				t.Errorf("%s is found twice", key)
			}
			got[key] = f.Difference
			return nil
		})
		if err := x.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		diffCompared(t, x.state.Totals, diffTally(a, b, want))
		if x.peak > o.Memory+400 {
			t.Fatalf("held %d bytes where %d are allowed", x.peak, o.Memory)
		}
		// With little memory most differences are counted only; those handed over are right all the same.
		for key, d := range got {
			if want[key] != d {
				t.Fatalf("%s: got %v, want %v", key, d, want[key])
			}
		}
		if o.Memory > 4<<20 && len(got) != len(want) {
			t.Fatalf("%d found, want %d", len(got), len(want))
		}
	}
}

func TestDiffEqualTablesAreReadOnce(t *testing.T) {
	rng := diffSeed(t)
	a, _, _ := diffTables(rng, 2000)
	reads := 0
	var mu sync.Mutex
	m1, m2 := newDiffTable(rng, a, 8), newDiffTable(rng, a, 16)
	m1.fault = func(part, at int) error {
		mu.Lock()
		defer mu.Unlock()
		if part >= 0 && at == 0 {
			reads++
		}
		return nil
	}
	w := &diffWork{}
	got, err := Diff(t.Context(), m1, m2, diffRows{maphash.MakeSeed()}, DiffOptions{}, w, nil)
	if err != nil || got.Differences() != 0 || got.Passes != 0 || got.Equal() != int64(len(a)) || reads != 8 {
		t.Fatalf("%+v, %v, %d reads", got, err, reads)
	}
	if w.shown.Done != int64(2*len(a)) || w.shown.PartsDone != 24 || w.shown.Parts != 24 {
		t.Fatalf("shown %+v", w.shown)
	}
}

func TestDiffLeavesExtraRowsOut(t *testing.T) {
	rng := diffSeed(t)
	a, b, want := diffTables(rng, 2000)
	expected := diffTally(a, b, want)
	expected.Extra = 0
	o := DiffOptions{OnlySource: true}
	got, err := Diff(t.Context(), newDiffTable(rng, a, 3), newDiffTable(rng, b, 5), diffRows{maphash.MakeSeed()}, o, &diffWork{},
		func(f Found[diffRow]) error {
			if f.Difference == Extra {
				t.Error("an extra row")
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	diffCompared(t, got, expected)
}

func TestDiffGoesOnFromItsJournal(t *testing.T) {
	rng := diffSeed(t)
	a, b, want := diffTables(rng, 3000)
	rows := diffRows{maphash.MakeSeed()}
	o := DiffOptions{Memory: 16 << 10, Limit: 20, Beside: 2}
	w := &diffWork{}
	found := 0
	for runs := 1; ; runs++ {
		if runs > 1000 {
			t.Fatal("it gets no further")
		}
		// As long as sums are made no run is long enough for a whole part of the source.
		m1, m2 := newDiffTable(rand.New(rand.NewPCG(1, 0)), a, 1), newDiffTable(rand.New(rand.NewPCG(2, 0)), b, 7)
		left := 20 + rng.IntN(60)
		var was diffState[diffRow]
		if _, err := w.Restore(&was); err != nil {
			t.Fatal(err)
		}
		if was.Summed {
			left = 20 + rng.IntN(600)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		m1.batch, m2.batch = 20, 20
		m2.fault = func(int, int) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left < 0 {
				cancel()
			}
			return nil
		}
		m1.fault = m2.fault
		found = 0
		x := newDiffer(m1, m2, rows, o, w, func(Found[diffRow]) error { found++; return nil })
		var clock atomic.Int64 // that every look at it moves on
		x.now = func() time.Time { return time.Unix(clock.Add(int64(diffSaveEvery/time.Second)), 0) }
		err := x.run(ctx)
		cancel()
		if err == nil {
			diffCompared(t, x.state.Totals, diffTally(a, b, want))
			if found != 20 || x.state.Totals.Passes < 2 {
				t.Fatalf("%d handed over, %d passes", found, x.state.Totals.Passes)
			}
			if runs == 1 {
				t.Fatal("it was never interrupted")
			}
			return
		}
		if spec.KindOf(err) != spec.Interrupted {
			t.Fatal(err)
		}
	}
}

func TestDiffSumsAnewWhenPartsChange(t *testing.T) {
	rng := diffSeed(t)
	a, b, want := diffTables(rng, 1000)
	rows := diffRows{maphash.MakeSeed()}
	w := &diffWork{}
	m2 := newDiffTable(rng, b, 4)
	m2.fault = func(part, _ int) error {
		if part == 3 {
			return errDiffFatal
		}
		return nil
	}
	if _, err := Diff(t.Context(), newDiffTable(rng, a, 4), m2, rows, DiffOptions{Beside: 1}, w, nil); !errors.Is(err, errDiffFatal) {
		t.Fatal(err)
	}
	got, err := Diff(t.Context(), newDiffTable(rng, a, 8), newDiffTable(rng, b, 8), rows, DiffOptions{}, w,
		func(Found[diffRow]) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	diffCompared(t, got, diffTally(a, b, want))
}

func TestDiffLooksAgain(t *testing.T) {
	rng := diffSeed(t)
	a, b, want := diffTables(rng, 500)
	expected := diffTally(a, b, want)
	// By the time it looks again the target has caught up, but for one row; and one is new.
	now := map[string]diffRow{}
	for k, row := range a {
		now[k] = row
	}
	lost := diffRow{K: "lost", V: "v"}
	a[lost.K] = lost
	l1, l2 := diffLive{newDiffTable(rng, a, 3), a}, diffLive{newDiffTable(rng, b, 2), now}
	var found []Found[diffRow]
	got, err := Diff(t.Context(), l1, l2, diffRows{maphash.MakeSeed()}, DiffOptions{}, &diffWork{}, func(f Found[diffRow]) error {
		found = append(found, f)
		return nil
	})
	if err != nil || len(found) != 1 || found[0].Difference != Missing || *found[0].Source != lost {
		t.Fatalf("%v, %v", found, err)
	}
	// Rows that drift within the tolerance never were suspects.
	if got.Differences() != 1 || got.Settled != expected.Differences() {
		t.Fatalf("%+v, want %d settled", got, expected.Differences())
	}
}

func TestDiffSaysWhatHoldsIt(t *testing.T) {
	rng := diffSeed(t)
	a, _, _ := diffTables(rng, 100)
	m1, m2 := newDiffTable(rng, a, 2), newDiffTable(rng, a, 2)
	w := &diffWork{}
	failures := 0
	m1.fault = func(part, _ int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if part == 1 && !w.held {
			failures++
			return errDiffAgain
		}
		return nil
	}
	if _, err := Diff(t.Context(), m1, m2, diffRows{maphash.MakeSeed()}, DiffOptions{}, w, nil); err != nil {
		t.Fatal(err)
	}
	if failures == 0 || w.shown.Held != "" || retried(w.shown.Counts) != int64(failures) {
		t.Fatalf("%d failures, shown %+v", failures, w.shown)
	}
}

func TestDiffTellsErrors(t *testing.T) {
	rng := diffSeed(t)
	a, b, _ := diffTables(rng, 300)
	broken := newDiffTable(rng, b, 3)
	broken.fault = func(part, at int) error {
		if part == 2 && at > 0 {
			return errDiffFatal
		}
		return nil
	}
	broken.batch = 5
	rows := diffRows{maphash.MakeSeed()}
	if _, err := Diff(t.Context(), newDiffTable(rng, a, 2), broken, rows, DiffOptions{}, &diffWork{}, nil); !errors.Is(err, errDiffFatal) {
		t.Errorf("a broken table: %v", err)
	}
	ok := newDiffTable(rng, b, 3)
	full := errors.New("disk full")
	if _, err := Diff(t.Context(), newDiffTable(rng, a, 2), ok, rows, DiffOptions{}, &diffWork{fail: full}, nil); !errors.Is(err, full) {
		t.Errorf("a journal that cannot be written: %v", err)
	}
	stop := errors.New("enough")
	_, err := Diff(t.Context(), newDiffTable(rng, a, 2), ok, rows, DiffOptions{}, &diffWork{}, func(Found[diffRow]) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("each failed: %v", err)
	}
	bad := &diffWork{saved: []byte(`{"Parts":[[0,1],[0,1,2]],"Sums":["AQ==",""]}`)}
	if _, err := Diff(t.Context(), newDiffTable(rng, a, 2), ok, rows, DiffOptions{}, bad, nil); !errors.Is(err, errSums) {
		t.Errorf("a damaged journal: %v", err)
	}
}

func TestSumsDoNotDependOnOrder(t *testing.T) {
	a, b := newSums(), newSums()
	for i := range uint64(1000) {
		h := hashOf(fmt.Append(nil, i))
		a.add(h, i, 3)
	}
	half := newSums()
	for i := uint64(999); i < 1000; i-- {
		h := hashOf(fmt.Append(nil, i))
		if i%2 == 0 {
			half.add(h, i, 5)
		} else {
			b.add(h, i, 5)
		}
	}
	b.merge(half)
	if a.differ(b) || a.rows() != 1000 {
		t.Error("the same rows in another order differ")
	}
	b.add(7, 7, 7)
	if !a.differ(b) {
		t.Error("a row more goes unnoticed")
	}
}

func FuzzSums(f *testing.F) {
	s := newSums()
	f.Add(s.encode())
	for i := range 100 {
		s.add(hashOf([]byte{byte(i)}), uint64(i), 100)
	}
	f.Add(s.encode())
	f.Add([]byte{0xff, 0xff, 0x03, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newSums()
		if s.decode(in) != nil {
			return
		}
		back := newSums()
		if err := back.decode(s.encode()); err != nil || !slices.Equal(s, back) {
			t.Fatalf("what was read is not written back: %v", err)
		}
		if len(in) > 0 && bytes.Equal(s.encode(), nil) {
			t.Fatal("nothing was read")
		}
	})
}
