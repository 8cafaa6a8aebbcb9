package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"shardsh/cluster/openmldb/pb/types"
)

// A row on the wire, little endian throughout:
//
//	format version (1) · schema version (1) · size (4) · null bitmap · fixed columns · string offsets · strings
//
// The null bitmap has a bit a column, lowest first, and its padding bits are 1. Fixed columns stand in column order, a
// NULL keeps its bytes. String offsets count from the row's first byte, 1 to 4 bytes wide by the row's size; a NULL
// string has an offset, too, which ends the string before it. The clients of the store leave that of the first string 0
// when it is NULL. Offsets of 3 bytes are big endian, alone among all numbers.

// rowHead is what stands before the null bitmap.
const rowHead = 6

// formatVersion is the only one there is.
const formatVersion = 1

// MaxRow bounds a row: a request that carries it must fit a frame.
const MaxRow = MaxBody / 2

// Column is a column as rows know it.
type Column struct {
	Name    string
	Type    types.DataType
	NotNull bool
}

// Date is a day of kDate; the zero Date is none.
type Date struct {
	Year, Month, Day int
}

// Schema is a table's columns in order, and which of them the rows of a schema version have.
type Schema struct {
	Columns []Column
	// Versions maps a schema version to its number of columns; a version that is missing has all of them.
	Versions map[uint8]int
	// Version is what Encode writes; 0 means 1.
	Version uint8
}

// Encode makes a row of values, one a column; nil is NULL. The Go types of values are bool, int16, int32, int64 (also
// for timestamps, in milliseconds), float32, float64, Date and string.
func (s *Schema) Encode(values []any) ([]byte, error) {
	if len(values) != len(s.Columns) {
		return nil, fmt.Errorf("%d values for %d columns", len(values), len(s.Columns))
	}
	fixed, texts, length := s.measure(values)
	width := offsetWidth(fixed, texts, length)
	size := fixed + texts*width + length
	if size > MaxRow {
		return nil, fmt.Errorf("a row of %d bytes is longer than %d", size, MaxRow)
	}
	row := make([]byte, size)
	row[0], row[1] = formatVersion, max(s.Version, 1)
	binary.LittleEndian.PutUint32(row[2:], uint32(size))
	bitmap := row[rowHead : rowHead+bitmapSize(len(s.Columns))]
	for i := range bitmap {
		bitmap[i] = 0xff
	}
	at, offset, text := rowHead+len(bitmap), fixed, fixed+texts*width
	for i, c := range s.Columns {
		v := values[i]
		if v == nil && c.NotNull {
			return nil, fmt.Errorf("column %s may not be NULL", c.Name)
		}
		if v != nil {
			bitmap[i/8] &^= 1 << (i % 8)
		}
		if isText(c.Type) {
			putOffset(row[offset:], text, width)
			offset += width
			if s, ok := v.(string); ok {
				text += copy(row[text:], s)
			} else if v != nil {
				return nil, mismatch(c, v)
			}
			continue
		}
		n := fixedSize(c.Type)
		if n == 0 {
			return nil, fmt.Errorf("column %s: values of type %s cannot be written", c.Name, TypeName(c.Type))
		}
		if v != nil {
			if err := putFixed(row[at:at+n], c, v); err != nil {
				return nil, err
			}
		}
		at += n
	}
	return row, nil
}

// measure sums up what stands before the string offsets, the number of strings and their length.
func (s *Schema) measure(values []any) (fixed, texts, length int) {
	fixed = rowHead + bitmapSize(len(s.Columns))
	for i, c := range s.Columns {
		if !isText(c.Type) {
			fixed += fixedSize(c.Type)
			continue
		}
		texts++
		if s, ok := values[i].(string); ok {
			length += len(s)
		}
	}
	return fixed, texts, length
}

func bitmapSize(columns int) int { return (columns + 7) / 8 }

func isText(t types.DataType) bool {
	return t == types.DataType_kString || t == types.DataType_kVarchar
}

// fixedSize is how many bytes a value of a type takes, 0 for types that have no fixed size.
func fixedSize(t types.DataType) int {
	switch t {
	case types.DataType_kBool:
		return 1
	case types.DataType_kSmallInt:
		return 2
	case types.DataType_kInt, types.DataType_kFloat, types.DataType_kDate:
		return 4
	case types.DataType_kBigInt, types.DataType_kDouble, types.DataType_kTimestamp:
		return 8
	}
	return 0
}

// offsetWidth is the smallest width whose row still fits what it can address.
func offsetWidth(fixed, texts, length int) int {
	for width, limit := range []int{math.MaxUint8, math.MaxUint16, 1<<24 - 1} {
		if fixed+texts*(width+1)+length <= limit {
			return width + 1
		}
	}
	return 4
}

// widthOf is the width of the string offsets of a row of that size.
func widthOf(size int) int {
	switch {
	case size <= math.MaxUint8:
		return 1
	case size <= math.MaxUint16:
		return 2
	case size < 1<<24:
		return 3
	}
	return 4
}

func putOffset(b []byte, offset, width int) {
	switch width {
	case 1:
		b[0] = byte(offset)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(offset))
	case 3:
		b[0], b[1], b[2] = byte(offset>>16), byte(offset>>8), byte(offset)
	default:
		binary.LittleEndian.PutUint32(b, uint32(offset))
	}
}

func getOffset(b []byte, width int) int {
	switch width {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.LittleEndian.Uint16(b))
	case 3:
		return int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	}
	return int(binary.LittleEndian.Uint32(b))
}

func mismatch(c Column, v any) error {
	return fmt.Errorf("column %s is a %s, not a %T", c.Name, TypeName(c.Type), v)
}

