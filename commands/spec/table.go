package spec

import "iter"

// Table is what a Query answers: declared columns and rows that are produced while they are read. A command with
// several sections answers the first one and hangs the others on More.
type Table struct {
	// Section names the table where there are several, in snake_case; "" for the only one.
	Section string
	Columns []Column
	// Rows may be ranged over once, in whatever goroutine renders it; it heeds the context its Query was given. After an
	// error it yields nothing more; rows before the error stand. A row that was yielded, and the bytes in its cells, are
	// not written to again.
	// A nil Rows is an empty table.
	Rows iter.Seq2[Row, error]
	// Single marks a table that always has exactly one row, a record: machine formats write an object, people see
	// it vertically.
	Single bool
	// Lines keeps every row on a line where people read it: of a table that is too wide cells are cut, and it is not turned
	// into one line per cell.
	Lines bool
	// Notes are sentences for people, written to stderr after the rows. Notes reads them only then, so that a
	// streaming command may say what it counted.
	Notes func() []string
	More  []*Table
	// Text, when set, is the whole answer: a document for another program (a completion script), written as it stands
	// to whatever is not a machine format. Columns and Rows are then empty.
	Text string
}

// Row holds one cell per column. A nil cell means "there is none" (`-` for people, null for machines).
// The dynamic type of a cell follows from its column's Kind.
type Row []any

// Column declares a column. Name is snake_case, stable, and the same in every format; new columns go to the right.
type Column struct {
	Name string
	Kind Kind
	// Unit is shown to people behind a number that has one ("rows/s"); sizes and durations need none.
	Unit string
}

// Kind says what a cell holds and so how it is written: for people (table, vertical, plain, markdown) and for machines.
type Kind int

const (
	Text     Kind = iota // string: names and words
	Bytes                // []byte or string: keys and values; written in the line syntax's \xHH escapes everywhere
	Int                  // int, int32, int64, uint32, uint64
	Float                // float64
	Bool                 // bool: yes/no for people, true/false for machines
	Duration             // time.Duration: 3d4h for people, seconds for machines
	Size                 // int64 bytes: 1.5 MiB for people, a number for machines
	Time                 // time.Time: local time for people, RFC 3339 UTC for machines; the zero time is nil
	List                 // []string: [a,b] for people, an array for machines
	Map                  // map[string]string: k=v,… for people, an object for machines
)

// Columns declares text columns by name.
func Columns(names ...string) []Column {
	cols := make([]Column, len(names))
	for i, name := range names {
		cols[i] = Column{Name: name}
	}
	return cols
}

// RowsOf turns rows already at hand into a sequence.
func RowsOf(rows ...Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Record makes a Single table out of columns and their values.
func Record(columns []Column, cells ...any) *Table {
	return &Table{Columns: columns, Rows: RowsOf(cells), Single: true}
}
