package render

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"shardsh/commands/spec"
)

// Value is a cell as the machine formats, --filter and conditions carry it: nil, bool, int64, float64, string,
// []string or map[string]string. Sizes are bytes, durations seconds, times RFC 3339 in UTC, keys and values text in
// the escapes of EscapeBytes. An unsigned number beyond int64 stays uint64. A cell that is not what its kind says
// becomes text.
func Value(k spec.Kind, cell any) any { return value(k, cell, false) }

func value(k spec.Kind, cell any, escapeAll bool) any {
	switch c := cell.(type) {
	case nil:
		return nil
	case []byte:
		return EscapeBytes(c, escapeAll)
	case string:
		if k == spec.Bytes {
			return EscapeBytes([]byte(c), escapeAll)
		}
		return c
	case bool, int64, float64, []string, map[string]string:
		return c
	case int:
		return int64(c)
	case time.Duration:
		return c.Seconds()
	case time.Time:
		if c.IsZero() {
			return nil
		}
		return c.UTC().Format(time.RFC3339Nano)
	}
	return otherValue(cell)
}

// otherValue takes the rarer numbers, and named types such as a role, whose String method is their text.
func otherValue(cell any) any {
	if s, ok := cell.(fmt.Stringer); ok {
		return s.String()
	}
	switch v := reflect.ValueOf(cell); {
	case v.CanInt():
		return v.Int()
	case v.CanUint() && v.Uint() > math.MaxInt64:
		return v.Uint()
	case v.CanUint():
		return int64(v.Uint())
	case v.CanFloat():
		return v.Float()
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return v.Bool()
	}
	return fmt.Sprint(cell)
}

// printer writes cells for people and, in its plain form, for awk.
type printer struct {
	plain     bool // words for people, raw numbers
	raw       bool // raw numbers, words and times for people
	escapeAll bool
	lines     bool // text keeps its line breaks
	location  *time.Location
}

func newPrinter(o *Options) *printer {
	p := &printer{raw: o.Raw, escapeAll: o.EscapeAll, location: o.Location}
	if p.location == nil {
		p.location = time.Local
	}
	return p
}

// append writes the cell of a column, escaped: nothing in it can move a cursor.
func (p *printer) append(dst []byte, col *spec.Column, cell any) []byte {
	start := len(dst)
	dst = p.appendCell(dst, col, cell)
	if p.plain && len(dst) == start {
		dst = append(dst, `""`...)
	}
	return dst
}

func (p *printer) appendCell(dst []byte, col *spec.Column, cell any) []byte {
	raw := p.plain || p.raw
	switch c := cell.(type) {
	case nil:
		return append(dst, '-')
	case string:
		if col.Kind == spec.Bytes {
			return appendBytes(dst, []byte(c), p.escapeAll)
		}
		keep := ""
		if p.lines {
			keep = "\n"
		}
		return appendEscaped(dst, c, keep)
	case []byte:
		return appendBytes(dst, c, p.escapeAll)
	case bool:
		if c {
			return append(dst, "yes"...)
		}
		return append(dst, "no"...)
	case int64:
		if col.Kind == spec.Size && !raw {
			return spec.AppendSize(dst, c)
		}
		return p.unit(strconv.AppendInt(dst, c, 10), col)
	case time.Duration:
		if raw {
			return appendFloat(dst, c.Seconds())
		}
		return appendDuration(dst, c)
	case time.Time:
		return p.appendTime(dst, c)
	case []string:
		return appendList(dst, c)
	case map[string]string:
		return appendMap(dst, c)
	case float64:
		if raw {
			return p.unit(appendFloat(dst, c), col)
		}
		return p.unit(appendShortFloat(dst, c), col)
	}
	switch v := otherValue(cell).(type) {
	case uint64:
		return p.unit(strconv.AppendUint(dst, v, 10), col)
	case string:
		return appendEscaped(dst, v, "")
	default: // bool, int64 or float64: known above
		return p.appendCell(dst, col, v)
	}
}

func (p *printer) unit(dst []byte, col *spec.Column) []byte {
	if p.plain || col.Unit == "" {
		return dst
	}
	return appendEscaped(append(dst, ' '), col.Unit, "")
}

func (p *printer) appendTime(dst []byte, t time.Time) []byte {
	switch {
	case t.IsZero():
		return append(dst, '-')
	case p.plain:
		return t.UTC().AppendFormat(dst, time.RFC3339Nano)
	}
	return t.In(p.location).AppendFormat(dst, time.DateTime)
}

func appendList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, item := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, item, "")
	}
	return append(dst, ']')
}

func appendMap(dst []byte, m map[string]string) []byte {
	for i, key := range sortedKeys(m) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, key, "")
		dst = append(dst, '=')
		dst = appendEscaped(dst, m[key], "")
	}
	return dst
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// appendDuration writes the two largest units: 3d4h, 2m5s; below a minute seconds with one decimal, below a second
// three digits of ms, µs or ns.
func appendDuration(dst []byte, d time.Duration) []byte {
	if d < 0 {
		if d == math.MinInt64 {
			d++
		}
		return appendDuration(append(dst, '-'), -d)
	}
	switch {
	case d < time.Microsecond:
		return append(dst, d.String()...)
	case d < time.Millisecond:
		return append(dst, d.Round(10*time.Nanosecond).String()...)
	case d < time.Second:
		return append(dst, d.Round(10*time.Microsecond).String()...)
	case d < time.Minute:
		return append(strconv.AppendFloat(dst, math.Floor(d.Seconds()*10)/10, 'f', -1, 64), 's')
	}
	units := [...]struct {
		size time.Duration
		mark byte
	}{{24 * time.Hour, 'd'}, {time.Hour, 'h'}, {time.Minute, 'm'}, {time.Second, 's'}}
	for i := range units[:3] {
		if d < units[i].size {
			continue
		}
		dst = append(strconv.AppendInt(dst, int64(d/units[i].size), 10), units[i].mark)
		if rest := d % units[i].size / units[i+1].size; rest > 0 {
			dst = append(strconv.AppendInt(dst, int64(rest), 10), units[i+1].mark)
		}
		return dst
	}
	return dst
}

// appendShortFloat is for people: two decimals, or three digits of what is smaller.
func appendShortFloat(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	switch {
	case abs >= 1e15 || math.IsNaN(f) || math.IsInf(f, 0):
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case abs != 0 && abs < 0.01:
		return strconv.AppendFloat(dst, f, 'g', 3, 64)
	}
	return strconv.AppendFloat(dst, math.Round(f*100)/100, 'f', -1, 64)
}

// appendFloat is for machines: the shortest text that reads back as the same number, with an exponent only where
// JavaScript would write one.
func appendFloat(dst []byte, f float64) []byte {
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
