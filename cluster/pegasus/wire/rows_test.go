package wire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// byTable is the way to a row that every other message has.
var byTable = Type[KeyValue]{name: "row", kind: kindStruct, least: 1, write: rowFields.write, read: rowFields.read}

// sameRow demands that bytes are the same row, or none, either way.
func sameRow(t *testing.T, b []byte) {
	t.Helper()
	var hand, table KeyValue
	err, want := keyValueType.Decode(b, &hand), byTable.Decode(b, &table)
	if (err == nil) != (want == nil) || err != nil && err.Error() != want.Error() {
		t.Fatalf("%x: by hand %v, by the table %v", b, err, want)
	}
	if diff := cmp.Diff(table, hand); err == nil && diff != "" {
		t.Fatalf("%x: %s", b, diff)
	}
	if err == nil && !bytes.Equal(keyValueType.Append(nil, &hand), rowFields.Append(nil, &hand)) {
		t.Fatalf("%x is written in two ways", b)
	}
}

// oddRows are encodings that servers could send, and some that are broken.
func oddRows() [][]byte {
	field := func(kind, id byte, rest ...byte) []byte { return append([]byte{kind, 0, id}, rest...) }
	blob := func(id byte, text string) []byte {
		return field(12, id, append([]byte{0, 0, 0, byte(len(text))}, text...)...)
	}
	expire := field(8, 3, 0, 0, 0, 5)
	all := [][]byte{
		{0},
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), expire, {0}}, nil),
		bytes.Join([][]byte{blob(1, ""), blob(2, ""), {0}}, nil),
		bytes.Join([][]byte{blob(2, "v"), blob(1, "k"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), expire, blob(2, "v"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(1, "again"), blob(2, "v"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), blob(2, "again"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), expire, expire, {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), field(8, 9, 0, 0, 0, 5), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), {0}}, nil),
		bytes.Join([][]byte{blob(1, "k"), blob(2, "v"), field(10, 3, 0, 0, 0, 5), {0}}, nil),
		field(12, 1, 0xff, 0xff, 0xff, 0xff),
		field(12, 1, 0x7f, 0xff, 0xff, 0xff),
		field(11, 1, 0, 0, 0, 1, 'k'),
	}
	whole := all[2]
	for n := range whole {
		all = append(all, whole[:n])
	}
	return all
}

func TestRowsByHandAndByTable(t *testing.T) {
	for _, b := range oddRows() {
		sameRow(t, b)
	}
	for _, kv := range []KeyValue{{}, {Key: []byte("k")}, {Value: []byte("v")}, {Key: []byte("k"), Value: make([]byte, 1000), ExpireTS: -1}} {
		b := keyValueType.Append(nil, &kv)
		if want := rowFields.Append(nil, &kv); !bytes.Equal(b, want) {
			t.Errorf("%x, want %x", b, want)
		}
		sameRow(t, b)
	}
}

func FuzzRow(f *testing.F) {
	for _, b := range oddRows() {
		f.Add(b)
	}
	f.Fuzz(sameRow)
}

// What a server writes row by row is what it would have written of all of them, and fits the memory it asked for.
func TestRowBuffer(t *testing.T) {
	var rows []KeyValue
	buffer := &RowBuffer{Bytes: make([]byte, 0, 10)}
	for i := range 300 {
		kv := KeyValue{Key: fmt.Appendf(nil, "key%d", i), Value: make([]byte, i), ExpireTS: int32(i % 3)}
		rows = append(rows, kv)
		buffer.Add(kv.Key, kv.Value, kv.ExpireTS)
	}
	listed := ScanResponse{Rows: rows, ContextID: 7, AppID: 2, Server: "127.0.0.1:34801"}
	written := ScanResponse{Written: buffer, ContextID: 7, AppID: 2, Server: "127.0.0.1:34801"}
	want, got := Scan.AppendReply(nil, 9, &listed), Scan.AppendReply(nil, 9, &written)
	if !bytes.Equal(want, got) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	multi := MultiPutRequest{HashKey: []byte("hash"), Rows: rows}
	for name, frame := range map[string][]byte{"scan": want, "multi_put": MultiPut.AppendRequest(nil, Header{}, 1, &multi)} {
		if room := cap(frame) - len(frame); room > len(frame)/4 {
			t.Errorf("%s: %d bytes of memory for %d", name, cap(frame), len(frame))
		}
	}
	empty := ScanResponse{Written: &RowBuffer{}}
	if !bytes.Equal(Scan.AppendReply(nil, 9, &empty), Scan.AppendReply(nil, 9, &ScanResponse{})) {
		t.Error("no rows are written otherwise than an empty list")
	}
}

// Rows of a scan are sent as those that were put together for the call are.
func TestMultiPutOfScannedRows(t *testing.T) {
	full := MultiPutRequest{HashKey: []byte("hash"), ExpireTS: 7, Strip: 6}
	short := MultiPutRequest{HashKey: []byte("hash"), ExpireTS: 7}
	for _, sort := range []string{"", "a", "bc", "\xff"} {
		key, err := EncodeKey(full.HashKey, []byte(sort))
		if err != nil {
			t.Fatal(err)
		}
		full.Rows = append(full.Rows, KeyValue{Key: key, Value: []byte("v" + sort), ExpireTS: 7})
		short.Rows = append(short.Rows, KeyValue{Key: []byte(sort), Value: []byte("v" + sort)})
	}
	h := Header{GPID: GPID{App: 2, Partition: 1}}
	if a, b := MultiPut.AppendRequest(nil, h, 3, &full), MultiPut.AppendRequest(nil, h, 3, &short); !bytes.Equal(a, b) {
		t.Errorf("%q\n%q", a, b)
	}
}
