package term

import (
	"strings"
	"unicode/utf8"
)

// menu is the list of candidates Tab opens.
type menu struct {
	open     bool
	retry    bool // Tab was pressed while candidates were still being fetched: it is pressed again when they are there
	items    []Item
	selected int // -1: none
	top      int // the first item shown
	// The line around the word being completed.
	head, word, tail string
}

func (m *menu) close() { *m = menu{selected: -1} }

// fill takes candidates for a place in the line. Start comes from outside: it is forced into the text, to a rune.
func (m *menu) fill(c Completions, text string, pos int) {
	start := min(max(c.Start, 0), pos)
	for start > 0 && start < len(text) && !utf8.RuneStart(text[start]) {
		start--
	}
	m.items, m.selected, m.top = c.Items, -1, 0
	m.head, m.word, m.tail = text[:start], text[start:pos], text[pos:]
}

// shown returns a line with an item in the place of the word, and the cursor behind it, in runes.
func (m *menu) shown(i int) (string, int) {
	word := m.word
	if i >= 0 {
		word = clean(m.items[i].Text)
	}
	return m.head + word + m.tail, utf8.RuneCountInString(m.head) + utf8.RuneCountInString(word)
}

// final is shown for a word that is complete: a blank follows it, and the cursor stands behind that.
func (m *menu) final(i int) (string, int) {
	text, pos := m.shown(i)
	word := m.items[i].Text
	switch {
	case word == "" || strings.ContainsRune(" =/,:", rune(word[len(word)-1])):
		return text, pos
	case m.tail == "":
		return text + " ", pos + 1
	case m.tail[0] == ' ':
		return text, pos + 1
	}
	return text, pos
}

// step selects the next item in a direction; past either end none is selected.
func (m *menu) step(by int) {
	n := len(m.items) + 1
	m.selected = (m.selected+1+by+n)%n - 1
}

// common is what all items begin with, when it goes on from the word.
func (m *menu) common() (string, bool) {
	prefix := clean(m.items[0].Text)
	for _, item := range m.items[1:] {
		prefix = commonPrefix(prefix, clean(item.Text))
	}
	return prefix, len(prefix) > len(m.word) && strings.HasPrefix(prefix, m.word)
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}

// window answers which items fit into some rows, so that the selected one is among them.
func (m *menu) window(rows int) (from, to int) {
	rows = min(rows, len(m.items))
	if rows <= 0 {
		return 0, 0
	}
	m.top = min(m.top, len(m.items)-rows)
	if at := max(m.selected, 0); at < m.top {
		m.top = at
	} else if at >= m.top+rows {
		m.top = at - rows + 1
	}
	return m.top, m.top + rows
}
