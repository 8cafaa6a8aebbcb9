package pegasus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// copyWork is a job's side of the shell.
type copyWork struct {
	mu    sync.Mutex
	saved []byte
	last  spec.Figures
	rate  spec.Rate
	shown func(spec.Figures)
}

func (w *copyWork) Progress(int64, int64, string) {}
func (w *copyWork) Detail(string, ...any)         {}
func (w *copyWork) Rate() spec.Rate               { return w.rate }

func (w *copyWork) Restore(state any) (bool, error) {
	return w.saved != nil, json.Unmarshal(append([]byte(nil), orNull(w.saved)...), state)
}

func orNull(b []byte) []byte {
	if b == nil {
		return []byte("{}")
	}
	return b
}

func (w *copyWork) Save(state any) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saved, err = json.Marshal(state)
	return err
}

func (w *copyWork) Show(f spec.Figures) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = f
	if w.shown != nil {
		w.shown(f)
	}
}

// A part neither loses nor doubles rows, whenever partitions are split under it, and wherever reading is taken up again
// from a position that was saved.
func TestSourceThroughSplit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range 60 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		what := fmt.Sprintf("seed %d, round %d", seed, round)
		s := newSplitBox(t, 1<<r.IntN(3), 50+r.IntN(200))
		s.holes = r.IntN(3)
		moments := map[int][]int{}
		for p := range s.partitions {
			if r.IntN(4) > 0 {
				moment := 1 + r.IntN(40)
				moments[moment] = append(moments[moment], p)
			}
		}
		for range 3 {
			s.forget[1+r.IntN(40)], s.incomplete[1+r.IntN(40)] = true, true
		}
		s.answered = func(n int) {
			if p := moments[n]; len(p) > 0 {
				s.split(p...)
			}
		}
		src, err := s.d.RowSource(boxTable, RowSourceOptions{ScanOptions: ScanOptions{Batch: 1 + r.IntN(12)}})
		if err != nil {
			t.Fatal(err)
		}
		parts, err := src.Parts(t.Context())
		if err != nil || len(parts) != s.partitions {
			t.Fatal(what, len(parts), err)
		}
		var got []string
		for _, p := range parts {
			at := p.Start
			for over := false; !over; {
				stop := r.IntN(6) // batches until it is taken up anew
				over = true
				for b, err := range src.Read(t.Context(), p.Number, at) {
					if err != nil {
						t.Fatal(what, err)
					}
					for _, kv := range b.Rows {
						hash, sort, _ := wire.DecodeKey(kv.Key)
						got = append(got, fmt.Sprintf("%s %s %s", hash, sort, kv.Value))
					}
					if at = b.After; stop == 0 {
						over = false
						break
					}
					stop--
				}
			}
		}
		s.whole(t, what, got)
	}
}

