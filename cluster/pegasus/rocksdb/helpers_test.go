package rocksdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// memFile is a file in memory.
type memFile struct{ *bytes.Reader }

func (memFile) Close() error { return nil }

func inMemory(b []byte) File { return memFile{bytes.NewReader(b)} }

// memory is a directory in memory; it counts files that are open.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
	open  int
}

func newMemory() *memory { return &memory{files: map[string][]byte{}} }

func (m *memory) Open(_ context.Context, name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	m.open++
	return &countedFile{memFile{bytes.NewReader(b)}, m}, nil
}

type countedFile struct {
	memFile
	m *memory
}

func (f *countedFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.open--
	return nil
}

func (m *memory) Create(_ context.Context, name string) (Output, error) {
	return &memOutput{m: m, name: name}, nil
}

type memOutput struct {
	bytes.Buffer
	m    *memory
	name string
}

func (o *memOutput) Commit() error {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	o.m.files[o.name] = o.Bytes()
	return nil
}

func (o *memOutput) Abort() {}

// folder is a directory of the file system.
type folder string

type osFile struct {
	*os.File
	size int64
}

func (f osFile) Size() int64 { return f.size }

func (d folder) Open(_ context.Context, name string) (File, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f, info.Size()}, nil
}

func (d folder) Create(_ context.Context, name string) (Output, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(string(d), name+".tmp"))
	if err != nil {
		return nil, err
	}
	return &osOutput{f, filepath.Join(string(d), name)}, nil
}

type osOutput struct {
	*os.File
	name string
}

func (o *osOutput) Commit() error {
	if err := o.File.Close(); err != nil {
		return err
	}
	return os.Rename(o.File.Name(), o.name)
}

func (o *osOutput) Abort() {
	o.File.Close()
	os.Remove(o.File.Name())
}

// row is one change, in the framing that the helper of the integration tests speaks too.
type row struct {
	kind       byte // P put, D delete, R delete from key to value
	key, value string
}

func parseRows(t testing.TB, b []byte) []row {
	t.Helper()
	var rows []row
	for len(b) > 0 {
		r := row{kind: b[0]}
		b = b[1:]
		for _, to := range []*string{&r.key, &r.value} {
			n := binary.LittleEndian.Uint32(b)
			*to, b = string(b[4:4+n]), b[4+n:]
		}
		rows = append(rows, r)
	}
	return rows
}

// pegasusRow is row i of a table: a hash key with a few sort keys, and a value of data version 1 that compresses a bit.
func pegasusRow(i, size int) row {
	key, err := wire.EncodeKey(fmt.Appendf(nil, "user%06d", i/4), fmt.Appendf(nil, "field%d", i%4))
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(uint64(i), 7))
	data := make([]byte, size)
	for j := range data {
		data[j] = "abcdefgh"[r.IntN(8)]
	}
	value, err := Value{TimeTag: uint64(i) << 8, Data: data}.AppendTo(nil, 1)
	if err != nil {
		panic(err)
	}
	return row{'P', string(key), string(value)}
}

func pegasusRows(n, size int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = pegasusRow(i, size)
	}
	slices.SortFunc(rows, func(a, b row) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
	return rows
}

// tableOf writes rows as one external table.
func tableOf(t testing.TB, rows []row, options WriterOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewTableWriter(&b, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		switch r.kind {
		case 'P':
			err = w.Put([]byte(r.key), []byte(r.value))
		case 'D':
			err = w.Add(InternalKey{User: []byte(r.key), Kind: KindDelete}, nil)
		case 'R':
			err = w.AddRangeDeletion(RangeDeletion{Start: []byte(r.key), End: []byte(r.value)})
		default:
			t.Fatalf("a row of kind %c", r.kind)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entriesOf reads all entries of a table.
func entriesOf(t testing.TB, b []byte) []row {
	t.Helper()
	table, err := OpenTable(inMemory(b), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	it := table.NewIterator()
	defer it.Close()
	var rows []row
	for it.Next() {
		r := row{'P', string(it.Key().User), string(it.Value())}
		if it.Key().Kind == KindDelete {
			r.kind = 'D'
		}
		rows = append(rows, r)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	for _, d := range table.RangeDeletions() {
		rows = append(rows, row{'R', string(d.Start), string(d.End)})
	}
	return rows
}

func sameRows(t testing.TB, got, want []row) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d is %c %q = %.60q instead of %c %q = %.60q", i, got[i].kind, got[i].key, got[i].value, want[i].kind, want[i].key, want[i].value)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows instead of %d", len(got), len(want))
	}
}
