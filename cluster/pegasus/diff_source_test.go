package pegasus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// idle is a Work that forgets.
type idle struct{}

func (idle) Progress(int64, int64, string) {}
func (idle) Detail(string, ...any)         {}
func (idle) Restore(any) (bool, error)     { return false, nil }
func (idle) Save(any) error                { return nil }
func (idle) Rate() spec.Rate               { return spec.Rate{} }
func (idle) Show(spec.Figures)             {}

// readyTable makes a table of so many partitions and waits until it can be used.
func readyTable(t *testing.T, d *Driver, name string, partitions int) {
	t.Helper()
	if _, err := d.CreateApp(t.Context(), NewApp{Name: name, Partitions: partitions, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	for ready := 0; ready < partitions; {
		a, err := d.Partitions(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		ready = 0
		for _, p := range a.Partitions {
			if p.Primary != "" && len(p.Secondaries) == 2 {
				ready++
			}
		}
	}
}

func mustSet(t *testing.T, d *Driver, table, hash, sort, value string, ttl time.Duration) {
	t.Helper()
	if _, err := d.Set(t.Context(), table, []byte(hash), []byte(sort), []byte(value), ttl); err != nil {
		t.Fatal(err)
	}
}

func diffTables(t *testing.T, a, b transfer.Source[wire.KeyValue], o transfer.DiffOptions) (string, map[string]string) {
	t.Helper()
	found := map[string]string{}
	o.Limit = 10_000
	rows := CopyRows{Drift: 2 * time.Second}
	totals, err := transfer.Diff(t.Context(), a, b, rows, o, idle{}, func(f transfer.Found[wire.KeyValue]) error {
		row := f.Source
		if row == nil {
			row = f.Target
		}
		found[string(row.Key)] = f.Difference.String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %d, missing %d, extra %d, different %d, drift %d", totals.SourceRows, totals.TargetRows,
		totals.Missing, totals.Extra, totals.Different, totals.Drift), found
}

// TestDiffOfTables compares tables of 4 and 8 partitions whose keys are made of bytes that orders may get wrong, with
// every way to look at a part of them, against plain maps.
func TestDiffOfTables(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	d := onebox(t)
	readyTable(t, d, "other", 8)
	type entry struct {
		hash, sort string
		d          transfer.Difference
		value      string
	}
	all := map[string]entry{}
	for range 300 {
		e := entry{hash: fmt.Sprint("h", rng.IntN(30)), sort: modelLetters[rng.IntN(len(modelLetters))], value: modelLetters[rng.IntN(10)]}
		key, err := wire.EncodeKey([]byte(e.hash), []byte(e.sort))
		if _, twice := all[string(key)]; twice || err != nil {
			continue
		}
		e.d = transfer.Difference(rng.IntN(5))
		all[string(key)] = e
		ttl := time.Hour
		if e.d != transfer.Extra {
			mustSet(t, d, "demo", e.hash, e.sort, e.value, ttl)
		}
		value := e.value
		switch e.d {
		case transfer.Missing:
			continue
		case transfer.Different:
			value += "!"
		case transfer.Drift:
			ttl = []time.Duration{0, 2 * time.Hour}[rng.IntN(2)]
		}
		mustSet(t, d, "other", e.hash, e.sort, value, ttl)
	}
	for name, c := range map[string]struct {
		o     ScanOptions
		view  DiffView
		match func(e entry) bool
	}{
		"all":      {o: ScanOptions{Partition: -1, Batch: 7}, match: func(entry) bool { return true }},
		"hash key": {o: ScanOptions{Partition: -1, HashKey: Filter{"exact", []byte("h7")}}, match: func(e entry) bool { return e.hash == "h7" }},
		"sort key": {o: ScanOptions{Partition: -1, SortKey: Filter{"exact", []byte("a")}}, match: func(e entry) bool { return e.sort == "a" }},
		"partitions": {
			o: ScanOptions{Partition: -1}, view: DiffView{Of: 4, Partitions: []int{1, 3}},
			match: func(e entry) bool { return wire.Hash([]byte(e.hash), nil)%2 == 1 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, n := map[string]string{}, map[transfer.Difference]int{}
			for key, e := range all {
				if !c.match(e) {
					continue
				}
				if n[e.d]++; e.d != transfer.Same {
					want[key] = e.d.String()
				}
			}
			sides := n[transfer.Same] + n[transfer.Different] + n[transfer.Drift]
			line := fmt.Sprintf("%d %d, missing %d, extra %d, different %d, drift %d", sides+n[transfer.Missing], sides+n[transfer.Extra],
				n[transfer.Missing], n[transfer.Extra], n[transfer.Different], n[transfer.Drift])
			got, found := diffTables(t, d.DiffSource("demo", c.o, c.view), d.DiffSource("other", c.o, c.view), transfer.DiffOptions{Beside: 2})
			if got != line || fmt.Sprint(found) != fmt.Sprint(want) {
				t.Errorf("got  %s\nwant %s\n%q\n%q", got, line, found, want)
			}
		})
	}
	keysOnly := DiffView{NoValue: true, NoTTL: true}
	o := ScanOptions{Partition: -1}
	_, found := diffTables(t, d.DiffSource("demo", o, keysOnly), d.DiffSource("other", o, keysOnly), transfer.DiffOptions{OnlySource: true})
	for key, e := range all {
		if (e.d == transfer.Missing) != (found[key] == "missing") {
			t.Errorf("keys only: %q is %s, and was found %q", key, e.d, found[key])
		}
	}
}

func TestDiffSourceGetsRows(t *testing.T) {
	d := onebox(t)
	mustSet(t, d, "demo", "h", "", "empty", 0)
	mustSet(t, d, "demo", "h", "a", "1", time.Hour)
	mustSet(t, d, "demo", "h", "ab", "2", 0)
	get := func(s transfer.Source[wire.KeyValue], hash, sort string) string {
		key, err := wire.EncodeKey([]byte(hash), []byte(sort))
		if err != nil {
			t.Fatal(err)
		}
		row, found, err := s.(transfer.PointReader[wire.KeyValue]).Get(t.Context(), wire.KeyValue{Key: key})
		return fmt.Sprint(string(row.Value), found, row.ExpireTS != 0, err)
	}
	s := d.DiffSource("demo", ScanOptions{Partition: -1}, DiffView{})
	bare := d.DiffSource("demo", ScanOptions{Partition: -1, Value: Filter{"exact", []byte("1")}}, DiffView{NoTTL: true})
	for _, c := range []struct{ got, want string }{
		{get(s, "h", ""), "emptytrue false <nil>"},
		{get(s, "h", "a"), "1true true <nil>"},
		{get(s, "h", "ab"), "2true false <nil>"},
		{get(s, "h", "b"), "false false <nil>"},
		{get(s, "", "a"), "false false <nil>"},
		{get(bare, "h", "a"), "1true false <nil>"},
		{get(bare, "h", "ab"), "false false <nil>"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// TestDiffSourceThroughSplit reads the first rows of each part, splits the table, and reads the rest: once in the same
// reading, once from the positions that were kept. Every row comes once.
func TestDiffSourceThroughSplit(t *testing.T) {
	d := onebox(t)
	want := 400
	for i := range want {
		mustSet(t, d, "demo", fmt.Sprint("h", i), "s", "v", 0)
	}
	s := d.DiffSource("demo", ScanOptions{Partition: -1, Batch: 5}, DiffView{})
	parts, err := s.Parts(t.Context())
	if err != nil || len(parts) != 4 {
		t.Fatal(parts, err)
	}
	first, kept := map[string]int{}, map[int]transfer.Position{}
	read := func(seen map[string]int, part int, after transfer.Position, enough func() bool) (at transfer.Position) {
		for b, err := range s.Read(t.Context(), part, after) {
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range b.Rows {
				seen[string(row.Key)]++
			}
			if at = b.After; enough() {
				return at
			}
		}
		return at
	}
	for _, p := range parts[1:] {
		kept[p.Number] = read(first, p.Number, nil, func() bool { return true })
	}
	split := false
	read(first, 0, nil, func() bool {
		if !split {
			split = true
			splitWhole(t, d, 8)
		}
		return false
	})
	for part, after := range kept {
		read(first, part, after, func() bool { return false })
	}
	if len(first) != want {
		t.Errorf("%d rows came, want %d", len(first), want)
	}
	for key, n := range first {
		if n != 1 {
			t.Errorf("%q came %d times", key, n)
		}
	}
}

func splitWhole(t *testing.T, d *Driver, partitions int) {
	t.Helper()
	if err := d.StartSplit(t.Context(), "demo", partitions); err != nil {
		t.Fatal(err)
	}
	for {
		s, err := d.Split(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			return
		}
	}
}

func TestDiffSourceJudges(t *testing.T) {
	s := &diffSource{}
	for _, c := range []struct {
		err  error
		want transfer.Verdict
	}{
		{codeError("scan", "e", wire.CodeBusy, "", false), transfer.Slow},
		{codeError("scan", "e", wire.CodeCapacityExceeded, "", false), transfer.Slow},
		{codeError("scan", "e", wire.CodeObjectNotFound, "", false), transfer.Again},
		{failure("scan", false, &lostError{endpoint: "e", err: context.DeadlineExceeded}), transfer.Again},
		{failure("scan", false, &lostError{endpoint: "e", err: errKerberos}), transfer.Fatal},
		{codeError("scan", "e", wire.CodeAppNotExist, "", false), transfer.Fatal},
		{codeError("scan", "e", wire.CodeACLDeny, "", false), transfer.Fatal},
		{failure("scan", false, context.Canceled), transfer.Fatal},
		{errors.New("anything"), transfer.Fatal},
	} {
		if got := s.Judge(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
