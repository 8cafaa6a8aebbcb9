package term

import (
	"slices"
	"unicode"
)

const (
	maxKills = 16
	maxUndo  = 200
)

// editor is the text of the line, its cursor, and what was cut from it. The kill ring outlives the line.
type editor struct {
	text []rune
	pos  int

	kills   [][]rune
	killing bool // the key before cut something too: what is cut now joins it
	yanked  int  // runes inserted by the yank before, 0 when the key before was none
	ring    int

	undo []snapshot
}

type snapshot struct {
	text string
	pos  int
}

func (e *editor) String() string { return string(e.text) }

// before is the text up to the cursor.
func (e *editor) before() string { return string(e.text[:e.pos]) }

func (e *editor) set(text string, pos int) {
	e.text = []rune(text)
	e.pos = min(max(pos, 0), len(e.text))
}

// reset begins a new line.
func (e *editor) reset() {
	e.text, e.pos, e.undo, e.killing, e.yanked = nil, 0, nil, false, 0
}

func (e *editor) insert(text string) {
	runes := []rune(text)
	e.text = slices.Insert(e.text, e.pos, runes...)
	e.pos += len(runes)
}

// cut removes text and returns it.
func (e *editor) cut(from, to int) []rune {
	gone := slices.Clone(e.text[from:to])
	e.text = slices.Delete(e.text, from, to)
	e.pos = from
	return gone
}

// kill cuts to the kill ring.
func (e *editor) kill(from, to int, backwards, joins bool) {
	gone := e.cut(from, to)
	if len(gone) == 0 {
		return
	}
	last := len(e.kills) - 1
	switch {
	case !joins || last < 0:
		e.kills = append(e.kills, gone)
	case backwards:
		e.kills[last] = append(gone, e.kills[last]...)
	default:
		e.kills[last] = append(e.kills[last], gone...)
	}
	if len(e.kills) > maxKills {
		e.kills = slices.Delete(e.kills, 0, 1)
	}
}

// yank inserts what was cut last; again replaces what the yank before inserted with the cut before that one.
func (e *editor) yank(again bool, yanked int) {
	if len(e.kills) == 0 || again && yanked == 0 {
		return
	}
	e.ring++
	if !again {
		e.ring = 0
	} else {
		e.cut(e.pos-yanked, e.pos)
	}
	text := e.kills[len(e.kills)-1-e.ring%len(e.kills)]
	e.insert(string(text))
	e.yanked = len(text)
}

func isWord(r rune) bool   { return unicode.IsLetter(r) || unicode.IsDigit(r) }
func notBlank(r rune) bool { return r != ' ' }

// wordLeft is where the word before the cursor begins.
func (e *editor) wordLeft(in func(rune) bool) int {
	i := e.pos
	for i > 0 && !in(e.text[i-1]) {
		i--
	}
	for i > 0 && in(e.text[i-1]) {
		i--
	}
	return i
}

// wordRight is where the word behind the cursor ends.
func (e *editor) wordRight() int {
	i := e.pos
	for i < len(e.text) && !isWord(e.text[i]) {
		i++
	}
	for i < len(e.text) && isWord(e.text[i]) {
		i++
	}
	return i
}

// press handles the keys that edit, and reports whether k is one of them.
func (e *editor) press(k key, text string) bool {
	killing, yanked := e.killing, e.yanked
	e.killing, e.yanked = false, 0
	if e.move(k) {
		return true
	}
	switch k {
	case keyText:
		e.insert(text)
	case keyBackspace:
		e.cut(max(e.pos-1, 0), e.pos)
	case keyDelete, keyEOF:
		e.cut(e.pos, min(e.pos+1, len(e.text)))
	case keyKillEnd:
		e.kill(e.pos, len(e.text), false, killing)
	case keyKillStart:
		e.kill(0, e.pos, true, killing)
	case keyKillBlankWord:
		e.kill(e.wordLeft(notBlank), e.pos, true, killing)
	case keyKillWordLeft:
		e.kill(e.wordLeft(isWord), e.pos, true, killing)
	case keyKillWordRight:
		e.kill(e.pos, e.wordRight(), false, killing)
	case keyYank, keyYankPop:
		e.yank(k == keyYankPop, yanked)
	case keyTranspose:
		e.transpose()
	default:
		return false
	}
	switch k {
	case keyKillEnd, keyKillStart, keyKillBlankWord, keyKillWordLeft, keyKillWordRight:
		e.killing = true
	}
	return true
}

func (e *editor) move(k key) bool {
	switch k {
	case keyLeft:
		e.pos = max(e.pos-1, 0)
	case keyRight:
		e.pos = min(e.pos+1, len(e.text))
	case keyHome:
		e.pos = 0
	case keyEnd:
		e.pos = len(e.text)
	case keyWordLeft:
		e.pos = e.wordLeft(isWord)
	case keyWordRight:
		e.pos = e.wordRight()
	default:
		return false
	}
	return true
}

// transpose swaps the runes around the cursor, at the end of the line the two before it.
func (e *editor) transpose() {
	at := e.pos
	if at == len(e.text) {
		at--
	}
	if at < 1 {
		return
	}
	e.text[at-1], e.text[at] = e.text[at], e.text[at-1]
	e.pos = at + 1
}

// remember keeps the text as it was before a change.
func (e *editor) remember(was snapshot) {
	e.undo = append(e.undo, was)
	if len(e.undo) > maxUndo {
		e.undo = slices.Delete(e.undo, 0, 1)
	}
}

// back takes the last change back.
func (e *editor) back() {
	if last := len(e.undo) - 1; last >= 0 {
		e.set(e.undo[last].text, e.undo[last].pos)
		e.undo = e.undo[:last]
	}
}
