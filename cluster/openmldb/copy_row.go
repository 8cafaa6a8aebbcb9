package openmldb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// CopyRow is a row as it travels between tables of the same columns.
type CopyRow struct {
	// Key is that of the index it was read by, Time is its time there in milliseconds.
	Key  string
	Time uint64
	// Spread is the text of the table's partition key, "" where it has none.
	Spread string `json:",omitempty"`
	// Nth numbers the rows that are equal in all of the above, in the order of their bytes.
	Nth int `json:",omitempty"`
	// Value is the row in its encoding, always of schema version 1 with all columns, and zeros where fixed columns are NULL.
	Value []byte

	// Places, where not nil, are the indexes it is put into.
	Places *RowPlaces `json:"-"`

	// After a crash it may have been written before: doubt of the part, and the row's place there.
	doubt *doubt
	place int64
}

// Values decodes the row by the columns of a table that has them.
func (r CopyRow) Values(t *Table) ([]any, error) { return plain(t).Decode(r.Value) }

// plain is a table's schema with all columns, as version 1.
func plain(t *Table) *wire.Schema { return &wire.Schema{Columns: t.Schema.Columns, Version: 1} }

// normalRow makes a row that came from a table what CopyRow.Value is. It may work in place.
func normalRow(op string, t *Table, row []byte) ([]byte, error) {
	const head = 6 // wire: version of the format, of the schema, size
	columns := len(t.Schema.Columns)
	whole := len(row) >= head+(columns+7)/8
	if whole {
		n, known := t.Schema.Versions[row[1]]
		whole = !known || n == columns
	}
	for i := 0; whole && i < columns; i++ {
		whole = row[head+i/8]&(1<<(i%8)) == 0
	}
	if whole { // no column is missing and none NULL: there is one way to write it
		row[1] = 1
		return row, nil
	}
	values, err := t.Schema.Decode(row)
	if err == nil {
		row, err = t.Plain().Encode(values)
	}
	if err != nil {
		return nil, malformed(op, "", "a row of table %s: %w", t.TableName, err)
	}
	return row, nil
}

// CopyRows compares rows as they travel.
type CopyRows struct{}

var (
	_ transfer.Holder[CopyRow]  = CopyRows{}
	_ transfer.Briefer[CopyRow] = CopyRows{}
)

// Key is made of all that tells rows apart but their values.
func (CopyRows) Key(row CopyRow) []byte {
	b := make([]byte, 0, len(row.Spread)+len(row.Key)+3*binary.MaxVarintLen64)
	b = binary.AppendUvarint(b, uint64(len(row.Spread)))
	b = append(b, row.Spread...)
	b = binary.AppendUvarint(b, uint64(len(row.Key)))
	b = append(b, row.Key...)
	b = binary.BigEndian.AppendUint64(b, row.Time)
	return binary.AppendUvarint(b, uint64(row.Nth))
}

// Sum is of key, time and value. Journals depend on it.
func (r CopyRows) Sum(row CopyRow) uint64 {
	key := xxhash.Sum64(r.Key(row))
	return (key<<31 | key>>33) + xxhash.Sum64(row.Value)
}

// Compare compares two rows of the same key. When they expire is up to the table they are in.
func (CopyRows) Compare(a, b CopyRow) transfer.Difference {
	if bytes.Equal(a.Value, b.Value) {
		return transfer.Same
	}
	return transfer.Different
}

// Size is what a row has in bytes.
func (CopyRows) Size(row CopyRow) int { return len(row.Key) + len(row.Spread) + len(row.Value) + 80 }

// Clone copies a row out of the answer that it came in.
func (CopyRows) Clone(row CopyRow) CopyRow {
	row.Key, row.Spread, row.Value = strings.Clone(row.Key), strings.Clone(row.Spread), bytes.Clone(row.Value)
	return row
}

// longestBrief is the longest row that is handed over for a list of differences; the value of a longer one is left out.
const longestBrief = 4096

// Brief leaves out what is too long to be listed.
func (CopyRows) Brief(row CopyRow) CopyRow {
	if len(row.Value) > longestBrief {
		row.Value = nil
	}
	return row
}

