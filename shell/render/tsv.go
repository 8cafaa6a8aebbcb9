package render

import "shardsh/commands/spec"

// tsvDoc writes a header and rows per section, a line each: tabs and line breaks in cells are escaped like every
// other control character.
type tsvDoc struct {
	w    *writing
	sec  *section
	line []byte
}

func openTSV(w *writing) document { return &tsvDoc{w: w} }

func (d *tsvDoc) begin(sec *section) error {
	d.sec = sec
	d.w.commentTitle(sec)
	d.line = d.line[:0]
	for i, c := range sec.columns {
		d.line = appendEscaped(d.next(i), c.Name, "")
	}
	d.flush()
	return nil
}

func (d *tsvDoc) row(cells spec.Row) error {
	d.line = d.line[:0]
	for i, c := range d.sec.columns {
		d.line = appendField(d.next(i), value(c.Kind, cells[i], d.w.EscapeAll), "")
	}
	d.flush()
	return nil
}

// next is the line with the tab before field i.
func (d *tsvDoc) next(i int) []byte {
	if i > 0 {
		return append(d.line, '\t')
	}
	return d.line
}

func (d *tsvDoc) flush() {
	d.line = append(d.line, '\n')
	_, _ = d.w.out.Write(d.line)
}

func (d *tsvDoc) settle() error { return nil }
func (d *tsvDoc) end() error    { return nil }
func (d *tsvDoc) abort()        {}
func (d *tsvDoc) close() error  { return nil }
