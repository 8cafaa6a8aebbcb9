package pegasus

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// scans is the scan side of a fake replica server, with the odd things that real ones do.
type scans struct {
	b  *box
	mu sync.Mutex

	contexts map[int64]*cursor
	next     int64
	opened   []wire.GetScannerRequest
	cleared  []int64

	forget     map[int]bool // the n-th continuation (from 1) finds its context gone
	incomplete map[int]bool // the n-th answer (from 1) ran out of time: half a batch, no context
	holes      int          // every batch with rows has so many empty ones before it
	hollow     bool         // empty ranges answer context 0
	oldServer  bool         // only_return_count is not known
	answered   func(n int)  // is told after the n-th answer (from 1) was made
	continued  int
	answers    int
}

type cursor struct {
	partition int
	rows      []wire.KeyValue
	q         wire.GetScannerRequest
	holes     int
}

func newScans(b *box) *scans {
	s := &scans{b: b, contexts: map[int64]*cursor{}, next: 100, forget: map[int]bool{}, incomplete: map[int]bool{}}
	on(b.node, &wire.GetScanner, s.open)
	on(b.node, &wire.Scan, s.scan)
	b.node.handle(wire.ClearScanner.Name, func(_ *client, q *wire.Request) []byte {
		var id int64
		if err := wire.ClearScanner.DecodeArgs(q.Args, &id); err != nil {
			b.node.t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cleared = append(s.cleared, id)
		delete(s.contexts, id)
		return nil
	})
	return s
}

func matches(t wire.FilterType, b, pattern []byte) bool {
	names := map[wire.FilterType]string{wire.FilterAnywhere: "anywhere", wire.FilterPrefix: "prefix", wire.FilterPostfix: "postfix"}
	return Filter{Type: names[t], Pattern: pattern}.match(b)
}

func (s *scans) open(h wire.Header, q *wire.GetScannerRequest) *wire.ScanResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, *q)
	if q.HashKeyFilter == wire.FilterPrefix && len(q.HashKeyPattern) > 0 && !*q.FullScan {
		s.b.node.t.Error("a real server would crash on this")
	}
	if q.ReturnExpireTS == nil || !*q.ReturnExpireTS || q.StopInclusive {
		s.b.node.t.Errorf("opened by %+v", q)
	}
	c := &cursor{partition: int(h.GPID.Partition), q: *q}
	for _, row := range s.b.sorted(int(h.GPID.Partition), nil) {
		hash, sort, _ := wire.DecodeKey(row.Key)
		after := string(row.Key) > string(q.StartKey) || q.StartInclusive && string(row.Key) == string(q.StartKey)
		if !after || string(row.Key) >= string(q.StopKey) ||
			!matches(q.HashKeyFilter, hash, q.HashKeyPattern) || !matches(q.SortKeyFilter, sort, q.SortKeyPattern) {
			continue
		}
		if q.NoValue {
			row.Value = nil
		}
		c.rows = append(c.rows, row)
	}
	if s.hollow && len(c.rows) == 0 {
		return &wire.ScanResponse{Server: s.b.node.endpoint}
	}
	return s.answer(c)
}

func (s *scans) scan(_ wire.Header, q *wire.ScanRequest) *wire.ScanResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contexts[q.ContextID]
	delete(s.contexts, q.ContextID)
	if s.continued++; c == nil || s.forget[s.continued] {
		return &wire.ScanResponse{Error: wire.StatusNotFound, Server: s.b.node.endpoint}
	}
	return s.answer(c)
}

func (s *scans) answer(c *cursor) *wire.ScanResponse {
	a := &wire.ScanResponse{Server: s.b.node.endpoint}
	s.answers++
	n, hole := min(int(c.q.BatchSize), len(c.rows)), false
	switch {
	case s.incomplete[s.answers]:
		a.Error, n = wire.StatusIncomplete, n/2
	case c.holes < s.holes:
		c.holes++
		n, hole = 0, true
	default:
		c.holes = 0
	}
	a.Rows, c.rows = c.rows[:n:n], c.rows[n:]
	if c.q.OnlyReturnCount != nil && !s.oldServer {
		a.Rows, a.Count = nil, new(int32)
		*a.Count = int32(n)
	}
	switch {
	case a.Error != wire.StatusOK:
		a.ContextID = 0
	case len(c.rows) == 0 && !hole:
		a.ContextID = wire.ScanComplete
	default:
		s.next++
		a.ContextID = s.next
		s.contexts[s.next] = c
	}
	if s.answered != nil {
		s.answered(s.answers)
	}
	return a
}

