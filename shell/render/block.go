package render

import "shardsh/commands/spec"

// Up to here rows are held back to be measured.
const (
	heldRows  = 2000
	heldBytes = 4 << 20
)

// block holds the text of rows in one piece, and the widths of their columns.
type block struct {
	columns int
	text    []byte
	ends    []int // of the cells, in text
	cells   []int // their widths
	widths  []int // of the columns
}

func newBlock(columns []spec.Column) *block {
	b := &block{columns: len(columns), widths: make([]int, len(columns))}
	for i, c := range columns {
		b.widths[i] = width(Escape(c.Name))
	}
	return b
}

func (b *block) add(p *printer, columns []spec.Column, row spec.Row) {
	for i := range columns {
		start := len(b.text)
		b.text = p.append(b.text, &columns[i], row[i])
		w := width(b.text[start:])
		b.widths[i] = max(b.widths[i], w)
		b.cells = append(b.cells, w)
		b.ends = append(b.ends, len(b.text))
	}
}

// rows is the number of rows held; a table without columns holds none.
func (b *block) rows() int { return len(b.ends) / max(1, b.columns) }

// full reports whether more may not be held back.
func (b *block) full() bool { return b.rows() > heldRows || len(b.text) > heldBytes }

func (b *block) cell(row, column int) []byte {
	i := row*b.columns + column
	start := 0
	if i > 0 {
		start = b.ends[i-1]
	}
	return b.text[start:b.ends[i]]
}

func (b *block) cellWidth(row, column int) int { return b.cells[row*b.columns+column] }

// texts copies the cells of a row.
func (b *block) texts(row int) []string {
	cells := make([]string, b.columns)
	for i := range cells {
		cells[i] = string(b.cell(row, i))
	}
	return cells
}
