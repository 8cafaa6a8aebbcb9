package rocksdb

import (
	"errors"
	"testing"
)

func TestBounds(t *testing.T) {
	for _, n := range []int{1, 2, 16, 17, 2000} {
		for _, version := range []int{2, 5} {
			rows := pegasusRows(n, 20)
			o := DefaultWriterOptions()
			o.External, o.BlockSize, o.FormatVersion = true, 256, version
			table, err := OpenTable(inMemory(tableOf(t, rows, o)), ReadOptions{ReadAhead: 1000})
			if err != nil {
				t.Fatal(err)
			}
			first, last, err := table.Bounds()
			if err != nil || string(first) != rows[0].key || string(last) != rows[n-1].key {
				t.Errorf("%d rows: from %q to %q: %v", n, first, last, err)
			}
			if got := table.Properties().Rows(); got != int64(n) {
				t.Errorf("%d rows instead of %d", got, n)
			}
		}
	}
	table, err := OpenTable(inMemory(tableOf(t, nil, DefaultWriterOptions())), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if first, last, err := table.Bounds(); err != nil || first != nil || last != nil {
		t.Errorf("an empty table goes from %q to %q: %v", first, last, err)
	}
}

// Whatever one byte becomes, the ends of a table are answered as they are, or there is an error.
func TestBoundsOfDamaged(t *testing.T) {
	rows := pegasusRows(60, 20)
	o := DefaultWriterOptions()
	o.External, o.BlockSize = true, 256
	good := tableOf(t, rows, o)
	for i := range good {
		b := append([]byte{}, good...)
		b[i] ^= 0x41
		table, err := OpenTable(inMemory(b), ReadOptions{})
		if err != nil {
			continue
		}
		first, last, err := table.Bounds()
		if err == nil && (string(first) != rows[0].key || string(last) != rows[59].key) {
			t.Fatalf("byte %d: from %q to %q", i, first, last)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}
