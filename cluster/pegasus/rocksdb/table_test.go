package rocksdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

// The values are those of the published test vectors of each algorithm, and of RFC 3720 for CRC-32C.
func TestChecksums(t *testing.T) {
	for text, want := range map[string]uint32{"": 0x02cc5d05, "a": 0x550d7456, "abc": 0x32d153ff, "Nobody inspects the spammish repetition": 0xe2293b2f} {
		if got := xxhash32([]byte(text)); got != want {
			t.Errorf("XXH32 of %q is %08x instead of %08x", text, got, want)
		}
	}
	if got := ChecksumCRC32C.sum(make([]byte, 32)); got != maskCRC(0x8a9136aa) {
		t.Errorf("CRC-32C of 32 zeros is %08x", got)
	}
	if got := maskCRC(0x8a9136aa); got != 0x0fd7fffa {
		t.Errorf("masked it is %08x", got)
	}
	if got := ChecksumXXHash64.sum([]byte("abc")); got != 0xad770999 {
		t.Errorf("XXH64 of abc is %08x", got)
	}
}

func TestTableRoundTrip(t *testing.T) {
	rows := pegasusRows(3000, 60)
	rows = append(rows, row{'D', "\xffz", ""}, row{'R', "a", "b"}, row{'R', "c", "\xff"})
	for version := 2; version <= 5; version++ {
		for _, compression := range []Compression{Uncompressed, Snappy, Zlib, LZ4, Zstd} {
			for _, sum := range []Checksum{ChecksumCRC32C, ChecksumXXHash, ChecksumXXHash64, ChecksumXXH3} {
				o := DefaultWriterOptions()
				o.FormatVersion, o.Compression, o.Checksum, o.External = version, compression, sum, true
				o.BloomBits = version % 3 * 5
				b := tableOf(t, rows, o)
				sameRows(t, entriesOf(t, b), rows)
				if again := tableOf(t, rows, o); !bytes.Equal(b, again) {
					t.Fatalf("%d %v %v: the same rows gave other bytes", version, compression, sum)
				}
				if raw := 3000 * 90; compression != Uncompressed && len(b) > raw {
					t.Errorf("%v: %d bytes", compression, len(b))
				}
			}
		}
	}
}

