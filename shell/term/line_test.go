package term

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// words completes from a list, with a Start of its own choice.
type words struct {
	nobody
	items   []Item
	start   func(text string, pos int) int
	pending bool
}

func (w *words) Complete(text string, pos int) Completions {
	start := strings.LastIndexByte(text[:pos], ' ') + 1
	if w.start != nil {
		return Completions{Start: w.start(text, pos), Items: w.items}
	}
	c := Completions{Start: start, Pending: w.pending}
	for _, item := range w.items {
		if strings.HasPrefix(item.Text, text[start:pos]) {
			c.Items = append(c.Items, item)
		}
	}
	return c
}

func (w *words) History() []string { return []string{"get k", "set 'a b' \"c d\"", "表 one\ttwo"} }

// pressed runs keys through a line.
func pressed(l *line, stream string) {
	var d decoder
	for _, ev := range append(d.feed([]byte(stream)), d.idle()...) {
		if l.handle(ev) == entered {
			l.begin()
		}
	}
}

func TestTab(t *testing.T) {
	items := []Item{{Text: "表格一"}, {Text: "表格二"}, {Text: "dir/"}, {Text: "one"}}
	for _, c := range []struct{ keys, want string }{
		{"表\t", "表格|"},
		{"表\t\t", "表格一|"},
		{"表\t\t\t\r", "表格二 |"},
		{"表\t一", "表格一|"},
		{"表\t一\t", "表格一 |"},
		{"d\t", "dir/|"},
		{"o\t", "one |"},
		{"x o\ty", "x one y|"},
		{"o tail\x01\x1b[C\t", "one |tail"},
		{"otail\x01\x1b[C\t", "one|tail"},
		{"zz\t", "zz|"},
		{"表\t\x07一", "表格一|"},
		{"表\t\t\x07", "表格|"},
	} {
		l := newLine(&words{items: items})
		l.begin()
		pressed(l, c.keys)
		if got := l.edit.before() + "|" + string(l.edit.text[l.edit.pos:]); got != c.want {
			t.Errorf("%q gives %q, want %q", c.keys, got, c.want)
		}
	}
}

// While candidates are still being fetched an only one is not taken for the only one.
func TestTabWaitsForPendingCandidates(t *testing.T) {
	w := &words{items: []Item{{Text: "table"}}, pending: true}
	l := newLine(w)
	l.begin()
	pressed(l, "tab\t")
	if l.edit.String() != "tab" || !l.menu.open {
		t.Errorf("line %q, menu %v", l.edit.String(), l.menu.open)
	}
	w.items, w.pending = append(w.items, Item{Text: "tables"}), false
	l.handle(event{key: keyRefresh})
	if l.edit.String() != "table" || !l.menu.open || len(l.menu.items) != 2 {
		t.Errorf("line %q, menu %+v", l.edit.String(), l.menu)
	}
}

func TestLastWord(t *testing.T) {
	for line, want := range map[string]string{
		"get k": "k", "set 'a b' \"c d\"": "\"c d\"", "set a\\ b": "a\\ b", "one": "one", "": "", "x 'un closed": "'un closed",
		"ends  ": "ends",
	} {
		if got := lastWord(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestWindowOfTheMenu(t *testing.T) {
	m := menu{items: make([]Item, 10), selected: -1}
	for range 50 {
		m.step(1)
		for rows := range 12 {
			from, to := m.window(rows)
			if to-from != min(rows, 10) || m.selected >= 0 && rows > 0 && (m.selected < from || m.selected >= to) {
				t.Fatalf("%d rows, item %d: window %d to %d", rows, m.selected, from, to)
			}
		}
	}
}

// FuzzLine: no keys, and no assistant however wrong, break the line.
func FuzzLine(f *testing.F) {
	f.Add("ab\t\t\r\x1b[A\x12x\x1b.\x17\x19", "item", 1)
	f.Add("表格\x1b[D\t\x1f", "表格", -7)
	f.Add("\x1b[200~a\rb\x1b[201~\t\x1b[Z\x07\x14\x1by", "", 1000)
	f.Fuzz(func(t *testing.T, keys, item string, start int) {
		for _, a := range []*words{
			{items: []Item{{Text: item}, {Text: item + "x"}, {Text: "abc"}}},
			{items: []Item{{Text: item}}, start: func(string, int) int { return start }},
			{items: []Item{{Text: item}}, pending: true},
		} {
			l := newLine(a)
			l.begin()
			pressed(l, keys)
			l.handle(event{key: keyRefresh})
			if l.edit.pos < 0 || l.edit.pos > len(l.edit.text) || !utf8.ValidString(l.edit.String()) {
				t.Errorf("cursor %d in %q", l.edit.pos, l.edit.String())
			}
			if got := l.edit.String(); got != clean(got) {
				t.Errorf("the line holds %q", got)
			}
		}
	})
}

func TestColorsAreKnown(t *testing.T) {
	if names := Colors(); !slices.Contains(names, "red") || !slices.IsSorted(names) {
		t.Errorf("colours %v", names)
	}
}