// filled is a box with rows h0…h9 × s0…s9 and one without a hash key.
func filled(t *testing.T, partitions int) (*box, *scans, *Driver) {
	b := newBox(t, partitions)
	for i := range 10 {
		for j := range 10 {
			b.put(fmt.Sprint("h", i), fmt.Sprint("s", j), fmt.Sprint("v", i*j), 0)
		}
	}
	b.put("", "lonely", "v", 0)
	return b, newScans(b), open(t, 5*time.Second, b.meta.endpoint)
}

// collect scans and answers "partition hash sort value" of each row.
func collect(t *testing.T, d *Driver, o ScanOptions) []string {
	t.Helper()
	var rows []string
	for row, err := range d.Scan(t.Context(), boxTable, o) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, fmt.Sprintf("%d %s %s %s", row.Partition, row.Hash, row.Sort, row.Value))
	}
	return rows
}

func (b *box) expected(partition int, keep func(hash, sort, value string) bool) []string {
	var rows []string
	for i := range b.partitions {
		if partition >= 0 && partition != i {
			continue
		}
		for _, row := range b.sorted(i, nil) {
			hash, sort, _ := wire.DecodeKey(row.Key)
			if keep(string(hash), string(sort), string(row.Value)) {
				rows = append(rows, fmt.Sprintf("%d %s %s %s", i, hash, sort, row.Value))
			}
		}
	}
	return rows
}

func all(string, string, string) bool { return true }

func TestScan(t *testing.T) {
	b, s, d := filled(t, 4)
	for _, batch := range []int{0, 1, 7, 1000, 5000} {
		if diff := cmp.Diff(b.expected(-1, all), collect(t, d, ScanOptions{Partition: -1, Batch: batch})); diff != "" {
			t.Errorf("batch %d: %s", batch, diff)
		}
	}
	if diff := cmp.Diff(b.expected(2, all), collect(t, d, ScanOptions{Partition: 2})); diff != "" {
		t.Error(diff)
	}
	if n := s.opened[len(s.opened)-1]; n.BatchSize != 1000 || !*n.FullScan || !*n.ValidatePartitionHash || string(n.StartKey) != "\x00\x00" || string(n.StopKey) != "\xff\xff" {
		t.Errorf("opened by %+v", n)
	}
	for _, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: 4}) {
		wantError(t, err, spec.Usage, "no such partition")
	}
	for _, err := range d.Scan(t.Context(), "nope", ScanOptions{Partition: -1}) {
		wantError(t, err, spec.NotFound)
	}
	for row, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1, NoValue: true}) {
		if err != nil || row.Value != nil {
			t.Fatalf("%q %v", row.Value, err)
		}
	}
}

func TestScanTTLs(t *testing.T) {
	b, _, d := filled(t, 1)
	now := time.Now()
	for name, ttl := range map[string]time.Duration{"hour": time.Hour, "past": -time.Hour} {
		b.put("ttl", name, "", int32(now.Add(ttl).Unix()-wire.Epoch))
	}
	got := map[string]ScanRow{}
	for row, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		got[string(row.Sort)] = row
	}
	if r := got["hour"]; r.TTL > time.Hour || r.TTL < 59*time.Minute || r.Expires.Unix() != now.Add(time.Hour).Unix() {
		t.Errorf("%v %v", r.TTL, r.Expires)
	}
	if r := got["past"]; r.TTL <= 0 || r.TTL > time.Second {
		t.Errorf("a row that ends while it travels has %v", r.TTL)
	}
	if r := got["s1"]; r.TTL != 0 || !r.Expires.IsZero() {
		t.Errorf("%v %v", r.TTL, r.Expires)
	}
}