func TestTableSeek(t *testing.T) {
	rows := pegasusRows(2000, 20)
	o := DefaultWriterOptions()
	o.External, o.BlockSize = true, 256
	table, err := OpenTable(inMemory(tableOf(t, rows, o)), ReadOptions{ReadAhead: 1000})
	if err != nil {
		t.Fatal(err)
	}
	it := table.NewIterator()
	defer it.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		key := rows[r.IntN(len(rows))].key
		key = key[:r.IntN(len(key)+1)] + strings.Repeat("x", r.IntN(2))
		want := sort.Search(len(rows), func(i int) bool { return rows[i].key >= key })
		found := it.SeekGE([]byte(key))
		for ; found && want < len(rows) && r.IntN(4) > 0; want++ {
			if string(it.Key().User) != rows[want].key || string(it.Value()) != rows[want].value {
				t.Fatalf("%q instead of %q after a seek to %q", it.Key().User, rows[want].key, key)
			}
			found = it.Next()
		}
		if found != (want < len(rows)) {
			t.Fatalf("seek to %q: %v", key, found)
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestWriterRefuses(t *testing.T) {
	o := DefaultWriterOptions()
	o.External = true
	w, err := NewTableWriter(&bytes.Buffer{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Put([]byte("b"), nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if err := w.Put([]byte(key), nil); !errors.Is(err, ErrOrder) {
			t.Errorf("%s after b: %v", key, err)
		}
	}
	if err := w.Add(InternalKey{User: []byte("c"), Seqno: 1, Kind: KindValue}, nil); err == nil {
		t.Error("a number in an external table")
	}
	o.FormatVersion = 6
	if _, err := NewTableWriter(&bytes.Buffer{}, o); !errors.Is(err, ErrUnsupported) {
		t.Errorf("format version 6: %v", err)
	}
	full := errors.New("the disk is full")
	o.FormatVersion = 2
	w, _ = NewTableWriter(failing{full}, o)
	_ = w.Put([]byte("a"), nil)
	if _, err := w.Finish(); !errors.Is(err, full) {
		t.Errorf("a disk that is full: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Every byte of a table that a reader looks at is protected: flipping one is an error, or changes nothing.
func TestFlippedBytes(t *testing.T) {
	rows := append(pegasusRows(60, 20), row{'R', "a", "b"})
	o := DefaultWriterOptions()
	o.External, o.BlockSize = true, 512
	b := tableOf(t, rows, o)
	found := 0
	for i := range b {
		damaged := slices.Clone(b)
		damaged[i] ^= 0x10
		got, err := tryRead(damaged)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported):
			t.Fatalf("byte %d: %v", i, err)
		case err != nil:
			found++
		default:
			sameRows(t, got, rows)
		}
	}
	if found < len(b)-36 { // the padding of the footer says nothing
		t.Errorf("%d of %d flipped bytes were found", found, len(b))
	}
}

func tryRead(b []byte) ([]row, error) {
	zero := uint64(0)
	table, err := OpenTable(inMemory(b), ReadOptions{LargestSeqno: &zero})
	if err != nil {
		return nil, err
	}
	it := table.NewIterator()
	defer it.Close()
	var rows []row
	for it.Next() {
		rows = append(rows, row{'P', string(it.Key().User), string(it.Value())})
	}
	for _, d := range table.RangeDeletions() {
		rows = append(rows, row{'R', string(d.Start), string(d.End)})
	}
	return rows, it.Err()
}

// A length that the file does not back must not be allocated.
func TestHostileLengths(t *testing.T) {
	for _, how := range []Compression{Snappy, Zlib, LZ4, Zstd} {
		var c codec
		b := binary.AppendUvarint(nil, 1<<27)
		b = append(b, 0x28, 0xb5, 0x2f, 0xfd, 0)
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := c.decompress(nil, b, how); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v: %v", how, err)
			}
		})
		if allocated > 1000 {
			t.Errorf("%v: %.0f allocations", how, allocated)
		}
		c.close()
	}
	h := handle{1 << 63, 1 << 63}
	if err := h.within(1 << 40); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// An ingested table has its number outside, in the MANIFEST, or inside, where RocksDB wrote it without the checksum.
func TestGlobalSeqno(t *testing.T) {
	o := DefaultWriterOptions()
	o.External = true
	b := tableOf(t, []row{{'P', "a", "1"}, {'R', "b", "c"}}, o)
	inside := slices.Clone(b)
	at := bytes.Index(inside, []byte(propGlobalSeqno)) + len(propGlobalSeqno)
	binary.LittleEndian.PutUint64(inside[at:], 42)
	seven, fortyTwo := uint64(7), uint64(42)
	for _, c := range []struct {
		table   []byte
		outside *uint64
		want    uint64
		corrupt bool
	}{{b, nil, 0, false}, {b, &seven, 7, false}, {inside, nil, 42, false}, {inside, &fortyTwo, 42, false}, {inside, &seven, 0, true}} {
		table, err := OpenTable(inMemory(c.table), ReadOptions{LargestSeqno: c.outside})
		if c.corrupt {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("two numbers: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		it := table.NewIterator()
		if !it.First() || it.Key().Seqno != c.want || table.RangeDeletions()[0].Seqno != c.want {
			t.Errorf("%+v and %+v instead of %d", it.Key(), table.RangeDeletions(), c.want)
		}
		it.Close()
	}
}

func TestBloomFilterHasAll(t *testing.T) {
	var hashes []uint32
	for i := range 1000 {
		hashes = append(hashes, bloomHash(fmt.Appendf(nil, "key%d", i)))
	}
	b := bloomFilter(hashes, 10)
	has := func(h uint32) bool {
		lines, probes := le32(b[len(b)-4:]), b[len(b)-5]
		line, delta := b[h%lines*bloomLine:], h>>17|h<<15
		for range probes {
			if line[h%512/8]&(1<<(h%8)) == 0 {
				return false
			}
			h += delta
		}
		return true
	}
	for _, h := range hashes {
		if !has(h) {
			t.Fatal("a key is missing")
		}
	}
	wrong := 0
	for i := range 10000 {
		if has(bloomHash(fmt.Appendf(nil, "other%d", i))) {
			wrong++
		}
	}
	if wrong > 300 {
		t.Errorf("%d of 10000 are wrongly there", wrong)
	}
}
