package term

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// abortWait is how long after a read that Ctrl-C ended its signal may arrive.
const abortWait = 200 * time.Millisecond

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
func isHangup(error) bool        { return false }

// Terminal reads lines from the console as Windows edits them: no completion, no colours. It implements LineReader.
type Terminal struct {
	in, out *os.File
	reader  *bufio.Reader
	broken  chan os.Signal
	closed  bool
}

var _ LineReader = (*Terminal)(nil)

// NewTerminal takes over a console. It answers ErrNoTerminal when In or Out is none.
func NewTerminal(o Options) (*Terminal, error) {
	if !IsTerminal(o.In) || !IsTerminal(o.Out) {
		return nil, ErrNoTerminal
	}
	t := &Terminal{in: o.In, out: o.Out, reader: bufio.NewReader(o.In), broken: make(chan os.Signal, 1)}
	signal.Notify(t.broken, os.Interrupt)
	return t, nil
}

// ReadLine reads one line.
func (t *Terminal) ReadLine(p Prompt) (string, error) {
	if t.closed {
		return "", io.EOF
	}
	select {
	case <-t.broken: // it was meant for a command
	default:
	}
	if _, err := t.out.WriteString(p.Text); err != nil {
		return "", io.EOF
	}
	text, err := t.reader.ReadString('\n')
	return t.answer(text, err)
}

// answer tells the end of input from Ctrl-C, which also ends a read.
func (t *Terminal) answer(text string, err error) (string, error) {
	if err != nil {
		select {
		case <-t.broken:
			return "", ErrInterrupted
		case <-time.After(abortWait):
		}
		if text == "" || !errors.Is(err, io.EOF) {
			return "", io.EOF
		}
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// Confirm asks a question and reads one line; lines already read ahead are thrown away.
func (t *Terminal) Confirm(question string) (string, error) {
	t.discard()
	return t.ReadLine(Prompt{Text: question})
}

// discard throws away what was typed so far.
func (t *Terminal) discard() {
	_ = windows.FlushConsoleInputBuffer(windows.Handle(t.in.Fd()))
	t.reader.Reset(t.in)
}

// ReadSecret asks without echo.
func (t *Terminal) ReadSecret(question string) (string, error) {
	if t.closed {
		return "", io.EOF
	}
	t.discard()
	if _, err := t.out.WriteString(question); err != nil {
		return "", io.EOF
	}
	secret, err := term.ReadPassword(int(t.in.Fd()))
	_, _ = t.out.WriteString("\n")
	return t.answer(string(secret), err)
}

// Wake does nothing: there is nothing to redraw.
func (t *Terminal) Wake() {}

// WatchKeys cannot: the console gives whole lines.
func (t *Terminal) WatchKeys(string, func(key rune)) (stop func(), ok bool) { return func() {}, false }

// TakeOver closes another Terminal; it has read nothing ahead that is kept.
func (t *Terminal) TakeOver(other *Terminal) { _ = other.Close() }

// Width is the number of columns of the console now.
func (t *Terminal) Width() int { width, _ := t.size(); return width }

// Height is the number of its rows.
func (t *Terminal) Height() int { _, height := t.size(); return height }

func (t *Terminal) size() (width, height int) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// Restore does nothing: the console is never changed between calls.
func (t *Terminal) Restore() {}

// Close stops listening to Ctrl-C.
func (t *Terminal) Close() error {
	t.closed = true
	signal.Stop(t.broken)
	return nil
}
