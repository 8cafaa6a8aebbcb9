package render

import (
	"strings"

	"shardsh/commands/spec"
)

// aligner writes rows in columns of given widths; a longer cell pushes the rest of its line to the right.
type aligner struct {
	w       *writing
	print   *printer
	columns []spec.Column
	widths  []int
	limits  []int // what cells are cut to, nil for none
	isCut   bool  // some cell was
	// What stands before the first cell, between two, and after the last one.
	before, between, after string
	line, text             []byte
}

const (
	columnGap = "  "
	blanks    = "                                                                "
)

func (a *aligner) header() {
	a.line = append(a.line[:0], a.before...)
	for i, c := range a.columns {
		name := a.fit(i, Escape(c.Name))
		putText(a, i, a.w.emphasize(name), width(name), numeric(c.Kind))
	}
	a.flush()
}

// row writes cells that were not measured before.
func (a *aligner) row(cells spec.Row) {
	a.line = append(a.line[:0], a.before...)
	for i := range a.columns {
		a.text = a.print.append(a.text[:0], &a.columns[i], cells[i])
		a.cell(i, a.text, width(a.text))
	}
	a.flush()
}

// held writes a row of a block.
func (a *aligner) held(b *block, row int) {
	a.line = append(a.line[:0], a.before...)
	for i := range a.columns {
		a.cell(i, b.cell(row, i), b.cellWidth(row, i))
	}
	a.flush()
}

func (a *aligner) cell(i int, text []byte, w int) {
	right := numeric(a.columns[i].Kind)
	if a.limits == nil || w <= a.limits[i] {
		putText(a, i, text, w, right)
		return
	}
	short := a.fit(i, string(text))
	putText(a, i, short, width(short), right)
}

func (a *aligner) fit(i int, text string) string {
	if a.limits == nil || width(text) <= a.limits[i] {
		return text
	}
	a.isCut = true
	return cut(text, a.limits[i])
}

// putText appends cell i to the line, w columns wide.
func putText[T string | []byte](a *aligner, i int, text T, w int, right bool) {
	if i > 0 {
		a.line = append(a.line, a.between...)
	}
	pad := a.widths[i] - w
	if right {
		a.pad(pad)
	}
	a.line = append(a.line, text...)
	if !right && (i < len(a.widths)-1 || a.after != "") {
		a.pad(pad)
	}
}

func (a *aligner) pad(n int) {
	for ; n > len(blanks); n -= len(blanks) {
		a.line = append(a.line, blanks...)
	}
	if n > 0 {
		a.line = append(a.line, blanks[:n]...)
	}
}

func (a *aligner) flush() {
	a.line = append(append(a.line, a.after...), '\n')
	_, _ = a.w.out.Write(a.line)
}

// numeric kinds stand at the right of their column.
func numeric(k spec.Kind) bool { return k == spec.Int || k == spec.Float || k == spec.Size }

// plainDoc measures the first rows, then streams.
type plainDoc struct {
	w     *writing
	print *printer
	sec   *section
	held  *block
	align *aligner
	names recordWriter
}

func openPlain(w *writing) document {
	w.Color = false // programs read it too
	p := newPrinter(w.Options)
	p.plain = true
	return &plainDoc{w: w, print: p, names: recordWriter{w: w, print: p, separator: columnGap}}
}

func (d *plainDoc) begin(sec *section) error {
	d.w.sectionTitle(sec)
	d.sec, d.held, d.align = sec, newBlock(sec.columns), nil
	return nil
}

func (d *plainDoc) row(cells spec.Row) error {
	switch {
	case d.sec.single:
		d.names.row(d.sec, cells)
	case d.align != nil:
		d.align.row(cells)
	default:
		d.held.add(d.print, d.sec.columns, cells)
		if d.held.full() {
			return d.settle()
		}
	}
	return nil
}

func (d *plainDoc) settle() error {
	if d.sec.single || d.align != nil {
		return nil
	}
	d.align = &aligner{w: d.w, print: d.print, columns: d.sec.columns, widths: d.held.widths, between: columnGap}
	d.align.header()
	for row := range d.held.rows() {
		d.align.held(d.held, row)
	}
	d.held = nil
	return nil
}

func (d *plainDoc) end() error   { return d.settle() }
func (d *plainDoc) abort()       { _ = d.settle() }
func (d *plainDoc) close() error { return nil }

// sectionTitle writes `[section]`, with an empty line before all but the first.
func (w *writing) sectionTitle(sec *section) {
	if sec.name == "" {
		return
	}
	if !sec.first {
		_ = w.out.WriteByte('\n')
	}
	_, _ = w.out.WriteString(w.emphasize("["+Escape(sec.name)+"]") + "\n")
}

// recordWriter writes a record, a column per line.
type recordWriter struct {
	w         *writing
	print     *printer
	separator string // between name and value
	right     bool   // names stand at the right
	line      []byte
}

func (r *recordWriter) row(sec *section, cells spec.Row) {
	names := make([]string, len(sec.columns))
	widest := 0
	for i, c := range sec.columns {
		names[i] = Escape(c.Name)
		widest = max(widest, width(names[i]))
	}
	indent := strings.Repeat(" ", widest+len(r.separator))
	for i := range sec.columns {
		pad := strings.Repeat(" ", widest-width(names[i]))
		r.line = r.line[:0]
		if r.right {
			r.line = append(r.line, pad...)
		}
		r.line = append(r.line, r.w.emphasize(names[i])...)
		if !r.right {
			r.line = append(r.line, pad...)
		}
		r.line = append(r.line, r.separator...)
		start := len(r.line)
		r.line = r.print.append(r.line, &sec.columns[i], cells[i])
		text := strings.TrimSuffix(string(r.line[start:]), "\n")
		if r.w.Terminal && sec.columns[i].Kind == spec.Text && !r.print.plain {
			text = wrap(text, r.w.Width-len(indent))
		}
		text = strings.ReplaceAll(text, "\n", "\n"+indent)
		_, _ = r.w.out.Write(r.line[:start])
		_, _ = r.w.out.WriteString(text)
		_ = r.w.out.WriteByte('\n')
	}
}

// narrowText is the width below which text is not wrapped: it would be a column of single words.
const narrowText = 20

// wrap breaks sentences at blanks into lines of at most room columns. Words longer than that stand alone.
func wrap(text string, room int) string {
	if room < narrowText || width(text) <= room || !strings.Contains(text, " ") {
		return text
	}
	var b strings.Builder
	used := 0
	for i, word := range strings.Split(text, " ") {
		w := width(word)
		switch {
		case i == 0:
		case used+1+w > room:
			b.WriteByte('\n')
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += w
	}
	return b.String()
}
