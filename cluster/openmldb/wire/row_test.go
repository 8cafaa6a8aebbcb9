package wire

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/openmldb/pb/types"
)

func TestRowGolden(t *testing.T) {
	for _, tt := range []struct {
		name   string
		schema Schema
		values []any
		want   string
	}{
		{
			"string int bigint", schemaOf(types.DataType_kString, types.DataType_kInt, types.DataType_kBigInt),
			[]any{"card0", int32(7), int64(1528872944000)},
			"01 01 19 00 00 00 f8 07 00 00 00 80 c1 ed f7 63 01 00 00 14 63 61 72 64 30",
		},
		{
			"nulls", schemaOf(types.DataType_kString, types.DataType_kInt, types.DataType_kString, types.DataType_kDouble),
			[]any{"a", nil, nil, 1.5},
			"01 01 16 00 00 00 f6 00 00 00 00 00 00 00 00 00 00 f8 3f 15 16 61",
		},
	} {
		want := golden(t, tt.want)
		got, err := tt.schema.Encode(tt.values)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: Encode = %x, %v\nwant %x", tt.name, got, err, want)
		}
		values, err := tt.schema.Decode(want)
		if diff := cmp.Diff(tt.values, values); diff != "" || err != nil {
			t.Errorf("%s: Decode: %v\n%s", tt.name, err, diff)
		}
	}
	if n := (Date{2024, 5, 17}).pack(); n != 8127505 {
		t.Errorf("2024-05-17 = %d", n)
	}
}

func schemaOf(all ...types.DataType) Schema {
	s := Schema{}
	for _, t := range all {
		s.Columns = append(s.Columns, Column{Name: TypeName(t), Type: t})
	}
	return s
}

var everyType = []types.DataType{
	types.DataType_kBool, types.DataType_kSmallInt, types.DataType_kInt, types.DataType_kBigInt, types.DataType_kFloat,
	types.DataType_kDouble, types.DataType_kDate, types.DataType_kTimestamp, types.DataType_kVarchar, types.DataType_kString,
}

// Rows as the store's own SDK writes them: the offset of a first string that is NULL is 0.
func TestRowsOfClients(t *testing.T) {
	one := schemaOf(types.DataType_kString, types.DataType_kInt)
	wide := schemaOf(
		types.DataType_kVarchar, types.DataType_kInt, types.DataType_kBigInt, types.DataType_kFloat, types.DataType_kDouble,
		types.DataType_kBool, types.DataType_kSmallInt, types.DataType_kDate, types.DataType_kTimestamp, types.DataType_kVarchar,
	)
	at := int64(1528872944000)
	for _, tt := range []struct {
		schema Schema
		row    string
		want   []any
	}{
		{one, "01010c000000fd0400000000", []any{nil, int32(4)}},
		{
			wide, "01013400000000fc0100000002000000000000000000c03f000000000000044001030011047c0080c1edf7630100003133633177",
			[]any{"c1", int32(1), int64(2), float32(1.5), 2.5, true, int16(3), Date{2024, 5, 17}, at, "w"},
		},
		{
			wide, "010132000000fbfc0000000005000000000000000000000000000000000000000000000000000081c1edf763010000003178",
			[]any{nil, nil, int64(5), nil, nil, nil, nil, nil, at + 1, "x"},
		},
		{
			wide, "010131000000f8fe0100000006000000000000000000000000000000000000000000000000000082c1edf7630100003131",
			[]any{"", int32(1), int64(6), nil, nil, nil, nil, nil, at + 2, nil},
		},
	} {
		got, err := tt.schema.Decode(golden(t, tt.row))
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", tt.row, err, diff)
		}
	}
}

