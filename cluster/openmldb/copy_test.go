package openmldb

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/sandbox/fault"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// work is a Work that keeps what is saved until it is frozen, as a process does that is killed.
type work struct {
	mu     sync.Mutex
	saved  []byte
	frozen bool
	saves  int
	rate   spec.Rate
	each   func(spec.Figures)
	said   []string
}

func (w *work) Progress(int64, int64, string) {}
func (w *work) Detail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *work) Restore(into any) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(w.saved, into)
}

func (w *work) Save(state any) error {
	b, err := json.Marshal(state)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saves++; !w.frozen {
		w.saved = b
	}
	return err
}
func (w *work) Rate() spec.Rate { return w.rate }
func (w *work) Show(f spec.Figures) {
	if w.each != nil {
		w.each(f)
	}
}

// multiset counts the rows of an index in a box, as they are told.
func (b *box) multiset(t *testing.T, index int) map[string]int {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	table, err := tableOf(b.info)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for at, rows := range b.rows {
		if at[1] != uint32(index) {
			continue
		}
		for _, e := range rows {
			values, err := table.Schema.Decode(e.value)
			if err != nil {
				t.Fatal(err)
			}
			if home := wire.PartitionOf(e.key, uint32(len(table.Parts))); home != at[0] {
				t.Errorf("key %q is in partition %d", e.key, at[0])
			}
			all[fmt.Sprint(e.key, "@", e.time, values)]++
		}
	}
	return all
}

// fill puts rows, many of the same key and time, and some the same altogether.
func (b *box) fill(t *testing.T, d *Driver, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for range n {
		row := flowRow(fmt.Sprint("c", random.IntN(20)), fmt.Sprint("m", random.IntN(9)), float64(random.IntN(3)), int64(1+random.IntN(8)))
		if random.IntN(4) == 0 {
			row.Values[2] = nil
		}
		if err := d.Put(t.Context(), flow, row); err != nil {
			t.Fatal(err)
		}
	}
}

func readAll(t *testing.T, s *CopySource, part int, after transfer.Position) (rows []CopyRow, batches []transfer.Batch[CopyRow]) {
	t.Helper()
	for tries := 0; ; tries++ {
		var why error
		for b, err := range s.Read(t.Context(), part, after) {
			if why = err; err == nil {
				rows, batches, after = append(rows, b.Rows...), append(batches, b), b.After
			}
		}
		if why == nil {
			return rows, batches
		}
		if s.Judge(why) != transfer.Again || tries > 10_000 {
			t.Fatal(why)
		}
	}
}

func counted(rows []CopyRow) map[string]int {
	all := map[string]int{}
	for _, r := range rows {
		all[string(CopyRows{}.Key(r))+string(r.Value)]++
	}
	return all
}

// Every row comes once, and from every position on exactly those come that are behind it: also where pages end among
// rows of one time, and where the leader changes after every page to one that has these in another order.
func TestCopySource(t *testing.T) {
	for _, moving := range []bool{false, true} {
		b := newBox(t, 2)
		d := open(t, 20*time.Second, b.ns)
		b.fill(t, d, 600)
		b.mu.Lock()
		b.most, b.turned = 3, moving
		b.mu.Unlock()
		if moving {
			go func() {
				for i := 0; t.Context().Err() == nil; i++ {
					b.change(func(info *ns.TableInfo) {
						for _, p := range info.TablePartition {
							for j, m := range p.PartitionMeta {
								m.IsLeader = proto.Bool(j == i%3)
							}
						}
					})
					time.Sleep(5 * time.Millisecond)
				}
			}()
		}
		s := d.CopySource(flow, CopySourceOptions{Index: "mcc", TableID: flowID})
		parts, err := s.Parts(t.Context())
		if err != nil || len(parts) != 2 {
			t.Fatal(parts, err)
		}
		whole := 0
		for _, p := range parts {
			rows, batches := readAll(t, s, p.Number, nil)
			whole += len(rows)
			want := counted(rows)
			if len(want) != len(rows) {
				t.Errorf("%d rows of %d can be told apart", len(want), len(rows))
			}
			behind := len(rows)
			for _, x := range batches {
				behind -= len(x.Rows)
				rest, _ := readAll(t, s, p.Number, x.After)
				if len(rest) != behind {
					t.Fatalf("moving %t: behind %q come %d rows, not %d", moving, x.After, len(rest), behind)
				}
				for key, n := range counted(rest) {
					if want[key] != n {
						t.Fatalf("behind %q: %q comes %d times", x.After, key, n)
					}
				}
				if moving {
					break // the order of rows of a time changes, and so do ends of batches
				}
			}
		}
		if whole != 600 {
			t.Errorf("%d rows came", whole)
		}
	}
}

