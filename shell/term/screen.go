//go:build unix

package term

import (
	"fmt"
	"io"
	"strings"

	"github.com/c-bata/go-prompt"
	"github.com/mattn/go-runewidth"
)

// go-prompt says what it is drawing through the colour it sets first. These are no colours: they name roles.
const (
	rolePrompt prompt.Color = 100 + iota
	roleText
	roleItem
	roleHelp
)

const (
	sgrReset    = "\x1b[0m"
	sgrHint     = "\x1b[90m"
	sgrItem     = "\x1b[0;30;47m"
	sgrSelected = "\x1b[0;1;37;44m"
)

// styleColors are the colours of the line, all of the sixteen every terminal has, and readable on light and dark.
var styleColors = map[Style]string{
	StyleCommand: "\x1b[32m", StyleFlag: "\x1b[36m", StyleString: "\x1b[33m", StyleVariable: "\x1b[35m",
	StyleComment: "\x1b[90m", StyleError: "\x1b[31m", StyleOperator: "\x1b[34m",
}

// frame is one state of the line, ready to be drawn.
type frame struct {
	prefix, color string
	text          string
	cursor        int // runes
	spans         []Span
	hint          string
	columns       int
	items         []prompt.Suggest
	selected      int // row of the menu, -1 for none
}

// cells is how many columns a text takes, as go-prompt counts them.
func cells(text string) int { return runewidth.StringWidth(text) }

// cursorCells is how far behind the start of the prompt the cursor stands.
func (f *frame) cursorCells() int {
	n := cells(f.prefix)
	for i, r := range []rune(f.text) {
		if i >= f.cursor {
			break
		}
		n += runewidth.RuneWidth(r)
	}
	return n
}

// screen is go-prompt's way to the terminal. It decides about colours, draws the highlighting and the hint between
// the strokes of go-prompt, and leaves the window's title alone.
type screen struct {
	out   io.Writer
	color bool
	buf   []byte
	frame *frame
	idle  func() // called when all is drawn

	role    prompt.Color
	row     int  // of the menu
	hintDue bool // the text was just drawn, the cursor stands at its end
	drawn   int  // how far the cursor stands behind the start of the prompt; 0 when there is no prompt
	small   bool // go-prompt found no room for the line
	muted   bool
}

var _ prompt.ConsoleWriter = (*screen)(nil)

func (s *screen) raw(text string) { s.buf = append(s.buf, text...) }

func (s *screen) sgr(code string) {
	if s.color {
		s.raw(code)
	}
}

// promptLine is the prompt and the text, in colours.
func (s *screen) promptLine(f *frame) { s.prompt(f); s.text(f) }

func (s *screen) prompt(f *frame) {
	if code := promptColors[f.color]; code != "" {
		s.sgr("\x1b[1;" + code + "m")
	}
	s.raw(clean(f.prefix))
	s.sgr(sgrReset)
}

func (s *screen) text(f *frame) {
	at := 0
	for _, span := range f.spans {
		if span.Start < at || span.End > len(f.text) || span.Start >= span.End {
			continue // not in order: what the shell thinks of another text
		}
		s.raw(clean(f.text[at:span.Start]))
		s.sgr(styleColors[span.Style])
		s.raw(clean(f.text[span.Start:span.End]))
		s.sgr(sgrReset)
		at = span.End
	}
	s.raw(clean(f.text[at:]))
}

// hint fills the rest of the row, never more: what wraps would have to be counted.
func (s *screen) hint(f *frame) {
	room := f.columns - (cells(f.prefix)+cells(f.text))%f.columns - 1
	if !s.color || f.hint == "" || room < 2 || len(f.items) > 0 {
		return
	}
	hint := runewidth.Truncate(f.hint, room, "…")
	s.raw(sgrHint + hint + sgrReset)
	s.CursorBackward(cells(hint))
}

// freshRow moves to the start of a row: the next one, unless the cursor stands at the start of one. Filling a row with
// blanks wraps only where something stood before them.
func (s *screen) freshRow(columns int) { s.raw(strings.Repeat(" ", columns) + "\r\x1b[J") }

// eraseLine takes the prompt and the line off the screen; columns is how wide the screen was when they were drawn, or
// is now, where the terminal wraps them anew.
func (s *screen) eraseLine(columns int) {
	s.CursorUp(s.drawn / columns)
	s.raw("\r\x1b[J")
	s.drawn = 0
}

