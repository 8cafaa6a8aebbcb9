package render

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"shardsh/commands/spec"
)

// yamlDoc writes a sequence of mappings, item by item, a mapping for a record.
type yamlDoc struct {
	w      *writing
	sec    *section
	keys   []string
	n      int
	line   []byte
	quoted map[string]string // scalars the library was asked for
}

// quotedKept bounds the memory of scalars already asked for: endpoints and names come again in every row.
const quotedKept = 1024

func openYAML(w *writing) document { return &yamlDoc{w: w, quoted: map[string]string{}} }

func (d *yamlDoc) begin(sec *section) error {
	d.sec, d.n, d.keys = sec, 0, nil
	for _, c := range sec.columns {
		d.keys = append(d.keys, d.scalar(c.Name)+":")
	}
	if sec.name != "" {
		_, _ = d.w.out.WriteString(d.scalar(sec.name) + ":")
	}
	return nil
}

func (d *yamlDoc) row(cells spec.Row) error {
	d.line = d.line[:0]
	if d.n == 0 && d.sec.name != "" {
		d.line = append(d.line, '\n')
	}
	d.n++
	first, next := "- ", "  "
	if d.sec.single {
		first = ""
		if next = ""; d.sec.name != "" {
			first, next = "  ", "  "
		}
	}
	for i, key := range d.keys {
		if i == 0 {
			d.line = append(d.line, first...)
		} else {
			d.line = append(d.line, next...)
		}
		d.line = append(append(d.line, key...), ' ')
		d.line = d.append(d.line, value(d.sec.columns[i].Kind, cells[i], d.w.EscapeAll))
		d.line = append(d.line, '\n')
	}
	if len(d.keys) == 0 {
		d.line = append(append(d.line, first...), "{}\n"...)
	}
	_, _ = d.w.out.Write(d.line)
	return nil
}

func (d *yamlDoc) settle() error { return nil }
func (d *yamlDoc) abort()        {}
func (d *yamlDoc) close() error  { return nil }

func (d *yamlDoc) end() error {
	if d.n > 0 {
		return nil
	}
	text := "[]\n"
	if d.sec.single {
		text = "null\n"
	}
	if d.sec.name != "" {
		text = " " + text
	}
	_, _ = d.w.out.WriteString(text)
	return nil
}

func (d *yamlDoc) append(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return append(dst, d.scalar(v)...)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(dst, "null"...)
		}
		text := strconv.FormatFloat(v, 'g', -1, 64)
		return append(dst, text...)
	}
	// JSON is YAML: lists and maps stand in flow style, numbers and words as they are.
	return appendYAMLFlow(dst, value)
}

// appendYAMLFlow is appendJSON but for the escape of characters beyond 16 bits, which YAML has no surrogates for.
func appendYAMLFlow(dst []byte, value any) []byte {
	switch v := value.(type) {
	case []string:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = appendYAMLText(dst, item)
		}
		return append(dst, ']')
	case map[string]string:
		dst = append(dst, '{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(appendYAMLText(dst, key), ": "...)
			dst = appendYAMLText(dst, v[key])
		}
		return append(dst, '}')
	}
	return appendJSON(dst, value)
}

// scalar writes a string on one line, quoted as YAML needs it.
func (d *yamlDoc) scalar(s string) string {
	if yamlWord(s) {
		return s
	}
	if text, ok := d.quoted[s]; ok {
		return text
	}
	text := ""
	if oneLine(s) {
		if out, err := yaml.Marshal(s); err == nil {
			text = string(bytes.TrimSuffix(out, []byte("\n")))
		}
	}
	if text == "" || strings.Contains(text, "\n") {
		text = string(appendYAMLText(nil, s))
	}
	if len(d.quoted) < quotedKept && len(s) <= 128 {
		d.quoted[s] = text
	}
	return text
}

// yamlWord reports whether s is a plain scalar in every context and no other type's word.
func yamlWord(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return false
	}
	return true
}

func oneLine(s string) bool {
	for _, r := range s {
		if !visible(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// appendYAMLText writes a double-quoted scalar; bytes that are no UTF-8 become U+FFFD.
func appendYAMLText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case visible(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			dst = appendHexNumber(append(dst, `\U`...), uint32(r), 8)
		default:
			dst = appendHexNumber(append(dst, `\u`...), uint32(r), 4)
		}
	}
	return append(dst, '"')
}