func TestCopySourceFilters(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, 20*time.Second, b.ns)
	b.fill(t, d, 200)
	s := d.CopySource(flow, CopySourceOptions{From: 3, To: 5, Partitions: []int{1}})
	parts, err := s.Parts(t.Context())
	if err != nil || len(parts) != 1 || parts[0].Number != 1 {
		t.Fatal(parts, err)
	}
	rows, batches := readAll(t, s, 1, nil)
	var filtered int64
	for _, x := range batches {
		filtered += x.Filtered
	}
	for _, r := range rows {
		if r.Time < 3 || r.Time > 4 {
			t.Error(r.Time)
		}
	}
	if whole, _ := readAll(t, d.CopySource(flow, CopySourceOptions{}), 1, nil); int64(len(rows))+filtered != int64(len(whole)) || len(rows) == 0 {
		t.Errorf("%d rows, %d filtered, of %d", len(rows), filtered, len(whole))
	}
	row, found, err := s.Get(t.Context(), rows[0])
	if err != nil || !found || string(row.Value) != string(rows[0].Value) {
		t.Error(row, found, err)
	}
	gone := rows[0]
	gone.Nth += 1000
	if _, found, err = s.Get(t.Context(), gone); found || err != nil {
		t.Error(found, err)
	}
	for _, bad := range []transfer.Position{{1}, make(transfer.Position, 8)} {
		for _, err := range s.Read(t.Context(), 1, bad) {
			if s.Judge(err) != transfer.Fatal {
				t.Error(bad, err)
			}
		}
	}
	other := d.CopySource(flow, CopySourceOptions{TableID: flowID + 1})
	if _, err := other.Parts(t.Context()); other.Judge(err) != transfer.Fatal {
		t.Error(err)
	}
}

func sinkOf(d *Driver, keep bool) *CopySink {
	return d.CopySink(flow, CopySinkOptions{TableID: flowID, Keep: keep, Index: Index{Name: "card", TimeColumn: "at"}})
}

// A row whose answer was lost is not there twice, and rows that are the same altogether are there as often as they
// were sent.
func TestCopySinkAnswerLost(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 20*time.Second, b.ns)
	s := sinkOf(d, false)
	value, err := plain(mustDescribe(t, d)).Encode(flowRow("c", "m", 1, 5).Values)
	if err != nil {
		t.Fatal(err)
	}
	rows := []CopyRow{{Key: "c", Time: 5, Value: value}, {Key: "c", Time: 5, Nth: 1, Value: slices.Clone(value)}}
	for _, tablet := range b.tablets {
		tablet.lose(fault.Answer, "Put", 1)
	}
	tries := 0
	for piece := range s.Pieces(rows) {
		if len(piece.Rows) != 2 {
			t.Fatal(piece)
		}
		for {
			w, err := s.Write(t.Context(), piece)
			if err == nil {
				if w.Rows != 2 {
					t.Error(w)
				}
				break
			}
			tries++
			if spec.KindOf(err) != spec.UnknownOutcome || s.Judge(err) != transfer.Again || tries > 6 {
				t.Fatal(err)
			}
			piece.Unsure = true
		}
	}
	for i := range 2 {
		got := b.multiset(t, i)
		if len(got) != 1 || tries == 0 {
			t.Error(tries, got)
		}
		for text, n := range got {
			if n != 2 {
				t.Errorf("%s is there %d times", text, n)
			}
		}
	}
	// With Keep they are left alone.
	w, err := sinkOf(d, true).Write(t.Context(), transfer.Piece[CopyRow]{Rows: rows})
	if err != nil || w.Kept != 2 {
		t.Error(w, err)
	}
}

func mustDescribe(t *testing.T, d *Driver) *Table {
	t.Helper()
	table, err := d.Describe(t.Context(), flow)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func twoBoxes(t *testing.T) (a, b *box, from, to *Driver) {
	a, b = newBox(t, 2), newBox(t, 5)
	from, to = open(t, 20*time.Second, a.ns), open(t, 20*time.Second, b.ns)
	for _, s := range b.tablets {
		answering(s, "GetTableFollower", func(_ *api.GetTableFollowerRequest, x *api.GetTableFollowerResponse) {
			x.Offset = proto.Uint64(7)
		})
	}
	return a, b, from, to
}

func sameRows(t *testing.T, a, b *box) {
	t.Helper()
	for i := range 2 {
		want, got := a.multiset(t, i), b.multiset(t, i)
		for text, n := range want {
			if got[text] != n {
				t.Errorf("index %d: %s is there %d times, not %d", i, text, got[text], n)
			}
		}
		for text, n := range got {
			if want[text] == 0 {
				t.Errorf("index %d: %s is there %d times", i, text, n)
			}
		}
	}
}

// A copy that is killed again and again, with a journal that lags behind, has every row as often as the source has it.
func TestCopyTableKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	a, b, from, to := twoBoxes(t)
	a.fill(t, from, 3000)
	a.mu.Lock()
	a.most = 7
	a.mu.Unlock()
	w := &work{}
	killed := 0
	for {
		ctx, kill := context.WithCancel(t.Context())
		w.frozen, w.saves = false, 0
		frozen := 1 + random.IntN(6)
		at := time.Duration(1+random.IntN(60)) * time.Millisecond
		w.each = nil
		if killed < 12 {
			go func() {
				for ctx.Err() == nil { // what it does after the last save, nobody is told
					w.mu.Lock()
					w.frozen = w.frozen || w.saves >= frozen
					is := w.frozen
					w.mu.Unlock()
					if is {
						time.Sleep(at)
						kill()
						return
					}
					time.Sleep(100 * time.Microsecond)
				}
			}()
		}
		src := from.CopySource(flow, CopySourceOptions{Index: "card", TableID: flowID})
		_, err := CopyTable(ctx, src, sinkOf(to, false), transfer.CopyOptions{What: "copy", SaveEvery: 3 * time.Millisecond}, w)
		kill()
		if err == nil {
			break
		}
		if spec.KindOf(err) != spec.Interrupted {
			t.Fatal(err)
		}
		killed++
	}
	if killed == 0 {
		t.Error("it was never killed")
	}
	sameRows(t, a, b)
}

