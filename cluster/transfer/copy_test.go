package transfer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"shardsh/commands/spec"
)

func whole(t *testing.T, s *table, d *store, total Totals) {
	t.Helper()
	rows, _ := d.sent()
	if want := s.parts * s.rows; rows != want || total.Rows != int64(want) {
		t.Fatalf("%d rows arrived and %d were counted, of %d", rows, total.Rows, want)
	}
}

// TestCopyFaults: whatever goes wrong for a while on either side, every row arrives and is counted once.
func TestCopyFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(round)))
			var mu sync.Mutex
			chance := func(of int) bool {
				mu.Lock()
				defer mu.Unlock()
				return r.IntN(of) == 0
			}
			some := func() error {
				switch {
				case chance(20):
					return errAgain
				case chance(20):
					return errSlow
				}
				return nil
			}
			s := &table{parts: 1 + r.IntN(6), rows: r.IntN(300), batch: 1 + r.IntN(20)}
			s.fault = func(int, int) error { return some() }
			s.empty = func(int, int) bool { return chance(5) }
			d := &store{piece: 1 + r.IntN(7)}
			d.took = func() time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(r.IntN(20)) * time.Millisecond
			}
			d.fault = func(Piece[row]) error {
				if chance(20) {
					return errMaybe
				}
				return some()
			}
			w := &work{}
			total, err := Copy(t.Context(), s, d, CopyOptions{What: "copy"}, w)
			if err != nil {
				t.Fatal(err)
			}
			whole(t, s, d, total)
			last := w.figures[len(w.figures)-1]
			if last.PartsDone != s.parts || last.Done != total.dealtWith() || last.Total != int64(s.parts*s.rows) {
				t.Errorf("%+v", last)
			}
			if _, err := Copy(t.Context(), s, d, CopyOptions{What: "copy"}, w); err != nil {
				t.Error(err)
			}
			if again, _ := d.sent(); again != s.parts*s.rows {
				t.Error("what was done was done again")
			}
		})
	}
}

// TestCopyKilled kills a copy at random moments, with nothing saved after that, and resumes it until it is over. What is
// sent twice is bounded by the windows and by what was acknowledged since the last Save.
func TestCopyKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	for round := range 200 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(round)))
			s := &table{parts: 1 + r.IntN(5), rows: 50 + r.IntN(500), batch: 1 + r.IntN(20)}
			o := CopyOptions{What: "copy", Window: 1 + r.IntN(6), Batches: 1 + r.IntN(4), Singles: 1 + r.IntN(9), SaveEvery: 10 * time.Millisecond}
			d := &store{piece: 1 + r.IntN(7)}
			var mu sync.Mutex
			d.took = func() time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(r.IntN(9)) * time.Millisecond
			}
			w := &work{}
			bound, sinceSave := 0, 0
			w.onSave = func() { _, sinceSave = d.sent() }
			for runs := 0; ; runs++ {
				ctx, cancel := context.WithCancel(t.Context())
				kill := time.AfterFunc(time.Duration(1+r.IntN(60+30*runs))*time.Millisecond, func() {
					w.mu.Lock()
					w.broken = true
					w.mu.Unlock()
					cancel()
				})
				_, sinceSave = d.sent()
				total, err := Copy(ctx, s, d, o, w)
				kill.Stop()
				cancel()
				if err == nil {
					whole(t, s, d, total)
					break
				}
				if spec.KindOf(err) != spec.Interrupted {
					t.Fatal(err)
				}
				_, sent := d.sent()
				bound += s.parts*(o.Window+1)*s.batch + sent - sinceSave
				w.broken = false
			}
			if rows, times := d.sent(); times-rows > bound {
				t.Fatalf("%d rows were sent twice, at most %d may be", times-rows, bound)
			}
		})
	}
}

