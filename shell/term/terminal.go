//go:build unix

package term

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/c-bata/go-prompt"
	"golang.org/x/sys/unix"

	"shardsh/commands/spec"
)

// Outcomes of a line that no key causes.
const (
	redraw   outcome = 100 + iota // the window changed, or the process was stopped and goes on
	signaled                      // SIGTERM or SIGHUP
	panicked                      // the assistant did
)

// Terminal reads lines from a terminal. It implements LineReader.
//
// go-prompt draws the line and runs the input loop, one Input per line; it never sees a key (see dispatchKey), a
// signal, or the modes of the terminal.
type Terminal struct {
	in, out *os.File
	fd      int
	dumb    bool
	max     int
	modes   unix.Termios // as found; never changed

	prompt *prompt.Prompt
	buffer *prompt.Buffer // go-prompt's copy of the line; nil before its first key
	line   *line
	screen *screen
	frame  frame
	shown  Prompt

	outcome outcome // why the line ends
	settled bool    // dispatch has nothing more to do
	panic   string
	columns int
	rows    int

	// What the input loop, its reader and the signals share.
	mu        sync.Mutex
	queue     []event
	decoder   decoder // of the reader, or of ReadLine and Confirm while there is none
	chunk     [4096]byte
	lastByte  time.Time
	handed    atomic.Bool   // a dispatchKey is on its way
	ready     chan struct{} // and this says so to idle
	left      atomic.Bool   // the line has ended: the reader must return at once
	attention atomic.Bool   // something other than a key: look at the flags below
	refresh   atomic.Bool
	resized   atomic.Bool
	continued atomic.Bool
	broken    atomic.Bool // SIGINT
	hungUp    atomic.Bool
	waiting   atomic.Bool // a line or an answer is being read: SIGINT means that one
	arming    sync.Mutex  // held while modes are set, so that they are what armed says
	armed     atomic.Bool // the modes are not as found
	signal    atomic.Pointer[SignalError]

	pipe         sync.Mutex // guards the write end of the pipe against Close
	wakeR, wakeW int
	signals      *signals
	closed       bool
}

var _ LineReader = (*Terminal)(nil)

// NewTerminal takes over a terminal. It answers ErrNoTerminal when In or Out is none. Make one per process: go-prompt
// opens the controlling terminal once more for each, and never closes it.
func NewTerminal(o Options) (*Terminal, error) {
	if !IsTerminal(o.In) || !IsTerminal(o.Out) {
		return nil, ErrNoTerminal
	}
	t := &Terminal{
		in: o.In, out: o.Out, fd: int(o.In.Fd()), dumb: o.Dumb, max: o.MaxSuggestions, line: newLine(o.Assistant),
		ready: make(chan struct{}, 1),
	}
	if t.max <= 0 {
		t.max = DefaultSuggestions
	}
	var err error
	if t.modes, err = getModes(t.fd); err != nil {
		return nil, ErrNoTerminal
	}
	if !o.Dumb {
		if err := t.makePrompt(o.Color); err != nil {
			return nil, err
		}
	}
	if t.wakeR, t.wakeW, err = wakePipe(); err != nil {
		return nil, &spec.Error{Op: "set up the terminal", Err: err}
	}
	t.signals = t.watchSignals()
	return t, nil
}

func (t *Terminal) makePrompt(color bool) error {
	// prompt.New panics when there is no controlling terminal.
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return ErrNoTerminal
	}
	_ = tty.Close()
	t.screen = &screen{out: t.out, color: color, frame: &t.frame, muted: true, idle: t.idle}
	t.prompt = prompt.New(
		func(string) {},
		func(prompt.Document) []prompt.Suggest { return t.frame.items },
		prompt.OptionParser(console{t}),
		prompt.OptionWriter(t.screen),
		prompt.OptionLivePrefix(func() (string, bool) { return t.frame.prefix, true }),
		prompt.OptionPrefixTextColor(rolePrompt),
		prompt.OptionInputTextColor(roleText),
		prompt.OptionSuggestionTextColor(roleItem),
		prompt.OptionDescriptionTextColor(roleHelp),
		prompt.OptionShowCompletionAtStart(),
		prompt.OptionAddKeyBind(prompt.KeyBind{Key: prompt.F24, Fn: t.dispatch}),
		prompt.OptionSetExitCheckerOnInput(func(string, bool) bool { return t.outcome != goOn }),
	)
	return nil
}

