package tablet

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
)

func someEntries(first uint64, n int) []*entry {
	var all []*entry
	end, name := uint64(3), "ts"
	for i := range uint64(n) {
		e := &entry{term: 2, index: first + i, ts: 100 + i, hasTS: true, value: row("c", "m", "", 1, 1), dims: []dimension{{"c", 0}, {"m", 1}}}
		if i%3 == 2 {
			e = &entry{term: 2, index: first + i, delete: true, endTS: &end, tsName: &name}
		}
		all = append(all, e)
	}
	return all
}

func someLog(first uint64, n int) (b []byte) {
	for _, e := range someEntries(first, n) {
		b, _ = appendRecord(b, e)
	}
	return b
}

// What a log has is what was written, up to a torn end; reading it again after that was cut off finds the same.
func FuzzBinlog(f *testing.F) {
	whole := someLog(1, 5)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:5])
	f.Add([]byte{})
	f.Add(append(bytes.Clone(whole), make([]byte, 40)...))
	f.Add(someLog(7, 2))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var indexes []uint64
		last, end, err := readLog(bytes.NewReader(b), 1, 0, func(e *entry) error {
			indexes = append(indexes, e.index)
			return nil
		})
		if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, errTorn) {
			t.Fatal(err)
		}
		for i, index := range indexes {
			if index != uint64(i)+1 {
				t.Fatalf("entry %d is %d", i, index)
			}
		}
		if last != uint64(len(indexes)) || end > int64(len(b)) || err == nil && end != int64(len(b)) {
			t.Fatalf("%d entries, the last is %d, up to %d of %d bytes", len(indexes), last, end, len(b))
		}
		again, to, err := readLog(bytes.NewReader(b[:end]), 1, 0, func(*entry) error { return nil })
		if err != nil && !errors.Is(err, errDamaged) || err == nil && (again != last || to != end) {
			t.Fatalf("cut off it has %d entries of %d, up to %d: %v", again, last, to, err)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	whole := append([]byte(snapshotMagic), someLog(1, 2)...)
	f.Add(whole, uint64(5))
	f.Add(whole, uint64(1))
	f.Add(whole[:len(whole)-1], uint64(5))
	f.Add([]byte(snapshotMagic), uint64(0))
	f.Add([]byte("omdb"), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, offset uint64) {
		n := uint64(0)
		count, err := readSnapshot(bytes.NewReader(b), offset, func(e *entry) error {
			if e.index > offset {
				t.Errorf("row %d in a snapshot of %d", e.index, offset)
			}
			n++
			return nil
		})
		if err != nil && !errors.Is(err, errDamaged) {
			t.Error(err)
		}
		if count != n {
			t.Errorf("%d rows, counted as %d", n, count)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("offset: 5\nname: \"20240517.sdb\"\ncount: 3\nterm: 2\n"))
	f.Add([]byte(`offset:1 name:"../x"`))
	f.Add([]byte("offset: x"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m api.Manifest
		err := parseText(b, &m)
		if err == nil {
			err = checkManifest(&m)
		}
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatal(err)
			}
			return
		}
		if filepath.Base(m.GetName()) != m.GetName() {
			t.Errorf("name %q", m.GetName())
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, e := range someEntries(1, 3) {
		f.Add(appendEntry(nil, e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err != nil {
			return
		}
		again, err := parseEntry(appendEntry(nil, e))
		if err != nil || again.index != e.index || again.ts != e.ts || again.delete != e.delete || len(again.dims) != len(e.dims) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
		if i := indexOf(appendEntry(nil, e)); i != e.index {
			t.Errorf("the index of %d is read as %d", e.index, i)
		}
	})
}

// An entry on the disk is what the protocol has for one.
func TestEntryIsALogEntry(t *testing.T) {
	for _, e := range someEntries(9, 3) {
		var m api.LogEntry
		if err := proto.Unmarshal(appendEntry(nil, e), &m); err != nil {
			t.Fatal(err)
		}
		if m.GetLogIndex() != e.index || m.GetTerm() != 2 || len(m.ProtoReflect().GetUnknown()) != 0 {
			t.Errorf("%v", &m)
		}
		back := entryOf(&m)
		if !bytes.Equal(appendEntry(nil, back), appendEntry(nil, e)) {
			t.Errorf("%+v became %+v", e, back)
		}
		b, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		if parsed, err := parseEntry(b); err != nil || !bytes.Equal(appendEntry(nil, parsed), appendEntry(nil, e)) {
			t.Errorf("from the protocol: %+v, %v", parsed, err)
		}
	}
}
