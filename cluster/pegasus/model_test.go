package pegasus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	emulator "shardsh/cluster/pegasus/sandbox"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// onebox starts a sandbox cluster in this process and opens it.
func onebox(t *testing.T) *Driver {
	t.Helper()
	return oneboxOf(t, "")
}

// oneboxOf starts one that speaks like a release.
func oneboxOf(t *testing.T, compat string) *Driver {
	t.Helper()
	d, _ := oneboxWith(t, sandbox.Config{Compat: compat})
	return d
}

// oneboxWith starts one with some of its configuration given.
func oneboxWith(t *testing.T, config sandbox.Config) (*Driver, sandbox.ClusterServer) {
	t.Helper()
	config.Name, config.Dir, config.Log = "onebox", t.TempDir(), t.Logf
	for first := 1; ; first++ {
		network, err := sandbox.TakeNetwork(first, "")
		if err != nil {
			t.Fatal(err)
		}
		config.Net = network
		c, err := emulator.Kind().New(t.Context(), config)
		if err != nil {
			if err = errors.Join(err, network.Close()); !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			continue
		}
		d, err := New(c.Address(), cluster.Options{Timeout: func() time.Duration { return 30 * time.Second }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(d.Close(), c.Close(), network.Close()); err != nil {
				t.Error(err)
			}
		})
		return d, c
	}
}

// model is a table in memory: hash key → sort key → value.
type model struct {
	*rand.Rand
	d    *Driver
	rows map[string]map[string]string
}

const modelTable = "demo"

// Keys are few and short, so that operations meet, and made of bytes that orders and ranges may get wrong.
var modelLetters = []string{"", "\x00", "\x01", "a", "b", "ab", "\xfe", "\xff", "\xff\xff", "7"}

func (m *model) letter() string { return modelLetters[m.IntN(len(modelLetters))] }
func (m *model) hash() string   { return "h" + modelLetters[m.IntN(4)] }
func (m *model) sort() string   { return m.letter() + modelLetters[m.IntN(3)] }
func (m *model) value() string {
	if m.IntN(2) == 0 {
		return strconv.Itoa(m.IntN(50) - 10)
	}
	return m.letter() + m.letter() + m.letter()
}

func (m *model) under(hash string) map[string]string {
	if m.rows[hash] == nil {
		m.rows[hash] = map[string]string{}
	}
	return m.rows[hash]
}