// ReadLine reads one line.
func (t *Terminal) ReadLine(p Prompt) (string, error) {
	if t.closed {
		return "", io.EOF
	}
	t.signals.settle()
	t.waiting.Store(true)
	defer t.waiting.Store(false)
	t.broken.Store(false)
	if t.dumb {
		return t.readPlain(p)
	}
	defer t.Restore() // whatever panics
	t.begin(p)
	for {
		out := t.edit()
		switch out {
		case entered:
			return t.line.edit.String(), nil
		case interrupted:
			return "", ErrInterrupted
		case ended:
			return "", io.EOF
		case signaled:
			return "", t.signal.Load()
		case suspended:
			t.suspend()
		case panicked:
			panic(t.panic)
		}
	}
}

// begin prints what the prompt has above its last line, and starts an empty line on a row of its own.
func (t *Terminal) begin(p Prompt) {
	t.columns, t.rows = windowSize(t.fd)
	t.screen.freshRow(t.columns)
	above := strings.Split(p.Text, "\n")
	p.Text = above[len(above)-1]
	for _, text := range above[:len(above)-1] {
		t.screen.raw(clean(text) + "\n")
	}
	t.screen.write()
	if p.Continuation {
		p.Color = ""
	}
	t.shown = p
	t.line.begin()
}

// edit goes on with the line until it ends, for whatever reason. What was typed ahead is taken first; when that ends
// the line, go-prompt is not needed.
func (t *Terminal) edit() outcome {
	t.columns, t.rows = windowSize(t.fd)
	t.resized.Store(false)
	t.screen.drawn = 0
	t.outcome = t.take()
	if t.outcome != goOn {
		t.leave()
		return t.outcome
	}
	t.draw()
	t.attention.Store(true) // the first dispatch, which makes the loop wait
	t.prompt.Input()
	return t.outcome
}

// dispatch is bound to the dispatchKey: it runs in go-prompt's input loop.
func (t *Terminal) dispatch(buffer *prompt.Buffer) {
	defer func() {
		if r := recover(); r != nil {
			t.panic = fmt.Sprintf("%v\n\n%s", r, debug.Stack())
			t.outcome = panicked
			t.leave()
		}
	}()
	t.buffer = buffer
	t.notReady()
	if t.outcome = t.take(); t.outcome != goOn {
		t.leave()
		return
	}
	t.draw()
	t.settled = true
}

// take handles the events that wait, up to one that ends the line, and then looks for what is not a key.
func (t *Terminal) take() outcome {
	if t.refresh.Swap(false) {
		t.line.handle(event{key: keyRefresh})
	}
	for {
		if t.signal.Load() != nil {
			return signaled
		}
		if t.broken.Swap(false) {
			return interrupted
		}
		ev, ok := t.next()
		if !ok {
			break
		}
		switch out := t.line.handle(ev); out {
		case goOn:
		case cleared:
			t.screen.raw("\x1b[H\x1b[2J")
			t.screen.drawn = 0
		default:
			return out
		}
	}
	if t.hungUp.Load() {
		return ended
	}
	// Both flags: a process that went on may find another window.
	resized, continued := t.resized.Swap(false), t.continued.Swap(false)
	if columns, rows := windowSize(t.fd); continued || resized && (columns != t.columns || rows != t.rows) {
		return redraw
	}
	return goOn
}

// leave draws the line for the last time and keeps go-prompt from doing so.
func (t *Terminal) leave() {
	if t.outcome != redraw && t.outcome != suspended {
		t.line.menu.close()
		t.line.search = search{}
	}
	behind := ""
	switch t.outcome {
	case redraw:
		columns, _ := windowSize(t.fd)
		t.screen.eraseLine(columns)
		t.screen.write()
	case interrupted:
		behind = "^C"
	case suspended:
		behind = "^Z"
	}
	if t.outcome != redraw {
		if t.outcome != panicked {
			t.compose()
		}
		t.screen.finish(&t.frame, behind)
	}
	t.screen.muted = true
	t.left.Store(true)
	t.poke()
}

// draw prepares what go-prompt draws next.
func (t *Terminal) draw() {
	t.line.candidates() // so that the shell may begin to look for them
	t.compose()
	t.layMenu()
	if t.buffer == nil {
		return
	}
	prompt.GoLineEnd(t.buffer)
	t.buffer.DeleteBeforeCursor(len([]rune(t.buffer.Text())))
	t.buffer.InsertText(t.frame.text, false, true)
	t.buffer.CursorLeft(len([]rune(t.frame.text)) - t.frame.cursor)
}