// What a new leader of the target does not have is put again.
func TestCopyTableLeaderLost(t *testing.T) {
	a, b, from, to := twoBoxes(t)
	a.fill(t, from, 500)
	lost := 0
	once := sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		p := b.info.TablePartition[0]
		p.TermOffset = append(p.TermOffset, &ns.TermPair{Term: proto.Uint64(3), Offset: proto.Uint64(9)})
		for i := range 2 {
			at := [2]uint32{0, uint32(i)}
			b.rows[at] = slices.DeleteFunc(b.rows[at], func(e entry) bool {
				if e.seq > 250 { // what it got last
					lost++
				}
				return e.seq > 250
			})
		}
	})
	w := &work{each: func(f spec.Figures) {
		if f.PartsDone == f.Parts {
			once()
		}
	}}
	src := from.CopySource(flow, CopySourceOptions{TableID: flowID})
	totals, err := CopyTable(t.Context(), src, sinkOf(to, false), transfer.CopyOptions{What: "copy"}, w)
	if err != nil || totals.Rows != 500 || lost == 0 {
		t.Error(totals, lost, err, w.said)
	}
	sameRows(t, a, b)
}

// Two tables that are compared: rows of one time are paired by their bytes.
func TestCopyRowsDiff(t *testing.T) {
	a, b, from, to := twoBoxes(t)
	a.fill(t, from, 400)
	b.fill(t, to, 400) // the same ones
	diff := func() transfer.DiffTotals {
		t.Helper()
		totals, err := transfer.Diff(t.Context(), from.CopySource(flow, CopySourceOptions{}), to.CopySource(flow, CopySourceOptions{}), CopyRows{},
			transfer.DiffOptions{}, &work{}, func(transfer.Found[CopyRow]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return totals
	}
	if got := diff(); got.Differences() != 0 || got.SourceRows != 400 {
		t.Errorf("%+v", got)
	}
	for _, put := range []struct {
		d   *Driver
		row Row
	}{
		{from, flowRow("only", "m", 1, 100)},
		{to, flowRow("more", "m", 1, 100)},
		{to, flowRow("more", "m", 1, 100)},
		{from, flowRow("other", "m", 1, 100)},
		{to, flowRow("other", "m", 2, 100)},
	} {
		if err := put.d.Put(t.Context(), flow, put.row); err != nil {
			t.Fatal(err)
		}
	}
	if got := diff(); got.Missing != 1 || got.Extra != 2 || got.Different != 1 || got.Drift != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLayouts(t *testing.T) {
	b := newBox(t, 2)
	d := open(t, 20*time.Second, b.ns)
	one, other := mustDescribe(t, d), mustDescribe(t, d)
	if err := SameLayout(one, other); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(){
		"column amount is a double of flow, and a bigint of flow":           func() { other.Schema.Columns[2].Type = one.Schema.Columns[3].Type - 4 },
		"column 2 is mcc of flow, and code of flow":                         func() { other.Schema.Columns[1].Name = "code" },
		"flow has no column at":                                             func() { other.Schema.Columns = other.Schema.Columns[:3] },
		"the partition key is that of each index of flow, and card of flow": func() { other.PartitionKey = []string{"card"} },
	} {
		other = mustDescribe(t, d)
		change()
		wantError(t, SameLayout(one, other), spec.Refused, want)
	}
	if x, sure, err := FullestIndex(one); err != nil || x.Name != "mcc" || !sure {
		t.Error(x, sure, err) // card's rows expire
	}
	one.Indexes[1].TTL = TTL{Type: "kLatestTime", Versions: 3}
	if x, sure, err := FullestIndex(one); err != nil || x.Name != "card" || sure {
		t.Error(x, sure, err)
	}
}