func TestMarks(t *testing.T) {
	for _, p := range []mark{
		{app: 1, count: 1},
		{app: 1<<31 - 1, count: 8, index: 7, last: []byte("\x00\x01a"), out: []byte("\x00\x00")},
		{app: 2, count: 64, index: 3, out: bytes.Repeat([]byte("x"), 300)},
	} {
		got, err := parseMark(p.position())
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(p, got, cmp.AllowUnexported(mark{})); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []transfer.Position{
		{}, {1}, {2, 1, 1, 0, 0, 0}, {1, 1, 0, 0, 0, 0}, {1, 1, 1, 1, 0, 0}, {1, 1, 1, 0, 9, 0}, {1, 1, 1, 0, 0, 0, 0},
	} {
		if p, err := parseMark(bad); err == nil {
			t.Errorf("%v is %+v", bad, p)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add([]byte(mark{app: 1, count: 8, index: 3, last: []byte("\x00\x01a")}.position()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseMark(b); err == nil {
			if again, err := parseMark(p.position()); err != nil || !cmp.Equal(p, again, cmp.AllowUnexported(mark{})) {
				t.Errorf("%+v, %+v, %v", p, again, err)
			}
		}
	})
}

// A source whose table is another one by now, or was split twice, says so and is not gone on from.
func TestSourceOfAnotherTable(t *testing.T) {
	b := newBox(t, 2)
	newScans(b)
	d := open(t, 5*time.Second, b.meta.endpoint)
	src, err := d.RowSource(boxTable, RowSourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   mark
		want string
	}{
		{mark{app: 3, count: 2}, "its id was 3 and is 2"},
		{mark{app: 2, count: 8}, "it had 8 partitions and has 2"},
	} {
		for _, err := range src.Read(t.Context(), 0, c.at.position()) {
			if err == nil || !strings.Contains(err.Error(), c.want) || src.Judge(err) != transfer.Fatal {
				t.Error(err)
			}
		}
	}
}

// Rows that are large are asked for a few at a time, small ones by as many as was asked for.
func TestSourceFitsBatches(t *testing.T) {
	b := newBox(t, 1)
	for i := range 2000 {
		size := 10
		if i < 300 {
			size = 10_000
		}
		b.put("h", fmt.Sprintf("%05d", i), strings.Repeat("v", size), 0)
	}
	newScans(b)
	d := open(t, 20*time.Second, b.meta.endpoint)
	src, err := d.RowSource(boxTable, RowSourceOptions{ScanOptions: ScanOptions{Batch: 400}, BatchBytes: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	total := 0
	for batch, err := range src.Read(t.Context(), 0, nil) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(batch.Rows))
		total += len(batch.Rows)
	}
	if total != 2000 || sizes[0] != 100 || sizes[1] != 9 || slices.Max(sizes) != 400 || len(sizes) > 50 {
		t.Errorf("%d rows, batches of %v", total, sizes)
	}
}

// Pieces are whole, in order, of one hash key and one expiry, and within the bounds.
func TestPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var rows []CopyRow
	for i := range 3000 {
		hash := []string{"", "a", "ab", "b"}[i*4/3000]
		key, _ := wire.EncodeKey([]byte(hash), fmt.Appendf(nil, "%05d", i))
		size := r.IntN(100)
		if r.IntN(40) == 0 {
			size = r.IntN(1 << 20)
		}
		expires := int32(0)
		if i%700 > 350 {
			expires = int32(i / 30)
		}
		rows = append(rows, CopyRow{Key: key, Value: make([]byte, size), ExpireTS: expires})
	}
	for _, o := range []RowSinkOptions{{}, {MaxRows: 7}, {NoTTL: true}, {NoOverwrite: true}} {
		s := (&Driver{}).RowSink("t", o)
		at, pieces, singles := 0, 0, 0
		for p := range s.Pieces(rows) {
			var size int64
			end := hashEnd(p.Rows[0].Key)
			for i, kv := range p.Rows {
				if &kv.Key[0] != &rows[at].Key[0] || !bytes.Equal(kv.Key[:hashEnd(kv.Key)], p.Rows[0].Key[:end]) || !o.NoTTL && kv.ExpireTS != p.Rows[0].ExpireTS {
					t.Fatalf("row %d of a piece, %d of all", i, at)
				}
				size += int64(len(kv.Key) - 2 + len(kv.Value))
				at++
			}
			pieces++
			if len(p.Rows) == 1 {
				singles++
			} else if end == 2 || size > sinkBytes || len(p.Rows) > s.o.MaxRows || o.NoOverwrite {
				t.Errorf("%d rows of %d bytes, hash key of %d", len(p.Rows), size, end-2)
			}
			if size != p.Bytes {
				t.Error("bytes")
			}
		}
		if at != len(rows) || o == (RowSinkOptions{}) && pieces-singles < 30 {
			t.Errorf("%d rows in %d pieces, %d of one row", at, pieces, singles)
		}
	}
}

func TestJudge(t *testing.T) {
	at := "10.0.0.5:34801"
	for _, c := range []struct {
		err  error
		want transfer.Verdict
	}{
		{failure("x", true, &rejectedError{at, wire.CodeBusy}), transfer.Slow},
		{failure("x", true, &rejectedError{at, wire.CodeCapacityExceeded}), transfer.Slow},
		{failure("x", true, &rejectedError{at, wire.CodeTimeout}), transfer.Slow},
		{failure("x", true, &rejectedError{at, wire.CodeInvalidState}), transfer.Again},
		{failure("x", true, &rejectedError{at, wire.CodeObjectNotFound}), transfer.Again},
		{failure("x", true, &rejectedError{at, wire.CodeNotEnoughMember}), transfer.Again},
		{failure("x", true, &rejectedError{at, wire.CodeSplitting}), transfer.Again},
		{failure("x", true, &rejectedError{at, wire.CodeOperationDisabled}), transfer.Again},
		{failure("x", true, &rejectedError{at, wire.CodeACLDeny}), transfer.Fatal},
		{failure("x", true, &rejectedError{at, wire.CodeInvalidData}), transfer.Fatal},
		{failure("x", true, &rejectedError{at, wire.CodeDiskInsufficient}), transfer.Fatal},
		{failure("x", true, &lostError{at, true, errors.New("the server closed the connection")}), transfer.Again},
		{failure("x", false, &lostError{at, true, context.DeadlineExceeded}), transfer.Again},
		{failure("x", true, &lostError{at, false, errClosed}), transfer.Fatal},
		{failure("x", true, &lostError{at, true, errKerberos}), transfer.Fatal},
		{noPrimary("x", "t", 1), transfer.Again},
		{noTable("x", at, "t", wire.CodeObjectNotFound), transfer.Fatal},
		{codeError("x", at, wire.CodeUnderRecovery, "", false), transfer.Again},
		{statusError("x", at, wire.StatusBusy), transfer.Slow},
		{statusError("x", at, wire.StatusCorruption), transfer.Fatal},
		{statusError("x", at, wire.StatusNotFound), transfer.Again},
		{malformed("x", at, "odd"), transfer.Fatal},
		{changed("x", "t", "odd"), transfer.Fatal},
		{errors.New("odd"), transfer.Fatal},
	} {
		if got := judge(c.err); got != c.want {
			t.Errorf("%v is %d", c.err, got)
		}
	}
	sink := (&Driver{}).RowSink("t", RowSinkOptions{NoOverwrite: true})
	if sink.Judge(failure("x", true, &rejectedError{at, wire.CodeOperationDisabled})) != transfer.Fatal {
		t.Error("a duplicated table refuses checked writes for good")
	}
}

// A checked write whose answer is lost counts as neither written nor kept.
func TestCopyUnsure(t *testing.T) {
	b := newBox(t, 1)
	for i := range 10 {
		b.put("h", fmt.Sprint(i), "v", 0)
	}
	newScans(b)
	d := open(t, 5*time.Second, b.meta.endpoint)
	var mu sync.Mutex
	there := map[string]bool{"3": true}
	lost := map[string]bool{}
	b.node.handle(wire.CheckAndSet.Name, func(c *client, q *wire.Request) []byte {
		var args wire.CheckAndSetRequest
		if err := wire.CheckAndSet.DecodeArgs(q.Args, &args); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		sort := string(args.CheckSortKey)
		a := wire.CheckResponse{Server: b.node.endpoint}
		if there[sort] {
			a.Error = wire.StatusTryAgain
		}
		there[sort] = true
		if sort == "7" && !lost[sort] {
			lost[sort] = true
			return wire.AppendRejection(nil, q.Name, q.Seq, wire.CodeTimeout)
		}
		return wire.CheckAndSet.AppendReply(nil, q.Seq, &a)
	})
	src, err := d.RowSource(boxTable, RowSourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &copyWork{}
	total, err := transfer.Copy(t.Context(), src, d.RowSink(boxTable, RowSinkOptions{NoOverwrite: true}), transfer.CopyOptions{What: "copy"}, w)
	if err != nil || total.Rows != 8 || total.Kept != 1 || total.Unsure != 1 || total.Errors["err_timeout"] != 1 {
		t.Errorf("%+v, %v", total, err)
	}
}

// A target that is another table by now is not written to.
func TestSinkOfAnotherTable(t *testing.T) {
	b := newBox(t, 1)
	b.put("h", "s", "v", 0)
	newScans(b)
	d := open(t, 5*time.Second, b.meta.endpoint)
	src, err := d.RowSource(boxTable, RowSourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = transfer.Copy(t.Context(), src, d.RowSink(boxTable, RowSinkOptions{AppID: 9}), transfer.CopyOptions{What: "copy"}, &copyWork{})
	if err == nil || !strings.Contains(err.Error(), "its id was 9 and is 2") || b.node.calls(wire.Put.Name) > 0 {
		t.Error(err)
	}
}