func filterCases() map[string]struct {
	o    ScanOptions
	keep func(hash, sort, value string) bool
} {
	f := func(kind, pattern string) Filter { return Filter{kind, []byte(pattern)} }
	return map[string]struct {
		o    ScanOptions
		keep func(hash, sort, value string) bool
	}{
		"hash prefix":     {ScanOptions{HashKey: f("prefix", "h1")}, func(h, _, _ string) bool { return strings.HasPrefix(h, "h1") }},
		"hash anywhere":   {ScanOptions{HashKey: f("anywhere", "3")}, func(h, _, _ string) bool { return h == "h3" }},
		"hash exact":      {ScanOptions{HashKey: f("exact", "h3")}, func(h, _, _ string) bool { return h == "h3" }},
		"hash exact none": {ScanOptions{HashKey: f("exact", "h")}, func(h, _, _ string) bool { return h == "h" }},
		"empty hash":      {ScanOptions{HashKey: f("exact", "")}, func(h, _, _ string) bool { return h == "" }},
		"sort exact":      {ScanOptions{SortKey: f("exact", "s4")}, func(_, s, _ string) bool { return s == "s4" }},
		"sort empty":      {ScanOptions{SortKey: f("exact", "")}, func(_, s, _ string) bool { return s == "" }},
		"both exact":      {ScanOptions{HashKey: f("exact", "h3"), SortKey: f("exact", "s4")}, func(h, s, _ string) bool { return h+s == "h3s4" }},
		"exact, postfix":  {ScanOptions{HashKey: f("exact", "h3"), SortKey: f("postfix", "4")}, func(h, s, _ string) bool { return h+s == "h3s4" }},
		"value exact":     {ScanOptions{Value: f("exact", "v9")}, func(_, _, v string) bool { return v == "v9" }},
		"value prefix":    {ScanOptions{Value: f("prefix", "v1")}, func(_, _, v string) bool { return strings.HasPrefix(v, "v1") }},
		"value postfix":   {ScanOptions{Value: f("postfix", "6")}, func(_, _, v string) bool { return strings.HasSuffix(v, "6") }},
		"value anywhere":  {ScanOptions{Value: f("anywhere", "2")}, func(_, _, v string) bool { return strings.Contains(v, "2") }},
		"nothing":         {ScanOptions{}, all},
	}
}

func TestScanFilters(t *testing.T) {
	b, _, d := filled(t, 4)
	for name, c := range filterCases() {
		for _, batch := range []int{1, 3, 1000} {
			c.o.Partition, c.o.Batch = -1, batch
			if diff := cmp.Diff(b.expected(-1, c.keep), collect(t, d, c.o)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	for _, o := range []ScanOptions{
		{HashKey: Filter{Type: "regex"}},
		{SortKey: Filter{Type: "x"}},
		{Value: Filter{Type: "x"}},
		{Value: Filter{Type: "prefix", Pattern: []byte("v")}, NoValue: true},
		{Partition: -2},
	} {
		for _, err := range d.Scan(t.Context(), boxTable, o) {
			wantError(t, err, spec.Usage)
		}
	}
}

// An exact hash key is read from its own partition only.
func TestExactHashKeyReadsOnePartition(t *testing.T) {
	_, s, d := filled(t, 8)
	if n := len(collect(t, d, ScanOptions{Partition: -1, HashKey: Filter{"exact", []byte("h3")}})); n != 10 || len(s.opened) != 1 {
		t.Errorf("%d rows by %d scans", n, len(s.opened))
	}
	if q := s.opened[0]; string(q.StartKey) != "\x00\x02h3" || string(q.StopKey) != "\x00\x02h4" || q.HashKeyFilter != wire.FilterNone {
		t.Errorf("opened by %+v", q)
	}
	home := int(wire.Hash([]byte("h3"), nil) % 8)
	if n := len(collect(t, d, ScanOptions{Partition: (home + 1) % 8, HashKey: Filter{"exact", []byte("h3")}})); n != 0 {
		t.Errorf("%d rows in another partition", n)
	}
}

// Rows neither double nor go missing when the server loses scans, runs out of time or sends empty batches.
func TestScanInterruptions(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*scans)
	}{
		{"forgotten once", func(s *scans) { s.forget[2] = true }},
		{"forgotten often", func(s *scans) {
			for i := 1; i < 100; i += 2 {
				s.forget[i] = true
			}
		}},
		{"out of time", func(s *scans) { s.incomplete[1], s.incomplete[3], s.incomplete[4] = true, true, true }},
		{"holes", func(s *scans) { s.holes = 3 }},
		{"holes and losses", func(s *scans) { s.holes, s.forget[2], s.forget[9] = 2, true, true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, s, d := filled(t, 2)
			c.set(s)
			if diff := cmp.Diff(b.expected(-1, all), collect(t, d, ScanOptions{Partition: -1, Batch: 7})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Servers answer an empty range by context 0, which then does not exist.
func TestScanEmptyRange(t *testing.T) {
	b := newBox(t, 2)
	s := newScans(b)
	s.hollow = true
	d := open(t, 5*time.Second, b.meta.endpoint)
	if rows := collect(t, d, ScanOptions{Partition: -1}); len(rows) != 0 {
		t.Error(rows)
	}
	for count, err := range d.Count(t.Context(), boxTable, ScanOptions{Partition: -1}) {
		if err != nil || count.Rows != 0 {
			t.Error(count, err)
		}
	}
	if len(s.opened) > 8 {
		t.Errorf("opened %d times", len(s.opened))
	}
}

// A server that never gets anywhere ends the scan with an error.
func TestScanStalls(t *testing.T) {
	_, s, d := filled(t, 1)
	for i := range 1000 {
		s.incomplete[i] = true
	}
	rows, errs := 0, 0
	for _, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1, Batch: 1}) {
		if err != nil {
			errs++
			wantError(t, err, spec.Failed, "does not get further", "smaller batch")
			continue
		}
		rows++
	}
	if rows != 0 || errs != 1 {
		t.Errorf("%d rows, %d errors", rows, errs)
	}
}

// A scan that ends early tells the server.
func TestScanEndsEarly(t *testing.T) {
	_, s, d := filled(t, 1)
	if rows := collect(t, d, ScanOptions{Partition: -1, MaxRows: 5}); len(rows) != 5 || s.opened[0].BatchSize != 5 {
		t.Errorf("%d rows, batch %d", len(rows), s.opened[0].BatchSize)
	}
	if rows := collect(t, d, ScanOptions{Partition: -1, MaxRows: 1000}); len(rows) != 101 {
		t.Errorf("%d rows", len(rows))
	}
	if rows := collect(t, d, ScanOptions{Partition: -1, MaxRows: 3, Batch: 2, Value: Filter{"prefix", []byte("v")}}); len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
	for range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1, Batch: 2}) {
		break
	}
	deadline := time.After(10 * time.Second)
	for open := 1; open > 0; {
		s.mu.Lock()
		open = len(s.contexts)
		s.mu.Unlock()
		select {
		case <-deadline:
			t.Fatalf("%d scans stay open on the server", open)
		case <-time.After(time.Millisecond):
		}
	}
}

// A table that is split twice, or replaced by another of its name, ends the scan: going on might miss rows.
func TestScanOfChangedTable(t *testing.T) {
	for name, change := range map[string]func(*wire.QueryConfigResponse){
		"id was 2": func(a *wire.QueryConfigResponse) { a.AppID = 3 },
		"had 1 partitions": func(a *wire.QueryConfigResponse) {
			for a.Partitions = 1; a.Partitions < 4; a.Partitions++ {
				p := a.Configs[0]
				p.PID.Partition = a.Partitions
				a.Configs = append(a.Configs, p)
			}
		},
	} {
		b, _, d := filled(t, 1)
		rows := 0
		var last error
		for _, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: -1, Batch: 5}) {
			if last = err; err != nil {
				break
			}
			if rows++; rows == 1 {
				b.configure(change)
				b.node.reject(wire.Scan.Name, wire.CodeParentMisused)
			}
		}
		if rows >= 101 {
			t.Errorf("%s: all rows came", name)
		}
		wantError(t, last, spec.Failed, name, "scan again")
	}
}