// A watermark never passes a batch that is not acknowledged, however many are behind it.
func TestCopyWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{parts: 1, rows: 1000, batch: 10}
		release := make(chan struct{})
		d := &store{piece: 10, fault: func(p Piece[row]) error {
			if p.Rows[0].n == 30 {
				<-release
			}
			return nil
		}}
		w := &work{}
		ended := make(chan error)
		go func() {
			_, err := Copy(t.Context(), s, d, CopyOptions{What: "copy", Window: 8}, w)
			ended <- err
		}()
		time.Sleep(5 * time.Second)
		var j journal
		w.mu.Lock()
		err := json.Unmarshal(w.saved, &j)
		w.mu.Unlock()
		if err != nil || len(j.Parts) != 1 {
			t.Fatal(err, j)
		}
		if n, _ := binary.Uvarint(j.Parts[0].Position); n != 30 || j.Parts[0].Rows != 30 {
			t.Errorf("the watermark is at %d, %d rows", n, j.Parts[0].Rows)
		}
		if rows, _ := d.sent(); rows != 30+7*10 {
			t.Errorf("%d rows were written meanwhile", rows)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Rows in memory stay within the bound, or within a batch a part where batches are larger than it.
func TestCopyMemory(t *testing.T) {
	for _, c := range []struct {
		size, most int64
	}{{1000, 100_000}, {50_000, 4 * 10 * 50_000}} {
		synctest.Test(t, func(t *testing.T) {
			s := &table{parts: 4, rows: 400, batch: 10, size: func(int, int) int64 { return c.size }}
			d := &store{piece: 10, took: func() time.Duration { return 50 * time.Millisecond }}
			if _, err := Copy(t.Context(), s, d, CopyOptions{What: "copy", Memory: 100_000}, &work{}); err != nil {
				t.Fatal(err)
			}
			if d.peak > c.most || d.peak < c.most/3 {
				t.Errorf("%d bytes at once", d.peak)
			}
		})
	}
}

// A rate is kept to, and a new one is felt within a second.
func TestCopyRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{parts: 4, rows: 10_000, batch: 10}
		d := &store{piece: 10}
		w := &work{rate: spec.Rate{Rows: 100}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := Copy(ctx, s, d, CopyOptions{What: "copy"}, w)
			ended <- err
		}()
		sent := 0
		for _, step := range []struct {
			rate     spec.Rate
			min, max int
		}{
			{spec.Rate{Rows: 100}, 900, 1100},
			{spec.Rate{Rows: 1000}, 9000, 11000},
			{spec.Rate{Bytes: 2000}, 1800, 2400}, // a row has ten bytes
		} {
			w.mu.Lock()
			w.rate = step.rate
			w.mu.Unlock()
			time.Sleep(time.Second)
			_, before := d.sent()
			time.Sleep(9 * time.Second)
			_, sent = d.sent()
			if n := (sent - before) * 10 / 9; n < step.min || n > step.max {
				t.Errorf("%+v: %d rows in 10 s", step.rate, n)
			}
		}
		w.mu.Lock()
		w.rate = spec.Rate{}
		w.mu.Unlock()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
	})
}

// A store that asks for less gets less, and as much as before once it does not any more.
func TestCopySlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{parts: 8, rows: 20_000, batch: 10}
		busy := true
		d := &store{piece: 10, took: func() time.Duration { return 10 * time.Millisecond }}
		d.fault = func(Piece[row]) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if busy && d.inside > 3 {
				return errSlow
			}
			return nil
		}
		w := &work{}
		ended := make(chan error)
		go func() {
			_, err := Copy(t.Context(), s, d, CopyOptions{What: "copy"}, w)
			ended <- err
		}()
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		last := w.figures[len(w.figures)-1]
		w.mu.Unlock()
		if !strings.HasPrefix(last.Held, "the store asks for less") || last.Counts[len(last.Counts)-1].Name != "err_busy" {
			t.Errorf("%+v", last)
		}
		d.mu.Lock()
		busy, d.most = false, 0
		d.mu.Unlock()
		time.Sleep(5 * time.Second)
		d.mu.Lock()
		if d.most < 40 {
			t.Errorf("%d writes at once", d.most)
		}
		d.mu.Unlock()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A part whose store is away waits and says so; the others go on. Patience ends it when nothing moves.
func TestCopyPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{parts: 3, rows: 100, batch: 10}
		d := &store{piece: 10, fault: func(p Piece[row]) error {
			if p.Rows[0].part == 1 {
				return errAgain
			}
			return nil
		}}
		w := &work{}
		began := time.Now()
		total, err := Copy(t.Context(), s, d, CopyOptions{What: "copy a to b", Patience: time.Minute}, w)
		if spec.KindOf(err) != spec.PartlyDone || total.Rows != 200 || !strings.Contains(err.Error(), "nothing got any further for 1m0s") {
			t.Errorf("%v, %+v", err, total)
		}
		if took := time.Since(began); took < time.Minute || took > 70*time.Second {
			t.Error("it took", took)
		}
		if held := w.figures[50].Held; held != "partition 1 waits for 10.0.0.5:34801: no answer in time" {
			t.Error(held)
		}
		d.fault = nil
		if total, err = Copy(t.Context(), s, d, CopyOptions{What: "copy a to b"}, w); err != nil {
			t.Fatal(err)
		}
		whole(t, s, d, total)
	})
}

// A fatal error ends it at once, says what was done, and leaves what a resume needs.
func TestCopyFatal(t *testing.T) {
	for _, side := range []string{"read", "write", "parts"} {
		synctest.Test(t, func(t *testing.T) {
			broken := true
			s := &table{parts: 3, rows: 100, batch: 10, fault: func(part, n int) error {
				if broken && (side == "read" && part == 2 && n == 50 || side == "parts" && part < 0) {
					return errFatal
				}
				return nil
			}}
			d := &store{piece: 5, took: func() time.Duration { return time.Millisecond }, fault: func(p Piece[row]) error {
				if broken && side == "write" && p.Rows[0].n == 50 {
					return errFatal
				}
				return nil
			}}
			w := &work{}
			total, err := Copy(t.Context(), s, d, CopyOptions{What: "copy a to b"}, w)
			want := spec.PartlyDone
			if side == "parts" {
				want = spec.Failed
			}
			if spec.KindOf(err) != want || !errors.Is(err, errFatal.Err) {
				t.Errorf("%s: %v, %+v", side, err, total)
			}
			broken = false
			if total, err = Copy(t.Context(), s, d, CopyOptions{What: "copy a to b"}, w); err != nil {
				t.Fatal(err)
			}
			whole(t, s, d, total)
		})
	}
}

// Ctrl-C lets what is under way end, and starts nothing more; a write that does not end is given up.
func TestCopyInterrupted(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &table{parts: 2, rows: 10_000, batch: 10}
			d := &store{piece: 10, took: func() time.Duration {
				if hang {
					return time.Hour
				}
				return 500 * time.Millisecond
			}}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(3250*time.Millisecond, cancel)
			began := time.Now()
			w := &work{}
			total, err := Copy(ctx, s, d, CopyOptions{What: "copy", Batches: 4}, w)
			if spec.KindOf(err) != spec.Interrupted {
				t.Error(err)
			}
			took := time.Since(began) - 3250*time.Millisecond
			if !hang && (took > 300*time.Millisecond || total.Rows != 7*2*4*10) || hang && took > lastWords+LookEvery {
				t.Errorf("%s, %+v", took, total)
			}
			var j journal
			if err := json.Unmarshal(w.saved, &j); err != nil || int64(j.Parts[0].Rows+j.Parts[1].Rows) != total.Rows {
				t.Errorf("%v, %+v", err, j)
			}
		})
	}
}

func TestCopyBadJournal(t *testing.T) {
	for _, saved := range []string{`{"version":2,"parts":[]}`, `{"version":1,"parts":[{"part":1},{"part":1}]}`, `{"version":1,"parts":[{"part":-1}]}`, `{"version":1,"into":"b"}`, `7`} {
		d := &store{piece: 1}
		if _, err := Copy(t.Context(), &table{parts: 1, rows: 1, batch: 1}, d, CopyOptions{}, &work{saved: []byte(saved)}); err == nil {
			t.Error(saved)
		}
		if n, _ := d.sent(); n > 0 {
			t.Error("rows were sent")
		}
	}
}
