package rocksdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func writeDirectory(t testing.TB, sink Sink, o DirectoryOptions, rows []row) []WrittenFile {
	t.Helper()
	d, err := NewDirectoryWriter(t.Context(), sink, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := d.Put([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func rowsOf(t testing.TB, c *Checkpoint) []row {
	t.Helper()
	it, err := c.NewIterator(t.Context(), IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return drain(t, it)
}

func drain(t testing.TB, it Rows) []row {
	t.Helper()
	defer it.Close()
	var rows []row
	for it.Next() {
		rows = append(rows, row{'P', string(it.Key()), string(it.Value())})
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestDirectory(t *testing.T) {
	rows := pegasusRows(3000, 50)
	m := newMemory()
	o := DirectoryOptions{Table: DefaultWriterOptions(), TargetSize: 32 << 10, Meta: map[string]string{MetaDataVersion: "1"}}
	files := writeDirectory(t, m, o, rows)
	if len(files) != len(m.files) || len(files) < 7 {
		t.Errorf("%d files listed, %d there", len(files), len(m.files))
	}
	c, err := OpenCheckpoint(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, rowsOf(t, c), rows)
	if v, err := c.DataVersion(t.Context()); v != 1 || err != nil {
		t.Errorf("data version %d: %v", v, err)
	}
	for _, i := range []int{0, 1, 1500, 2999} {
		value, found, err := c.Get(t.Context(), DefaultFamily, []byte(rows[i].key))
		if err != nil || !found || string(value) != rows[i].value {
			t.Errorf("row %d: %v %v", i, found, err)
		}
		if _, found, err := c.Get(t.Context(), DefaultFamily, []byte(rows[i].key+"x")); found || err != nil {
			t.Errorf("behind row %d: %v %v", i, found, err)
		}
	}
	it, err := c.NewIterator(t.Context(), IterOptions{Start: []byte(rows[100].key), End: []byte(rows[2500].key)})
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, drain(t, it), rows[100:2500])
	for _, name := range c.Files() {
		if _, ok := m.files[name]; !ok {
			t.Errorf("%s is listed and not there", name)
		}
	}
	if m.open != 0 {
		t.Errorf("%d files were left open", m.open)
	}
	if again := newMemory(); !slices.Equal(writeDirectory(t, again, o, rows), files) {
		t.Error("the same rows gave other files")
	}
}

// world is a database of several levels that is built by hand, and what must be visible of it.
type world struct {
	t       *testing.T
	m       *memory
	r       *rand.Rand
	edits   []edit
	levels  [][]FileMeta // live
	seqno   uint64
	number  uint64
	visible map[string]string
}

// TestIteratorModel plays random flushes, ingestions and moves to deeper levels, and compares with a map.
func TestIteratorModel(t *testing.T) {
	for seed := range uint64(30) {
		w := &world{
			t: t, m: newMemory(), r: rand.New(rand.NewPCG(seed, 5)), levels: make([][]FileMeta, 4), number: 10, visible: map[string]string{},
		}
		for range 12 {
			switch w.r.IntN(4) {
			case 0:
				w.ingest()
			case 1:
				w.sink()
			default:
				w.flush()
			}
		}
		w.check()
	}
}

func (w *world) key() string { return fmt.Sprintf("k%03d", w.r.IntN(200)) }

// write makes a table of entries that may be in any order, and of range deletions.
func (w *world) write(o WriterOptions, entries []entry, ranges []RangeDeletion) FileMeta {
	var b bytes.Buffer
	o.BlockSize = 128
	table, err := NewTableWriter(&b, o)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.key.compare(b.key) })
	for _, e := range entries {
		if err := table.Add(e.key, []byte(e.value)); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, d := range ranges {
		if err := table.AddRangeDeletion(d); err != nil {
			w.t.Fatal(err)
		}
	}
	meta, err := table.Finish()
	if err != nil {
		w.t.Fatal(err)
	}
	w.number++
	meta.Number = w.number
	w.m.files[TableName(meta.Number)] = b.Bytes()
	return meta
}

type entry struct {
	key   InternalKey
	value string
}

func (w *world) add(level int, f FileMeta) {
	f.Level = level
	w.levels[level] = append(w.levels[level], f)
	w.edits = append(w.edits, edit{added: []FileMeta{f}, next: &w.number, lastSeq: &w.seqno})
}

// flush adds a table of level 0 with several versions of some keys.
func (w *world) flush() {
	var entries []entry
	var ranges []RangeDeletion
	for range 1 + w.r.IntN(60) {
		w.seqno++
		k := w.key()
		switch w.r.IntN(12) {
		case 0:
			other := w.key()
			if k == other {
				continue
			}
			d := RangeDeletion{[]byte(min(k, other)), []byte(max(k, other)), w.seqno}
			ranges = append(ranges, d)
			w.deleteRange(d)
		case 1, 2:
			kind := KindDelete
			if w.r.IntN(3) == 0 {
				kind = KindSingleDelete
			}
			entries = append(entries, entry{InternalKey{[]byte(k), w.seqno, kind}, ""})
			delete(w.visible, k)
		default:
			value := fmt.Sprint("v", w.seqno)
			entries = append(entries, entry{InternalKey{[]byte(k), w.seqno, KindValue}, value})
			w.visible[k] = value
		}
	}
	if len(entries)+len(ranges) > 0 {
		w.add(0, w.write(DefaultWriterOptions(), entries, ranges))
	}
}

func (w *world) deleteRange(d RangeDeletion) {
	maps.DeleteFunc(w.visible, func(k, _ string) bool { return k >= string(d.Start) && k < string(d.End) })
}

// ingest adds an external table to level 0: its number is in the MANIFEST only. It holds a range deletion, which does
// not reach the table's own rows.
func (w *world) ingest() {
	w.seqno++
	rows := map[string]string{}
	for range 1 + w.r.IntN(20) {
		rows[w.key()] = fmt.Sprint("ingested ", w.seqno)
	}
	var entries []entry
	for k, v := range rows {
		entries = append(entries, entry{InternalKey{[]byte(k), 0, KindValue}, v})
	}
	var ranges []RangeDeletion
	if a, b := w.key(), w.key(); a < b {
		ranges = append(ranges, RangeDeletion{[]byte(a), []byte(b), 0})
		w.deleteRange(ranges[0])
	}
	maps.Copy(w.visible, rows)
	o := DefaultWriterOptions()
	o.External = true
	meta := w.write(o, entries, ranges)
	meta.SmallestSeqno, meta.LargestSeqno = w.seqno, w.seqno
	w.add(0, meta)
}

// sink compacts everything to the last level: the visible rows in tables that do not overlap, with the number 0.
func (w *world) sink() {
	var gone []levelFile
	for level, files := range w.levels {
		for _, f := range files {
			gone = append(gone, levelFile{level, f.Number})
		}
		w.levels[level] = nil
	}
	w.edits = append(w.edits, edit{deleted: gone})
	keys := slices.Sorted(maps.Keys(w.visible))
	for chunk := range slices.Chunk(keys, 30) {
		var entries []entry
		for _, k := range chunk {
			entries = append(entries, entry{InternalKey{[]byte(k), 0, KindValue}, w.visible[k]})
		}
		w.add(3, w.write(DefaultWriterOptions(), entries, nil))
	}
}

func (w *world) check() {
	name, comparator := "MANIFEST-000002", Comparator
	log := appendRecord(nil, (&edit{comparator: &comparator}).encode())
	for _, e := range w.edits {
		log = appendRecord(log, e.encode())
	}
	w.m.files[name], w.m.files["CURRENT"] = log, []byte(name+"\n")
	c, err := OpenCheckpoint(context.Background(), w.m)
	if err != nil {
		w.t.Fatal(err)
	}
	var want []row
	for _, k := range slices.Sorted(maps.Keys(w.visible)) {
		want = append(want, row{'P', k, w.visible[k]})
	}
	sameRows(w.t, rowsOf(w.t, c), want)
	for range 50 {
		start, end := w.key(), w.key()
		it, err := c.NewIterator(context.Background(), IterOptions{Start: []byte(start), End: []byte(end)})
		if err != nil {
			w.t.Fatal(err)
		}
		var part []row
		for _, r := range want {
			if r.key >= start && r.key < end {
				part = append(part, r)
			}
		}
		sameRows(w.t, drain(w.t, it), part)
	}
	if w.m.open != 0 {
		w.t.Errorf("%d files were left open", w.m.open)
	}
}

func TestCheckpointRefuses(t *testing.T) {
	rows := pegasusRows(300, 50)
	fresh := func() *memory {
		m := newMemory()
		writeDirectory(t, m, DirectoryOptions{Table: DefaultWriterOptions()}, rows)
		return m
	}
	table := TableName(firstTable)
	for name, damage := range map[string]func(m *memory){
		"no CURRENT":    func(m *memory) { delete(m.files, "CURRENT") },
		"odd CURRENT":   func(m *memory) { m.files["CURRENT"] = []byte("../../etc/passwd\n") },
		"cut MANIFEST":  func(m *memory) { m.files["MANIFEST-000004"] = m.files["MANIFEST-000004"][:40] },
		"no MANIFEST":   func(m *memory) { m.files["MANIFEST-000004"] = nil },
		"cut table":     func(m *memory) { m.files[table] = m.files[table][1:] },
		"other bytes":   func(m *memory) { m.files[table][20] ^= 1 },
		"missing table": func(m *memory) { delete(m.files, table) },
	} {
		m := fresh()
		damage(m)
		c, err := OpenCheckpoint(t.Context(), m)
		if err == nil {
			var it *Iterator
			if it, err = c.NewIterator(t.Context(), IterOptions{}); err == nil {
				for it.Next() {
				}
				err = it.Err()
				it.Close()
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if m.open != 0 {
			t.Errorf("%s: %d files were left open", name, m.open)
		}
	}
	_, err := ParseManifest(appendRecord(nil, (&edit{groupLeft: 1}).encode()))
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("a group that is cut short: %v", err)
	}
}

// Entries that Pegasus never writes are not passed over.
func TestOtherKinds(t *testing.T) {
	for _, kind := range []Kind{KindMerge, KindBlobIndex, KindWideColumns} {
		m := newMemory()
		d, err := NewDirectoryWriter(t.Context(), m, DirectoryOptions{Table: DefaultWriterOptions()})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.rows.add(InternalKey{User: []byte("k"), Kind: kind}, []byte("v")); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCheckpoint(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Get(t.Context(), DefaultFamily, []byte("k")); !errors.Is(err, ErrUnsupported) {
			t.Errorf("an entry of kind %#x: %v", uint8(kind), err)
		}
	}
}
