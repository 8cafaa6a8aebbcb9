// Package term is where lines, confirmations and secrets come from.
//
// Everything above it sees a LineReader and nothing else: a terminal (Terminal, built on go-prompt), a script
// (NewScript), or a runbook stepper of the caller's own. What the terminal needs to know about the line being typed
// (candidates, colours, hints, history) it asks an Assistant.
//
// The terminal is raw only while ReadLine waits. Between two lines, while a command runs, it is exactly as it was
// found: Ctrl-C is a signal, children may read, and what is typed meanwhile is kept by the kernel and taken, in order,
// by the next ReadLine. A command that runs no children may have single keys watched for (WatchKeys).
package term

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"shardsh/commands/spec"
)

// ErrInterrupted answers Ctrl-C at a prompt or a question: the line was dropped, and with it everything pasted or
// typed ahead. It is also the cause of a context that Running ended on Ctrl-C.
var ErrInterrupted error = spec.Errorf(spec.Interrupted, "interrupted")

// ErrNoTerminal answers a question for which there is nobody to ask.
var ErrNoTerminal error = spec.Errorf(spec.Usage, "there is no terminal").
	WithHint("run it in a terminal, or without -i as a script")

// SignalError answers ReadLine, Confirm and ReadSecret when SIGTERM or SIGHUP asked the program to leave, and is the
// cause of a context that Running ended for that reason. It wraps io.EOF: a caller that knows only the end of input
// leaves as well. The exit code is 128 plus the number of the signal.
type SignalError struct{ Signal os.Signal }

func (e *SignalError) Error() string { return fmt.Sprintf("ended by signal: %v", e.Signal) }

// Unwrap makes the error an end of input too.
func (e *SignalError) Unwrap() error { return io.EOF }

// LineReader gives lines, answers and secrets. Its methods are called by one goroutine.
type LineReader interface {
	// ReadLine returns the next line without its line end. io.EOF is the end of input, ErrInterrupted a dropped line.
	ReadLine(p Prompt) (string, error)
	// Confirm asks a question and returns one line, straight from the terminal: what was typed ahead or pasted is
	// thrown away first, so that only somebody who saw the question can answer it. The answer reaches no history.
	// A script answers ErrNoTerminal; Ctrl-C answers ErrInterrupted, Ctrl-D io.EOF.
	Confirm(question string) (string, error)
	// ReadSecret is Confirm without echo.
	ReadSecret(question string) (string, error)
	// Close restores the terminal. It may be called again.
	Close() error
}

// Prompt is what stands before the line.
type Prompt struct {
	// Text is plain text. Where it has several lines, all but the last are printed once, above the line.
	Text string
	// Continuation marks a line that goes on with the one before: no hint is shown, and the prompt has no colour.
	Continuation bool
	// Color is one of Colors, "" for none.
	Color string
}

// Assistant is what the shell tells the terminal about the line being typed. All methods are called from the input
// loop, several times per key, and must answer from memory, at once: a slow answer is a slow keyboard.
type Assistant interface {
	// Complete lists what could stand at the cursor, pos bytes into the text. It is asked on every change of the
	// line, so that filling a cache may begin before anybody presses Tab.
	Complete(text string, pos int) Completions
	// Spans colours the text: ranges in order, without overlap; the bytes between them are plain.
	Spans(text string) []Span
	// Hint is shown in grey behind the text while the cursor is at its end; "" for none.
	Hint(text string) string
	// History is read before each line: the oldest entry first. The slice is not changed.
	History() []string
}

// Completions are the candidates for one place in the line.
type Completions struct {
	// Start is the byte offset from which on, up to the cursor, a candidate replaces the text.
	Start int
	Items []Item
	// Pending says that more may come: a cache is being filled, and Wake will be called when it is.
	Pending bool
}

// Item is one candidate.
type Item struct {
	// Text is inserted as it stands, so it is already quoted. Behind an only candidate a blank is added, unless Text
	// ends in a blank or in one of = / , : which say that the word goes on.
	Text string
	// Show is what the menu displays; "" shows Text.
	Show string
	// Help stands beside it.
	Help string
}

// Span gives the bytes Start to End (exclusive) of the line a style.
type Span struct {
	Start, End int
	Style      Style
}

// Style is the meaning of a piece of the line; the terminal chooses the colour.
type Style int

// The styles of Span.
const (
	StylePlain Style = iota
	StyleCommand
	StyleFlag
	StyleString
	StyleVariable
	StyleComment
	StyleError
	StyleOperator
)

// DefaultSuggestions is how many rows a menu has when Options does not say.
const DefaultSuggestions = 6

// Options of a Terminal.
type Options struct {
	// In and Out must both be terminals.
	In, Out *os.File
	// Assistant may be nil: then there is nothing to complete, colour or recall.
	Assistant Assistant
	// Color allows colours and the grey hint. Without it no colour sequence is written at all.
	Color bool
	// Dumb reads lines as the kernel gives them and writes no escape sequence: for TERM=dumb.
	Dumb bool
	// MaxSuggestions bounds the rows of the menu; 0 means DefaultSuggestions.
	MaxSuggestions int
}

// IsTerminal reports whether the file is a terminal.
func IsTerminal(f *os.File) bool { return f != nil && isTerminal(f) }

// promptColors are the foreground colours of ECMA-48, by name.
var promptColors = map[string]string{
	"black": "30", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "white": "37",
	"grey": "90",
}

// Colors lists the names a Prompt's Color may have.
func Colors() []string {
	var names []string
	for name := range promptColors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// NewScript reads lines from a function, which returns io.EOF at the end. There is nobody to ask: Confirm and
// ReadSecret answer ErrNoTerminal.
func NewScript(next func() (string, error)) LineReader { return script{next} }

type script struct{ next func() (string, error) }

func (s script) ReadLine(Prompt) (string, error)   { return s.next() }
func (s script) Confirm(string) (string, error)    { return "", ErrNoTerminal }
func (s script) ReadSecret(string) (string, error) { return "", ErrNoTerminal }
func (s script) Close() error                      { return nil }

// isEnd reports whether reading from a terminal failed because it is gone.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || isHangup(err) }
