package backup

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/wire"
	"shardsh/storage"
)

// oddManifest is of a table whose rows have a text, a date and a timestamp.
func oddManifest() *Manifest {
	return &Manifest{
		Format: format, ReadBy: "who",
		Table: Table{Name: "odd", Partitions: 2, Columns: []Column{{Name: "who", Type: "string"}, {Name: "day", Type: "date"}, {Name: "at", Type: "timestamp"}}},
		Indexes: []Index{
			{Name: "who", Columns: []string{"who"}, TTL: TTL(forever)},
			{Name: "at", Columns: []string{"who"}, TimeColumn: "at", TTL: TTL(forever)},
		},
	}
}

// oddRows are what tablets may have and no client of today writes: days that are none, times before 1970, keys that are
// not those of the values.
func oddRows(t testing.TB, s *wire.Schema) []openmldb.CopyRow {
	t.Helper()
	encode := func(values ...any) []byte {
		b, err := s.Encode(values)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const day, at = 7, 11 // where they stand in a row: behind head and bitmap
	noDay := encode("a", wire.Date{Year: 2024, Month: 2, Day: 1}, int64(5))
	binary.LittleEndian.PutUint32(noDay[day:], 124<<16|13<<8|40)
	early := encode("a", nil, int64(5))
	binary.LittleEndian.PutUint64(early[at:], 1<<63|7)
	return []openmldb.CopyRow{
		{Key: "a", Time: 1, Value: encode("a", wire.Date{Year: 9999, Month: 12, Day: 31}, int64(1)<<62)},
		{Key: "a", Time: 2, Value: noDay},
		{Key: "a", Time: 1 << 63, Value: early},
		{Key: "elsewhere", Time: 3, Value: encode("\xff\x00\xfe", nil, nil)},
		{Key: wire.NullKey, Time: 4, Value: encode(nil, wire.Date{Year: 1900, Month: 1, Day: 1}, nil)},
		{Key: wire.EmptyKey, Time: 0, Value: encode("", nil, int64(0))},
	}
}

// writeOdd writes a chunk of them, and answers its two files.
func writeOdd(t testing.TB, m *Manifest) (c Chunk, rows []openmldb.CopyRow, data [2][]byte) {
	t.Helper()
	root := t.TempDir()
	s, err := storage.Open(storage.Config{Name: "disk", Type: storage.LocalType, Args: []string{root}, Settings: map[string]string{"meta": "none"}})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := newSaved(m)
	if err != nil {
		t.Fatal(err)
	}
	rows = oddRows(t, saved.schema)
	w, err := begin(t.Context(), s, "odd", saved.schema, Chunk{Index: "who"}, false, limits{chunk: 1 << 20, group: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		values, err := saved.schema.Decode(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		key, err := saved.table.Key(saved.table.Indexes[0], values)
		if err == nil {
			err = w.add(r, values, key != r.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if c, err = w.commit(); err != nil {
		t.Fatal(err)
	}
	for i, f := range c.Files {
		if data[i], err = os.ReadFile(filepath.Join(root, "odd", f.Path)); err != nil {
			t.Fatal(err)
		}
		if f.SHA256 != sha(data[i]) || f.Size != int64(len(data[i])) {
			t.Errorf("%+v is not what was written", f)
		}
	}
	return c, rows, data
}

// Nothing that a tablet answers is lost, whatever Parquet makes of it.
func TestOddRows(t *testing.T) {
	m := oddManifest()
	c, want, data := writeOdd(t, m)
	saved, err := newSaved(m)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range saved.chunkRows(c, data[rowsKind], data[timesKind]) {
		if err != nil {
			t.Fatal(err)
		}
		if o := want[n]; r.Key != o.Key || r.Time != o.Time || !bytes.Equal(r.Value, o.Value) {
			t.Errorf("row %d was %+v and is %+v", n, o, r)
		}
		// A tablet does not take a row without a time into an index that is ordered by it.
		timed := n == 0 || n == 1 || n == 5
		if len(r.Places.Names) != map[bool]int{true: 2, false: 1}[timed] || r.Places.Names[0] != "who" {
			t.Errorf("row %d goes to %v", n, r.Places.Names)
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%d rows of %d", n, len(want))
	}
	c.Rows++
	for _, err = range saved.chunkRows(c, data[rowsKind], data[timesKind]) {
		if err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a row too few is not found")
	}
}

// FuzzManifest reads documents that somebody else made.
func FuzzManifest(f *testing.F) {
	m := oddManifest()
	data, err := encode(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, m.sums(data))
	f.Add([]byte(`{"format":1,"table":{"name":"t","partitions":1,"columns":[{"name":"a","type":"int"}]},"indexes":[{"name":"a","columns":["b"]}],"read_by":"a"}`), []byte("x"))
	f.Fuzz(func(t *testing.T, manifest, sums []byte) {
		root := t.TempDir()
		s, err := storage.Open(storage.Config{Name: "disk", Type: storage.LocalType, Args: []string{root}, Settings: map[string]string{"meta": "none"}})
		if err != nil {
			t.Fatal(err)
		}
		list := append([]byte(sha(manifest)+"  "+ManifestFile+"\n"), sums...)
		for name, content := range map[string][]byte{ManifestFile: manifest, SumsFile: list} {
			if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Load(t.Context(), s, "")
		if err != nil {
			return
		}
		got.New()
		if err := Verify(t.Context(), s, "", got, 1, func(Checked) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
