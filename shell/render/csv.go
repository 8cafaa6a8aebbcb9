package render

import (
	"encoding/csv"
	"strconv"

	"shardsh/commands/spec"
)

// csvDoc writes a header and rows per section. Line breaks stay, within quotes; other control characters are escaped.
type csvDoc struct {
	w      *writing
	sec    *section
	csv    *csv.Writer
	fields []string
	text   []byte
}

func openCSV(w *writing) document { return &csvDoc{w: w, csv: csv.NewWriter(w.out)} }

func (d *csvDoc) begin(sec *section) error {
	d.sec = sec
	d.w.commentTitle(sec)
	d.fields = d.fields[:0]
	for _, c := range sec.columns {
		d.fields = append(d.fields, Escape(c.Name))
	}
	return d.write()
}

// commentTitle writes `# section`, after an empty line between sections.
func (w *writing) commentTitle(sec *section) {
	if sec.name == "" {
		return
	}
	if !sec.first {
		_ = w.out.WriteByte('\n')
	}
	_, _ = w.out.WriteString("# " + Escape(sec.name) + "\n")
}

func (d *csvDoc) row(cells spec.Row) error {
	d.fields = d.fields[:0]
	for i, c := range d.sec.columns {
		d.text = appendField(d.text[:0], value(c.Kind, cells[i], d.w.EscapeAll), "\n")
		d.fields = append(d.fields, string(d.text))
	}
	return d.write()
}

func (d *csvDoc) write() error {
	if len(d.fields) == 1 && d.fields[0] == "" {
		_, _ = d.w.out.WriteString("\"\"\n") // readers skip empty lines
		return nil
	}
	_ = d.csv.Write(d.fields) // the error is kept by the sink
	d.csv.Flush()
	return nil
}

func (d *csvDoc) settle() error { return nil }
func (d *csvDoc) end() error    { return nil }
func (d *csvDoc) abort()        {}
func (d *csvDoc) close() error  { return nil }

// appendField writes what Value answers as a field of csv and tsv: nothing as an empty field, lists and maps as JSON,
// text escaped but for the characters in keep.
func appendField(dst []byte, value any, keep string) []byte {
	switch v := value.(type) {
	case nil:
		return dst
	case string:
		return appendEscaped(dst, v, keep)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	}
	return appendJSON(dst, value)
}
