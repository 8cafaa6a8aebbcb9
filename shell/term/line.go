package term

import "strings"

// outcome is what a key means to whoever reads the line.
type outcome int

const (
	goOn outcome = iota
	entered
	interrupted
	ended
	suspended
	cleared
)

// line is the line being typed: everything keys do to it, knowing no terminal.
type line struct {
	assistant Assistant
	edit      editor
	history   []string
	recall    recall
	search    search
	menu      menu
	lastArg   lastArg
	last      key

	found      Completions // for foundText and foundPos
	foundText  string
	foundPos   int
	foundValid bool
}

// lastArg is a run of Alt-.: each replaces what the one before inserted with the last word of an older entry.
type lastArg struct {
	at       int
	inserted string
}

func newLine(a Assistant) *line {
	if a == nil {
		a = nobody{}
	}
	l := &line{assistant: a}
	l.menu.close()
	return l
}

// nobody is the assistant of who has none.
type nobody struct{}

func (nobody) Complete(string, int) Completions { return Completions{} }
func (nobody) Spans(string) []Span              { return nil }
func (nobody) Hint(string) string               { return "" }
func (nobody) History() []string                { return nil }

// begin starts an empty line.
func (l *line) begin() {
	l.edit.reset()
	l.history = l.assistant.History()
	l.recall.begin(l.history)
	l.search = search{}
	l.menu.close()
	l.last = keyNone
	l.foundValid = false
}

// handle does what one key asks for.
func (l *line) handle(ev event) outcome {
	was := snapshot{l.edit.String(), l.edit.pos}
	if ev.key == keyRefresh {
		l.foundValid = false
	}
	out := l.press(ev)
	changed := l.edit.String() != was.text
	if changed && ev.key != keyUndo && (ev.key != keyText || l.last != keyText) {
		l.edit.remember(was)
	}
	if changed && ev.key != keyUp && ev.key != keyDown {
		l.recall.active = false
	}
	if ev.key != keyRefresh && ev.key != keyNone {
		l.last = ev.key
	}
	return out
}

func (l *line) press(ev event) outcome {
	if l.search.active {
		if out, handled := l.pressInSearch(ev); handled {
			return out
		}
	}
	if l.menu.open && l.pressInMenu(ev) {
		return goOn
	}
	switch ev.key {
	case keyNone, keyRefresh:
	case keyEnter:
		return entered
	case keyInterrupt:
		return interrupted
	case keySuspend:
		return suspended
	case keyClear:
		return cleared
	case keyEOF:
		if len(l.edit.text) == 0 {
			return ended
		}
		l.edit.press(keyDelete, "")
	case keyTab:
		l.tab()
	case keyUp:
		l.show(l.recall.older(l.edit.String()))
	case keyDown:
		l.show(l.recall.newer(l.edit.String()))
	case keySearch:
		l.search = search{active: true, at: len(l.history), was: snapshot{l.edit.String(), l.edit.pos}}
	case keyLastArg:
		l.insertLastArg()
	case keyUndo:
		l.edit.back()
	default:
		l.edit.press(ev.key, ev.text)
	}
	return goOn
}

func (l *line) show(text string, ok bool) {
	if ok {
		l.edit.set(text, len([]rune(text)))
	}
}

// insertLastArg inserts the last word of the newest entry, or of the next older one when pressed again.
func (l *line) insertLastArg() {
	if l.last != keyLastArg {
		l.lastArg = lastArg{at: len(l.history)}
	}
	for i := l.lastArg.at - 1; i >= 0; i-- {
		word := lastWord(oneLine(l.history[i]))
		if word == l.lastArg.inserted {
			continue
		}
		l.edit.cut(l.edit.pos-len([]rune(l.lastArg.inserted)), l.edit.pos)
		l.edit.insert(word)
		l.lastArg = lastArg{at: i, inserted: word}
		return
	}
}