func putFixed(b []byte, c Column, v any) error {
	ok := false
	switch c.Type {
	case types.DataType_kBool:
		var x bool
		if x, ok = v.(bool); x {
			b[0] = 1
		}
	case types.DataType_kSmallInt:
		var x int16
		x, ok = v.(int16)
		binary.LittleEndian.PutUint16(b, uint16(x))
	case types.DataType_kInt:
		var x int32
		x, ok = v.(int32)
		binary.LittleEndian.PutUint32(b, uint32(x))
	case types.DataType_kBigInt, types.DataType_kTimestamp:
		var x int64
		x, ok = v.(int64)
		if ok && x < 0 && c.Type == types.DataType_kTimestamp {
			return fmt.Errorf("column %s: a timestamp is not negative", c.Name)
		}
		binary.LittleEndian.PutUint64(b, uint64(x))
	case types.DataType_kFloat:
		var x float32
		x, ok = v.(float32)
		binary.LittleEndian.PutUint32(b, math.Float32bits(x))
	case types.DataType_kDouble:
		var x float64
		x, ok = v.(float64)
		binary.LittleEndian.PutUint64(b, math.Float64bits(x))
	case types.DataType_kDate:
		var x Date
		x, ok = v.(Date)
		if ok && !x.valid() {
			return fmt.Errorf("column %s: %v is no day from 1900 on", c.Name, x)
		}
		binary.LittleEndian.PutUint32(b, x.pack())
	}
	if !ok {
		return mismatch(c, v)
	}
	return nil
}

func (d Date) pack() uint32 {
	return uint32(d.Year-1900)<<16 | uint32(d.Month-1)<<8 | uint32(d.Day)
}

func unpackDate(n uint32) Date {
	return Date{Year: int(n>>16) + 1900, Month: int(n>>8&0xff) + 1, Day: int(n & 0xff)}
}

func (d Date) valid() bool {
	t := time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC)
	return d.Year >= 1900 && d.Year < 10000 && t.Year() == d.Year && int(t.Month()) == d.Month && t.Day() == d.Day
}

func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// Decode is the inverse of Encode. Columns that the row's schema version does not have are NULL. Strings are copied.
func (s *Schema) Decode(row []byte) ([]any, error) {
	if len(row) < rowHead || row[0] != formatVersion {
		return nil, fmt.Errorf("a row of %d bytes has no head", len(row))
	}
	if size := binary.LittleEndian.Uint32(row[2:]); uint64(size) != uint64(len(row)) {
		return nil, fmt.Errorf("a row of %d bytes says that it has %d", len(row), size)
	}
	columns := s.Columns
	if n, known := s.Versions[row[1]]; known {
		if n < 0 || n > len(columns) {
			return nil, fmt.Errorf("schema version %d has %d columns of %d", row[1], n, len(columns))
		}
		columns = columns[:n]
	}
	fixed, texts := rowHead+bitmapSize(len(columns)), 0
	for _, c := range columns {
		if isText(c.Type) {
			texts++
		} else if n := fixedSize(c.Type); n > 0 {
			fixed += n
		} else {
			return nil, fmt.Errorf("column %s: values of type %s cannot be read", c.Name, TypeName(c.Type))
		}
	}
	width := widthOf(len(row))
	if fixed+texts*width > len(row) {
		return nil, fmt.Errorf("a row of %d bytes is too short for its %d columns", len(row), len(columns))
	}
	values := make([]any, len(s.Columns))
	at, offset := rowHead+bitmapSize(len(columns)), fixed
	for i, c := range columns {
		null := row[rowHead+i/8]&(1<<(i%8)) != 0
		if !isText(c.Type) {
			n := fixedSize(c.Type)
			if !null {
				values[i] = getFixed(row[at:at+n], c.Type)
			}
			at += n
			continue
		}
		begin, end := getOffset(row[offset:], width), len(row)
		if offset += width; offset < fixed+texts*width {
			end = getOffset(row[offset:], width)
		}
		if null {
			continue // whatever its offset is
		}
		if begin < fixed+texts*width || begin > end || end > len(row) {
			return nil, fmt.Errorf("column %s: its text reaches from %d to %d in a row of %d bytes", c.Name, begin, end, len(row))
		}
		values[i] = string(row[begin:end])
	}
	return values, nil
}

func getFixed(b []byte, t types.DataType) any {
	switch t {
	case types.DataType_kBool:
		return b[0] != 0
	case types.DataType_kSmallInt:
		return int16(binary.LittleEndian.Uint16(b))
	case types.DataType_kInt:
		return int32(binary.LittleEndian.Uint32(b))
	case types.DataType_kFloat:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case types.DataType_kDouble:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case types.DataType_kDate:
		return unpackDate(binary.LittleEndian.Uint32(b))
	}
	return int64(binary.LittleEndian.Uint64(b))
}

// TypeName is how people write a type: "bigint".
func TypeName(t types.DataType) string { return strings.ToLower(strings.TrimPrefix(t.String(), "k")) }

// ParseType reads a type as ns_client takes it, with the names of older releases (int16, int32, int64, long, str).
func ParseType(text string) (types.DataType, bool) {
	switch strings.ToLower(text) {
	case "int16":
		return types.DataType_kSmallInt, true
	case "int32":
		return types.DataType_kInt, true
	case "int64", "long":
		return types.DataType_kBigInt, true
	case "str":
		return types.DataType_kString, true
	}
	for n := range types.DataType_name {
		if t := types.DataType(n); TypeName(t) == strings.ToLower(text) && (isText(t) || fixedSize(t) > 0) {
			return t, true
		}
	}
	return 0, false
}
