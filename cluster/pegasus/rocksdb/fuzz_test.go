package rocksdb

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// addTables seeds with the tables of RocksDB, as they are and without checksums, so that a change reaches the decoders.
func addTables(f *testing.F) {
	names, err := filepath.Glob("testdata/*.sst")
	if err != nil || len(names) == 0 {
		f.Fatalf("no tables: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b), "user")
		b[len(b)-footerSize] = byte(NoChecksum)
		f.Add(b, "")
	}
}

func FuzzTable(f *testing.F) {
	addTables(f)
	f.Fuzz(func(t *testing.T, b []byte, key string) {
		table, err := OpenTable(inMemory(b), ReadOptions{})
		if err != nil {
			return
		}
		it := table.NewIterator()
		defer it.Close()
		entries := 0
		var ends [][]byte
		for it.Next() {
			entries += len(it.Key().User) + len(it.Value())
			if key := bytes.Clone(it.Key().User); len(ends) < 2 {
				ends = append(ends, key)
			} else {
				ends[1] = key
			}
		}
		first, last, err := table.Bounds()
		if it.Err() != nil {
			return
		}
		if err == nil && len(ends) > 0 && (!bytes.Equal(first, ends[0]) || !bytes.Equal(last, ends[len(ends)-1])) {
			t.Fatalf("from %x to %x instead of %x", first, last, ends)
		}
		if again := table.NewIterator(); again.SeekGE([]byte(key)) {
			again.Next()
			again.Close()
		}
		if entries > 0 && len(b) < footerSize {
			t.Fatal("rows out of nothing")
		}
	})
}

func FuzzManifest(f *testing.F) {
	b, err := os.ReadFile(manifestFixture(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(goldenBytes(f, golden))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseManifest(b); err == nil && m.Family(DefaultFamily) == nil {
			t.Fatal("no default column family")
		}
		if e, err := decodeEdit(b); err == nil { // what is accepted is written as something that means the same
			again, err := decodeEdit(e.encode())
			if err != nil || !bytes.Equal(again.encode(), e.encode()) {
				t.Fatalf("%x became %x: %v", b, e.encode(), err)
			}
		}
	})
}

func FuzzDecompress(f *testing.F) {
	text := bytes.Repeat([]byte("some text that repeats "), 60)
	for _, how := range []Compression{Uncompressed, Snappy, Zlib, LZ4, Zstd} {
		var c codec
		b, how, err := c.compress(nil, text, how)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, byte(how))
	}
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		var c codec
		defer c.close()
		out, err := c.decompress(nil, b, Compression(how))
		if err == nil && len(out) > maxBlock {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

func FuzzBlock(f *testing.F) {
	w := blockWriter{interval: 4}
	for _, k := range []string{"a", "ab", "abc", "b", "bcd", "z"} {
		w.add([]byte(k+"suffix.."), []byte("value"))
	}
	f.Add(w.finish(), "b", false, false)
	f.Add(w.finish(), "b", true, true)
	f.Add([]byte{0, 3, 'a', 'b', 'c', 1, 2, 1, 1, 'd', 4, 0, 0, 0, 0, 1, 0, 0, 0}, "c", true, false)
	f.Fuzz(func(t *testing.T, b []byte, key string, deltas, first bool) {
		parsed, err := parseBlock(b)
		if err != nil {
			return
		}
		var it blockIterator
		it.reset(parsed, layout{deltas, first})
		for n := 0; it.step(); n++ {
			if n > len(b) {
				t.Fatal("more entries than bytes")
			}
		}
		it.reset(parsed, layout{deltas, first})
		it.seek(func(k []byte) bool { return before(k, []byte(key), true) })
	})
}
