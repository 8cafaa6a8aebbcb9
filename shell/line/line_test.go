package line

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shardsh/commands/spec"
)

// shape is a command as the tests compare it: words unquoted, variables as ⟨name⟩.
type shape struct {
	Words                     []string
	Suffix, Pipe, File, Shell string
	Append                    bool
}

func shapeOf(c Command) shape {
	s := shape{Pipe: c.Pipe, Shell: c.Shell, Append: c.Append}
	for _, w := range c.Words {
		s.Words = append(s.Words, marked(w))
	}
	if c.Vertical {
		s.Suffix += "G"
	}
	if c.JSON {
		s.Suffix += "J"
	}
	if c.FileWord != nil {
		s.File = marked(*c.FileWord)
	}
	return s
}

func marked(w Word) string {
	var b strings.Builder
	for _, p := range w.parts {
		if p.sort == partVariable {
			b.WriteString("⟨" + p.text + "⟩")
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

func shapesOf(commands []Command) []shape {
	var all []shape
	for _, c := range commands {
		all = append(all, shapeOf(c))
	}
	return all
}

func words(w ...string) shape { return shape{Words: w} }

func TestParse(t *testing.T) {
	tests := []struct {
		src  string
		want []shape
	}{
		{"", nil},
		{"  \t\r", nil},
		{"# only a comment \\", nil},
		{";;", nil},
		{"ls", []shape{words("ls")}},
		{"  ls   -a \t demo\r", []shape{words("ls", "-a", "demo")}},
		{"ls; nodes ;# end", []shape{words("ls"), words("nodes")}},
		{"ls\nnodes\r\napp a", []shape{words("ls"), words("nodes"), words("app", "a")}},
		{"set a#b c #d", []shape{words("set", "a#b", "c")}},
		{"set a '#b'", []shape{words("set", "a", "#b")}},
		{"set a \\#b", []shape{words("set", "a", "#b")}},
		{`get 'a b' "c d" e'f'"g"`, []shape{words("get", "a b", "c d", "efg")}},
		{`get '' ""`, []shape{words("get", "", "")}},
		{`get 'a\n$x{{y}}"'`, []shape{words("get", `a\n$x{{y}}"`)}},
		{`get "\"\\\n\t\r\x00\xfF\$x\{{y}}\q'"`, []shape{words("get", "\"\\\n\t\r\x00\xff$x{{y}}\\q'")}},
		{`get a\x01\X\ b\"\$c\\`, []shape{words("get", "a\x01X b\"$c\\")}},
		{"get 'a\nb' c", []shape{words("get", "a\nb", "c")}},
		{"get a\\\nb", []shape{words("get", "ab")}},
		{"get a \\\r\n  b", []shape{words("get", "a", "b")}},
		{"get \"a\\\nb\"", []shape{words("get", "ab")}},
		{"a \\\n#b\nc", []shape{words("a"), words("c")}},
		{"a\\\n#b", []shape{words("a#b")}},
		{"echo $a ${b}c {{d}} {{ e }} \"$f ${g} {{h}}\"", []shape{words("echo", "⟨a⟩", "⟨b⟩c", "⟨d⟩", "⟨e⟩", "⟨f⟩ ⟨g⟩ ⟨h⟩")}},
		{"echo $ $1 a$ $- {x} {{1}} {{a} }} {{}}", []shape{words("echo", "$", "$1", "a$", "$-", "{x}", "{{1}}", "{{a}", "}}", "{{}}")}},
		{"echo {{{a}}}", []shape{words("echo", "{⟨a⟩}")}},
		{"echo $a_1.x$b", []shape{words("echo", "⟨a_1⟩.x⟨b⟩")}},
		{"ls | grep ';' # x\nnodes", []shape{{Words: []string{"ls"}, Pipe: "grep ';' # x"}, words("nodes")}},
		{"ls|wc -l", []shape{{Words: []string{"ls"}, Pipe: "wc -l"}}},
		{"ls | a \\\n b", []shape{{Words: []string{"ls"}, Pipe: "a \\\n b"}}},
		{"ls | a\\ \\\\ ", []shape{{Words: []string{"ls"}, Pipe: `a\ \\`}}},
		{"ls | a\\  ", []shape{{Words: []string{"ls"}, Pipe: `a\ `}}},
		{"get 'a|b'", []shape{words("get", "a|b")}},
		{"ls > out; nodes >> 'o u t'", []shape{{Words: []string{"ls"}, File: "out"}, {Words: []string{"nodes"}, File: "o u t", Append: true}}},
		{"ls>$dir/f", []shape{{Words: []string{"ls"}, File: "⟨dir⟩/f"}}},
		{"migrate a->b -> c", []shape{words("migrate", "a->b", "->", "c")}},
		{"!ls -l; x | y", []shape{{Shell: "ls -l; x | y"}}},
		{"ls; !date", []shape{words("ls"), {Shell: "date"}}},
		{"echo !x a!", []shape{words("echo", "!x", "a!")}},
		{`ls\G`, []shape{{Words: []string{"ls"}, Suffix: "G"}}},
		{`ls \J ; nodes\G| x`, []shape{{Words: []string{"ls"}, Suffix: "J"}, {Words: []string{"nodes"}, Suffix: "G", Pipe: "x"}}},
		{`ls \G > f`, []shape{{Words: []string{"ls"}, Suffix: "G", File: "f"}}},
		{`ls > f\G`, []shape{{Words: []string{"ls"}, Suffix: "G", File: "f"}}},
		{`ls \G # c`, []shape{{Words: []string{"ls"}, Suffix: "G"}}},
		{"ls \\G\nnodes", []shape{{Words: []string{"ls"}, Suffix: "G"}, words("nodes")}},
		{`get a\Gb \G#c`, []shape{words("get", "aGb", "G#c")}},
		{`get \G \J`, []shape{{Words: []string{"get", "G"}, Suffix: "J"}}},
		{`get '\G' "\G"`, []shape{words("get", `\G`, `\G`)}},
		{`\q`, []shape{words(`\q`)}},
		{`\q;x \q`, []shape{words(`\q`), words("x", "q")}},
		{"reconfig*all ~ ? & < (a) [b] a=b,c=d %{x}", []shape{words("reconfig*all", "~", "?", "&", "<", "(a)", "[b]", "a=b,c=d", "%{x}")}},
		{"表格 \xff\xfe", []shape{words("表格", "\xff\xfe")}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.src)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.src, err)
			continue
		}
		if diff := cmp.Diff(tt.want, shapesOf(got)); diff != "" {
			t.Errorf("Parse(%q): -want +got\n%s", tt.src, diff)
		}
	}
}

func TestPromptMarks(t *testing.T) {
	for _, src := range []string{
		"ls", ">>> ls", "> ls", ">ls", "$ ls", ">>>ls", "  >>>  ls", "onebox TableA>>> ls", "onebox>>> ls",
		"[sandbox] onebox TableA freezed>>> ls", "[sandbox] openmldb db> ls", ">>> ls # x",
	} {
		got, err := Parse(src)
		if err != nil {
			t.Errorf("Parse(%q): %v", src, err)
			continue
		}
		if diff := cmp.Diff([]shape{words("ls")}, shapesOf(got)); diff != "" {
			t.Errorf("Parse(%q): -want +got\n%s", src, diff)
		}
	}
	for src, want := range map[string]shape{
		"$ls":                words("⟨ls⟩"),
		"openmldb db > ls":   {Words: []string{"openmldb", "db"}, File: "ls"},
		"openmldb db> ls":    {Words: []string{"openmldb", "db"}, File: "ls"},
		"set k v>> f":        {Words: []string{"set", "k", "v"}, File: "f", Append: true},
		"ls \\\n> f":         {Words: []string{"ls"}, File: "f"},
		"[sandbox] 'db> ls'": words("[sandbox]", "db> ls"),
	} {
		got, err := Parse(src)
		if err != nil || len(got) != 1 {
			t.Errorf("Parse(%q): %v, %v", src, got, err)
			continue
		}
		if diff := cmp.Diff(want, shapeOf(got[0])); diff != "" {
			t.Errorf("Parse(%q): -want +got\n%s", src, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		src, says  string
		incomplete bool
	}{
		{"get 'a", "a ' is not closed", true},
		{`get "a\`, `a " is not closed`, true},
		{`get "a\"`, `a " is not closed`, true},
		{`ls \`, "backslash", true},
		{`ls | x \`, "backslash", true},
		{`!x \`, "backslash", true},
		{`get \x4`, "two hexadecimal digits", false},
		{`get "\xg0"`, "two hexadecimal digits", false},
		{`get \xzz 'a`, "two hexadecimal digits", false},
		{`get ${a-b}`, "name of a variable", false},
		{`get "${"`, "name of a variable", false},
		{"ls >", "> wants a file", false},
		{"ls >> ; nodes", ">> wants a file", false},
		{"ls > a b", "nothing may follow", false},
		{"ls > a > b", "only one redirection", false},
		{"ls > a | b", "not to both", false},
		{"ls 2> f", "descriptors", false},
		{"ls >&2", "descriptors", false},
		{"ls; > f", "> needs a command", false},
		{">>>> f", "> needs a command", false},
		{"ls >>> drop x", "only one redirection", false},
		{"| x", "| needs a command", false},
		{"ls |", "| wants a command", false},
		{"!", "! wants a command", false},
		{`\G`, `\G needs a command`, false},
		{"get a\x00b", "NUL", false},
		{strings.Repeat("x", Limit+1), "longer than 16 MiB", false},
	}
	for _, tt := range tests {
		got, err := Parse(tt.src)
		name := tt.src[:min(len(tt.src), 40)]
		if err == nil {
			t.Errorf("Parse(%q) = %v, want an error", name, shapesOf(got))
			continue
		}
		if !strings.Contains(err.Error(), tt.says) || spec.KindOf(err) != spec.Usage || errors.Is(err, ErrIncomplete) != tt.incomplete {
			t.Errorf("Parse(%q): %v (kind %v, incomplete %v)", name, err, spec.KindOf(err), errors.Is(err, ErrIncomplete))
		}
	}
}

func TestOffsets(t *testing.T) {
	src := ">>> set  'k 1' $v \\G ; # no\n get a\\\nb | wc ;\n"
	got, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		Text   string
		Line   int
		Words  []string
		Quoted []bool
	}
	var places []place
	for _, c := range got {
		p := place{Text: c.Text, Line: c.Line}
		if src[c.Pos:c.Pos+len(c.Text)] != c.Text {
			t.Errorf("Pos %d does not lead to %q", c.Pos, c.Text)
		}
		for _, w := range c.Words {
			p.Words = append(p.Words, src[w.Pos:w.End])
			p.Quoted = append(p.Quoted, w.Quoted)
		}
		places = append(places, p)
	}
	want := []place{
		{`set  'k 1' $v \G`, 1, []string{"set", "'k 1'", "$v"}, []bool{false, true, false}},
		{"get a\\\nb | wc ;", 2, []string{"get", "a\\\nb"}, []bool{false, false}},
	}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"a": "x y; | '", "empty": "", "big": strings.Repeat("z", Limit/2)}
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	for src, want := range map[string]string{
		"plain":         "plain",
		"$a":            "x y; | '",
		`"<${a}>"`:      "<x y; | '>",
		"'$a'":          "$a",
		"{{empty}}":     "",
		"p{{ a }}q$ $1": "px y; | 'q$",
	} {
		c, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c[0].Words[0].Expand(lookup)
		if err != nil || got != want {
			t.Errorf("%s expands to %q, %v; want %q", src, got, err, want)
		}
		_, literal := c[0].Words[0].Literal()
		if literal != (want == "plain" || want == "$a") {
			t.Errorf("%s: literal is %v", src, literal)
		}
	}
	for src, says := range map[string]string{"x$nope": "variable nope is not set", "$big$big$a": "longer than"} {
		c, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c[0].Words[0].Expand(lookup); err == nil || spec.KindOf(err) != spec.Usage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestQuote(t *testing.T) {
	for s, want := range map[string]string{
		"":               "''",
		"plain":          "plain",
		"a=b,c=d":        "a=b,c=d",
		"reconfig*all":   "reconfig*all",
		"10.0.0.1:34601": "10.0.0.1:34601",
		"表格":             "表格",
		"a#b":            "a#b",
		"#b":             "'#b'",
		"!x":             "'!x'",
		"[x]":            "'[x]'",
		"a b":            "'a b'",
		"it's":           `"it's"`,
		"$":              "'$'",
		"{{x}}":          "'{{x}}'",
		"{x}":            "{x}",
		"'{{$x\\":        `"'\{{\$x\\"`,
		"a\x1b[2J":       `"a\x1b[2J"`,
		"a\u202eb":       `"a\xe2\x80\xaeb"`,
		"\xff\x00":       `"\xff\x00"`,
		"a\n\t\r":        `"a\n\t\r"`,
		"\ufffd":         "\ufffd",
	} {
		if got := Quote(s); got != want {
			t.Errorf("Quote(%q) = %s, want %s", s, got, want)
		}
	}
	all := []string{"$", "x", "", ">>>", "a>>>", "-"}
	got, err := Parse(QuoteAll(all))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if diff := cmp.Diff(words(all...), shapeOf(got[0])); diff != "" {
		t.Error(diff)
	}
}

func TestScanner(t *testing.T) {
	script := "\xef\xbb\xbfls\r\n\r\n# c\r\nget 'a\r\nb' c; nodes\r\nbad \\xq 'x\r\ny'\r\nget a \\\r\n  b\r\n!x \\\r\ny\r\nset '\x00'\r\nlast 'open\r\nnodes\r\n"
	s := NewScanner(strings.NewReader(script), "steps.txt")
	type step struct {
		Shapes []shape
		Line   int
		Err    string
	}
	var got []step
	for range 20 {
		commands, err := s.Next()
		if err == io.EOF {
			break
		}
		st := step{Shapes: shapesOf(commands)}
		if err != nil {
			st.Err = err.Error()
		} else {
			st.Line = commands[0].Line
		}
		got = append(got, st)
	}
	want := []step{
		{[]shape{words("ls")}, 1, ""},
		{[]shape{words("get", "a\nb", "c"), words("nodes")}, 4, ""},
		{nil, 0, `steps.txt:6: \x wants two hexadecimal digits`},
		{[]shape{words("get", "a", "b")}, 8, ""},
		{[]shape{{Shell: "x \\\ny"}}, 10, ""},
		{nil, 0, "steps.txt:12: the line holds a NUL byte"},
		{nil, 0, "steps.txt:13: a ' is not closed: the line is not complete"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestScannerEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		in   io.Reader
		says string
		kind spec.ErrorKind
	}{
		{"long", io.MultiReader(strings.NewReader("ls\n"), strings.NewReader(strings.Repeat("x", Limit+3))), "f:2: the line is longer", spec.Usage},
		{"long quote", strings.NewReader("ls\n'" + strings.Repeat("x\n", Limit/2+2)), "longer", spec.Usage},
		{"broken", io.MultiReader(strings.NewReader("ls\nget 'a"), &failing{broken}), "broken", spec.Failed},
		{"backslash", strings.NewReader("ls\nget \\"), "f:2: a line of a script cannot end in a backslash", spec.Usage},
		{"backslash, line end", strings.NewReader("ls\nget \\\n"), "f:2: a line of a script cannot end in a backslash", spec.Usage},
	} {
		s := NewScanner(tt.in, "f")
		if got, err := s.Next(); err != nil || len(got) != 1 {
			t.Fatalf("%s: %v, %v", tt.name, got, err)
		}
		_, err := s.Next()
		if err == nil || !strings.Contains(err.Error(), tt.says) || spec.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got, err := s.Next(); err != io.EOF {
			t.Errorf("%s: then %v, %v", tt.name, got, err)
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestScannerIsPrompt: a line is answered before the next one is there, for a script may come from a slow pipe.
func TestScannerIsPrompt(t *testing.T) {
	r, w := io.Pipe()
	s := NewScanner(r, "pipe")
	written := make(chan error, 1)
	answered := make(chan struct{})
	go func() {
		_, err := io.WriteString(w, "ls\n")
		<-answered
		written <- errors.Join(err, w.Close())
	}()
	got, err := s.Next()
	close(answered)
	if err != nil || got[0].Text != "ls" {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err = s.Next(); err != io.EOF {
		t.Error(err)
	}
	if err = <-written; err != nil {
		t.Error(err)
	}
}

// TestLongQuote: a quote over very many lines is read in one pass.
func TestLongQuote(t *testing.T) {
	const lines = 1 << 20
	s := NewScanner(strings.NewReader("set k \""+strings.Repeat("\\\"\n", lines)+"\"\n"), "f")
	got, err := s.Next()
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := got[0].Words[2].Literal(); text != strings.Repeat("\"\n", lines) {
		t.Errorf("%d bytes", len(text))
	}
}

func TestComplete(t *testing.T) {
	tests := []struct {
		src  string // the cursor is at ^
		want Partial
	}{
		{"^", Partial{}},
		{"sh^ow", Partial{Current: "sh"}},
		{">sh^", Partial{Current: "sh", Start: 1}},
		{"use ^", Partial{Words: []string{"use"}, Start: 4}},
		{"use Ta^", Partial{Words: []string{"use"}, Current: "Ta", Start: 4}},
		{"ls; use 'a b^", Partial{Words: []string{"use"}, Current: "a b", Start: 8, Quote: '\'', CommandIndex: 1}},
		{";;ls;; use \"a\\x41\\^", Partial{Words: []string{"use"}, Current: "aA", Start: 11, Quote: '"', CommandIndex: 1}},
		{`get $a 'x y' a\ b^`, Partial{Words: []string{"get", "$a", "x y"}, Current: "a b", Start: 13}},
		{"get ${na^", Partial{Words: []string{"get"}, Current: "${na", Start: 4}},
		{`get a\^`, Partial{Words: []string{"get"}, Current: "a", Start: 4}},
		{"ls | gr^", Partial{Words: []string{"ls"}, Start: 7, AfterPipe: true}},
		{"ls | x\nno^", Partial{Current: "no", Start: 7, CommandIndex: 1}},
		{"!gr^", Partial{Start: 3, AfterPipe: true}},
		{"ls # co^", Partial{Words: []string{"ls"}, Start: 7, AfterPipe: true}},
		{"ls > fi^", Partial{Words: []string{"ls"}, Current: "fi", Start: 5, Redirect: true}},
		{"ls > ^", Partial{Words: []string{"ls"}, Start: 5, Redirect: true}},
		{"ls > f ; a^", Partial{Current: "a", Start: 9, CommandIndex: 1}},
	}
	for _, tt := range tests {
		pos := strings.IndexByte(tt.src, '^')
		got := Complete(strings.Replace(tt.src, "^", "", 1), pos)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.src, diff)
		}
	}
	if got := Complete("ls", 99); got.Current != "ls" {
		t.Errorf("behind the end: %+v", got)
	}
	if got := Complete("ls", -1); got.Start != 0 || got.Current != "" {
		t.Errorf("before the start: %+v", got)
	}
}

func TestSpans(t *testing.T) {
	src := `>>> get -a --b=$c 'x y' "p$q" e\xzz ; ls>f \G | wc # r`
	var got []string
	names := [...]string{"word", "flag", "string", "variable", "comment", "operator", "error"}
	for _, s := range Spans(src) {
		got = append(got, names[s.Kind]+":"+src[s.Start:s.End])
	}
	want := []string{
		"comment:>>> ", "word:get", "flag:-a", "flag:--b=", "variable:$c", "string:'x y'", `string:"p`, "variable:$q", `string:"`,
		"word:e", `error:\x`, "word:zz", "operator:;", "word:ls", "operator:>", "word:f", `operator:\G`, "operator:|", "string: wc # r",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
