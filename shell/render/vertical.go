package render

import (
	"fmt"
	"strings"

	"shardsh/commands/spec"
)

// verticalDoc writes a block per row and a line per column; it holds nothing back.
type verticalDoc struct {
	w      *writing
	sec    *section
	n      int64
	rows   recordWriter // names at the right, under a line that counts
	record recordWriter // names at the left
}

func openVertical(w *writing) document { return newVertical(w) }

func newVertical(w *writing) *verticalDoc {
	p := newPrinter(w.Options)
	p.lines = true
	return &verticalDoc{
		w:      w,
		rows:   recordWriter{w: w, print: p, separator: ": ", right: true},
		record: recordWriter{w: w, print: p, separator: " : "},
	}
}

func (d *verticalDoc) begin(sec *section) error {
	d.w.sectionTitle(sec)
	d.sec, d.n = sec, 0
	return nil
}

func (d *verticalDoc) row(cells spec.Row) error {
	if d.sec.single {
		d.record.row(d.sec, cells)
		return nil
	}
	d.n++
	stars := strings.Repeat("*", 17)
	_, _ = fmt.Fprintf(d.w.out, "%s %d. row %s\n", stars, d.n, stars)
	d.rows.row(d.sec, cells)
	return nil
}

func (d *verticalDoc) settle() error { return nil }
func (d *verticalDoc) end() error    { return nil }
func (d *verticalDoc) abort()        {}
func (d *verticalDoc) close() error  { return nil }