func TestScanOfSplitTable(t *testing.T) {
	b, _, d := filled(t, 4)
	b.configure(func(a *wire.QueryConfigResponse) { a.Configs[2].Ballot, a.Configs[3].Ballot = -1, -1 })
	var parts []int
	for count, err := range d.Count(t.Context(), boxTable, ScanOptions{Partition: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, count.Partition)
	}
	if !slices.Equal(parts, []int{0, 1}) {
		t.Errorf("counted %v", parts)
	}
	for _, err := range d.Scan(t.Context(), boxTable, ScanOptions{Partition: 3}) {
		wantError(t, err, spec.Unavailable, "still in partition 1")
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*scans)
	}{
		{"numbers", func(*scans) {}},
		{"old server", func(s *scans) { s.oldServer = true }},
		{"numbers, forgotten", func(s *scans) { s.forget[2] = true }},
		{"numbers, out of time", func(s *scans) { s.incomplete[2] = true }},
		{"old server, forgotten", func(s *scans) { s.oldServer, s.forget[2], s.incomplete[5] = true, true, true }},
		{"holes", func(s *scans) { s.holes = 2 }},
	} {
		for name, f := range filterCases() {
			b, s, d := filled(t, 2)
			c.set(s)
			want := map[int]int64{}
			for _, row := range b.expected(-1, f.keep) {
				want[int(row[0]-'0')]++
			}
			f.o.Partition, f.o.Batch = -1, 5
			for count, err := range d.Count(t.Context(), boxTable, f.o) {
				if err != nil || count.Rows != want[count.Partition] {
					t.Errorf("%s, %s: partition %d has %d, want %d (%v)", c.name, name, count.Partition, count.Rows, want[count.Partition], err)
				}
				delete(want, count.Partition)
			}
			if len(want) != 0 {
				t.Errorf("%s, %s: not counted: %v", c.name, name, want)
			}
		}
	}
	_, _, d := filled(t, 2)
	var total int64
	for count, err := range d.Count(t.Context(), boxTable, ScanOptions{Partition: -1, MaxRows: 7, Batch: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		total += count.Rows
	}
	if total != 7 {
		t.Errorf("counted %d of at most 7", total)
	}
}