// finish draws the line for the last time, with something behind it, and goes to the next row.
func (s *screen) finish(f *frame, behind string) {
	s.eraseLine(f.columns)
	if s.small {
		s.raw("\x1b[H\x1b[2J")
		s.small = false
	}
	s.promptLine(f)
	s.raw(behind + "\n")
	s.write()
}

func (s *screen) write() {
	// A terminal that is gone is noticed by whoever reads from it.
	_, _ = s.out.Write(s.buf)
	s.buf = s.buf[:0]
}

// Flush writes what go-prompt drew.
func (s *screen) Flush() error {
	if s.muted {
		s.buf = s.buf[:0]
		return nil
	}
	if s.drawn = 0; !s.small {
		s.drawn = s.frame.cursorCells()
	}
	s.write()
	s.idle()
	return nil
}

// WriteStr draws a prompt, the line, a row of the menu: the colour set before tells which.
func (s *screen) WriteStr(data string) {
	switch s.role {
	case rolePrompt:
		s.prompt(s.frame)
	case roleText:
		s.text(s.frame)
		s.hintDue = true
	default:
		s.raw(clean(data))
	}
}

// SetColor learns what is drawn next, and colours the menu.
func (s *screen) SetColor(fg, _ prompt.Color, _ bool) {
	s.role = fg
	switch fg {
	case roleItem:
		if s.row == s.frame.selected {
			s.sgr(sgrSelected)
		} else {
			s.sgr(sgrItem)
		}
		s.row++
	case roleHelp:
		// The row before this one in the same colour as its item.
		if s.row-1 == s.frame.selected {
			s.sgr(sgrSelected)
		} else {
			s.sgr(sgrItem)
		}
	case rolePrompt, roleText:
	default:
		s.sgr(sgrReset)
	}
}

// HideCursor begins a drawing, at the start of a row: where a wide character did not fit into the last column the
// cursor is one column further right than go-prompt thinks.
func (s *screen) HideCursor() {
	s.row, s.small = 0, false
	s.raw("\x1b[?25l\r")
}

// EraseDown clears what is below; right behind the text it is also the place of the hint.
func (s *screen) EraseDown() {
	s.raw("\x1b[J")
	if s.hintDue {
		s.hintDue = false
		s.hint(s.frame)
	}
}

// EraseScreen is called by go-prompt only when the line does not fit the window.
func (s *screen) EraseScreen() {
	s.small = true
	s.raw("\x1b[2J")
}

func (s *screen) move(n int, forward, backward byte) {
	if n < 0 {
		n, forward = -n, backward
	}
	if n > 0 {
		s.raw(fmt.Sprintf("\x1b[%d%c", n, forward))
	}
}

// The rest of prompt.ConsoleWriter, as ECMA-48 has it.

func (s *screen) WriteRaw(data []byte)    { s.buf = append(s.buf, data...) }
func (s *screen) Write(data []byte)       { s.WriteStr(string(data)) }
func (s *screen) WriteRawStr(data string) { s.raw(data) }
func (s *screen) EraseUp()                { s.raw("\x1b[1J") }
func (s *screen) EraseStartOfLine()       { s.raw("\x1b[1K") }
func (s *screen) EraseEndOfLine()         { s.raw("\x1b[K") }
func (s *screen) EraseLine()              { s.raw("\x1b[2K") }
func (s *screen) ShowCursor()             { s.raw("\x1b[?25h") }
func (s *screen) CursorGoTo(row, col int) { s.raw(fmt.Sprintf("\x1b[%d;%dH", row+1, col+1)) }
func (s *screen) CursorUp(n int)          { s.move(n, 'A', 'B') }
func (s *screen) CursorDown(n int)        { s.move(n, 'B', 'A') }
func (s *screen) CursorForward(n int)     { s.move(n, 'C', 'D') }
func (s *screen) CursorBackward(n int)    { s.move(n, 'D', 'C') }
func (s *screen) AskForCPR()              {}
func (s *screen) SaveCursor()             { s.raw("\x1b7") }
func (s *screen) UnSaveCursor()           { s.raw("\x1b8") }
func (s *screen) ScrollDown()             { s.raw("\x1bD") }
func (s *screen) ScrollUp()               { s.raw("\x1bM") }
func (s *screen) SetTitle(string)         {}
func (s *screen) ClearTitle()             {}