// compose puts the line into the frame, without a menu.
func (t *Terminal) compose() {
	l := t.line
	f := frame{text: l.edit.String(), cursor: l.edit.pos, columns: t.columns, selected: -1}
	f.prefix, f.color = clean(t.shown.Text), t.shown.Color
	if searching := l.prefix(); searching != "" {
		f.prefix, f.color = clean(searching), ""
	}
	if t.screen.color {
		f.spans = l.assistant.Spans(f.text)
		if !t.shown.Continuation {
			f.hint = l.hint()
		}
	}
	t.frame = f
}

// layMenu gives the menu the rows there are below the line. The last of them says how far one is, when there are more
// items than rows.
func (t *Terminal) layMenu() {
	m, f := &t.line.menu, &t.frame
	used := (cells(f.prefix)+cells(f.text))/t.columns + 1
	rows := max(min(t.max, t.rows-used), 0)
	if m.open && rows > 0 {
		count := rows
		if len(m.items) > rows && rows > 1 {
			count--
		}
		from, to := m.window(count)
		for i := from; i < to; i++ {
			f.items = append(f.items, t.suggestion(m.items[i], i == m.selected))
		}
		if m.selected >= 0 {
			f.selected = m.selected - from
		}
		if count < rows {
			f.items = append(f.items, prompt.Suggest{Text: "…", Description: fmt.Sprintf("%d–%d of %d", from+1, to, len(m.items))})
		}
		if m.retry && len(f.items) < rows {
			f.items = append(f.items, prompt.Suggest{Text: "…"})
		}
	}
	// go-prompt wants as many rows below the line as the menu may have, or draws nothing but a complaint.
	_ = prompt.OptionMaxSuggestion(uint16(len(f.items)))(t.prompt)
}

func (t *Terminal) suggestion(item Item, selected bool) prompt.Suggest {
	text := item.Show
	if text == "" {
		text = item.Text
	}
	text = clean(text)
	if !t.screen.color {
		mark := "  "
		if selected {
			mark = "> "
		}
		text = mark + text
	}
	return prompt.Suggest{Text: text, Description: clean(item.Help)}
}

// Wake has the candidates, colours and hint of the line asked for again and drawn, without a key. Any goroutine may
// call it, at any time.
func (t *Terminal) Wake() {
	t.refresh.Store(true)
	t.ring()
}

// poke has the flags looked at.
func (t *Terminal) poke() {
	t.attention.Store(true)
	t.ring()
}

// ring ends a wait for the terminal.
func (t *Terminal) ring() {
	t.pipe.Lock()
	defer t.pipe.Unlock()
	if t.wakeW >= 0 {
		_, _ = unix.Write(t.wakeW, []byte{0}) // a full pipe wakes as well
	}
}

// TakeOver takes what was typed ahead at another Terminal of the same device, and closes that one.
func (t *Terminal) TakeOver(other *Terminal) {
	_ = other.Close()
	t.queue, t.decoder, t.lastByte = other.queue, other.decoder, other.lastByte
}

// Width is the number of columns of the terminal now.
func (t *Terminal) Width() int { columns, _ := windowSize(int(t.out.Fd())); return columns }

// Height is the number of its rows.
func (t *Terminal) Height() int { _, rows := windowSize(int(t.out.Fd())); return rows }

// arm gives the terminal other modes than it was found with, until Restore.
func (t *Terminal) arm(modes unix.Termios, request uint) error {
	t.arming.Lock()
	defer t.arming.Unlock()
	t.armed.Store(true)
	return setModes(t.fd, modes, request)
}

// disarm puts the modes back, and answers whether they were others.
func (t *Terminal) disarm() bool {
	t.arming.Lock()
	defer t.arming.Unlock()
	if !t.armed.Swap(false) {
		return false
	}
	_ = setModes(t.fd, t.modes, reqSetModes)
	return true
}

// Restore puts the terminal back as it was found. It takes no lock but that of the modes, so that a panic handler or a
// signal may call it.
func (t *Terminal) Restore() {
	if t.disarm() && !t.dumb {
		_, _ = t.out.WriteString(pasteOff + "\x1b[?25h")
	}
}

// Close restores the terminal and stops watching for signals.
func (t *Terminal) Close() error {
	t.Restore()
	if t.closed {
		return nil
	}
	t.closed = true
	t.signals.stop()
	t.pipe.Lock()
	defer t.pipe.Unlock()
	_ = unix.Close(t.wakeW)
	_ = unix.Close(t.wakeR)
	t.wakeW = -1
	return nil
}