// TestModel does random row operations on a sandbox and on a map, and compares every answer.
func TestModel(t *testing.T) {
	ops := 10_000
	if testing.Short() {
		ops = 1000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &model{Rand: rand.New(rand.NewPCG(seed, 0)), d: onebox(t), rows: map[string]map[string]string{}}
	kinds := []func(context.Context) (what, got, want string){
		m.set, m.del, m.get, m.exist, m.multiSet, m.multiGet, m.multiDel, m.incr, m.checkAndSet, m.checkAndMutate, m.count,
		m.getRange, m.getRange, m.hashScan, m.deleteRows,
	}
	for i := range ops {
		what, got, want := kinds[m.IntN(len(kinds))](t.Context())
		if i%500 == 499 && got == want {
			what, got, want = m.whole(t.Context())
		}
		if got != want {
			t.Fatalf("seed %d, operation %d: %s answers\n%s\nwant\n%s", seed, i, what, got, want)
		}
	}
}

func brief(err error) string {
	if err != nil {
		return spec.KindOf(err).String() + ": " + err.Error()
	}
	return "ok"
}

func (m *model) set(ctx context.Context) (what, got, want string) {
	h, s, v := m.hash(), m.sort(), m.value()
	_, err := m.d.Set(ctx, modelTable, []byte(h), []byte(s), []byte(v), 0)
	m.under(h)[s] = v
	return fmt.Sprintf("set %q %q %q", h, s, v), brief(err), "ok"
}

func (m *model) del(ctx context.Context) (what, got, want string) {
	h, s := m.hash(), m.sort()
	_, err := m.d.Del(ctx, modelTable, []byte(h), []byte(s))
	delete(m.under(h), s)
	return fmt.Sprintf("del %q %q", h, s), brief(err), "ok"
}

func (m *model) get(ctx context.Context) (what, got, want string) {
	h, s := m.hash(), m.sort()
	v, found, _, err := m.d.Get(ctx, modelTable, []byte(h), []byte(s))
	held, ok := m.under(h)[s]
	return fmt.Sprintf("get %q %q", h, s), fmt.Sprintf("%q %t %s", v, found, brief(err)), fmt.Sprintf("%q %t ok", held, ok)
}

func (m *model) exist(ctx context.Context) (what, got, want string) {
	h, s := m.hash(), m.sort()
	_, found, _, err := m.d.TTL(ctx, modelTable, []byte(h), []byte(s))
	_, ok := m.under(h)[s]
	return fmt.Sprintf("ttl %q %q", h, s), fmt.Sprintf("%t %s", found, brief(err)), fmt.Sprintf("%t ok", ok)
}

func (m *model) multiSet(ctx context.Context) (what, got, want string) {
	h := m.hash()
	var rows []SortValue
	for range 1 + m.IntN(5) {
		rows = append(rows, SortValue{[]byte(m.sort()), []byte(m.value())})
	}
	_, err := m.d.MultiSet(ctx, modelTable, []byte(h), rows, 0)
	for _, r := range rows {
		m.under(h)[string(r.Sort)] = string(r.Value)
	}
	return fmt.Sprintf("multi_set %q %q", h, rows), brief(err), "ok"
}

func (m *model) sorts() (list [][]byte) {
	for range 1 + m.IntN(6) {
		list = append(list, []byte(m.sort()))
	}
	return list
}

func (m *model) multiGet(ctx context.Context) (what, got, want string) {
	h, sorts := m.hash(), m.sorts()
	rows, _, err := m.d.MultiGet(ctx, modelTable, []byte(h), sorts)
	var held []SortValue
	for _, s := range distinct(sorts) {
		if v, ok := m.under(h)[string(s)]; ok {
			held = append(held, SortValue{s, []byte(v)})
		}
	}
	return fmt.Sprintf("multi_get %q %q", h, sorts), fmt.Sprintf("%q %s", rows, brief(err)), fmt.Sprintf("%q ok", held)
}

func (m *model) multiDel(ctx context.Context) (what, got, want string) {
	h, sorts := m.hash(), m.sorts()
	n, _, err := m.d.MultiDel(ctx, modelTable, []byte(h), sorts)
	for _, s := range sorts {
		delete(m.under(h), string(s))
	}
	return fmt.Sprintf("multi_del %q %q", h, sorts), fmt.Sprint(n, brief(err)), fmt.Sprint(len(sorts), "ok")
}

func (m *model) incr(ctx context.Context) (what, got, want string) {
	h, s, by := m.hash(), m.sort(), m.Int64N(9)-4
	n, _, err := m.d.Incr(ctx, modelTable, []byte(h), []byte(s), by)
	held, err2 := int64(0), error(nil)
	if v := m.under(h)[s]; v != "" {
		held, err2 = strconv.ParseInt(v, 10, 64)
	}
	what = fmt.Sprintf("incr %q %q %d", h, s, by)
	if err2 != nil {
		return what, fmt.Sprint(err != nil), "true"
	}
	m.under(h)[s] = strconv.FormatInt(held+by, 10)
	return what, fmt.Sprint(n, brief(err)), fmt.Sprint(held+by, "ok")
}

// passes is what a check should answer; valid is false for one that compares no integers as such.
func passes(kind, value, operand string, exists bool) (passed, valid bool) {
	have, err1 := strconv.ParseInt(value, 10, 64)
	want, err2 := strconv.ParseInt(operand, 10, 64)
	order, against := strings.Compare(value, operand), strings.TrimPrefix(kind, "bytes_")
	if word, ok := strings.CutPrefix(kind, "int_"); ok {
		if exists && (err1 != nil || err2 != nil) {
			return false, false
		}
		order, against = int(min(max(have-want, -1), 1)), word
	}
	switch against {
	case "not_exist":
		return !exists, true
	case "not_exist_or_empty":
		return !exists || value == "", true
	case "exist":
		return exists, true
	case "not_empty":
		return value != "", true
	case "match_anywhere":
		return exists && strings.Contains(value, operand), true
	case "match_prefix":
		return exists && strings.HasPrefix(value, operand), true
	case "match_postfix":
		return exists && strings.HasSuffix(value, operand), true
	}
	allowed := map[string][]int{
		"less": {-1}, "less_or_equal": {-1, 0}, "equal": {0}, "greater_or_equal": {0, 1}, "greater": {1},
	}[against]
	return exists && slices.Contains(allowed, order), true
}

// condition makes a check and says what it should answer.
func (m *model) condition(h string) (c Check, passed bool, want string) {
	types := CheckTypes()
	c = Check{Sort: []byte(m.sort()), Type: types[m.IntN(len(types))], Operand: []byte(m.value()), Return: true}
	v, exists := m.under(h)[string(c.Sort)]
	switch m.IntN(3) { // or the two would hardly ever meet
	case 0:
		c.Operand = []byte(v)
	case 1:
		from := m.IntN(len(v) + 1)
		c.Operand = []byte(v[from : from+m.IntN(len(v)-from+1)])
	}
	passed, valid := passes(c.Type, v, string(c.Operand), exists)
	if !valid {
		return c, false, "failed"
	}
	return c, passed, fmt.Sprintf("%t %t %q", passed, exists, v)
}

func outcome(c Checked, err error) string {
	if err != nil {
		return spec.KindOf(err).String()
	}
	return fmt.Sprintf("%t %t %q", c.Passed, c.Exists, c.Value)
}

func (m *model) checkAndSet(ctx context.Context) (what, got, want string) {
	h, s, v := m.hash(), m.sort(), m.value()
	c, passed, want := m.condition(h)
	a, err := m.d.CheckAndSet(ctx, modelTable, []byte(h), c, []byte(s), []byte(v), 0)
	if passed {
		m.under(h)[s] = v
	}
	return fmt.Sprintf("check_and_set %q %+v %q %q", h, c, s, v), outcome(a, err), want
}

func (m *model) checkAndMutate(ctx context.Context) (what, got, want string) {
	h := m.hash()
	c, passed, want := m.condition(h)
	var changes []Mutation
	for range 1 + m.IntN(4) {
		changes = append(changes, Mutation{Delete: m.IntN(2) == 0, Sort: []byte(m.sort()), Value: []byte(m.value())})
	}
	a, err := m.d.CheckAndMutate(ctx, modelTable, []byte(h), c, changes)
	for _, change := range changes {
		switch {
		case passed && change.Delete:
			delete(m.under(h), string(change.Sort))
		case passed:
			m.under(h)[string(change.Sort)] = string(change.Value)
		}
	}
	return fmt.Sprintf("check_and_mutate %q %+v %+v", h, c, changes), outcome(a, err), want
}

func (m *model) count(ctx context.Context) (what, got, want string) {
	h := m.hash()
	n, _, err := m.d.SortKeyCount(ctx, modelTable, []byte(h))
	return fmt.Sprintf("count %q", h), fmt.Sprint(n, brief(err)), fmt.Sprint(len(m.under(h)), "ok")
}

// span makes a range and answers the rows in it, in order.
func (m *model) span(h string) (r SortRange, f Filter, in []string) {
	r = SortRange{Start: []byte(m.sort()), Stop: []byte(m.sort()), AfterStart: m.IntN(2) == 0, IncludingStop: m.IntN(2) == 0}
	if m.IntN(3) == 0 {
		f = Filter{Type: []string{"anywhere", "prefix", "postfix", "exact"}[m.IntN(4)], Pattern: []byte(m.letter())}
	}
	for _, s := range slices.Sorted(maps.Keys(m.under(h))) {
		from, to := strings.Compare(s, string(r.Start)), strings.Compare(s, string(r.Stop))
		if (from > 0 || from == 0 && !r.AfterStart) && (len(r.Stop) == 0 || to < 0 || to == 0 && r.IncludingStop) && f.match([]byte(s)) {
			in = append(in, s)
		}
	}
	return r, f, in
}

func (m *model) getRange(ctx context.Context) (what, got, want string) {
	h := m.hash()
	r, f, in := m.span(h)
	o := RangeOptions{SortRange: r, SortKey: f, NoValue: m.IntN(2) == 0, MaxRows: m.Int64N(6), Reverse: m.IntN(2) == 0}
	if o.Reverse {
		slices.Reverse(in)
	}
	if o.MaxRows > 0 && int64(len(in)) > o.MaxRows {
		in = in[:o.MaxRows]
	}
	held := []string{}
	for _, s := range in {
		v := m.rows[h][s]
		if o.NoValue {
			v = ""
		}
		held = append(held, s, v)
	}
	rows := []string{}
	var failed error
	for row, err := range m.d.MultiGetRange(ctx, modelTable, []byte(h), o) {
		if err != nil {
			failed = err
			break
		}
		rows = append(rows, string(row.Sort), string(row.Value))
	}
	return fmt.Sprintf("multi_get_range %q %+v", h, o), fmt.Sprintf("%q %s", rows, brief(failed)), fmt.Sprintf("%q ok", held)
}

func (m *model) hashScan(ctx context.Context) (what, got, want string) {
	h := m.hash()
	r, f, in := m.span(h)
	o := ScanOptions{Partition: -1, HashKey: Filter{"exact", []byte(h)}, SortKey: f, Range: &r, Batch: 1 + m.IntN(5)}
	held := []string{}
	for _, s := range in {
		held = append(held, h, s, m.rows[h][s])
	}
	rows := []string{}
	var failed error
	for row, err := range m.d.Scan(ctx, modelTable, o) {
		if err != nil {
			failed = err
			break
		}
		rows = append(rows, string(row.Hash), string(row.Sort), string(row.Value))
	}
	return fmt.Sprintf("hash_scan %q %+v", h, r), fmt.Sprintf("%q %s", rows, brief(failed)), fmt.Sprintf("%q ok", held)
}

func (m *model) deleteRows(ctx context.Context) (what, got, want string) {
	var keys []RowKey
	for range 1 + m.IntN(8) {
		keys = append(keys, RowKey{[]byte(m.hash()), []byte(m.sort())})
	}
	slices.SortFunc(keys, func(a, b RowKey) int { return bytes.Compare(a.Hash, b.Hash) })
	n, err := m.d.DeleteRows(ctx, modelTable, keys)
	for _, k := range keys {
		delete(m.under(string(k.Hash)), string(k.Sort))
	}
	return fmt.Sprintf("delete %q", keys), fmt.Sprint(n, brief(err)), fmt.Sprint(len(keys), "ok")
}

// whole compares the table at once.
func (m *model) whole(ctx context.Context) (what, got, want string) {
	got2 := map[string]map[string]string{}
	for row, err := range m.d.Scan(ctx, modelTable, ScanOptions{Partition: -1}) {
		if err != nil {
			return "scan", brief(err), "ok"
		}
		if got2[string(row.Hash)] == nil {
			got2[string(row.Hash)] = map[string]string{}
		}
		got2[string(row.Hash)][string(row.Sort)] = string(row.Value)
	}
	maps.DeleteFunc(m.rows, func(_ string, under map[string]string) bool { return len(under) == 0 })
	return "scan", cmp.Diff(m.rows, got2), ""
}

// TestLongRanges reads and deletes more rows than one answer may hold.
func TestLongRanges(t *testing.T) {
	d := onebox(t)
	ctx, hash := t.Context(), []byte("long")
	const rows = 2500
	sort := func(i int) []byte { return fmt.Appendf(nil, "%05d", i) }
	var batch []SortValue
	for i := range rows {
		batch = append(batch, SortValue{sort(i), []byte("v")})
	}
	if _, err := d.MultiSet(ctx, modelTable, hash, batch, 0); err != nil {
		t.Fatal(err)
	}
	for _, reverse := range []bool{false, true} {
		n := 0
		for row, err := range d.MultiGetRange(ctx, modelTable, hash, RangeOptions{Reverse: reverse}) {
			want := n
			if reverse {
				want = rows - 1 - n
			}
			if err != nil || !bytes.Equal(row.Sort, sort(want)) {
				t.Fatalf("reverse %t, row %d is %q, %v", reverse, n, row.Sort, err)
			}
			n++
		}
		if n != rows {
			t.Errorf("reverse %t: %d rows", reverse, n)
		}
	}
	var all [][]byte
	for i := range rows + 10 {
		all = append(all, sort(i))
	}
	got, _, err := d.MultiGet(ctx, modelTable, hash, all)
	if err != nil || len(got) != rows || !bytes.Equal(got[rows-1].Sort, sort(rows-1)) {
		t.Errorf("%d rows, %v", len(got), err)
	}
	// More rows than a server looks at for one answer, none of which matches but the last: that answer has no row to go
	// on after.
	for i := range batch {
		batch[i].Sort = append([]byte("a"), batch[i].Sort...)
	}
	if _, err := d.MultiSet(ctx, modelTable, hash, append(batch, SortValue{[]byte("zz"), []byte("v")}), 0); err != nil {
		t.Fatal(err)
	}
	var found []string
	for row, err := range d.MultiGetRange(ctx, modelTable, hash, RangeOptions{SortKey: Filter{"anywhere", []byte("z")}}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(row.Sort))
	}
	if !slices.Equal(found, []string{"zz"}) {
		t.Errorf("%q", found)
	}
	var keys []RowKey
	for _, b := range batch {
		keys = append(keys, RowKey{hash, b.Sort})
	}
	if n, err := d.DeleteRows(ctx, modelTable, keys); err != nil || n != rows {
		t.Errorf("%d rows deleted, %v", n, err)
	}
	if n, _, err := d.SortKeyCount(ctx, modelTable, hash); err != nil || n != rows+1 {
		t.Errorf("%d rows left, %v", n, err)
	}
}