// SameLayout says why rows of a table cannot be those of another one: nil, or an error that names the difference.
func SameLayout(a, b *Table) error {
	differ := func(format string, args ...any) error {
		return spec.Errorf(spec.Refused, "the tables are not alike: "+format, args...)
	}
	for i, c := range a.Schema.Columns {
		if i >= len(b.Schema.Columns) {
			return differ("%s has no column %s", b.TableName, c.Name)
		}
		o := b.Schema.Columns[i]
		if o.Name != c.Name {
			return differ("column %d is %s of %s, and %s of %s", i+1, c.Name, a.TableName, o.Name, b.TableName)
		}
		if o.Type != c.Type {
			return differ("column %s is a %s of %s, and a %s of %s", c.Name, wire.TypeName(c.Type), a.TableName, wire.TypeName(o.Type), b.TableName)
		}
	}
	if len(b.Schema.Columns) > len(a.Schema.Columns) {
		return differ("%s has no column %s", a.TableName, b.Schema.Columns[len(a.Schema.Columns)].Name)
	}
	if !slices.Equal(a.PartitionKey, b.PartitionKey) {
		return differ("the partition key is %s of %s, and %s of %s", keyNames(a.PartitionKey), a.TableName, keyNames(b.PartitionKey), b.TableName)
	}
	return nil
}

func keyNames(columns []string) string {
	if len(columns) == 0 {
		return "that of each index"
	}
	return strings.Join(columns, ", ")
}

// SameIndex finds in a table the index that is made like one of another table.
func SameIndex(t *Table, x Index) error {
	at := slices.IndexFunc(t.Indexes, func(o Index) bool { return o.Name == x.Name })
	if at < 0 {
		return spec.Errorf(spec.Refused, "the tables are not alike: %s has no index %s", t.TableName, x.Name)
	}
	o := t.Indexes[at]
	if !slices.Equal(o.Columns, x.Columns) || o.TimeColumn != x.TimeColumn {
		return spec.Errorf(spec.Refused, "the tables are not alike: index %s of %s is %s, not %s", x.Name, t.TableName, shapeOf(o), shapeOf(x))
	}
	return nil
}

func shapeOf(x Index) string {
	text := "on " + strings.Join(x.Columns, ", ")
	if x.TimeColumn != "" {
		text += " by " + x.TimeColumn
	}
	return text
}

// FullestIndex is the index that rows stay in longest: the first of those where they never expire, else one that
// outlives all others as far as their TTLs can be compared. sure says that no row is in another index only.
func FullestIndex(t *Table) (x Index, sure bool, err error) {
	if len(t.Indexes) == 0 {
		return Index{}, false, fmt.Errorf("table %s has no index", t.TableName)
	}
	best := 0
	for i := range t.Indexes {
		if !outlives(t.Indexes[best].TTL, t.Indexes[i].TTL) && outlives(t.Indexes[i].TTL, t.Indexes[best].TTL) {
			best = i
		}
	}
	return t.Indexes[best], Fullest(t, t.Indexes[best]), nil
}

// Fullest says that rows stay in an index at least as long as in all others.
func Fullest(t *Table, x Index) bool {
	for _, o := range t.Indexes {
		if o.Name != x.Name && !outlives(x.TTL, o.TTL) {
			return false
		}
		// How many versions a key may have means another thing where other rows have that key.
		if o.Name != x.Name && !x.TTL.forever() && x.TTL.Type != "kAbsoluteTime" && !slices.Equal(o.Columns, x.Columns) {
			return false
		}
	}
	return true
}

// forever says that no row expires.
func (t TTL) forever() bool {
	switch t.Type {
	case "kLatestTime":
		return t.Versions == 0
	case "kAbsAndLat":
		return t.Minutes == 0 || t.Versions == 0
	case "kAbsOrLat":
		return t.Minutes == 0 && t.Versions == 0
	}
	return t.Minutes == 0
}

// outlives says that what one TTL lets expire so does the other, at the same moment or before.
func outlives(a, b TTL) bool {
	atLeast := func(x, y uint64) bool { return x == 0 || y != 0 && x >= y }
	switch {
	case a.forever():
		return true
	case b.forever() || a.Type != b.Type:
		return false
	}
	return atLeast(a.Minutes, b.Minutes) && atLeast(a.Versions, b.Versions)
}
