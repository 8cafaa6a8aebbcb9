package rocksdb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// golden is the start of a MANIFEST: its frame's checksum is CRC-32C of the kind and the edit, rotated and shifted; the
// edit has the comparator, log number 6, next file 9 and last sequence 300.
const golden = "a410617c 2300 01  01 1a 6c6576656c64622e4279746577697365436f6d70617261746f72  02 06  03 09  04 ac02"

func goldenBytes(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEdits(t *testing.T) {
	comparator, log, next, last := Comparator, uint64(6), uint64(9), uint64(300)
	e := edit{comparator: &comparator, logNumber: &log, next: &next, lastSeq: &last}
	if got := appendRecord(nil, e.encode()); !bytes.Equal(got, goldenBytes(t, golden)) {
		t.Errorf("the edit is %x", got)
	}
	// A table with all the custom fields that RocksDB 8.5 writes, and tags that a reader passes over.
	for _, c := range []struct {
		text string
		want error
	}{
		{"67 02 0b 8020 09 61 0102000000000000 09 7a 0105000000000000 02 05 02 01 01 05 01 07 06 01 08 07 00 08 01 55 09 01 01 0c 01 ff 0d 01 03 0f 01 10 41 01 00 01", nil},
		{"8140 03 616263  8740 04 01020304  8840 00", nil}, // an id of the database, additions and deletions of logs
		{"8440 07 02 05 01  8540 09", nil},                 // the old form of those, without lengths
		{"05 01 03 616263 09 00 0a 05 ac02 00", nil},       // a compaction's cursor, old log numbers, an atomic group
		{"ff7f 02 0000", nil},                              // unknown, and skippable
		{"41 00", ErrUnsupported},                          // unknown, and not
		{"9003 00", ErrUnsupported},                        // a blob file
		{"67 02 0b 8020 09 61 0102000000000000 09 7a 0105000000000000 02 05 41 01 01 01", ErrUnsupported}, // another folder
		{"67 02 0b 8020 09 61 0102000000000000 09 7a 0105000000000000 02 05 04 01 07 01", ErrUnsupported}, // a blob file's number
		{"67 02 0b 8020 09 61 0102000000000000 09 7a 0105000000000000 02 05 7f 00 01", ErrUnsupported},    // a field that must be known
		{"67 02 0b 8020 03 616263", ErrCorrupt},
		{"03", ErrCorrupt},
		{"01 ffffffffffffffff7f", ErrCorrupt},
	} {
		if _, err := decodeEdit(goldenBytes(t, c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v instead of %v", c.text, err, c.want)
		}
	}
	got, err := decodeEdit(goldenBytes(t, "66 02 0b 00 8020 09 61 0102000000000000 09 7a 0105000000000000 02 05 06 01 07"))
	if err != nil {
		t.Fatal(err)
	}
	f := got.added[0]
	if f.Level != 2 || f.Number != 11 || f.Size != 4096 || string(f.Smallest.User) != "a" || f.Largest.Seqno != 5 || f.LargestSeqno != 5 ||
		got.deleted[0] != (levelFile{1, 7}) {
		t.Errorf("%+v", got)
	}
}

func TestLog(t *testing.T) {
	for _, sizes := range [][]int{{0}, {1, 2, 3}, {logBlock}, {logBlock - 7, 1}, {logBlock - 8, 5, 100}, {logBlock - 13, 5}, {logBlock - 14, 5, 70000, 0, 9}, {3 * logBlock}} {
		var log []byte
		var want, got [][]byte
		for i, n := range sizes {
			r := bytes.Repeat([]byte{byte(i + 1)}, n)
			log, want = appendRecord(log, r), append(want, r)
		}
		if err := records(log, func(r []byte) error { got = append(got, bytes.Clone(r)); return nil }); err != nil {
			t.Fatalf("%v: %v", sizes, err)
		}
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("%v: other records", sizes)
		}
	}
	log := appendRecord(appendRecord(nil, []byte("first")), bytes.Repeat([]byte("x"), logBlock))
	ends := map[int]bool{0: true, 12: true, len(log): true}
	for i := range log {
		err := records(log[:i], func([]byte) error { return nil })
		if (err == nil) != ends[i] {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
		damaged := bytes.Clone(log)
		damaged[i] ^= 1
		if err := records(damaged, func([]byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	full := errors.New("enough")
	if err := records(log, func([]byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("an error of the caller: %v", err)
	}
}

func TestManifestRefuses(t *testing.T) {
	file := func(level int, number uint64, from, to string) FileMeta {
		key := func(s string) InternalKey { return InternalKey{[]byte(s), 1, KindValue} }
		return FileMeta{Number: number, Level: level, Smallest: key(from), Largest: key(to)}
	}
	other, family := "rocksdb.ReverseBytewiseComparator", MetaFamily
	for name, c := range map[string]struct {
		edits []edit
		want  error
	}{
		"another order":           {[]edit{{comparator: &other}}, ErrUnsupported},
		"a family that is not":    {[]edit{{family: 3, added: []FileMeta{file(1, 1, "a", "b")}}}, ErrCorrupt},
		"a table twice":           {[]edit{{added: []FileMeta{file(1, 1, "a", "b")}}, {added: []FileMeta{file(2, 1, "a", "b")}}}, ErrCorrupt},
		"deleted, not there":      {[]edit{{deleted: []levelFile{{1, 1}}}}, ErrCorrupt},
		"overlap":                 {[]edit{{added: []FileMeta{file(1, 1, "a", "c"), file(1, 2, "b", "d")}}}, ErrCorrupt},
		"ends before it starts":   {[]edit{{added: []FileMeta{file(1, 1, "c", "a")}}}, ErrCorrupt},
		"a family twice":          {[]edit{{family: 1, addFamily: &family}, {family: 1, addFamily: &family}}, ErrCorrupt},
		"no default":              {[]edit{{dropFamily: true}}, ErrCorrupt},
		"nothing":                 {nil, ErrCorrupt},
		"an overlap at level 0":   {[]edit{{added: []FileMeta{file(0, 1, "a", "c"), file(0, 2, "b", "d")}}}, nil},
		"a family that is gone":   {[]edit{{family: 1, addFamily: &family, added: []FileMeta{file(1, 1, "a", "b")}}, {family: 1, dropFamily: true}}, nil},
		"a table that is moved":   {[]edit{{added: []FileMeta{file(1, 1, "a", "b")}}, {deleted: []levelFile{{1, 1}}, added: []FileMeta{file(2, 1, "a", "b")}}}, nil},
		"neighbours in one level": {[]edit{{added: []FileMeta{file(1, 2, "c", "d"), file(1, 1, "a", "b")}}}, nil},
	} {
		var log []byte
		for _, e := range c.edits {
			log = appendRecord(log, e.encode())
		}
		if _, err := ParseManifest(log); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "MANIFEST-1", "MANIFEST-\n", "MANIFEST-1/../x\n", "manifest-1\n", "MANIFEST-1\n\n"} {
		if name, err := ParseCurrent([]byte(text)); err == nil {
			t.Errorf("CURRENT with %q names %s", text, name)
		}
	}
}