// Rows just below, at and above what one, two and three bytes of offset can address.
func TestRowWidths(t *testing.T) {
	s := schemaOf(types.DataType_kString, types.DataType_kBigInt, types.DataType_kVarchar)
	head := rowHead + 1 + 8
	for width, limit := range []int{math.MaxUint8, math.MaxUint16, 1<<24 - 1} {
		for by := -3; by <= 5; by++ {
			text := strings.Repeat("x", limit-head-2*(width+1)+by)
			values := []any{text[:len(text)/3], int64(-1), text[len(text)/3:]}
			row, err := s.Encode(values)
			if err != nil {
				t.Fatal(err)
			}
			want := width + 1
			if by > 0 {
				want++
			}
			if got := (len(row) - head - len(text)) / 2; got != want {
				t.Errorf("row of %d bytes: offsets of %d bytes, want %d", len(row), got, want)
			}
			back, err := s.Decode(row)
			if err != nil || back[0] != values[0] || back[2] != values[2] {
				t.Errorf("row of %d bytes: %v", len(row), err)
			}
		}
	}
}

func TestRowVersions(t *testing.T) {
	old := schemaOf(types.DataType_kString, types.DataType_kInt)
	row, err := old.Encode([]any{"k", int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	grown := schemaOf(types.DataType_kString, types.DataType_kInt, types.DataType_kString)
	grown.Versions, grown.Version = map[uint8]int{1: 2, 2: 3}, 2
	got, err := grown.Decode(row)
	if diff := cmp.Diff([]any{"k", int32(1), nil}, got); diff != "" || err != nil {
		t.Errorf("an old row: %v\n%s", err, diff)
	}
	newer, err := grown.Encode([]any{"k", nil, "z"})
	if err != nil || newer[1] != 2 {
		t.Fatalf("%x, %v", newer, err)
	}
	if got, err = grown.Decode(newer); err != nil || got[2] != "z" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRowRefusals(t *testing.T) {
	s := schemaOf(everyType...)
	good := []any{
		true, int16(-2), int32(-3), int64(-4), float32(0.1), 0.2, Date{2000, 2, 29}, int64(5), "", "表",
	}
	row, err := s.Encode(good)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Decode(row); err != nil || cmp.Diff(good, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(good, got))
	}
	for i := range good {
		bad := append([]any{}, good...)
		bad[i] = []byte("x")
		if _, err := s.Encode(bad); err == nil || !strings.Contains(err.Error(), s.Columns[i].Name) {
			t.Errorf("a wrong type for %s: %v", s.Columns[i].Name, err)
		}
	}
	bad := append([]any{}, good...)
	bad[6] = Date{2023, 2, 29}
	if _, err := s.Encode(bad); err == nil {
		t.Error("a day that does not exist")
	}
	bad[6], bad[7] = good[6], int64(-1)
	if _, err := s.Encode(bad); err == nil {
		t.Error("a negative timestamp")
	}
	s.Columns[0].NotNull = true
	bad[7], bad[0] = good[7], nil
	if _, err := s.Encode(bad); err == nil {
		t.Error("NULL in a column that may not be")
	}
	if _, err := s.Encode(good[:3]); err == nil {
		t.Error("too few values")
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text string
		t    types.DataType
		want any
	}{
		{"true", types.DataType_kBool, true},
		{"-32768", types.DataType_kSmallInt, int16(-32768)},
		{"7", types.DataType_kInt, int32(7)},
		{"1528872944000", types.DataType_kBigInt, int64(1528872944000)},
		{"0.1", types.DataType_kFloat, float32(0.1)},
		{"1.5", types.DataType_kDouble, 1.5},
		{"2024-05-17", types.DataType_kDate, Date{2024, 5, 17}},
		{"1", types.DataType_kTimestamp, int64(1)},
		{" x ", types.DataType_kString, " x "},
	} {
		got, err := ParseValue(tt.text, tt.t)
		if err != nil || got != tt.want {
			t.Errorf("ParseValue(%q, %s) = %v, %v", tt.text, TypeName(tt.t), got, err)
		}
		if back := FormatValue(got); back != tt.text {
			t.Errorf("FormatValue(%v) = %q, want %q", got, back, tt.text)
		}
	}
	if got, err := ParseValue("2024-05-17T00:00:00Z", types.DataType_kTimestamp); err != nil || got != int64(1715904000000) {
		t.Errorf("%v, %v", got, err)
	}
	for text, dt := range map[string]types.DataType{
		"32768": types.DataType_kSmallInt, "x": types.DataType_kInt, "": types.DataType_kBigInt, "1e999": types.DataType_kDouble,
		"2023-02-29": types.DataType_kDate, "-1": types.DataType_kTimestamp, "yes": types.DataType_kBool, "a": types.DataType_kMap,
	} {
		if v, err := ParseValue(text, dt); err == nil {
			t.Errorf("%q is a %s: %v", text, TypeName(dt), v)
		}
	}
	for v, want := range map[any]string{nil: NullKey, "": EmptyKey, "a": "a", int32(-1): "-1", Date{2024, 5, 17}: "8127505"} {
		if got := KeyText(v); got != want {
			t.Errorf("KeyText(%v) = %q, want %q", v, got, want)
		}
	}
	for text, want := range map[string]types.DataType{
		"int": types.DataType_kInt, "INT64": types.DataType_kBigInt, "string": types.DataType_kString, "timestamp": types.DataType_kTimestamp,
	} {
		if got, ok := ParseType(text); !ok || got != want {
			t.Errorf("ParseType(%q) = %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "blob", "array", "map"} {
		if got, ok := ParseType(text); ok {
			t.Errorf("ParseType(%q) = %v", text, got)
		}
	}
}

func TestPairs(t *testing.T) {
	rows := [][]byte{[]byte("one"), {}, []byte("three")}
	var scan, traverse []byte
	for i, row := range rows {
		scan = AppendScanPair(scan, uint64(10-i), row)
		traverse = AppendTraversePair(traverse, Pair{Key: strings.Repeat("k", i), Time: uint64(i), Row: row})
	}
	got, err := ScanPairs(scan)
	if err != nil || len(got) != 3 || got[0].Time != 10 || string(got[2].Row) != "three" {
		t.Errorf("%v, %v", got, err)
	}
	got, err = TraversePairs(traverse)
	if err != nil || len(got) != 3 || got[2].Key != "kk" || string(got[0].Row) != "one" {
		t.Errorf("%v, %v", got, err)
	}
	for n := 1; n < len(scan); n++ {
		if got, err := ScanPairs(scan[:n]); err == nil && len(got) == 3 {
			t.Errorf("scan cut at %d: %v", n, got)
		}
	}
	for n := 1; n < len(traverse); n++ {
		if got, err := TraversePairs(traverse[:n]); err == nil && len(got) == 3 {
			t.Errorf("traverse cut at %d: %v", n, got)
		}
	}
}

func FuzzRow(f *testing.F) {
	s := schemaOf(everyType...)
	s.Versions = map[uint8]int{1: len(everyType), 2: 3}
	good, err := s.Encode([]any{true, int16(1), nil, int64(4), float32(5), 6.0, Date{2024, 5, 17}, int64(8), "nine", nil})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1, 2, 8, 0, 0, 0, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := s.Decode(b)
		if err != nil {
			return
		}
		if len(values) != len(everyType) {
			t.Fatalf("%d values", len(values))
		}
		again, err := s.Encode(values)
		if err != nil {
			return // a day that does not exist, a negative time
		}
		back, err := s.Decode(again)
		if err != nil || len(back) != len(values) {
			t.Errorf("what was read and written cannot be read: %v", err)
		}
	})
}

func FuzzPairs(f *testing.F) {
	f.Add(AppendScanPair(nil, 1, []byte("row")))
	f.Add(AppendTraversePair(nil, Pair{Key: "key", Time: 1, Row: []byte("row")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := ScanPairs(b); err == nil {
			var again []byte
			for _, p := range all {
				again = AppendScanPair(again, p.Time, p.Row)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("scan pairs %x became %x", b, again)
			}
		}
		if all, err := TraversePairs(b); err == nil {
			var again []byte
			for _, p := range all {
				again = AppendTraversePair(again, p)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("traverse pairs %x became %x", b, again)
			}
		}
	})
}
