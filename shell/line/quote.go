package line

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote writes s as one word of the line syntax: Parse(Quote(s)) is exactly one command of exactly that word, wherever
// the word stands in a command. Plain words stay as they are; the result never holds a control character, an
// unprintable rune or invalid UTF-8, whatever s holds.
func Quote(s string) string {
	switch {
	case s == "":
		return "''"
	case isPlain(s):
		return s
	case isPrintable(s) && !strings.Contains(s, "'"):
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"', r == '\\', r == '$', r == '{' && strings.HasPrefix(s[i+1:], "{"):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			writeHex(&b, s[i:i+n])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	b.WriteByte('"')
	return b.String()
}

// QuoteAll writes words as a line.
func QuoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}

func writeHex(b *strings.Builder, s string) {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		b.WriteString(`\x`)
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			return false
		}
		i += n
	}
	return true
}

// isPlain tells whether s means itself without quotes, at the start of a command and anywhere else.
func isPlain(s string) bool {
	return isPrintable(s) && !strings.ContainsAny(s, " '\"\\$;|>") && !strings.Contains(s, "{{") &&
		!strings.ContainsAny(s[:1], "#![")
}
