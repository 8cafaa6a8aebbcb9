package render

import (
	"strings"

	"github.com/olekukonko/tablewriter/renderer"

	"shardsh/commands/spec"
)

// markdownDoc writes pipe tables: by tablewriter when it can measure all rows, by the aligner otherwise.
type markdownDoc struct {
	w     *writing
	print *printer
	sec   *section
	rows  [][]string // held back, already escaped
	size  int
	align *aligner
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, `|`, `\|`, `<`, `\<`, `*`, `\*`, "`", "\\`")

// recordColumns head a record.
var recordColumns = []spec.Column{{Name: "name"}, {Name: "value"}}

func openMarkdown(w *writing) document { return &markdownDoc{w: w, print: newPrinter(w.Options)} }

func (d *markdownDoc) begin(sec *section) error {
	d.sec, d.rows, d.size, d.align = sec, nil, 0, nil
	if sec.name != "" {
		if !sec.first {
			_ = d.w.out.WriteByte('\n')
		}
		_, _ = d.w.out.WriteString("### " + markdownText(sec.name) + "\n\n")
	}
	return nil
}

func markdownText(text string) string { return markdownEscapes.Replace(Escape(text)) }

func (d *markdownDoc) cell(i int, cell any) string {
	return markdownEscapes.Replace(string(d.print.append(nil, &d.sec.columns[i], cell)))
}

func (d *markdownDoc) row(cells spec.Row) error {
	if d.sec.single {
		for i, c := range d.sec.columns {
			d.rows = append(d.rows, []string{markdownText(c.Name), d.cell(i, cells[i])})
		}
		return nil
	}
	row := make([]string, len(cells))
	for i := range cells {
		row[i] = d.cell(i, cells[i])
		d.size += len(row[i])
	}
	if d.align != nil {
		d.line(row)
		return nil
	}
	d.rows = append(d.rows, row)
	if len(d.rows) > heldRows || d.size > heldBytes {
		return d.settle()
	}
	return nil
}

func (d *markdownDoc) columns() []spec.Column {
	if d.sec.single {
		return recordColumns
	}
	return d.sec.columns
}

func (d *markdownDoc) settle() error {
	if d.sec.single || d.align != nil {
		return nil
	}
	header := make([]string, len(d.sec.columns))
	widths := make([]int, len(header))
	for i, c := range d.sec.columns {
		header[i] = markdownText(c.Name)
		widths[i] = max(3, width(header[i]))
	}
	for _, row := range d.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	d.align = &aligner{w: d.w, columns: d.sec.columns, widths: widths, before: "| ", between: " | ", after: " |"}
	d.line(header)
	for i, c := range d.sec.columns {
		if numeric(c.Kind) {
			header[i] = strings.Repeat("-", widths[i]-1) + ":"
		} else {
			header[i] = ":" + strings.Repeat("-", widths[i]-1)
		}
	}
	d.line(header)
	for _, row := range d.rows {
		d.line(row)
	}
	d.rows = nil
	return nil
}

func (d *markdownDoc) line(cells []string) {
	d.align.line = append(d.align.line[:0], d.align.before...)
	for i, cell := range cells {
		putText(d.align, i, cell, width(cell), numeric(d.align.columns[i].Kind))
	}
	d.align.flush()
}

func (d *markdownDoc) end() error {
	columns := d.columns()
	if d.align != nil || len(columns) == 0 {
		return nil
	}
	t := newTablewriter(d.w, columns, renderer.NewMarkdown())
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = markdownText(c.Name)
	}
	t.Header(header)
	for _, row := range d.rows {
		if err := t.Append(row); err != nil {
			return spec.Errorf(spec.Failed, "draw the table: %w", err)
		}
	}
	if err := t.Render(); err != nil {
		return spec.Errorf(spec.Failed, "draw the table: %w", err)
	}
	return nil
}

func (d *markdownDoc) abort()       { _ = d.end() }
func (d *markdownDoc) close() error { return nil }
