package render

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"shardsh/commands/spec"
)

// jsonDoc writes one document. It is closed only by close, so a reader can tell a stream that broke off.
type jsonDoc struct {
	w    *writing
	sec  *section
	keys [][]byte // `"name":` of the columns
	n    int
	line []byte
}

func openJSON(w *writing) document { return &jsonDoc{w: w} }

func (d *jsonDoc) begin(sec *section) error {
	d.sec, d.n, d.keys = sec, 0, jsonKeys(sec.columns)
	d.line = d.line[:0]
	if sec.name != "" {
		if sec.first {
			d.line = append(d.line, "{\n"...)
		} else {
			d.line = append(d.line, ",\n"...)
		}
		d.line = append(appendJSONText(d.line, sec.name), ':')
	}
	if !sec.single {
		d.line = append(d.line, '[')
	}
	_, _ = d.w.out.Write(d.line)
	return nil
}

func jsonKeys(columns []spec.Column) [][]byte {
	keys := make([][]byte, len(columns))
	for i, c := range columns {
		keys[i] = append(appendJSONText(nil, c.Name), ':')
	}
	return keys
}

func (d *jsonDoc) row(cells spec.Row) error {
	d.line = d.line[:0]
	if !d.sec.single {
		if d.n > 0 {
			d.line = append(d.line, ',')
		}
		d.line = append(d.line, "\n  "...)
	}
	d.n++
	d.line = append(d.line, '{')
	d.line = appendJSONCells(d.line, d.w.Options, d.sec, d.keys, cells)
	d.line = append(d.line, '}')
	_, _ = d.w.out.Write(d.line)
	return nil
}

// appendJSONCells writes the members of an object.
func appendJSONCells(dst []byte, o *Options, sec *section, keys [][]byte, cells spec.Row) []byte {
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, key...)
		dst = appendJSON(dst, value(sec.columns[i].Kind, cells[i], o.EscapeAll))
	}
	return dst
}

func (d *jsonDoc) settle() error { return nil }
func (d *jsonDoc) abort()        {}

func (d *jsonDoc) end() error {
	switch {
	case d.sec.single && d.n == 0:
		_, _ = d.w.out.WriteString("null")
	case d.sec.single:
	case d.n == 0:
		_ = d.w.out.WriteByte(']')
	default:
		_, _ = d.w.out.WriteString("\n]")
	}
	return nil
}

func (d *jsonDoc) close() error {
	if d.sec.name != "" {
		_, _ = d.w.out.WriteString("\n}")
	}
	_ = d.w.out.WriteByte('\n')
	return nil
}

// appendJSON writes what Value answers.
func appendJSON(dst []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(dst, "null"...)
		}
		return appendFloat(dst, v)
	case string:
		return appendJSONText(dst, v)
	case []string:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONText(dst, item)
		}
		return append(dst, ']')
	case map[string]string:
		dst = append(dst, '{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONText(dst, key), ':')
			dst = appendJSONText(dst, v[key])
		}
		return append(dst, '}')
	}
	text, err := json.Marshal(value)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, text...)
}

// appendJSONText writes a string. What a terminal would obey is escaped too; bytes that are no UTF-8 become U+FFFD.
func appendJSONText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == utf8.RuneError && n == 1:
			dst = append(dst, "\ufffd"...)
		case visible(r):
			dst = append(dst, s[i:i+n]...)
		case r > 0xffff:
			dst = appendHexNumber(append(dst, `\u`...), uint32(0xd800+(r-0x10000)>>10), 4)
			dst = appendHexNumber(append(dst, `\u`...), uint32(0xdc00+(r-0x10000)&0x3ff), 4)
		default:
			dst = appendHexNumber(append(dst, `\u`...), uint32(r), 4)
		}
		i += n
	}
	return append(dst, '"')
}
