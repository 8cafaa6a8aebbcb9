package render

import "shardsh/commands/spec"

// jsonlDoc writes an object per line.
type jsonlDoc struct {
	w      *writing
	sec    *section
	prefix []byte
	keys   [][]byte
	line   []byte
}

func openJSONL(w *writing) document { return &jsonlDoc{w: w} }

func (d *jsonlDoc) begin(sec *section) error {
	d.sec, d.keys, d.prefix = sec, jsonKeys(sec.columns), append(d.prefix[:0], '{')
	if sec.name != "" {
		d.prefix = appendJSONText(append(d.prefix, `"section":`...), sec.name)
		if len(sec.columns) > 0 {
			d.prefix = append(d.prefix, ',')
		}
	}
	return nil
}

func (d *jsonlDoc) row(cells spec.Row) error {
	d.line = append(d.line[:0], d.prefix...)
	d.line = appendJSONCells(d.line, d.w.Options, d.sec, d.keys, cells)
	_, _ = d.w.out.Write(append(d.line, "}\n"...))
	return nil
}

func (d *jsonlDoc) settle() error { return nil }
func (d *jsonlDoc) end() error    { return nil }
func (d *jsonlDoc) abort()        {}
func (d *jsonlDoc) close() error  { return nil }
