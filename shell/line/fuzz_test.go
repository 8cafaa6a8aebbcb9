package line

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func seed(f *testing.F) {
	for src := range operatorLines {
		f.Add(src)
	}
	for _, src := range []string{
		"a 'b' \"c\\x41$d\" {{e}} | f", "ls\\G;nodes > x # y\n!z \\\nq", "[sandbox] a b> c\r\nd \\\r\ne", "'\n", "\\", "${", "\xef\xbb\xbfls", "a\x00b\nc",
	} {
		f.Add(src)
	}
}

func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src string) {
		commands, err := Parse(src)
		if err != nil && len(commands) > 0 {
			t.Fatalf("%q: commands beside %v", src, err)
		}
		at := 0
		for _, c := range commands {
			if (len(c.Words) > 0) == (c.Shell != "") {
				t.Fatalf("%q: %+v", src, c)
			}
			if c.Pos < at || c.Pos+len(c.Text) > len(src) || src[c.Pos:c.Pos+len(c.Text)] != c.Text {
				t.Fatalf("%q: command at %d is not %q", src, c.Pos, c.Text)
			}
			if want := 1 + strings.Count(src[:c.Pos], "\n"); c.Line != want {
				t.Fatalf("%q: command at %d is on line %d, not %d", src, c.Pos, want, c.Line)
			}
			at = c.Pos
			for _, w := range c.Words {
				if w.Pos < at || w.End <= w.Pos || w.End > c.Pos+len(c.Text) {
					t.Fatalf("%q: word %d:%d after %d, text ends at %d", src, w.Pos, w.End, at, c.Pos+len(c.Text))
				}
				at = w.End
			}
			at = c.Pos + len(c.Text)
		}
	})
}

func FuzzQuote(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, s string) {
		q := Quote(s)
		for i := 0; i < len(q); {
			r, n := utf8.DecodeRuneInString(q[i:])
			if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
				t.Fatalf("Quote(%q) = %q holds %q", s, q, q[i:i+n])
			}
			i += n
		}
		for _, line := range []string{q, "x " + q, q + " " + q + ";" + q + "|y"} {
			commands, err := Parse(line)
			if err != nil {
				t.Fatalf("Parse(%q): %v", line, err)
			}
			for _, c := range commands {
				for _, w := range c.Words {
					if text, ok := w.Literal(); text != s && (text != "x" || w.Pos != 0) || !ok {
						t.Fatalf("Parse(%q) has the word %q, %v; want %q", line, text, ok, s)
					}
				}
			}
			if want := 1 + strings.Count(line, ";"+q+"|"); len(commands) < 1 || len(commands) > want {
				t.Fatalf("Parse(%q): %d commands", line, len(commands))
			}
		}
		if p := Complete("x "+q, 2+len(q)); p.Current != s || p.Start != 2 || p.Quote != 0 {
			t.Fatalf("Complete(%q): %+v", "x "+q, p)
		}
	})
}

func FuzzTolerant(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, src string) {
		at := 0
		for _, s := range Spans(src) {
			if s.Start < at || s.End <= s.Start || s.End > len(src) {
				t.Fatalf("%q: span %+v after %d", src, s, at)
			}
			if gap := strings.Trim(src[at:s.Start], " \t\r\n\\"); gap != "" {
				t.Fatalf("%q: no span has %q", src, gap)
			}
			at = s.End
		}
		for pos := -1; pos <= len(src)+1 && pos < 200; pos++ {
			if p := Complete(src, pos); p.Start < 0 || p.Start > len(src) || p.Start > max(pos, 0) {
				t.Fatalf("Complete(%q, %d): %+v", src, pos, p)
			}
		}
	})
}

// FuzzScanner: a script is its lines parsed together, once line ends are plain.
func FuzzScanner(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, script string) {
		plain := strings.TrimPrefix(script, "\xef\xbb\xbf")
		lines := strings.Split(plain, "\n")
		for i := range lines {
			lines[i] = strings.TrimSuffix(lines[i], "\r")
		}
		plain = strings.Join(lines, "\n")
		if strings.HasSuffix(script, "\n") {
			plain = plain[:len(plain)-1] // a line end ends a line, and starts none
		}
		want, wantErr := Parse(plain)

		var got []Command
		var gotErr error
		s := NewScanner(iotest.OneByteReader(strings.NewReader(script)), "f")
		for range len(script) + 2 {
			commands, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil && gotErr == nil {
				gotErr = err
			}
			got = append(got, commands...)
		}
		if _, err := s.Next(); err != io.EOF {
			t.Fatalf("%q: no end: %v", script, err)
		}
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("%q: %v, parsed together %v", script, gotErr, wantErr)
		}
		if wantErr != nil {
			if errors.Is(wantErr, ErrIncomplete) && !errors.Is(gotErr, ErrIncomplete) {
				t.Fatalf("%q: %v, parsed together %v", script, gotErr, wantErr)
			}
			return
		}
		if diff := cmp.Diff(shapesOf(want), shapesOf(got)); diff != "" {
			t.Fatalf("%q: -together +scanned\n%s", script, diff)
		}
		for i := range want {
			if want[i].Line != got[i].Line || want[i].Text != got[i].Text {
				t.Fatalf("%q: command %d: %d %q, parsed together %d %q", script, i, got[i].Line, got[i].Text, want[i].Line, want[i].Text)
			}
		}
	})
}

func TestQuoteEveryByte(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			s := string([]byte{byte(a), byte(b)})
			commands, err := Parse(Quote(s) + " " + Quote(s))
			if err != nil || len(commands) != 1 || len(commands[0].Words) != 2 {
				t.Fatalf("%q: %v", s, err)
			}
			for _, w := range commands[0].Words {
				if text, ok := w.Literal(); !ok || !bytes.Equal([]byte(text), []byte(s)) {
					t.Fatalf("%q became %q", s, text)
				}
			}
		}
	}
}
