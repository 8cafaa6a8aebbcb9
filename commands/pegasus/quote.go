package pegasus

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quote writes bytes within a sentence: always between double quotes, whatever is not printable as \xHH, and so that it
// can be pasted into a line.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\' || r == '$' || r == '{' && strings.HasPrefix(s[i+1:], "{"):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == utf8.RuneError && size == 1 || !unicode.IsPrint(r):
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	b.WriteByte('"')
	return b.String()
}

// plain reports whether the splitter reads s back as one word without any quoting.
func plain(s string) bool {
	if s == "" || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("._:*/,%@+-=", c) >= 0
		if !ok {
			return false
		}
	}
	return true
}

// shown is s as it is when it is plain, else quoted.
func shown(s string) string {
	if plain(s) {
		return s
	}
	return quote(s)
}
