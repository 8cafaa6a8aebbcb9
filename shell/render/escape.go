package render

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
)

const hexDigits = "0123456789abcdef"

// Escape makes text safe for a terminal. Whatever moves the cursor, changes the terminal, reorders or hides text is
// written visibly: `\n`, `\t`, `\xHH` for C0 controls, DEL and bytes that are no UTF-8, `\u{…}` for C1 controls, bidi
// and zero-width characters. A backslash stays as it is, so the result is for reading; EscapeBytes writes what can be
// read back.
func Escape(s string) string {
	if plainASCII(s) {
		return s
	}
	return string(appendEscaped(nil, s, ""))
}

// EscapeBytes writes a key or a value in the escapes of the line syntax: put between double quotes it reads back as
// the same bytes, but for `$` and `{{`, which the quoter of the line syntax escapes and a cell shows as they are.
// Printable UTF-8 is kept; `\`, `"`, newline and tab are written `\\`, `\"`, `\n` and `\t`, everything else `\xHH`
// byte by byte. With all, every byte is written `\xHH`.
func EscapeBytes(b []byte, all bool) string { return string(appendBytes(nil, b, all)) }

// plainASCII reports whether s consists of printable ASCII only: nothing to escape, and one column per byte.
func plainASCII[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// appendEscaped is Escape; the characters in keep are left as they are.
func appendEscaped(dst []byte, s, keep string) []byte {
	if plainASCII(s) {
		return append(dst, s...)
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = appendHex(dst, s[i])
		case visible(r) || strings.ContainsRune(keep, r):
			dst = append(dst, s[i:i+n]...)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < utf8.RuneSelf:
			dst = appendHex(dst, byte(r))
		default:
			dst = append(dst, `\u{`...)
			dst = appendHexNumber(dst, uint32(r), 1)
			dst = append(dst, '}')
		}
		i += n
	}
	return dst
}

func appendBytes(dst, b []byte, all bool) []byte {
	for i := 0; i < len(b); {
		if all {
			dst = appendHex(dst, b[i])
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == '\\' || r == '"':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case unicode.IsPrint(r) && visible(r) && (r != utf8.RuneError || n > 1):
			dst = append(dst, b[i:i+n]...)
		default:
			for _, c := range b[i : i+n] {
				dst = appendHex(dst, c)
			}
		}
		i += n
	}
	return dst
}

// visible reports whether a terminal shows the character where it stands, and nothing else happens. Combining marks
// and the emoji variation selectors pass; joiners do not, because terminals disagree about the width of what they
// join, and because they hide in names.
func visible(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= 0x20 && r != 0x7f
	case r == 0xfe0e || r == 0xfe0f:
		return true
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r):
		return false
	}
	// Graphic leaves out Cc, Cf (bidi, zero-width, tags), Zl, Zp, unassigned and private characters.
	return unicode.IsGraphic(r)
}

func appendHex(dst []byte, c byte) []byte {
	return append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

// appendHexNumber writes n in at least digits hexadecimal digits.
func appendHexNumber(dst []byte, n uint32, digits int) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		if d := n >> shift; d != 0 || shift/4 < digits {
			dst = append(dst, hexDigits[d&15])
		}
	}
	return dst
}

// width is the number of terminal columns of escaped text. It is tablewriter's own measure, so that both ways to draw
// a table agree, also in a locale where ambiguous characters are wide.
func width[T string | []byte](s T) int {
	if plainASCII(s) {
		return len(s)
	}
	return twwidth.WidthNoCache(string(s))
}

// cut shortens text to at most max columns, the last of them `…`.
func cut(s string, most int) string {
	if width(s) <= most {
		return s
	}
	const mark = "…"
	room := most - width(mark)
	end, used := 0, 0
	for i, r := range s {
		w := width(string(r))
		if used+w > room {
			break
		}
		used += w
		end = i + utf8.RuneLen(r)
	}
	return s[:end] + mark
}
