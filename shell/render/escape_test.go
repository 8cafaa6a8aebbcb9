package render

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"plain ~":                "plain ~",
		"表格 é é":                 "表格 é é",
		"a\u3000b\u00a0c":        "a\u3000b\u00a0c",
		"\x1b[31m":               `\x1b[31m`,
		"a\r\n\tb\x00\x7f":       `a\x0d\n\tb\x00\x7f`,
		"\u0085\u009b":           `\u{85}\u{9b}`,
		"\u202e\u2066\u200f":     `\u{202e}\u{2066}\u{200f}`,
		"a\u200bb\ufeff\u00ad":   `a\u{200b}b\u{feff}\u{ad}`,
		"\u2028\u115f\U000e0020": `\u{2028}\u{115f}\u{e0020}`,
		"\xff\xc0\x80":           `\xff\xc0\x80`,
		"\ufffd":                 "\ufffd",
		`back\slash`:             `back\slash`,
		"👩\u200d👩":               `👩\u{200d}👩`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) is %q, not %q", in, got, want)
		}
	}
}

func TestEscapeBytes(t *testing.T) {
	for in, want := range map[string]string{
		"":              "",
		"a$b {{c}}":     "a$b {{c}}",
		`"\`:            `\"\\`,
		"\n\t\r\x00":    `\n\t\x0d\x00`,
		"键\xff\xe9\x94": `键\xff\xe9\x94`,
		"\u202e\u3000":  `\xe2\x80\xae\xe3\x80\x80`,
		"\ufffd":        "\ufffd",
	} {
		if got := EscapeBytes([]byte(in), false); got != want {
			t.Errorf("EscapeBytes(%q) is %q, not %q", in, got, want)
		}
	}
	if got := EscapeBytes([]byte("a\n"), true); got != `\x61\x0a` {
		t.Errorf("all: %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcde…"},
		{"表格表格", 6, "表格…"},
		{"表格表格", 7, "表格表…"},
		{"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		if got := cut(c.in, c.most); got != c.want {
			t.Errorf("cut(%q, %d) is %q, not %q", c.in, c.most, got, c.want)
		}
	}
}

// unescape reads what stands between double quotes in the line syntax.
func unescape(t *testing.T, s string) []byte {
	t.Helper()
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'x':
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, byte(n))
			i += 2
		case '\\', '"':
			out = append(out, s[i])
		default:
			t.Fatalf("an escape \\%c", s[i])
		}
	}
	return out
}

func FuzzEscape(f *testing.F) {
	f.Add([]byte("a\x1b[2J\u202e\xff\"\\\n键"))
	f.Add([]byte("\xf4\x8f\xbf\xbf\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, shown := range []string{Escape(string(b)), EscapeBytes(b, false), EscapeBytes(b, true)} {
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !visible(r) }) {
				t.Errorf("%q is shown as %q", b, shown)
			}
			if cut := cut(shown, 8); width(cut) > 8 {
				t.Errorf("%q is cut to %q", shown, cut)
			}
		}
		for _, all := range []bool{false, true} {
			if back := unescape(t, EscapeBytes(b, all)); !bytes.Equal(back, b) {
				t.Errorf("%q comes back as %q", b, back)
			}
		}
	})
}