// pressInSearch handles a key while Ctrl-R is searching. A key it does not know ends the search, with the entry found
// in the line, and then does what it always does.
func (l *line) pressInSearch(ev event) (outcome, bool) {
	s := &l.search
	switch ev.key {
	case keyNone, keyRefresh:
		return goOn, true
	case keyText:
		if ev.pasted {
			break
		}
		s.query += ev.text
		l.look(s.at, -1, "")
		return goOn, true
	case keyBackspace:
		if runes := []rune(s.query); len(runes) > 0 {
			s.query = string(runes[:len(runes)-1])
		}
		l.look(len(l.history)-1, -1, "")
		return goOn, true
	case keySearch:
		l.look(s.at-1, -1, l.edit.String())
		return goOn, true
	case keySearchNewer:
		l.look(s.at+1, 1, l.edit.String())
		return goOn, true
	case keyAbort:
		l.edit.set(s.was.text, s.was.pos)
		l.search = search{}
		return goOn, true
	}
	l.search = search{}
	return goOn, ev.key == keyEscape
}

// look goes on with the search at an entry; what is not found leaves the line as it is.
func (l *line) look(from, step int, unlike string) {
	from = min(from, len(l.history)-1)
	if l.search.query == "" {
		return
	}
	if entry, at, ok := l.search.find(l.history, from, step, unlike); ok {
		l.edit.set(entry, at)
	}
}

// pressInMenu handles a key while the menu is open, and reports whether that was all it does.
func (l *line) pressInMenu(ev event) bool {
	m := &l.menu
	switch ev.key {
	case keyNone:
		return true
	case keyRefresh:
		l.refresh()
		return true
	case keyTab, keyDown, keyBackTab, keyUp:
		l.choose(ev.key)
		return true
	case keyEscape, keyAbort:
		if m.selected >= 0 {
			l.edit.set(m.shown(-1))
		}
		m.close()
		return true
	case keyEnter:
		// Enter takes what is selected; it does not run it as well.
		accepted := m.selected >= 0 && !ev.pasted
		if accepted {
			l.edit.set(m.final(m.selected))
		}
		m.close()
		return accepted
	case keyText, keyBackspace:
		if m.selected >= 0 || ev.pasted {
			m.close()
			return false
		}
		l.edit.press(ev.key, ev.text)
		m.retry = false
		l.refresh()
		return true
	}
	m.close()
	return false
}

func (l *line) choose(k key) {
	m := &l.menu
	if len(m.items) == 0 {
		return
	}
	if len(m.items) == 1 && !m.retry {
		l.edit.set(m.final(0))
		m.close()
		return
	}
	m.retry = false
	m.step(map[key]int{keyTab: 1, keyDown: 1, keyBackTab: -1, keyUp: -1}[k])
	l.edit.set(m.shown(m.selected))
}

// refresh asks for the candidates of an open menu again; a selection stays as it is.
func (l *line) refresh() {
	m := &l.menu
	if m.selected >= 0 {
		return
	}
	c := l.candidates()
	if m.retry && !c.Pending {
		m.close()
		l.tab()
		return
	}
	retry := m.retry
	m.fill(c, l.edit.String(), len(l.edit.before()))
	m.retry = retry
	if len(m.items) == 0 && !retry {
		m.close()
	}
}

// tab completes as far as there is one way to go on, and opens the menu where there are several.
func (l *line) tab() {
	m := &l.menu
	c := l.candidates()
	m.close()
	m.fill(c, l.edit.String(), len(l.edit.before()))
	switch {
	case c.Pending:
		// What is not known yet could be another way to go on.
		m.open, m.retry = true, true
	case len(m.items) == 1:
		l.edit.set(m.final(0))
		m.close()
	case len(m.items) > 1:
		m.open = true
		if prefix, longer := m.common(); longer {
			l.edit.set(m.head+prefix+m.tail, len([]rune(m.head+prefix)))
			l.refresh()
		}
	}
}

// candidates are those of the text and cursor as they are now, asked for once.
func (l *line) candidates() Completions {
	text, pos := l.edit.String(), len(l.edit.before())
	if !l.foundValid || l.foundText != text || l.foundPos != pos {
		l.found = l.assistant.Complete(text, pos)
		l.foundText, l.foundPos, l.foundValid = text, pos, true
	}
	return l.found
}

// prefix is what stands before the line instead of the prompt, "" for nothing.
func (l *line) prefix() string {
	if l.search.active {
		return l.search.prompt()
	}
	return ""
}

// hint is what stands behind the cursor in grey.
func (l *line) hint() string {
	if l.edit.pos != len(l.edit.text) || l.search.active || l.menu.selected >= 0 {
		return ""
	}
	hint := strings.NewReplacer("\n", " ", "\t", " ").Replace(l.assistant.Hint(l.edit.String()))
	return clean(hint)
}
